//! A cluster on paper: what healthy controllers make of everything that is applied.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use his_operator::{
    api::v1alpha1::HospitalTenant,
    conditions::Rejection,
    names,
    objects::{Desired, Observed, Ref, Report, kind},
    reconcile::{
        pass::{self, difference},
        report,
    },
    tenant::Inputs,
};
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{inputs, merge};

/// Passes after which a healthy cluster must have settled.
const PASSES: i32 = 24;

/// How lifecycle jobs end.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub enum Jobs {
    #[default]
    Succeeded,
    Failed,
    Running,
    /// Those of a release that ask its new pods, and that ask as users do, have not ended yet.
    Asking,
}

/// Plans and applies until nothing changes; the tenant with its last status.
pub fn settle(start: &HospitalTenant, observed: &mut Observed, jobs: Jobs) -> Result<HospitalTenant, Rejection> {
    let mut tenant = start.clone();
    for number in 0..PASSES {
        // Time goes on, or no release would ever end.
        let inputs = inputs(tenant.clone());
        let inputs = Inputs { now: inputs.now + TimeDelta::minutes(number.into()), ..inputs };
        let pass = pass::plan(&inputs, observed)?;
        apply(&pass.desired, observed, jobs, inputs.now);
        let status = report::planned(&tenant, &pass, observed, None, None);
        let quiet = pass.desired.iter().all(|desired| difference(desired, observed).is_none());
        if quiet && tenant.status.as_ref() == Some(&status) {
            return Ok(tenant);
        }
        tenant.status = Some(status);
    }
    panic!("the cluster on paper did not settle in {PASSES} passes: {:?}", tenant.status);
}

/// Makes everything exist as wanted, with the status that its controller would write, and prunes the rest.
pub fn apply(desired: &[Desired], observed: &mut Observed, jobs: Jobs, now: DateTime<Utc>) {
    observed.reports.extend(reports(desired, now));
    let wanted: Vec<&Ref> = desired.iter().map(Desired::at).collect();
    observed.objects.retain(|at, live| {
        let retained = super::label(live, names::RETAIN).is_some();
        let ours = super::label(live, names::MANAGED_BY) == Some(names::PRODUCT);
        wanted.contains(&at) || retained || !ours
    });
    for desired in desired {
        let body = match desired {
            Desired::Apply(object) => object.body.clone(),
            Desired::Generate(generated) => generated.object.body.clone(),
            Desired::Keep(_) => continue,
        };
        let live: DynamicObject = serde_json::from_value(live(desired.at(), body, jobs)).unwrap();
        observed.objects.insert(desired.at().clone(), Arc::new(live));
        if desired.at().kind == kind::CNPG_CLUSTER {
            let ca = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database-ca", "namespace": desired.at().namespace}});
            let at = Ref { kind: kind::SECRET, name: "database-ca".to_owned(), ..desired.at().clone() };
            observed.objects.insert(at, Arc::new(serde_json::from_value(ca).unwrap()));
        }
    }
}

/// What the network's probe reports where policies are enforced.
fn reports(desired: &[Desired], now: DateTime<Utc>) -> Vec<Report> {
    let jobs = desired.iter().filter(|one| one.at().kind == kind::JOB && one.at().name.starts_with("network-probe-"));
    let text = json!({"refused": 7, "opened": [], "unreached": []}).to_string();
    jobs.map(|job| Report {
        job: job.at().name.clone(),
        container: "network-probe".to_owned(),
        ended: now,
        text: text.clone(),
    })
    .collect()
}

fn live(at: &Ref, body: Value, jobs: Jobs) -> Value {
    let mut live = body;
    let status = status(at, &live, jobs);
    merge(&mut live, json!({"metadata": {"generation": 1, "resourceVersion": "1"}}));
    if !status.is_null() {
        merge(&mut live, json!({ "status": status }));
    }
    live
}

fn asks(at: &Ref) -> bool {
    ["gate-", "prober-"].iter().any(|prefix| at.name.starts_with(prefix))
}

fn status(at: &Ref, body: &Value, jobs: Jobs) -> Value {
    let replicas = &body["spec"]["replicas"];
    match at.kind {
        kind if kind == kind::NAMESPACE => json!({"phase": "Active"}),
        kind if kind == kind::DEPLOYMENT => json!({
            "observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
            "availableReplicas": replicas,
        }),
        kind if kind == kind::STATEFUL_SET => json!({
            "observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "currentRevision": "a", "updateRevision": "a",
        }),
        kind if kind == kind::JOB => match jobs {
            Jobs::Asking if asks(at) => json!({"active": 1, "ready": 1}),
            Jobs::Succeeded | Jobs::Asking => {
                json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]})
            }
            Jobs::Failed => json!({"failed": 1, "conditions": [{"type": "Failed", "status": "True"}]}),
            Jobs::Running => json!({"active": 1}),
        },
        kind if kind == kind::HORIZONTAL_POD_AUTOSCALER => json!({"conditions": [
            {"type": "AbleToScale", "status": "True", "reason": "ReadyForNewScale"},
            {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound"},
        ]}),
        kind if kind == kind::HTTP_ROUTE => {
            let condition =
                |name: &str| json!({"type": name, "status": "True", "observedGeneration": 1, "reason": name});
            json!({"parents": [{"conditions": [condition("Accepted"), condition("ResolvedRefs")]}]})
        }
        kind if kind == kind::CNPG_CLUSTER => {
            json!({"readyInstances": body["spec"]["instances"], "phase": "Cluster in healthy state"})
        }
        _ => Value::Null,
    }
}
