//! Which objects of a release exist at which step. What cannot be rendered any more stays exactly as it is.

use kube::{ResourceExt, core::DynamicObject};

use super::{Plan, Release, asking, autoscale, candidate::Candidate, check, history::LEDGER, workload};
use crate::{
    api::v1alpha1::{Colour, ReleaseIdentity, ReleaseStep},
    capabilities::{Capability, Input},
    names,
    objects::{Desired, Kind, Ref, kind},
};

/// All objects of a release.
pub fn all(plan: &Plan, input: Input<'_>) -> Vec<Desired> {
    let tenant = input.tenant;
    let mut desired = vec![Desired::Apply(workload::ledger(tenant, &plan.finished))];
    let asked_last = plan.asking();
    let asked_before = |live: &DynamicObject| asking::is_asking(live) && !asked_last.contains(&live.name_any());
    desired.extend(kept(input, kind::JOB, |live| !asked_before(live)));
    desired.extend(step(plan, input));
    desired.extend(gate(plan, input));
    desired.extend(prober(plan, input));
    if !plan.settled(input) {
        // Pods of the release before still name these files.
        desired.extend(kept(input, kind::CONFIG_MAP, |_| true));
    }
    desired.extend(leading(plan, input));
    if let Some(live) = &plan.state.live {
        desired.extend(coloured(plan, input, &live.release, live.colour));
    }
    if let Some(rollout) = plan.state.rollout.as_ref().filter(|rollout| rollout.step >= ReleaseStep::Surge) {
        desired.extend(coloured(plan, input, &rollout.release, rollout.colour));
    }
    desired.extend(autoscale::all(plan, input));
    // What leads users and what moves their pods is rendered also where the rest can only be kept.
    let rendered: Vec<Ref> = desired.iter().map(|desired| desired.at().clone()).collect();
    let again = |desired: &Desired| matches!(desired, Desired::Keep(at) if rendered.contains(at));
    desired.extend(background(plan, input).into_iter().filter(|desired| !again(desired)));
    desired
}

/// The Job of the lifecycle step that is due.
fn step(plan: &Plan, input: Input<'_>) -> Vec<Desired> {
    let (Some(wanted), Some((program, timeout)), None) = (plan.due_step(), &plan.step, &plan.waits_for) else {
        return Vec::new();
    };
    let mut desired: Vec<_> = workload::files(input.tenant, program).map(Desired::Apply).into_iter().collect();
    // The template of a Job cannot change: one that is there stays as it is.
    if input.observed.get(kind::JOB, &input.tenant.namespace, &wanted.job).is_none() {
        desired.push(Desired::Apply(workload::step(input.tenant, &wanted.job, program, *timeout)));
    }
    desired
}

/// The Job that asks the new pods.
fn gate(plan: &Plan, input: Input<'_>) -> Option<Desired> {
    let (name, rollout) = (plan.check.as_ref()?, plan.state.rollout.as_ref()?);
    let missing = input.observed.get(kind::JOB, &input.tenant.namespace, name).is_none();
    let due = rollout.step == ReleaseStep::Gate && missing;
    let checks = check::checks(input.tenant, &plan.wanted, rollout.colour);
    due.then(|| Desired::Apply(asking::gate(input.tenant, name, rollout, &checks)))
}

/// The Job that asks as users do, from before they are led to the new pods.
fn prober(plan: &Plan, input: Input<'_>) -> Option<Desired> {
    let (name, rollout) = (plan.prober.as_ref()?, plan.state.rollout.as_ref()?);
    let missing = input.observed.get(kind::JOB, &input.tenant.namespace, name).is_none();
    let due = rollout.step == ReleaseStep::Gate && missing;
    let checks = check::front_door(input.tenant, &plan.wanted);
    due.then(|| Desired::Apply(asking::prober(input.tenant, name, rollout, &checks)))
}

/// Services under the components' own names: those lead users where no Gateway does, and components to each other.
fn leading(plan: &Plan, input: Input<'_>) -> Vec<Desired> {
    let Some(traffic) = plan.traffic(input) else { return Vec::new() };
    let candidate = plan.candidate(traffic.release).unwrap_or(&plan.wanted);
    let service = |part| Desired::Apply(workload::leading_service(input.tenant, part, traffic.colour));
    candidate.atomic().map(service).collect()
}

/// One of the two copies of everything that users are led to.
fn coloured(plan: &Plan, input: Input<'_>, release: &ReleaseIdentity, colour: Colour) -> Vec<Desired> {
    let Some(candidate) = plan.candidate(release) else {
        let mine =
            |live: &DynamicObject| live.labels().get(names::COLOUR).is_some_and(|label| label == colour.as_str());
        return keep(input, mine);
    };
    let objects = candidate.atomic().flat_map(|part| {
        let pods = autoscale::of_colour(plan, input, part, colour);
        workload::component(input.tenant, candidate, part, Some(colour), pods)
    });
    objects.map(Desired::Apply).collect()
}

/// Workers, schedulers, and what is replaced in place: they follow when users have arrived, or at once where there is no
/// release before that they could meet.
fn background(plan: &Plan, input: Input<'_>) -> Vec<Desired> {
    let rollout = plan.state.rollout.as_ref();
    let first = plan.state.live.is_none();
    let followed = rollout.filter(|rollout| match rollout.step {
        ReleaseStep::Drain | ReleaseStep::Soak => true,
        ReleaseStep::Surge | ReleaseStep::Gate | ReleaseStep::Cutover => first,
        ReleaseStep::Preflight | ReleaseStep::Expand | ReleaseStep::Rollback => false,
    });
    let live = plan.state.live.as_ref().map(|live| &live.release);
    let Some(release) = followed.map(|rollout| &rollout.release).or(live) else { return Vec::new() };
    let Some(candidate) = plan.candidate(release) else {
        return keep(input, |live| !live.labels().contains_key(names::COLOUR));
    };
    objects_of_background(candidate, input)
}

fn objects_of_background(candidate: &Candidate, input: Input<'_>) -> Vec<Desired> {
    let objects = candidate.others().flat_map(|part| {
        let pods = autoscale::in_place(input, part);
        let objects = workload::component(input.tenant, candidate, part, None, pods);
        objects.into_iter().chain(workload::autoscaler(input.tenant, part, None))
    });
    objects.map(Desired::Apply).collect()
}

fn keep(input: Input<'_>, mine: impl Fn(&DynamicObject) -> bool + Copy) -> Vec<Desired> {
    [kind::SERVICE, kind::POD_DISRUPTION_BUDGET, kind::DEPLOYMENT, kind::HORIZONTAL_POD_AUTOSCALER]
        .map(|kind| kept(input, kind, mine))
        .concat()
}

/// What this capability has rendered before, of one kind.
fn kept(input: Input<'_>, kind: Kind, mine: impl Fn(&DynamicObject) -> bool) -> Vec<Desired> {
    let ours = |at: &Ref, live: &DynamicObject| {
        let capability = live.labels().get(names::CAPABILITY);
        at.kind == kind && at.name != LEDGER && capability.is_some_and(|name| name == Release::NAME) && mine(live)
    };
    input.observed.objects.iter().filter(|(at, live)| ours(at, live)).map(|(at, _)| Desired::Keep(at.clone())).collect()
}
