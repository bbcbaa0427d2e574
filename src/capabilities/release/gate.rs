//! Which lifecycle step has to run before pods of the wanted version may start: one pure function. What runs after is
//! [`super::contract`].

use crate::{
    api::v1alpha1::{FinishedJob, JobResult},
    objects::digest,
};

/// A lifecycle step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepKind {
    /// Once in a hospital's life.
    Init,
    /// Once per version.
    Migrate,
    /// Once per version, when it serves alone and a person has approved it.
    Contract,
}

impl StepKind {
    /// Component label, ServiceAccount and prefix of the Job's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Migrate => "migrate",
            Self::Contract => "contract",
        }
    }
}

/// A step with its Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which step.
    pub kind: StepKind,
    /// Name of the Job: the same step with the same image, command and attempt always has the same name.
    pub job: String,
}

impl Wanted {
    /// The step with its Job's name.
    pub fn new(kind: StepKind, image: &str, command: &[String], args: &[String], attempt: i32) -> Self {
        let job = format!("{}-{}", kind.name(), digest(&(image, command, args, attempt)));
        Self { kind, job }
    }
}

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// All steps of the wanted version have succeeded: its pods may start.
    Open,
    /// This step must run now (or is running).
    Run(Wanted),
    /// This step has failed: nothing moves until a new attempt is asked for.
    Failed(Wanted),
    /// Another step is still running; two never run at once.
    Busy(String),
}

/// Decides. `finished` is every ended job that is known, from whatever record; `running` the Jobs that have not ended.
pub fn decide(
    version: &str,
    init: Option<Wanted>,
    migrate: Option<Wanted>,
    finished: &[FinishedJob],
    running: &[String],
) -> Gate {
    let succeeded = |name: &str| finished.iter().any(|job| job.name == name && job.result == JobResult::Succeeded);
    let failed = |name: &str| finished.iter().any(|job| job.name == name && job.result == JobResult::Failed);
    let initialised = |for_version: Option<&str>| {
        finished.iter().any(|job| {
            job.result == JobResult::Succeeded
                && job.name.starts_with("init-")
                && for_version.is_none_or(|version| job.version == version)
        })
    };
    let next = match (init, migrate) {
        (Some(init), _) if !initialised(None) => Some(init),
        // Init builds the schema of its own version: nothing is left to migrate.
        (_, Some(migrate)) if !succeeded(&migrate.job) && !initialised(Some(version)) => Some(migrate),
        _ => None,
    };
    let Some(next) = next else {
        return running.first().map_or(Gate::Open, |job| Gate::Busy(job.clone()));
    };
    if failed(&next.job) {
        return Gate::Failed(next);
    }
    match running.iter().find(|job| **job != next.job) {
        Some(other) => Gate::Busy(other.clone()),
        None => Gate::Run(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(kind: StepKind, attempt: i32) -> Wanted {
        Wanted::new(kind, "image@sha256:1", &["run".to_owned()], &[], attempt)
    }

    fn ended(wanted: &Wanted, version: &str, result: JobResult) -> FinishedJob {
        FinishedJob { name: wanted.job.clone(), result, version: version.to_owned() }
    }

    fn steps() -> (Wanted, Wanted) {
        (wanted(StepKind::Init, 0), wanted(StepKind::Migrate, 0))
    }

    #[test]
    fn an_empty_hospital_is_initialised_first_and_not_migrated_again_for_that_version() {
        let (init, migrate) = steps();
        let both = || (Some(init.clone()), Some(migrate.clone()));
        assert_eq!(decide("1", both().0, both().1, &[], &[]), Gate::Run(init.clone()));
        let done = [ended(&init, "1", JobResult::Succeeded)];
        assert_eq!(decide("1", both().0, both().1, &done, &[]), Gate::Open);
        assert_eq!(decide("2", both().0, both().1, &done, &[]), Gate::Run(migrate));
    }

    #[test]
    fn a_failed_step_is_not_repeated_until_a_new_attempt_is_asked_for() {
        let (init, migrate) = steps();
        let done = [ended(&init, "1", JobResult::Succeeded), ended(&migrate, "2", JobResult::Failed)];
        assert_eq!(decide("2", Some(init.clone()), Some(migrate.clone()), &done, &[]), Gate::Failed(migrate));
        let again = wanted(StepKind::Migrate, 1);
        assert_eq!(decide("2", Some(init), Some(again.clone()), &done, &[]), Gate::Run(again));
    }

    #[test]
    fn two_steps_never_run_at_once() {
        let (init, migrate) = steps();
        let done = [ended(&init, "1", JobResult::Succeeded)];
        let other = vec!["migrate-other".to_owned()];
        assert_eq!(decide("2", Some(init.clone()), Some(migrate.clone()), &done, &other), Gate::Busy(other[0].clone()));
        let own = vec![migrate.job.clone()];
        assert_eq!(decide("2", Some(init), Some(migrate.clone()), &done, &own), Gate::Run(migrate));
    }

    #[test]
    fn an_application_without_steps_is_always_open() {
        assert_eq!(decide("1", None, None, &[], &[]), Gate::Open);
    }
}
