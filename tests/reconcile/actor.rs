//! Writes what kubelets and controllers would: statuses of workload, routes and quotas, and the end of foreground deletions.
//!
//! Each hospital's pods do well unless a test says otherwise.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use e2e::kubelets::{self, THEN};
use futures::StreamExt;
use his_operator::{
    names,
    objects::{
        Kind,
        kind::{DEPLOYMENT, HTTP_ROUTE, JOB, RESOURCE_QUOTA, STATEFUL_SET},
    },
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

const KINDS: [Kind; 5] = [STATEFUL_SET, DEPLOYMENT, JOB, HTTP_ROUTE, RESOURCE_QUOTA];

/// How a lifecycle job ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jobs {
    #[default]
    Succeed,
    Fail,
    Run,
}

/// How the workload of one hospital does.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    pub database: bool,
    pub jobs: Jobs,
    pub deployments: bool,
    pub routes: bool,
}

impl Default for Fate {
    fn default() -> Self {
        Self { database: true, jobs: Jobs::Succeed, deployments: true, routes: true }
    }
}

impl Fate {
    /// Nothing ever becomes ready.
    pub const NOTHING: Self = Self { database: false, jobs: Jobs::Run, deployments: false, routes: false };
}

/// See the module. Clones share the fates.
#[derive(Clone)]
pub struct Actor {
    client: Client,
    fates: Arc<Mutex<BTreeMap<String, Fate>>>,
}

impl Actor {
    /// Acts for as long as the runtime lives.
    pub fn start(client: Client) -> Self {
        let actor = Self { client, fates: Arc::default() };
        for kind in KINDS {
            tokio::spawn(actor.clone().follow(kind));
        }
        actor
    }

    /// Decides how a hospital's workload does from now on.
    pub async fn decide(&self, tenant: &str, fate: Fate) {
        self.fates.lock().unwrap().insert(tenant.to_owned(), fate);
        for kind in KINDS {
            let all = Api::<DynamicObject>::namespaced_with(
                self.client.clone(),
                &names::namespace(tenant),
                &kind.api_resource(),
            );
            let Ok(all) = all.list(&ListParams::default()).await else { continue };
            for object in all {
                self.act(kind, object).await;
            }
        }
    }

    async fn follow(self, kind: Kind) {
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &kind.api_resource());
        let config = watcher::Config::default().labels(names::TENANT);
        let mut events = std::pin::pin!(watcher(api, config).default_backoff().applied_objects());
        while let Some(event) = events.next().await {
            if let Ok(object) = event {
                let actor = self.clone();
                tokio::spawn(async move { actor.act(kind, object).await });
            }
        }
    }

    async fn act(&self, kind: Kind, object: DynamicObject) {
        let tenant = object.labels().get(names::TENANT).cloned().unwrap_or_default();
        let fate = self.fates.lock().unwrap().get(&tenant).copied().unwrap_or_default();
        let api = Api::<DynamicObject>::namespaced_with(
            self.client.clone(),
            &object.namespace().unwrap(),
            &kind.api_resource(),
        );
        if object.metadata.deletion_timestamp.is_some() {
            let rest: Vec<_> =
                object.finalizers().iter().filter(|finalizer| *finalizer != "foregroundDeletion").collect();
            let patch = json!({ "metadata": { "uid": object.uid(), "finalizers": rest } });
            // Gone already, or made anew: both are fine.
            let _gone = api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await;
            return;
        }
        let generation = object.metadata.generation.unwrap_or_default();
        let status = match kind.kind {
            "StatefulSet" if fate.database => Some(json!({
                "observedGeneration": generation, "replicas": 1, "readyReplicas": 1, "currentReplicas": 1, "updatedReplicas": 1,
                "currentRevision": format!("revision-{generation}"), "updateRevision": format!("revision-{generation}"),
            })),
            "Deployment" if fate.deployments => Some(kubelets::deployment(&object)),
            "Job" => job(&object, fate.jobs),
            "HTTPRoute" if fate.routes => kubelets::route(&object),
            "ResourceQuota" => kubelets::quota(&object),
            _ => None,
        };
        if status.is_some() && kind == JOB && fate.jobs == Jobs::Succeed {
            kubelets::report(&self.client, &object).await.unwrap();
        }
        if let Some(status) = status {
            let patch = json!({ "metadata": { "uid": object.uid() }, "status": status });
            let written = api.patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await;
            if let Err(kube::Error::Api(error)) = written
                && !matches!(error.code, 404 | 409)
            {
                eprintln!("actor: {} {}/{}: {}", kind.kind, tenant, object.name_any(), error.message);
            }
        }
    }
}

fn job(object: &DynamicObject, fate: Jobs) -> Option<Value> {
    let done = kubelets::succeeded(object)?;
    Some(match fate {
        Jobs::Succeed => done,
        Jobs::Run => json!({ "startTime": THEN, "active": 1, "ready": 1 }),
        Jobs::Fail => json!({
            "startTime": THEN, "active": 0, "ready": 0, "terminating": 0, "failed": 1, "uncountedTerminatedPods": {},
            "conditions": [
                kubelets::condition("FailureTarget", "BackoffLimitExceeded"),
                kubelets::condition("Failed", "BackoffLimitExceeded"),
            ],
        }),
    })
}
