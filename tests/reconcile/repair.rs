//! What somebody deletes comes back.

use std::time::{Duration, Instant};

use his_operator::{
    names,
    objects::{
        Ref,
        kind::{JOB, NAMESPACE, PERSISTENT_VOLUME_CLAIM, SECRET},
    },
};
use kube::{ResourceExt, api::DeleteParams, core::DynamicObject};

use super::{
    hospital::{DEADLINE, Hospital, eventually, words},
    world::run,
};

#[test]
fn every_deleted_object_comes_back_at_once_and_credentials_keep_their_values() {
    run(async |world| {
        let hospital = Hospital::open(world, "deleted").await;
        hospital.settles().await;
        let secrets = hospital.secrets().await;
        assert!(secrets.len() >= 4, "{:?}", secrets.keys());

        let mut times = Vec::new();
        for (at, live) in hospital.objects().await {
            // What holds data is never deleted here, and a Job that has ended is never run again.
            if ![NAMESPACE, PERSISTENT_VOLUME_CLAIM, JOB].contains(&at.kind) {
                times.push((comes_back(&hospital, &at, &live).await, at));
            }
        }
        hospital.ready().await;
        eventually("no copy of a credential is left", DEADLINE, async || {
            let now = hospital.secrets().await;
            (now == secrets).then_some(()).ok_or(format!("{:?}", now.keys()))
        })
        .await;

        times.sort_unstable();
        let median = times[times.len() / 2].0;
        let (slowest, at) = times.last().unwrap();
        eprintln!("{} objects deleted; back after {median:?} (median), {slowest:?} ({at}, slowest)", times.len());
        assert!(median <= Duration::from_secs(1), "{times:#?}");
        let removals = hospital.requests().into_iter().filter(|event| event.verb.starts_with("delete"));
        let of_data = removals.filter(|event| {
            let twin = event.resource == "secrets" && event.name.ends_with(".rescue");
            ["namespaces", "persistentvolumeclaims", "secrets"].contains(&event.resource.as_str()) && !twin
        });
        assert!(of_data.map(|event| words(&event)).collect::<Vec<_>>().is_empty());
    });
}

/// Deletes an object and waits for its successor; returns how long that took.
async fn comes_back(hospital: &Hospital, at: &Ref, live: &DynamicObject) -> Duration {
    let api = hospital.api(at.kind);
    api.delete(&at.name, &DeleteParams::background()).await.unwrap_or_else(|error| panic!("{at}: {error}"));
    let deleted = Instant::now();
    eventually(&format!("{at} comes back"), DEADLINE, async || {
        let now = api.get_opt(&at.name).await.unwrap().ok_or("it is not there")?;
        let new = now.uid() != live.uid() && now.metadata.deletion_timestamp.is_none();
        new.then_some(now).ok_or("it is still the old one".to_owned())
    })
    .await;
    let took = deleted.elapsed();
    let now = api.get(&at.name).await.unwrap();
    assert_eq!(now.labels(), live.labels(), "{at}");
    assert_eq!(now.annotations().get(names::TENANT_UID), live.annotations().get(names::TENANT_UID), "{at}");
    if at.kind == SECRET {
        assert_eq!(now.data["data"], live.data["data"], "{at} has another value");
        assert!(now.finalizers().iter().any(|finalizer| finalizer == names::KEEP_FINALIZER), "{at} is not kept");
    }
    took
}
