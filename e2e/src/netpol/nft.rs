//! Prints the rules of one node as nftables text.
//!
//! Guarantees that a text takes effect in one transaction, and that it names no table but our own. Sets and chains
//! carry the text's own tag: a packet that is still walking the rules before finds the sets before, see
//! [`super::table`]. Must never decide anything: see [`super::ruleset`].

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::Ipv4Addr;

use super::intervals::Intervals;
use super::model::Direction;
use super::ruleset::{Addresses, Chain, Ruleset, Traffic};

pub const TABLE: &str = "inet his-netpol";

/// The host's ends of the pods' interfaces, as the `ptp` plugin names them.
pub const POD_INTERFACES: &str = "veth*";

/// Rules as text, and how to take away what only they used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Printed {
    /// Makes these rules those in force; the ones before stay in the kernel, unused.
    pub enforce: String,
    /// Deletes the sets and chains of `enforce`, once other rules are in force.
    pub retire: String,
}

/// Removes the table; harmless where there is none.
pub fn remove() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

/// Prints rules under a tag that no other text in the same table has.
pub fn print(ruleset: &Ruleset, tag: u64) -> Printed {
    let mut text = Text { tag, ..Text::default() };
    let selves = ruleset.pods.iter().map(|pod| format!("{pod} . {pod}"));
    text.set("self", "type ipv4_addr . ipv4_addr", selves);
    for (index, chain) in ruleset.chains.iter().enumerate() {
        text.chain(index, chain);
    }
    text.direction("from-pod", "saddr", ruleset, &ruleset.egress);
    text.direction("to-pod", "daddr", ruleset, &ruleset.ingress);
    let base = base(tag);
    let body = &text.body;
    Printed {
        // The base chains stay for ever: if they were made anew, a packet could meet neither the old nor the new.
        enforce: format!(
            "table {TABLE} {{
  chain forward {{
    type filter hook forward priority 10; policy accept;
  }}
  chain input {{
    type filter hook input priority 10; policy accept;
  }}
{body}}}
flush chain {TABLE} forward
flush chain {TABLE} input
table {TABLE} {{
{base}}}
"
        ),
        retire: text.retire,
    }
}

/// What a packet meets first. `from-pod` and `to-pod` return what they let pass, so that a packet between two pods of
/// a node meets both its sender's and its receiver's rules.
fn base(tag: u64) -> String {
    // Neighbour discovery is ICMPv6 and stays, or interfaces log errors; it never leaves the link.
    let from_pod = format!(
        "    iifname \"{POD_INTERFACES}\" meta nfproto ipv6 meta l4proto != ipv6-icmp counter drop
    iifname \"{POD_INTERFACES}\" meta nfproto ipv4 jump from-pod-{tag}
"
    );
    format!(
        "  chain forward {{
    ct state established,related accept
    ip saddr . ip daddr @self-{tag} accept
{from_pod}    oifname \"{POD_INTERFACES}\" meta nfproto ipv4 jump to-pod-{tag}
  }}
  chain input {{
    ct state established,related accept
{from_pod}  }}
"
    )
}

/// Text in the making. Sets are shared by the rules that need the same members.
#[derive(Default)]
struct Text<'a> {
    tag: u64,
    body: String,
    retire: String,
    peers: BTreeMap<&'a Intervals, usize>,
    ports: BTreeMap<&'a Traffic, usize>,
}

impl<'a> Text<'a> {
    fn set(&mut self, name: &str, kind: &str, elements: impl Iterator<Item = String>) {
        let tag = self.tag;
        let block = block(&format!("set {name}-{tag}"), kind, &list(elements));
        self.body.push_str(&block);
        append(&mut self.retire, format_args!("delete set {TABLE} {name}-{tag}\n"));
    }

    /// The grants of a chain return to the caller of `from-pod` or `to-pod`, which went here with `goto`.
    fn chain(&mut self, index: usize, chain: &'a Chain) {
        let mut rules = String::new();
        for (traffic, addresses) in &chain.grants {
            let peers = self.peers(chain.direction, addresses);
            let ports = self.ports(traffic);
            append(&mut rules, format_args!("    {peers}{ports}return\n"));
        }
        self.add_chain(&format!("pods-{index}"), &format!("{rules}    counter drop\n"));
    }

    /// Every pod of the node is in the map, so that on a node with announcements a miss can be a refusal.
    fn direction(&mut self, name: &str, address: &str, ruleset: &Ruleset, isolated: &BTreeMap<Ipv4Addr, usize>) {
        let tag = self.tag;
        let elements = ruleset.pods.iter().map(|pod| match isolated.get(pod) {
            Some(index) => format!("{pod} : goto pods-{index}-{tag}"),
            None => format!("{pod} : return"),
        });
        let map = format!("{name}-verdicts-{tag}");
        let block = block(&format!("map {map}"), "type ipv4_addr : verdict", &list(elements));
        self.body.push_str(&block);
        let miss = if ruleset.announced { "    counter drop\n" } else { "" };
        // What uses something else is added later and deleted earlier.
        self.retire.insert_str(0, &format!("delete map {TABLE} {map}\n"));
        self.add_chain(name, &format!("    ip {address} vmap @{map}\n{miss}"));
    }

    fn add_chain(&mut self, name: &str, rules: &str) {
        let tag = self.tag;
        append(&mut self.body, format_args!("  chain {name}-{tag} {{\n{rules}  }}\n"));
        let line = format!("delete chain {TABLE} {name}-{tag}\n");
        self.retire.insert_str(0, &line);
    }

    fn peers(&mut self, direction: Direction, addresses: &'a Addresses) -> String {
        let Addresses::Only(set) = addresses else {
            return String::new();
        };
        let next = self.peers.len();
        let index = *self.peers.entry(set).or_insert(next);
        if index == next {
            let elements = set.ranges().map(address_range);
            self.set(&format!("peers-{index}"), "type ipv4_addr; flags interval", elements);
        }
        let end = match direction {
            Direction::Ingress => "saddr",
            Direction::Egress => "daddr",
        };
        format!("ip {end} @peers-{index}-{} ", self.tag)
    }

    fn ports(&mut self, traffic: &'a Traffic) -> String {
        let Traffic::Ports(ports) = traffic else {
            return String::new();
        };
        let next = self.ports.len();
        let index = *self.ports.entry(traffic).or_insert(next);
        if index == next {
            let elements = ports.iter().flat_map(|(protocol, numbers)| {
                let protocol = protocol.name();
                numbers.ranges().map(move |(first, last)| format!("{protocol} . {first}-{last}"))
            });
            let kind = "type inet_proto . inet_service; flags interval";
            self.set(&format!("ports-{index}"), kind, elements);
        }
        format!("meta l4proto . th dport @ports-{index}-{} ", self.tag)
    }
}

fn append(text: &mut String, more: fmt::Arguments) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(more);
}

fn address_range((first, last): (u32, u32)) -> String {
    let (first, last) = (Ipv4Addr::from(first), Ipv4Addr::from(last));
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// Nothing for an empty list, because nftables refuses empty elements.
fn list(elements: impl Iterator<Item = String>) -> String {
    let joined = elements.collect::<Vec<_>>().join(", ");
    if joined.is_empty() { String::new() } else { format!("    elements = {{ {joined} }}\n") }
}

fn block(head: &str, kind: &str, elements: &str) -> String {
    format!("  {head} {{\n    {kind}\n{elements}  }}\n")
}
