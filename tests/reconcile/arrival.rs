//! What is missing is waited for without polling, and used when it comes.

use std::{
    fs,
    time::{Duration, Instant},
};

use his_operator::objects::kind::HTTP_ROUTE;
use serde_json::{Value, json};

use super::{
    hospital::{DEADLINE, Hospital, eventually, quiet},
    install::{apply, apply_routes_crd, remove_routes_crd},
    world::{run, run_alone},
};
use crate::support::{documents_of, root};

#[test]
fn a_missing_platform_and_application_wake_the_hospital_when_they_come() {
    run(async |world| {
        let hospital = Hospital::named(world, "early");
        let names = json!({ "platform": "late", "application": { "name": "late" } });
        hospital.create(json!({ "spec": names })).await;
        let message = hospital.shows("Ready", "False", "PlatformNotFound").await;
        assert!(message.contains("late"), "{message}");
        hospital.shows("Stalled", "False", "Progressing").await;
        let before = hospital.settles().await;
        quiet().await;
        assert_eq!(hospital.requests().len(), before, "waiting cost requests");

        apply(&world.admin, &renamed("platform.yaml")).await;
        hospital.shows("Ready", "False", "ApplicationNotFound").await;
        apply(&world.admin, &renamed("application.yaml")).await;
        let came = Instant::now();
        hospital.ready().await;
        eprintln!("ready {:?} after the application came", came.elapsed());
    });
}

#[test]
fn a_kind_that_the_api_server_does_not_serve_is_reported_and_picked_up_when_it_comes() {
    run_alone(async |world| {
        let hospital = Hospital::open(world, "routed").await;
        remove_routes_crd(&world.admin).await;
        let message = hospital.shows("EdgeReady", "False", "Unsupported").await;
        assert!(message.contains("httproutes.gateway.networking.k8s.io"), "{message}");
        // The rest of a hospital comes all the same.
        let another = Hospital::named(world, "unrouted");
        another.create(json!({})).await;
        another.shows("ReleaseReady", "True", "Proved").await;
        another.shows("EdgeReady", "False", "Unsupported").await;

        apply_routes_crd(&world.admin).await;
        let came = Instant::now();
        for hospital in [&hospital, &another] {
            eventually("the route is made", Duration::from_secs(60), async || {
                hospital.get(HTTP_ROUTE, "hospital").await.ok_or("not yet".to_owned())
            })
            .await;
        }
        eprintln!("routes made {:?} after their definition came", came.elapsed());
        hospital.ready().await;
        another.ready().await;
        assert!(came.elapsed() < DEADLINE);
    });
}

fn renamed(fixture: &str) -> Value {
    let file = root().join("tests/cases/fixtures").join(fixture);
    let mut document = documents_of(&fs::read_to_string(file).unwrap(), fixture).remove(0);
    document["metadata"]["name"] = "late".into();
    document
}
