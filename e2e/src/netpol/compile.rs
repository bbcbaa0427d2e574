//! From policies to the rules of one node.
//!
//! Guarantees the verdicts of [`super::evaluate`], which a property checks on random policies. Pods with the same
//! rules share a chain. Must never do IO.

use std::collections::BTreeMap;

use super::intervals::Intervals;
use super::model::{Cidr, Direction, Namespaces, Peer, Peers, Pod, Policy, Port, Ports, Rule, Which, World};
use super::ruleset::{Addresses, Chain, Ruleset, Traffic};

/// The rules for the pods of one node. `announced` as in [`super::NodeNet`].
pub fn compile(world: &World, node: &str, announced: bool) -> Ruleset {
    let mut ruleset = Ruleset { announced, ..Ruleset::default() };
    let mut known = BTreeMap::new();
    for pod in world.pods.iter().filter(|pod| pod.node == node) {
        ruleset.pods.insert(pod.address);
        for direction in [Direction::Egress, Direction::Ingress] {
            let Some(chain) = chain(world, pod, direction) else {
                continue;
            };
            let index = *known.entry(chain).or_insert_with_key(|chain| {
                ruleset.chains.push(chain.clone());
                ruleset.chains.len() - 1
            });
            match direction {
                Direction::Egress => ruleset.egress.insert(pod.address, index),
                Direction::Ingress => ruleset.ingress.insert(pod.address, index),
            };
        }
    }
    ruleset
}

/// What may pass from or to an isolated pod; `None` if no policy isolates it in that direction.
fn chain(world: &World, subject: &Pod, direction: Direction) -> Option<Chain> {
    let mut isolated = false;
    let mut grants = Grants::default();
    for (policy, rules) in world.isolating(subject, direction) {
        isolated = true;
        for rule in rules {
            match direction {
                Direction::Ingress => {
                    grants.add(traffic(&rule.ports, |_| true, Some(subject)), addresses(world, policy, &rule.peers));
                }
                Direction::Egress => grant_egress(world, policy, rule, &mut grants),
            }
        }
    }
    isolated.then_some(Chain { direction, grants: grants.0 })
}

/// Numbers hold for every destination; a named port means another number on every pod that has it.
fn grant_egress(world: &World, policy: &Policy, rule: &Rule, grants: &mut Grants) {
    let named = |port: &Port| matches!(port.which, Which::Named(_));
    let peers = addresses(world, policy, &rule.peers);
    if let Ports::Only(ports) = &rule.ports
        && ports.iter().any(named)
    {
        for pod in world.pods.iter().filter(|pod| peers.cover(pod)) {
            let mut only = Intervals::default();
            only.insert(pod.address.into(), pod.address.into());
            grants.add(traffic(&rule.ports, named, Some(pod)), Addresses::Only(only));
        }
    }
    grants.add(traffic(&rule.ports, |port| !named(port), None), peers);
}

#[derive(Default)]
struct Grants(BTreeMap<Traffic, Addresses>);

impl Grants {
    /// Adds what can match something, to what already has the same ports.
    fn add(&mut self, traffic: Traffic, addresses: Addresses) {
        if traffic.is_nothing() || addresses.is_nothing() {
            return;
        }
        match self.0.get_mut(&traffic) {
            Some(existing) => existing.widen(addresses),
            None => drop(self.0.insert(traffic, addresses)),
        }
    }
}

impl Traffic {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Ports(ports) if ports.is_empty())
    }
}

impl Addresses {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Only(set) if set.is_empty())
    }

    fn widen(&mut self, other: Self) {
        match (self, other) {
            (Self::Every, _) => {}
            (every, Self::Every) => *every = Self::Every,
            (Self::Only(set), Self::Only(more)) => set.union(more.ranges()),
        }
    }

    fn cover(&self, pod: &Pod) -> bool {
        match self {
            Self::Every => true,
            Self::Only(set) => set.contains(pod.address.into()),
        }
    }
}

/// The ports that `wanted` keeps, with names looked up on `target`.
fn traffic(ports: &Ports, wanted: impl Fn(&Port) -> bool, target: Option<&Pod>) -> Traffic {
    let Ports::Only(entries) = ports else {
        return Traffic::Every;
    };
    let mut by_protocol = BTreeMap::<_, Intervals>::new();
    let mut add = |protocol, first: u16, last: u16| {
        by_protocol.entry(protocol).or_default().insert(first.into(), last.into());
    };
    for port in entries.iter().filter(|port| wanted(port)) {
        match &port.which {
            Which::Numbers(first, last) => add(port.protocol, *first, *last),
            Which::Named(name) => {
                for number in target.iter().flat_map(|pod| pod.numbers(port.protocol, name)) {
                    add(port.protocol, number, number);
                }
            }
        }
    }
    by_protocol.retain(|_, numbers| !numbers.is_empty());
    Traffic::Ports(by_protocol)
}

fn addresses(world: &World, policy: &Policy, peers: &Peers) -> Addresses {
    let Peers::Only(list) = peers else {
        return Addresses::Every;
    };
    let mut all = Intervals::default();
    for peer in list {
        match peer {
            Peer::Pods { namespaces, pods } => {
                let selected =
                    world.pods.iter().filter(|pod| within(world, policy, namespaces, pod) && pods.matches(&pod.labels));
                all.union(selected.map(|pod| (pod.address.into(), pod.address.into())));
            }
            Peer::Block { cidr, except } => all.union(block(*cidr, except).ranges()),
        }
    }
    Addresses::Only(all)
}

fn within(world: &World, policy: &Policy, namespaces: &Namespaces, pod: &Pod) -> bool {
    match namespaces {
        Namespaces::Own => pod.namespace == policy.namespace,
        Namespaces::Labelled(selector) => {
            world.namespaces.get(&pod.namespace).is_some_and(|labels| selector.matches(labels))
        }
    }
}

fn block(cidr: Cidr, except: &[Cidr]) -> Intervals {
    let mut set = Intervals::default();
    let (first, last) = cidr.range();
    set.insert(first, last);
    for hole in except {
        let (first, last) = hole.range();
        set.remove(first, last);
    }
    set
}
