//! Pods of the hospital, and the operator's own: what the cluster says of them.
//!
//! Guarantees: nothing that a container of the hospital wrote. A termination message may hold its last log lines, and those
//! may hold patient data.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Map, Value};

use crate::plugin::redact::Redaction;

/// Metadata and status of each pod, as YAML documents.
pub(super) fn statuses(pods: &[Pod], redaction: &Redaction) -> String {
    pods.iter().map(|pod| status(pod, redaction)).collect::<Vec<_>>().join("---\n")
}

fn status(pod: &Pod, redaction: &Redaction) -> String {
    let mut whole = serde_json::to_value(pod).unwrap_or_default();
    let mut part = |field: &str| whole.get_mut(field).map(Value::take).unwrap_or_default();
    let mut status = part("status");
    silence(&mut status);
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let reduced = Map::from_iter([
        ("metadata".to_owned(), part("metadata")),
        ("node".to_owned(), node.into()),
        ("status".to_owned(), status),
    ]);
    serde_yaml_ng::to_string(&redaction.object(Value::Object(reduced))).unwrap_or_default()
}

/// Removes termination messages, wherever they are.
fn silence(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(ended) = map.get_mut("terminated").and_then(Value::as_object_mut) {
                ended.remove("message");
            }
            map.values_mut().for_each(silence);
        }
        Value::Array(items) => items.iter_mut().for_each(silence),
        _ => {}
    }
}

/// Lines of the operator's log that are about this hospital or about none.
pub(super) fn lines(log: &str, tenant: &str, others: &BTreeSet<String>, redaction: &Redaction) -> String {
    let own = |line: &str| mentions(line, tenant);
    let foreign = |line: &str| others.iter().any(|other| mentions(line, other));
    let kept = log.lines().filter(|line| own(line) || !foreign(line));
    kept.map(|line| redaction.text(line) + "\n").collect()
}

/// As a word: st-elsewhere is not meant by st-elsewhere-2, but by his-st-elsewhere.
fn mentions(line: &str, tenant: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    line.match_indices(tenant).any(|(at, found)| {
        let (before, after) = (line.get(..at).unwrap_or_default(), line.get(at + found.len()..).unwrap_or_default());
        let begins = before.ends_with("his-") || !before.ends_with(part);
        begins && !after.starts_with(part)
    })
}

/// For file names: `pod.container`.
pub(super) fn containers(pod: &Pod) -> Vec<String> {
    let spec = pod.spec.as_ref();
    spec.map(|spec| spec.containers.iter().map(|container| container.name.clone()).collect()).unwrap_or_default()
}

/// Name, for messages.
pub(super) fn name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_other_hospitals_are_left_out() {
        let others = BTreeSet::from(["eligius".to_owned(), "st-elsewhere-2".to_owned()]);
        let log = "about st-elsewhere\nabout his-st-elsewhere/web\nabout nobody\nabout his-eligius\nabout st-elsewhere-2\npassword=abc\n";
        assert_eq!(
            lines(log, "st-elsewhere", &others, &Redaction::default()),
            "about st-elsewhere\nabout his-st-elsewhere/web\nabout nobody\npassword=[redacted]\n"
        );
    }
}
