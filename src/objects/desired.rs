//! What a capability wants to exist.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Kind, kind::Retention};
use crate::names;

/// Address of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref {
    /// What it is.
    pub kind: Kind,
    /// Where it is; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// One object as it must be: only the fields that the operator owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Address.
    pub at: Ref,
    /// Full body for server-side apply, with `apiVersion`, `kind` and `metadata`.
    pub body: Value,
    /// JSON pointer of a field that somebody else moves within bounds: rendered as it is, and no part of the digest.
    pub moved: Option<&'static str>,
}

impl Object {
    /// Renders a typed object. `apiVersion` and `kind` come from [`Kind`], so that they cannot differ from RBAC and watches.
    pub fn new(kind: Kind, typed: &impl Serialize) -> Self {
        // The typed Kubernetes structs have string keys only, so this cannot fail; `Null` would be refused by the API server.
        let mut body = serde_json::to_value(typed).unwrap_or_default();
        if let Some(map) = body.as_object_mut() {
            map.remove("status");
            map.insert("apiVersion".to_owned(), kind.api_version().into());
            map.insert("kind".to_owned(), kind.kind.into());
        }
        let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let at = Ref { kind, namespace: text("/metadata/namespace"), name: text("/metadata/name") };
        let mut object = Self { at, body, moved: None };
        if kind.retention == Retention::Data {
            object.label(names::RETAIN, "true");
        }
        object
    }

    /// Somebody else moves this field, so that its value of the moment makes no other object.
    #[must_use]
    pub fn moved_by_others(self, pointer: &'static str) -> Self {
        Self { moved: Some(pointer), ..self }
    }

    /// Hex digest of the body without its own stamp and without what others move; changes if and only if another rendered
    /// field changes.
    pub fn digest(&self) -> String {
        let annotations = self.body.pointer("/metadata/annotations").and_then(Value::as_object);
        let stamped = annotations.is_some_and(|annotations| annotations.contains_key(names::DESIRED));
        if !stamped && self.moved.is_none() {
            return digest_of(&self.body);
        }
        let mut bare = self.body.clone();
        if let Some(moved) = self.moved.and_then(|pointer| bare.pointer_mut(pointer)) {
            *moved = Value::Null;
        }
        if let Some(annotations) = bare.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove(names::DESIRED);
        }
        digest_of(&bare)
    }

    /// Sets one annotation.
    pub fn annotate(&mut self, key: &str, value: &str) {
        self.metadata_map("annotations", key, value);
    }

    /// Sets one label.
    pub fn label(&mut self, key: &str, value: &str) {
        self.metadata_map("labels", key, value);
    }

    /// The body with the digest annotation that [`super::covers`] compares.
    #[must_use]
    pub fn stamped(mut self) -> Self {
        let digest = self.digest();
        self.annotate(names::DESIRED, &digest);
        self
    }

    fn metadata_map(&mut self, field: &str, key: &str, value: &str) {
        let Some(metadata) = self.body.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        let map = metadata.entry(field).or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(map) = map.as_object_mut() {
            map.insert(key.to_owned(), value.into());
        }
    }
}

/// First 16 hex digits of the SHA-256 of the canonical (key-sorted) JSON.
pub fn digest(value: &impl Serialize) -> String {
    // What is not a Value may have its keys in any order.
    serde_json::to_value(value).map_or_else(|_| hex(&[]), |value| digest_of(&value))
}

fn digest_of(value: &Value) -> String {
    hex(&serde_json::to_vec(value).unwrap_or_default())
}

fn hex(canonical: &[u8]) -> String {
    let mut digits = String::with_capacity(16);
    for byte in Sha256::digest(canonical).iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// How one value of a generated Secret is made. Values are made once, at creation, and never read back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Material {
    /// A value that is not secret (a user name, a host).
    Literal(String),
    /// That many characters of `[A-Za-z0-9]`: safe in URLs, shells and SQL.
    Password(usize),
    /// An RSA key of that many bits, PKCS#8 PEM.
    RsaKey(usize),
    /// A private JSON Web Key Set (RFC 7517) with one RS256 key of that many bits, base64 of its JSON.
    JwksBase64(usize),
    /// A certificate authority and a server certificate for these DNS names; fills `ca.crt`, `tls.crt` and `tls.key`.
    ServerCertificate(Vec<String>),
}

/// A Secret that is created once with random content and then kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The Secret's metadata: name, namespace, labels, annotations.
    pub object: Object,
    /// Key in the Secret, and how its value is made.
    pub values: BTreeMap<String, Material>,
}

/// One thing a capability wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Desired {
    /// Exists with exactly these owned fields.
    Apply(Object),
    /// Exists; created with fresh random values when absent.
    Generate(Generated),
    /// Stays as it is: neither changed nor pruned (a gate is closed).
    Keep(Ref),
}

impl Desired {
    /// Address of the object.
    pub fn at(&self) -> &Ref {
        match self {
            Self::Apply(object) => &object.at,
            Self::Generate(generated) => &generated.object.at,
            Self::Keep(at) => at,
        }
    }

    /// Name of the capability that renders it; what is only kept names none.
    pub fn capability(&self) -> Option<&str> {
        self.body()?.pointer("/metadata/labels")?.get(names::CAPABILITY)?.as_str()
    }

    /// The object's body, without generated values; absent for what is only kept.
    pub fn body(&self) -> Option<&Value> {
        match self {
            Self::Apply(object) => Some(&object.body),
            Self::Generate(generated) => Some(&generated.object.body),
            Self::Keep(_) => None,
        }
    }
}
