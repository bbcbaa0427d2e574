#![doc = include_str!("README.md")]

mod addresses;
pub mod graph;
mod render;

use std::collections::BTreeMap;

use crate::{
    api::v1alpha1::{HospitalTenantStatus, NetworkStatus},
    capabilities::{Capability, Contributions, Flow, Input, Peer},
    conditions::{Reason, Rejection, Verdict, Verdicts},
    objects::{Desired, Kind, kind},
    tenant::Tenant,
};

pub use render::DENY;

/// See the module documentation.
#[derive(Debug)]
pub struct Network;

/// Whether all traffic that nobody declared is denied.
#[derive(Clone, Debug)]
pub struct Plan {
    off: bool,
}

impl Capability for Network {
    const NAME: &'static str = "network";
    const CONDITION: &'static str = "NetworkDeclared";
    const KINDS: &'static [Kind] = &[kind::DEFAULT_DENY, kind::NETWORK_POLICY];
    const GUARDS: bool = true;
    type Plan = Plan;

    fn plan(input: Input<'_>, shared: &mut Contributions, _: &Verdicts) -> Result<Plan, Rejection> {
        addresses::check(input.tenant)?;
        addresses::contribute(input.tenant, shared);
        Ok(Plan { off: input.tenant.is_off("spec.network.off", off(input.tenant))? })
    }

    fn render(plan: &Plan, input: Input<'_>, shared: &Contributions) -> Vec<Desired> {
        let deny = if plan.off { render::allow_all(input.tenant) } else { render::deny_all(input.tenant) };
        let flows = merged(shared).into_iter().flat_map(|flow| render::flow(input.tenant, &flow));
        std::iter::once(deny).chain(flows).map(Desired::Apply).collect()
    }

    fn record(plan: &Plan, input: Input<'_>, shared: &Contributions, status: &mut HospitalTenantStatus) {
        let open_until = off(input.tenant).filter(|_| plan.off).map(|off| off.until.clone());
        status.network = NetworkStatus { open_until, ..graph::status(input.tenant, &merged(shared)) };
    }

    fn assess(plan: &Plan, input: Input<'_>) -> Verdict {
        if let (true, Some(off)) = (plan.off, off(input.tenant)) {
            return Verdict::failed(
                Reason::SwitchedOff,
                format!("all traffic is allowed until {}: {}", off.until, off.reason),
            );
        }
        let namespace = &input.tenant.namespace;
        if input.observed.get(kind::NETWORK_POLICY, namespace, render::DENY).is_none() {
            return Verdict::unknown(Reason::Progressing, format!("NetworkPolicy {} was not seen yet", render::DENY));
        }
        let policies = input.observed.objects.keys().filter(|at| at.kind == kind::NETWORK_POLICY).count();
        Verdict::proved(format!(
            "all traffic is denied except {} declared ends of flows; enforcement is up to the network plug-in and was not tried",
            policies.saturating_sub(1)
        ))
    }
}

/// Flows with the same ends and port become one: its policies have one name, and say all reasons.
fn merged(shared: &Contributions) -> Vec<Flow> {
    let mut merged: BTreeMap<(&Peer, &Peer, i32), (bool, Vec<&str>)> = BTreeMap::new();
    for Flow { from, to, port, udp, why } in &shared.flows {
        let (udps, reasons) = merged.entry((from, to, *port)).or_default();
        *udps |= udp;
        reasons.push(why);
    }
    let flow = |((from, to, port), (udp, why)): ((&Peer, &Peer, i32), (bool, Vec<&str>))| Flow {
        from: from.clone(),
        to: to.clone(),
        port,
        udp,
        why: why.join("; "),
    };
    merged.into_iter().map(flow).collect()
}

fn off(tenant: &Tenant) -> Option<&crate::api::v1alpha1::Off> {
    tenant.spec.network.as_ref().and_then(|network| network.off.as_ref())
}
