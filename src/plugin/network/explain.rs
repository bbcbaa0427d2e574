//! Why one end may connect to another, or why not.

use std::net::IpAddr;

use serde::Serialize;

use super::model::Graph;
use crate::{
    api::v1alpha1::{AllowedFlow, Follower, NamedHost, NetworkPeer},
    capabilities::network::{
        DENY,
        graph::{is_component, policies},
    },
    tenant::cidr::Cidr,
};

/// What is so between two ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// As asked.
    pub from: String,
    /// As asked.
    pub to: String,
    /// As asked; absent means any port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether a connection is allowed.
    pub allowed: bool,
    /// Why.
    pub because: Vec<String>,
    /// The flows that allow it.
    pub flows: Vec<Allowing>,
}

/// One flow with its policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowing {
    /// The flow.
    #[serde(flatten)]
    pub flow: AllowedFlow,
    /// NetworkPolicies in the hospital's namespace, one for each end that is there.
    pub policies: Vec<String>,
    /// CiliumNetworkPolicies there, for servers with names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cilium_policies: Vec<String>,
}

impl Answer {
    /// For people.
    pub fn text(&self) -> String {
        let port = self.port.map_or(String::new(), |port| format!(" on port {port}"));
        let verdict = if self.allowed { "may" } else { "may not" };
        let mut lines = vec![format!("{} {verdict} connect to {}{port}.", self.from, self.to)];
        lines.extend(self.because.iter().map(|reason| format!("  {reason}")));
        lines.join("\n") + "\n"
    }
}

/// Whether and why one end may connect to another. Ends are components, peers by their whole or short name, or addresses.
pub fn explain(graph: &Graph, from: &str, to: &str, port: Option<u16>) -> Result<Answer, String> {
    known(graph, from)?;
    known(graph, to)?;
    let between = |flow: &&AllowedFlow| is(graph, &flow.from, from) && is(graph, &flow.to, to);
    let on_port = |flow: &&AllowedFlow| port.is_none_or(|port| i32::from(port) == flow.port);
    let all: Vec<&AllowedFlow> = graph.network.flows.iter().filter(between).collect();
    let flows: Vec<Allowing> = all.iter().copied().filter(on_port).map(|flow| allowing(graph, flow)).collect();
    let open = graph.network.open_until.as_ref();
    let mut because = Vec::new();
    if let Some(until) = open {
        because.push(format!(
            "spec.network.off allows all traffic until {until}; NetworkPolicy {DENY} denies none until then."
        ));
    }
    because.extend(flows.iter().map(sentence));
    if flows.is_empty() {
        because.extend(denied(graph, (from, to), &all));
    }
    let answer = Answer {
        from: from.to_owned(),
        to: to.to_owned(),
        port,
        allowed: open.is_some() || !flows.is_empty(),
        because,
        flows,
    };
    if answer.allowed || graph.network.omitted == 0 {
        return Ok(answer);
    }
    Err(format!(
        "status.network leaves out {} connections, so nothing can be said of this one; look at the NetworkPolicies in namespace {}",
        graph.network.omitted, graph.namespace
    ))
}

fn allowing(graph: &Graph, flow: &AllowedFlow) -> Allowing {
    let names = || policies(flow).into_iter().map(|(_, policy)| policy);
    let hosts = graph.peer(&flow.to).filter(|peer| !peer.hosts.is_empty());
    // Without an address there is no rule by address.
    let by_address = hosts.is_none_or(|peer| !peer.cidrs.is_empty());
    let followed = |known: &&NamedHost| known.followed_by == Follower::Cilium;
    let mut by_cilium = graph.network.hosts.iter().filter(followed);
    let by_name = hosts.is_some_and(|peer| by_cilium.any(|known| peer.hosts.contains(&known.host)));
    Allowing {
        flow: flow.clone(),
        policies: names().filter(|_| by_address).collect(),
        cilium_policies: names().filter(|_| by_name).collect(),
    }
}

fn sentence(allowing: &Allowing) -> String {
    let AllowedFlow { from, to, port, protocol, why } = &allowing.flow;
    let of = |kind: &str, names: &[String]| (!names.is_empty()).then(|| format!("{kind} {}", names.join(" and ")));
    let policies = of("NetworkPolicy", &allowing.policies).into_iter();
    let policies: Vec<_> = policies.chain(of("CiliumNetworkPolicy", &allowing.cilium_policies)).collect();
    format!("{} {port} from {from} to {to}, for: {why}; by {}.", protocol.as_str(), policies.join(" and "))
}

/// Why nothing allows it, what is allowed instead, and how it would be.
fn denied(graph: &Graph, (from, to): (&str, &str), all: &[&AllowedFlow]) -> Vec<String> {
    let inside = |end: &str| is_component(end) && end.parse::<IpAddr>().is_err() && graph.ends().contains(end);
    if !inside(from) && !inside(to) {
        return vec![format!("neither end is a component of {}: its policies say nothing of it.", graph.tenant)];
    }
    let mut lines =
        vec![format!("no flow is declared; NetworkPolicy {DENY} in namespace {} denies it.", graph.namespace)];
    if !all.is_empty() {
        let ports: Vec<_> = all.iter().map(|flow| format!("{} {}", flow.protocol.as_str(), flow.port)).collect();
        lines.push(format!("allowed between them: {}.", ports.join(", ")));
    }
    lines
}

fn known(graph: &Graph, name: &str) -> Result<(), String> {
    let ends = graph.ends();
    if name.parse::<IpAddr>().is_ok() || ends.iter().any(|end| is(graph, end, name)) {
        return Ok(());
    }
    let ends: Vec<_> = ends.into_iter().collect();
    Err(format!("--explain: {name:?} has no flow and is no address; with flows are: {}", ends.join(", ")))
}

/// Whether an end of a flow is what a person calls it.
fn is(graph: &Graph, end: &str, name: &str) -> bool {
    let short = !is_component(end) && end.rsplit('/').next() == Some(name) && !graph.ends().contains(name);
    end == name || short || graph.peer(end).is_some_and(|peer| holds(peer, name))
}

fn holds(peer: &NetworkPeer, name: &str) -> bool {
    let Ok(address) = name.parse::<IpAddr>() else {
        return peer.namespace.as_deref() == Some(name) || peer.hosts.iter().any(|host| host == name);
    };
    let any = |cidrs: &[String]| cidrs.iter().any(|cidr| cidr.parse().is_ok_and(|cidr: Cidr| cidr.contains(address)));
    any(&peer.cidrs) && !any(&peer.except)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1alpha1::NetworkStatus;

    #[test]
    fn servers_with_names_are_allowed_by_whoever_follows_these() {
        let by = |cidrs: &[&str], followed_by| {
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let flow =
                AllowedFlow { from: "web".to_owned(), to: "hosts/1".to_owned(), port: 443, ..Default::default() };
            let (name, hosts, cidrs) = ("hosts/1".to_owned(), words(&["a.example"]), words(cidrs));
            let network = NetworkStatus {
                flows: vec![flow],
                peers: vec![NetworkPeer { name, hosts, cidrs, ..NetworkPeer::default() }],
                hosts: vec![NamedHost { host: "a.example".to_owned(), followed_by, ..NamedHost::default() }],
                ..NetworkStatus::default()
            };
            let answer = explain(&Graph::new("st-elsewhere", network), "web", "a.example", None).unwrap();
            answer.because.join(" ").split_once("; by ").unwrap().1.to_owned()
        };
        let (plain, cilium) = ("NetworkPolicy egress.web.hosts.1.443", "CiliumNetworkPolicy egress.web.hosts.1.443");
        assert_eq!(by(&["1.2.3.4/32"], Follower::Operator), format!("{plain}."));
        assert_eq!(by(&["1.2.3.4/32"], Follower::Cilium), format!("{plain} and {cilium}."));
        assert_eq!(by(&[], Follower::Cilium), format!("{cilium}."));
    }
}
