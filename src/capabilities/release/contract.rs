//! The contract step: removes from the database what older versions need, once nobody runs them any more.
//!
//! Guarantees: pure; it runs only for a version that serves alone and that a person has named; after it, versions with a
//! smaller schema are refused for ever, also when the step has failed half way.

use super::gate::{StepKind, Wanted};
use crate::{
    api::v1alpha1::{FinishedJob, JobResult, ReleaseStatus},
    conditions::{Reason, Rejection},
    tenant::Tenant,
};

/// What becomes of the contract step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contract {
    /// The application has none, or another version is to serve first.
    Nothing,
    /// It could run, but nobody has approved it.
    Waits,
    /// It must run now, or is running.
    Run(Wanted),
    /// It has failed.
    Failed(Wanted),
    /// It has succeeded.
    Done,
}

/// The step with its Job's name: it carries the schema, so that the record outlives the application's list of versions.
pub fn numbered(step: &Wanted, schema: i64) -> Wanted {
    let (kind, digest) = (step.kind, step.job.rsplit('-').next().unwrap_or_default());
    Wanted { kind, job: format!("{}-{schema}-{digest}", kind.name()) }
}

/// Decides. `alone` says that the wanted version serves and nothing else runs.
pub fn decide(wanted: Option<Wanted>, alone: bool, approved: bool, finished: &[FinishedJob]) -> Contract {
    let Some(wanted) = wanted.filter(|_| alone) else { return Contract::Nothing };
    match finished.iter().find(|job| job.name == wanted.job).map(|job| job.result) {
        Some(JobResult::Succeeded) => Contract::Done,
        Some(JobResult::Failed) => Contract::Failed(wanted),
        None if approved => Contract::Run(wanted),
        None => Contract::Waits,
    }
}

/// Whether a person has named the version that is to serve.
pub fn approved(tenant: &Tenant) -> bool {
    let named = tenant.spec.release.as_ref().and_then(|release| release.contract.as_ref());
    named.is_some_and(|named| *named == tenant.version.version)
}

/// The wanted version serves, and no other is coming in.
pub fn alone(state: &ReleaseStatus, digest: &str) -> bool {
    state.rollout.is_none() && state.live.as_ref().is_some_and(|live| live.release.digest == digest)
}

/// Refuses a version that needs what a contract step has removed, or may have begun to remove.
pub fn allows(tenant: &Tenant, finished: &[FinishedJob], running: &[String]) -> Result<(), Rejection> {
    let jobs = finished.iter().map(|job| job.name.as_str()).chain(running.iter().map(String::as_str));
    let Some(floor) = jobs.filter_map(schema_of).max() else { return Ok(()) };
    if tenant.version.schema.is_some_and(|schema| schema >= floor) {
        return Ok(());
    }
    let version = &tenant.version.version;
    let has = tenant.version.schema.map_or_else(|| "no schema".to_owned(), |schema| format!("schema {schema}"));
    Err(Rejection::terminal(
        "spec.application.version",
        Reason::SchemaContracted,
        format!(
            "version {version} has {has}, but a contract step has removed what versions below schema {floor} need; choose a version with schema {floor} or more, or restore a backup into a new tenant"
        ),
    ))
}

fn schema_of(job: &str) -> Option<i64> {
    let rest = job.strip_prefix(StepKind::Contract.name())?.strip_prefix('-')?;
    rest.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(schema: i64) -> Wanted {
        numbered(&Wanted::new(StepKind::Contract, "image@sha256:1", &["run".to_owned()], &[], 0), schema)
    }

    fn ended(schema: i64, result: JobResult) -> FinishedJob {
        FinishedJob { name: step(schema).job, result, version: "2".to_owned() }
    }

    #[test]
    fn it_runs_only_for_a_version_that_serves_alone_and_was_approved() {
        let cases = [
            (Some(step(4)), true, true, Contract::Run(step(4))),
            (Some(step(4)), true, false, Contract::Waits),
            (Some(step(4)), false, true, Contract::Nothing),
            (None, true, true, Contract::Nothing),
        ];
        for (wanted, alone, approved, expected) in cases {
            assert_eq!(decide(wanted, alone, approved, &[]), expected);
        }
    }

    #[test]
    fn it_is_not_repeated() {
        let done = [ended(4, JobResult::Succeeded)];
        assert_eq!(decide(Some(step(4)), true, true, &done), Contract::Done);
        let failed = [ended(4, JobResult::Failed)];
        assert_eq!(decide(Some(step(4)), true, true, &failed), Contract::Failed(step(4)));
        assert_eq!(decide(Some(step(5)), true, true, &done), Contract::Run(step(5)));
    }

    #[test]
    fn the_schema_is_read_from_the_jobs_name_and_from_no_others() {
        assert_eq!(schema_of(&step(12).job), Some(12));
        for other in ["migrate-0f", "contract", "contract-", "contract-x-0f", "contractor-1-0f"] {
            assert_eq!(schema_of(other), None, "{other}");
        }
    }
}
