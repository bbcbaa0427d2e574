//! What two hospitals have in common that are made alike.

use std::collections::BTreeMap;

use his_operator::{names, objects::Ref};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::hospital::{DEADLINE, Hospital, eventually};

/// Waits until a hospital has this shape: nothing is missing, nothing is too much, nothing is different.
pub async fn is_like(hospital: &Hospital, expected: &BTreeMap<String, Value>) {
    let name = &hospital.name;
    eventually(&format!("{name} is as it must be"), DEADLINE, async || {
        let now = shape(hospital).await;
        let missing: Vec<_> = expected.keys().filter(|at| !now.contains_key(*at)).collect();
        let orphans: Vec<_> = now.keys().filter(|at| !expected.contains_key(*at)).collect();
        let different = expected.iter().find(|(at, value)| now.get(*at).is_some_and(|now| now != *value));
        if missing.is_empty() && orphans.is_empty() && different.is_none() {
            return Ok(());
        }
        let different = different.map(|(at, value)| format!("{value}\n{}", now[at]));
        Err(format!("missing {missing:?}, orphans {orphans:?}, different {different:?}"))
    })
    .await;
}

/// Everything of a hospital but what is its own or the API server's: UIDs, times, addresses, values of Secrets.
pub async fn shape(hospital: &Hospital) -> BTreeMap<String, Value> {
    let objects = hospital.objects().await;
    let shape = |(at, live): (&Ref, &DynamicObject)| {
        let own = [(hospital.name.as_str(), "NAME"), (live.metadata.uid.as_deref().unwrap(), "UID")];
        let mut value = json!({ "metadata": {
            "labels": live.metadata.labels, "annotations": live.metadata.annotations, "finalizers": live.metadata.finalizers,
        } });
        for key in [names::DESIRED, names::TENANT_UID] {
            value["metadata"]["annotations"].as_object_mut().map(|annotations| annotations.remove(key));
        }
        let mut data = live.data.clone();
        data.as_object_mut().unwrap().remove("status");
        if at.kind.kind == "Secret" {
            let keys: Vec<_> = data["data"].as_object().unwrap().keys().cloned().collect();
            data["data"] = json!(keys);
        }
        if let Some(spec) = data.get_mut("spec").and_then(Value::as_object_mut) {
            spec.retain(|key, _| !["clusterIP", "clusterIPs"].contains(&key.as_str()));
        }
        value["data"] = data;
        (anonymous(&at.to_string(), &own), anonymous_value(value, &own))
    };
    objects.iter().map(shape).collect()
}

fn anonymous_value(value: Value, own: &[(&str, &str)]) -> Value {
    match value {
        Value::String(text) => Value::String(anonymous(&text, own)),
        Value::Array(list) => list.into_iter().map(|value| anonymous_value(value, own)).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (anonymous(&key, own), anonymous_value(value, own))).collect()
        }
        other => other,
    }
}

/// A name that follows from content follows from the hospital's name too.
fn anonymous(text: &str, own: &[(&str, &str)]) -> String {
    let text = own.iter().fold(text.to_owned(), |text, (own, word)| text.replace(own, word));
    match text.split_once("-files-") {
        Some((before, digest)) if digest.len() == 16 => format!("{before}-files-DIGEST"),
        _ => text,
    }
}
