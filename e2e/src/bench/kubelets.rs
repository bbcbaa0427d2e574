//! The part of controllers and kubelets: every Deployment has its pods at once, every route is accepted, every trial of the
//! network finds it closed.
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
use crate::kubelets;

const KINDS: [(&str, &str); 4] = [
    ("apps/v1", "Deployment"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("batch/v1", "Job"),
    ("v1", "ResourceQuota"),
];

/// Plays until it is dropped.
pub(super) fn play(client: &Client) -> Result<JoinSet<()>> {
    let mut parts = JoinSet::new();
    for (api_version, kind) in KINDS {
        parts.spawn(follow(client.clone(), resource(&json!({ "apiVersion": api_version, "kind": kind }))?));
    }
    Ok(parts)
}

async fn follow(client: Client, resource: ApiResource) {
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let events = watcher(all, watcher::Config::default()).default_backoff().applied_objects();
    // A watch that ended opens again by itself.
    let objects = events.filter_map(|event| async { event.ok() });
    objects.for_each_concurrent(16, |object| act(&client, &resource, object)).await;
}

async fn act(client: &Client, resource: &ApiResource, object: DynamicObject) {
    let status = match resource.kind.as_str() {
        "Job" => kubelets::succeeded(&object),
        "ResourceQuota" => kubelets::quota(&object),
        _ if told(&object) == object.metadata.generation => None,
        "Deployment" => Some(kubelets::deployment(&object)),
        _ => kubelets::route(&object),
    };
    let Some(status) = status else { return };
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, resource);
    // What is not reported stays unproved, and a contestant that waits for it does not arrive.
    let reported = if resource.kind == "Job" { kubelets::report(client, &object).await } else { Ok(()) };
    let patch = Patch::Merge(json!({ "status": status }));
    let written = api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await;
    if let Err(error) = reported.and(written) {
        tracing::debug!(%error, "an object that has gone needs no status");
    }
}

/// The generation that a status is about.
fn told(object: &DynamicObject) -> Option<i64> {
    let status = object.data.pointer("/status")?;
    let own = status.get("observedGeneration");
    own.or_else(|| status.pointer("/parents/0/conditions/0/observedGeneration")).and_then(Value::as_i64)
}
