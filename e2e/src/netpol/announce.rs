//! What the CNI plugin tells the enforcer: a pod is about to get a network, and has this address.
//!
//! Guarantees that the plugin hears "in force" only after the node's rules cover the address. The kubelet tells the API
//! server a pod's address about a second after the pod's programs start; without an announcement that second is open.
//! Must never be believed about an address of a pod that the API server does not know.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How long a pod may take to appear in the watch, and its rules in the kernel.
pub const PATIENCE: Duration = Duration::from_secs(10);

const MIRROR: &str = "kubernetes.io/config.mirror";

/// One line of JSON from the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub address: Ipv4Addr,
}

/// One line of JSON to the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Why the rules are not in force; absent if they are.
    pub error: Option<String>,
}

/// An announcement that waits for its rules.
#[derive(Debug)]
pub(super) struct Waiting {
    pub announcement: Announcement,
    pub until: Instant,
    reply: oneshot::Sender<Answer>,
}

impl Waiting {
    pub fn answer(self, error: Option<String>) {
        // A plugin that has given up by now repeats its whole ADD.
        let _ = self.reply.send(Answer { error });
    }
}

impl Announcement {
    fn is(&self, pod: &Pod) -> bool {
        let metadata = &pod.metadata;
        let mirrored = metadata.annotations.as_ref().and_then(|all| all.get(MIRROR));
        metadata.namespace.as_deref() == Some(&self.namespace)
            && metadata.name.as_deref() == Some(&self.name)
            && (metadata.uid.as_deref() == Some(&self.uid) || mirrored == Some(&self.uid))
    }
}

/// Addresses told by the plugin, for as long as their pods exist.
#[derive(Debug, Default)]
pub(super) struct Announced(BTreeMap<Ipv4Addr, Announcement>);

impl Announced {
    /// Believes those announcements whose pod is known, and forgets those whose pod is gone.
    pub fn update<'a>(&mut self, pods: &[Arc<Pod>], new: impl Iterator<Item = &'a Announcement>) {
        let known = |one: &Announcement| pods.iter().any(|pod| one.is(pod));
        self.0.retain(|_, one| known(one));
        for announcement in new.filter(|one| known(one)) {
            self.0.retain(|_, one| (&one.namespace, &one.name) != (&announcement.namespace, &announcement.name));
            self.0.insert(announcement.address, announcement.clone());
        }
    }

    pub fn address(&self, pod: &Pod) -> Option<Ipv4Addr> {
        let mut all = self.0.iter();
        all.find_map(|(address, one)| one.is(pod).then_some(*address))
    }

    pub fn believes(&self, announcement: &Announcement) -> bool {
        self.0.get(&announcement.address) == Some(announcement)
    }
}

/// Takes announcements until dropped, and hands them to the enforcer.
pub(super) async fn listen(socket: &Path, enforcer: mpsc::Sender<Waiting>) -> Result<()> {
    if socket.exists() {
        std::fs::remove_file(socket).with_context(|| format!("cannot remove old socket {}", socket.display()))?;
    }
    let listener = UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    loop {
        let (stream, _) = listener.accept().await?;
        let enforcer = enforcer.clone();
        tokio::spawn(async move {
            if let Err(error) = tokio::time::timeout(PATIENCE * 2, converse(stream, enforcer))
                .await
                .unwrap_or_else(|late| Err(late.into()))
            {
                tracing::warn!("announcement: {error:#}");
            }
        });
    }
}

async fn converse(stream: UnixStream, enforcer: mpsc::Sender<Waiting>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let announcement = serde_json::from_str(&line).context("cannot parse the announcement")?;
    let (reply, answer) = oneshot::channel();
    enforcer
        .send(Waiting { announcement, until: Instant::now() + PATIENCE, reply })
        .await
        .context("the enforcer is stopping")?;
    let mut text = serde_json::to_vec(&answer.await.context("the enforcer is stopping")?)?;
    text.push(b'\n');
    stream.get_mut().write_all(&text).await?;
    Ok(())
}
