//! Status shared by all kinds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NetworkStatus, ReleaseStatus};

/// What the operator has observed of a hospital.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HospitalTenantStatus {
    /// Generation of the spec that the rest of this status is about.
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled (kstatus), and one condition per capability. True means proved by observation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Namespace that holds the hospital.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Version that serves users now. During or after a failed upgrade this is the old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The release that serves, the one that is coming in, and what became of the last ones.
    #[serde(default, skip_serializing_if = "ReleaseStatus::is_empty")]
    pub release: ReleaseStatus,
    /// Who may connect to whom; everything else is denied.
    #[serde(default, skip_serializing_if = "NetworkStatus::is_empty")]
    pub network: NetworkStatus,
    /// Address of the hospital for its users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What keeps the hospital from being Ready, and what to do about it; absent when nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocking: Option<Blocking>,
    /// Security defaults that are relaxed for this hospital, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relaxations: Vec<Relaxation>,
    /// Lifecycle jobs that have ended, newest first (at most 20).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<FinishedJob>,
    /// Set while reconciliation is paused: until when (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<String>,
}

/// The one thing to look at first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blocking {
    /// Condition that is not True.
    pub condition: String,
    /// Its reason.
    pub reason: String,
    /// What is wrong.
    pub message: String,
    /// What a person should do next.
    pub next: String,
}

/// A security default that does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Relaxation {
    /// What is relaxed: a capability, or `component/exception`.
    pub what: String,
    /// Why, as written in the spec.
    pub reason: String,
    /// When it ends (RFC 3339); absent for what the application itself needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// A lifecycle job that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FinishedJob {
    /// Name of the Job; the same step with the same image and attempt always has the same name.
    pub name: String,
    /// `Succeeded` or `Failed`.
    pub result: JobResult,
    /// Version of the application it ran for.
    pub version: String,
}

/// How a lifecycle job ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JobResult {
    /// It did what it had to.
    #[default]
    Succeeded,
    /// It did not; what served before still serves.
    Failed,
}
