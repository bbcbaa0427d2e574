//! One part of an application, and what it may do.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EnvVar, File, Probes};

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

/// How a component changes its version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// All new pods come up beside the old ones; users are led to them at once, when they have passed the gate.
    #[default]
    Atomic,
    /// New pods replace old ones one by one: for a while, both versions answer.
    Rolling,
    /// Old pods end before new ones start.
    Recreate,
}

/// One part of the application: becomes a Deployment, and a second one while a version changes.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("!(has(self.singleton) && self.singleton && has(self.replicas) && (self.replicas.min != 1 || (has(self.replicas.max) && self.replicas.max != 1)))").message("a singleton runs exactly once: remove replicas or set min and max to 1").field_path(".replicas"),
    validation = Rule::new("!(has(self.strategy) && self.strategy == 'atomic' && (!has(self.ports) || size(self.ports) == 0 || (has(self.singleton) && self.singleton)))").message("atomic needs ports to lead users to, and two sets of pods at once: remove strategy from a component without ports and from a singleton").field_path(".strategy"),
    validation = Rule::new("!(has(self.strategy) && self.strategy == 'rolling' && has(self.singleton) && self.singleton)").message("a singleton never runs twice at once: remove strategy").field_path(".strategy"),
    validation = Rule::new("self.role != 'scheduler' || (has(self.singleton) && self.singleton)").message("a scheduler must say singleton: true, otherwise jobs would start twice").field_path(".singleton"),
    validation = Rule::new("!(has(self.drain) && has(self.ports) && size(self.ports) > 0)").message("drain is for a component that nobody is led to, and one with ports waits by itself until nobody is: remove drain or ports").field_path(".drain"),
    validation = Rule::new("!has(self.routes) || size(self.routes) == 0 || (has(self.ports) && size(self.ports) > 0)").message("a component with routes needs the port they lead to: declare it in ports").field_path(".ports"),
    validation = Rule::new("!(has(self.autoscaling) && has(self.singleton) && self.singleton)").message("a singleton runs exactly once, and nobody may add pods to it: remove autoscaling").field_path(".autoscaling"),
    validation = Rule::new("!has(self.autoscaling) || (has(self.singleton) && self.singleton) || (has(self.replicas) && has(self.replicas.max) && self.replicas.max > self.replicas.min)").message("an autoscaler needs room to move: set replicas.max above replicas.min, or remove autoscaling").field_path(".autoscaling")
)]
pub struct Component {
    /// Name, unique within the application.
    #[schemars(length(min = 1, max = 30))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("name must be a DNS label in lower case"), validation = Rule::new("!(self in ['contract', 'database', 'gate', 'init', 'migrate', 'network-probe', 'prober', 'webhook-gate']) && !self.endsWith('-blue') && !self.endsWith('-green')").message("the names contract, database, gate, init, migrate, network-probe, prober and webhook-gate and the endings -blue and -green are used by the operator itself: choose another"))]
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
    /// Lets its load decide how many pods it has, between the number that a tenant gets otherwise and `replicas.max`. Absent:
    /// the number stays as it is, and is put back when somebody changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Never runs twice at the same time, not even while a version changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub singleton: Option<bool>,
    /// How it changes its version. Absent: atomic if it has ports, otherwise recreate. A singleton is always recreated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
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
    /// How it finishes what it has begun before it is asked to end. Absent: with ports, it waits until nobody is led to it any
    /// more; without, it is asked at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Seconds that it may take to end after it was asked to, its drain included. Absent: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub termination_seconds: Option<i64>,
    /// Security rules that it cannot keep, each with the reason. Counted in every tenant's status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["rule"]))]
    pub exceptions: Vec<Exception>,
}

/// What a worker or scheduler does before it is asked to end: when its version changes, or its node is emptied.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Drain {
    /// Program and arguments that stop it from taking more work, and return when the work at hand is done. They run in its
    /// container; no shell is added and no expression replaced. The signal follows, also where they fail.
    #[schemars(length(min = 1, max = 32), inner(length(max = 1000)))]
    pub command: Vec<String>,
}

/// Number of pods.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("!has(self.max) || self.max >= self.min").message("max must not be below min").field_path(".max"))]
pub struct Replicas {
    /// Least number of pods, and what a tenant gets that says nothing.
    #[schemars(range(min = 1, max = 100))]
    pub min: i32,
    /// Greatest number that a tenant may ask for, and that an autoscaler may reach. Absent: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max: Option<i32>,
}

/// How load decides the number of pods. A hospital's quota leaves room for the greatest number, and for it again during a
/// release. Needs a metrics server in the cluster; without one the number stays as it is, and `ReleaseReady` says so.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Autoscaling {
    /// CPU that its pods shall use on average, in percent of what they reserve (`resources.cpu`): above it pods are added,
    /// below it they go, at the earliest after five minutes.
    #[schemars(range(min = 1, max = 100))]
    pub cpu_percent: i32,
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
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]*(Mi|Gi)$')").message("size must be a quantity such as 64Mi"))]
    pub size: Option<String>,
}

/// Compute resources of one container, in Kubernetes quantities. Memory is reserved and limited by the same number.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Resources {
    /// Reserved CPU, for example `100m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(\\\\.[0-9]+)?m?$')").message("cpu must be a quantity such as 100m or 2"))]
    pub cpu: Option<String>,
    /// Most CPU it may use, for example `1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(\\\\.[0-9]+)?m?$')").message("cpuLimit must be a quantity such as 500m or 2"))]
    pub cpu_limit: Option<String>,
    /// Memory, reserved and limited, for example `256Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]*(Mi|Gi)$')").message("memory must be a quantity with a binary unit, such as 256Mi"))]
    pub memory: Option<String>,
    /// Local disk for logs and writable paths, for example `256Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]*(Mi|Gi)$')").message("ephemeralStorage must be a quantity with a binary unit, such as 256Mi"))]
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
