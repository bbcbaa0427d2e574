//! Fields that the operator has set before and no longer wants: server-side apply removes them.
//!
//! Guarantees: pure; looks only at what `metadata.managedFields` says is the operator's
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>).

use kube::core::DynamicObject;
use serde_json::{Map, Value};

use super::Field;
use crate::names;

/// What would go.
pub(super) fn no_longer_wanted(live: &DynamicObject, want: &Value) -> Vec<Field> {
    let mut body = live.data.clone();
    if let Some(body) = body.as_object_mut() {
        body.insert("metadata".to_owned(), serde_json::to_value(&live.metadata).unwrap_or_default());
    }
    let mut found = Vec::new();
    let entries = live.metadata.managed_fields.iter().flatten();
    let ours = entries.filter(|entry| {
        entry.manager.as_deref() == Some(names::FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    });
    for entry in ours {
        if let Some(fields) = entry.fields_v1.as_ref().and_then(|fields| fields.0.as_object()) {
            walk(fields, &body, Some(want), "", &mut found);
        }
    }
    found
}

fn walk(owned: &Map<String, Value>, live: &Value, want: Option<&Value>, path: &str, found: &mut Vec<Field>) {
    for (key, below) in owned {
        let (place, live, want) = if let Some(name) = key.strip_prefix("f:") {
            let place =
                if name.contains(['.', '/']) { format!("{path}[\"{name}\"]") } else { format!("{path}.{name}") };
            (place, live.get(name), want.and_then(|want| want.get(name)))
        } else if let Some(keys) = key.strip_prefix("k:").and_then(|keys| serde_json::from_str(keys).ok()) {
            let keys: Map<String, Value> = keys;
            let names = keys.iter().map(|(key, value)| format!("{key}={}", bare(value))).collect::<Vec<_>>().join(",");
            (format!("{path}[{names}]"), element(live, &keys), want.and_then(|want| element(want, &keys)))
        } else if let Some(item) = key.strip_prefix("v:").and_then(|item| serde_json::from_str::<Value>(item).ok()) {
            let member = |list: &Value| list.as_array().is_some_and(|list| list.contains(&item));
            if member(live) && !want.is_some_and(member) {
                found.push(Field { path: path.to_owned(), live: Some(item), want: None });
            }
            continue;
        } else {
            // "." is the element itself, and atomic lists are compared as a whole.
            continue;
        };
        let Some(live) = live.filter(|live| !live.is_null()) else { continue };
        let below = below.as_object().filter(|below| !below.is_empty());
        match (want.filter(|want| !want.is_null()), below) {
            // Wanted, and compared where wanted things are.
            (Some(_), None) => {}
            (want @ Some(_), Some(below)) => walk(below, live, want, &place, found),
            (None, Some(below)) if !below.contains_key(".") => walk(below, live, None, &place, found),
            (None, _) => found.push(Field { path: place, live: Some(live.clone()), want: None }),
        }
    }
}

fn element<'a>(list: &'a Value, keys: &Map<String, Value>) -> Option<&'a Value> {
    // The API server fills in the protocol of ports.
    let has = |item: &Value, key: &str, value: &Value| match item.get(key) {
        Some(found) => found == value,
        None => key == "protocol" && value == "TCP",
    };
    list.as_array()?.iter().find(|item| keys.iter().all(|(key, value)| has(item, key, value)))
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(want: &Value) -> Vec<String> {
        let live: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"a": "b", "mesh": "in"}, "managedFields": [
                {"manager": "his-operator", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:a": {}}},
                    "f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"web\"}": {
                        ".": {}, "f:name": {}, "f:image": {}, "f:env": {"k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}}}}},
                }},
                {"manager": "mesh", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:mesh": {}}}}},
            ]},
            "spec": {"replicas": 2, "containers": [{"name": "web", "image": "x", "env": [{"name": "A", "value": "1"}]}]},
        }))
        .unwrap();
        no_longer_wanted(&live, want).into_iter().map(|field| field.path).collect()
    }

    #[test]
    fn what_was_set_and_is_not_wanted_any_more_is_found() {
        let want = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "y"}]}});
        assert_eq!(found(&want), [".metadata.labels.a", ".spec.containers[name=web].env[name=A]", ".spec.replicas"]);
    }

    #[test]
    fn what_is_wanted_or_somebody_elses_is_not() {
        let container = json!({"name": "web", "image": "y", "env": [{"name": "A", "value": "2"}]});
        let want = json!({"metadata": {"labels": {"a": "c"}}, "spec": {"replicas": 3, "containers": [container]}});
        assert_eq!(found(&want), Vec::<String>::new());
    }
}
