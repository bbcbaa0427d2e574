//! The declared flows as a graph: what status shows, and which policies allow each of its edges.
//!
//! Guarantees: two different flows never have the same policy. Names of components hold no dot and no slash, so those of
//! peers, which hold one, are never taken for a component's.

use std::collections::BTreeMap;

use super::addresses;
use crate::{
    api::v1alpha1::{AllowedFlow, NetworkPeer, NetworkStatus, Protocol},
    capabilities::{Flow, Peer},
    objects::digest,
    tenant::Tenant,
};

/// Most flows that status shows: 32 components that each talk to eight others.
pub const LONGEST: usize = 256;

/// Name of every public address.
pub const INTERNET: &str = "addresses/internet";

/// What the names of ends that have DNS names begin with.
const HOSTS: &str = "hosts";

/// Which end of a flow a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The sender's.
    Egress,
    /// The receiver's.
    Ingress,
}

/// Name of one end: a component's own, or one with a slash.
pub fn id(peer: &Peer) -> String {
    match peer {
        Peer::Component(component) => component.clone(),
        Peer::Elsewhere { name, namespace, .. } => format!("{namespace}/{name}"),
        Peer::Addresses { first, more } => format!("addresses/{}", digest(&(first, more))),
        Peer::Hosts { names, .. } => format!("{HOSTS}/{}", digest(names)),
        Peer::Internet => INTERNET.to_owned(),
    }
}

/// Whether an end is a component or step of the hospital, whose pods its policies select.
pub fn is_component(id: &str) -> bool {
    !id.contains('/')
}

/// Name of the policy at one end of a flow; `own` is the component whose pods it selects.
pub fn policy(side: Side, own: &str, other: &str, port: i32) -> String {
    let side = match side {
        Side::Egress => "egress",
        Side::Ingress => "ingress",
    };
    format!("{side}.{own}.{}.{port}", other.replace('/', "."))
}

/// Whether a policy follows where DNS names lead, so that its addresses change by themselves.
pub fn follows_names(policy: &str) -> bool {
    // Those between components have one part less.
    matches!(policy.split('.').collect::<Vec<_>>()[..], [_, _, HOSTS, _, _])
}

/// Names of the policies that allow a flow, the sender's first. A peer outside of the hospital has none here.
pub fn policies(flow: &AllowedFlow) -> Vec<(String, String)> {
    let AllowedFlow { from, to, port, .. } = flow;
    let egress = is_component(from).then(|| (from.clone(), policy(Side::Egress, from, to, *port)));
    let ingress = is_component(to).then(|| (to.clone(), policy(Side::Ingress, to, from, *port)));
    egress.into_iter().chain(ingress).collect()
}

/// Protocols of a flow.
pub fn protocols(flow: &Flow) -> &'static [Protocol] {
    if flow.udp { &[Protocol::Udp, Protocol::Tcp] } else { &[Protocol::Tcp] }
}

/// The flows as status shows them.
pub fn status(tenant: &Tenant, flows: &[Flow]) -> NetworkStatus {
    let shown =
        |end: &Peer| peer(end).map(|peer| NetworkPeer { except: addresses::except(tenant, end, &peer.cidrs), ..peer });
    shown_by(flows, shown)
}

fn shown_by(flows: &[Flow], peer: impl Fn(&Peer) -> Option<NetworkPeer>) -> NetworkStatus {
    let mut peers = BTreeMap::new();
    let mut allowed: Vec<AllowedFlow> = Vec::new();
    for flow in flows {
        for end in [&flow.from, &flow.to] {
            peers.extend(peer(end).map(|peer| (peer.name.clone(), peer)));
        }
        allowed.extend(protocols(flow).iter().map(|protocol| AllowedFlow {
            from: id(&flow.from),
            to: id(&flow.to),
            port: flow.port,
            protocol: *protocol,
            why: flow.why.clone(),
        }));
    }
    allowed.sort();
    let omitted = allowed.len().saturating_sub(LONGEST);
    allowed.truncate(LONGEST);
    peers.retain(|name, _| allowed.iter().any(|flow| flow.from == *name || flow.to == *name));
    NetworkStatus {
        flows: allowed,
        omitted: i32::try_from(omitted).unwrap_or(i32::MAX),
        peers: peers.into_values().collect(),
        ..NetworkStatus::default()
    }
}

fn peer(end: &Peer) -> Option<NetworkPeer> {
    let named = NetworkPeer { name: id(end), ..NetworkPeer::default() };
    match end {
        Peer::Component(_) => None,
        Peer::Elsewhere { namespace, labels, .. } => {
            Some(NetworkPeer { namespace: Some(namespace.clone()), pod_labels: labels.clone(), ..named })
        }
        Peer::Hosts { names, .. } => {
            Some(NetworkPeer { hosts: names.iter().cloned().collect(), cidrs: addresses::of(end), ..named })
        }
        Peer::Addresses { .. } | Peer::Internet => Some(NetworkPeer { cidrs: addresses::of(end), ..named }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn flow(from: &str, to: &str, port: i32) -> Flow {
        Flow { from: Peer::component(from), to: Peer::component(to), port, udp: false, why: "a test".to_owned() }
    }

    fn names(flows: &[Flow]) -> Vec<String> {
        shown_by(flows, peer).flows.iter().flat_map(policies).map(|(_, policy)| policy).collect()
    }

    #[test]
    fn flows_of_components_with_dashes_have_policies_of_their_own() {
        let gateway = Peer::Elsewhere { name: "gateway", namespace: "edge".to_owned(), labels: BTreeMap::new() };
        let flows = [
            flow("a", "b-c", 80),
            flow("a-b", "c", 80),
            flow("gateway", "c", 80),
            Flow { from: gateway, ..flow("a", "c", 80) },
        ];
        let names = names(&flows);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 7, "{names:?}");
        assert!(names.contains(&"ingress.c.edge.gateway.80".to_owned()), "{names:?}");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let flows: Vec<_> = (1..=300).map(|port| flow("a", "b", port)).collect();
        let status = shown_by(&flows, peer);
        assert_eq!((status.flows.len(), status.omitted), (LONGEST, 44));
    }
}
