//! Writes what kubelets and controllers would: statuses of workload, routes and quotas, and the end of foreground deletions.
//!
//! Each hospital's pods do well unless a test says otherwise.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::StreamExt;
use his_operator::{
    names,
    objects::{
        Kind,
        kind::{DEPLOYMENT, HTTP_ROUTE, JOB, RESOURCE_QUOTA, STATEFUL_SET},
    },
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

const KINDS: [Kind; 5] = [STATEFUL_SET, DEPLOYMENT, JOB, HTTP_ROUTE, RESOURCE_QUOTA];
/// When everything happened; a fixed time, so that the same state is the same status.
const THEN: &str = "2026-01-01T00:00:00Z";

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
            "Deployment" if fate.deployments => {
                let wanted = &object.data["spec"]["replicas"];
                Some(json!({
                    "observedGeneration": generation, "replicas": wanted, "readyReplicas": wanted,
                    "updatedReplicas": wanted, "availableReplicas": wanted,
                }))
            }
            "Job" => job(&object, fate.jobs),
            "HTTPRoute" if fate.routes => route(&object, generation),
            "ResourceQuota" => quota(&object),
            _ => None,
        };
        if status.is_some() && kind == JOB && fate.jobs == Jobs::Succeed {
            self.report(&object).await;
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

impl Actor {
    /// The pod of a network probe that found every policy enforced.
    async fn report(&self, job: &DynamicObject) {
        let (name, template) = (job.name_any(), &job.data["spec"]["template"]);
        if !name.starts_with("network-probe-") {
            return;
        }
        let owner =
            json!({ "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job.uid(), "controller": true });
        let mut pod = json!({ "metadata": template["metadata"], "spec": template["spec"] });
        pod["metadata"]["name"] = name.clone().into();
        pod["metadata"]["ownerReferences"] = json!([owner]);
        let pods = Api::<Pod>::namespaced(self.client.clone(), &job.namespace().unwrap());
        let pod: Pod = serde_json::from_value(pod).unwrap();
        // The quota must be known, and the identity made.
        for _ in 0..100 {
            match pods.create(&PostParams::default(), &pod).await {
                Err(kube::Error::Api(error)) if error.code == 403 => {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                _ => break,
            }
        }
        let report = json!({ "refused": 7, "opened": [], "unreached": [] }).to_string();
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let ended = json!({ "exitCode": 0, "message": report, "startedAt": now, "finishedAt": now });
        let container = json!({
            "name": "network-probe", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
            "state": { "terminated": ended },
        });
        let patch = json!({ "status": { "phase": "Succeeded", "containerStatuses": [container] } });
        let written = pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        if let Err(kube::Error::Api(error)) = written {
            eprintln!("actor: the report of {name}: {}", error.message);
        }
    }
}

fn condition(kind: &str, reason: &str) -> Value {
    json!({ "type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": THEN, "lastProbeTime": THEN })
}

fn job(object: &DynamicObject, fate: Jobs) -> Option<Value> {
    if object.data["status"]["conditions"].as_array().is_some_and(|conditions| !conditions.is_empty()) {
        return None;
    }
    let ended = json!({ "startTime": THEN, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {} });
    let more = match fate {
        Jobs::Run => json!({ "startTime": THEN, "active": 1, "ready": 1 }),
        Jobs::Succeed => json!({
            "completionTime": THEN, "succeeded": 1,
            "conditions": [condition("SuccessCriteriaMet", "CompletionsReached"), condition("Complete", "CompletionsReached")],
        }),
        Jobs::Fail => json!({
            "failed": 1,
            "conditions": [condition("FailureTarget", "BackoffLimitExceeded"), condition("Failed", "BackoffLimitExceeded")],
        }),
    };
    let mut status = if fate == Jobs::Run { json!({}) } else { ended };
    if fate != Jobs::Run {
        status["active"] = Value::from(0);
    }
    crate::support::merge(&mut status, more);
    Some(status)
}

fn route(object: &DynamicObject, generation: i64) -> Option<Value> {
    let parent = object.data["spec"]["parentRefs"].get(0)?;
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": generation, "lastTransitionTime": THEN });
    let parent = json!({
        "parentRef": parent,
        "controllerName": "example.org/gateway",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    });
    Some(json!({ "parents": [parent] }))
}

fn quota(object: &DynamicObject) -> Option<Value> {
    let hard = object.data["spec"]["hard"].as_object()?;
    if object.data["status"]["hard"].as_object() == Some(hard) {
        return None;
    }
    let used: BTreeMap<&String, &str> = hard.keys().map(|name| (name, "0")).collect();
    Some(json!({ "hard": hard, "used": used }))
}
