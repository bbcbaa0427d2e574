//! A secret is rotated: the new value comes in with a release, and the old one is neither changed nor lost.

use std::collections::BTreeSet;

use his_operator::objects::kind::{DEPLOYMENT, SECRET};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{
    actor::{Fate, Jobs},
    hospital::{DEADLINE, Hospital, eventually},
    world::run,
};

const OLD: &str = "app-session-key";
const NEW: &str = "app-session-key.2";

#[test]
fn a_rotated_secret_comes_in_with_a_release_that_can_fail_and_go_back() {
    run(async |world| {
        let hospital = Hospital::open(world, "rotated").await;
        let before = hospital.secrets().await;
        assert_eq!(mounted(&hospital, "web-blue").await, [OLD.to_owned()].into());

        // New pods that do not work with it: whoever serves keeps the value that they have.
        world.actor.decide(&hospital.name, Fate { jobs: Jobs::Fail, ..Fate::default() }).await;
        hospital.patch(rotations(2)).await;
        let message = hospital.shows("ReleaseReady", "False", "GateFailed").await;
        assert!(message.contains("1.0.0"), "{message}");
        hospital.shows("CredentialsReady", "True", "Proved").await;
        assert_eq!(mounted(&hospital, "web-blue").await, [OLD.to_owned()].into());
        let made = hospital.secrets().await;
        let others: Vec<_> = made.iter().filter(|(name, _)| *name != NEW).collect();
        assert_eq!(others, before.iter().collect::<Vec<_>>(), "another secret changed");
        assert_ne!(made[NEW], made[OLD], "the new value is the old one");

        world.actor.decide(&hospital.name, Fate::default()).await;
        hospital.patch(json!({ "spec": { "release": { "attempt": 1 } } })).await;
        hospital.ready().await;
        let message = hospital.shows("CredentialsReady", "True", "Proved").await;
        assert!(message.contains("session_key is in generation 2"), "{message}");
        assert_eq!(mounted(&hospital, "web-green").await, [NEW.to_owned()].into());
        assert_eq!(hospital.secrets().await, made, "a release changed a secret");

        // The old value is still guarded like every other.
        hospital.api(SECRET).delete(OLD, &DeleteParams::default()).await.unwrap();
        eventually("the old value comes back", DEADLINE, async || {
            let now = hospital.secrets().await;
            (now == made).then_some(()).ok_or(format!("{:?}", now.keys()))
        })
        .await;

        hospital.patch(rotations(9)).await;
        let message = hospital.shows("Ready", "False", "RotationRefused").await;
        assert!(message.contains("write 3"), "{message}");

        hospital.patch(rotations(1)).await;
        hospital.ready().await;
        assert_eq!(mounted(&hospital, "web-blue").await, [OLD.to_owned()].into());
        assert_eq!(hospital.secrets().await, made, "going back changed a secret");
    });
}

fn rotations(generation: i32) -> Value {
    json!({ "spec": { "credentials": { "rotations": { "session_key": generation } } } })
}

/// Generations of the secret that the pods of a Deployment get.
async fn mounted(hospital: &Hospital, deployment: &str) -> BTreeSet<String> {
    let live = hospital.sees(DEPLOYMENT, deployment).await;
    let volumes = live.data["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    let names = volumes.iter().filter_map(|volume| volume["secret"]["secretName"].as_str());
    names.filter(|name| name.starts_with(OLD)).map(ToOwned::to_owned).collect()
}
