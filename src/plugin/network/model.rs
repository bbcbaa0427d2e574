//! The graph of one hospital, and its table.

use std::collections::BTreeSet;

use comfy_table::Cell;
use serde::Serialize;

use crate::{
    api::v1alpha1::{AllowedFlow, Follower, NamedHost, NetworkPeer, NetworkProof, NetworkStatus, Protocol},
    capabilities::network::graph::{INTERNET, is_component},
    names,
    plugin::{
        look::{self, Look},
        output::plain,
    },
};

/// Who may connect to whom in one hospital.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// The hospital.
    pub tenant: String,
    /// Its namespace.
    pub namespace: String,
    /// Connections and peers.
    #[serde(flatten)]
    pub network: NetworkStatus,
}

/// Connections between the same ends on the same port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge<'a> {
    pub(super) flow: &'a AllowedFlow,
    pub(super) protocols: Vec<Protocol>,
}

impl Edge<'_> {
    /// For example `UDP+TCP`.
    pub(super) fn protocols(&self) -> String {
        self.protocols.iter().map(|protocol| protocol.as_str()).collect::<Vec<_>>().join("+")
    }

    /// For example `TCP 5432`.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.protocols(), self.flow.port)
    }
}

impl Graph {
    /// The graph of a hospital.
    pub fn new(tenant: &str, network: NetworkStatus) -> Self {
        Self { tenant: tenant.to_owned(), namespace: names::namespace(tenant), network }
    }

    /// Flows that differ in nothing but their protocol are one edge.
    pub(super) fn edges(&self) -> Vec<Edge<'_>> {
        let mut edges: Vec<Edge<'_>> = Vec::new();
        for flow in &self.network.flows {
            let same = |edge: &&mut Edge<'_>| {
                (&edge.flow.from, &edge.flow.to, edge.flow.port) == (&flow.from, &flow.to, flow.port)
            };
            match edges.last_mut().filter(same) {
                Some(edge) => edge.protocols.push(flow.protocol),
                None => edges.push(Edge { flow, protocols: vec![flow.protocol] }),
            }
        }
        edges
    }

    /// Every end of a flow, once.
    pub(super) fn ends(&self) -> BTreeSet<&str> {
        self.network.flows.iter().flat_map(|flow| [flow.from.as_str(), flow.to.as_str()]).collect()
    }

    pub(super) fn peer(&self, id: &str) -> Option<&NetworkPeer> {
        self.network.peers.iter().find(|peer| peer.name == id)
    }

    /// What an end is called where there is little room: addresses by themselves.
    pub(super) fn short(&self, id: &str) -> String {
        if id == INTERNET {
            return "internet".to_owned();
        }
        let peer = self.peer(id);
        let shown = |peer: &'_ NetworkPeer| if peer.hosts.is_empty() { peer.cidrs.clone() } else { peer.hosts.clone() };
        match peer.map(shown).unwrap_or_default().as_slice() {
            [] => plain(id),
            [one] => plain(one),
            [first, more @ ..] => format!("{} and {} more", plain(first), more.len()),
        }
    }
}

/// Ranges that are left out of a peer, and that a table still shows.
const MANY: usize = 8;

/// Who a peer is.
pub(super) fn who(peer: &NetworkPeer) -> String {
    let Some(namespace) = &peer.namespace else {
        let except = match peer.except.len() {
            0 => String::new(),
            1..=MANY => format!(" but {}", peer.except.join(", ")),
            many => format!(" but {many} ranges, which -o yaml lists"),
        };
        let hosts = if peer.hosts.is_empty() { String::new() } else { format!("{}: ", peer.hosts.join(", ")) };
        return plain(&format!("{hosts}{}{except}", peer.cidrs.join(", ")));
    };
    if peer.pod_labels.is_empty() {
        return plain(&format!("every pod of namespace {namespace}"));
    }
    let labels: Vec<_> = peer.pod_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    plain(&format!("pods of namespace {namespace} with {}", labels.join(", ")))
}

/// The graph for people.
pub fn table(graph: &Graph, look: Look) -> String {
    let mut flows = look::table(look, &["FROM", "TO", "PORT", "PROTOCOL", "WHY"]);
    for edge in graph.edges() {
        flows.add_row([
            Cell::new(graph.short(&edge.flow.from)),
            Cell::new(graph.short(&edge.flow.to)),
            Cell::new(edge.flow.port),
            Cell::new(edge.protocols()),
            Cell::new(plain(&edge.flow.why)),
        ]);
    }
    let mut peers = look::table(look, &["PEER", "WHO"]);
    for peer in &graph.network.peers {
        peers.add_row([Cell::new(plain(&peer.name)), Cell::new(who(peer))]);
    }
    let mut parts = vec![heading(graph)];
    parts.extend(look::filled(&flows));
    parts.extend(look::filled(&peers));
    if graph.network.omitted > 0 {
        parts.push(format!(
            "{} more connections are allowed; kubectl -n {} get networkpolicies has all",
            graph.network.omitted, graph.namespace
        ));
    }
    parts.extend(followed(&graph.network.hosts));
    parts.extend(graph.network.hosts.iter().filter_map(trouble));
    parts.extend(graph.network.proof.as_ref().map(tried));
    parts.extend(graph.network.gaps.first().map(|gap| plain(&format!("Last gap: {gap}."))));
    parts.join("\n\n") + "\n"
}

/// What the last trial found.
fn tried(proof: &NetworkProof) -> String {
    let NetworkProof { at, from, refused, opened, unreached, .. } = proof;
    let opened = match opened.as_slice() {
        [] => format!("none of {refused} connections that nobody declared opened"),
        opened => {
            format!("{refused} connections that nobody declared did not open, and these did: {}", opened.join(", "))
        }
    };
    let unreached = match unreached.as_slice() {
        [] => String::new(),
        unreached => format!("; declared, and did not open: {}", unreached.join(", ")),
    };
    plain(&format!("Tried {at} from {}: {opened}{unreached}.", from.join(", ")))
}

/// By whom names are followed.
fn followed(hosts: &[NamedHost]) -> Vec<String> {
    let by = |follower, how: &str| {
        let names: Vec<&str> =
            hosts.iter().filter(|known| known.followed_by == follower).map(|known| known.host.as_str()).collect();
        (!names.is_empty()).then(|| plain(&format!("Followed by {how}: {}.", names.join(", "))))
    };
    let operator = by(Follower::Operator, "the operator, once a minute");
    let cilium = by(Follower::Cilium, "the operator, once a minute, and by Cilium, with each lookup of a pod");
    operator.into_iter().chain(cilium).collect()
}

/// What is wrong with a name that the hospital lists.
fn trouble(named: &NamedHost) -> Option<String> {
    let NamedHost { host, addresses, refused, unresolved, followed_by } = named;
    let nothing = followed_by.without_address();
    let text = match unresolved {
        _ if !refused.is_empty() => format!("{host} leads to what stays denied: {}.", refused.join(", ")),
        Some(why) if addresses.is_empty() => format!("{host} {nothing}: {why}."),
        Some(why) => format!("{host} was not resolved the last time, and what is allowed stays as it was: {why}."),
        None if addresses.is_empty() => format!("{host} {nothing}."),
        None => return None,
    };
    Some(plain(&text))
}

fn heading(graph: &Graph) -> String {
    let Graph { tenant, namespace, network } = graph;
    let components = graph.ends().into_iter().filter(|end| is_component(end)).count();
    match &network.open_until {
        Some(until) => format!(
            "HospitalTenant {tenant}: ALL traffic in namespace {namespace} is allowed until {}; after that only:",
            plain(until)
        ),
        None => format!(
            "HospitalTenant {tenant}: {components} components in namespace {namespace}; all traffic is denied but:"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_the_last_trial_found_is_said() {
        let proof = NetworkProof {
            at: "2026-01-02T10:00:00+00:00".to_owned(),
            from: words(&["another namespace", "web"]),
            refused: 7,
            ..NetworkProof::default()
        };
        let good = "Tried 2026-01-02T10:00:00+00:00 from another namespace, web: none of 7 connections that nobody declared opened.";
        assert_eq!(tried(&proof), good);
        let opened = words(&["the API server from web"]);
        let bad = NetworkProof { opened, unreached: words(&["database:5432 from web"]), ..proof };
        assert!(tried(&bad).ends_with(
            "did not open, and these did: the API server from web; declared, and did not open: database:5432 from web."
        ));
    }

    #[test]
    fn the_internet_has_a_name_and_what_is_left_out_of_it_is_counted() {
        let peer = |except: usize| NetworkPeer {
            name: INTERNET.to_owned(),
            cidrs: vec!["0.0.0.0/0".to_owned()],
            except: vec!["10.0.0.0/8".to_owned(); except],
            ..NetworkPeer::default()
        };
        let network = NetworkStatus { peers: vec![peer(9)], ..NetworkStatus::default() };
        assert_eq!(Graph::new("st-elsewhere", network).short(INTERNET), "internet");
        assert_eq!(who(&peer(1)), "0.0.0.0/0 but 10.0.0.0/8");
        assert_eq!(who(&peer(9)), "0.0.0.0/0 but 9 ranges, which -o yaml lists");
    }

    #[test]
    fn servers_with_names_are_called_by_them_and_what_is_wrong_with_a_name_is_said() {
        let peer = NetworkPeer {
            name: "hosts/5596140131c0652b".to_owned(),
            hosts: words(&["a.example", "b.example"]),
            cidrs: words(&["1.2.3.4/32"]),
            ..NetworkPeer::default()
        };
        let named = |addresses: &[&str], refused: &[&str], unresolved: Option<&str>| NamedHost {
            host: "a.example".to_owned(),
            addresses: words(addresses),
            refused: words(refused),
            unresolved: unresolved.map(ToOwned::to_owned),
            followed_by: Follower::Operator,
        };
        assert_eq!(who(&peer), "a.example, b.example: 1.2.3.4/32");
        let network = NetworkStatus { peers: vec![peer], ..NetworkStatus::default() };
        assert_eq!(Graph::new("st-elsewhere", network).short("hosts/5596140131c0652b"), "a.example and 1 more");
        for (named, says) in [
            (named(&["1.2.3.4"], &[], None), None),
            (named(&["1.2.3.4"], &["10.0.0.1 is private"], None), Some("leads to what stays denied: 10.0.0.1")),
            (named(&["1.2.3.4"], &[], Some("silence")), Some("stays as it was: silence")),
            (named(&[], &[], Some("silence")), Some("leads nowhere, so nothing is allowed to it: silence")),
        ] {
            let said = trouble(&named);
            assert_eq!(said.is_some(), says.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().contains(says.unwrap_or_default()));
        }
        let cilium = NamedHost { host: "b.example".to_owned(), followed_by: Follower::Cilium, ..NamedHost::default() };
        assert!(trouble(&cilium).unwrap().contains("but what Cilium hears"));
        let said = followed(&[named(&["1.2.3.4"], &[], None), cilium]).join("\n");
        assert!(said.contains("once a minute: a.example.") && said.contains("lookup of a pod: b.example."), "{said}");
        assert!(followed(&[]).is_empty());
    }
}
