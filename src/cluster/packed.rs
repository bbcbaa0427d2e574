//! Cached objects in little memory.
//!
//! A parsed object costs about ten times its JSON, and a thousand hospitals have the same objects with other names. So
//! each object is kept as compressed JSON against the first object of its kind, and parsed when somebody looks.

use std::sync::Arc;

use kube::{ResourceExt, core::DynamicObject};

use crate::{
    names,
    objects::{
        Kind,
        kind::{NETWORK_POLICY, Watch},
        managed,
    },
};

/// One object at rest.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    bytes: Box<[u8]>,
    length: usize,
    like: Arc<[u8]>,
}

impl Packed {
    /// Packs against `like`, which becomes this object's own JSON when still empty.
    pub(super) fn new(object: &DynamicObject, like: &mut Arc<[u8]>) -> Option<Self> {
        let json = serde_json::to_vec(object).ok()?;
        if like.is_empty() {
            *like = json.as_slice().into();
        }
        let bytes = lz4_flex::block::compress_with_dict(&json, like).into_boxed_slice();
        Some(Self { bytes, length: json.len(), like: Arc::clone(like) })
    }

    /// Whether it holds the same object. Two packings of one object are the same bytes.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.length == other.length && self.bytes == other.bytes && Arc::ptr_eq(&self.like, &other.like)
    }

    /// The object again.
    pub(super) fn unpack(&self) -> Option<DynamicObject> {
        let json = lz4_flex::block::decompress_with_dict(&self.bytes, self.length, &self.like).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// Without what nobody reads, what nobody may keep, and what only costs memory. Where some of it is not read, its version,
/// which counts that too, is not kept either.
pub(super) fn stripped(kind: Kind, mut object: DynamicObject) -> DynamicObject {
    // Who changed a policy, and when, is asked for when it is put right.
    let taker = || managed::taken_from(names::FIELD_MANAGER, object.managed_fields());
    object.metadata.managed_fields = (kind == NETWORK_POLICY).then(taker).flatten().map(|taker| vec![taker]);
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    if kind.watch == Watch::TenantMetadata {
        (object.types, object.data) = (None, serde_json::Value::Null);
    }
    for unread in kind.unread {
        object.metadata.resource_version = None;
        let (parent, field) = unread.rsplit_once('/').unwrap_or_default();
        if let Some(parent) = object.data.pointer_mut(parent).and_then(serde_json::Value::as_object_mut) {
            parent.remove(field);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str) -> DynamicObject {
        let labels: std::collections::BTreeMap<String, String> =
            (0..20).map(|n| (format!("label-{n}"), "value".repeat(4))).collect();
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Any", "metadata": {"name": name, "labels": labels}, "spec": {"a": [1, 2, name]}})).unwrap()
    }

    #[test]
    fn objects_come_back_unchanged_and_alike_ones_cost_little() {
        let mut like = Arc::from([]);
        let first = Packed::new(&object("one"), &mut like).unwrap();
        let second = Packed::new(&object("two"), &mut like).unwrap();
        assert_eq!(first.unpack().unwrap(), object("one"));
        assert_eq!(second.unpack().unwrap(), object("two"));
        assert!(second.bytes.len() * 4 < second.length, "{} of {}", second.bytes.len(), second.length);
    }
}
