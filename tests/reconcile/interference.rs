//! People interfere with a release: whoever serves goes on serving, and status says what became of it.

use std::time::Duration;

use his_operator::{
    api::v1alpha1::{ReleaseStep, Rollout},
    objects::kind::HTTP_ROUTE,
};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    actor::Fate,
    hospital::{DEADLINE, Hospital, eventually},
    pause::until,
    world::run,
};

/// The shortest that there is.
const DEADLINE_SECONDS: u64 = 10;

#[test]
fn a_release_that_is_paused_past_its_deadline_stands_still_and_is_taken_back_afterwards() {
    run(async |world| {
        let hospital = Hospital::open(world, "paused-release").await;
        world.actor.decide(&hospital.name, Fate { deployments: false, ..Fate::default() }).await;
        let release = json!({ "deadlineSeconds": DEADLINE_SECONDS });
        hospital.patch(json!({ "spec": { "application": { "version": "2.0.0" }, "release": release } })).await;
        reaches(&hospital, ReleaseStep::Surge).await;
        hospital.patch(until(json!("2099-01-01T00:00:00Z"))).await;
        hospital.shows("Reconciling", "False", "Paused").await;

        let stands = tokio::time::Instant::now() + Duration::from_secs(DEADLINE_SECONDS + 2);
        eventually("the deadline passes", DEADLINE, async || {
            assert_eq!(rollout(&hospital).await.map(|rollout| rollout.step), Some(ReleaseStep::Surge));
            assert_eq!(led_to(&hospital).await, ["web-blue"]);
            (tokio::time::Instant::now() > stands).then_some(()).ok_or("not yet".to_owned())
        })
        .await;

        hospital.patch(until(Value::Null)).await;
        let message = hospital.shows("ReleaseReady", "False", "RolledBack").await;
        assert!(message.contains("version 1.0.0 serves"), "{message}");
        assert_eq!(led_to(&hospital).await, ["web-blue"]);
    });
}

#[test]
fn a_route_that_somebody_leads_to_both_colours_leads_to_one_again() {
    run(async |world| {
        let hospital = Hospital::open(world, "both-colours").await;
        let release = json!({ "soakSeconds": 3600 });
        hospital.patch(json!({ "spec": { "application": { "version": "2.0.0" }, "release": release } })).await;
        reaches(&hospital, ReleaseStep::Soak).await;
        assert_eq!(led_to(&hospital).await, ["web-green"]);

        let backend = |colour: &str| json!({ "name": format!("web-{colour}"), "port": 8000, "weight": 1 });
        let both = json!([{ "backendRefs": [backend("blue"), backend("green")] }]);
        let patch = Patch::Merge(json!({ "spec": { "rules": both } }));
        hospital.api(HTTP_ROUTE).patch("hospital", &PatchParams::default(), &patch).await.unwrap();
        eventually("users are led to one colour", DEADLINE, async || {
            let leads = led_to(&hospital).await;
            (leads == ["web-green"]).then_some(()).ok_or(format!("{leads:?}"))
        })
        .await;
        assert_eq!(rollout(&hospital).await.map(|rollout| rollout.step), Some(ReleaseStep::Soak));
    });
}

async fn reaches(hospital: &Hospital, step: ReleaseStep) {
    let what = format!("{}: the release reaches {step}", hospital.name);
    eventually(&what, DEADLINE, async || {
        let rollout = rollout(hospital).await;
        let there = rollout.as_ref().is_some_and(|rollout| rollout.step == step);
        there.then_some(()).ok_or(format!("{rollout:?}"))
    })
    .await;
}

async fn rollout(hospital: &Hospital) -> Option<Rollout> {
    hospital.resource().await.status?.release.rollout
}

/// Services that users are led to.
async fn led_to(hospital: &Hospital) -> Vec<String> {
    let route = hospital.sees(HTTP_ROUTE, "hospital").await;
    let rules = route.data["spec"]["rules"].as_array().cloned().unwrap_or_default();
    let backends = rules.iter().flat_map(|rule| rule["backendRefs"].as_array().cloned().unwrap_or_default());
    backends.map(|backend| backend["name"].as_str().unwrap_or_default().to_owned()).collect()
}
