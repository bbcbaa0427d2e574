//! Every name that leaves the process: API group, labels, annotations, finalizers, field managers.
//!
//! Frozen from the first release (`tests/golden.rs`): renaming one of these orphans what earlier versions wrote.

/// API group of all custom resources.
pub const GROUP: &str = "his-operator.io";
/// Served and stored version of all custom resources.
pub const VERSION: &str = "v1alpha1";
/// Name of the product; value of `app.kubernetes.io/managed-by` on everything it writes.
pub const PRODUCT: &str = "his-operator";

/// Who manages an object (<https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>).
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The component of the hospital's application that an object belongs to.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// The release that a pod runs. Informative: never part of a selector.
pub const APP_VERSION: &str = "app.kubernetes.io/version";
/// The tenant that an object belongs to. On a Namespace it opens that namespace to the operator.
pub const TENANT: &str = "his-operator.io/tenant";
/// The capability that renders an object.
pub const CAPABILITY: &str = "his-operator.io/capability";

/// Which of the two copies of a component a pod is. The only part of a selector that differs between them.
pub const COLOUR: &str = "his-operator.io/colour";
/// Response header of the route with the colour that answers; the prober reads it.
pub const COLOUR_HEADER: &str = "his-colour";
/// Digest of the release that a Deployment was made for.
pub const RELEASE: &str = "his-operator.io/release";

/// Marks pods of the agent whose termination message is a report
/// (<https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>).
pub const REPORTS: &str = "his-operator.io/reports";

/// A condition of a pod that nobody ever sets. A pod that waits for it is never ready and gets no traffic from any Service
/// (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-readiness-gate>).
pub const TAKES_TRAFFIC: &str = "his-operator.io/takes-traffic";

/// Marks objects that hold patient data or what is needed to read it: never pruned, never deleted by the operator.
pub const RETAIN: &str = "his-operator.io/retain";

/// UID of the owning tenant, on every object. Data-bearing objects have no other owner.
pub const TENANT_UID: &str = "his-operator.io/tenant-uid";
/// Digest of the object as last rendered; a difference means that the object must be applied again.
pub const DESIRED: &str = "his-operator.io/desired";
/// RFC 3339 time until which a tenant is not reconciled. A pause without an end does not exist.
pub const PAUSE_UNTIL: &str = "his-operator.io/pause-until";
/// Why a tenant is paused; shown in status.
pub const PAUSE_REASON: &str = "his-operator.io/pause-reason";

/// Held on a tenant until its workload is gone and what stays is written down.
pub const FINALIZER: &str = "his-operator.io/retain-data";
/// Held on generated Secrets: a deleted credential is restored with its old value instead of replaced.
pub const KEEP_FINALIZER: &str = "his-operator.io/keep-credential";
/// What the name of a deleted Secret's copy ends in, until the Secret is back.
pub const RESCUE: &str = ".rescue";

/// Field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "his-operator";
/// The only ClusterRole that the operator may bind, and only to itself, in tenant namespaces.
pub const TENANT_ROLE: &str = "his-operator-tenant";
/// PriorityClass of hospitals' pods, installed by the chart.
pub const PRIORITY_CLASS: &str = "his-hospital";
/// The platform of tenants that name none.
pub const DEFAULT_PLATFORM: &str = "default";

/// Namespace that belongs to no hospital, from which pods without a token try what hospitals must refuse; installed by the
/// chart, and nothing else is in it. No hospital's namespace can have this name.
pub const PROBES: &str = "hospital-probes";

/// Namespace of a tenant.
pub fn namespace(tenant: &str) -> String {
    format!("his-{tenant}")
}
