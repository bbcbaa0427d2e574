//! A cluster that does at once what it is told: all objects that a hospital ends up with, in the order of their making.
//!
//! Guarantees: pure. The operator keeps objects back until others are ready, so one pass does not show them all; here
//! every pass sees what the one before wanted, as if it had become ready. What only a person can provide is assumed to be
//! there, and said so. What is there already is taken as it is, and as good as ready.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use k8s_openapi::api::{
    apps::v1::{DeploymentStatus, StatefulSetStatus},
    autoscaling::v2::{HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus},
    batch::v1::{JobCondition, JobStatus},
};
use kube::{
    Resource,
    core::{ApiResource, DynamicObject, TypeMeta},
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    api::v1alpha1::{HospitalTenantSpec, HospitalTenantStatus, ReleaseStep},
    capabilities::{network, release},
    conditions::{Reason, Rejection, Verdicts},
    names,
    objects::{Desired, Kind, Object, Observed, Ref, Report, kind},
    reconcile::{apply::unwanted, pass, report},
    tenant::Inputs,
};

/// Far above the number of gates that stand one behind the other.
const PASSES: usize = 48;
/// UID of what is only assumed.
const ASSUMED_UID: &str = "00000000-0000-0000-0000-000000000000";

/// One object, in the form that it ends up with.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Counts from 1; an object is written when those of the step before are ready.
    pub step: usize,
    /// Name of the capability that renders it.
    pub capability: String,
    /// What it is for.
    pub why: String,
    /// The object.
    pub desired: Desired,
}

/// What the operator would do for one hospital.
#[derive(Debug)]
pub struct Outcome {
    /// In order of application.
    pub entries: Vec<Entry>,
    /// Everything that is wanted in the end, in order of application.
    pub desired: Vec<Desired>,
    /// Secrets that a person must provide and that were not seen; assumed to be there.
    pub provided: Vec<String>,
    /// As it would be reported once everything is ready.
    pub verdicts: Verdicts,
    /// As it would be written once everything is ready.
    pub status: HospitalTenantStatus,
    /// The hospital.
    pub tenant: crate::tenant::Tenant,
}

/// Plans until nothing new is wanted; once only, if `first_step`. Entries are what differs from what was observed.
pub fn simulate(inputs: &Inputs, observed: &Observed, first_step: bool) -> Result<Outcome, Rejection> {
    let mut inputs = with_uid(inputs);
    let mut observed = observed.clone();
    let provided = provide_secrets(&inputs, &mut observed);
    let mut entries: Vec<Entry> = Vec::new();
    let mut places: BTreeMap<Ref, usize> = BTreeMap::new();
    let mut assumed: BTreeSet<Ref> = BTreeSet::new();
    for step in 1..=PASSES {
        let pass = pass::plan(&inputs, &observed)?;
        let (mut news, mut changed) = (Vec::new(), Vec::new());
        for wanted in pass.desired.iter().filter(|wanted| !matches!(wanted, Desired::Keep(_))) {
            if pass::difference(wanted, &observed).is_some() {
                changed.push(wanted);
            } else if !assumed.contains(wanted.at()) && !has_failed(wanted.at(), &observed) {
                news.push(wanted);
            }
        }
        let moved = move_on(&mut inputs, &pass, &observed);
        if (changed.is_empty() && news.is_empty() && !moved) || (first_step && !entries.is_empty()) {
            return Ok(outcome(&inputs, entries, provided, (pass, &observed)));
        }
        let gone: Vec<_> =
            unwanted(&pass.tenant, &pass.desired, &observed).into_iter().map(|(at, _)| at.clone()).collect();
        observed.objects.retain(|at, _| !gone.contains(at));
        for wanted in changed.iter().chain(&news) {
            observed.objects.insert(wanted.at().clone(), Arc::new(ready(wanted)));
            observed.reports.extend(report(wanted, inputs.now));
            assumed.insert(wanted.at().clone());
        }
        for wanted in changed {
            if let Some(entry) = places.get(wanted.at()).and_then(|place| entries.get_mut(*place)) {
                entry.desired = wanted.clone();
            } else {
                places.insert(wanted.at().clone(), entries.len());
                entries.push(entry(step, wanted));
            }
        }
    }
    let message = format!("the plan still changes after {PASSES} passes: report this as a defect, with the files");
    Err(Rejection::terminal("HospitalTenant", Reason::Progressing, message))
}

/// Writes the status down, as the operator would before it goes on, and lets time pass where nothing else is to do; says
/// whether that changes anything.
fn move_on(inputs: &mut Inputs, pass: &pass::Pass, observed: &Observed) -> bool {
    let tenant = Arc::make_mut(&mut inputs.tenant);
    let status = report::planned(tenant, pass, observed, None, None);
    let proved = status.network.proof.is_some();
    let last = tenant.status.replace(status).unwrap_or_default();
    let (before, proves) = (last.release, proved && last.network.proof.is_none());
    let after = tenant.status.as_ref().map(|status| status.release.clone()).unwrap_or_default();
    let due = release::due(&pass.tenant, &after).filter(|_| before == after);
    let waits =
        due.is_some_and(|due| due > inputs.now) && after.rollout.as_ref().is_some_and(|r| r.step == ReleaseStep::Soak);
    if let (true, Some(due)) = (waits, due) {
        inputs.now = due;
    }
    before != after || waits || proves
}

fn outcome(inputs: &Inputs, mut entries: Vec<Entry>, provided: Vec<String>, end: (pass::Pass, &Observed)) -> Outcome {
    let (pass, observed) = end;
    // What a release needed on its way is not what the hospital ends up with.
    entries.retain(|entry| pass.desired.iter().any(|desired| desired.at() == entry.desired.at()));
    Outcome {
        entries,
        provided,
        verdicts: pass.assess(observed),
        status: report::planned(&inputs.tenant, &pass, observed, None, None),
        tenant: pass.tenant,
        desired: pass.desired,
    }
}

/// A Job that has failed stays so: nothing that waits for its success comes by itself.
fn has_failed(at: &Ref, observed: &Observed) -> bool {
    let failed = |live: &Arc<DynamicObject>| {
        let conditions = live.data.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|condition| {
            condition.get("type").and_then(Value::as_str) == Some("Failed")
                && condition.get("status").and_then(Value::as_str) == Some("True")
        })
    };
    at.kind == kind::JOB && observed.objects.get(at).is_some_and(failed)
}

/// Objects carry the UID of their tenant, which only the API server gives.
fn with_uid(inputs: &Inputs) -> Inputs {
    let mut inputs = inputs.clone();
    let tenant = Arc::make_mut(&mut inputs.tenant);
    tenant.meta_mut().uid.get_or_insert_with(|| ASSUMED_UID.to_owned());
    inputs
}

/// Secrets that the spec names and nobody renders.
fn provide_secrets(inputs: &Inputs, observed: &mut Observed) -> Vec<String> {
    let namespace = names::namespace(inputs.tenant.metadata.name.as_deref().unwrap_or_default());
    let mut missing = foreign_secrets(&inputs.tenant.spec);
    missing.retain(|name| observed.get(kind::SECRET, &namespace, name).is_none());
    for name in &missing {
        let at = Ref { kind: kind::SECRET, namespace: namespace.clone(), name: name.clone() };
        let live = DynamicObject::new(name, &resource(kind::SECRET)).within(&namespace);
        observed.objects.insert(at, Arc::new(live));
    }
    missing
}

fn foreign_secrets(spec: &HospitalTenantSpec) -> Vec<String> {
    let external = spec.database.as_ref().and_then(|database| database.external.as_ref());
    let database = external
        .into_iter()
        .flat_map(|external| std::iter::once(external.app_secret.clone()).chain(external.owner_secret.clone()));
    let bindings = spec.bindings.clone().unwrap_or_default();
    let bound = bindings.cache.into_iter().map(|cache| cache.secret);
    let buckets = bindings.buckets.into_values().map(|bucket| bucket.secret);
    let mut all: Vec<_> = database.chain(bound).chain(buckets).collect();
    all.sort();
    all.dedup();
    all
}

fn entry(step: usize, desired: &Desired) -> Entry {
    let body = desired.body();
    let metadata = |map: &str, key: &str| {
        let value = body?.get("metadata")?.get(map)?.get(key)?;
        value.as_str().map(ToOwned::to_owned)
    };
    Entry {
        step,
        capability: metadata("labels", names::CAPABILITY).unwrap_or_default(),
        why: metadata("annotations", WHY).unwrap_or_else(|| desired.at().kind.reason.to_owned()),
        desired: desired.clone(),
    }
}

/// On network policies: what the flow is for.
const WHY: &str = "his-operator.io/why";

fn resource(kind: Kind) -> ApiResource {
    kind.api_resource()
}

/// The object as it is once its controller has done everything.
fn ready(desired: &Desired) -> DynamicObject {
    let at = desired.at();
    let object = match desired {
        Desired::Apply(object) => Some(object),
        Desired::Generate(generated) => Some(&generated.object),
        Desired::Keep(_) => None,
    };
    let mut live: DynamicObject = object
        .and_then(|object| serde_json::from_value(object.body.clone()).ok())
        .unwrap_or_else(|| DynamicObject::new(&at.name, &resource(at.kind)));
    live.types = Some(TypeMeta { api_version: at.kind.api_version(), kind: at.kind.kind.to_owned() });
    live.metadata.generation = Some(1);
    live.metadata.uid = Some(ASSUMED_UID.to_owned());
    if let (Some(status), Some(data)) = (object.and_then(status), live.data.as_object_mut()) {
        data.insert("status".to_owned(), status);
    }
    live
}

/// What the network's probe would report where policies are enforced.
fn report(desired: &Desired, now: DateTime<Utc>) -> Option<Report> {
    let component = desired.body()?.pointer("/metadata/labels")?.get(names::COMPONENT)?;
    let text = serde_json::to_string(&network::proof::report_of_enforced()).ok()?;
    (component == network::PROBE && desired.at().kind == kind::JOB).then(|| Report {
        job: desired.at().name.clone(),
        container: network::PROBE.to_owned(),
        ended: now,
        text,
    })
}

fn status(object: &Object) -> Option<Value> {
    let number = |pointer: &str| object.body.pointer(pointer).and_then(Value::as_i64);
    let replicas = number("/spec/replicas").and_then(|replicas| i32::try_from(replicas).ok());
    match object.at.kind {
        kind if kind == kind::DEPLOYMENT => typed(&DeploymentStatus {
            observed_generation: Some(1),
            replicas,
            updated_replicas: replicas,
            ready_replicas: replicas,
            available_replicas: replicas,
            ..DeploymentStatus::default()
        }),
        kind if kind == kind::STATEFUL_SET => typed(&StatefulSetStatus {
            observed_generation: Some(1),
            replicas: replicas.unwrap_or_default(),
            ready_replicas: replicas,
            current_revision: Some("1".to_owned()),
            update_revision: Some("1".to_owned()),
            ..StatefulSetStatus::default()
        }),
        kind if kind == kind::JOB => {
            let complete =
                JobCondition { type_: "Complete".to_owned(), status: "True".to_owned(), ..JobCondition::default() };
            typed(&JobStatus { conditions: Some(vec![complete]), succeeded: Some(1), ..JobStatus::default() })
        }
        kind if kind == kind::CNPG_CLUSTER => {
            let instances = object.body.pointer("/spec/instances")?.clone();
            Some(Value::Object(Map::from_iter([("readyInstances".to_owned(), instances)])))
        }
        kind if kind == kind::HORIZONTAL_POD_AUTOSCALER => {
            let active = HorizontalPodAutoscalerCondition {
                type_: "ScalingActive".to_owned(),
                status: "True".to_owned(),
                ..HorizontalPodAutoscalerCondition::default()
            };
            typed(&HorizontalPodAutoscalerStatus {
                conditions: Some(vec![active]),
                ..HorizontalPodAutoscalerStatus::default()
            })
        }
        kind if kind == kind::HTTP_ROUTE => typed(&RouteStatus::accepted()),
        _ => None,
    }
}

fn typed(status: &impl Serialize) -> Option<Value> {
    serde_json::to_value(status).ok()
}

/// Answer of one Gateway, <https://gateway-api.sigs.k8s.io/reference/spec/#routestatus>.
#[derive(Serialize)]
struct RouteStatus {
    parents: Vec<RouteParent>,
}

#[derive(Serialize)]
struct RouteParent {
    conditions: Vec<RouteCondition>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteCondition {
    #[serde(rename = "type")]
    kind: &'static str,
    status: &'static str,
    observed_generation: i64,
}

impl RouteStatus {
    fn accepted() -> Self {
        let condition = |kind| RouteCondition { kind, status: "True", observed_generation: 1 };
        Self { parents: vec![RouteParent { conditions: vec![condition("Accepted"), condition("ResolvedRefs")] }] }
    }
}
