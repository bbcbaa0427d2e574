//! The verdict of the specification on one connection, read straight from the policies.
//!
//! Guarantees to be independent of the compiler and of nftables, so that it can judge both. Must never do IO.

use std::net::Ipv4Addr;

use super::model::{Direction, Namespaces, Peer, Peers, Pod, Policy, Port, Ports, Protocol, Rule, Which, World};

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<'a> {
    Pod(&'a Pod),
    /// A node, its kubelet, or a pod with `hostNetwork` on it.
    Node {
        name: &'a str,
        address: Ipv4Addr,
    },
    /// Anything that is not part of the cluster.
    Outside(Ipv4Addr),
}

impl End<'_> {
    pub fn address(&self) -> Ipv4Addr {
        match self {
            Self::Pod(pod) => pod.address,
            Self::Node { address, .. } | Self::Outside(address) => *address,
        }
    }
}

/// Whether a new connection is allowed, by every policy of `world` that isolates either end.
///
/// A pod always reaches itself, and a node always reaches its own pods; both the sender's egress and the receiver's
/// ingress have to allow everything else.
pub fn allowed(world: &World, from: End, to: End, protocol: Protocol, port: u16) -> bool {
    let question = Question { world, to, protocol, port };
    if let (End::Pod(one), End::Pod(other)) = (from, to)
        && one.address == other.address
    {
        return true;
    }
    question.leaves(from) && question.enters(from)
}

struct Question<'a> {
    world: &'a World,
    to: End<'a>,
    protocol: Protocol,
    port: u16,
}

impl Question<'_> {
    fn leaves(&self, from: End) -> bool {
        let End::Pod(pod) = from else { return true };
        self.permits(pod, Direction::Egress, self.to)
    }

    fn enters(&self, from: End) -> bool {
        let End::Pod(pod) = self.to else { return true };
        match from {
            End::Node { name, .. } if name == pod.node => true,
            _ => self.permits(pod, Direction::Ingress, from),
        }
    }

    /// Whether the policies that isolate `subject` allow traffic with `peer`; no such policy allows everything.
    fn permits(&self, subject: &Pod, direction: Direction, peer: End) -> bool {
        let mut isolated = false;
        for (policy, rules) in self.world.isolating(subject, direction) {
            isolated = true;
            if rules.iter().any(|rule| self.grants(policy, rule, peer)) {
                return true;
            }
        }
        !isolated
    }

    fn grants(&self, policy: &Policy, rule: &Rule, peer: End) -> bool {
        let peers = match &rule.peers {
            Peers::Everyone => true,
            Peers::Only(list) => list.iter().any(|one| self.is(policy, one, peer)),
        };
        let ports = match &rule.ports {
            Ports::Every => true,
            Ports::Only(list) => list.iter().any(|port| self.uses(port)),
        };
        peers && ports
    }

    fn is(&self, policy: &Policy, selected: &Peer, peer: End) -> bool {
        match selected {
            Peer::Block { cidr, except } => {
                cidr.contains(peer.address()) && !except.iter().any(|x| x.contains(peer.address()))
            }
            Peer::Pods { namespaces, pods } => {
                let End::Pod(pod) = peer else { return false };
                let namespace = match namespaces {
                    Namespaces::Own => pod.namespace == policy.namespace,
                    Namespaces::Labelled(selector) => {
                        self.world.namespaces.get(&pod.namespace).is_some_and(|labels| selector.matches(labels))
                    }
                };
                namespace && pods.matches(&pod.labels)
            }
        }
    }

    fn uses(&self, port: &Port) -> bool {
        let number = match &port.which {
            Which::Numbers(first, last) => (*first..=*last).contains(&self.port),
            Which::Named(name) => match self.to {
                End::Pod(pod) => pod.numbers(port.protocol, name).any(|number| number == self.port),
                End::Node { .. } | End::Outside(_) => false,
            },
        };
        port.protocol == self.protocol && number
    }
}
