//! A crash right after the n-th write, for every n, leaves nothing that the next operator does not finish.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    hospital::{Hospital, eventually},
    shape::{is_like, shape},
    world::run_alone,
};

/// For all hospitals of this test together, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_crash_after_the_nth_write_converges_to_the_same_hospital_for_every_n() {
    run_alone(async |world| {
        let reference = Hospital::open(world, "uninterrupted").await;
        reference.settles().await;
        let last = world.gate().await.writes(&reference.name);
        assert!(last > 40, "{last} writes make a hospital");
        let expected = shape(&reference).await;

        let gate = world.gate().await;
        let hospitals: Vec<Hospital> = (1..=last).map(|n| Hospital::named(world, &format!("crash-{n}"))).collect();
        for (n, hospital) in hospitals.iter().enumerate() {
            gate.cut(&hospital.name, n + 1);
            hospital.create(json!({})).await;
        }
        let started = Instant::now();
        let mut uncut = Vec::new();
        for hospital in &hospitals {
            eventually(&format!("{} is cut off or done", hospital.name), PATIENCE, async || {
                if gate.is_cut(&hospital.name) {
                    return Ok(());
                }
                // Statuses on the way may differ in number, so the last few crashes may come too late to happen.
                let done = hospital.condition("Ready").await.is_some_and(|(status, ..)| status == "True");
                done.then(|| uncut.push(hospital.name.clone())).ok_or(format!("{} writes", gate.writes(&hospital.name)))
            })
            .await;
        }
        eprintln!("{last} hospitals cut off after {:?}; never cut off: {uncut:?}", started.elapsed());
        assert!(uncut.len() * 5 < last, "{uncut:?}");

        world.crash_and_restart().await;
        let started = Instant::now();
        for hospital in &hospitals {
            hospital.ready().await;
        }
        eprintln!("all {last} whole again after {:?}", started.elapsed());
        for hospital in &hospitals {
            is_like(hospital, &expected).await;
        }
        nothing_was_made_twice(&hospitals);
    });
}

/// Each credential was generated once, and init ran once.
fn nothing_was_made_twice(hospitals: &[Hospital]) {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    let requests = hospitals[0].world.requests();
    let ours = |namespace: &str| namespace.starts_with("his-crash-");
    for event in requests.into_iter().filter(|event| ours(&event.namespace) && event.code == 201) {
        if ["secrets", "jobs"].contains(&event.resource.as_str()) {
            *made.entry(format!("{} {}/{}", event.resource, event.namespace, event.name)).or_default() += 1;
        }
    }
    let twice: Vec<_> = made.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    for hospital in hospitals {
        let own = format!("jobs {}/init-", hospital.namespace());
        let jobs: Vec<_> = made.keys().filter(|object| object.starts_with(&own)).collect();
        assert_eq!(jobs.len(), 1, "one init for {}: {jobs:?}", hospital.name);
    }
}
