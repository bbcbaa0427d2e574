//! Servers outside that have names, where Cilium is there to follow these at the moment of a pod's lookup.
//!
//! Guarantees: pure. Nothing is allowed but names that the spec lists and the resolver that is declared anyway. Addresses at
//! which nobody on the internet serves anything stay denied wherever a name leads, but for those that are declared.
//!
//! A `CiliumNetworkPolicy` stands beside the `NetworkPolicy` of the same name: Cilium allows what either of them allows, and
//! denies what one of them denies ("Deny Policies" in Cilium's documentation).

use std::collections::BTreeMap;

use super::{
    addresses,
    graph::{self, Side},
    render,
};
use crate::{
    api::v1alpha1::{Follower, NamedHost, Protocol},
    capabilities::{Flow, Peer},
    foreign::cilium::{CiliumNetworkPolicy, Egress, Name, Pattern, Port, Ports, Range, Rule, Rules, Selector},
    objects::{Object, Observed, kind},
    tenant::{Tenant, cidr::Cidr},
};

/// Label by which Cilium knows a pod's namespace.
const NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";

/// Who follows names beside the operator. What is denied below would hold although the control is off.
pub fn follower(observed: &Observed, off: bool) -> Follower {
    if observed.serves(kind::CILIUM_NETWORK_POLICY) && !off { Follower::Cilium } else { Follower::Operator }
}

/// One policy for each flow with a name that Cilium follows.
pub fn policies(tenant: &Tenant, flows: &[Flow], hosts: &[NamedHost]) -> Vec<Object> {
    flows.iter().filter_map(|flow| policy(tenant, flow, flows, hosts)).collect()
}

fn policy(tenant: &Tenant, flow: &Flow, flows: &[Flow], hosts: &[NamedHost]) -> Option<Object> {
    let (Peer::Component(component), Peer::Hosts { names, .. }) = (&flow.from, &flow.to) else { return None };
    let followed = hosts.iter().filter(|known| known.followed_by == Follower::Cilium && names.contains(&known.host));
    let to_fqdns: Vec<Name> = followed.map(|known| Name { match_name: known.host.clone() }).collect();
    if to_fqdns.is_empty() {
        return None;
    }
    let to_ports = || vec![Ports { ports: vec![port(flow.port, Protocol::Tcp)], rules: None }];
    let servers = Egress { to_fqdns, to_ports: to_ports(), ..Egress::default() };
    let denied = except(&addresses::not_outside(tenant), &declared(tenant, flow, flows));
    // Ports without receivers would stand for everybody.
    let denied =
        (!denied.is_empty()).then(|| Egress { to_cidr_set: denied, to_ports: to_ports(), ..Egress::default() });
    let name = graph::policy(Side::Egress, component, &graph::id(&flow.to), flow.port);
    let rule = Rule {
        description: flow.why.clone(),
        endpoint_selector: Selector { match_labels: render::component_labels(tenant, component) },
        ingress: Vec::new(),
        ingress_deny: Vec::new(),
        egress: std::iter::once(servers).chain(resolvers(flow, flows)).collect(),
        egress_deny: denied.into_iter().collect(),
    };
    let metadata = render::explained(tenant, &name, &flow.why);
    let policy = CiliumNetworkPolicy { metadata, spec: rule, specs: Vec::new() };
    Some(Object::new(kind::CILIUM_NETWORK_POLICY, &policy))
}

/// Lets Cilium read the answers of the resolvers that the component may ask anyway: it knows names from nowhere else ("DNS
/// Proxy" in its documentation). Ports are those of the resolver's pods and not of its Service ("DNS based"), as in a
/// `NetworkPolicy`.
fn resolvers(flow: &Flow, flows: &[Flow]) -> Vec<Egress> {
    let ask = |other: &Flow| {
        let ports = graph::protocols(other).iter().map(|protocol| port(other.port, *protocol)).collect();
        let dns = vec![Pattern { match_pattern: "*".to_owned() }];
        let to_ports = vec![Ports { ports, rules: Some(Rules { dns }) }];
        match &other.to {
            Peer::Elsewhere { namespace, labels, .. } => {
                let labels = labels.iter().map(|(key, value)| (format!("k8s:{key}"), value.clone()));
                let match_labels: BTreeMap<_, _> = labels.chain([(NAMESPACE.to_owned(), namespace.clone())]).collect();
                Some(Egress { to_endpoints: vec![Selector { match_labels }], to_ports, ..Egress::default() })
            }
            Peer::Addresses { .. } => {
                let range = |cidr| Range { cidr, except: Vec::new() };
                let to_cidr_set = addresses::of(&other.to).into_iter().map(range).collect();
                Some(Egress { to_cidr_set, to_ports, ..Egress::default() })
            }
            Peer::Component(_) | Peer::Hosts { .. } | Peer::Internet => None,
        }
    };
    // Only name resolution may use UDP.
    flows.iter().filter(|other| other.from == flow.from && other.udp).filter_map(ask).collect()
}

/// A range that another flow allows, and what stays denied inside of it.
#[derive(Clone, Debug)]
struct Declared {
    range: Cidr,
    except: Vec<Cidr>,
}

/// Ranges that the same component may reach on the same port. Pods are not among them, and need not be: rules by address do
/// not hold between pods that Cilium looks after, nor towards nodes ("IP/CIDR based" in its documentation), and neither do
/// rules by name, so that a name never leads into the cluster.
fn declared(tenant: &Tenant, flow: &Flow, flows: &[Flow]) -> Vec<Declared> {
    let same = flows.iter().filter(|other| (&other.from, other.port) == (&flow.from, flow.port));
    let ranges = same.filter(|other| matches!(other.to, Peer::Addresses { .. })).flat_map(|other| {
        addresses::of(&other.to).into_iter().filter_map(|text| {
            let except = addresses::except(tenant, &other.to, std::slice::from_ref(&text));
            let except = except.iter().filter_map(|text| text.parse().ok()).collect();
            Some(Declared { range: text.parse().ok()?, except })
        })
    });
    ranges.collect()
}

/// These ranges without what is declared: a denial would go before it.
fn except(never: &[Cidr], declared: &[Declared]) -> Vec<Range> {
    let allows = |one: &Declared, range| one.range.covers(range) && !one.except.iter().any(|out| out.covers(range));
    let inside = |range: Cidr| {
        let inside = declared.iter().map(|one| one.range).filter(|one| range.covers(*one) && *one != range);
        let mut inside: Vec<Cidr> = inside.collect();
        inside.sort();
        inside.dedup();
        inside
    };
    let mut kept: Vec<(Cidr, Vec<Cidr>)> = never
        .iter()
        .filter(|range| !declared.iter().any(|one| allows(one, **range)))
        .map(|range| (*range, inside(*range)))
        .collect();
    kept.sort();
    kept.dedup();
    // Inside of another one it needs no line of its own, unless it is denied in spite of what is declared there.
    let said = |range: &Cidr| {
        let around = |(other, holes): &(Cidr, Vec<Cidr>)| {
            other != range && other.covers(*range) && !holes.iter().any(|hole| hole.overlaps(*range))
        };
        kept.iter().any(around)
    };
    let text = |ranges: &[Cidr]| ranges.iter().map(ToString::to_string).collect();
    let lines = kept.iter().filter(|(range, _)| !said(range));
    lines.map(|(range, holes)| Range { cidr: range.to_string(), except: text(holes) }).collect()
}

fn port(number: i32, protocol: Protocol) -> Port {
    Port { port: number.to_string(), protocol: protocol.as_str().to_owned() }
}

#[cfg(test)]
mod tests;
