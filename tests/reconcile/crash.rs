//! A crash right after the n-th write, for every n, leaves nothing that the next operator does not finish.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use his_operator::{names, objects::Ref};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{
    hospital::{DEADLINE, Hospital, eventually},
    world::run_alone,
};

/// For all hospitals of this test together, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);

#[test]
fn a_crash_after_the_nth_write_converges_to_the_same_hospital_for_every_n() {
    run_alone(async |world| {
        let reference = Hospital::open(world, "whole").await;
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
            same_shape(hospital, &expected).await;
        }
        nothing_was_made_twice(&hospitals);
    });
}

async fn same_shape(hospital: &Hospital, expected: &BTreeMap<String, Value>) {
    let name = &hospital.name;
    eventually(&format!("{name} is as without a crash"), DEADLINE, async || {
        let now = shape(hospital).await;
        let missing: Vec<_> = expected.keys().filter(|at| !now.contains_key(*at)).collect();
        let orphans: Vec<_> = now.keys().filter(|at| !expected.contains_key(*at)).collect();
        let different = expected.iter().find(|(at, value)| now.get(*at).is_some_and(|now| now != *value));
        if missing.is_empty() && orphans.is_empty() && different.is_none() {
            return Ok(());
        }
        let different = different.map(|(at, value)| format!("{value}\n{}", now[at]));
        Err(format!("missing {missing:?}, orphans {orphans:?}, different {different:?}"))
    })
    .await;
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
    let jobs = made.keys().filter(|object| object.starts_with("jobs ")).count();
    assert_eq!(jobs, hospitals.len(), "one init for each hospital");
}

/// Everything of a hospital but what is its own or the API server's: UIDs, times, addresses, values of Secrets.
async fn shape(hospital: &Hospital) -> BTreeMap<String, Value> {
    let objects = hospital.objects().await;
    let shape = |(at, live): (&Ref, &DynamicObject)| {
        let own = [(hospital.name.as_str(), "NAME"), (live.metadata.uid.as_deref().unwrap(), "UID")];
        let mut value = json!({ "metadata": {
            "labels": live.metadata.labels, "annotations": live.metadata.annotations, "finalizers": live.metadata.finalizers,
        } });
        for key in [names::DESIRED, names::TENANT_UID] {
            value["metadata"]["annotations"].as_object_mut().map(|annotations| annotations.remove(key));
        }
        let mut data = live.data.clone();
        data.as_object_mut().unwrap().remove("status");
        if at.kind.kind == "Secret" {
            let keys: Vec<_> = data["data"].as_object().unwrap().keys().cloned().collect();
            data["data"] = json!(keys);
        }
        if let Some(spec) = data.get_mut("spec").and_then(Value::as_object_mut) {
            spec.retain(|key, _| !["clusterIP", "clusterIPs"].contains(&key.as_str()));
        }
        value["data"] = data;
        (anonymous(&at.to_string(), &own), anonymous_value(value, &own))
    };
    objects.iter().map(shape).collect()
}

fn anonymous_value(value: Value, own: &[(&str, &str)]) -> Value {
    match value {
        Value::String(text) => Value::String(anonymous(&text, own)),
        Value::Array(list) => list.into_iter().map(|value| anonymous_value(value, own)).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (anonymous(&key, own), anonymous_value(value, own))).collect()
        }
        other => other,
    }
}

/// A name that follows from content follows from the hospital's name too.
fn anonymous(text: &str, own: &[(&str, &str)]) -> String {
    let text = own.iter().fold(text.to_owned(), |text, (own, word)| text.replace(own, word));
    match text.split_once("-files-") {
        Some((before, digest)) if digest.len() == 16 => format!("{before}-files-DIGEST"),
        _ => text,
    }
}
