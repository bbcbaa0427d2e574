//! Status of a hospital, from what was observed. Pure; [`super::reconcile`] writes it once, and not if it is unchanged.

use chrono::{DateTime, Utc};

use super::pass::Pass;
use crate::{
    api::v1alpha1::{HospitalTenant, HospitalTenantStatus, Relaxation},
    capabilities::{registry, release},
    conditions::{Proof, READY, RECONCILING, Reason, Rejection, STALLED, Verdict, Verdicts, condition, ready},
    objects::Observed,
    tenant::{Tenant, template::public_url},
};

/// Status after a pass that was planned. `failure` is what the API server refused, if anything.
pub fn planned(
    resource: &HospitalTenant,
    pass: &Pass,
    observed: &Observed,
    failure: Option<&str>,
    paused: Option<DateTime<Utc>>,
) -> HospitalTenantStatus {
    let tenant = &pass.tenant;
    let verdicts = pass.assess(observed);
    let mut status = conditions(resource, &verdicts, tenant.now, failure, paused);
    status.namespace = Some(tenant.namespace.clone());
    pass.record(observed, &mut status);
    if paused.is_some() {
        // Nothing is acted upon, so nothing moves.
        status.release = tenant.status.release.clone();
        status.network.clone_from(&tenant.status.network);
    }
    status.version = release::serving_version(&status.release).map(ToOwned::to_owned);
    status.url = Some(public_url(tenant));
    status.relaxations = relaxations(tenant);
    status
}

/// Status after a pass that could not be planned: what runs is untouched, and what was known of it stays.
pub fn rejected(resource: &HospitalTenant, rejection: &Rejection, now: DateTime<Utc>) -> HospitalTenantStatus {
    let verdict = Verdict::unknown(rejection.reason, "not judged, because the hospital could not be planned");
    let verdicts: Verdicts = registry().iter().map(|capability| (capability.condition, verdict.clone())).collect();
    let mut status = conditions(resource, &verdicts, now, None, None);
    let before = resource.status.clone().unwrap_or_default();
    let message = rejection.to_string();
    let failed = Verdict::failed(rejection.reason, message.clone());
    let holds = Verdict { proof: Proof::Proved, reason: rejection.reason, message: message.clone() };
    let (reconciling, stalled) = if rejection.waiting {
        (holds, Verdict::failed(Reason::Progressing, "waits for something that a watch will notice"))
    } else {
        (Verdict::failed(rejection.reason, "nothing moves until the spec is corrected"), holds)
    };
    replace(&mut status, resource, now, [(READY, failed), (RECONCILING, reconciling), (STALLED, stalled)]);
    status.blocking = Some(crate::api::v1alpha1::Blocking {
        condition: READY.to_owned(),
        reason: rejection.reason.as_str().to_owned(),
        message,
        next: rejection.reason.next().to_owned(),
    });
    HospitalTenantStatus {
        namespace: before.namespace,
        version: before.version,
        release: before.release,
        network: before.network,
        url: before.url,
        relaxations: before.relaxations,
        jobs: before.jobs,
        ..status
    }
}

fn conditions(
    resource: &HospitalTenant,
    verdicts: &Verdicts,
    now: DateTime<Utc>,
    failure: Option<&str>,
    paused: Option<DateTime<Utc>>,
) -> HospitalTenantStatus {
    let generation = resource.metadata.generation;
    let before = resource.status.clone().unwrap_or_default().conditions;
    let (ready, blocking) = ready(verdicts);
    let stalled = verdicts.iter().find(|(_, verdict)| needs_a_person(verdict.reason));
    let stalled = match stalled {
        Some((kind, verdict)) => {
            Verdict { proof: Proof::Proved, reason: verdict.reason, message: format!("{kind}: {}", verdict.message) }
        }
        None => Verdict::failed(Reason::Progressing, "nothing waits for a person"),
    };
    let moving = ready.proof != Proof::Proved && stalled.proof != Proof::Proved;
    let reconciling = match (failure, paused) {
        (_, Some(until)) => Verdict::failed(Reason::Paused, format!("paused until {}", until.to_rfc3339())),
        (Some(failure), _) => Verdict { proof: Proof::Proved, reason: Reason::ApiError, message: failure.to_owned() },
        (None, None) if moving => {
            Verdict { proof: Proof::Proved, reason: ready.reason, message: ready.message.clone() }
        }
        (None, None) => Verdict::failed(Reason::Proved, "nothing is under way"),
    };
    let all = [(READY, ready), (RECONCILING, reconciling), (STALLED, stalled)];
    let all = all.iter().chain(verdicts.iter()).map(|(kind, v)| condition(kind, v, generation, &before, now)).collect();
    HospitalTenantStatus {
        observed_generation: generation,
        conditions: all,
        blocking,
        paused_until: paused.map(|until| until.to_rfc3339()),
        ..HospitalTenantStatus::default()
    }
}

fn replace<const N: usize>(
    status: &mut HospitalTenantStatus,
    resource: &HospitalTenant,
    now: DateTime<Utc>,
    with: [(&str, Verdict); N],
) {
    let before = resource.status.clone().unwrap_or_default().conditions;
    for (kind, verdict) in with {
        let new = condition(kind, &verdict, resource.metadata.generation, &before, now);
        if let Some(old) = status.conditions.iter_mut().find(|c| c.type_ == kind) {
            *old = new;
        }
    }
}

/// Failures that no watch and no time will mend.
fn needs_a_person(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::InitFailed
            | Reason::MigrationFailed
            | Reason::ContractFailed
            | Reason::GateFailed
            | Reason::RequestsFailing
            | Reason::RolledBack
            | Reason::QuotaTooSmall
            | Reason::NetworkOpen
            | Reason::HostRefused
            | Reason::Unsupported
            | Reason::GatewayMissing
            | Reason::SecretNotFound
    )
}

fn relaxations(tenant: &Tenant) -> Vec<Relaxation> {
    let switched_off = [
        ("network", tenant.spec.network.as_ref().and_then(|network| network.off.as_ref())),
        ("edge", tenant.spec.edge.as_ref().and_then(|edge| edge.off.as_ref())),
        ("release", tenant.spec.release.as_ref().and_then(|release| release.hold.as_ref())),
    ];
    let off = switched_off.into_iter().filter_map(|(what, off)| {
        let off = off?;
        let holds = tenant.is_off(what, Some(off)).unwrap_or_default();
        holds.then(|| Relaxation { what: what.to_owned(), reason: off.reason.clone(), until: Some(off.until.clone()) })
    });
    let lifecycle = tenant.application.lifecycle.clone().unwrap_or_default();
    let of_steps = lifecycle.steps().map(|(name, step)| (name.to_owned(), step.exceptions.clone()));
    let of_components = tenant.application.components.iter().map(|c| (c.name.clone(), c.exceptions.clone()));
    let exceptions = of_components.chain(of_steps).flat_map(|(name, exceptions)| {
        exceptions.into_iter().map(move |exception| Relaxation {
            what: format!("{name}/{}", rule_name(exception.rule)),
            reason: exception.reason,
            until: None,
        })
    });
    let egress = tenant.spec.network.iter().flat_map(|network| &network.egress);
    let anywhere = egress.filter_map(|flow| {
        let reason = flow.whole_internet_reason.clone()?;
        Some(Relaxation { what: format!("network/{}/{}", flow.component, flow.port), reason, until: None })
    });
    off.chain(anywhere).chain(exceptions).collect()
}

/// As written in the API.
fn rule_name(rule: crate::api::v1alpha1::SecurityRule) -> String {
    serde_json::to_value(rule).ok().and_then(|name| name.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}
