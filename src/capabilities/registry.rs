//! The list of capabilities, in the order in which they are planned and applied: deny before workload, workload before
//! route. There is no other list.

use std::fmt;

use super::{
    Capability, Contributions, Input, credentials::Credentials, database::DatabaseCapability, edge::Edge,
    isolation::Isolation, network::Network, release::Release, webhooks::Webhooks,
};
use crate::{
    api::v1alpha1::HospitalTenantStatus,
    conditions::{Reason, Rejection, Verdict, Verdicts},
    objects::{Desired, Kind, kind},
};

type Plan = fn(Input<'_>, &mut Contributions, &Verdicts) -> Result<Box<dyn Planned>, Rejection>;

/// A capability without its type.
#[derive(Clone, Copy)]
pub struct Registered {
    /// See [`Capability::NAME`].
    pub name: &'static str,
    /// See [`Capability::CONDITION`].
    pub condition: &'static str,
    /// See [`Capability::KINDS`].
    pub kinds: &'static [Kind],
    /// See [`Capability::GUARDS`].
    pub guards: bool,
    /// See [`Capability::plan`].
    pub plan: Plan,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A plan without its type.
pub trait Planned: Send + Sync {
    /// See [`Capability::render`].
    fn render(&self, input: Input<'_>, shared: &Contributions) -> Vec<Desired>;
    /// See [`Capability::assess`].
    fn assess(&self, input: Input<'_>) -> Verdict;
    /// See [`Capability::record`].
    fn record(&self, input: Input<'_>, shared: &Contributions, status: &mut HospitalTenantStatus);
}

struct Of<C: Capability>(C::Plan);

impl<C: Capability> Planned for Of<C> {
    fn render(&self, input: Input<'_>, shared: &Contributions) -> Vec<Desired> {
        C::render(&self.0, input, shared)
    }

    fn assess(&self, input: Input<'_>) -> Verdict {
        // A kind that is not served can be neither written nor proved, whatever the capability would say.
        match C::KINDS.iter().find(|kind| !input.observed.serves(**kind)) {
            Some(kind) if self.needs(*kind, input) => unsupported(*kind),
            _ => C::assess(&self.0, input),
        }
    }

    fn record(&self, input: Input<'_>, shared: &Contributions, status: &mut HospitalTenantStatus) {
        C::record(&self.0, input, shared, status);
    }
}

impl<C: Capability> Of<C> {
    fn needs(&self, kind: Kind, input: Input<'_>) -> bool {
        C::render(&self.0, input, &Contributions::default()).iter().any(|desired| desired.at().kind == kind)
    }
}

fn unsupported(kind: Kind) -> Verdict {
    let crd = kind.crd.unwrap_or_default();
    Verdict::failed(Reason::Unsupported, format!("the API server does not serve {kind}: CRD {crd} is not installed"))
}

const fn entry<C: Capability + 'static>() -> Registered {
    Registered { name: C::NAME, condition: C::CONDITION, kinds: C::KINDS, guards: C::GUARDS, plan: plan::<C> }
}

fn plan<C: Capability + 'static>(
    input: Input<'_>,
    shared: &mut Contributions,
    before: &Verdicts,
) -> Result<Box<dyn Planned>, Rejection> {
    Ok(Box::new(Of::<C>(C::plan(input, shared, before)?)))
}

/// All capabilities, in order of application.
pub const fn registry() -> &'static [Registered] {
    const ALL: &[Registered] = &[
        entry::<Isolation>(),
        entry::<Network>(),
        entry::<Credentials>(),
        entry::<DatabaseCapability>(),
        entry::<Webhooks>(),
        entry::<Release>(),
        entry::<Edge>(),
    ];
    ALL
}

/// Every kind that any capability writes, once.
pub fn kinds() -> Vec<Kind> {
    kind::distinct(registry().iter().flat_map(|capability| capability.kinds.iter().copied()))
}
