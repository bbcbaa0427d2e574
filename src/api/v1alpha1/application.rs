//! `HospitalApplication`: topology of one hospital information system.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Component, Exception, Resources, WritablePath};

/// Topology of one hospital information system, written by the application team.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "his-operator.io",
    version = "v1alpha1",
    kind = "HospitalApplication",
    plural = "hospitalapplications",
    shortname = "happ",
    category = "his",
    doc = "Topology of one hospital information system: versions with images by digest, components, probes, lifecycle steps, generated secrets and dependencies. Texts may contain {{ expressions }}, see the template reference.",
    derive = "PartialEq",
    derive = "Default",
    cel,
    validation = Rule::new("!has(self.spec.lifecycle) || !has(self.spec.lifecycle.contract) || self.spec.versions.all(v, has(v.schema))").message("an application with a contract step needs schema on every version: it says which versions can run after it").field_path(".spec.versions"),
    printcolumn(name = "Title", type_ = "string", json_path = ".spec.title"),
    printcolumn(name = "Versions", type_ = "string", json_path = ".spec.versions[*].version"),
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
    /// Secrets that are made once per tenant, available as `{{ secrets.NAME }}`; as `{{ previousSecrets.NAME }}` the value before
    /// the last rotation (the same, if there was none), for what was signed or encrypted with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub secrets: Vec<GeneratedSecret>,
    /// What the application needs from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Dependencies>,
    /// Steps that prepare and clean up the data of a version.
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
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 300}))]
    #[x_kube(validation = Rule::new("size(self) > 0 && self.all(k, self[k].matches('@sha256:[0-9a-f]{64}$'))").message("every image must end in @sha256: and 64 hex digits; a tag can change under a hospital: write the digest"))]
    pub images: BTreeMap<String, String>,
    /// Number of the database schema that it runs on. Versions with a smaller number cannot run after this one's contract
    /// step. Needed by every version of an application that has a contract step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub schema: Option<i64>,
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
    /// Servers outside that it calls by name over HTTPS; `{{ webhooks.proxy }}` and `{{ webhooks.noProxy }}` in templates, for
    /// `HTTPS_PROXY` and `NO_PROXY`. Only what names one of them in its texts may reach the gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<WebhooksDependency>,
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

/// Calls to servers outside, through the hospital's gate.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct WebhooksDependency {
    /// It also runs in a hospital that lists no host: there `{{ webhooks.proxy }}` is empty, which clients take for no proxy,
    /// and every call to the outside is denied. Absent: such a hospital is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
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

/// Steps that prepare and clean up the data of a version.
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
    /// Runs once for a version that serves alone, after a person has approved it by `spec.release.contract` of the tenant.
    /// Removes what versions with a smaller `schema` need: after it, none of them can run any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<Step>,
}

impl Lifecycle {
    /// The steps that there are, by the name of their field.
    pub fn steps(&self) -> impl Iterator<Item = (&'static str, &Step)> {
        let all = [("init", &self.init), ("migrate", &self.migrate), ("contract", &self.contract)];
        all.into_iter().filter_map(|(name, step)| Some((name, step.as_ref()?)))
    }
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
    /// When it fails, the last lines of its log are told in the condition and the event. Only for a step whose log never names
    /// patients: conditions and events are read by many and kept elsewhere. What looks like a secret is taken out. Absent: its
    /// log stays in its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tell_last_lines: Option<bool>,
    /// Security rules that it cannot keep, each with the reason. Counted in every tenant's status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["rule"]))]
    pub exceptions: Vec<Exception>,
}
