//! What is there: one tenant's view of the cluster, read from caches in a single pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use kube::core::DynamicObject;
use serde_json::Value;

use super::{Kind, Ref};
use crate::api::v1alpha1::{HospitalApplication, HospitalPlatform, NetworkGap};

/// Something that keeps a pod from running, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Value of the pod's component label.
    pub component: String,
    /// Name of the pod.
    pub pod: String,
    /// The kubelet's or scheduler's reason, for example `ImagePullBackOff`.
    pub reason: String,
    /// Its message, shortened; never log output.
    pub message: String,
}

/// What a program of ours that ran to its end has to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Report {
    /// Name of the Job that it ran for.
    pub job: String,
    /// Name of its container.
    pub container: String,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// JSON, as its program wrote it.
    pub text: String,
}

/// What somebody else did to a `NetworkPolicy`, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// It went, and not by us.
    Gone {
        /// When that was seen.
        seen: DateTime<Utc>,
        /// Whether a watch told it at once; otherwise it was found when a watch began again.
        watched: bool,
        /// Its UID.
        uid: Option<String>,
        /// Its generation until then, which grows with each change of the spec.
        generation: Option<i64>,
    },
    /// Its spec was written, to something else than what was there before.
    Written {
        /// When, in whole seconds of the API server's clock: the first such write since ours.
        at: DateTime<Utc>,
    },
}

/// Where a name of a server outside has led since somebody began to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// When it was first asked for.
    pub since: DateTime<Utc>,
    /// When it last had an answer.
    pub answered: Option<DateTime<Utc>>,
    /// Each address of an answer, and when it was last among them.
    pub seen: BTreeMap<IpAddr, DateTime<Utc>>,
    /// Why the last question has no answer.
    pub failure: Option<String>,
}

/// Whether a hospital may begin with its channel's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may.
    Come,
    /// Others come first.
    Waits,
    /// Nobody may: this hospital has refused the version.
    Stopped {
        /// Its name.
        by: String,
    },
}

/// Everything that one reconcile of one tenant may look at.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Live objects that carry this tenant's label, and its namespace even when it carries none.
    pub objects: BTreeMap<Ref, Arc<DynamicObject>>,
    /// CRD names that the API server has established.
    pub crds: BTreeSet<String>,
    /// The platform that the tenant names, if it exists.
    pub platform: Option<Arc<HospitalPlatform>>,
    /// The application that the tenant names, if it exists.
    pub application: Option<Arc<HospitalApplication>>,
    /// For each host that this tenant wants and another tenant already holds: that tenant's name.
    pub taken_hosts: BTreeMap<String, String>,
    /// Whether the tenant may begin with its channel's version. Absent: it follows none, or nobody else is known.
    pub turn: Option<Turn>,
    /// Pods of the tenant that cannot start.
    pub problems: Vec<Problem>,
    /// Reports of the tenant's agent Jobs whose pods are still there.
    pub reports: Vec<Report>,
    /// What befell the tenant's NetworkPolicies since we last wrote them, by name.
    pub disturbed: BTreeMap<String, Disturbance>,
    /// Whether a complete list of NetworkPolicies has come, so that those that are not among `objects` are not there.
    pub policies_listed: bool,
    /// Where the names lead that the spec lists. Empty where nobody can ask.
    pub resolved: BTreeMap<String, Resolved>,
    /// Gaps that were closed and that status does not name yet, oldest first.
    pub gaps: Vec<NetworkGap>,
}

impl Observed {
    /// The live object, if it exists.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&DynamicObject> {
        let at = Ref { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        self.objects.get(&at).map(AsRef::as_ref)
    }

    /// Whether the API server serves this kind.
    pub fn serves(&self, kind: Kind) -> bool {
        kind.crd.is_none_or(|crd| self.crds.contains(crd))
    }

    /// The last report of a container of a Job.
    pub fn report_of(&self, job: &str, container: &str) -> Option<&Report> {
        let its = self.reports.iter().filter(|report| report.job == job && report.container == container);
        its.max_by_key(|report| report.ended)
    }

    /// First problem of a component, for its condition's message.
    pub fn problem_of(&self, component: &str) -> Option<&Problem> {
        self.problems.iter().find(|problem| problem.component == component)
    }
}

/// A value inside a live object, by JSON pointer below the object's root.
pub fn field<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a Value> {
    object.data.pointer(pointer)
}

/// A whole number inside a live object; absent counts as zero, as Kubernetes status fields do.
pub fn number(object: &DynamicObject, pointer: &str) -> i64 {
    field(object, pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// Creation time of a live object.
pub fn created(object: &DynamicObject) -> Option<DateTime<Utc>> {
    let time = object.metadata.creation_timestamp.as_ref()?;
    DateTime::parse_from_rfc3339(serde_json::to_value(time).ok()?.as_str()?).ok().map(|t| t.to_utc())
}
