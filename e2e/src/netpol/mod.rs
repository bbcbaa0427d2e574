//! A stand-in for the network policy engine of a real CNI, for the local test cluster only.
//!
//! Guarantees that `NetworkPolicy` (networking.k8s.io/v1) objects are enforced in every node's network namespace with the
//! verdicts of the specification, by one nftables table per node whose rules change atomically. On a node whose CNI chain
//! holds the [`cni`] plugin, no pod has a network before its rules are in force, and an address that no pod announced is
//! refused; elsewhere a new pod is open until the API server has its address (about a second).
//!
//! Where the specification leaves room, this is what happens here:
//! * a refused packet is dropped, as CNIs do, so a refusal is seen as a timeout;
//! * connections that exist when a policy changes go on (connection tracking);
//! * traffic from the pod's own node is always allowed; traffic *to* the node obeys egress rules, as with Calico, Cilium
//!   and kube-router;
//! * `ipBlock` matches pod addresses too; peers are seen after kube-proxy's translation of Service addresses;
//! * pods with `hostNetwork` are their node: no policy selects them, and only an `ipBlock` matches them;
//! * IPv6 from a pod is refused altogether, because the local cluster has only IPv4 and an address that no rule knows
//!   must not be a way round the rules.
//!
//! Must never be taken for a product component, and never touches a table other than its own.

use std::path::{Path, PathBuf};

pub mod announce;
pub mod cni;
mod compile;
mod daemon;
mod enforcer;
pub mod evaluate;
pub mod intervals;
pub mod model;
mod nft;
pub mod read;
pub mod ruleset;
pub mod status;
pub mod table;

#[cfg(test)]
#[allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests;

pub use daemon::run;
pub use status::{Status, wait};

/// Annotation of a namespace whose policies are not enforced, as under a network plug-in that knows none.
pub const UNENFORCED: &str = "netpol.his-operator.io/unenforced";

/// One node whose forwarded traffic is policed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNet {
    /// Name of the Node object.
    pub name: String,
    /// Name of the network namespace under /run/netns.
    pub netns: String,
    /// Whether the node's CNI chain holds the [`cni`] plugin; if so, an address that nobody announced is refused.
    pub announced: bool,
}

/// Where the enforcer writes what it has applied: beside the kubeconfig it was started with.
pub fn status_path(kubeconfig: &Path) -> PathBuf {
    kubeconfig.with_file_name("netpol-status.json")
}

/// Where the enforcer listens for the CNI plugin: beside the kubeconfig it was started with.
pub fn socket_path(kubeconfig: &Path) -> PathBuf {
    kubeconfig.with_file_name("netpol.sock")
}
