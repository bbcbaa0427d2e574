//! Judges a release by what its Deployments and Jobs say of themselves.

use kube::{ResourceExt, core::DynamicObject};

use super::{Gate, Plan, StepKind};
use crate::{
    api::v1alpha1::Component,
    capabilities::Input,
    conditions::{Reason, Verdict},
    names,
    objects::{field, kind, number},
};

/// The verdict on a release.
pub fn assess(plan: &Plan, input: Input<'_>) -> Verdict {
    let serving = match serving_version(input) {
        Some(version) => format!("version {version} serves"),
        None => "no version serves yet".to_owned(),
    };
    match &plan.gate {
        Gate::Open => rollout(input),
        Gate::Busy(job) => {
            Verdict::failed(Reason::MigrationRunning, format!("Job {job} of another version must end first; {serving}"))
        }
        Gate::Failed(wanted) => {
            let reason = if wanted.kind == StepKind::Init { Reason::InitFailed } else { Reason::MigrationFailed };
            Verdict::failed(reason, format!("Job {} has failed; {serving}", wanted.job))
        }
        Gate::Run(wanted) => {
            if let Some((condition, message)) = &plan.waits_for {
                return Verdict::failed(
                    Reason::Progressing,
                    format!("{} waits for {condition}: {message}; {serving}", wanted.kind.name()),
                );
            }
            let reason = if wanted.kind == StepKind::Init { Reason::InitRunning } else { Reason::MigrationRunning };
            match input.observed.problem_of(wanted.kind.name()) {
                Some(problem) => Verdict::failed(
                    Reason::PodsFailing,
                    format!(
                        "Job {}: pod {}: {}: {}; {serving}",
                        wanted.job, problem.pod, problem.reason, problem.message
                    ),
                ),
                None => Verdict::failed(reason, format!("Job {} is running; {serving}", wanted.job)),
            }
        }
    }
}

/// Whether every component runs the wanted version with all its pods.
pub fn serves(input: Input<'_>) -> bool {
    input.tenant.application.components.iter().all(|component| state(input, component) == State::Complete)
}

/// Version that serves users: the wanted one once every component is complete, the last known one until then.
pub fn serving_version(input: Input<'_>) -> Option<String> {
    let deployments: Vec<_> = input.observed.objects.iter().filter(|(at, _)| at.kind == kind::DEPLOYMENT).collect();
    let mut versions = deployments.iter().filter_map(|(_, live)| live.labels().get(names::APP_VERSION).cloned());
    let first = versions.next()?;
    let uniform = versions.all(|version| version == first);
    let complete = deployments.iter().all(|(_, live)| rolled_out(live));
    if uniform && complete { Some(first) } else { input.tenant.status.version.clone() }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Complete,
    Missing,
    Rolling { available: i64, wanted: i64 },
    Stuck(String),
}

fn rollout(input: Input<'_>) -> Verdict {
    for component in &input.tenant.application.components {
        let name = &component.name;
        match state(input, component) {
            State::Complete => {}
            State::Missing => {
                return Verdict::unknown(Reason::Progressing, format!("Deployment {name} was not seen yet"));
            }
            State::Stuck(message) => return failing(input, name, message),
            State::Rolling { available, wanted } => {
                let message = format!("{available} of {wanted} new pods of {name} are available");
                return failing(input, name, message);
            }
        }
    }
    let version = &input.tenant.version.version;
    Verdict::proved(format!("every component runs version {version} with all its pods available"))
}

/// A named problem beats a count.
fn failing(input: Input<'_>, component: &str, message: String) -> Verdict {
    match input.observed.problem_of(component) {
        Some(problem) => Verdict::failed(
            Reason::PodsFailing,
            format!("{message}; pod {}: {}: {}", problem.pod, problem.reason, problem.message),
        ),
        None => Verdict::failed(Reason::Progressing, message),
    }
}

fn state(input: Input<'_>, component: &Component) -> State {
    let Some(live) = input.observed.get(kind::DEPLOYMENT, &input.tenant.namespace, &component.name) else {
        return State::Missing;
    };
    let wanted_version = live.labels().get(names::APP_VERSION) == Some(&input.tenant.version.version);
    if wanted_version && rolled_out(live) {
        return State::Complete;
    }
    let conditions = field(live, "/status/conditions").and_then(|c| c.as_array()).cloned().unwrap_or_default();
    let exceeded = conditions.iter().find(|c| c["reason"] == "ProgressDeadlineExceeded");
    if let Some(condition) = exceeded {
        return State::Stuck(condition["message"].as_str().unwrap_or("the rollout makes no progress").to_owned());
    }
    State::Rolling {
        available: number(live, "/status/updatedReplicas").min(number(live, "/status/availableReplicas")),
        wanted: number(live, "/spec/replicas"),
    }
}

fn rolled_out(live: &DynamicObject) -> bool {
    let wanted = number(live, "/spec/replicas");
    number(live, "/status/observedGeneration") >= live.metadata.generation.unwrap_or_default()
        && number(live, "/status/updatedReplicas") == wanted
        && number(live, "/status/replicas") == wanted
        && number(live, "/status/availableReplicas") == wanted
}
