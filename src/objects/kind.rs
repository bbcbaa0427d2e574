//! The Kubernetes kinds that the operator writes, each declared once.
//!
//! A [`Kind`] carries what RBAC, watches, prune and retention need to know, so that no second list exists.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
};

use kube::core::{ApiResource, GroupVersionKind};

/// Where objects of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One name per cluster.
    Cluster,
    /// One name per namespace.
    Namespaced,
}

/// What happens to objects of a kind when they are no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Retention {
    /// Removed when no longer rendered.
    Workload,
    /// Holds patient data or what is needed to read it. The operator has no right to delete it.
    Data,
}

/// Who is allowed to watch a kind, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watch {
    /// One watch for the whole cluster, by label.
    Cluster,
    /// One watch per tenant namespace, metadata only: the operator may not list it anywhere else.
    TenantMetadata,
}

/// One Kubernetes kind that a capability writes. Two of these are equal when group and kind are: how long one object
/// is kept is written on the object (see [`crate::names::RETAIN`]), so that it can be told from the live object alone.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version that is written.
    pub version: &'static str,
    /// CamelCase kind.
    pub kind: &'static str,
    /// Resource name in URLs and RBAC.
    pub plural: &'static str,
    /// Cluster or namespace.
    pub scope: Scope,
    /// Prune and delete behaviour.
    pub retention: Retention,
    /// How it is watched.
    pub watch: Watch,
    /// Name of the CRD when the kind is not built in; absent means that every API server serves it.
    pub crd: Option<&'static str>,
    /// JSON pointers of what others change all the time and nobody here reads. It is not kept, so that it wakes nobody.
    pub unread: &'static [&'static str],
    /// Why the operator needs it: printed beside its RBAC rule.
    pub reason: &'static str,
}

impl Kind {
    /// What the dynamic client needs to address this kind.
    pub fn api_resource(&self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&gvk, self.plural)
    }

    /// `v1` or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether one field more than desired opens what was closed.
    pub fn is_exact(&self) -> bool {
        [NETWORK_POLICY, CILIUM_NETWORK_POLICY, ROLE_BINDING].contains(self)
    }

    const fn workload(group: &'static str, kind: &'static str, plural: &'static str, reason: &'static str) -> Self {
        Self {
            group,
            version: "v1",
            kind,
            plural,
            scope: Scope::Namespaced,
            retention: Retention::Workload,
            watch: Watch::Cluster,
            crd: None,
            unread: &[],
            reason,
        }
    }

    const fn data(self) -> Self {
        Self { retention: Retention::Data, ..self }
    }

    const fn cluster_scoped(self) -> Self {
        Self { scope: Scope::Cluster, ..self }
    }

    const fn metadata_only(self) -> Self {
        Self { watch: Watch::TenantMetadata, ..self }
    }

    const fn at_version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    const fn without(self, unread: &'static [&'static str]) -> Self {
        Self { unread, ..self }
    }

    const fn foreign(self, crd: &'static str) -> Self {
        Self { crd: Some(crd), ..self }
    }
}

impl Kind {
    const fn identity(&self) -> (&'static str, &'static str) {
        (self.group, self.kind)
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Kind {}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

/// One entry per group and kind. Where two declarations share one (records that must outlive the workload are ConfigMaps),
/// what is removed with the workload names it: deletion of the other is refused by retention, not by its address.
pub fn distinct(kinds: impl IntoIterator<Item = Kind>) -> Vec<Kind> {
    let mut distinct = BTreeMap::new();
    for kind in kinds {
        let known = distinct.entry(kind).or_insert(kind);
        if kind.retention < known.retention {
            *known = kind;
        }
    }
    distinct.into_values().collect()
}

/// The tenant's own namespace.
pub const NAMESPACE: Kind =
    Kind::workload("", "Namespace", "namespaces", "one namespace per hospital, with Pod Security labels")
        .data()
        .cluster_scoped();
/// Upper bound on what one hospital may use.
pub const RESOURCE_QUOTA: Kind = Kind::workload("", "ResourceQuota", "resourcequotas", "no hospital starves another");
/// Defaults for containers that say nothing.
pub const LIMIT_RANGE: Kind =
    Kind::workload("", "LimitRange", "limitranges", "no container without requests and limits");
/// Identity of one workload.
pub const SERVICE_ACCOUNT: Kind =
    Kind::workload("", "ServiceAccount", "serviceaccounts", "one identity per workload, none shared");
/// The operator's own entry into a tenant namespace.
pub const ROLE_BINDING: Kind = Kind::workload(
    "rbac.authorization.k8s.io",
    "RoleBinding",
    "rolebindings",
    "the operator's rights are granted per hospital namespace, by binding one ClusterRole to itself",
)
.data();
/// Allowed traffic.
pub const NETWORK_POLICY: Kind =
    Kind::workload("networking.k8s.io", "NetworkPolicy", "networkpolicies", "default deny and the declared flows");
/// Configuration without secrets.
pub const CONFIG_MAP: Kind = Kind::workload("", "ConfigMap", "configmaps", "configuration files without secrets");
/// Records that must outlive the workload (what was initialised, what was kept).
pub const LEDGER: Kind = Kind::workload("", "ConfigMap", "configmaps", "record of finished lifecycle jobs").data();
/// Generated credentials.
pub const SECRET: Kind =
    Kind::workload("", "Secret", "secrets", "generated credentials, written once and never read back")
        .data()
        .metadata_only();
/// The policy that denies all traffic; stays for as long as the namespace does.
pub const DEFAULT_DENY: Kind =
    Kind::workload("networking.k8s.io", "NetworkPolicy", "networkpolicies", "default deny and the declared flows")
        .data();
/// Storage of the database.
pub const PERSISTENT_VOLUME_CLAIM: Kind =
    Kind::workload("", "PersistentVolumeClaim", "persistentvolumeclaims", "patient data of the embedded database")
        .data();
/// Stable address of a component.
pub const SERVICE: Kind = Kind::workload("", "Service", "services", "stable addresses of components, ClusterIP only");
/// Embedded database.
pub const STATEFUL_SET: Kind = Kind::workload("apps", "StatefulSet", "statefulsets", "the embedded database");
/// Components of the application.
pub const DEPLOYMENT: Kind = Kind::workload("apps", "Deployment", "deployments", "components of the application");
/// Init and migrate steps.
pub const JOB: Kind = Kind::workload("batch", "Job", "jobs", "init and migration steps that gate a release");
/// Eviction limits.
pub const POD_DISRUPTION_BUDGET: Kind =
    Kind::workload("policy", "PodDisruptionBudget", "poddisruptionbudgets", "a node drain never stops a component");
/// Number of pods by load.
pub const HORIZONTAL_POD_AUTOSCALER: Kind = Kind::workload(
    "autoscaling",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    "the load of a component decides how many pods it has, where its application says so",
)
.at_version("v2")
.without(&["/status/currentMetrics", "/status/currentReplicas", "/status/desiredReplicas", "/status/lastScaleTime"]);
/// Public route (Gateway API).
pub const HTTP_ROUTE: Kind = Kind::workload(
    "gateway.networking.k8s.io",
    "HTTPRoute",
    "httproutes",
    "the hospital's hosts on the platform's Gateway",
)
.foreign("httproutes.gateway.networking.k8s.io");
/// Allowed traffic to servers with DNS names (Cilium).
pub const CILIUM_NETWORK_POLICY: Kind = Kind::workload(
    "cilium.io",
    "CiliumNetworkPolicy",
    "ciliumnetworkpolicies",
    "servers outside that a hospital names by DNS name, where Cilium can follow the names",
)
.at_version("v2")
.without(&["/status"])
.foreign("ciliumnetworkpolicies.cilium.io");
/// HA database (CloudNativePG).
pub const CNPG_CLUSTER: Kind =
    Kind::workload("postgresql.cnpg.io", "Cluster", "clusters", "highly available database run by CloudNativePG")
        .data()
        .foreign("clusters.postgresql.cnpg.io");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_declared_twice_counts_once_and_as_workload() {
        let [kind] = distinct([LEDGER, CONFIG_MAP])[..] else { panic!("not one kind") };
        assert_eq!(kind.retention, Retention::Workload);
        let [kind] = distinct([NETWORK_POLICY, DEFAULT_DENY])[..] else { panic!("not one kind") };
        assert_eq!(kind.retention, Retention::Workload);
    }
}
