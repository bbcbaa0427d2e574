//! The cluster of the cases, questions about it, and both ways to a verdict.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use serde::Deserialize;

use crate::netpol::compile::compile;
use crate::netpol::evaluate::{End, allowed};
use crate::netpol::model::{Protocol, World};
use crate::netpol::read;
use crate::netpol::ruleset::{Hook, Packet, Ruleset};

pub const NODES: [(&str, Ipv4Addr); 2] =
    [("node1", Ipv4Addr::new(192, 0, 2, 201)), ("node2", Ipv4Addr::new(192, 0, 2, 202))];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub policies: BTreeMap<String, NetworkPolicySpec>,
    #[serde(default)]
    pub allowed: Vec<String>,
    #[serde(default)]
    pub refused: Vec<String>,
}

#[derive(Deserialize)]
struct Objects {
    namespaces: Vec<core::Namespace>,
    pods: Vec<core::Pod>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/netpol/cases")
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap();
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every case of every file.
pub fn cases() -> Vec<Case> {
    let files = std::fs::read_dir(directory()).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let of_cases = files.iter().filter(|file| !file.ends_with("world.yaml"));
    of_cases.flat_map(|file| parse::<Vec<Case>>(file)).collect()
}

/// The cluster of the cases without policies.
pub fn bare() -> World {
    let objects: Objects = parse(&directory().join("world.yaml"));
    World {
        pods: objects.pods.iter().filter_map(|pod| read::pod(pod, None)).collect(),
        namespaces: objects.namespaces.iter().map(read::namespace).collect(),
        policies: Vec::new(),
    }
}

impl Case {
    pub fn world(&self) -> World {
        let policies = self.policies.iter().map(|(key, spec)| {
            let (namespace, name) = key.split_once('/').unwrap();
            let mut policy = NetworkPolicy::default();
            policy.metadata.namespace = Some(namespace.to_owned());
            policy.metadata.name = Some(name.to_owned());
            policy.spec = Some(spec.clone());
            read::policy(&policy).0
        });
        World { policies: policies.collect(), ..bare() }
    }

    /// Each question with the verdict it should get.
    pub fn questions(&self) -> impl Iterator<Item = (&str, bool)> {
        let allowed = self.allowed.iter().map(|text| (text.as_str(), true));
        allowed.chain(self.refused.iter().map(|text| (text.as_str(), false)))
    }
}

/// A connection between ends of a world, such as `a/web > 198.51.100.9 tcp/443`.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    pub from: End<'a>,
    pub to: End<'a>,
    pub protocol: Protocol,
    pub port: u16,
}

impl<'a> Connection<'a> {
    pub fn parse(world: &'a World, text: &str) -> Self {
        let (from, rest) = text.split_once(" > ").unwrap();
        let (to, traffic) = rest.split_once(' ').unwrap();
        let (protocol, port) = traffic.split_once('/').unwrap();
        let known = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        Self {
            from: end(world, from),
            to: end(world, to),
            protocol: *known.iter().find(|one| one.name() == protocol).unwrap(),
            port: port.parse().unwrap(),
        }
    }

    pub fn by_the_specification(&self, world: &World) -> bool {
        allowed(world, self.from, self.to, self.protocol, self.port)
    }

    /// Whether the rules of every node on the way let the first packet pass.
    pub fn by_the_rules(&self, rules: &Rules) -> bool {
        let mut verdict = true;
        for (node, hook) in way(self.from, self.to) {
            let on = |end: End| matches!(end, End::Pod(pod) if pod.node == node);
            let packet = Packet {
                hook,
                source: self.from.address(),
                destination: self.to.address(),
                protocol: self.protocol,
                port: self.port,
                from_pod: on(self.from),
                to_pod: on(self.to),
            };
            verdict &= rules.get(node).is_none_or(|rules| rules.passes(&packet));
        }
        verdict
    }
}

fn end<'a>(world: &'a World, text: &str) -> End<'a> {
    if let Some((namespace, name)) = text.split_once('/') {
        let mut pods = world.pods.iter();
        let pod = pods.find(|pod| pod.namespace == namespace && pod.name == name);
        return End::Pod(pod.unwrap_or_else(|| panic!("no pod {text}")));
    }
    match NODES.into_iter().find(|(name, _)| *name == text) {
        Some((name, address)) => End::Node { name, address },
        None => End::Outside(text.parse().unwrap()),
    }
}

/// The filtered hooks that a packet meets.
fn way<'a>(from: End<'a>, to: End<'a>) -> Vec<(&'a str, Hook)> {
    let home = |end: End<'a>| match end {
        End::Pod(pod) => Some(pod.node.as_str()),
        End::Node { name, .. } => Some(name),
        End::Outside(_) => None,
    };
    let (start, goal) = (home(from), home(to));
    let mut way = Vec::new();
    if let (End::Pod(_), Some(node)) = (from, start)
        && (start != goal || matches!(to, End::Pod(_)))
    {
        way.push((node, Hook::Forward));
    }
    match (to, goal) {
        (End::Pod(_), Some(node)) if start != goal => way.push((node, Hook::Forward)),
        (End::Node { .. }, Some(node)) if !matches!(from, End::Node { .. }) => {
            way.push((node, Hook::Input));
        }
        _ => {}
    }
    way
}

pub type Rules = BTreeMap<&'static str, Ruleset>;

pub fn rules(world: &World, announced: bool) -> Rules {
    let compiled = NODES.map(|(node, _)| (node, compile(world, node, announced)));
    compiled.into_iter().collect()
}
