//! The networks of the nodes: one namespace each, one wire between them, a wire each to the one host that plays everything
//! outside, and no way out.
//!
//! Guarantees that nothing in a node or pod can reach an address outside: there is no default route in the nodes, no
//! translation of addresses, and no interface on the host.

use std::path::Path;

use anyhow::Result;

use super::layout::{FIRST, NODES, Node, OUTSIDE, SERVICES};
use crate::outside;
use crate::shell::{command, nsenter_net};

/// Creates both namespaces and the wire.
pub(super) fn create() -> Result<()> {
    for netns in namespaces() {
        command("ip").args(["netns", "add", &netns]).output()?;
    }
    let (first, second) = (FIRST, FIRST.peer());
    ip(first, &["link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", &second.netns()])?;
    for node in NODES {
        ip(node, &["link", "set", "lo", "up"])?;
        ip(node, &["addr", "add", &format!("{}/24", node.address()), "dev", "eth1"])?;
        ip(node, &["link", "set", "eth1", "up"])?;
        nsenter_net(&node.netns(), "sh").args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]).output()?;
    }
    for node in NODES {
        let peer = node.peer();
        ip(node, &["route", "add", &peer.pod_cidr(), "via", &peer.address().to_string()])?;
        // A Service address must have a route before kube-proxy may replace it. Nobody on the wire answers to it, so
        // one that kube-proxy does not know is unreachable instead of going round in circles.
        ip(node, &["route", "add", SERVICES, "dev", "eth1"])?;
    }
    outside()
}

/// One host with every address outside, and the way to and from it.
fn outside() -> Result<()> {
    let own = |arguments: &[&str]| command("ip").args(["-n", OUTSIDE]).args(arguments).output().map(drop);
    own(&["link", "set", "lo", "up"])?;
    for address in outside::ALL {
        own(&["addr", "add", &format!("{}/32", address.ip()), "dev", "lo"])?;
    }
    for node in NODES {
        let ([there, here], wire) = (node.outside_wire(), node.name());
        ip(node, &["link", "add", "eth2", "type", "veth", "peer", "name", &wire, "netns", OUTSIDE])?;
        ip(node, &["addr", "add", &format!("{here}/30"), "dev", "eth2"])?;
        ip(node, &["link", "set", "eth2", "up"])?;
        own(&["addr", "add", &format!("{there}/30"), "dev", &wire])?;
        own(&["link", "set", &wire, "up"])?;
        for address in outside::ALL {
            ip(node, &["route", "add", &format!("{}/32", address.ip()), "via", &there.to_string()])?;
        }
        own(&["route", "add", &node.pod_cidr(), "via", &here.to_string()])?;
    }
    Ok(())
}

/// Names of all namespaces of ours.
pub(super) fn namespaces() -> impl Iterator<Item = String> {
    NODES.iter().map(|node| node.netns()).chain([OUTSIDE.to_owned()])
}

fn is_there(netns: &str) -> bool {
    Path::new("/run/netns").join(netns).exists()
}

/// Whether the namespaces are there; a restart of the machine removes them.
pub(super) fn exists() -> bool {
    namespaces().all(|netns| is_there(&netns))
}

/// Whether any namespace is there.
pub(super) fn is_any_left() -> bool {
    namespaces().any(|netns| is_there(&netns))
}

/// Removes the namespaces, and with them every interface in them.
pub(super) fn remove() -> Result<()> {
    for netns in namespaces().filter(|netns| is_there(netns)) {
        command("ip").args(["netns", "del", &netns]).output()?;
    }
    Ok(())
}

fn ip(node: Node, arguments: &[&str]) -> Result<()> {
    command("ip").args(["-n", &node.netns()]).args(arguments).output().map(drop)
}
