//! Watches Pods, Namespaces and `NetworkPolicies`, and keeps every node's table as they say.
//!
//! Guarantees that nothing is applied before all three kinds have been listed, that a node's table changes in one
//! transaction, and that the status file lists only what is in force everywhere. After a crash the last rules stay; a
//! clean end (SIGTERM, SIGINT) removes them. Must never touch another table.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::NodeNet;
use super::announce::{self, Waiting};
use super::enforcer::Enforcer;

/// Changes that come closer together than this are applied together.
const QUIET: Duration = Duration::from_millis(50);

/// No change waits longer than this for quiet.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// How soon rules that could not be applied are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Enforces policies on `nodes` until told to stop; fails if the API server or the socket cannot be used at all.
pub async fn run(kubeconfig: &Path, nodes: Vec<NodeNet>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut background = JoinSet::new();
    let cluster = Cluster::watch(client(kubeconfig).await?, &mut background);
    let (sender, mut announcements) = mpsc::channel(64);
    let socket = super::socket_path(kubeconfig);
    let listening = socket.clone();
    background.spawn(async move { announce::listen(&listening, sender).await });
    let mut enforcer = Enforcer::new(nodes, super::status_path(kubeconfig));
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = enforce(&mut enforcer, &cluster, &mut announcements) => ended,
        Some(ended) = background.join_next() => ended
            .map_err(anyhow::Error::from)
            .flatten()
            .context("a part of the enforcer ended"),
    };
    background.shutdown().await;
    let _ = std::fs::remove_file(socket);
    match ended {
        Ok(()) => enforcer.remove().await,
        // Rules stay in force when the enforcer fails: an open cluster would be the worse surprise.
        Err(error) => Err(error),
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let explain = || format!("cannot use kubeconfig {}", kubeconfig.display());
    let file = Kubeconfig::read_from(kubeconfig).with_context(explain)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).await.with_context(explain)?;
    Client::try_from(config).with_context(explain)
}

/// The objects that decide, as last seen.
#[derive(Debug)]
pub(super) struct Cluster {
    pub pods: Store<Pod>,
    pub namespaces: Store<Namespace>,
    pub policies: Store<NetworkPolicy>,
    changed: Arc<Notify>,
}

impl Cluster {
    fn watch(client: Client, background: &mut JoinSet<Result<()>>) -> Self {
        let changed = Arc::new(Notify::new());
        Self {
            pods: keep(Api::all(client.clone()), &changed, background),
            namespaces: keep(Api::all(client.clone()), &changed, background),
            policies: keep(Api::all(client), &changed, background),
            changed,
        }
    }

    async fn listed(&self) -> Result<()> {
        self.pods.wait_until_ready().await?;
        self.namespaces.wait_until_ready().await?;
        self.policies.wait_until_ready().await?;
        Ok(())
    }
}

/// Reflects one kind, with a back-off after errors, and tells of every change.
fn keep<K>(api: Api<K>, changed: &Arc<Notify>, background: &mut JoinSet<Result<()>>) -> Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    K: serde::de::DeserializeOwned,
{
    let (store, writer) = reflector::store();
    let changed = Arc::clone(changed);
    background.spawn(async move {
        let events = watcher(api, watcher::Config::default()).default_backoff().reflect(writer);
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => changed.notify_one(),
                Err(error) => tracing::warn!("watching {}: {error}", K::kind(&())),
            }
        }
        Ok(())
    });
    store
}

async fn enforce(
    enforcer: &mut Enforcer,
    cluster: &Cluster,
    announcements: &mut mpsc::Receiver<Waiting>,
) -> Result<()> {
    cluster.listed().await?;
    let mut waiting = Vec::new();
    loop {
        let outcome = enforcer.apply(cluster, &mut waiting).await;
        if let Err(error) = &outcome {
            tracing::warn!("{error:#}");
        }
        let pause = match (&outcome, waiting.iter().map(|one| one.until).min()) {
            (Err(_), _) => Some(Instant::now() + RETRY),
            (Ok(()), until) => until,
        };
        tokio::select! {
            () = cluster.changed.notified() => {
                // A pod that is held back must not wait for quiet.
                if waiting.is_empty() {
                    settle(cluster, announcements, &mut waiting).await;
                }
            }
            Some(one) = announcements.recv() => waiting.push(one),
            () = sleep_until(pause) => {}
        }
    }
}

/// Waits for quiet, but not if a pod announces itself.
async fn settle(cluster: &Cluster, announcements: &mut mpsc::Receiver<Waiting>, waiting: &mut Vec<Waiting>) {
    let latest = Instant::now() + LONGEST_WAIT;
    loop {
        tokio::select! {
            Some(one) = announcements.recv() => return waiting.push(one),
            () = tokio::time::sleep_until(latest) => return,
            () = tokio::time::sleep(QUIET) => return,
            () = cluster.changed.notified() => {}
        }
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
