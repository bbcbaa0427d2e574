//! What a release sees of the world, from what was observed.

use chrono::TimeDelta;
use kube::{ResourceExt, core::DynamicObject};

use super::{
    Plan, asking, autoscale,
    candidate::{atomic, strategy},
    check::service,
    contract::Contract,
    gate::Gate,
    history,
    machine::{self, Check, Pods, Seen, Watch},
};
use crate::{
    api::v1alpha1::{
        Colour, Component, LiveRelease, ReleaseEvidence, ReleaseIdentity, ReleaseStatus, ReleaseStep, Strategy,
    },
    capabilities::{
        Demand, Input,
        isolation::{QUOTA, mebibytes, millicores},
        route,
        serving::{self, Needed},
    },
    conditions::Proof,
    names,
    objects::{amount, field, kind, number},
    secrecy::last_words,
    tenant::{Count, Tenant},
};

const DEADLINE_SECONDS: i64 = 1800;
const SOAK_SECONDS: i64 = 60;
/// Of what a step said last: an event's note has room for a thousand characters.
const LONGEST_WORDS: usize = 400;

/// How long surge and gate may take.
pub fn deadline(tenant: &Tenant) -> TimeDelta {
    let given = tenant.spec.release.as_ref().and_then(|release| release.deadline_seconds);
    seconds(given.unwrap_or(DEADLINE_SECONDS))
}

/// How long the old pods stay.
pub fn soak(tenant: &Tenant) -> TimeDelta {
    let given = tenant.spec.release.as_ref().and_then(|release| release.soak_seconds);
    seconds(given.unwrap_or(SOAK_SECONDS))
}

/// Within what the schema allows, whatever an API server without it has let through.
fn seconds(given: i64) -> TimeDelta {
    TimeDelta::seconds(given.clamp(0, 86_400))
}

/// Everything that moves a release.
pub fn seen(plan: &Plan, input: Input<'_>) -> Seen {
    let tenant = input.tenant;
    let state = &plan.state;
    let colour = machine::idle_colour(state);
    let coming = state.rollout.as_ref().map_or(&plan.wanted.identity, |rollout| &rollout.release);
    let old = state.live.as_ref();
    Seen {
        wanted: plan.wanted.identity.clone(),
        asked_by: tenant.changed_by.clone(),
        closed: plan.closed.as_ref().map(|closed| closed.why.clone()),
        shortage: shortage(plan, input),
        expand: plan.gate.clone(),
        last_words: told(plan, input).unwrap_or_default(),
        new: coloured(input, coming, colour, if arrived(state) { Needed::Least } else { all_of_them }),
        old: old.map_or(Pods::Complete, |live| coloured(input, &live.release, live.colour, all_of_them)),
        check: check(plan, input),
        traffic: traffic(input, state),
        background: background(input, coming, Needed::Least),
        watch: watch(plan, input),
        last: state
            .history
            .first()
            .and_then(|last| Some((last.number, reported(input, &asking::prober_of(last), asking::PROBER)?))),
        deadline: deadline(tenant),
        soak: soak(tenant),
    }
}

/// The last lines of the step that has failed, if it may tell them.
fn told(plan: &Plan, input: Input<'_>) -> Option<String> {
    let ((Contract::Failed(wanted), _) | (_, Gate::Failed(wanted))) = (&plan.contract, &plan.gate) else { return None };
    let report = input.observed.report_of(&wanted.job, wanted.kind.name())?;
    Some(format!("; its last lines: {}", last_words(&report.text, LONGEST_WORDS)))
}

/// What was written down; if nothing was, what the cluster says of a release that serves.
pub fn recovered(input: Input<'_>) -> ReleaseStatus {
    let state = input.tenant.status.release.clone();
    if !state.is_empty() {
        return state;
    }
    let served = input.tenant.application.components.iter().find_map(|component| {
        let colour = selected(input, &component.name)?;
        let live = deployment(input, &service(&component.name, colour))?;
        let label = |name: &str| live.labels().get(name).cloned().unwrap_or_default();
        let release = ReleaseIdentity {
            version: label(names::APP_VERSION),
            digest: label(names::RELEASE),
            ..ReleaseIdentity::default()
        };
        Some(LiveRelease { colour, release })
    });
    ReleaseStatus { live: served, ..state }
}

/// Whether users can be led back: they are already, or every old pod is ready.
pub fn can_take_over(input: Input<'_>, old: &LiveRelease) -> bool {
    let led = atomic(input.tenant)
        .filter_map(|component| selected(input, &component.name))
        .all(|colour| colour == old.colour);
    led || coloured(input, &old.release, old.colour, all_of_them) == Pods::Complete
}

/// What is needed of a component with an autoscaler, by the least number of its pods. Of others, all are.
type Moved = fn(i32) -> Needed;

fn all_of_them(_: i32) -> Needed {
    Needed::All
}

/// Users are led to the new pods, and an autoscaler may ask for more of them.
fn arrived(state: &ReleaseStatus) -> bool {
    matches!(super::step_of(state), Some(ReleaseStep::Drain | ReleaseStep::Soak))
}

/// Pods of all components that users are led to.
fn coloured(input: Input<'_>, release: &ReleaseIdentity, colour: Colour, moved: Moved) -> Pods {
    let name =
        |component: &Component| (strategy(component) == Strategy::Atomic).then(|| service(&component.name, colour));
    all(input, release, name, moved)
}

/// Pods of everything else.
fn background(input: Input<'_>, release: &ReleaseIdentity, moved: Moved) -> Pods {
    let name = |component: &Component| (strategy(component) != Strategy::Atomic).then(|| component.name.clone());
    all(input, release, name, moved)
}

/// Every pod of a release that has come up before, in the colour that serves.
pub fn everything(input: Input<'_>, live: &LiveRelease) -> Pods {
    match coloured(input, &live.release, live.colour, Needed::Still) {
        Pods::Complete => background(input, &live.release, Needed::Still),
        other => other,
    }
}

fn all(input: Input<'_>, release: &ReleaseIdentity, name: impl Fn(&Component) -> Option<String>, moved: Moved) -> Pods {
    let judge = |component: &Component| {
        let bounds = input.tenant.count(component).ok().and_then(Count::bounds);
        let needed = bounds.map_or(Needed::All, |bounds| moved(bounds.least));
        Some(pods(input, &name(component)?, release, needed))
    };
    let mut judged = input.tenant.application.components.iter().filter_map(judge);
    judged.find(|pods| *pods != Pods::Complete).unwrap_or(Pods::Complete)
}

fn pods(input: Input<'_>, name: &str, release: &ReleaseIdentity, needed: Needed) -> Pods {
    let Some(live) = deployment(input, name) else {
        return Pods::Coming(format!("Deployment {name} was not seen yet"));
    };
    if live.labels().get(names::RELEASE) != Some(&release.digest) {
        return Pods::Coming(format!("Deployment {name} is still of another release"));
    }
    serving::pods(input, name, live, needed)
}

fn deployment<'a>(input: Input<'a>, name: &str) -> Option<&'a DynamicObject> {
    input.observed.get(kind::DEPLOYMENT, &input.tenant.namespace, name)
}

/// Number of pods that a Deployment asks for now; somebody may have asked for more than the spec does.
pub fn current_replicas(input: Input<'_>, name: &str) -> Option<i32> {
    i32::try_from(number(deployment(input, name)?, "/spec/replicas")).ok()
}

fn check(plan: &Plan, input: Input<'_>) -> Check {
    let Some(gate) = &plan.check else { return Check::Passed };
    match input.observed.get(kind::JOB, &input.tenant.namespace, gate).and_then(history::result) {
        None => Check::Running,
        Some(crate::api::v1alpha1::JobResult::Succeeded) => Check::Passed,
        Some(crate::api::v1alpha1::JobResult::Failed) => {
            Check::Failed(format!("the application's checks did not pass: kubectl logs job/{gate} says which"))
        }
    }
}

/// Who watches the front door while users are led to the new pods.
fn watch(plan: &Plan, input: Input<'_>) -> Watch {
    let Some(prober) = &plan.prober else { return Watch::Nobody };
    let Some(job) = input.observed.get(kind::JOB, &input.tenant.namespace, prober) else { return Watch::Coming };
    let alarm = reported(input, prober, asking::ALARM);
    match history::result(job) {
        _ if alarm.is_some() => Watch::Ended(alarm),
        Some(_) => Watch::Ended(reported(input, prober, asking::PROBER)),
        None if number(job, "/status/ready") > 0 => Watch::Asking,
        None => Watch::Coming,
    }
}

/// Whether a Job is there and has not ended.
pub fn runs(input: Input<'_>, job: &str) -> bool {
    let job = input.observed.get(kind::JOB, &input.tenant.namespace, job);
    job.is_some_and(|job| history::result(job).is_none())
}

/// Whether users come through a route.
pub fn is_routed(input: Input<'_>) -> bool {
    input.observed.get(kind::HTTP_ROUTE, &input.tenant.namespace, route::ROUTE).is_some() && has_routes(input.tenant)
}

/// What a prober has reported, at its end or when requests began to fail.
fn reported(input: Input<'_>, prober: &str, container: &str) -> Option<ReleaseEvidence> {
    serde_json::from_str(&input.observed.report_of(prober, container)?.text).ok()
}

/// The colour that everybody leads users to: all Services, and the route where there is one.
fn traffic(input: Input<'_>, state: &ReleaseStatus) -> Option<Colour> {
    let mut colours = atomic(input.tenant).map(|component| selected(input, &component.name));
    let first = match colours.next() {
        Some(colour) => colour?,
        // Without a component that users are led to, everybody follows at once.
        None => super::traffic(state, input)?.colour,
    };
    let same = colours.all(|colour| colour == Some(first));
    (same && route_follows(input, first)).then_some(first)
}

/// The colour in the selector of a component's own Service.
fn selected(input: Input<'_>, component: &str) -> Option<Colour> {
    let service = input.observed.get(kind::SERVICE, &input.tenant.namespace, component)?;
    let selector = field(service, "/spec/selector")?.get(names::COLOUR)?.as_str()?;
    Colour::parse(selector)
}

/// Whether the route leads to this colour and every Gateway follows; true where there is no route.
fn route_follows(input: Input<'_>, colour: Colour) -> bool {
    let Some(live) = input.observed.get(kind::HTTP_ROUTE, &input.tenant.namespace, route::ROUTE) else {
        return input.tenant.platform.gateway.is_none()
            || !input.observed.serves(kind::HTTP_ROUTE)
            || !has_routes(input.tenant);
    };
    let leads =
        |backend: &str| atomic(input.tenant).all(|component| backend != service(&component.name, colour.other()));
    route::backends(live).iter().all(|backend| leads(backend)) && route::accepted(live, "users").proof == Proof::Proved
}

fn has_routes(tenant: &Tenant) -> bool {
    let off = tenant.spec.edge.as_ref().and_then(|edge| edge.off.as_ref());
    let off = tenant.is_off("spec.edge.off", off).unwrap_or_default();
    !off && tenant.application.components.iter().any(|component| !component.routes.is_empty())
}

/// What the quota lacks for a second set of pods, and for the Jobs that ask while they come in.
fn shortage(plan: &Plan, input: Input<'_>) -> Option<String> {
    let quota = input.observed.get(kind::RESOURCE_QUOTA, &input.tenant.namespace, QUOTA)?;
    let pods = |part| autoscale::of_colour(plan, input, part, machine::idle_colour(&plan.state));
    let set = plan.wanted.atomic().map(|part| super::demand(&part.program, pods(part)));
    let askers = plan.check.iter().map(|_| asking::gates()).chain(plan.prober.iter().map(|_| asking::probers()));
    let demands: Vec<Demand> = set.chain(askers).collect();
    let sum = |each: fn(&Demand) -> i64| {
        demands.iter().map(|demand| each(demand).saturating_mul(i64::from(demand.pods))).fold(0, i64::saturating_add)
    };
    let needs = [
        ("limits.cpu", i128::from(sum(|demand| millicores(&demand.cpu))) * 1_000_000),
        ("limits.memory", i128::from(sum(|demand| mebibytes(&demand.memory))) * (1 << 20) * 1_000_000_000),
        ("pods", i128::from(sum(|_| 1)) * 1_000_000_000),
    ];
    // What the spec says counts at once, not only when the quota controller has counted by it.
    let asked = input.tenant.spec.isolation.as_ref().and_then(|isolation| isolation.quota.as_ref());
    let bound = |name: &str| {
        let asked = asked?;
        let value = match name {
            "limits.cpu" => asked.cpu.as_str().into(),
            "limits.memory" => asked.memory.as_str().into(),
            _ => asked.pods.into(),
        };
        amount(&value)
    };
    needs.into_iter().find_map(|(name, needed)| {
        let read = |of: &str| amount(field(quota, &format!("/status/{of}"))?.get(name)?);
        let free = bound(name).or_else(|| read("hard"))?.saturating_sub(read("used")?);
        (free < needed)
            .then(|| format!("{name} of the quota leaves no room for a second set of pods, and those that ask it, beside the one that serves"))
    })
}
