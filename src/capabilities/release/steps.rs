//! Lifecycle steps of the wanted version, ready to become Jobs.

use super::{
    candidate, contract, demand,
    gate::{StepKind, Wanted},
    program::{self, Program},
};
use crate::{api::v1alpha1::Step, capabilities::Contributions, conditions::Rejection, tenant::Tenant};

const SECONDS: i64 = 1800;

/// The steps that the application has.
#[derive(Debug, Default)]
pub struct Steps(Vec<(Wanted, Program, i64)>);

impl Steps {
    /// Reads them, and contributes what their pods need.
    pub fn of(tenant: &Tenant, shared: &mut Contributions) -> Result<Self, Rejection> {
        let lifecycle = tenant.application.lifecycle.clone().unwrap_or_default();
        let kinds = [StepKind::Init, StepKind::Migrate, StepKind::Contract];
        let named = |name: &str| kinds.into_iter().find(|kind| kind.name() == name);
        let steps = lifecycle.steps().filter_map(|(name, step)| Some((named(name)?, step)));
        let mut all = Vec::new();
        for (kind, step) in steps {
            all.push(read(tenant, kind, step, shared)?);
        }
        Ok(Self(all))
    }

    /// The Job of a step.
    pub fn job(&self, kind: StepKind) -> Option<Wanted> {
        self.0.iter().find(|(wanted, ..)| wanted.kind == kind).map(|(wanted, ..)| wanted.clone())
    }

    /// What it runs, and for how many seconds at the most.
    pub fn program(self, kind: StepKind) -> Option<(Program, i64)> {
        self.0.into_iter().find(|(wanted, ..)| wanted.kind == kind).map(|(_, program, seconds)| (program, seconds))
    }
}

fn read(
    tenant: &Tenant,
    kind: StepKind,
    step: &Step,
    shared: &mut Contributions,
) -> Result<(Wanted, Program, i64), Rejection> {
    let program = program::of_step(tenant, kind.name(), step)?;
    shared.identity(kind.name());
    shared.resolution(tenant, kind.name());
    shared.demands.push(demand(&program, 1));
    let wanted = Wanted::new(kind, &program.image, &program.command, &program.args, candidate::attempt(tenant));
    let wanted = match kind {
        StepKind::Contract => contract::numbered(&wanted, tenant.version.schema.unwrap_or_default()),
        StepKind::Init | StepKind::Migrate => wanted,
    };
    Ok((wanted, program, step.timeout_seconds.unwrap_or(SECONDS)))
}
