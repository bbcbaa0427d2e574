//! Values of the chart: their defaults, their schema and their documentation in one place.

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::Value;

use super::{Error, yaml};

/// What an installation may choose. Everything else is fixed, because other parts rely on it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Values {
    /// Image of the operator. With a digest, the tag is ignored: use a digest in production.
    pub image: Image,
    /// Names of Secrets with registry credentials, as [{name: …}].
    pub image_pull_secrets: Vec<BTreeMap<String, String>>,
    /// Image with his-agent for hospitals' pods, by digest. Empty: the operator's image, which holds it.
    pub agent_image: String,
    /// Number of pods; one leads, the others wait to take over.
    #[schemars(range(min = 1, max = 5))]
    pub replicas: i32,
    /// What is logged: `info`, `debug`, or per module `his_operator=debug,info`.
    #[schemars(length(min = 1))]
    pub log_level: String,
    /// URL of an OpenTelemetry collector (plain HTTP, OTLP). Empty: no traces. Allow it in networkPolicy.extraEgress.
    pub tracing_endpoint: String,
    /// Compute resources of one pod. The defaults serve a thousand hospitals.
    pub resources: BTreeMap<String, BTreeMap<String, Value>>,
    /// Who may talk to the operator, and to whom it may talk.
    pub network_policy: Network,
    /// A ServiceMonitor, for the Prometheus operator.
    pub service_monitor: Monitor,
    /// A PrometheusRule with all alerts; each has its runbook below.
    pub prometheus_rule: Optional,
    /// A ConfigMap with a dashboard, for the side-car of Grafana's chart.
    pub dashboard: Optional,
    /// Labels of the nodes that may run it.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it tolerates.
    pub tolerations: Vec<BTreeMap<String, Value>>,
}

/// An image.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// Registry and name, without tag.
    #[schemars(length(min = 1))]
    pub repository: String,
    /// Tag. Empty: the version of the chart.
    pub tag: String,
    /// `sha256:` and 64 hex digits.
    #[schemars(regex(pattern = r"^(sha256:[0-9a-f]{64})?$"))]
    pub digest: String,
    /// When the node asks the registry.
    #[schemars(regex(pattern = r"^(Always|IfNotPresent|Never)$"))]
    pub pull_policy: String,
}

/// Allowed traffic of the operator itself.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// Addresses of the API server, as CIDR. Empty: every address, on apiServerPorts only.
    pub api_server_cidrs: Vec<String>,
    /// Ports of the API server: the Service's and the one behind it, because network plug-ins see one or the other.
    #[schemars(length(min = 1), inner(range(min = 1, max = 65535)))]
    pub api_server_ports: Vec<i32>,
    /// Peers (as in a `NetworkPolicy`) that may read the metrics on port 8080. Empty: nobody.
    pub metrics_from: Vec<BTreeMap<String, Value>>,
    /// The cluster's resolver, which the operator asks for the names in spec.network.egress of hospitals.
    pub dns: Dns,
    /// Further egress rules (as in a `NetworkPolicy`), for example to a collector and its name resolution.
    pub extra_egress: Vec<BTreeMap<String, Value>>,
}

/// Pods of the cluster's resolver.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// Their namespace. Empty: nobody is asked.
    pub namespace: String,
    /// Their labels.
    pub pod_labels: BTreeMap<String, String>,
    /// Port on which the pods listen, TCP and UDP.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// An object that is made if somebody wants it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Optional {
    /// Whether it is made.
    pub enabled: bool,
    /// Further labels, by which it is found.
    pub labels: BTreeMap<String, String>,
}

/// A ServiceMonitor.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Monitor {
    /// Whether it is made. Let Prometheus in with networkPolicy.metricsFrom.
    pub enabled: bool,
    /// Time between two readings.
    #[schemars(regex(pattern = r"^[0-9]+(ms|s|m)$"))]
    pub interval: String,
    /// Further labels, by which Prometheus finds it.
    pub labels: BTreeMap<String, String>,
}

impl Default for Values {
    fn default() -> Self {
        let amounts = |pairs: [(&str, &str); 3]| pairs.map(|(name, amount)| (name.to_owned(), amount.into())).into();
        Self {
            image: Image {
                repository: "ghcr.io/his-operator/his-operator".to_owned(),
                tag: String::new(),
                digest: String::new(),
                pull_policy: "IfNotPresent".to_owned(),
            },
            image_pull_secrets: Vec::new(),
            agent_image: String::new(),
            replicas: 2,
            log_level: "info".to_owned(),
            tracing_endpoint: String::new(),
            resources: BTreeMap::from([
                ("requests".to_owned(), amounts([("cpu", "50m"), ("memory", "64Mi"), ("ephemeral-storage", "64Mi")])),
                ("limits".to_owned(), amounts([("cpu", "1"), ("memory", "256Mi"), ("ephemeral-storage", "128Mi")])),
            ]),
            network_policy: Network {
                api_server_cidrs: Vec::new(),
                api_server_ports: vec![443, 6443],
                metrics_from: Vec::new(),
                dns: Dns {
                    namespace: "kube-system".to_owned(),
                    pod_labels: BTreeMap::from([("k8s-app".to_owned(), "kube-dns".to_owned())]),
                    port: 53,
                },
                extra_egress: Vec::new(),
            },
            service_monitor: Monitor { enabled: false, interval: "30s".to_owned(), labels: BTreeMap::new() },
            prometheus_rule: Optional { enabled: false, labels: BTreeMap::new() },
            dashboard: Optional {
                enabled: false,
                labels: BTreeMap::from([("grafana_dashboard".to_owned(), "1".to_owned())]),
            },
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
        }
    }
}

impl Values {
    /// The image as Kubernetes takes it.
    pub fn image(&self, version: &str) -> String {
        let Image { repository, tag, digest, .. } = &self.image;
        match (digest.is_empty(), tag.is_empty()) {
            (false, _) => format!("{repository}@{digest}"),
            (true, false) => format!("{repository}:{tag}"),
            (true, true) => format!("{repository}:{version}"),
        }
    }
}

/// JSON Schema (draft 7, which every Helm reads).
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Values>().to_value();
    if let Some(root) = schema.as_object_mut() {
        // A chart that includes this one hands its own globals down; every value has a default.
        let globals = Value::Object(serde_json::Map::from_iter([("type".to_owned(), "object".into())]));
        if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("global".to_owned(), globals);
        }
        root.remove("required");
    }
    schema
}

/// One documented value.
pub struct Documented {
    /// Dotted path.
    pub path: String,
    /// Text of the schema.
    pub meaning: String,
    /// Default as YAML; absent for groups.
    pub default: Option<Value>,
}

/// All values, sorted by path, groups before their members.
pub fn documented() -> Result<Vec<Documented>, Error> {
    let mut all = Vec::new();
    walk(&mut all, "", &schema(), &yaml::value("values", &Values::default())?);
    Ok(all)
}

fn walk(all: &mut Vec<Documented>, path: &str, schema: &Value, value: &Value) {
    let Some(values) = value.as_object() else { return };
    let sorted: BTreeMap<&String, &Value> = values.iter().collect();
    for (name, value) in sorted {
        let Some(property) = schema.get("properties").and_then(|properties| properties.get(name)) else { continue };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let group = property.get("properties").is_some();
        all.push(Documented {
            path: path.clone(),
            meaning: meaning.to_owned(),
            default: (!group).then(|| value.clone()),
        });
        walk(all, &path, property, value);
    }
}
