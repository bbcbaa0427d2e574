//! Who changed an object last, as the API server notes it (server-side apply, KEP-555).

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
