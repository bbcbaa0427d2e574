#![doc = include_str!("README.md")]

mod addresses;
mod gaps;
pub mod graph;
mod hosts;
mod named;
pub mod proof;
mod render;
pub mod tries;

use std::collections::BTreeMap;

use crate::{
    api::v1alpha1::{HospitalTenantStatus, NamedHost, NetworkStatus},
    capabilities::{Capability, Contributions, Flow, Input, Peer},
    conditions::{Proof, Reason, Rejection, Verdict, Verdicts},
    objects::{Desired, Kind, Object, kind},
    tenant::Tenant,
};

pub use gaps::Repair;
pub use proof::{PROBE, due};
pub use render::DENY;

/// See the module documentation.
#[derive(Debug)]
pub struct Network;

/// Whether all traffic that nobody declared is denied.
#[derive(Clone, Debug)]
pub struct Plan {
    off: bool,
    /// Servers outside with names, and where these lead.
    hosts: Vec<NamedHost>,
}

impl Capability for Network {
    const NAME: &'static str = "network";
    const CONDITION: &'static str = "NetworkIsolated";
    const KINDS: &'static [Kind] = &[kind::DEFAULT_DENY, kind::NETWORK_POLICY, kind::CILIUM_NETWORK_POLICY, kind::JOB];
    const GUARDS: bool = true;
    type Plan = Plan;

    fn plan(input: Input<'_>, shared: &mut Contributions, _: &Verdicts) -> Result<Plan, Rejection> {
        addresses::check(input.tenant)?;
        let off = input.tenant.is_off("spec.network.off", off(input.tenant))?;
        let hosts = hosts::all(input.tenant, input.observed, named::follower(input.observed, off));
        addresses::contribute(input.tenant, shared);
        hosts::contribute(input.tenant, &hosts, shared);
        proof::contribute(input.tenant, shared);
        Ok(Plan { off, hosts })
    }

    fn render(plan: &Plan, input: Input<'_>, shared: &Contributions) -> Vec<Desired> {
        let flows = merged(shared);
        let policies = policies(plan, input.tenant, &flows);
        let trial = proof::trial(input, &proof::of_wanted(input.tenant, &policies));
        let jobs = if plan.off { Vec::new() } else { trial.render(input, &flows) };
        policies.into_iter().map(Desired::Apply).chain(jobs).collect()
    }

    fn record(plan: &Plan, input: Input<'_>, shared: &Contributions, status: &mut HospitalTenantStatus) {
        let (tenant, flows) = (input.tenant, merged(shared));
        let open_until = off(tenant).filter(|_| plan.off).map(|off| off.until.clone());
        let wanted = proof::of_wanted(tenant, &policies(plan, tenant, &flows));
        let proof = proof::trial(input, &wanted).proof.or_else(|| tenant.status.network.proof.clone());
        let gaps = gaps::listed(&tenant.status.network.gaps, &input.observed.gaps);
        status.network =
            NetworkStatus { open_until, hosts: plan.hosts.clone(), proof, gaps, ..graph::status(tenant, &flows) };
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
        let tried = proof::trial(input, &proof::of_observed(input)).assess(input.tenant.now);
        // An open network is worse than a name that leads nowhere.
        let named = (tried.proof != Proof::Failed).then(|| hosts::verdict(input.tenant, &plan.hosts)).flatten();
        named.unwrap_or(tried)
    }
}

/// Nothing, then each declared flow, then what the probe may send for nothing.
fn policies(plan: &Plan, tenant: &Tenant, declared: &[Flow]) -> Vec<Object> {
    let deny = if plan.off { render::allow_all(tenant) } else { render::deny_all(tenant) };
    let flows = declared.iter().flat_map(|flow| render::flow(tenant, flow));
    let named = named::policies(tenant, declared, &plan.hosts);
    let attempts = render::attempts(tenant, &tries::receivers(tenant));
    std::iter::once(deny).chain(flows).chain(named).chain(attempts).collect()
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
