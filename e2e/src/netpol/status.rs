//! What the enforcer has applied, in a file that tests read.
//!
//! Guarantees that what is listed was in the kernel of every node when the file was written, and that a reader never
//! sees half a file. Must never list what was only read.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Rules in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Process that wrote this.
    pub enforcer: u32,
    /// Counts changes of the rules on any node since the enforcer started; 0 means none yet.
    pub generation: u64,
    pub nodes: BTreeMap<String, Node>,
    /// `metadata.generation` of each policy in force, by `namespace/name`.
    pub policies: BTreeMap<String, i64>,
    /// Pods in force, by `namespace/name`.
    pub pods: BTreeMap<String, Member>,
    /// `metadata.resourceVersion` of each namespace in force.
    pub namespaces: BTreeMap<String, String>,
    /// Policies that could not be read and therefore isolate their whole namespace, with the reason.
    pub unreadable: Vec<String>,
}

/// Rules of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The generation whose rules the node has.
    pub applied: u64,
    pub pods: usize,
    pub isolated_for_ingress: usize,
    pub isolated_for_egress: usize,
    pub chains: usize,
    /// Why the last attempt to apply rules failed.
    pub error: Option<String>,
}

/// A pod the rules know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub address: Ipv4Addr,
    /// `metadata.resourceVersion` whose labels were used.
    pub resource_version: String,
}

impl Status {
    /// Fails if there is no file yet.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}; is the enforcer running?", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("cannot parse enforcer status {}", path.display()))
    }

    /// Whether a policy is in force on every node, at this `metadata.generation` or a later one.
    pub fn enforces(&self, namespace: &str, name: &str, generation: i64) -> bool {
        self.policies.get(&format!("{namespace}/{name}")).is_some_and(|applied| *applied >= generation)
    }

    /// Whether a pod's address is known to the rules.
    pub fn covers(&self, namespace: &str, name: &str) -> bool {
        self.pods.contains_key(&format!("{namespace}/{name}"))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let draft = path.with_extension("json.new");
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        std::fs::write(&draft, text)
            .and_then(|()| std::fs::rename(&draft, path))
            .with_context(|| format!("cannot write enforcer status {}", path.display()))
    }
}

/// Waits until what is in force fulfils `condition`, and returns it.
pub async fn wait(kubeconfig: &Path, within: Duration, condition: impl Fn(&Status) -> bool) -> Result<Status> {
    let path = super::status_path(kubeconfig);
    let deadline = Instant::now() + within;
    loop {
        let seen = Status::read(&path);
        match &seen {
            Ok(status) if condition(status) => return seen,
            _ if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(status) => bail!(
                "the enforcer's rules are not as expected after {within:?}; in force: {}",
                serde_json::to_string(status)?
            ),
            Err(_) => return seen,
        }
    }
}
