//! What `NetworkPolicy` talks about, with every default of the API already resolved.
//!
//! Guarantees that "absent", "empty" and "nobody" are different values: an absent list of peers is
//! [`Peers::Everyone`], never an empty list. Must never know Kubernetes' types, files or sockets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub type Labels = BTreeMap<String, String>;

/// Everything a verdict depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// Pods with an address of their own: never `hostNetwork`, never finished.
    pub pods: Vec<Pod>,
    /// Labels of each namespace by name.
    pub namespaces: BTreeMap<String, Labels>,
    pub policies: Vec<Policy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub node: String,
    pub address: Ipv4Addr,
    pub labels: Labels,
    pub ports: Vec<NamedPort>,
}

/// A container port that policies can call by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub namespace: String,
    pub name: String,
    /// Which pods of the policy's own namespace it isolates.
    pub pods: Selector,
    /// `None`: the policy says nothing about incoming traffic. `Some` of no rules: it allows none.
    pub ingress: Option<Vec<Rule>>,
    /// The same for outgoing traffic.
    pub egress: Option<Vec<Rule>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Ingress,
    Egress,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub peers: Peers,
    pub ports: Ports,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    Everyone,
    Only(Vec<Peer>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    Pods { namespaces: Namespaces, pods: Selector },
    Block { cidr: Cidr, except: Vec<Cidr> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// The policy's own namespace.
    Own,
    Labelled(Selector),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// Every port of every protocol, also of those without ports.
    Every,
    Only(Vec<Port>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub protocol: Protocol,
    pub which: Which,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Inclusive.
    Numbers(u16, u16),
    /// Looked up on the pod that receives the traffic.
    Named(String),
}

/// All requirements must hold; none means everything is selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(pub Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: u32,
    mask: u32,
}

impl World {
    /// The policies that isolate a pod in one direction, with their rules for it.
    pub fn isolating<'a>(
        &'a self,
        pod: &'a Pod,
        direction: Direction,
    ) -> impl Iterator<Item = (&'a Policy, &'a [Rule])> {
        self.policies
            .iter()
            .filter(|policy| policy.selects(pod))
            .filter_map(move |policy| policy.rules(direction).map(|rules| (policy, rules)))
    }
}

impl Policy {
    fn selects(&self, pod: &Pod) -> bool {
        self.namespace == pod.namespace && self.pods.matches(&pod.labels)
    }

    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

impl Pod {
    /// The numbers of a named port; a pod without it has none.
    pub fn numbers<'a>(&'a self, protocol: Protocol, name: &'a str) -> impl Iterator<Item = u16> + 'a {
        self.ports.iter().filter(move |port| port.protocol == protocol && port.name == name).map(|port| port.port)
    }
}

impl Selector {
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::DoesNotExist(key) => !labels.contains_key(key),
        })
    }
}

impl Cidr {
    /// A network by any of its addresses; `prefix` above 32 counts as 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let mask = match prefix {
            0 => 0,
            bits => u32::MAX << (32 - bits.min(32)),
        };
        Self { network: u32::from(address) & mask, mask }
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask == self.network
    }

    /// First and last address as numbers.
    pub fn range(self) -> (u32, u32) {
        (self.network, self.network | !self.mask)
    }
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}
