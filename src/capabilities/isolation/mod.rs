#![doc = include_str!("README.md")]

mod quota;
mod render;

pub use quota::{mebibytes, millicores};
pub use render::{QUOTA, metadata, quantities};

use crate::{
    capabilities::{Capability, Contributions, Input},
    conditions::{Reason, Rejection, Verdict, Verdicts},
    objects::{Desired, Kind, field, kind},
};

/// See the module documentation.
#[derive(Debug)]
pub struct Isolation;

impl Capability for Isolation {
    const NAME: &'static str = "isolation";
    const CONDITION: &'static str = "NamespaceIsolated";
    const KINDS: &'static [Kind] =
        &[kind::NAMESPACE, kind::ROLE_BINDING, kind::RESOURCE_QUOTA, kind::LIMIT_RANGE, kind::SERVICE_ACCOUNT];
    const GUARDS: bool = true;
    type Plan = ();

    fn plan(_: Input<'_>, _: &mut Contributions, _: &Verdicts) -> Result<(), Rejection> {
        Ok(())
    }

    fn render((): &(), input: Input<'_>, shared: &Contributions) -> Vec<Desired> {
        let tenant = input.tenant;
        let mut objects = vec![
            render::namespace(tenant),
            render::role_binding(tenant),
            render::quota(tenant, shared),
            render::limits(tenant),
        ];
        objects.extend(shared.identities.iter().map(|identity| render::service_account(tenant, identity)));
        objects.into_iter().map(Desired::Apply).collect()
    }

    fn assess((): &(), input: Input<'_>) -> Verdict {
        let name = &input.tenant.namespace;
        let Some(namespace) = input.observed.get(kind::NAMESPACE, "", name) else {
            return Verdict::unknown(Reason::Progressing, format!("namespace {name} was not seen yet"));
        };
        if field(namespace, "/status/phase").and_then(|phase| phase.as_str()) == Some("Terminating") {
            return Verdict::failed(Reason::NamespaceNotOurs, format!("namespace {name} is being deleted"));
        }
        let missing = [
            (kind::ROLE_BINDING, render::ROLE_BINDING),
            (kind::RESOURCE_QUOTA, render::QUOTA),
            (kind::LIMIT_RANGE, render::LIMITS),
        ]
        .into_iter()
        .find(|(kind, object)| input.observed.get(*kind, name, object).is_none());
        match missing {
            Some((kind, object)) => Verdict::unknown(Reason::Progressing, format!("{kind} {object} was not seen yet")),
            None => Verdict::proved(format!(
                "namespace {name} enforces the restricted Pod Security Standard, quota and limits"
            )),
        }
    }
}
