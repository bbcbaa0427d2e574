//! What two hospitals have in common that are made alike.

use std::collections::{BTreeMap, BTreeSet};

use his_operator::{names, objects::Ref};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::hospital::{DEADLINE, Hospital, eventually};

/// An object with its address, without what is the hospital's own.
pub type Shape = BTreeMap<String, Value>;

/// Waits until a hospital has this shape.
pub async fn is_like(hospital: &Hospital, expected: &Shape) {
    let what = format!("{} is as it must be", hospital.name);
    eventually(&what, DEADLINE, async || compare(&shape(hospital).await, expected)).await;
}

/// Nothing is missing, nothing is too much, nothing is different.
pub fn compare(now: &Shape, expected: &Shape) -> Result<(), String> {
    let missing: Vec<_> = expected.keys().filter(|at| !now.contains_key(*at)).collect();
    let orphans: Vec<_> = now.keys().filter(|at| !expected.contains_key(*at)).collect();
    let different = expected.iter().find_map(|(at, value)| difference(at.clone(), now.get(at)?, value));
    if missing.is_empty() && orphans.is_empty() && different.is_none() {
        return Ok(());
    }
    Err(format!("missing {missing:?}, orphans {orphans:?}, different {different:?}"))
}

/// The first field that differs.
fn difference(path: String, now: &Value, expected: &Value) -> Option<String> {
    let below = |key: &str| format!("{path}.{key}");
    match (now, expected) {
        (Value::Object(now), Value::Object(expected)) => {
            let keys: BTreeSet<&String> = now.keys().chain(expected.keys()).collect();
            keys.into_iter().find_map(|key| {
                difference(below(key), now.get(key).unwrap_or(&Value::Null), expected.get(key).unwrap_or(&Value::Null))
            })
        }
        (Value::Array(now), Value::Array(expected)) if now.len() == expected.len() => {
            let both = now.iter().zip(expected).enumerate();
            both.into_iter().find_map(|(at, (now, expected))| difference(below(&at.to_string()), now, expected))
        }
        _ => (now != expected).then(|| format!("{path} is {now}, not {expected}")),
    }
}

/// Everything of a hospital but what is its own or the API server's: UIDs, times, addresses, values of Secrets.
pub async fn shape(hospital: &Hospital) -> Shape {
    shape_of(&hospital.name, &hospital.objects().await)
}

/// [`shape`] of objects that were read before.
pub fn shape_of(name: &str, objects: &BTreeMap<Ref, DynamicObject>) -> Shape {
    let one_colour = one_colour(objects);
    let shape = |(at, live): (&Ref, &DynamicObject)| {
        let mut own = vec![(name, "NAME"), (live.metadata.uid.as_deref().unwrap(), "UID")];
        own.extend(one_colour.then_some([("blue", "COLOUR"), ("green", "COLOUR")]).into_iter().flatten());
        let mut value = json!({ "metadata": {
            "labels": live.metadata.labels, "annotations": live.metadata.annotations, "finalizers": live.metadata.finalizers,
        } });
        for key in [names::DESIRED, names::TENANT_UID] {
            value["metadata"]["annotations"].as_object_mut().map(|annotations| annotations.remove(key));
        }
        // A digest of texts with the hospital's name in them.
        if let Some(release) = value["metadata"]["labels"].get_mut(names::RELEASE) {
            *release = json!("DIGEST");
        }
        let mut data = live.data.clone();
        data.as_object_mut().unwrap().remove("status");
        // Values of Secrets, and when and from whom something was kept.
        if at.kind.kind == "Secret" || at.name == "retained-data" {
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

/// Which of the two colours serves depends on how many releases there were.
fn one_colour(objects: &BTreeMap<Ref, DynamicObject>) -> bool {
    let labels = objects.values().filter_map(|live| live.metadata.labels.as_ref()?.get(names::COLOUR));
    labels.collect::<BTreeSet<_>>().len() == 1
}

/// A value without what is the hospital's own.
pub fn anonymous_value(value: Value, own: &[(&str, &str)]) -> Value {
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
pub fn anonymous(text: &str, own: &[(&str, &str)]) -> String {
    let text = own.iter().fold(text.to_owned(), |text, (own, word)| text.replace(own, word));
    for mark in ["-files-", "gate-", "network-probe-"] {
        if let Some((before, digest)) = text.split_once(mark)
            && digest.len() == 16
        {
            return format!("{before}{mark}DIGEST");
        }
    }
    text
}
