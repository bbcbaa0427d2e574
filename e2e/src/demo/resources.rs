//! Custom resources of the product as the harness sees them: dynamic objects, because this crate does not depend on the
//! product's.

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

/// Who applies resources, as a pipeline does.
pub const FIELD_MANAGER: &str = "gitops";

/// `HospitalPlatform`.
pub fn platforms(client: &Client) -> Api<DynamicObject> {
    all(client, "HospitalPlatform", "hospitalplatforms")
}

/// `HospitalApplication`.
pub fn applications(client: &Client) -> Api<DynamicObject> {
    all(client, "HospitalApplication", "hospitalapplications")
}

/// `HospitalTenant`.
pub fn tenants(client: &Client) -> Api<DynamicObject> {
    all(client, "HospitalTenant", "hospitaltenants")
}

fn all(client: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("his-operator.io", "v1alpha1", kind);
    Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, plural))
}

/// Server-side apply of a custom resource, as a GitOps pipeline does it.
pub async fn apply(api: &Api<DynamicObject>, object: &Value) -> Result<DynamicObject> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).context("object without metadata.name")?;
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(name, &parameters, &Patch::Apply(object)).await.with_context(|| format!("cannot apply {name}"))
}

/// Status of a condition, and its reason and message.
pub fn condition(object: &DynamicObject, kind: &str) -> Option<(String, String, String)> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|c| c.get("type").and_then(Value::as_str) == Some(kind))?;
    let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Whether a condition is True for the newest spec.
pub fn is_true(object: &DynamicObject, kind: &str) -> bool {
    let observed = object.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    observed == object.metadata.generation && condition(object, kind).is_some_and(|(status, ..)| status == "True")
}

/// Sets a field, and makes the objects on the way to it.
pub fn set(object: &mut Value, path: &[&str], value: Value) {
    let Some((field, below)) = path.split_first() else {
        *object = value;
        return;
    };
    if !object.is_object() {
        *object = Value::Object(serde_json::Map::new());
    }
    if let Some(fields) = object.as_object_mut() {
        set(fields.entry(*field).or_insert(Value::Null), below, value);
    }
}
