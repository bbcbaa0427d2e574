//! Where the cluster keeps its files, and the names and addresses it uses.
//!
//! Everything outside the state directory carries [`PREFIX`], so that it can be found and removed after a crash. The
//! addresses exist only inside the namespaces of the nodes; the host sees nothing but two loopback ports.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::paths;

/// Begins the name of every namespace and control group of ours.
pub const PREFIX: &str = "his-";

/// Services get their addresses here, and cluster DNS has this one.
pub const SERVICES: &str = "10.96.0.0/16";
pub const DNS: &str = "10.96.0.10";
/// Where pods find the API server.
pub const API: &str = "10.96.0.1";
pub const PODS: &str = "10.244.0.0/16";

/// Where kube-apiserver listens inside the namespaces.
pub const API_PORT: u16 = 6443;

/// A node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    pub number: u8,
}

/// The first node also carries the control plane.
pub const NODES: [Node; 2] = [Node { number: 1 }, Node { number: 2 }];

/// The node that carries the control plane.
pub const FIRST: Node = Node { number: 1 };

impl Node {
    /// Name of the Node object.
    pub fn name(self) -> String {
        format!("node{}", self.number)
    }

    /// Network namespace under /run/netns.
    pub fn netns(self) -> String {
        format!("{PREFIX}node{}", self.number)
    }

    /// Address on the wire between the nodes.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(172, 31, 8, self.number)
    }

    /// The wire to the host outside: its end, and that of the node (RFC 5737).
    pub fn outside_wire(self) -> [Ipv4Addr; 2] {
        [1, 2].map(|end| Ipv4Addr::new(192, 0, 2, 4 * self.number + end))
    }

    pub fn pod_cidr(self) -> String {
        format!("10.244.{}.0/24", self.number)
    }

    /// The other node.
    #[must_use]
    pub fn peer(self) -> Node {
        Node { number: 3 - self.number }
    }

    /// Control group of the pods, relative to each hierarchy.
    pub fn cgroup(self) -> String {
        format!("{CGROUP}/{}", self.name())
    }
}

/// Control group above everything of ours.
pub const CGROUP: &str = "his-operator";

/// Network namespace of the host that plays everything outside of the cluster.
pub const OUTSIDE: &str = "his-outside";

/// Paths of one cluster.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The cluster of this user.
    pub fn ours() -> Result<Self> {
        Ok(Self { dir: paths::state_dir()?.join("cluster") })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Held while the cluster is changed; beside the directory, which comes and goes.
    pub fn lock(&self) -> PathBuf {
        self.dir.with_extension("lock")
    }

    pub fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    pub fn log(&self, process: &str) -> PathBuf {
        self.dir.join("log").join(format!("{process}.log"))
    }

    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Kubeconfig of a component that lives inside the namespaces.
    pub fn internal_kubeconfig(&self, component: &str) -> PathBuf {
        self.dir.join(format!("{component}.kubeconfig"))
    }

    /// Kubeconfig for people and tests on the host.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// A copy of this program for its daemons, so that a rebuild does not change a running cluster.
    pub fn program(&self) -> PathBuf {
        self.dir.join("bin/e2e")
    }

    /// CNI plugins of the nodes.
    pub fn cni_plugins(&self) -> PathBuf {
        self.dir.join("cni")
    }

    /// Says that the cluster was completed, and from what.
    pub fn complete(&self) -> PathBuf {
        self.dir.join("complete")
    }

    pub fn node(&self, node: Node) -> PathBuf {
        self.dir.join(node.name())
    }

    /// Network namespaces of the node's pods.
    pub fn pod_networks(&self, node: Node) -> PathBuf {
        self.node(node).join("containerd/state/io.containerd.grpc.v1.cri/netns")
    }

    /// Where the node's containerd listens.
    pub fn containerd_socket(&self, node: Node) -> PathBuf {
        self.node(node).join("containerd.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_the_peer_of_the_other() {
        assert_eq!(NODES.map(Node::peer).map(Node::peer), NODES);
    }
}
