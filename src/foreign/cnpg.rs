//! CloudNativePG `Cluster` (`postgresql.cnpg.io/v1`), <https://cloudnative-pg.io/documentation/current/cloudnative-pg.v1/>.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

/// A cluster of PostgreSQL instances.
#[derive(Clone, Debug, Serialize)]
pub struct Cluster {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Spec.
    pub spec: ClusterSpec,
}

/// Spec of a cluster.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// Number of instances.
    pub instances: i32,
    /// Image by digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// Volumes.
    pub storage: Storage,
    /// How the first instance is made.
    pub bootstrap: Bootstrap,
    /// Roles that are kept.
    pub managed: Managed,
    /// Whether `postgres` may log in over the network.
    pub enable_superuser_access: bool,
    /// Server settings.
    pub postgresql: Postgresql,
    /// Compute resources of each instance.
    pub resources: Amounts,
    /// Placement.
    pub affinity: Affinity,
    /// Labels of everything that CloudNativePG makes.
    pub inherited_metadata: Inherited,
}

/// Volumes of the instances.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of each.
    pub size: String,
    /// StorageClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

/// How the first instance is made.
#[derive(Clone, Debug, Serialize)]
pub struct Bootstrap {
    /// With an empty database.
    pub initdb: InitDb,
}

/// An empty database.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InitDb {
    /// Its name.
    pub database: String,
    /// Its owner.
    pub owner: String,
    /// The owner's login.
    pub secret: SecretName,
    /// Checksums on pages.
    pub data_checksums: bool,
    /// Run in `postgres`.
    #[serde(rename = "postInitSQL")]
    pub post_init_sql: Vec<String>,
    /// Run in the database.
    #[serde(rename = "postInitApplicationSQL")]
    pub post_init_application_sql: Vec<String>,
}

/// Roles that are kept.
#[derive(Clone, Debug, Serialize)]
pub struct Managed {
    /// The roles.
    pub roles: Vec<ManagedRole>,
}

/// A role that is kept.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedRole {
    /// Its name.
    pub name: String,
    /// `present`.
    pub ensure: String,
    /// Whether it may log in.
    pub login: bool,
    /// Its login.
    pub password_secret: SecretName,
    /// Roles that it is a member of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_roles: Vec<String>,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, Serialize)]
pub struct SecretName {
    /// Its name.
    pub name: String,
}

/// Server settings.
#[derive(Clone, Debug, Serialize)]
pub struct Postgresql {
    /// `postgresql.conf`.
    pub parameters: BTreeMap<String, String>,
    /// Lines before CloudNativePG's own in `pg_hba.conf`.
    pub pg_hba: Vec<String>,
}

/// Placement of the instances.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Affinity {
    /// `preferred` or `required`.
    pub pod_anti_affinity_type: String,
    /// Node label that instances should differ in.
    pub topology_key: String,
}

/// Labels of everything that CloudNativePG makes.
#[derive(Clone, Debug, Serialize)]
pub struct Inherited {
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

/// Compute resources.
#[derive(Clone, Debug, Serialize)]
pub struct Amounts {
    /// Reserved.
    pub requests: BTreeMap<String, String>,
    /// Most.
    pub limits: BTreeMap<String, String>,
}
