//! The rules of one node, in a form that can be interpreted as well as printed.
//!
//! Guarantees that the printed nftables text ([`super::nft`]) has nothing to decide: every set, map and chain of it is
//! a value here. Must never hold a rule that can match nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::intervals::Intervals;
use super::model::{Direction, Protocol};

/// What one node enforces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Addresses of the node's own pods.
    pub pods: BTreeSet<Ipv4Addr>,
    /// Whether an address that is not in `pods` is refused on a pod's interface.
    pub announced: bool,
    /// Chains of the isolated pods, shared by those with the same rules.
    pub chains: Vec<Chain>,
    /// Isolated senders: index into `chains`.
    pub egress: BTreeMap<Ipv4Addr, usize>,
    /// Isolated receivers: index into `chains`.
    pub ingress: BTreeMap<Ipv4Addr, usize>,
}

/// Grants of one direction; what none of them covers is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chain {
    pub direction: Direction,
    pub grants: BTreeMap<Traffic, Addresses>,
}

/// Which traffic a grant covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    Every,
    Ports(BTreeMap<Protocol, Intervals>),
}

/// Which peers a grant covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Addresses {
    Every,
    Only(Intervals),
}

/// Where on a node a packet is seen. What a node sends itself is not filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// From one interface to another.
    Forward,
    /// Addressed to the node.
    Input,
}

/// The first packet of a connection, as one node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub hook: Hook,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: Protocol,
    pub port: u16,
    /// Whether it comes in on a pod's interface of this node.
    pub from_pod: bool,
    /// Whether it goes out on a pod's interface of this node.
    pub to_pod: bool,
}

impl Ruleset {
    /// Whether the node lets the packet pass: what the printed rules do, step by step.
    pub fn passes(&self, packet: &Packet) -> bool {
        let forwarded = packet.hook == Hook::Forward;
        if forwarded && packet.source == packet.destination && self.pods.contains(&packet.source) {
            return true;
        }
        if self.announced
            && (packet.from_pod && !self.pods.contains(&packet.source)
                || forwarded && packet.to_pod && !self.pods.contains(&packet.destination))
        {
            return false;
        }
        self.permits(&self.egress, packet.source, packet.destination, packet)
            && (!forwarded || self.permits(&self.ingress, packet.destination, packet.source, packet))
    }

    fn permits(
        &self,
        isolated: &BTreeMap<Ipv4Addr, usize>,
        subject: Ipv4Addr,
        peer: Ipv4Addr,
        packet: &Packet,
    ) -> bool {
        match isolated.get(&subject) {
            None => true,
            Some(&index) => self.chains.get(index).is_some_and(|chain| chain.grants(peer, packet)),
        }
    }
}

impl Chain {
    fn grants(&self, peer: Ipv4Addr, packet: &Packet) -> bool {
        self.grants.iter().any(|(traffic, addresses)| {
            let covered = match traffic {
                Traffic::Every => true,
                Traffic::Ports(ports) => {
                    ports.get(&packet.protocol).is_some_and(|numbers| numbers.contains(u32::from(packet.port)))
                }
            };
            covered
                && match addresses {
                    Addresses::Every => true,
                    Addresses::Only(set) => set.contains(u32::from(peer)),
                }
        })
    }
}
