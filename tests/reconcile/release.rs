//! Init and migrations: what fails changes nothing for users, and nothing runs twice.

use std::collections::BTreeSet;

use his_operator::objects::kind::{DEPLOYMENT, JOB};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use super::{
    actor::{Fate, Jobs},
    hospital::{DEADLINE, Hospital, eventually, quiet},
    world::run,
};

#[test]
fn a_failed_migration_changes_nothing_until_a_new_attempt_succeeds() {
    run(async |world| {
        let hospital = Hospital::open(world, "migrated").await;
        let before = deployments(&hospital).await;
        world.actor.decide(&hospital.name, Fate { jobs: Jobs::Fail, ..Fate::default() }).await;
        hospital.patch(json!({ "spec": { "application": { "version": "2.0.0" } } })).await;

        let message = hospital.shows("ReleaseReady", "False", "MigrationFailed").await;
        assert!(message.contains("migrate-") && message.contains("1.0.0 serves"), "{message}");
        hospital.shows("Stalled", "True", "MigrationFailed").await;
        quiet().await;
        assert_eq!(deployments(&hospital).await, before, "pods were touched although the migration failed");
        let status = hospital.resource().await.status.unwrap();
        assert_eq!(status.version.as_deref(), Some("1.0.0"));
        assert_eq!(jobs_made(&hospital).len(), 2, "init and one migration: {:?}", jobs_made(&hospital));

        world.actor.decide(&hospital.name, Fate { jobs: Jobs::Run, ..Fate::default() }).await;
        hospital.patch(json!({ "spec": { "release": { "attempt": 1 } } })).await;
        hospital.shows("ReleaseReady", "False", "MigrationRunning").await;
        assert_eq!(deployments(&hospital).await, before, "pods were touched before the migration had ended");
        // Another attempt while one runs has to wait for its end.
        hospital.patch(json!({ "spec": { "release": { "attempt": 2 } } })).await;
        let message = hospital.shows("ReleaseReady", "False", "MigrationRunning").await;
        assert!(message.contains("must end first"), "{message}");
        quiet().await;
        assert_eq!(jobs_made(&hospital).len(), 3, "{:?}", jobs_made(&hospital));

        world.actor.decide(&hospital.name, Fate::default()).await;
        hospital.ready().await;
        let after = hospital.resource().await.status.unwrap();
        assert_eq!(after.version.as_deref(), Some("2.0.0"));
        let names: Vec<_> = deployments(&hospital).await.into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["cron", "web-green"], "the other colour serves, and the one before has gone");
    });
}

#[test]
fn a_failed_init_starts_no_pods_until_a_new_attempt_succeeds() {
    run(async |world| {
        let hospital = Hospital::named(world, "initialised");
        world.actor.decide(&hospital.name, Fate { jobs: Jobs::Fail, ..Fate::default() }).await;
        hospital.create(json!({})).await;
        hospital.shows("ReleaseReady", "False", "InitFailed").await;
        quiet().await;
        assert_eq!(deployments(&hospital).await, []);
        assert_eq!(jobs_made(&hospital).len(), 1);

        world.actor.decide(&hospital.name, Fate::default()).await;
        hospital.patch(json!({ "spec": { "release": { "attempt": 1 } } })).await;
        hospital.ready().await;
        assert_eq!(jobs_made(&hospital).len(), 2);
    });
}

#[test]
fn a_job_that_was_deleted_after_its_success_is_not_run_again() {
    run(async |world| {
        let hospital = Hospital::open(world, "tidied").await;
        let made = jobs_made(&hospital);
        let before = deployments(&hospital).await;
        for job in hospital.all(JOB).await {
            hospital.api(JOB).delete(&job.name_any(), &DeleteParams::background()).await.unwrap();
        }
        eventually("no Job is left", DEADLINE, async || {
            let left = hospital.all(JOB).await.len();
            (left == 0).then_some(()).ok_or(left.to_string())
        })
        .await;
        quiet().await;
        assert_eq!(jobs_made(&hospital), made);
        hospital.ready().await;

        // Nor by an operator that knows it only from what is written down.
        let mark = world.log.len();
        world.crash_and_restart().await;
        hospital.is_looked_at(mark).await;
        quiet().await;
        assert_eq!(jobs_made(&hospital), made);
        assert_eq!(deployments(&hospital).await, before);
    });
}

/// Name, UID and generation.
async fn deployments(hospital: &Hospital) -> Vec<(String, Option<String>, Option<i64>)> {
    let all = hospital.all(DEPLOYMENT).await;
    all.iter().map(|live| (live.name_any(), live.uid(), live.metadata.generation)).collect()
}

/// Names of all Jobs that the operator has ever made for init and migrations.
fn jobs_made(hospital: &Hospital) -> BTreeSet<String> {
    let made = hospital
        .requests()
        .into_iter()
        .filter(|event| event.resource == "jobs" && event.is_write() && event.code == 201)
        .filter(|event| !["gate-", "network-probe-"].iter().any(|asks| event.name.starts_with(asks)));
    made.map(|event| event.name).collect()
}
