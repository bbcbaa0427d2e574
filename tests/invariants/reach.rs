//! Who can really reach whom: the verdicts of the specification of NetworkPolicy over the rendered objects, against the graph
//! that status shows. The evaluator (`e2e::netpol::evaluate`) knows nothing of flows; here nothing is known of policies.
//! IPv4 only, as the evaluator.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use e2e::netpol::{
    evaluate::{End, allowed},
    model::{Cidr, Labels, Pod, Protocol, World as Cluster},
    read,
};
use his_operator::{
    api::v1alpha1::{self, AllowedFlow, NetworkStatus},
    names,
    objects::kind,
};
use serde_json::Value;

use crate::world::{Rendered, World};

type Finding = Result<(), String>;

const PROTOCOLS: [(Protocol, v1alpha1::Protocol); 2] =
    [(Protocol::Tcp, v1alpha1::Protocol::Tcp), (Protocol::Udp, v1alpha1::Protocol::Udp)];
/// Nobody declares these unless a flow does.
const PORTS: [i32; 3] = [22, 80, 443];
/// The metadata service, the API server of a test cluster, and a documentation address that stands for the internet.
const OUTSIDE: [&str; 3] = ["169.254.169.254", "10.96.0.1", "198.51.100.7"];

/// Every pair of ends, on every port and protocol, in both directions.
pub fn as_declared(world: &World) -> Finding {
    if world.network.omitted > 0 {
        return Err(format!("{} flows are not shown", world.network.omitted));
    }
    let place = Place::of(world);
    let addresses = place.addresses();
    let pods = place.cluster.pods.iter().map(End::Pod);
    let ends: Vec<End> = pods.chain(addresses.iter().map(|address| End::Outside(*address))).collect();
    for from in &ends {
        for to in ends.iter().filter(|to| place.inside(from) || place.inside(to)) {
            place.compare(*from, *to)?;
        }
    }
    Ok(())
}

/// It is tried from every place, what probes expect is what policies say, and every declared connection between components is
/// tried.
pub fn tried_as_allowed(world: &World) -> Finding {
    let place = Place::of(world);
    let trials: Vec<_> = world.pods().filter(|(job, _)| job.name.starts_with("network-probe-")).collect();
    let whence = |(job, template): &(&Rendered, &Value)| {
        (job.namespace.clone(), labels(&template["metadata"]["labels"])[names::COMPONENT].clone())
    };
    let components = world.application.components.iter().map(|component| component.name.as_str());
    let mut places: BTreeSet<_> =
        components.chain(["network-probe"]).map(|name| (place.namespace.clone(), name.to_owned())).collect();
    places.insert((names::PROBES.to_owned(), "network-probe".to_owned()));
    let tried: BTreeSet<_> = trials.iter().map(whence).collect();
    if !trials.is_empty() && (tried != places || tried.len() != trials.len()) {
        return Err(format!("it is tried from {tried:?}, and not from {places:?}"));
    }
    for (job, template) in trials {
        let sender = labels(&template["metadata"]["labels"]);
        let poses = sender[names::COMPONENT] != "network-probe";
        if poses && template["spec"]["readinessGates"].as_array().is_none_or(Vec::is_empty) {
            return Err(format!("{} may get traffic that is meant for {}", job.at(), sender[names::COMPONENT]));
        }
        let tries: Vec<Value> = words(template).filter_map(|word| serde_json::from_str(word).ok()).collect();
        let mut opened = BTreeSet::new();
        for one in &tries {
            let server = &one["to"]["server"];
            let (Some(host), Some(port)) = (server[0].as_str(), server[1].as_u64()) else { continue };
            let port = u16::try_from(port).unwrap();
            let receiver = host.split(['.', ':']).next().unwrap();
            let receiver = receiver.strip_suffix("-rw").unwrap_or(receiver);
            let Some(real) = place.lets((&job.namespace, &sender), (host, receiver), port) else { continue };
            let expected = one["expect"] == "open";
            if real != expected {
                return Err(format!(
                    "{} tries {host}:{port}: policies allow it: {real}; expected: {expected}",
                    job.at()
                ));
            }
            if expected {
                opened.insert((receiver.to_owned(), i32::from(port)));
            }
        }
        let own = &sender[names::COMPONENT];
        let missing = world.network.flows.iter().find(|flow| {
            let inside = flow.from == *own && !flow.to.contains('/') && flow.protocol == v1alpha1::Protocol::Tcp;
            inside && job.namespace == place.namespace && !opened.contains(&(flow.to.clone(), flow.port))
        });
        if let Some(flow) = missing {
            return Err(format!("{} does not try {} to {}:{}", job.at(), flow.from, flow.to, flow.port));
        }
    }
    Ok(())
}

fn words(template: &Value) -> impl Iterator<Item = &str> {
    template["spec"]["containers"][0]["args"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

struct Place<'a> {
    tenant: &'a str,
    namespace: String,
    network: &'a NetworkStatus,
    cluster: Cluster,
    ports: BTreeSet<i32>,
}

impl<'a> Place<'a> {
    fn of(world: &'a World) -> Self {
        let network = &world.network;
        let mut place = Self {
            tenant: &world.tenant_name,
            namespace: names::namespace(&world.tenant_name),
            network,
            cluster: Cluster::default(),
            ports: PORTS
                .into_iter()
                .chain(network.flows.iter().flat_map(|f| [f.port - 1, f.port, f.port + 1]))
                .collect(),
        };
        place.ports.retain(|port| (1..=65535).contains(port));
        for policy in world.of_kind(kind::NETWORK_POLICY) {
            let (policy, unreadable) = read::policy(&serde_json::from_value(policy.body.clone()).unwrap());
            assert_eq!(unreadable, None);
            place.cluster.policies.push(policy);
        }
        place.hospital(world);
        place.strangers();
        let spaces = place.cluster.pods.iter().map(|pod| pod.namespace.clone());
        let spaces: BTreeSet<_> = spaces.chain([names::PROBES.to_owned()]).collect();
        let labels = |name: &String| Labels::from([("kubernetes.io/metadata.name".to_owned(), name.clone())]);
        place.cluster.namespaces = spaces.into_iter().map(|name| (name.clone(), labels(&name))).collect();
        place
    }

    /// Two pods of everything: as its template says, and as everything is labelled that will come.
    fn hospital(&mut self, world: &World) {
        let made: BTreeSet<Labels> =
            world.pods().map(|(_, template)| labels(&template["metadata"]["labels"])).collect();
        let components = world.application.components.iter().map(|component| component.name.as_str());
        let all = components.chain(["database", "init", "migrate", "gate", "prober", "network-probe", "webhook-gate"]);
        let later: Vec<Labels> = all.map(|name| component(self.tenant, name)).collect();
        let own = self.namespace.clone();
        made.into_iter().chain(later).for_each(|labels| self.add(&own, labels));
    }

    /// Others that look like a peer or like a component, but for one thing.
    fn strangers(&mut self) {
        let own = self.namespace.clone();
        for (namespace, labels) in [
            (own.as_str(), Labels::new()),
            (&own, component("st-eligius", "database")),
            ("his-st-eligius", component("st-eligius", "database")),
            ("his-st-eligius", component(self.tenant, "database")),
            ("default", Labels::new()),
        ] {
            self.add(namespace, labels);
        }
        for peer in &self.network.peers {
            let Some(namespace) = &peer.namespace else { continue };
            self.add(namespace, peer.pod_labels.clone());
            self.add(namespace, Labels::from([("app".to_owned(), "something-else".to_owned())]));
            self.add("default", peer.pod_labels.clone());
        }
    }

    fn add(&mut self, namespace: &str, labels: Labels) {
        let number = u8::try_from(self.cluster.pods.len()).unwrap();
        self.cluster.pods.push(Pod {
            namespace: namespace.to_owned(),
            name: format!("pod{number}"),
            node: "node".to_owned(),
            address: Ipv4Addr::new(10, 0, 0, number),
            labels,
            ports: Vec::new(),
        });
    }

    /// First and last address of every range, and their neighbours.
    fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        let ranges = self
            .network
            .peers
            .iter()
            .flat_map(|peer| peer.cidrs.iter().chain(&peer.except))
            .filter_map(|text| cidr(text));
        let edges = ranges.map(Cidr::range).flat_map(|(first, last)| {
            [first.saturating_sub(1), first, last, last.saturating_add(1)].map(Ipv4Addr::from)
        });
        edges.chain(OUTSIDE.map(|text| text.parse().unwrap())).collect()
    }

    /// Whether a pod with these labels reaches a host; nothing for addresses of the sixth version.
    fn lets(&self, from: (&str, &Labels), to: (&str, &str), port: u16) -> Option<bool> {
        let ((namespace, sender), (host, receiver)) = (from, to);
        let pod = |namespace: &str, labels: Labels, number| Pod {
            namespace: namespace.to_owned(),
            name: format!("tried{number}"),
            node: "node".to_owned(),
            address: Ipv4Addr::new(10, 0, 1, number),
            labels,
            ports: Vec::new(),
        };
        let from = pod(namespace, sender.clone(), 1);
        let to = pod(&self.namespace, component(self.tenant, receiver), 2);
        let to = match host.parse() {
            Ok(address) => End::Outside(address),
            Err(_) if host.contains(':') => return None,
            Err(_) => End::Pod(&to),
        };
        Some(allowed(&self.cluster, End::Pod(&from), to, Protocol::Tcp, port))
    }

    fn inside(&self, end: &End) -> bool {
        matches!(end, End::Pod(pod) if pod.namespace == self.namespace)
    }

    fn compare(&self, from: End, to: End) -> Finding {
        for port in &self.ports {
            for (protocol, declared) in PROTOCOLS {
                let real = allowed(&self.cluster, from, to, protocol, u16::try_from(*port).unwrap());
                let shown = self.declared(from, to, declared, *port);
                if real != shown {
                    return Err(format!(
                        "{} to {} on {} {port}: policies allow it: {real}; status shows it: {shown}",
                        called(from),
                        called(to),
                        declared.as_str()
                    ));
                }
            }
        }
        Ok(())
    }

    /// What status says, read as a person would.
    fn declared(&self, from: End, to: End, protocol: v1alpha1::Protocol, port: i32) -> bool {
        let same = matches!((from, to), (End::Pod(one), End::Pod(other)) if one.address == other.address);
        let flows = || {
            let between = |flow: &&AllowedFlow| self.is(from, &flow.from) && self.is(to, &flow.to);
            self.network.flows.iter().filter(|flow| flow.protocol == protocol && flow.port == port).filter(between)
        };
        // A range may hold a pod's address; that opens the sender's side and not the receiver's.
        let leaves = !self.inside(&from) || flows().any(|flow| !flow.from.contains('/'));
        let enters = !self.inside(&to) || flows().any(|flow| !flow.to.contains('/'));
        same || self.network.open_until.is_some() || (leaves && enters)
    }

    fn is(&self, end: End, name: &str) -> bool {
        if !name.contains('/') {
            let wanted = component(self.tenant, name);
            return self.inside(&end) && matches!(end, End::Pod(pod) if has(&pod.labels, &wanted));
        }
        let peer = self.network.peers.iter().find(|peer| peer.name == name).unwrap_or_else(|| panic!("no peer {name}"));
        match (&peer.namespace, end) {
            (Some(namespace), End::Pod(pod)) => pod.namespace == *namespace && has(&pod.labels, &peer.pod_labels),
            (Some(_), _) => false,
            (None, end) => {
                let any =
                    |cidrs: &[String]| cidrs.iter().filter_map(|text| cidr(text)).any(|c| c.contains(end.address()));
                any(&peer.cidrs) && !any(&peer.except)
            }
        }
    }
}

fn component(tenant: &str, name: &str) -> Labels {
    Labels::from([(names::TENANT.to_owned(), tenant.to_owned()), (names::COMPONENT.to_owned(), name.to_owned())])
}

fn has(labels: &Labels, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn labels(value: &Value) -> Labels {
    serde_json::from_value(value.clone()).unwrap()
}

/// Absent for IPv6.
fn cidr(text: &str) -> Option<Cidr> {
    let (address, prefix) = text.split_once('/').unwrap();
    Some(Cidr::new(address.parse().ok()?, prefix.parse().unwrap()))
}

fn called(end: End) -> String {
    match end {
        End::Pod(pod) => format!("{} {:?}", pod.namespace, pod.labels),
        other => other.address().to_string(),
    }
}
