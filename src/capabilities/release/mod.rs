#![doc = include_str!("README.md")]

mod agent;
mod assess;
mod container;
mod gate;
mod history;
mod program;
mod render;

use crate::{
    api::v1alpha1::{Component, FinishedJob, Lifecycle, Step},
    capabilities::{
        Capability, Contributions, Demand, Input, Peer, credentials::Credentials, database::DatabaseCapability,
    },
    conditions::{Proof, Rejection, Verdict, Verdicts},
    objects::{Desired, Kind, kind},
    tenant::{Tenant, database::Mode},
};
use gate::{Gate, StepKind, Wanted};
use program::{Program, component_uses, step_uses};

pub use agent::released as released_agent;
pub use assess::{serves, serving_version};

/// See the module documentation.
#[derive(Debug)]
pub struct Release;

/// A component, ready to be rendered.
#[derive(Clone, Debug)]
pub struct Part {
    component: Component,
    program: Program,
    replicas: i32,
}

/// What to run, and whether it may.
#[derive(Clone, Debug)]
pub struct Plan {
    parts: Vec<Part>,
    gate: Gate,
    step: Option<(Program, i64)>,
    finished: Vec<FinishedJob>,
    /// Condition that a step has to wait for.
    waits_for: Option<(&'static str, String)>,
}

impl Capability for Release {
    const NAME: &'static str = "release";
    const CONDITION: &'static str = "ReleaseReady";
    const KINDS: &'static [Kind] =
        &[kind::LEDGER, kind::CONFIG_MAP, kind::SERVICE, kind::JOB, kind::DEPLOYMENT, kind::POD_DISRUPTION_BUDGET];
    type Plan = Plan;

    fn plan(input: Input<'_>, shared: &mut Contributions, before: &Verdicts) -> Result<Plan, Rejection> {
        let tenant = input.tenant;
        let parts = tenant.application.components.iter().map(|c| part(tenant, c)).collect::<Result<Vec<_>, _>>()?;
        for part in &parts {
            contribute(tenant, part, shared);
        }
        let lifecycle = tenant.application.lifecycle.clone().unwrap_or_default();
        let init = step(tenant, StepKind::Init, lifecycle.init.as_ref(), shared)?;
        let migrate = step(tenant, StepKind::Migrate, lifecycle.migrate.as_ref(), shared)?;
        let (finished, running) = history::read(input);
        let wanted = |step: &Option<(Wanted, Program, i64)>| step.as_ref().map(|(wanted, ..)| wanted.clone());
        let gate = gate::decide(&tenant.version.version, wanted(&init), wanted(&migrate), &finished, &running);
        let step = match &gate {
            Gate::Run(wanted) => {
                let chosen = if wanted.kind == StepKind::Init { init } else { migrate };
                chosen.map(|(_, program, timeout)| (program, timeout))
            }
            Gate::Open | Gate::Failed(_) | Gate::Busy(_) => None,
        };
        Ok(Plan { parts, gate, step, finished, waits_for: waits_for(tenant, before) })
    }

    fn render(plan: &Plan, input: Input<'_>, _: &Contributions) -> Vec<Desired> {
        render::all(plan, input)
    }

    fn assess(plan: &Plan, input: Input<'_>) -> Verdict {
        assess::assess(plan, input)
    }
}

/// All ended lifecycle jobs, by name.
pub fn finished(input: Input<'_>) -> Vec<FinishedJob> {
    history::read(input).0
}

/// Names of the components and steps that use a dependency: those whose texts name a variable of its group, such as
/// `database` or `buckets.pictures`.
pub fn users(tenant: &Tenant, group: &str) -> Vec<String> {
    let application = &tenant.application;
    let components = application.components.iter().filter(|component| component_uses(tenant, component, group));
    let Lifecycle { init, migrate } = application.lifecycle.clone().unwrap_or_default();
    let steps = [(StepKind::Init, init), (StepKind::Migrate, migrate)];
    let steps = steps.into_iter().filter(|(_, step)| step.as_ref().is_some_and(|step| step_uses(tenant, step, group)));
    components.map(|component| component.name.clone()).chain(steps.map(|(kind, _)| kind.name().to_owned())).collect()
}

fn part(tenant: &Tenant, component: &Component) -> Result<Part, Rejection> {
    Ok(Part {
        component: component.clone(),
        program: program::of_component(tenant, component)?,
        replicas: tenant.replicas(component)?,
    })
}

fn contribute(tenant: &Tenant, part: &Part, shared: &mut Contributions) {
    let name = &part.component.name;
    shared.identity(name);
    shared.resolution(tenant, name);
    shared.demands.push(demand(&part.program, part.replicas));
    for connection in &part.component.connects_to {
        let target = tenant.application.components.iter().find(|c| c.name == connection.component);
        let port = target.and_then(|target| target.ports.iter().find(|port| port.name == connection.port));
        if let Some(port) = port {
            let why = format!("{name} connects to {}", connection.component);
            shared.flow(Peer::component(name), Peer::component(&connection.component), port.port, why);
        }
    }
}

fn step(
    tenant: &Tenant,
    kind: StepKind,
    step: Option<&Step>,
    shared: &mut Contributions,
) -> Result<Option<(Wanted, Program, i64)>, Rejection> {
    let Some(step) = step else { return Ok(None) };
    let program = program::of_step(tenant, kind.name(), step)?;
    shared.identity(kind.name());
    shared.resolution(tenant, kind.name());
    shared.demands.push(demand(&program, 1));
    let attempt = agent::attempt(tenant);
    let wanted = Wanted::new(kind, &program.image, &program.command, &program.args, attempt);
    Ok(Some((wanted, program, step.timeout_seconds.unwrap_or(1800))))
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
