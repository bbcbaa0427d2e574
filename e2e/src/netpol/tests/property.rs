//! The compiled rules and the specification's reading agree on random worlds.
//!
//! A seed makes a world; a disagreement is made smaller by leaving out pods, policies and rules before it is shown.

use std::net::Ipv4Addr;

use super::fixture::{Connection, NODES, Rules, rules};
use crate::netpol::evaluate::End;
use crate::netpol::model::{
    Cidr, Labels, NamedPort, Namespaces, Peer, Peers, Pod, Policy, Port, Ports, Protocol, Requirement, Rule, Selector,
    Which, World,
};

const WORLDS: u64 = 400;
const HIGHEST_PORT: u16 = 6;
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
const NAMESPACES: [&str; 3] = ["a", "b", "c"];

/// The splitmix64 sequence: enough to choose, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u8) -> u8 {
        u8::try_from(self.next() % u64::from(limit)).unwrap()
    }

    fn one_of<T: Clone>(&mut self, list: &[T]) -> T {
        list[usize::from(self.below(u8::try_from(list.len()).unwrap()))].clone()
    }

    fn some<T>(&mut self, limit: u8, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(limit)).map(|_| make(self)).collect()
    }

    fn chance(&mut self, in_ten: u8) -> bool {
        self.below(10) < in_ten
    }

    fn port(&mut self) -> u16 {
        u16::from(self.below(7))
    }

    fn labels(&mut self) -> Labels {
        let label = |dice: &mut Self| (dice.one_of(&["k", "l"]), dice.one_of(&["x", "y"]));
        let pairs = self.some(3, label).into_iter();
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn selector(&mut self) -> Selector {
        Selector(self.some(2, |dice| {
            let key = dice.one_of(&["k", "l"]).to_owned();
            let values = dice.some(3, |dice| dice.one_of(&["x", "y"]).to_owned());
            match dice.below(4) {
                0 => Requirement::In(key, values),
                1 => Requirement::NotIn(key, values),
                2 => Requirement::Exists(key),
                _ => Requirement::DoesNotExist(key),
            }
        }))
    }

    fn cidr(&mut self) -> Cidr {
        if self.chance(1) {
            return Cidr::new(Ipv4Addr::UNSPECIFIED, 0);
        }
        let last = self.one_of(&[0, 5, 8, 16, 201, 202, 255]);
        Cidr::new(Ipv4Addr::new(192, 0, 2, last), 24 + self.below(9))
    }

    fn peer(&mut self) -> Peer {
        if self.chance(4) {
            return Peer::Block { cidr: self.cidr(), except: self.some(3, Self::cidr) };
        }
        Peer::Pods {
            namespaces: if self.chance(5) { Namespaces::Own } else { Namespaces::Labelled(self.selector()) },
            pods: self.selector(),
        }
    }

    fn rule(&mut self) -> Rule {
        Rule {
            peers: if self.chance(2) { Peers::Everyone } else { Peers::Only(self.some(4, Self::peer)) },
            ports: if self.chance(3) {
                Ports::Every
            } else {
                Ports::Only(self.some(4, |dice| Port {
                    protocol: dice.one_of(&PROTOCOLS),
                    which: if dice.chance(4) {
                        Which::Named(dice.one_of(&["p", "q"]).to_owned())
                    } else {
                        Which::Numbers(dice.port(), dice.port())
                    },
                }))
            },
        }
    }

    fn world(&mut self) -> World {
        let pods = (0..2 + self.below(5)).map(|index| Pod {
            namespace: self.one_of(&NAMESPACES).to_owned(),
            name: format!("pod{index}"),
            node: self.one_of(&NODES).0.to_owned(),
            address: Ipv4Addr::new(192, 0, 2, index * 5 + self.below(5)),
            labels: self.labels(),
            ports: self.some(4, |dice| NamedPort {
                name: dice.one_of(&["p", "q"]).to_owned(),
                protocol: dice.one_of(&PROTOCOLS),
                port: dice.port(),
            }),
        });
        let pods = pods.collect();
        let namespaces = NAMESPACES.map(|name| (name.to_owned(), self.labels()));
        World {
            pods,
            namespaces: namespaces.into_iter().collect(),
            policies: self.some(9, |dice| Policy {
                namespace: dice.one_of(&NAMESPACES).to_owned(),
                name: "p".to_owned(),
                pods: dice.selector(),
                ingress: dice.chance(7).then(|| dice.some(4, Self::rule)),
                egress: dice.chance(7).then(|| dice.some(4, Self::rule)),
            }),
        }
    }
}

/// A connection on which the two verdicts differ.
fn disagreement(world: &World, change: impl Fn(&mut Rules)) -> Option<String> {
    let mut rules = rules(world, true);
    change(&mut rules);
    let pods = world.pods.iter().map(End::Pod);
    let nodes = NODES.map(|(name, address)| End::Node { name, address });
    let outside = [[192, 0, 2, 250], [203, 0, 113, 1]].map(|ip| End::Outside(ip.into()));
    let ends: Vec<_> = pods.chain(nodes).chain(outside).collect();
    for (from, to) in ends.iter().flat_map(|from| ends.iter().map(move |to| (*from, *to))) {
        for (protocol, port) in
            PROTOCOLS.into_iter().flat_map(|protocol| (0..=HIGHEST_PORT).map(move |port| (protocol, port)))
        {
            let connection = Connection { from, to, protocol, port };
            if connection.by_the_specification(world) != connection.by_the_rules(&rules) {
                return Some(format!("{connection:#?}"));
            }
        }
    }
    None
}

/// Worlds with one thing less.
fn smaller(world: &World) -> Vec<World> {
    let mut all = Vec::new();
    let mut without = |change: &dyn Fn(&mut World)| {
        let mut copy = world.clone();
        change(&mut copy);
        all.push(copy);
    };
    for index in 0..world.pods.len() {
        without(&|copy| drop(copy.pods.remove(index)));
    }
    for (index, policy) in world.policies.iter().enumerate() {
        without(&|copy| drop(copy.policies.remove(index)));
        for rule in 0..policy.ingress.iter().flatten().count() {
            without(&|copy| drop(copy.policies[index].ingress.as_mut().unwrap().remove(rule)));
        }
        for rule in 0..policy.egress.iter().flatten().count() {
            without(&|copy| drop(copy.policies[index].egress.as_mut().unwrap().remove(rule)));
        }
    }
    all
}

fn smallest(mut world: World) -> World {
    while let Some(next) = smaller(&world).into_iter().find(|next| disagreement(next, |_| {}).is_some()) {
        world = next;
    }
    world
}

#[test]
fn compiled_rules_agree_with_the_specification_on_random_worlds() {
    for seed in 0..WORLDS {
        let world = Dice(seed).world();
        if disagreement(&world, |_| {}).is_some() {
            let world = smallest(world);
            let connection = disagreement(&world, |_| {});
            panic!("seed {seed}: {world:#?}\n{}", connection.unwrap_or_default());
        }
    }
}

#[test]
fn random_worlds_have_both_verdicts_and_catch_a_lost_chain() {
    let lost = |rules: &mut Rules| {
        for node in rules.values_mut() {
            node.egress.pop_last();
        }
    };
    let worlds = || (0..WORLDS).map(|seed| Dice(seed).world());
    assert!(worlds().any(|world| disagreement(&world, lost).is_some()));
    let isolated = worlds().filter(|world| {
        let rules = rules(world, true);
        rules.values().any(|node| node.chains.iter().any(|chain| chain.grants.len() > 1))
    });
    assert!(isolated.count() > 100, "random policies hardly grant anything");
}
