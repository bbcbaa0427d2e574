//! Does the live object already say everything that the desired one says?
//!
//! Guarantees: pure; `difference` names a path and never a value, so a Secret cannot leak through a log line. `differences`
//! carries values for a person's own screen, and whoever shows them redacts them first.
//! A field that is desired must be there with an equal value. What else is there belongs to other field managers or to
//! the API server's defaults, with one exception: an element of an atomic list has exactly one owner, and so has the
//! body of a `NetworkPolicy`, of a `CiliumNetworkPolicy` or of an RBAC object. There, one extra key (a `namespaceSelector` beside a `podSelector`) opens
//! what was closed, so only known defaults are tolerated.
//!
//! List semantics are those of server-side apply in Kubernetes 1.35
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>).

mod quantity;
#[cfg(test)]
mod tests;

use std::{fmt, ops::ControlFlow};

use kube::core::DynamicObject;
use serde_json::{Map, Value};

use super::Object;

/// The value of a Kubernetes quantity in billionths, if it is one.
pub fn amount(value: &Value) -> Option<i128> {
    quantity::of(value)
}

/// Whether nothing has to be applied.
pub fn covers(live: &DynamicObject, desired: &Object) -> bool {
    difference(live, desired).is_none()
}

/// JSON path of the first desired field that is absent or different.
pub fn difference(live: &DynamicObject, desired: &Object) -> Option<String> {
    let mut first = None;
    let _stopped = walk(live, desired, &mut |at, _, _| {
        first = Some(at.to_string());
        ControlFlow::Break(())
    });
    first
}

/// One field that is not as it is desired.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// JSON path.
    pub path: String,
    /// What is there, if anything.
    pub live: Option<Value>,
    /// What is desired; absent where something is too much.
    pub want: Option<Value>,
}

/// Every desired field that is absent or different.
pub fn differences(live: &DynamicObject, desired: &Object) -> Vec<Difference> {
    let mut all = Vec::new();
    let _to_the_end = walk(live, desired, &mut |at, live, want| {
        all.push(Difference { path: at.to_string(), live: live.cloned(), want: want.cloned() });
        ControlFlow::Continue(())
    });
    all
}

/// Takes place, live and desired value of a difference; says whether to go on.
type Tell<'t> = dyn FnMut(&Place<'_>, Option<&Value>, Option<&Value>) -> ControlFlow<()> + 't;

fn walk(live: &DynamicObject, desired: &Object, tell: &mut Tell<'_>) -> ControlFlow<()> {
    let Some(body) = desired.body.as_object() else { return ControlFlow::Continue(()) };
    let metadata = serde_json::to_value(&live.metadata).unwrap_or_default();
    let exact = desired.at.kind.is_exact();
    let root = Place { parent: None, step: Step::Root };
    if exact {
        unexpected(live.data.as_object(), body, &root, tell)?;
    }
    body.iter().filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind")).try_for_each(|(key, want)| {
        let at = root.field(key);
        if key == "metadata" {
            compare(Some(&metadata), want, &at, (false, &mut *tell))
        } else {
            compare(live.data.get(key), want, &at, (exact, &mut *tell))
        }
    })
}

/// Where in the object the walk is; rendered only when a difference is found.
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'static [&'static str], &'a Value),
}

impl<'a> Place<'a> {
    fn field(&'a self, name: &'a str) -> Place<'a> {
        Place { parent: Some(self), step: Step::Field(name) }
    }

    /// Name of this field, or of the nearest field above a list element.
    fn name(&self) -> &str {
        match self.step {
            Step::Field(name) => name,
            Step::Root => "",
            Step::Index(_) | Step::Key(..) => self.parent.map_or("", Place::name),
        }
    }

    fn parent_name(&self) -> &str {
        self.parent.map_or("", Place::name)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match &self.step {
            Step::Root => Ok(()),
            Step::Field(name) if name.contains(['.', '/']) => write!(f, "[\"{name}\"]"),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(keys, element) => {
                let pairs = keys.iter().map(|key| format!("{key}={}", plain(element.get(key)))).collect::<Vec<_>>();
                write!(f, "[{}]", pairs.join(","))
            }
        }
    }
}

/// A merge key's value; these are names, ports and paths, never secret.
fn plain(value: Option<&Value>) -> String {
    value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default()
}

/// Whether one key more than desired counts as a difference, and who is told.
type Manner<'m, 't> = (bool, &'m mut Tell<'t>);

fn compare(live: Option<&Value>, want: &Value, at: &Place<'_>, manner: Manner<'_, '_>) -> ControlFlow<()> {
    let same = match (live.unwrap_or(&Value::Null), want) {
        (Value::Null, want) => dropped_when_empty(want, at),
        (Value::Object(live), Value::Object(want)) => return compare_maps(live, want, at, manner),
        (Value::Array(live), Value::Array(want)) => return compare_lists(live, want, at, manner),
        // `null` asks for nothing; a value there would be someone else's.
        (_, Value::Null) => true,
        (live, want) => scalars_equal(live, want, at),
    };
    if same { ControlFlow::Continue(()) } else { (manner.1)(at, live, Some(want)) }
}

/// Maps that have one owner as a whole: with one key more, a Service's selector finds no pod.
const ATOMIC_MAPS: [&str; 7] =
    ["selector", "labelSelector", "nodeSelector", "secretKeyRef", "configMapKeyRef", "fieldRef", "roleRef"];

fn compare_maps(
    live: &Map<String, Value>,
    want: &Map<String, Value>,
    at: &Place<'_>,
    (exact, tell): Manner<'_, '_>,
) -> ControlFlow<()> {
    let exact = exact || (ATOMIC_MAPS.contains(&at.name()) && matches!(at.step, Step::Field(_)));
    if exact {
        unexpected(Some(live), want, at, tell)?;
    }
    want.iter().try_for_each(|(key, want)| compare(live.get(key), want, &at.field(key), (exact, &mut *tell)))
}

/// Live keys that nobody asked for and that no API server default explains.
fn unexpected(
    live: Option<&Map<String, Value>>,
    want: &Map<String, Value>,
    at: &Place<'_>,
    tell: &mut Tell<'_>,
) -> ControlFlow<()> {
    live.into_iter()
        .flatten()
        .filter(|(key, value)| !want.contains_key(*key) && !is_empty(value) && !is_default(key, value))
        .try_for_each(|(key, value)| tell(&at.field(key), Some(value), None))
}

fn compare_lists(live: &[Value], want: &[Value], at: &Place<'_>, (exact, tell): Manner<'_, '_>) -> ControlFlow<()> {
    if at.name() == "finalizers" && at.parent_name() == "metadata" {
        let missing = want.iter().filter(|item| !live.contains(item));
        return missing.take(1).try_for_each(|item| tell(at, None, Some(item)));
    }
    if !exact && let Some(keys) = merge_keys(at, want) {
        return want.iter().try_for_each(|want| {
            let place = Place { parent: Some(at), step: Step::Key(keys, want) };
            let found = live.iter().find(|live| keys.iter().all(|key| key_of(live, key) == key_of(want, key)));
            match found {
                Some(found) => compare(Some(found), want, &place, (false, &mut *tell)),
                None => tell(&place, None, Some(want)),
            }
        });
    }
    if live.len() != want.len() {
        return tell(at, Some(&Value::from(live)), Some(&Value::from(want)));
    }
    live.iter().zip(want).enumerate().try_for_each(|(index, (live, want))| {
        compare(Some(live), want, &Place { parent: Some(at), step: Step::Index(index) }, (true, &mut *tell))
    })
}

/// Merge keys of the lists that several managers may share; `None` for atomic lists.
fn merge_keys(at: &Place<'_>, want: &[Value]) -> Option<&'static [&'static str]> {
    if !want.iter().all(Value::is_object) {
        return None;
    }
    let service_account = at.parent_name().is_empty();
    match at.name() {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "resourceClaims"
        | "schedulingGates"
        | "claims" => Some(&["name"]),
        "imagePullSecrets" if !service_account => Some(&["name"]),
        "secrets" if service_account => Some(&["name"]),
        "ports" if at.parent_name() == "spec" => Some(&["port", "protocol"]),
        "ports" if want.iter().all(|port| port.get("containerPort").is_some()) => Some(&["containerPort", "protocol"]),
        "volumeMounts" => Some(&["mountPath"]),
        "volumeDevices" => Some(&["devicePath"]),
        "topologySpreadConstraints" => Some(&["topologyKey", "whenUnsatisfiable"]),
        "hostAliases" => Some(&["ip"]),
        "ownerReferences" => Some(&["uid"]),
        _ => None,
    }
}

/// A merge key with the default that the API server fills in.
fn key_of<'a>(element: &'a Value, key: &str) -> Option<&'a Value> {
    static TCP: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::from("TCP"));
    element.get(key).or_else(|| (key == "protocol").then(|| &*TCP))
}

fn scalars_equal(live: &Value, want: &Value, at: &Place<'_>) -> bool {
    if live == want {
        return true;
    }
    if is_quantity(at) {
        return matches!((quantity::of(live), quantity::of(want)), (Some(live), Some(want)) if live == want);
    }
    match (live, want) {
        (Value::Number(live), Value::Number(want)) => live.as_f64() == want.as_f64(),
        _ => false,
    }
}

fn is_quantity(at: &Place<'_>) -> bool {
    const MAPS: [&str; 10] = [
        "limits",
        "requests",
        "hard",
        "capacity",
        "overhead",
        "default",
        "defaultRequest",
        "max",
        "min",
        "maxLimitRequestRatio",
    ];
    MAPS.contains(&at.parent_name()) || matches!(at.name(), "sizeLimit" | "divisor")
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Whether the API server drops this value, so that its absence is what was asked for.
///
/// An empty list is never stored. Of empty maps and zero values only those that Kubernetes declares as plain `omitempty`
/// fields vanish: behind a pointer they carry meaning (`podSelector: {}`, `automountServiceAccountToken: false`).
fn dropped_when_empty(want: &Value, at: &Place<'_>) -> bool {
    const MAPS: [&str; 13] = [
        "labels",
        "annotations",
        "data",
        "binaryData",
        "matchLabels",
        "nodeSelector",
        "resources",
        "limits",
        "requests",
        "hard",
        "strategy",
        "updateStrategy",
        "metadata",
    ];
    const ZEROES: [&str; 15] = [
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "readOnly",
        "stdin",
        "stdinOnce",
        "tty",
        "paused",
        "publishNotReadyAddresses",
        "initialDelaySeconds",
        "minReadySeconds",
        "value",
        "defaultValue",
        "subPath",
        "prefix",
    ];
    match want {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(Value::is_null) && MAPS.contains(&at.name()),
        Value::Bool(false) => ZEROES.contains(&at.name()),
        Value::Number(number) => number.as_f64() == Some(0.0) && ZEROES.contains(&at.name()),
        Value::String(text) => text.is_empty() && ZEROES.contains(&at.name()),
        Value::Bool(true) => false,
    }
}

/// Values that API servers fill into elements of atomic lists.
fn is_default(key: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match key {
        // NetworkPolicy, RBAC
        "protocol" => text == "TCP",
        "apiGroup" => matches!(text, "" | "rbac.authorization.k8s.io"),
        // The server derives it from the rules; a policy that sets it is compared.
        "policyTypes" | "creationTimestamp" => true,
        // volumeClaimTemplates, projected volumes, LimitRange, podFailurePolicy
        "apiVersion" => text == "v1",
        "status" => value.is_object() || text == "True",
        "volumeMode" => text == "Filesystem",
        "expirationSeconds" => value.as_i64() == Some(3600),
        "default" | "defaultRequest" => value.is_object(),
        // Gateway API
        "group" => matches!(text, "" | "gateway.networking.k8s.io"),
        "kind" => matches!(text, "Gateway" | "Service" | "PersistentVolumeClaim"),
        "weight" => value.as_i64() == Some(1),
        "type" => matches!(text, "PathPrefix" | "Exact"),
        "statusCode" => value.as_i64() == Some(302),
        "path" => {
            value.get("type").and_then(Value::as_str) == Some("PathPrefix")
                && value.get("value").and_then(Value::as_str) == Some("/")
        }
        "matches" => value.as_array().is_some_and(|list| {
            list.iter()
                .all(|item| item.as_object().is_some_and(|map| map.iter().all(|(key, value)| is_default(key, value))))
        }),
        _ => false,
    }
}
