//! Judges a release by what is seen of it.

use super::{
    Plan, StepKind, autoscale,
    contract::Contract,
    gate::Gate,
    machine::{self, Check, Pods, Seen, Watch},
    seen, serving_version,
};
use crate::{
    api::v1alpha1::{LiveRelease, ReleaseStatus, ReleaseStep, Rollout},
    capabilities::Input,
    conditions::{Reason, Verdict},
};

/// The verdict on a release, and what its autoscalers do: that one is not at work is no failure, but no secret either.
pub fn assess(plan: &Plan, input: Input<'_>) -> Verdict {
    let seen = seen::seen(plan, input);
    let state = machine::next(&plan.state, &seen, input.tenant.now);
    let told = state.live.as_ref().map(|_| autoscale::told(plan, input)).unwrap_or_default();
    let Verdict { proof, reason, message } = judge(plan, input, seen, &state);
    Verdict { proof, reason, message: message + &told }
}

fn judge(plan: &Plan, input: Input<'_>, seen: Seen, state: &ReleaseStatus) -> Verdict {
    let serving = serving(state);
    if let Some(rollout) = &state.rollout {
        let Verdict { proof, reason, message } = under_way(plan, rollout, seen, input);
        return Verdict { proof, reason, message: format!("{message}; {serving}") };
    }
    if plan.state.rollout.is_some() && plan.state.live.is_some() {
        return Verdict::failed(Reason::Progressing, format!("the pods that are not needed any more end; {serving}"));
    }
    if let Some(refused) = &state.refused {
        let failure = &refused.failure;
        let reason = Reason::named(&failure.reason).unwrap_or(Reason::RolledBack);
        return Verdict::failed(reason, format!("{}; {serving}", failure.message));
    }
    if let (Some(closed), Some(live)) = (&plan.closed, &state.live)
        && live.release.digest != plan.wanted.identity.digest
    {
        return waiting(plan, live, &closed.why, input);
    }
    let Some(live) = &state.live else { return Verdict::unknown(Reason::Progressing, serving) };
    match seen::everything(input, live) {
        Pods::Complete => {
            let version = &live.release.version;
            contracted(plan, version, runs(plan, version), &seen.last_words)
        }
        Pods::Coming(message) => Verdict::failed(Reason::Progressing, message),
        Pods::Broken(message) => Verdict::failed(Reason::PodsFailing, message),
    }
}

/// What serves is judged by itself while the wanted release may not begin.
fn waiting(plan: &Plan, live: &LiveRelease, why: &str, input: Input<'_>) -> Verdict {
    let (version, asked) = (&live.release.version, &plan.wanted.identity.version);
    match seen::everything(input, live) {
        Pods::Complete => Verdict::proved(format!("{}; the release of {asked} {why}", runs(plan, version))),
        Pods::Coming(message) => Verdict::failed(Reason::Progressing, message),
        Pods::Broken(message) => Verdict::failed(Reason::PodsFailing, message),
    }
}

fn runs(plan: &Plan, version: &str) -> String {
    // What an autoscaler asks for beyond the least may be on its way.
    let moved = plan.wanted.parts.iter().any(|part| part.count.bounds().is_some());
    let pods = if moved { "as many pods available as it must have" } else { "all its pods available" };
    format!("every component runs version {version} with {pods}")
}

/// What becomes of the contract step of a version that serves.
fn contracted(plan: &Plan, version: &str, serves: String, last_words: &str) -> Verdict {
    match &plan.contract {
        Contract::Nothing | Contract::Done => Verdict::proved(serves),
        Contract::Waits => Verdict::proved(format!(
            "{serves}; its contract step waits for approval: spec.release.contract: {version:?}"
        )),
        Contract::Run(wanted) => {
            let waits =
                plan.waits_for.as_ref().map(|(condition, message)| format!(" waits for {condition}: {message}"));
            let what = waits.unwrap_or_else(|| " is running".to_owned());
            Verdict::failed(Reason::ContractRunning, format!("Job {}{what}; version {version} serves", wanted.job))
        }
        Contract::Failed(wanted) => Verdict::failed(
            Reason::ContractFailed,
            format!(
                "Job {} has failed{last_words}; version {version} serves, older ones may not run any more",
                wanted.job
            ),
        ),
    }
}

fn serving(state: &ReleaseStatus) -> String {
    match serving_version(state) {
        Some(version) => format!("version {version} serves"),
        None => "no version serves yet".to_owned(),
    }
}

fn under_way(plan: &Plan, rollout: &Rollout, seen: Seen, input: Input<'_>) -> Verdict {
    let progress = |message: String| Verdict::failed(Reason::Progressing, format!("{}: {message}", rollout.step));
    match rollout.step {
        ReleaseStep::Preflight => match seen.shortage {
            Some(shortage) => Verdict::failed(Reason::QuotaTooSmall, shortage),
            None => progress("begins".to_owned()),
        },
        ReleaseStep::Expand => expand(plan, &seen.last_words, input),
        ReleaseStep::Surge => pods(rollout, seen.coming(&plan.state).clone()),
        ReleaseStep::Gate => match (&seen.check, &seen.new) {
            (_, Pods::Coming(_) | Pods::Broken(_)) => pods(rollout, seen.new),
            (Check::Failed(what), _) => Verdict::failed(Reason::GateFailed, what.clone()),
            (Check::Passed, Pods::Complete) if seen.watch == Watch::Coming => {
                progress("the prober that watches the front door starts".to_owned())
            }
            (Check::Running | Check::Passed, Pods::Complete) => progress("the application's checks run".to_owned()),
        },
        ReleaseStep::Cutover => progress(format!("users are led to the {} pods", rollout.colour)),
        ReleaseStep::Drain => pods(rollout, seen.background),
        ReleaseStep::Soak => soak(rollout, seen),
        ReleaseStep::Rollback => {
            let why = rollout.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
            progress(format!("users are led back: {why}"))
        }
    }
}

fn soak(rollout: &Rollout, seen: Seen) -> Verdict {
    match seen.new {
        Pods::Complete => Verdict::failed(
            Reason::Progressing,
            format!("{}: the old pods stay for {} s, ready to take over again", rollout.step, seen.soak.num_seconds()),
        ),
        other => pods(rollout, other),
    }
}

fn pods(rollout: &Rollout, pods: Pods) -> Verdict {
    match pods {
        Pods::Complete => Verdict::failed(Reason::Progressing, format!("{}: all pods are there", rollout.step)),
        Pods::Coming(what) => Verdict::failed(Reason::Progressing, format!("{}: {what}", rollout.step)),
        // A named problem beats a count.
        Pods::Broken(what) => Verdict::failed(Reason::PodsFailing, format!("{}: {what}", rollout.step)),
    }
}

fn expand(plan: &Plan, last_words: &str, input: Input<'_>) -> Verdict {
    match &plan.gate {
        Gate::Open => Verdict::failed(Reason::Progressing, "Expand: every step is through"),
        Gate::Failed(wanted) => {
            Verdict::failed(reason(wanted.kind, true), format!("Job {} has failed{last_words}", wanted.job))
        }
        Gate::Busy(job) => {
            Verdict::failed(Reason::MigrationRunning, format!("Job {job} of another version must end first"))
        }
        Gate::Run(wanted) => {
            if let Some((condition, message)) = &plan.waits_for {
                let message = format!("{} waits for {condition}: {message}", wanted.kind.name());
                return Verdict::failed(Reason::Progressing, message);
            }
            match input.observed.problem_of(wanted.kind.name()) {
                Some(problem) => Verdict::failed(
                    Reason::PodsFailing,
                    format!("Job {}: pod {}: {}: {}", wanted.job, problem.pod, problem.reason, problem.message),
                ),
                None => Verdict::failed(reason(wanted.kind, false), format!("Job {} is running", wanted.job)),
            }
        }
    }
}

/// Reason of a condition while a step runs, or after it has failed.
pub fn reason(step: StepKind, failed: bool) -> Reason {
    match (step, failed) {
        (StepKind::Init, true) => Reason::InitFailed,
        (StepKind::Migrate, true) => Reason::MigrationFailed,
        (StepKind::Contract, true) => Reason::ContractFailed,
        (StepKind::Contract, false) => Reason::ContractRunning,
        (StepKind::Init, false) => Reason::InitRunning,
        (StepKind::Migrate, false) => Reason::MigrationRunning,
    }
}
