//! Takes secrets out of what leaves the cluster for a screen or a file.
//!
//! Guarantees: pure. A value that was learned from a Secret is taken out wherever it stands, also in base64. What nobody told
//! us of is taken out by where it stands (a Secret's data, `last-applied-configuration`, a variable or field with a secret's
//! name) and by what it looks like (keys, tokens, passwords in URLs). Must never print what it has learned.

use std::{fmt, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use regex::Regex;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    names,
    secrecy::{regex, without_secrets},
};

pub use crate::secrecy::MARK;

/// Shorter ones are words ("true", "5432") that stand everywhere.
const SHORTEST: usize = 6;
/// Of values of several lines, such as keys.
const SHORTEST_LINE: usize = 20;
/// Keys of Secrets whose values are no secrets.
const OPEN: &[&str] = &["username", "user", "host", "hostname", "port", "dbname", "database", "ca.crt", "tls.crt"];
/// Fields of our own resources that hold the name of a Secret.
const NAMES_OF_SECRETS: &[&str] = &["secret", "appSecret", "ownerSecret"];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Names of variables, fields and flags whose values are secret.
static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    regex(
        r"(?i)(password|passwd|passphrase|pwd|secret|token|credential|api[-_]?key|access[-_]?key|private[-_]?key|secret[-_]?key|encryption[-_]?key|[-_]dsn|connection[-_]?string)s?$",
    )
});

/// What is known to be secret.
#[derive(Clone, Default)]
pub struct Redaction {
    learned: Vec<Zeroizing<String>>,
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction").field("learned", &self.learned.len()).finish()
    }
}

impl Redaction {
    /// Knows the values of this Secret from now on.
    pub fn learn(&mut self, secret: &Secret) {
        let data = secret.data.iter().flatten().filter(|(key, _)| !OPEN.contains(&key.as_str()));
        for (_, value) in data {
            self.learn_value(&STANDARD.encode(&value.0), SHORTEST);
            let Ok(text) = std::str::from_utf8(&value.0) else { continue };
            self.learn_value(text.trim(), SHORTEST);
            for line in text.lines().filter(|line| line.len() < text.trim().len() && !line.starts_with("-----")) {
                self.learn_value(line.trim(), SHORTEST_LINE);
            }
        }
        // The longest first: a shorter one may be a part of it.
        self.learned.sort_by_key(|value| std::cmp::Reverse(value.len()));
        self.learned.dedup();
    }

    fn learn_value(&mut self, value: &str, shortest: usize) {
        if value.len() >= shortest {
            self.learned.push(Zeroizing::new(value.to_owned()));
        }
    }

    /// Text of any kind.
    pub fn text(&self, text: &str) -> String {
        without_secrets(&self.known(text))
    }

    /// Takes out only what was learned: a last net below everything else.
    pub fn known(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in self.learned.iter().filter(|value| !value.is_empty()) {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), MARK);
            }
        }
        text
    }

    /// A whole object, without what only the API server needs.
    pub fn object(&self, mut object: Value) -> Value {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let ours = text("/apiVersion").starts_with(names::GROUP);
        let secret = text("/kind") == "Secret";
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
        }
        if secret && let Some(object) = object.as_object_mut() {
            let keys = ["data", "stringData"].iter().filter_map(|field| object.remove(*field));
            let keys: Vec<Value> = keys
                .flat_map(|data| data.as_object().into_iter().flat_map(Map::keys).cloned().collect::<Vec<_>>())
                .map(Value::from)
                .collect();
            object.insert("keys".to_owned(), Value::Array(keys));
        }
        self.value("", object, ours)
    }

    /// One field, by its JSON path.
    pub fn field(&self, path: &str, value: Value) -> Value {
        self.value(name_of(path), value, false)
    }

    fn value(&self, name: &str, value: Value, ours: bool) -> Value {
        match value {
            Value::String(_) if is_secret_name(name, ours) => MARK.into(),
            Value::String(text) => self.text(&text).into(),
            Value::Array(items) => self.list(name, items, ours),
            Value::Object(map) => Value::Object(self.map(map, ours)),
            other => other,
        }
    }

    fn map(&self, map: Map<String, Value>, ours: bool) -> Map<String, Value> {
        // A variable: its name stands beside its value.
        let variable = map.get("name").and_then(Value::as_str).is_some_and(|name| is_secret_name(name, false));
        let redact = |(key, value): (String, Value)| {
            let hidden = variable && key == "value" && value.is_string();
            let value = if hidden { MARK.into() } else { self.value(&key, value, ours) };
            (self.text(&key), value)
        };
        map.into_iter().map(redact).collect()
    }

    fn list(&self, name: &str, items: Vec<Value>, ours: bool) -> Value {
        let mut flag = false;
        let redact = |item: Value| {
            let text = item.as_str().unwrap_or_default().to_owned();
            let hidden = flag && item.is_string();
            flag = text.starts_with('-') && is_secret_name(&text, false);
            if hidden { MARK.into() } else { self.value(name, item, ours) }
        };
        items.into_iter().map(redact).collect()
    }
}

fn is_secret_name(name: &str, ours: bool) -> bool {
    if ours && NAMES_OF_SECRETS.contains(&name) {
        return false;
    }
    SECRET_NAME.as_ref().is_some_and(|pattern| pattern.is_match(name))
}

/// Of `.a.b`, `b`; of `.env[name=A].value`, `A`; of `.data["x.conf"]`, `x.conf`.
fn name_of(path: &str) -> &str {
    let path = path.strip_suffix(".value").filter(|above| above.ends_with(']')).unwrap_or(path);
    let inside = |close: &str, open: &str| path.strip_suffix(close)?.rsplit_once(open).map(|(_, name)| name);
    inside("\"]", "[\"")
        .or_else(|| inside("]", "[name="))
        .unwrap_or_else(|| path.rsplit_once('.').map_or(path, |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    fn learned() -> Redaction {
        let mut redaction = Redaction::default();
        let data = [
            ("value", "hunter2hunter2"),
            ("username", "records_owner"),
            ("tls.key", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\n"),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
        redaction.learn(&Secret { data: Some(data.into()), ..Secret::default() });
        redaction
    }

    #[test]
    fn every_pattern_compiles() {
        assert!(SECRET_NAME.is_some());
    }

    #[test]
    fn learned_values_are_taken_out_wherever_they_stand() {
        let redaction = learned();
        let encoded = STANDARD.encode("hunter2hunter2");
        let text =
            redaction.text(&format!("a hunter2hunter2 b {encoded} c MIIEvQIBADANBgkqhkiG9w0BAQEF d records_owner"));
        assert_eq!(text, format!("a {MARK} b {MARK} c {MARK} d records_owner"));
        assert!(!format!("{redaction:?}").contains("hunter2"));
    }

    #[test]
    fn objects_lose_data_last_applied_and_secret_variables() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA==", "b": "eQ=="}, "metadata": {
            "name": "s", "managedFields": [], "annotations": {LAST_APPLIED: "{\"data\":\"eA==\"}", "x": "y"}}});
        assert_eq!(
            Redaction::default().object(secret),
            json!({"apiVersion": "v1", "kind": "Secret", "keys": ["a", "b"], "metadata": {"name": "s", "annotations": {"x": "y"}}})
        );
        let pod = json!({"kind": "Pod", "env": [{"name": "DB_PASSWORD", "value": "x"}, {"name": "A", "value": "x"}],
            "args": ["--api-key", "x", "--port", "1"], "parameters": {"smtpPassword": "x", "mail": "y"}});
        assert_eq!(
            Redaction::default().object(pod),
            json!({"kind": "Pod", "env": [{"name": "DB_PASSWORD", "value": MARK}, {"name": "A", "value": "x"}],
                "args": ["--api-key", MARK, "--port", "1"], "parameters": {"smtpPassword": MARK, "mail": "y"}})
        );
    }

    #[test]
    fn names_of_secrets_in_our_own_resources_stay() {
        let tenant = json!({"apiVersion": "his-operator.io/v1alpha1", "kind": "HospitalTenant", "spec": {"bindings": {"cache": {"secret": "cache-login"}}}});
        assert_eq!(Redaction::default().object(tenant.clone()), tenant);
    }

    #[test]
    fn fields_are_judged_by_the_name_in_their_path() {
        let hidden = |path: &str| Redaction::default().field(path, json!("x")) == json!(MARK);
        assert!(hidden(".spec.containers[name=web].env[name=DB_PASSWORD].value"));
        assert!(hidden(".spec.parameters.smtpPassword"));
        assert!(!hidden(".spec.containers[name=web].env[name=LANG].value"));
        assert!(!hidden(".data[\"records.conf\"]"));
        assert!(!hidden(".spec.replicas"));
    }
}
