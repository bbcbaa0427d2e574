//! What the cluster says of hospitals, reduced to what people look at.

use chrono::{DateTime, Utc};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
    jiff::Timestamp,
};
use kube::ResourceExt;
use serde::Serialize;

use crate::{api::v1alpha1::HospitalTenant, conditions::READY, names};

/// One hospital with what runs for it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hospital {
    /// The custom resource.
    pub tenant: HospitalTenant,
    /// `Deployments` and `StatefulSets`, by name.
    pub workloads: Vec<Workload>,
    /// Warnings about the tenant, newest first.
    pub warnings: Vec<Warning>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

/// Pods of one `Deployment` or `StatefulSet`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// For example `Deployment`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that there should be.
    pub wanted: i32,
    /// Version of the application that it is to run.
    pub version: Option<String>,
}

/// A warning event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// When it was last seen.
    pub at: Option<DateTime<Utc>>,
    /// CamelCase.
    pub reason: String,
    /// Its words.
    pub message: String,
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Name of the hospital.
    pub name: String,
    /// `True`, `False` or `Unknown`.
    pub ready: String,
    /// Version that serves.
    pub version: Option<String>,
    /// Its main host.
    pub host: String,
    /// Reason of Ready.
    pub reason: Option<String>,
    /// When it was created.
    pub created: Option<DateTime<Utc>>,
    /// What keeps it from being Ready.
    pub blocking: Option<String>,
}

/// Whether the newest spec of a hospital is proved to be Ready.
pub fn is_ready(tenant: &HospitalTenant) -> bool {
    let current = |ready: &Condition| ready.observed_generation >= tenant.metadata.generation;
    condition(tenant, READY).is_some_and(|ready| ready.status == "True" && current(ready))
}

/// A condition of a hospital.
pub(in crate::plugin) fn condition<'a>(tenant: &'a HospitalTenant, kind: &str) -> Option<&'a Condition> {
    tenant.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == kind)
}

/// All hospitals, those that need a look first.
pub fn rows(tenants: &[HospitalTenant]) -> Vec<Row> {
    let mut rows: Vec<_> = tenants.iter().map(row).collect();
    rows.sort_by_key(|row| (row.ready == "True", row.name.clone()));
    rows
}

fn row(tenant: &HospitalTenant) -> Row {
    let status = tenant.status.clone().unwrap_or_default();
    let ready = condition(tenant, READY);
    Row {
        name: tenant.name_any(),
        ready: ready.map_or_else(|| "Unknown".to_owned(), |ready| ready.status.clone()),
        version: status.version,
        host: tenant.spec.host.clone(),
        reason: ready.map(|ready| ready.reason.clone()),
        created: tenant.metadata.creation_timestamp.as_ref().and_then(|time| utc(time.0)),
        blocking: status.blocking.map(|blocking| format!("{}: {}", blocking.condition, blocking.message)),
    }
}

/// Kubernetes time as the rest of this crate has it.
pub(in crate::plugin) fn utc(time: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.as_second(), 0)
}

impl From<Deployment> for Workload {
    fn from(live: Deployment) -> Self {
        let ready = live.status.and_then(|status| status.ready_replicas);
        let wanted = live.spec.and_then(|spec| spec.replicas);
        Self::new("Deployment", &live.metadata, ready, wanted)
    }
}

impl From<StatefulSet> for Workload {
    fn from(live: StatefulSet) -> Self {
        let ready = live.status.and_then(|status| status.ready_replicas);
        let wanted = live.spec.and_then(|spec| spec.replicas);
        Self::new("StatefulSet", &live.metadata, ready, wanted)
    }
}

impl Workload {
    fn new(kind: &'static str, metadata: &ObjectMeta, ready: Option<i32>, wanted: Option<i32>) -> Self {
        Self {
            kind,
            name: metadata.name.clone().unwrap_or_default(),
            ready: ready.unwrap_or_default(),
            // As the API server counts when nothing is said.
            wanted: wanted.unwrap_or(1),
            version: metadata.labels.as_ref().and_then(|labels| labels.get(names::APP_VERSION)).cloned(),
        }
    }
}

/// When an event was last seen; the API server has several fields for it, of several ages.
pub(in crate::plugin) fn last_seen(event: &Event) -> Option<DateTime<Utc>> {
    let times = [
        event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0),
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event.metadata.creation_timestamp.as_ref().map(|time| time.0),
    ];
    times.into_iter().flatten().next().and_then(utc)
}

impl From<Event> for Warning {
    fn from(event: Event) -> Self {
        Self {
            at: last_seen(&event),
            reason: event.reason.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        }
    }
}
