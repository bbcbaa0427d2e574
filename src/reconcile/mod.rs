//! observe → plan → render → apply → report, for one hospital.
//!
//! Guarantees: status is written at most once per pass and only if it changed; it is written also when a phase failed; a
//! hospital that is as it must be costs neither reads nor writes.

pub mod apply;
mod lookups;
pub mod pass;
pub mod report;
mod retire;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use kube::{ResourceExt, runtime::controller::Action};

use crate::{
    api::v1alpha1::{HospitalTenant, HospitalTenantStatus, ReleaseEvidence, ReleaseOutcome},
    capabilities::{network, release},
    cluster::{self, Caches, Writer},
    conditions::{READY, Reason, Rejection},
    error::Error,
    metrics::Metrics,
    names,
    objects::Observed,
    ports::Clock,
    settings::Settings,
    tenant::Inputs,
};
pub use lookups::Lookups;

use apply::Reached;
use pass::Pass;

/// What every reconcile needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// What is there.
    pub caches: Caches,
    /// The only way to change it.
    pub writer: Writer,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where names of servers outside lead.
    pub lookups: Lookups,
    /// Settings of the process.
    pub settings: Settings,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// One pass over one hospital.
pub async fn reconcile(resource: Arc<HospitalTenant>, ctx: Arc<Context>) -> Result<Action, Error> {
    // Before it is looked at, so that what becomes known in between is seen too.
    let (settled, known) = (ctx.caches.is_settled(&resource), ctx.caches.is_known(&resource));
    let refusal = ctx.caches.refusal(&resource);
    let mut observed = ctx.caches.observe(&resource);
    let resource = ctx.writer.with_last_status(resource);
    if resource.metadata.deletion_timestamp.is_some() {
        if !settled && refusal.is_none() {
            return Ok(Action::await_change());
        }
        return retire::retire(&resource, &observed, &ctx).await;
    }
    let now = ctx.clock.now();
    let inputs = Inputs { tenant: Arc::clone(&resource), settings: ctx.settings.clone(), now };
    let paused = match paused_until(&resource, now) {
        Ok(paused) => paused,
        Err(rejection) => return refuse(&resource, rejection, &ctx).await,
    };
    let (resolved, next_question) = ctx.lookups.of(&resource, now).await;
    observed.resolved = resolved;
    let pass = match pass::plan(&inputs, &observed) {
        Ok(pass) => pass,
        // What it misses may be there, unseen.
        Err(_) if !settled && refusal.is_none() => return Ok(Action::await_change()),
        Err(rejection) => return refuse(&resource, rejection, &ctx).await,
    };
    ctx.writer.finalizer(&resource, true).await?;
    let applied = match paused {
        Some(_) => Ok(if settled { Reached::End } else { Reached::Door }),
        None => apply(&pass, known, &mut observed, &ctx).await,
    };
    let failure = match (&applied, refusal) {
        // Rights take a moment to arrive; a person is told when they do not.
        (Ok(Reached::Door), Some(refusal)) => return refuse(&resource, unknown(&pass, &refusal), &ctx).await,
        (Ok(Reached::Door), None) => return Ok(Action::await_change()),
        (Ok(Reached::End), _) => None,
        (Err(error), _) => Some(error.to_string()),
    };
    let status = report::planned(&resource, &pass, &observed, failure.as_deref(), paused);
    let due = release::due(&pass.tenant, &status.release).into_iter().chain(network::due(&status.network, now));
    let due: Vec<_> = due.chain(next_question).collect();
    publish(&resource, status, &ctx).await?;
    if paused.is_none() {
        gaps(&resource, &observed, applied.is_ok(), &ctx).await?;
    }
    applied?;
    Ok(wake(&pass, paused.into_iter().chain(due), now))
}

async fn apply(pass: &Pass, known: bool, observed: &mut Observed, ctx: &Context) -> Result<Reached, cluster::Error> {
    let reached = apply::write(pass, known, observed, ctx).await?;
    if reached == Reached::End {
        apply::prune(&pass.tenant, &pass.desired, observed, ctx).await?;
    }
    Ok(reached)
}

/// The operator is kept out of a namespace of its own.
fn unknown(pass: &Pass, refusal: &str) -> Rejection {
    let (namespace, role) = (&pass.tenant.namespace, names::TENANT_ROLE);
    let message = format!(
        "what is in namespace {namespace} cannot be seen: {refusal}; check that ClusterRole {role} is as installed and bound there"
    );
    Rejection::waiting("metadata.name", Reason::ApiError, message)
}

/// Nothing is applied: what runs stays as it is, and status says why.
async fn refuse(resource: &HospitalTenant, rejection: Rejection, ctx: &Context) -> Result<Action, Error> {
    publish(resource, report::rejected(resource, &rejection, ctx.clock.now()), ctx).await?;
    Err(Error::Plan(rejection))
}

/// Reasons for which a hospital that is being made is not ready yet, and which end by themselves.
const UNDER_WAY: [Reason; 6] = [
    Reason::NotObserved,
    Reason::NotTried,
    Reason::Progressing,
    Reason::DatabaseNotReady,
    Reason::InitRunning,
    Reason::MigrationRunning,
];

/// Writes status if it changed, and says so in an event when a hospital becomes ready, is no longer ready, or is kept from it
/// by more than the time that it takes.
async fn publish(resource: &HospitalTenant, status: HospitalTenantStatus, ctx: &Context) -> Result<(), Error> {
    let ready = |status: &HospitalTenantStatus| {
        status
            .conditions
            .iter()
            .find(|c| c.type_ == READY)
            .map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
    };
    let before = resource.status.as_ref().and_then(ready);
    let after = ready(&status);
    let changed = before.as_ref().map(|(status, reason, _)| (status, reason)) != after.as_ref().map(|(s, r, _)| (s, r));
    ctx.writer.write_status(resource, &status).await?;
    released(resource, &status, ctx).await?;
    watched(resource, &status, ctx).await?;
    let was_ready = before.is_some_and(|(status, ..)| status == "True");
    let news = |state: &str, reason: &str| {
        changed && (was_ready || state == "True" || UNDER_WAY.iter().all(|step| step.as_str() != reason))
    };
    if let Some((state, reason, message)) = after.filter(|(state, reason, _)| news(state, reason)) {
        ctx.writer.event(resource, state != "False", &reason, &message).await?;
    }
    Ok(())
}

/// Counts gaps that status names since a moment ago, and tells of them; `end` says that nothing is open any more.
async fn gaps(resource: &HospitalTenant, observed: &Observed, end: bool, ctx: &Context) -> Result<(), Error> {
    ctx.caches.told(resource, observed, end);
    for gap in &observed.gaps {
        ctx.metrics.gap_closed(&resource.name_any(), gap);
        ctx.writer.event(resource, false, "NetworkGapClosed", &gap.to_string()).await?;
    }
    Ok(())
}

/// Counts a release that has just ended, and tells of one that took the place of another. Why one was taken back is told by
/// Ready.
async fn released(resource: &HospitalTenant, status: &HospitalTenantStatus, ctx: &Context) -> Result<(), Error> {
    let before = resource.status.as_ref().map(|status| &status.release);
    let Some(ended) = status.release.history.first() else { return Ok(()) };
    if before.is_some_and(|before| before.history.first() == Some(ended)) {
        return Ok(());
    }
    let time = |text: &str| DateTime::parse_from_rfc3339(text).ok();
    let took = time(&ended.started).zip(time(&ended.ended)).and_then(|(from, to)| (to - from).to_std().ok());
    ctx.metrics.release_ended(ended.outcome, took);
    let replaced =
        before.and_then(|before| before.live.as_ref()).filter(|_| ended.outcome == ReleaseOutcome::Completed);
    if let Some(old) = replaced {
        let steps = ended.steps.iter().filter(|step| step.seconds > 0);
        let steps: Vec<_> = steps.map(|step| format!("{} {} s", step.step, step.seconds)).collect();
        let (new, old) = (&ended.release.version, &old.release.version);
        let note = format!(
            "version {new} has taken the place of version {old} after {} s: {}",
            took.unwrap_or_default().as_secs(),
            steps.join(", ")
        );
        ctx.writer.event(resource, true, "Released", &note).await?;
    }
    Ok(())
}

/// Counts what users met during the last release, and tells of it, as soon as that is known.
async fn watched(resource: &HospitalTenant, status: &HospitalTenantStatus, ctx: &Context) -> Result<(), Error> {
    let Some(last) = status.release.history.first() else { return Ok(()) };
    let before = resource.status.iter().flat_map(|status| &status.release.history);
    let known = before.filter(|record| record.number == last.number).any(|record| record.evidence.is_some());
    let Some(evidence) = last.evidence.as_ref().filter(|_| !known) else { return Ok(()) };
    ctx.metrics.release_watched(evidence);
    let (version, ReleaseEvidence { requests, failed, mixed_milliseconds, .. }) = (&last.release.version, evidence);
    let recovered = evidence.recovered_milliseconds;
    let recovered = recovered.map(|ms| format!("; all was well again {ms} ms after too many had failed"));
    let note = format!(
        "while version {version} came in, {failed} of {requests} requests through the front door failed, and both versions answered for {mixed_milliseconds} ms{}",
        recovered.unwrap_or_default()
    );
    Ok(ctx.writer.event(resource, *failed == 0, "ReleaseWatched", &note).await?)
}

/// The annotation that pauses must carry an end.
fn paused_until(resource: &HospitalTenant, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Rejection> {
    let Some(until) = resource.annotations().get(names::PAUSE_UNTIL) else { return Ok(None) };
    let until = DateTime::parse_from_rfc3339(until).map_err(|_| {
        let message =
            format!("{until:?} is not an RFC 3339 time; a pause needs an end, for example 2030-01-31T18:00:00Z");
        let field = format!("metadata.annotations[{}]", names::PAUSE_UNTIL);
        Rejection::terminal(field, Reason::TimeInvalid, message)
    })?;
    Ok(Some(until.to_utc()).filter(|until| now < *until))
}

/// Watches wake a hospital; time does only where something ends at a given time.
fn wake(pass: &Pass, moments: impl Iterator<Item = DateTime<Utc>>, now: DateTime<Utc>) -> Action {
    let spec = &pass.tenant.spec;
    let off = [spec.network.as_ref().and_then(|n| n.off.as_ref()), spec.edge.as_ref().and_then(|e| e.off.as_ref())];
    let ends = off.into_iter().flatten().filter_map(|off| DateTime::parse_from_rfc3339(&off.until).ok());
    let next = ends.map(|end| end.to_utc()).chain(moments).filter(|end| *end > now).min();
    match next.and_then(|end| (end - now).to_std().ok()) {
        Some(left) => Action::requeue(left + Duration::from_secs(1)),
        None => Action::await_change(),
    }
}
