//! Brings what is in the kernel in line with what is in the cluster.
//!
//! Guarantees that it is the only writer of the tables and of the status file. Must never forget a pod that still
//! exists: terminating pods stay covered until the API server has forgotten them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1 as core;
use tokio::time::Instant;

use super::announce::{Announced, Waiting};
use super::daemon::Cluster;
use super::model::World;
use super::ruleset::Ruleset;
use super::status::{Member, Node, Status};
use super::table::Table;
use super::{NodeNet, compile, read};

/// A table is worked on by a blocking thread, one at a time.
type Shared = Arc<Mutex<Table>>;

/// The single writer.
#[derive(Debug)]
pub(super) struct Enforcer {
    nodes: Vec<(NodeNet, Shared)>,
    path: PathBuf,
    announced: Announced,
    status: Status,
}

impl Enforcer {
    pub fn new(nodes: Vec<NodeNet>, path: PathBuf) -> Self {
        let status = Status { enforcer: std::process::id(), ..Status::default() };
        let table = |node: NodeNet| {
            let table = Table::new(node.netns.clone());
            (node, Arc::new(Mutex::new(table)))
        };
        let nodes = nodes.into_iter().map(table).collect();
        Self { nodes, path, announced: Announced::default(), status }
    }

    /// Applies what the cluster says now, and answers those whose rules are in force or who waited in vain.
    pub async fn apply(&mut self, cluster: &Cluster, waiting: &mut Vec<Waiting>) -> Result<()> {
        let pods = cluster.pods.state();
        let new = waiting.iter().map(|one| &one.announcement);
        self.announced.update(&pods, new);
        let (world, listed) = self.world(&pods, cluster);
        let outcome = self.install(&world).await;
        if outcome.is_ok() {
            self.status = Status {
                enforcer: self.status.enforcer,
                generation: self.status.generation,
                nodes: std::mem::take(&mut self.status.nodes),
                ..listed
            };
        }
        self.status.write(&self.path)?;
        self.answer(waiting, outcome.as_ref().err());
        outcome
    }

    /// Removes the tables and the status file.
    pub async fn remove(&self) -> Result<()> {
        for (node, table) in &self.nodes {
            work(table, Table::remove).await.with_context(|| format!("node {}: cannot remove rules", node.name))?;
        }
        std::fs::remove_file(&self.path)
            .or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
            .with_context(|| format!("cannot remove {}", self.path.display()))
    }

    /// The model, and what the status will list once it is in force.
    fn world(&self, pods: &[Arc<core::Pod>], cluster: &Cluster) -> (World, Status) {
        let mut listed = Status::default();
        let mut world = World::default();
        for pod in one_per_address(pods, &self.announced) {
            listed.pods.insert(
                format!("{}/{}", pod.model.namespace, pod.model.name),
                Member { address: pod.model.address, resource_version: pod.resource_version },
            );
            world.pods.push(pod.model);
        }
        let mut unenforced = BTreeSet::new();
        for namespace in cluster.namespaces.state() {
            if namespace.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(super::UNENFORCED)) {
                unenforced.extend(namespace.metadata.name.clone());
            }
            let (name, labels) = read::namespace(&namespace);
            let version = namespace.metadata.resource_version.clone();
            listed.namespaces.insert(name.clone(), version.unwrap_or_default());
            world.namespaces.insert(name, labels);
        }
        for object in cluster.policies.state() {
            let (policy, problem) = read::policy(&object);
            let key = format!("{}/{}", policy.namespace, policy.name);
            listed.policies.insert(key, object.metadata.generation.unwrap_or_default());
            listed.unreadable.extend(problem);
            if !unenforced.contains(&policy.namespace) {
                world.policies.push(policy);
            }
        }
        // Stores have no order; a stable one keeps an unchanged table the same text.
        world.pods.sort_by_key(|pod| pod.address);
        let key = |policy: &super::model::Policy| (policy.namespace.clone(), policy.name.clone());
        world.policies.sort_by_key(key);
        listed.unreadable.sort();
        (world, listed)
    }

    async fn install(&mut self, world: &World) -> Result<()> {
        let mut changes = Vec::new();
        for (node, table) in &self.nodes {
            let ruleset = compile::compile(world, &node.name, node.announced);
            if !locked(table).has(&ruleset) {
                changes.push((node.name.clone(), Arc::clone(table), ruleset));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.status.generation += 1;
        let mut problems = Vec::new();
        for (node, table, ruleset) in changes {
            let success = summary(&ruleset, self.status.generation);
            let outcome = work(&table, |table| table.enforce(ruleset))
                .await
                .with_context(|| format!("node {node}: cannot apply rules"));
            let entry = self.status.nodes.entry(node).or_default();
            match outcome {
                Ok(()) => *entry = success,
                Err(error) => {
                    entry.error = Some(format!("{error:#}"));
                    problems.push(format!("{error:#}"));
                }
            }
        }
        if !problems.is_empty() {
            bail!(problems.join("; "));
        }
        tracing::info!(
            generation = self.status.generation,
            pods = world.pods.len(),
            policies = world.policies.len(),
            "rules applied"
        );
        Ok(())
    }

    fn answer(&self, waiting: &mut Vec<Waiting>, failure: Option<&anyhow::Error>) {
        let now = Instant::now();
        for one in std::mem::take(waiting) {
            let believed = self.announced.believes(&one.announcement);
            match failure {
                None if believed => one.answer(None),
                Some(error) if one.until <= now => one.answer(Some(format!("{error:#}"))),
                None if one.until <= now => {
                    let pod = format!("{}/{}", one.announcement.namespace, one.announcement.name);
                    one.answer(Some(format!("pod {pod} is not in the API server")));
                }
                _ => waiting.push(one),
            }
        }
    }
}

struct Seen {
    model: super::model::Pod,
    resource_version: String,
}

/// An address belongs to the pod that announced it; else to one that is not being deleted; else to the newest.
fn one_per_address(pods: &[Arc<core::Pod>], announced: &Announced) -> Vec<Seen> {
    let mut best = BTreeMap::<Ipv4Addr, _>::new();
    for pod in pods {
        let told = announced.address(pod);
        let Some(model) = read::pod(pod, told) else {
            continue;
        };
        let metadata = &pod.metadata;
        let created = metadata.creation_timestamp.clone();
        let claim = (told.is_some(), metadata.deletion_timestamp.is_none(), created, Reverse(metadata.uid.clone()));
        let seen = Seen { resource_version: metadata.resource_version.clone().unwrap_or_default(), model };
        let address = seen.model.address;
        if best.get(&address).is_none_or(|(other, _)| *other < claim) {
            best.insert(address, (claim, seen));
        }
    }
    best.into_values().map(|(_, seen)| seen).collect()
}

fn summary(ruleset: &Ruleset, generation: u64) -> Node {
    Node {
        applied: generation,
        pods: ruleset.pods.len(),
        isolated_for_ingress: ruleset.ingress.len(),
        isolated_for_egress: ruleset.egress.len(),
        chains: ruleset.chains.len(),
        error: None,
    }
}

async fn work(table: &Shared, task: impl FnOnce(&mut Table) -> Result<()> + Send + 'static) -> Result<()> {
    let table = Arc::clone(table);
    tokio::task::spawn_blocking(move || task(&mut locked(&table))).await?
}

fn locked(table: &Shared) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netpol::announce::Announcement;

    const SHARED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    fn pod(name: &str, address: Option<Ipv4Addr>) -> core::Pod {
        let mut pod = core::Pod::default();
        pod.metadata.namespace = Some("a".to_owned());
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.uid = Some(format!("uid-of-{name}"));
        pod.spec = Some(core::PodSpec { node_name: Some("node1".to_owned()), ..core::PodSpec::default() });
        pod.status =
            Some(core::PodStatus { pod_ip: address.map(|address| address.to_string()), ..core::PodStatus::default() });
        pod
    }

    fn announcement(name: &str, uid: &str) -> Announcement {
        Announcement { namespace: "a".to_owned(), name: name.to_owned(), uid: uid.to_owned(), address: SHARED }
    }

    fn names(pods: &[Arc<core::Pod>], announced: &Announced) -> Vec<String> {
        one_per_address(pods, announced).into_iter().map(|seen| seen.model.name).collect()
    }

    #[test]
    fn an_announced_pod_is_known_before_its_status_and_takes_the_address_from_one_that_had_it() {
        let pods = [Arc::new(pod("old", Some(SHARED))), Arc::new(pod("new", None))];
        let mut announced = Announced::default();
        assert_eq!(names(&pods, &announced), ["old"]);
        announced.update(&pods, [announcement("new", "uid-of-new")].iter());
        assert_eq!(names(&pods, &announced), ["new"]);
    }

    #[test]
    fn an_announcement_of_an_unknown_or_replaced_pod_is_not_believed() {
        let pods = [Arc::new(pod("new", None))];
        let mut announced = Announced::default();
        let lies = [announcement("ghost", "uid-of-ghost"), announcement("new", "uid-of-its-predecessor")];
        announced.update(&pods, lies.iter());
        assert!(lies.iter().all(|lie| !announced.believes(lie)));
        assert_eq!(names(&pods, &announced), Vec::<String>::new());
    }

    #[test]
    fn an_address_outlives_deletion_until_the_pod_is_gone_or_another_has_it() {
        let mut leaving = pod("leaving", Some(SHARED));
        leaving.metadata.deletion_timestamp = serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap();
        let leaving = Arc::new(leaving);
        let announced = Announced::default();
        assert_eq!(names(&[Arc::clone(&leaving)], &announced), ["leaving"]);
        assert_eq!(names(&[leaving, Arc::new(pod("next", Some(SHARED)))], &announced), ["next"]);
    }

    #[test]
    fn an_announcement_is_forgotten_with_its_pod() {
        let pods = [Arc::new(pod("new", None))];
        let mut announced = Announced::default();
        let told = announcement("new", "uid-of-new");
        announced.update(&pods, [told.clone()].iter());
        assert!(announced.believes(&told));
        announced.update(&[], std::iter::empty());
        assert!(!announced.believes(&told));
    }
}
