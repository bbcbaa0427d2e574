//! `HospitalApplication`: topology of one hospital information system.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DefinitionStatus;

/// Topology of one hospital information system, written by the application team.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "his-operator.io",
    version = "v1alpha1",
    kind = "HospitalApplication",
    plural = "hospitalapplications",
    shortname = "happ",
    category = "his",
    status = "DefinitionStatus",
    doc = "Topology of one hospital information system: versions with images by digest, components, probes, lifecycle steps, generated secrets and dependencies. Texts may contain {{ expressions }}, see the template reference.",
    derive = "PartialEq",
    derive = "Default",
    cel,
    printcolumn(name = "Title", type_ = "string", json_path = ".spec.title"),
    printcolumn(name = "Versions", type_ = "string", json_path = ".spec.versions[*].version"),
    printcolumn(name = "Accepted", type_ = "string", json_path = r#".status.conditions[?(@.type=="Accepted")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct HospitalApplicationSpec {
    /// Name for people.
    #[schemars(length(min = 1, max = 100))]
    pub title: String,
    /// Versions that tenants may choose.
    #[schemars(length(min = 1, max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["version"]))]
    pub versions: Vec<ApplicationVersion>,
    /// The parts that run.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub components: Vec<Component>,
    /// Values that each tenant gives, available as `{{ parameters.NAME }}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<Parameter>,
    /// Secrets that are made once per tenant, available as `{{ secrets.NAME }}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub secrets: Vec<GeneratedSecret>,
    /// What the application needs from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Dependencies>,
    /// Steps that run before pods of a version may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Files shared by components and lifecycle steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub files: Vec<File>,
    /// Environment shared by components and lifecycle steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
}

/// One version and its images.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct ApplicationVersion {
    /// Version as the application names it.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9A-Za-z]([-._0-9A-Za-z]*[0-9A-Za-z])?$')").message("version may contain letters, digits, dot, dash and underscore, and starts and ends with a letter or digit"))]
    pub version: String,
    /// Images by the name that components use. Each must be given by digest.
    #[x_kube(validation = Rule::new("size(self) > 0 && self.all(k, self[k].matches('@sha256:[0-9a-f]{64}$'))").message("every image must end in @sha256: and 64 hex digits; a tag can change under a hospital: write the digest"))]
    pub images: BTreeMap<String, String>,
}

/// What a component does; decides how it is rolled out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Answers users.
    #[default]
    Web,
    /// Takes work from a queue.
    Worker,
    /// Starts work at given times; never twice at once.
    Scheduler,
    /// Serves static files.
    Frontend,
}

/// One part of the application: becomes a Deployment.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("!(has(self.singleton) && self.singleton && has(self.replicas) && (self.replicas.min != 1 || (has(self.replicas.max) && self.replicas.max != 1)))").message("a singleton runs exactly once: remove replicas or set min and max to 1").field_path(".replicas"),
    validation = Rule::new("self.role != 'scheduler' || (has(self.singleton) && self.singleton)").message("a scheduler must say singleton: true, otherwise jobs would start twice").field_path(".singleton"),
    validation = Rule::new("!has(self.routes) || size(self.routes) == 0 || (has(self.ports) && size(self.ports) > 0)").message("a component with routes needs the port they lead to: declare it in ports").field_path(".ports")
)]
pub struct Component {
    /// Name, unique within the application.
    #[schemars(length(min = 1, max = 30))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("name must be a DNS label in lower case"), validation = Rule::new("!(self in ['database', 'init', 'migrate'])").message("the names database, init and migrate are used by the operator itself: choose another"))]
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Which of the version's images it runs.
    #[schemars(length(min = 1, max = 63))]
    pub image: String,
    /// Command. Absent: the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Arguments. Texts may contain expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Number of pods. Absent: 2, or 1 for a singleton.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// Never runs twice at the same time, not even while a version changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub singleton: Option<bool>,
    /// Ports that it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub ports: Vec<Port>,
    /// Paths of the hospital's hosts that lead here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub routes: Vec<Route>,
    /// When it has started, can serve, and must be restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// Environment of this component only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Files of this component only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub files: Vec<File>,
    /// Directories that it writes; everything else is read-only. Lost when the pod ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub writable_paths: Vec<WritablePath>,
    /// Other components that it connects to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub connects_to: Vec<Connection>,
    /// Compute resources. Absent: 100m to 1 CPU and 256Mi of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Seconds that it may take to end after it was asked to. Absent: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub termination_seconds: Option<i64>,
    /// Security rules that it cannot keep, each with the reason. Counted in every tenant's status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["rule"]))]
    pub exceptions: Vec<Exception>,
}

/// Number of pods.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("!has(self.max) || self.max >= self.min").message("max must not be below min").field_path(".max"))]
pub struct Replicas {
    /// Least number of pods, and what a tenant gets that says nothing.
    #[schemars(range(min = 1, max = 100))]
    pub min: i32,
    /// Greatest number that a tenant may ask for. Absent: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max: Option<i32>,
}

/// A port of a component.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Port {
    /// Name, unique within the component.
    #[schemars(length(min = 1, max = 15))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("name must be lower case letters, digits and dashes, at most 15"))]
    pub name: String,
    /// TCP port.
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,
}

/// Paths that lead to a component.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Route {
    /// Prefix of the path, matched by whole segments.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("path must start with /"))]
    pub path: String,
    /// Name of the port.
    #[schemars(length(min = 1, max = 15))]
    pub port: String,
}

/// A connection to another component of the same hospital.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Connection {
    /// The other component.
    #[schemars(length(min = 1, max = 30))]
    pub component: String,
    /// Name of its port.
    #[schemars(length(min = 1, max = 15))]
    pub port: String,
}

/// The three questions the kubelet asks.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("!(has(self.readiness) && has(self.liveness) && self.readiness == self.liveness)").message("readiness and liveness must differ: a dependency that is down must take a pod out of service, not restart it").field_path(".liveness"))]
pub struct Probes {
    /// Has it started? The others wait for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// Can it serve?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Must it be restarted? Never asks about dependencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
}

/// One question to a container.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("(has(self.http) ? 1 : 0) + (has(self.tcp) ? 1 : 0) + (has(self.exec) ? 1 : 0) + (has(self.rpcPost) ? 1 : 0) == 1").message("a probe needs exactly one of http, tcp, exec, rpcPost"))]
pub struct Probe {
    /// GET that must answer 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// Connection that must open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// Command that must exit 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecProbe>,
    /// POST whose answer must be 200 and contain a text; for servers that answer no GET (JSON-RPC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc_post: Option<RpcPostProbe>,
    /// Seconds between two tries. Absent: 10 (startup: 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub period_seconds: Option<i32>,
    /// Seconds after which a try has failed. Absent: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: Option<i32>,
    /// Tries in a row that must fail. Absent: 3 (startup: 150).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: Option<i32>,
}

/// GET that must answer 200 to 399.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct HttpProbe {
    /// Absolute path.
    #[schemars(length(min = 1, max = 200))]
    pub path: String,
    /// Name of the port.
    #[schemars(length(min = 1, max = 15))]
    pub port: String,
}

/// Connection that must open.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct TcpProbe {
    /// Name of the port.
    #[schemars(length(min = 1, max = 15))]
    pub port: String,
}

/// Command that must exit 0.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct ExecProbe {
    /// Program and arguments; no shell is added.
    #[schemars(length(min = 1, max = 32))]
    pub command: Vec<String>,
}

/// POST whose answer must be 200 and contain a text.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct RpcPostProbe {
    /// Absolute path.
    #[schemars(length(min = 1, max = 200))]
    pub path: String,
    /// Name of the port.
    #[schemars(length(min = 1, max = 15))]
    pub port: String,
    /// Body, sent as `application/json`.
    #[schemars(length(min = 2, max = 4096))]
    pub body: String,
    /// Text that the answer must contain. Absent: any answer with status 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub expect: Option<String>,
}

/// One environment variable.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct EnvVar {
    /// Name.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("name must be a shell variable name"), validation = Rule::new("!self.startsWith('HIS_')").message("names that start with HIS_ are used by the operator itself: choose another"))]
    pub name: String,
    /// Text with expressions. One that uses a secret needs the component's exception `secretInEnv`.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// One read-only file.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct File {
    /// Absolute path in the container.
    #[schemars(length(min = 2, max = 200))]
    #[x_kube(validation = Rule::new("self.startsWith('/') && !self.contains('..') && !self.endsWith('/')").message("path must be absolute, name a file, and not contain .."))]
    pub path: String,
    /// Text with expressions; may use secrets. Written in memory before the container starts.
    #[schemars(length(max = 65536))]
    pub template: String,
}

/// A directory that a component writes.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct WritablePath {
    /// Absolute path in the container.
    #[schemars(length(min = 2, max = 200))]
    #[x_kube(validation = Rule::new("self.startsWith('/') && !self.contains('..')").message("path must be absolute and not contain .."))]
    pub path: String,
    /// Most that it may hold. Absent: 64Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(Mi|Gi)$')").message("size must be a quantity such as 64Mi"))]
    pub size: Option<String>,
}

/// Compute resources of one container, in Kubernetes quantities. Memory is reserved and limited by the same number.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Resources {
    /// Reserved CPU, for example `100m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(\\\\.[0-9]+)?m?$')").message("cpu must be a quantity such as 100m or 2"))]
    pub cpu: Option<String>,
    /// Most CPU it may use, for example `1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(\\\\.[0-9]+)?m?$')").message("cpuLimit must be a quantity such as 500m or 2"))]
    pub cpu_limit: Option<String>,
    /// Memory, reserved and limited, for example `256Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(Mi|Gi)$')").message("memory must be a quantity with a binary unit, such as 256Mi"))]
    pub memory: Option<String>,
    /// Local disk for logs and writable paths, for example `256Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(Mi|Gi)$')").message("ephemeralStorage must be a quantity with a binary unit, such as 256Mi"))]
    pub ephemeral_storage: Option<String>,
}

/// A security rule that a component cannot keep.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Exception {
    /// The rule.
    pub rule: SecurityRule,
    /// Why it cannot be kept; shown in every tenant's status.
    #[schemars(length(min = 10, max = 500))]
    pub reason: String,
}

/// Rules that a component may be excepted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SecurityRule {
    /// Secrets reach it as environment variables instead of files.
    #[default]
    SecretInEnv,
    /// Its root file system is writable.
    WritableRoot,
    /// It connects to the database as the owner of the schema, because it changes the schema while it runs.
    SchemaChangesAtRuntime,
}

/// A value that each tenant gives.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Parameter {
    /// Name.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z][A-Za-z0-9]*$')").message("name must be letters and digits and start with a lower case letter"))]
    pub name: String,
    /// What it is for.
    #[schemars(length(min = 1, max = 500))]
    pub description: String,
    /// Value for tenants that give none. Absent: every tenant must give one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// A secret that is made once per tenant, never per pod, and never shown.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct GeneratedSecret {
    /// Name; `{{ secrets.NAME }}` in templates.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9_]*[a-z0-9])?$')").message("name must be lower case letters, digits and underscores"))]
    pub name: String,
    /// How it is made.
    pub kind: SecretKind,
}

/// How a secret is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SecretKind {
    /// 50 random letters and digits.
    #[default]
    Random,
    /// An RSA-2048 private key, PKCS#8 PEM.
    Rsa,
    /// A private JSON Web Key Set with one RSA-2048 key (RFC 7517), base64.
    Jwks,
}

/// What the application needs from elsewhere.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Dependencies {
    /// A PostgreSQL database; `{{ database.url }}` and its parts in templates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseDependency>,
    /// A cache that speaks the Redis protocol; `{{ cache.url }}` and its parts in templates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheDependency>,
    /// Buckets; `{{ buckets.NAME.endpoint }}` and other parts in templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub buckets: Vec<BucketDependency>,
}

/// A PostgreSQL database.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct DatabaseDependency {
    /// Name of the database. Absent: `his`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z_][a-z0-9_]*$')").message("name must be lower case letters, digits and underscores"))]
    pub name: Option<String>,
    /// URL scheme that the application's driver expects. Absent: `postgresql`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30))]
    pub scheme: Option<String>,
}

/// A cache that speaks the Redis protocol.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct CacheDependency {
    /// Number of the logical database in `{{ cache.url }}`. Absent: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 15))]
    pub index: Option<i32>,
}

/// A bucket.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct BucketDependency {
    /// The application's name for it.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9_]*[a-z0-9])?$')").message("name must be lower case letters, digits and underscores"))]
    pub name: String,
}

/// Steps that run before pods of a version may start.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Lifecycle {
    /// Runs once in the life of a hospital, on an empty database. Must be harmless when repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Step>,
    /// Runs once for every version. Must leave the old version able to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrate: Option<Step>,
}

/// One step: becomes a Job that runs once and is not retried.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Step {
    /// Which of the version's images it runs.
    #[schemars(length(min = 1, max = 63))]
    pub image: String,
    /// Command. Its exit code decides: 0 opens the gate, anything else keeps the old version serving.
    #[schemars(length(min = 1, max = 32))]
    pub command: Vec<String>,
    /// Arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment of this step only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Files of this step only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub files: Vec<File>,
    /// Directories that it writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub writable_paths: Vec<WritablePath>,
    /// Compute resources. Absent: 100m to 1 CPU and 512Mi of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Seconds after which it has failed. Absent: 1800.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400))]
    pub timeout_seconds: Option<i64>,
    /// Security rules that it cannot keep, each with the reason. Counted in every tenant's status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["rule"]))]
    pub exceptions: Vec<Exception>,
}
