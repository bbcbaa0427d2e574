//! The networks of the nodes: one namespace each, one wire between them, and no way out.
//!
//! Guarantees that nothing in a node or pod can reach an address outside: there is no default route in the nodes, no
//! translation of addresses, and no interface on the host.

use std::path::Path;

use anyhow::Result;

use super::layout::{FIRST, NODES, Node, SERVICES};
use crate::shell::{command, nsenter_net};

/// Creates both namespaces and the wire.
pub(super) fn create() -> Result<()> {
    for node in NODES {
        command("ip").args(["netns", "add", &node.netns()]).output()?;
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
    Ok(())
}

/// Whether the namespaces are there; a restart of the machine removes them.
pub(super) fn exists() -> bool {
    NODES.iter().all(|node| Path::new("/run/netns").join(node.netns()).exists())
}

/// Removes the namespaces, and with them every interface in them.
pub(super) fn remove() -> Result<()> {
    for node in NODES {
        if Path::new("/run/netns").join(node.netns()).exists() {
            command("ip").args(["netns", "del", &node.netns()]).output()?;
        }
    }
    Ok(())
}

fn ip(node: Node, arguments: &[&str]) -> Result<()> {
    command("ip").args(["-n", &node.netns()]).args(arguments).output().map(drop)
}
