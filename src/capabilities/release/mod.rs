#![doc = include_str!("README.md")]

mod asking;
mod assess;
mod autoscale;
mod candidate;
pub mod check;
mod container;
mod contract;
mod gate;
mod history;
mod linger;
mod machine;
mod program;
mod render;
mod seen;
mod steps;
mod window;
mod workload;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    api::v1alpha1::{
        Colour, Component, FinishedJob, HospitalTenantStatus, Lifecycle, LiveRelease, ReleaseIdentity, ReleaseStatus,
        ReleaseStep, Strategy,
    },
    capabilities::{
        Capability, Contributions, Demand, Input, Peer, credentials::Credentials, database::DatabaseCapability,
    },
    conditions::{Proof, Rejection, Verdict, Verdicts},
    objects::{Desired, Kind, kind},
    tenant::{Tenant, database::Mode},
};
use candidate::{Candidate, Part, strategy};
use contract::Contract;
use gate::{Gate, StepKind};
use machine::Pods;
use program::{Program, component_uses, step_uses};
use steps::Steps;
use window::Closed;

/// See the module documentation.
#[derive(Debug)]
pub struct Release;

/// What to run, and how far it has come.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As written down before this pass. Acted upon; what follows from it is written down first.
    state: ReleaseStatus,
    /// What the spec asks for.
    wanted: Candidate,
    /// What serves, if it is something else and can still be rendered.
    live: Option<Candidate>,
    gate: Gate,
    contract: Contract,
    /// What runs in the Job of `gate` or `contract`, and for how many seconds at the most.
    step: Option<(Program, i64)>,
    finished: Vec<FinishedJob>,
    /// Condition that a step has to wait for.
    waits_for: Option<(&'static str, String)>,
    /// Why no release may begin now.
    closed: Option<Closed>,
    /// Name of the Job that asks the new pods, if there is anything to ask.
    check: Option<String>,
    /// Name of the Job that watches the front door meanwhile, if that is possible.
    prober: Option<String>,
}

impl Capability for Release {
    const NAME: &'static str = "release";
    const CONDITION: &'static str = "ReleaseReady";
    const KINDS: &'static [Kind] = &[
        kind::LEDGER,
        kind::CONFIG_MAP,
        kind::SERVICE,
        kind::JOB,
        kind::DEPLOYMENT,
        kind::POD_DISRUPTION_BUDGET,
        kind::HORIZONTAL_POD_AUTOSCALER,
    ];
    type Plan = Plan;

    fn plan(input: Input<'_>, shared: &mut Contributions, before: &Verdicts) -> Result<Plan, Rejection> {
        let tenant = input.tenant;
        let state = seen::recovered(input);
        let wanted = candidate::wanted(tenant, &state)?;
        for part in &wanted.parts {
            contribute(tenant, part, shared);
        }
        let (finished, running) = history::read(input);
        contract::allows(tenant, &finished, &running)?;
        let steps = Steps::of(tenant, shared)?;
        let gate = gate::decide(
            &tenant.version.version,
            steps.job(StepKind::Init),
            steps.job(StepKind::Migrate),
            &finished,
            &running,
        );
        let alone = contract::alone(&state, &wanted.identity.digest);
        let contract = contract::decide(steps.job(StepKind::Contract), alone, contract::approved(tenant), &finished);
        let step = match (&contract, &gate) {
            (Contract::Run(job), _) | (_, Gate::Run(job)) => steps.program(job.kind),
            _ => None,
        };
        let other = state.live.as_ref().filter(|live| live.release.digest != wanted.identity.digest);
        let live = other.and_then(|live| candidate::again(tenant, &live.release));
        let (check, prober) = (check_name(tenant, &state, &wanted), prober_name(input, &state, &wanted));
        contribute_askers(input, &state, &wanted, prober.as_deref(), shared);
        let (waits_for, closed) = (waits_for(tenant, before), window::closed(tenant)?);
        Ok(Plan { state, wanted, live, gate, contract, step, finished, waits_for, closed, check, prober })
    }

    fn render(plan: &Plan, input: Input<'_>, _: &Contributions) -> Vec<Desired> {
        render::all(plan, input)
    }

    fn assess(plan: &Plan, input: Input<'_>) -> Verdict {
        assess::assess(plan, input)
    }

    fn record(plan: &Plan, input: Input<'_>, _: &Contributions, status: &mut HospitalTenantStatus) {
        let next = machine::next(&plan.state, &seen::seen(plan, input), input.tenant.now);
        status.release = ReleaseStatus { not_before: plan.not_before(&next), ..next };
        status.jobs = history::newest(&input.tenant.status.jobs, &history::read(input).0);
    }
}

/// Where users are led, and what answers there.
#[derive(Clone, Copy, Debug)]
pub struct Traffic<'a> {
    /// The pods.
    pub colour: Colour,
    /// The release that they run.
    pub release: &'a ReleaseIdentity,
}

impl Plan {
    /// A release that can be rendered.
    fn candidate(&self, release: &ReleaseIdentity) -> Option<&Candidate> {
        [Some(&self.wanted), self.live.as_ref()]
            .into_iter()
            .flatten()
            .find(|candidate| candidate.identity.digest == release.digest)
    }

    /// Names of the Jobs that asked, or ask, in the last release: their logs tell why it was taken back.
    fn asking(&self) -> Vec<String> {
        let rollout = self.state.rollout.iter().map(|rollout| (&rollout.release, rollout.number));
        let ended = self.state.history.first().map(|record| (&record.release, record.number));
        let jobs = |(release, number)| [asking::GATE, asking::PROBER].map(|job| asking::name(job, release, number));
        rollout.chain(ended).flat_map(jobs).collect()
    }

    /// The lifecycle step that must run now, or is running.
    fn due_step(&self) -> Option<&gate::Wanted> {
        match (&self.contract, &self.gate, step_of(&self.state)) {
            (Contract::Run(wanted), ..) | (_, Gate::Run(wanted), Some(ReleaseStep::Expand)) => Some(wanted),
            _ => None,
        }
    }

    /// When a release that is asked for may begin, if time keeps it waiting.
    fn not_before(&self, state: &ReleaseStatus) -> Option<String> {
        let waits = state.rollout.is_none() && state.refused.is_none();
        let other = state.live.as_ref().is_some_and(|live| live.release.digest != self.wanted.identity.digest);
        let opens = self.closed.as_ref().filter(|_| waits && other)?.opens?;
        Some(opens.to_rfc3339_opts(SecondsFormat::Secs, true))
    }

    fn traffic(&self, input: Input<'_>) -> Option<Traffic<'_>> {
        traffic(&self.state, input)
    }

    /// Nothing is under way, and nothing has failed.
    fn settled(&self, input: Input<'_>) -> bool {
        let live = self.state.live.as_ref().filter(|live| live.release.digest == self.wanted.identity.digest);
        self.state.rollout.is_none() && live.is_some_and(|live| seen::everything(input, live) == Pods::Complete)
    }
}

fn step_of(state: &ReleaseStatus) -> Option<ReleaseStep> {
    state.rollout.as_ref().map(|rollout| rollout.step)
}

/// Where users are to be led. After a failed release back to pods that are all ready, and to no others.
fn traffic<'a>(state: &'a ReleaseStatus, input: Input<'_>) -> Option<Traffic<'a>> {
    let live = state.live.as_ref().map(|live| Traffic { colour: live.colour, release: &live.release });
    let Some(rollout) = &state.rollout else { return live };
    let new = Traffic { colour: rollout.colour, release: &rollout.release };
    match rollout.step {
        ReleaseStep::Preflight | ReleaseStep::Expand | ReleaseStep::Surge | ReleaseStep::Gate => live,
        ReleaseStep::Cutover | ReleaseStep::Drain | ReleaseStep::Soak => Some(new),
        ReleaseStep::Rollback => match &state.live {
            Some(old) if !seen::can_take_over(input, old) => Some(new),
            _ => live,
        },
    }
}

/// The colour that users are led to; absent while no release may be shown to them.
pub fn shown(input: Input<'_>) -> Option<Colour> {
    traffic(&seen::recovered(input), input).map(|traffic| traffic.colour)
}

/// Whether there are two copies of a component during a release.
pub fn has_colours(component: &Component) -> bool {
    strategy(component) == Strategy::Atomic
}

/// Whether it is the component of a Job that only asks, while a release runs.
pub fn is_asker(component: &str) -> bool {
    asking::is_asker(component)
}

/// Name of the Service behind a component's public paths while users are led to this colour.
pub fn backend(component: &Component, colour: Colour) -> String {
    match strategy(component) {
        Strategy::Atomic => check::service(&component.name, colour),
        Strategy::Rolling | Strategy::Recreate => component.name.clone(),
    }
}

/// When time alone moves the release on.
pub fn due(tenant: &Tenant, state: &ReleaseStatus) -> Option<DateTime<Utc>> {
    let opens = || window::closed(tenant).ok().flatten().and_then(|closed| closed.opens);
    match &state.rollout {
        Some(_) => machine::due(state, seen::deadline(tenant), seen::soak(tenant)),
        None => opens(),
    }
}

/// Whether every component runs with all its pods, in whatever version serves.
pub fn serves(input: Input<'_>) -> bool {
    seen::recovered(input).live.is_some_and(|live| seen::everything(input, &live) == Pods::Complete)
}

/// Version that serves users.
pub fn serving_version(state: &ReleaseStatus) -> Option<&str> {
    let arrived =
        state.rollout.as_ref().filter(|rollout| matches!(rollout.step, ReleaseStep::Drain | ReleaseStep::Soak));
    let live = state.live.as_ref().map(|LiveRelease { release, .. }| release);
    arrived.map(|rollout| &rollout.release).or(live).map(|release| release.version.as_str())
}

/// Each release asks anew, also one that was here before.
fn check_name(tenant: &Tenant, state: &ReleaseStatus, wanted: &Candidate) -> Option<String> {
    let rollout = state.rollout.as_ref()?;
    let some = !check::checks(tenant, wanted, rollout.colour).is_empty();
    some.then(|| asking::name(asking::GATE, &rollout.release, rollout.number))
}

/// There is something to watch where users are led from one version to another, on a way that pods can go too.
fn prober_name(input: Input<'_>, state: &ReleaseStatus, wanted: &Candidate) -> Option<String> {
    let rollout = state.rollout.as_ref().filter(|_| state.live.is_some())?;
    let some = seen::is_routed(input) && !check::front_door(input.tenant, wanted).is_empty();
    some.then(|| asking::name(asking::PROBER, &rollout.release, rollout.number))
}

/// What the Jobs that ask may reach, while they do.
fn contribute_askers(
    input: Input<'_>,
    state: &ReleaseStatus,
    wanted: &Candidate,
    prober: Option<&str>,
    shared: &mut Contributions,
) {
    let tenant = input.tenant;
    // Whether they run or not: the quota does not come and go with them.
    shared.errands.push(asking::gates());
    shared.errands.extend(check::inside(tenant).map(|_| asking::probers()));
    if matches!(step_of(state), Some(ReleaseStep::Surge | ReleaseStep::Gate)) {
        let ports = |part: &Part| part.component.ports.iter().map(|port| port.port).collect::<Vec<_>>();
        let all =
            wanted.atomic().flat_map(|part| ports(part).into_iter().map(|port| (part.component.name.as_str(), port)));
        asking::contribute_gate(all, tenant, shared);
    }
    let due = matches!(step_of(state), Some(ReleaseStep::Surge | ReleaseStep::Gate));
    let last = state.history.first().map(asking::prober_of);
    let asks = prober.into_iter().chain(last.as_deref()).any(|prober| seen::runs(input, prober));
    if asks || (due && prober.is_some()) {
        asking::contribute_prober(tenant, shared);
    }
}

/// Names of the components and steps that use a dependency: those whose texts name a variable of its group, such as
/// `database` or `buckets.pictures`.
pub fn users(tenant: &Tenant, group: &str) -> Vec<String> {
    let lifecycle = tenant.application.lifecycle.iter().flat_map(Lifecycle::steps);
    let steps = lifecycle.filter(|(_, step)| step_uses(tenant, step, group)).map(|(name, _)| name.to_owned());
    components_that_use(tenant, group).cloned().chain(steps).collect()
}

/// Names of the components among them.
pub fn components_that_use<'a>(tenant: &'a Tenant, group: &'a str) -> impl Iterator<Item = &'a String> {
    let components = tenant.application.components.iter();
    components.filter(move |component| component_uses(tenant, component, group)).map(|component| &component.name)
}

fn contribute(tenant: &Tenant, part: &Part, shared: &mut Contributions) {
    let name = &part.component.name;
    shared.identity(name);
    shared.resolution(tenant, name);
    shared.demands.push(demand(&part.program, part.count.most()));
    for connection in &part.component.connects_to {
        let target = tenant.application.components.iter().find(|c| c.name == connection.component);
        let port = target.and_then(|target| target.ports.iter().find(|port| port.name == connection.port));
        if let Some(port) = port {
            let why = format!("{name} connects to {}", connection.component);
            shared.flow(Peer::component(name), Peer::component(&connection.component), port.port, why);
        }
    }
}

fn demand(program: &Program, pods: i32) -> Demand {
    Demand {
        cpu: program.resources.cpu_limit.clone().unwrap_or_default(),
        memory: program.resources.memory.clone().unwrap_or_default(),
        pods,
    }
}

/// A step needs its credentials and a database that answers.
fn waits_for(tenant: &Tenant, before: &Verdicts) -> Option<(&'static str, String)> {
    let external = tenant.database.as_ref().is_some_and(|database| matches!(database.mode, Mode::External(_)));
    before.iter().find_map(|(condition, verdict)| {
        let ready = match *condition {
            DatabaseCapability::CONDITION if external => verdict.proof != Proof::Failed,
            DatabaseCapability::CONDITION | Credentials::CONDITION => verdict.proof == Proof::Proved,
            _ => true,
        };
        (!ready).then(|| (*condition, verdict.message.clone()))
    })
}
