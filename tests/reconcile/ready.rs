//! From YAML to Ready, and then silence.

use std::collections::BTreeMap;

use e2e::control_plane::AuditEvent;
use his_operator::objects::kind::{DEPLOYMENT, HTTP_ROUTE, JOB, STATEFUL_SET};
use serde_json::json;

use super::{
    actor::{Fate, Jobs},
    hospital::{Hospital, quiet, words},
    world::run,
};

#[test]
fn a_hospital_becomes_ready_only_after_everything_was_observed_and_deny_comes_before_workload() {
    run(async |world| {
        let hospital = Hospital::named(world, "from-yaml");
        world.actor.decide(&hospital.name, Fate::NOTHING).await;
        hospital.create(json!({})).await;

        hospital.sees(STATEFUL_SET, "database").await;
        hospital.shows("DatabaseReady", "False", "DatabaseNotReady").await;
        assert!(hospital.all(JOB).await.is_empty(), "init must wait for the database");

        let mut fate = Fate { database: true, ..Fate::NOTHING };
        world.actor.decide(&hospital.name, fate).await;
        hospital.shows("ReleaseReady", "False", "InitRunning").await;
        assert!(hospital.all(DEPLOYMENT).await.is_empty(), "pods must wait for init");

        fate.jobs = Jobs::Succeed;
        world.actor.decide(&hospital.name, fate).await;
        for component in ["web-blue", "cron"] {
            hospital.sees(DEPLOYMENT, component).await;
        }
        hospital.shows("EdgeReady", "False", "Progressing").await;
        assert!(hospital.all(HTTP_ROUTE).await.is_empty(), "the route must wait for pods");

        fate.deployments = true;
        world.actor.decide(&hospital.name, fate).await;
        hospital.sees(HTTP_ROUTE, "hospital").await;
        hospital.shows("EdgeReady", "Unknown", "RouteNotAccepted").await;
        assert_eq!(hospital.resource().await.status.unwrap().version, None, "nobody can reach it yet");

        fate.routes = true;
        world.actor.decide(&hospital.name, fate).await;
        hospital.ready().await;
        assert_eq!(hospital.resource().await.status.unwrap().version.as_deref(), Some("1.0.0"));
        hospital.settles().await;

        let writes: Vec<_> =
            hospital.requests().into_iter().filter(|event| event.is_write() && event.code < 300).collect();
        let first = |resource: &str, name: &str| {
            let found =
                writes.iter().position(|event| event.resource == resource && (name.is_empty() || event.name == name));
            found.unwrap_or_else(|| panic!("{resource} {name} was never written"))
        };
        let order = [first("namespaces", ""), first("rolebindings", ""), first("networkpolicies", "default-deny")];
        assert!(order.is_sorted(), "{order:?}");
        for workload in ["statefulsets", "jobs", "deployments"] {
            assert!(order[2] < first(workload, ""), "{workload} before the default deny");
        }

        let refused: Vec<_> = hospital.requests().iter().filter(|event| event.code >= 400).map(words).collect();
        eprintln!("{} writes for {} objects; refused: {refused:?}", writes.len(), hospital.objects().await.len());
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        let made = |event: &&AuditEvent| event.namespace == hospital.namespace() && event.verb != "delete";
        for event in writes.iter().filter(made) {
            *times.entry(format!("{}/{}", event.resource, event.name)).or_default() += 1;
        }
        // The record of ended jobs is made empty and written again when init has ended.
        times.retain(|object, times| *times > 1 && object != "configmaps/release-ledger");
        assert!(times.is_empty(), "written more than once: {times:?}");
    });
}

#[test]
fn an_unchanged_hospital_costs_no_request_also_when_it_is_looked_at_again_or_the_operator_restarts() {
    run(async |world| {
        let hospital = Hospital::open(world, "unchanged").await;
        let before = hospital.settles().await;
        for round in 0..3 {
            let mark = world.log.len();
            hospital.patch(json!({ "metadata": { "labels": { "touched": round.to_string() } } })).await;
            hospital.is_looked_at(mark).await;
        }
        quiet().await;
        let after = hospital.requests();
        assert_eq!(after.len(), before, "{:?}", after[before..].iter().map(words).collect::<Vec<_>>());

        let mark = world.log.len();
        world.crash_and_restart().await;
        hospital.is_looked_at(mark).await;
        quiet().await;
        let after: Vec<_> = hospital.requests().split_off(before).iter().map(words).collect();
        // A new watch of its namespace: Secrets, which the operator may see nowhere else.
        let watch = |words: &&String| words.starts_with("watch secrets ");
        let rest: Vec<_> = after.iter().filter(|words| !watch(words)).collect();
        assert!(rest.is_empty(), "{rest:?}");
        assert!(after.len() <= 2, "{after:?}");
    });
}
