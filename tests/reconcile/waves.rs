//! A channel brings a version to many hospitals: in waves, not past a refusal, and around those that may not begin.

use std::fs;

use serde_json::{Value, json};

use super::{
    actor::{Fate, Jobs},
    hospital::{DEADLINE, Hospital, eventually, quiet},
    install::apply,
    world::{World, run},
};
use crate::support::{documents_of, root};

const PLATFORM: &str = "waves";

#[test]
fn a_channel_brings_a_version_in_waves_and_stops_at_a_refusal() {
    run(async |world| {
        channel(world, "1.0.0").await;
        let [first, held, second, refuser, last] =
            ["ward-a", "ward-b", "ward-c", "ward-d", "ward-e"].map(|name| Hospital::named(world, name));
        for hospital in [&first, &held, &second, &refuser, &last] {
            hospital.create(follows()).await;
        }
        for hospital in [&first, &held, &second, &refuser, &last] {
            hospital.ready().await;
        }
        let hold = json!({ "reason": "audit week of the clinic", "until": "2099-01-01T00:00:00Z" });
        held.patch(json!({ "spec": { "release": { "hold": hold } } })).await;
        migrations(&first, Jobs::Run).await;
        migrations(&refuser, Jobs::Fail).await;

        channel(world, "2.0.0").await;
        first.shows("ReleaseReady", "False", "MigrationRunning").await;
        says(&held, "is held until").await;
        for hospital in [&second, &refuser, &last] {
            says(hospital, "waits for its turn in channel stable").await;
        }
        quiet().await;
        assert_eq!(versions(&[&first, &held, &second, &refuser, &last]).await, ["1.0.0"; 5]);
        let not_before = held.resource().await.status.unwrap().release.not_before;
        assert_eq!(not_before.as_deref(), Some("2099-01-01T00:00:00Z"));

        // The second wave has room for two; who is held is left out.
        migrations(&first, Jobs::Succeed).await;
        refuser.shows("ReleaseReady", "False", "MigrationFailed").await;
        says(&last, "channel stable has stopped, because hospital ward-d refused").await;
        serves(&second, "2.0.0").await;
        quiet().await;
        assert_eq!(
            versions(&[&first, &held, &second, &refuser, &last]).await,
            ["2.0.0", "1.0.0", "2.0.0", "1.0.0", "1.0.0"]
        );

        migrations(&refuser, Jobs::Succeed).await;
        refuser.patch(json!({ "spec": { "release": { "attempt": 1 } } })).await;
        serves(&refuser, "2.0.0").await;
        serves(&last, "2.0.0").await;
        says(&held, "is held until").await;
        held.patch(json!({ "spec": { "release": { "hold": null } } })).await;
        serves(&held, "2.0.0").await;
        assert_eq!(held.resource().await.status.unwrap().release.not_before, None);
    });
}

#[test]
fn a_hospital_with_a_version_of_its_own_stays_with_it() {
    run(async |world| {
        let hospital = Hospital::named(world, "pinned");
        hospital.create(json!({ "spec": { "application": { "version": null, "channel": "nowhere" } } })).await;
        let message = hospital.shows("Ready", "False", "ChannelNotFound").await;
        assert!(message.contains("no channel nowhere of application chart"), "{message}");
        hospital.patch(json!({ "spec": { "application": { "version": "1.0.0", "channel": null } } })).await;
        hospital.ready().await;
    });
}

/// The platform, whose channel brings this version.
async fn channel(world: &World, version: &str) {
    let channel = json!({ "name": "stable", "application": "chart", "version": version, "waves": [1, 2] });
    let file = "tests/cases/fixtures/platform.yaml";
    let text = fs::read_to_string(root().join(file)).unwrap();
    let mut platform = documents_of(&text, file)[0].clone();
    platform["metadata"] = json!({ "name": PLATFORM });
    platform["spec"]["channels"] = json!([channel]);
    apply(&world.admin, &platform).await;
}

fn follows() -> Value {
    json!({ "spec": { "platform": PLATFORM, "application": { "version": null, "channel": "stable" } } })
}

async fn migrations(hospital: &Hospital, jobs: Jobs) {
    hospital.world.actor.decide(&hospital.name, Fate { jobs, ..Fate::default() }).await;
}

/// It serves what it served, and says why nothing new begins.
async fn says(hospital: &Hospital, why: &str) {
    let what = format!("{} says {why:?}", hospital.name);
    eventually(&what, DEADLINE, async || match hospital.condition("ReleaseReady").await {
        Some((status, _, message)) if status == "True" && message.contains(why) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

async fn serves(hospital: &Hospital, version: &str) {
    let what = format!("{} serves {version}", hospital.name);
    eventually(&what, DEADLINE, async || {
        let ready = hospital.condition("Ready").await.map(|(status, ..)| status);
        let serves = hospital.resource().await.status.unwrap_or_default().version;
        let both = (ready.as_deref(), serves.as_deref()) == (Some("True"), Some(version));
        both.then_some(()).ok_or_else(|| format!("{ready:?} {serves:?}"))
    })
    .await;
}

async fn versions(hospitals: &[&Hospital]) -> Vec<String> {
    let mut versions = Vec::new();
    for hospital in hospitals {
        versions.push(hospital.resource().await.status.unwrap().version.unwrap_or_default());
    }
    versions
}
