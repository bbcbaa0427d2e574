//! The part of controllers and kubelets: every Deployment has its pods at once, every route is accepted.
//!
//! It plays for every contestant, with an identity of its own, so that its requests are nobody's.

#![allow(clippy::disallowed_macros, reason = "writes what other controllers would")]

use futures::StreamExt;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use anyhow::Result;

use super::children::resource;

/// Plays until it is dropped.
pub(super) fn play(client: &Client) -> Result<JoinSet<()>> {
    let mut parts = JoinSet::new();
    for (api_version, kind) in [("apps/v1", "Deployment"), ("gateway.networking.k8s.io/v1", "HTTPRoute")] {
        parts.spawn(follow(client.clone(), resource(&json!({ "apiVersion": api_version, "kind": kind }))?));
    }
    Ok(parts)
}

async fn follow(client: Client, resource: ApiResource) {
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let events = watcher(all, watcher::Config::default()).default_backoff().applied_objects();
    events
        .for_each_concurrent(16, |event| async {
            // A watch that ended opens again by itself.
            let Ok(object) = event else { return };
            let generation = object.metadata.generation.unwrap_or_default();
            let status = if resource.kind == "Deployment" { pods(&object) } else { accepted(&object) };
            let told = object.data.pointer("/status").and_then(generation_of);
            if told == Some(generation) {
                return;
            }
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), &object.namespace().unwrap_or_default(), &resource);
            let patch = Patch::Merge(json!({ "status": status }));
            // An object that has gone needs none.
            let _gone = api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await;
        })
        .await;
}

/// The generation that a status is about.
fn generation_of(status: &Value) -> Option<i64> {
    let own = status.get("observedGeneration");
    own.or_else(|| status.pointer("/parents/0/conditions/0/observedGeneration")).and_then(Value::as_i64)
}

fn pods(object: &DynamicObject) -> Value {
    let wanted = object.data.pointer("/spec/replicas").cloned().unwrap_or_else(|| 1.into());
    json!({
        "observedGeneration": object.metadata.generation, "replicas": wanted, "updatedReplicas": wanted,
        "readyReplicas": wanted, "availableReplicas": wanted,
    })
}

fn accepted(object: &DynamicObject) -> Value {
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": kind, "message": "",
            "observedGeneration": object.metadata.generation, "lastTransitionTime": "2030-01-01T00:00:00Z",
        })
    };
    json!({ "parents": [{
        "parentRef": object.data.pointer("/spec/parentRefs/0"), "controllerName": "example.org/gateway",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    }] })
}
