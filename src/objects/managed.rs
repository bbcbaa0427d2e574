//! Who changed an object last, as the API server notes it (server-side apply, KEP-555).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Map, Value};

/// The field manager that changed the spec last.
pub fn changed_by(entries: &[ManagedFieldsEntry]) -> Option<&str> {
    let of_spec = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().and_then(|fields| fields.0.as_object());
        entry.subresource.is_none() && fields.is_some_and(|fields| fields.contains_key("f:spec"))
    };
    entries.iter().filter(of_spec).max_by_key(|entry| entry.time.clone())?.manager.as_deref()
}

/// The same knowledge without the list of fields, which is larger than all the rest of an object.
pub fn without_fields(entries: &[ManagedFieldsEntry]) -> Option<Vec<ManagedFieldsEntry>> {
    let manager = changed_by(entries)?.to_owned();
    let fields = FieldsV1(Value::from_iter([("f:spec", Value::Object(Map::new()))]));
    Some(vec![ManagedFieldsEntry { manager: Some(manager), fields_v1: Some(fields), ..ManagedFieldsEntry::default() }])
}

/// Whoever has taken a part of the spec from `ours`, without the list of fields; nothing on an object that `ours` alone has
/// written, or that `ours` has never written.
///
/// A field that two managers want alike belongs to both; one that a manager changes belongs to it alone.
pub fn taken_from(ours: &str, entries: &[ManagedFieldsEntry]) -> Option<ManagedFieldsEntry> {
    let (mine, others): (Vec<_>, Vec<_>) =
        entries.iter().filter(|entry| entry.subresource.is_none()).partition(|entry| is(entry, ours));
    let kept: BTreeSet<&str> = mine.iter().flat_map(|entry| of_spec(entry)).collect();
    let took = |entry: &&&ManagedFieldsEntry| of_spec(entry).any(|field| !kept.contains(field));
    let taker = others.iter().filter(took).max_by_key(|entry| entry.time.clone())?;
    (!mine.is_empty()).then(|| ManagedFieldsEntry { fields_v1: None, ..(*taker).clone() })
}

/// The last write of a manager, without the list of fields.
pub fn last_of(manager: &str, entries: &[ManagedFieldsEntry]) -> Option<ManagedFieldsEntry> {
    let mine = entries.iter().filter(|entry| entry.subresource.is_none() && is(entry, manager));
    mine.max_by_key(|entry| entry.time.clone()).map(|entry| ManagedFieldsEntry { fields_v1: None, ..entry.clone() })
}

/// Whether that manager wrote it.
pub fn is(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    entry.manager.as_deref() == Some(manager)
}

/// When it was written, in whole seconds of the API server's clock.
pub fn time(entry: &ManagedFieldsEntry) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(entry.time.as_ref()?.0.as_second(), 0)
}

/// Fields directly below the spec.
fn of_spec(entry: &ManagedFieldsEntry) -> impl Iterator<Item = &str> {
    let fields = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:spec")?.as_object());
    fields.into_iter().flat_map(Map::keys).map(String::as_str).filter(|field| *field != ".")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, time: &str, fields: &[&str]) -> ManagedFieldsEntry {
        let fields: Map<String, Value> = fields.iter().map(|field| (format!("f:{field}"), json!({}))).collect();
        serde_json::from_value(json!({"manager": manager, "time": time, "fieldsV1": {"f:spec": fields}})).unwrap()
    }

    const AT: [&str; 3] = ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"];

    #[test]
    fn a_part_of_the_spec_is_taken_by_whoever_owns_it_alone() {
        let taker = |entries: &[ManagedFieldsEntry]| taken_from("us", entries).and_then(|entry| entry.manager);
        let whole = entry("us", AT[0], &["egress", "ingress"]);
        assert_eq!(taker(std::slice::from_ref(&whole)), None);
        assert_eq!(taker(&[whole.clone(), entry("gitops", AT[1], &["egress"])]), None, "it wants the same");
        assert_eq!(taker(&[whole, entry("kubectl-label", AT[1], &[])]), None, "it wrote no spec");
        let rest = entry("us", AT[0], &["ingress"]);
        let [edit, other] = [entry("edit", AT[1], &["egress"]), entry("patch", AT[2], &["egress"])];
        assert_eq!(taker(&[rest.clone(), edit.clone()]).as_deref(), Some("edit"));
        assert_eq!(taker(&[other.clone(), rest, edit.clone()]).as_deref(), Some("patch"), "the last one");
        assert_eq!(taker(&[edit, other]), None, "we never wrote it");
    }

    #[test]
    fn what_is_kept_of_a_writer_is_its_name_and_time() {
        let entries = [entry("us", AT[0], &["ingress"]), entry("edit", AT[1], &["egress"]), entry("us", AT[2], &[])];
        let kept = taken_from("us", &entries).unwrap();
        assert_eq!((is(&kept, "edit"), &kept.fields_v1), (true, &None));
        assert_eq!(time(&kept).unwrap().to_rfc3339(), "2026-01-03T00:00:00+00:00");
        assert_eq!(last_of("us", &entries).as_ref().and_then(time).unwrap().to_rfc3339(), "2026-01-04T00:00:00+00:00");
        assert_eq!(last_of("nobody", &entries), None);
    }

    #[test]
    fn the_last_change_of_the_spec_counts_and_no_other() {
        let entry = |manager: &str, time: &str, subresource: Option<&str>, field: &str| -> ManagedFieldsEntry {
            let entry = json!({"manager": manager, "time": time, "subresource": subresource, "fieldsV1": {field: {}}});
            serde_json::from_value(entry).unwrap()
        };
        let entries = [
            entry("gitops", "2026-01-02T00:00:00Z", None, "f:spec"),
            entry("kubectl-edit", "2026-01-03T00:00:00Z", None, "f:spec"),
            entry("kubectl-annotate", "2026-01-04T00:00:00Z", None, "f:metadata"),
            entry("his-operator", "2026-01-05T00:00:00Z", Some("status"), "f:status"),
        ];
        assert_eq!(changed_by(&entries), Some("kubectl-edit"));
        assert_eq!(changed_by(&without_fields(&entries).unwrap()), Some("kubectl-edit"));
        assert_eq!(changed_by(&entries[2..]), None);
    }
}
