//! What controllers and kubelets write of pods that do well, for a control plane that has no nodes.
//!
//! Guarantees that the same object gets the same status, whoever plays and whenever. Must never be asked about a cluster
//! with nodes of its own.

#![allow(clippy::disallowed_macros, reason = "writes what other controllers would")]
#![allow(clippy::disallowed_methods, reason = "a report ends when it is made")]

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client, Error, ResourceExt};
use serde_json::{Value, json};

/// When everything happened; a fixed time, so that the same state is the same status.
pub const THEN: &str = "2026-01-01T00:00:00Z";
/// A namespace's quota must be known and the pod's identity made before a pod is let in.
const ATTEMPTS: usize = 100;
const BETWEEN: Duration = Duration::from_millis(100);

/// A Deployment with all its pods.
pub fn deployment(object: &DynamicObject) -> Value {
    let wanted = object.data.pointer("/spec/replicas").cloned().unwrap_or_else(|| 1.into());
    json!({
        "observedGeneration": object.metadata.generation, "replicas": wanted, "updatedReplicas": wanted,
        "readyReplicas": wanted, "availableReplicas": wanted,
    })
}

/// An `HTTPRoute` that its first Gateway took; nothing for one that names none.
pub fn route(object: &DynamicObject) -> Option<Value> {
    let parent = object.data.pointer("/spec/parentRefs/0")?;
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": kind, "message": "",
            "observedGeneration": object.metadata.generation, "lastTransitionTime": THEN,
        })
    };
    Some(json!({ "parents": [{
        "parentRef": parent, "controllerName": "example.org/gateway",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    }] }))
}

/// A Job that has done its work; nothing for one that has ended.
pub fn succeeded(job: &DynamicObject) -> Option<Value> {
    let conditions = job.data.pointer("/status/conditions").and_then(Value::as_array);
    let running = conditions.is_none_or(Vec::is_empty);
    running.then(|| {
        json!({
            "startTime": THEN, "completionTime": THEN, "active": 0, "ready": 0, "terminating": 0, "succeeded": 1,
            "uncountedTerminatedPods": {},
            "conditions": [condition("SuccessCriteriaMet", "CompletionsReached"), condition("Complete", "CompletionsReached")],
        })
    })
}

/// A quota of which nothing is used; nothing for one that is known already.
pub fn quota(object: &DynamicObject) -> Option<Value> {
    let hard = object.data.pointer("/spec/hard")?.as_object()?;
    if object.data.pointer("/status/hard").and_then(Value::as_object) == Some(hard) {
        return None;
    }
    let used: BTreeMap<&String, &str> = hard.keys().map(|name| (name, "0")).collect();
    Some(json!({ "hard": hard, "used": used }))
}

/// A condition of a Job.
pub fn condition(kind: &str, reason: &str) -> Value {
    json!({
        "type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": THEN, "lastProbeTime": THEN,
    })
}

/// The pod of a Job that tries the network, with the report that every policy is enforced. Other Jobs get no pod.
///
/// # Errors
/// A pod that the API server does not take, unless it has gone or is there already.
pub async fn report(client: &Client, job: &DynamicObject) -> kube::Result<()> {
    let name = job.name_any();
    if !name.starts_with("network-probe-") {
        return Ok(());
    }
    let pods = Api::<Pod>::namespaced(client.clone(), &job.namespace().unwrap_or_default());
    create(&pods, &pod(job).map_err(Error::SerdeError)?).await?;
    let report = json!({ "refused": 7, "opened": [], "unreached": [] }).to_string();
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let ended = json!({ "exitCode": 0, "message": report, "startedAt": now, "finishedAt": now });
    let container = json!({
        "name": "network-probe", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
        "state": { "terminated": ended },
    });
    let status = json!({ "status": { "phase": "Succeeded", "containerStatuses": [container] } });
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await.map(drop).or_else(gone)
}

fn pod(job: &DynamicObject) -> serde_json::Result<Pod> {
    let of = |pointer: &str| job.data.pointer(pointer).cloned().unwrap_or_default();
    let owner = json!({
        "apiVersion": "batch/v1", "kind": "Job", "name": job.name_any(), "uid": job.uid(), "controller": true,
    });
    let mut metadata = of("/spec/template/metadata");
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("name".to_owned(), job.name_any().into());
        metadata.insert("ownerReferences".to_owned(), json!([owner]));
    }
    serde_json::from_value(json!({ "metadata": metadata, "spec": of("/spec/template/spec") }))
}

async fn create(pods: &Api<Pod>, pod: &Pod) -> kube::Result<()> {
    let mut answer = Ok(());
    for _ in 0..ATTEMPTS {
        answer = pods.create(&PostParams::default(), pod).await.map(drop);
        match &answer {
            Err(Error::Api(error)) if error.code == 403 => tokio::time::sleep(BETWEEN).await,
            _ => break,
        }
    }
    answer.or_else(gone)
}

/// Gone already, or made before: both are fine.
fn gone(error: Error) -> kube::Result<()> {
    match error {
        Error::Api(answer) if matches!(answer.code, 404 | 409) => Ok(()),
        error => Err(error),
    }
}
