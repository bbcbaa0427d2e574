//! Prints the rules of one node as nftables text.
//!
//! Guarantees that the text replaces the table in one transaction, so that no packet sees half of it, and that it
//! names no table but our own. Must never decide anything: see [`super::ruleset`].

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

use super::intervals::Intervals;
use super::model::Direction;
use super::ruleset::{Addresses, Chain, Ruleset, Traffic};

pub const TABLE: &str = "inet his-netpol";

/// The host's ends of the pods' interfaces, as the `ptp` plugin names them.
pub const POD_INTERFACES: &str = "veth*";

/// Removes the table; harmless where there is none.
pub fn remove() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

/// Replaces the table.
pub fn print(ruleset: &Ruleset) -> String {
    let mut sets = Sets::default();
    let mut chains = String::new();
    for (index, chain) in ruleset.chains.iter().enumerate() {
        chains.push_str(&sets.chain(index, chain));
    }
    let mut text = remove();
    line(&mut text, &format!("table {TABLE} {{"));
    let pods = list(ruleset.pods.iter().map(Ipv4Addr::to_string));
    let selves = list(ruleset.pods.iter().map(|pod| format!("{pod} . {pod}")));
    text.push_str(&block("set pods", "type ipv4_addr", &pods));
    text.push_str(&block("set self", "type ipv4_addr . ipv4_addr", &selves));
    text.push_str(&sets.text);
    text.push_str(&chains);
    for (name, isolated) in [("egress", &ruleset.egress), ("ingress", &ruleset.ingress)] {
        let elements = isolated.iter().map(|(address, index)| format!("{address} : jump pods-{index}"));
        text.push_str(&block(&format!("map {name}"), "type ipv4_addr : verdict", &list(elements)));
    }
    text.push_str(&hooks(ruleset.announced));
    line(&mut text, "}");
    text
}

/// Chains `return` what they grant and drop the rest, so that a packet between two pods of a node meets both its
/// sender's and its receiver's chain.
fn hooks(announced: bool) -> String {
    let strict = |rule: &str| {
        if announced { format!("    {rule} counter drop\n") } else { String::new() }
    };
    let unknown_source = strict(&format!("iifname \"{POD_INTERFACES}\" meta nfproto ipv4 ip saddr != @pods"));
    let unknown_destination = strict(&format!("oifname \"{POD_INTERFACES}\" meta nfproto ipv4 ip daddr != @pods"));
    // Neighbour discovery is ICMPv6 and stays, or interfaces log errors; it never leaves the link.
    let no_ipv6 =
        format!("    iifname \"{POD_INTERFACES}\" meta nfproto ipv6 meta l4proto != ipv6-icmp counter drop\n");
    format!(
        "  chain forward {{
    type filter hook forward priority 10; policy accept;
    ct state established,related accept
    ip saddr . ip daddr @self accept
{no_ipv6}{unknown_source}{unknown_destination}    ip saddr vmap @egress
    ip daddr vmap @ingress
  }}
  chain input {{
    type filter hook input priority 10; policy accept;
    ct state established,related accept
{no_ipv6}{unknown_source}    ip saddr vmap @egress
  }}
"
    )
}

/// Sets are shared by the rules that need the same members.
#[derive(Default)]
struct Sets<'a> {
    text: String,
    peers: BTreeMap<&'a Intervals, String>,
    ports: BTreeMap<&'a Traffic, String>,
}

impl<'a> Sets<'a> {
    fn chain(&mut self, index: usize, chain: &'a Chain) -> String {
        let mut text = format!("  chain pods-{index} {{\n");
        for (traffic, addresses) in &chain.grants {
            let peers = self.peers(chain.direction, addresses);
            let ports = self.ports(traffic);
            line(&mut text, &format!("    {peers}{ports}return"));
        }
        text.push_str("    counter drop\n  }\n");
        text
    }

    fn peers(&mut self, direction: Direction, addresses: &'a Addresses) -> String {
        let Addresses::Only(set) = addresses else {
            return String::new();
        };
        let count = self.peers.len();
        let name = self.peers.entry(set).or_insert_with(|| {
            let name = format!("peers-{count}");
            let elements = list(set.ranges().map(address_range));
            self.text.push_str(&block(&format!("set {name}"), "type ipv4_addr; flags interval", &elements));
            name
        });
        let end = match direction {
            Direction::Ingress => "saddr",
            Direction::Egress => "daddr",
        };
        format!("ip {end} @{name} ")
    }

    fn ports(&mut self, traffic: &'a Traffic) -> String {
        let Traffic::Ports(ports) = traffic else {
            return String::new();
        };
        let count = self.ports.len();
        let name = self.ports.entry(traffic).or_insert_with(|| {
            let name = format!("ports-{count}");
            let elements = list(ports.iter().flat_map(|(protocol, numbers)| {
                let protocol = protocol.name();
                numbers.ranges().map(move |(first, last)| format!("{protocol} . {first}-{last}"))
            }));
            self.text.push_str(&block(
                &format!("set {name}"),
                "type inet_proto . inet_service; flags interval",
                &elements,
            ));
            name
        });
        format!("meta l4proto . th dport @{name} ")
    }
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

fn line(text: &mut String, content: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{content}");
}
