//! `HospitalTenant`: one hospital.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{EgressFlow, HospitalTenantStatus, ReleaseSpec, Resources, WebhooksSpec};

/// One hospital: which application and version, under which hosts, how large, and what differs from the secure defaults.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "his-operator.io",
    version = "v1alpha1",
    kind = "HospitalTenant",
    plural = "hospitaltenants",
    shortname = "ht",
    category = "his",
    status = "HospitalTenantStatus",
    doc = "One hospital: which application and version, under which hosts, how large, and what differs from the secure defaults. Deleting it stops the application and keeps all data.",
    derive = "PartialEq",
    derive = "Default",
    cel,
    validation = Rule::new("size(self.metadata.name) <= 40").message("metadata.name may have at most 40 characters, because names of Kubernetes objects are made from it: choose a shorter name"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be lower case letters, digits and dashes and start with a letter, because the namespace is named after it: choose a name without dots"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Relaxed", type_ = "string", json_path = ".status.relaxations[*].what", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct HospitalTenantSpec {
    /// Name of the HospitalPlatform. Absent: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub platform: Option<String>,
    /// The application and the version of it that this hospital runs.
    pub application: ApplicationRef,
    /// DNS name of the hospital. Every other setting of the application that depends on it is derived.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?)(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$')").message("host must be a DNS name in lower case with at least two labels, such as st-elsewhere.example.org, without scheme, port or wildcard"))]
    pub host: String,
    /// Further DNS names that lead to the same hospital.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 15), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new("self.all(h, h.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?)(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$'))").message("every entry of additionalHosts must be a DNS name in lower case with at least two labels, without scheme, port or wildcard"))]
    pub additional_hosts: Vec<String>,
    /// Values for the parameters that the application declares.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Sizes of single components, where they differ from the application's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub components: Vec<ComponentSize>,
    /// Generated secrets. Absent: none was ever rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSpec>,
    /// Upper bounds of the hospital's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationSpec>,
    /// Who may talk to whom. Absent: nothing but what the application declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSpec>,
    /// Servers outside that the application calls by name over HTTPS. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<WebhooksSpec>,
    /// The database. Absent: a CloudNativePG cluster of three instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseSpec>,
    /// Services outside of the hospital's namespace that the application depends on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bindings: Option<Bindings>,
    /// How a new version comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseSpec>,
    /// The way in from outside. Absent: the hosts are routed by the platform's Gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeSpec>,
    /// Take over the data that a deleted tenant left in this tenant's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adopt>,
}

/// Application and version.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.version) != has(self.channel)").message("application needs exactly one of version and channel: name the version yourself, or the channel of the platform that brings it").field_path(".version")
)]
pub struct ApplicationRef {
    /// Name of the HospitalApplication.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// One of its versions: the hospital stays with it whatever the platform's channels bring.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub version: Option<String>,
    /// Channel of the platform that brings this application's versions, such as `stable`: the hospital takes a new one when
    /// its turn comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub channel: Option<String>,
}

/// Size of one component in this hospital.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct ComponentSize {
    /// Name of the component in the HospitalApplication.
    #[schemars(length(min = 1, max = 30))]
    pub name: String,
    /// Number of pods; where an autoscaler decides, the least. Absent: the application's minimum.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<i32>,
    /// Compute resources. Absent: the application's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// Generated secrets of one hospital.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct CredentialsSpec {
    /// Generation of each secret that was rotated, by the application's name for it; what is absent is in its first. One more
    /// makes a new value, which comes in with a release of the version that serves; one less goes back to the old value, which
    /// is kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(name, self[name] >= 1 && self[name] <= 10000)").message("every entry of rotations must be a generation from 1 to 10000: raise the one in use by 1 to rotate the secret"))]
    pub rotations: BTreeMap<String, i32>,
}

/// Upper bounds of the hospital's namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct IsolationSpec {
    /// Quota of the namespace. Absent: three times what all components and the database ask for, so that a surge fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// Quota of a namespace, in Kubernetes quantities.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Quota {
    /// Sum of CPU limits, for example `16`.
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(\\\\.[0-9]+)?m?$')").message("cpu must be a quantity such as 500m or 16"))]
    pub cpu: String,
    /// Sum of memory limits, for example `64Gi`.
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+(\\\\.[0-9]+)?(Ki|Mi|Gi|Ti)$')").message("memory must be a quantity with a binary unit, such as 64Gi"))]
    pub memory: String,
    /// Number of pods.
    #[schemars(range(min = 1, max = 5000))]
    pub pods: i32,
}

/// Who may talk to whom.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct NetworkSpec {
    /// Connections to servers outside of the cluster, beside those that `bindings` and `database` name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub egress: Vec<EgressFlow>,
    /// Switches the default deny off, for a limited time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off: Option<Off>,
}

/// Switches a control off: never without a reason, never without an end.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Off {
    /// Why; shown in status for as long as it holds.
    #[schemars(length(min = 10, max = 500))]
    pub reason: String,
    /// Until when (RFC 3339). After that the control is on again without anybody doing anything.
    #[schemars(extend("format" = "date-time"))]
    pub until: String,
}

/// The database of one hospital.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("(has(self.embedded) ? 1 : 0) + (has(self.cloudNativePG) ? 1 : 0) + (has(self.external) ? 1 : 0) == 1").message("database needs exactly one of embedded, cloudNativePG, external: keep the one that holds this hospital's data"),
    validation = Rule::new("has(self.embedded) == has(oldSelf.embedded) && has(self.external) == has(oldSelf.external)").message("the database mode cannot change on a running hospital, because nothing would move the data: restore a backup into a new tenant instead")
)]
pub struct DatabaseSpec {
    /// One instance run by this operator: demonstrations and small clinics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedDatabase>,
    /// A highly available cluster run by the CloudNativePG operator.
    #[serde(rename = "cloudNativePG", skip_serializing_if = "Option::is_none")]
    pub cloud_native_pg: Option<CloudNativePgDatabase>,
    /// A database run by somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalDatabase>,
}

/// One PostgreSQL instance.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct EmbeddedDatabase {
    /// Size of its volume. Absent: 10Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]*(Mi|Gi|Ti)$')").message("storage must be a quantity with a binary unit, such as 10Gi"))]
    pub storage: Option<String>,
    /// Compute resources. Absent: 250m to 1 CPU and 512Mi of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// A CloudNativePG cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct CloudNativePgDatabase {
    /// Number of instances. Absent: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9))]
    pub instances: Option<i32>,
    /// Size of each volume. Absent: 10Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]*(Mi|Gi|Ti)$')").message("storage must be a quantity with a binary unit, such as 10Gi"))]
    pub storage: Option<String>,
}

/// A database run by somebody else.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct ExternalDatabase {
    /// DNS name or address of the server; its certificate must be valid for it.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// TCP port. Absent: 5432.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Name of the database.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Addresses of the server, as CIDR: the only ones outside the cluster that the application may reach for it.
    #[schemars(length(min = 1, max = 16), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))").message("every entry of cidrs must be a CIDR such as 192.0.2.10/32"), validation = Rule::new("self.all(c, !c.endsWith('/0'))").message("cidrs may not cover the whole internet: name the addresses of the database server"))]
    pub cidrs: Vec<String>,
    /// Secret in the hospital's namespace for the application: keys `username`, `password` and `ca.crt`.
    #[schemars(length(min = 1, max = 253))]
    pub app_secret: String,
    /// Secret in the hospital's namespace for migrations, which change the schema: same keys. Absent: `appSecret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub owner_secret: Option<String>,
}

/// Services that the application depends on and that somebody else runs.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Bindings {
    /// Cache (Redis protocol) for an application that declares one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheBinding>,
    /// Buckets for an application that declares them, by the application's name for each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub buckets: BTreeMap<String, BucketBinding>,
}

/// A cache that speaks the Redis protocol.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct CacheBinding {
    /// DNS name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// TCP port. Absent: 6379.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Addresses of the server, as CIDR.
    #[schemars(length(min = 1, max = 16), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c) && !c.endsWith('/0'))").message("every entry of cidrs must be a CIDR such as 192.0.2.10/32 and may not cover the whole internet"))]
    pub cidrs: Vec<String>,
    /// Secret in the hospital's namespace: key `password`.
    #[schemars(length(min = 1, max = 253))]
    pub secret: String,
}

/// A bucket of an S3 object store.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("self.endpoint.startsWith('https://')").message("endpoint must start with https://: patient files never travel in the clear").field_path(".endpoint"))]
pub struct BucketBinding {
    /// Base URL of the store.
    #[schemars(length(min = 9, max = 253))]
    pub endpoint: String,
    /// Name of the bucket.
    #[schemars(length(min = 3, max = 63))]
    pub name: String,
    /// Region. Absent: `us-east-1`, as stores without regions expect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Addresses of the store, as CIDR.
    #[schemars(length(min = 1, max = 16), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c) && !c.endsWith('/0'))").message("every entry of cidrs must be a CIDR such as 192.0.2.10/32 and may not cover the whole internet"))]
    pub cidrs: Vec<String>,
    /// Secret in the hospital's namespace: keys `accessKeyId` and `secretAccessKey`.
    #[schemars(length(min = 1, max = 253))]
    pub secret: String,
}

/// The way in from outside.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct EdgeSpec {
    /// Takes the hospital off the platform's Gateway, for a limited time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off: Option<Off>,
}

/// Consent to take over retained data.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Adopt {
    /// UID of the deleted tenant, as written in the annotation `his-operator.io/tenant-uid` of the namespace.
    #[schemars(length(min = 36, max = 36))]
    pub tenant_uid: String,
}
