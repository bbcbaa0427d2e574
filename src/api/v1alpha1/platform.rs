//! `HospitalPlatform`: what this cluster offers, and the floors no hospital may go below.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What this cluster offers to hospitals, written by the platform team.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "his-operator.io",
    version = "v1alpha1",
    kind = "HospitalPlatform",
    plural = "hospitalplatforms",
    shortname = "hplat",
    category = "his",
    doc = "What this cluster offers to hospitals (gateway, storage, database images, DNS), and the floors that no hospital may go below. Tenants name a platform; the name `default` is used by those that name none.",
    derive = "PartialEq",
    derive = "Default",
    cel,
    printcolumn(name = "Gateway", type_ = "string", json_path = ".spec.gateway.name"),
    printcolumn(name = "StorageClass", type_ = "string", json_path = ".spec.storage.storageClass"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct HospitalPlatformSpec {
    /// The Gateway (gateway.networking.k8s.io) that hospitals' routes attach to. Without it no hospital is reachable from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<PlatformGateway>,
    /// Where volumes come from. Absent: the cluster's default StorageClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<PlatformStorage>,
    /// Which databases hospitals may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<PlatformDatabase>,
    /// Where the cluster's resolver runs. Absent: pods labelled `k8s-app: kube-dns` in `kube-system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<PlatformDns>,
    /// The cluster's own network. Absent: nobody checks that addresses of servers outside are not the cluster's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<PlatformCluster>,
    /// What the nodes can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<PlatformNodes>,
    /// Versions that hospitals get without naming them, in waves. A hospital follows one with `spec.application.channel`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["application", "name"]))]
    pub channels: Vec<Channel>,
    /// Least that every hospital must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floors: Option<Floors>,
}

/// Brings the versions of one application to the hospitals that follow it.
///
/// A new version comes in waves, by the hospitals' names: a wave begins when every hospital of the one before has it and is
/// Ready. A hospital whose maintenance window is closed, or that is held, keeps nobody waiting and follows later. As soon as
/// one hospital has refused the version no other begins.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Channel {
    /// Name, such as `stable` or `early`; unique among the channels of the application.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("name must be lower case letters, digits and dashes and start with a letter, such as stable"))]
    pub name: String,
    /// Name of the HospitalApplication.
    #[schemars(length(min = 1, max = 253))]
    pub application: String,
    /// One of its versions.
    #[schemars(length(min = 1, max = 40))]
    pub version: String,
    /// How many hospitals go together in the first, the second … wave; the last number is repeated. Absent: 1, 5, 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 1, max = 1000)))]
    pub waves: Vec<i32>,
}

/// A Gateway and the pods behind it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("!has(self.inside) || has(self.inside.authorities) == (!(has(self.public) && self.public.scheme == 'http') || (has(self.inside.listeners) && self.inside.listeners.exists(l, l.scheme == 'https')))").message("inside needs authorities where users come over https, and has none where they come over http alone: write the certificate of the authority that certifies the listener").field_path(".inside"))]
pub struct PlatformGateway {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Gateway.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Listener to attach to. Absent: every listener that allows the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Namespace of the pods that forward the traffic (Envoy); only these may reach the hospitals' public components.
    #[schemars(length(min = 1, max = 63))]
    pub pods_namespace: String,
    /// Labels of these pods. Absent: every pod of that namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Scheme and port that users see, for example `https://` and no port. Absent: https on 443.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<PublicAddress>,
    /// How pods of the cluster reach the listener, so that releases can be watched through it as users see them. Absent:
    /// releases are not watched, and their history does not say how many requests failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inside: Option<InsideAddress>,
}

impl PlatformGateway {
    /// Whether users come over TLS.
    pub fn is_https(&self) -> bool {
        self.public.as_ref().is_none_or(|public| public.scheme == "https")
    }
}

/// How the Gateway is reached from inside of the cluster, as users reach it from outside: over HTTPS, or in plain HTTP where
/// `public` says so.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct InsideAddress {
    /// Name of the Service before the Gateway's pods, in `podsNamespace`.
    #[schemars(length(min = 1, max = 63))]
    pub service: String,
    /// Port of that Service that leads to the listener of the hospitals.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Port of the Gateway's pods behind it: network policies see this one.
    #[schemars(range(min = 1, max = 65535))]
    pub pod_port: i32,
    /// Certificates (PEM) of the authorities that certify the listener for the hospitals' hosts. Who answers with another
    /// certificate counts as a failed request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    #[x_kube(validation = Rule::new("self.contains('-----BEGIN CERTIFICATE-----') && !self.contains('PRIVATE KEY')").message("authorities must be PEM certificates, and no private key may be among them"))]
    pub authorities: Option<String>,
    /// Further listeners through which users come to the hospitals. Releases are watched through all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub listeners: Vec<InsideListener>,
}

/// A further listener of the Gateway, as pods reach it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("self.scheme in ['http', 'https']").message("scheme must be http or https").field_path(".scheme"))]
pub struct InsideListener {
    /// `https` or `http`.
    pub scheme: String,
    /// Port of the Gateway's Service that leads to it.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Port of the Gateway's pods behind it.
    #[schemars(range(min = 1, max = 65535))]
    pub pod_port: i32,
}

/// How the Gateway is seen from outside.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel, validation = Rule::new("self.scheme in ['http', 'https']").message("scheme must be http or https").field_path(".scheme"))]
pub struct PublicAddress {
    /// `https`, or `http` for a demonstration on one machine.
    pub scheme: String,
    /// TCP port that users connect to.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// Where volumes come from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct PlatformStorage {
    /// StorageClass for the volumes of hospitals.
    #[schemars(length(min = 1, max = 253))]
    pub storage_class: String,
}

/// Which databases hospitals may use.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct PlatformDatabase {
    /// Image of plain PostgreSQL 15 to 18 for the Embedded mode, by digest. Without it no hospital may choose Embedded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    #[x_kube(validation = Rule::new("self.matches('@sha256:[0-9a-f]{64}$')").message("embeddedImage must end in @sha256: and 64 hex digits; a tag can change under a hospital: write the digest"))]
    pub embedded_image: Option<String>,
    /// Image for CloudNativePG clusters, by digest. Absent: the CloudNativePG operator's own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    #[x_kube(validation = Rule::new("self.matches('@sha256:[0-9a-f]{64}$')").message("cloudNativePgImage must end in @sha256: and 64 hex digits; a tag can change under a hospital: write the digest"))]
    pub cloud_native_pg_image: Option<String>,
    /// Addresses of the API server as pods reach it, as CIDR. Instances of CloudNativePG need them, because everything
    /// that is not declared is denied; without them no hospital may choose CloudNativePG.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c) && !c.endsWith('/0'))").message("every entry of apiServerCidrs must be a CIDR such as 192.0.2.10/32 and may not cover the whole internet"))]
    pub api_server_cidrs: Vec<String>,
    /// Port of the API server as pods reach it, after the Service. Absent: 6443.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub api_server_port: Option<i32>,
}

/// The cluster's resolver.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct PlatformDns {
    /// Namespace of the resolver's pods.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Labels of the resolver's pods; at least one.
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("size(self) > 0").message("podLabels must name at least one label, otherwise every pod of the namespace counts as the resolver"))]
    pub pod_labels: BTreeMap<String, String>,
    /// Container port of the resolver. Absent: 53. (A Service may map 53 to another port; policies see the pod's.)
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Addresses of a cache on every node (NodeLocal DNSCache) that pods ask first, on port 53, such as 169.254.20.10/32. Absent:
    /// there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c) && (c.endsWith('/32') || c.endsWith('/128')))").message("every entry of nodeLocal must be one address as CIDR, such as 169.254.20.10/32"))]
    pub node_local: Vec<String>,
}

/// The cluster's own network.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct PlatformCluster {
    /// Addresses of pods and Services, as CIDR. What a hospital calls a server outside of the cluster may not be among them.
    #[schemars(length(min = 1, max = 16), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c) && !c.endsWith('/0'))").message("every entry of cidrs must be a CIDR such as 10.244.0.0/16 and may not cover the whole internet"))]
    pub cidrs: Vec<String>,
}

/// What the nodes can do.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct PlatformNodes {
    /// Every node runs pods in user namespaces (KEP-127): root in a pod is nobody on the node. Absent: not assumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_namespaces: Option<bool>,
}

/// Least that every hospital must have.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct Floors {
    /// Replicas of every component that is not a singleton. Absent: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<i32>,
    /// Database modes that a hospital may choose. Absent: all that the platform can serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub database_modes: Vec<DatabaseMode>,
}

/// Who runs the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub enum DatabaseMode {
    /// One instance run by this operator: demonstrations and small clinics.
    Embedded,
    /// A highly available cluster run by the CloudNativePG operator.
    CloudNativePG,
    /// A database run by somebody else.
    External,
}
