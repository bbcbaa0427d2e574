//! Ended lifecycle jobs, from every record that survives: the ledger in the namespace, the tenant's status, and the
//! Jobs themselves. A success is never forgotten, so nothing runs twice after a restore or a lost status.

use std::collections::BTreeMap;

use kube::{ResourceExt, core::DynamicObject};

use super::{Release, asking::is_asking};
use crate::{
    api::v1alpha1::{FinishedJob, JobResult},
    capabilities::{Capability, Input},
    names,
    objects::{field, kind, number},
};

/// Name of the ConfigMap that outlives the tenant.
pub const LEDGER: &str = "release-ledger";
const JOBS_KEPT: usize = 20;

/// All ended jobs by name, and the names of those that have not ended.
pub fn read(input: Input<'_>) -> (Vec<FinishedJob>, Vec<String>) {
    let mut finished: BTreeMap<String, FinishedJob> = BTreeMap::new();
    let mut running = Vec::new();
    for job in input.tenant.status.jobs.iter().cloned().chain(ledger(input)) {
        finished.insert(job.name.clone(), job);
    }
    for (at, live) in &input.observed.objects {
        if at.kind != kind::JOB || !is_step(live) {
            continue;
        }
        match result(live) {
            Some(result) => {
                let version = live.labels().get(names::APP_VERSION).cloned().unwrap_or_default();
                finished.insert(at.name.clone(), FinishedJob { name: at.name.clone(), result, version });
            }
            None if !finished.contains_key(&at.name) => running.push(at.name.clone()),
            None => {}
        }
    }
    (finished.into_values().collect(), running)
}

/// The gate asks anew in every release, and Jobs of others are none of this.
fn is_step(live: &DynamicObject) -> bool {
    live.labels().get(names::CAPABILITY).is_some_and(|capability| capability == Release::NAME) && !is_asking(live)
}

/// For status, newest first: what was not known before comes before what was.
pub fn newest(before: &[FinishedJob], all: &[FinishedJob]) -> Vec<FinishedJob> {
    let new = all.iter().filter(|job| !before.iter().any(|known| known.name == job.name)).cloned();
    let known = before.iter().filter_map(|known| all.iter().find(|job| job.name == known.name)).cloned();
    new.chain(known).take(JOBS_KEPT).collect()
}

/// `Succeeded 5.0.4` in the ledger.
pub fn entry(job: &FinishedJob) -> String {
    format!("{:?} {}", job.result, job.version)
}

fn ledger(input: Input<'_>) -> Vec<FinishedJob> {
    let Some(ledger) = input.observed.get(kind::CONFIG_MAP, &input.tenant.namespace, LEDGER) else { return Vec::new() };
    let Some(data) = field(ledger, "/data").and_then(|data| data.as_object()) else { return Vec::new() };
    let read = |(name, value): (&String, &serde_json::Value)| {
        let (result, version) = value.as_str()?.split_once(' ')?;
        let result = match result {
            "Succeeded" => JobResult::Succeeded,
            "Failed" => JobResult::Failed,
            _ => return None,
        };
        Some(FinishedJob { name: name.clone(), result, version: version.to_owned() })
    };
    data.iter().filter_map(read).collect()
}

/// How a Job ended, if it has.
pub fn result(job: &DynamicObject) -> Option<JobResult> {
    let conditions = field(job, "/status/conditions")?.as_array()?;
    let is = |kind: &str| conditions.iter().any(|c| c["type"] == kind && c["status"] == "True");
    if is("Complete") || is("SuccessCriteriaMet") || number(job, "/status/succeeded") > 0 {
        Some(JobResult::Succeeded)
    } else if is("Failed") || is("FailureTarget") {
        Some(JobResult::Failed)
    } else {
        None
    }
}
