//! The load decides how many pods there are: what an autoscaler chooses is kept, and a release comes up with it.

use std::fs;

use e2e::control_plane::AuditEvent;
use his_operator::objects::{
    Ref,
    kind::{DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    drift::every_field,
    hospital::{DEADLINE, Hospital, eventually, quiet, words},
    install::apply,
    world::{World, run},
};
use crate::support::{documents_of, merge, root};

/// The fixture, of which web may have two to six pods, and a worker two to four.
fn application(name: &str) -> Value {
    let file = root().join("tests/cases/fixtures/application.yaml");
    let mut document = documents_of(&fs::read_to_string(file).unwrap(), name).remove(0);
    document["metadata"]["name"] = name.into();
    let components = document["spec"]["components"].as_array_mut().unwrap();
    merge(&mut components[0], json!({ "replicas": { "min": 2, "max": 6 }, "autoscaling": { "cpuPercent": 70 } }));
    components.push(json!({
        "name": "worker", "role": "worker", "image": "chart", "command": ["chart", "work"],
        "replicas": { "min": 2, "max": 4 }, "autoscaling": { "cpuPercent": 80 },
    }));
    document
}

async fn open(world: &'static World, name: &str) -> Hospital {
    apply(&world.admin, &application(name)).await;
    let hospital = Hospital::named(world, name);
    hospital.create(json!({ "spec": { "application": { "name": name } } })).await;
    hospital.ready().await;
    hospital
}

/// Asks for that many pods as an autoscaler does.
async fn scale(hospital: &Hospital, deployment: &str, pods: i32) {
    let manager = PatchParams { field_manager: Some("kube-controller-manager".to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "spec": { "replicas": pods } }));
    hospital.api(DEPLOYMENT).patch_scale(deployment, &manager, &patch).await.unwrap();
}

async fn pods(hospital: &Hospital, deployment: &str) -> Option<i64> {
    hospital.get(DEPLOYMENT, deployment).await?.data["spec"]["replicas"].as_i64()
}

async fn has(hospital: &Hospital, deployment: &str, expected: i64) {
    eventually(&format!("{deployment} asks for {expected} pods"), DEADLINE, async || {
        let now = pods(hospital, deployment).await;
        (now == Some(expected)).then_some(()).ok_or(format!("{now:?}"))
    })
    .await;
}

/// Name and target of every autoscaler.
async fn autoscalers(hospital: &Hospital) -> Vec<(String, String)> {
    let all = hospital.all(HORIZONTAL_POD_AUTOSCALER).await;
    let target = |data: &Value| data["spec"]["scaleTargetRef"]["name"].as_str().unwrap().to_owned();
    all.iter().map(|live| (live.name_any(), target(&live.data))).collect()
}

fn named(pairs: [(&str, &str); 2]) -> Vec<(String, String)> {
    pairs.map(|(name, target)| (name.to_owned(), target.to_owned())).to_vec()
}

/// Writes what the autoscaler's controller would.
async fn says(hospital: &Hospital, active: &str, reason: &str, cpu: i32) {
    let condition = |kind: &str, status: &str, reason: &str| json!({ "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let current = json!({ "averageUtilization": cpu, "averageValue": format!("{cpu}m") });
    let status = json!({ "status": {
        "conditions": [condition("AbleToScale", "True", "ReadyForNewScale"), condition("ScalingActive", active, reason)],
        "currentMetrics": [{ "type": "Resource", "resource": { "name": "cpu", "current": current } }],
        "currentReplicas": 2, "desiredReplicas": 2,
    } });
    let api = hospital.api(HORIZONTAL_POD_AUTOSCALER);
    api.patch_status("web", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

/// Nothing is asked of the API server, although the hospital is looked at.
async fn costs_nothing(hospital: &Hospital, change: impl AsyncFnOnce()) {
    let (before, mark) = (hospital.settles().await, hospital.world.log.len());
    change().await;
    hospital.is_looked_at(mark).await;
    quiet().await;
    let after: Vec<_> = hospital.requests().split_off(before).iter().map(words).collect();
    assert_eq!(after, Vec::<String>::new());
}

#[test]
fn what_an_autoscaler_chooses_is_kept_at_no_cost_and_a_release_comes_up_with_it() {
    run(async |world| {
        let hospital = open(world, "grown").await;
        assert_eq!(autoscalers(&hospital).await, named([("web", "web-blue"), ("worker", "worker")]));
        costs_nothing(&hospital, async || scale(&hospital, "web-blue", 5).await).await;
        costs_nothing(&hospital, async || scale(&hospital, "worker", 3).await).await;
        assert_eq!((pods(&hospital, "web-blue").await, pods(&hospital, "worker").await), (Some(5), Some(3)));
        hospital.ready().await;

        let before = hospital.requests().len();
        hospital.patch(json!({ "spec": { "application": { "version": "2.0.0" } } })).await;
        let green = hospital.sees(DEPLOYMENT, "web-green").await;
        assert_eq!(green.data["spec"]["replicas"], 5, "new pods are as many as serve");
        hospital.ready().await;
        assert_eq!(hospital.resource().await.status.unwrap().version.as_deref(), Some("2.0.0"));
        hospital.settles().await;
        assert_eq!((pods(&hospital, "web-green").await, pods(&hospital, "worker").await), (Some(5), Some(3)));
        assert_eq!(autoscalers(&hospital).await, named([("web", "web-green"), ("worker", "worker")]));

        let writes: Vec<_> = hospital.requests().split_off(before).into_iter().filter(AuditEvent::is_write).collect();
        let of = |resource: &str, name: &str| {
            let found: Vec<_> = writes
                .iter()
                .enumerate()
                .filter(|(_, event)| event.resource == resource && event.name == name)
                .collect();
            assert_eq!(found.len(), 1, "{resource} {name}: {:?}", writes.iter().map(words).collect::<Vec<_>>());
            found[0].0
        };
        assert!(
            of("httproutes", "hospital") < of("horizontalpodautoscalers", "web"),
            "the autoscaler moved before users did: {:?}",
            writes.iter().map(words).collect::<Vec<_>>()
        );
    });
}

#[test]
fn a_number_of_pods_outside_of_the_bounds_is_put_right() {
    run(async |world| {
        let hospital = open(world, "bounded").await;
        for (asked, allowed) in [(9, 6), (1, 2), (0, 2)] {
            scale(&hospital, "web-blue", asked).await;
            has(&hospital, "web-blue", allowed).await;
        }
        hospital.ready().await;
    });
}

#[test]
fn an_autoscaler_is_kept_as_it_is_rendered_and_what_it_says_is_told() {
    run(async |world| {
        let hospital = open(world, "measured").await;
        let message = hospital.shows("ReleaseReady", "True", "Proved").await;
        assert!(message.contains("web may have 2 to 6 pods, but its autoscaler was not seen at work yet"), "{message}");
        tells(&hospital, ("True", "ValidMetricFound"), "an autoscaler keeps web between 2 and 6 pods").await;

        // What it measures concerns nobody.
        let (before, mark) = (hospital.settles().await, world.log.len());
        for cpu in [41, 42, 43] {
            says(&hospital, "True", "ValidMetricFound", cpu).await;
        }
        quiet().await;
        assert_eq!(hospital.requests().len(), before);
        let looked = format!("reconcile{{tenant=\"{}\" ", hospital.name);
        assert!(!world.log.after(mark).contains(&looked), "a measurement woke the hospital");

        let inactive =
            "web keeps the pods that it has, because its autoscaler is not at work (FailedGetResourceMetric)";
        tells(&hospital, ("False", "FailedGetResourceMetric"), inactive).await;
        hospital.ready().await;

        let live = hospital.get(HORIZONTAL_POD_AUTOSCALER, "web").await.unwrap();
        let at = Ref { kind: HORIZONTAL_POD_AUTOSCALER, namespace: hospital.namespace(), name: "web".to_owned() };
        let tally = every_field(&hospital, &at, live.clone()).await;
        assert!(tally.left.is_empty() && tally.repaired > 10, "{tally:?}");
        hospital.api(HORIZONTAL_POD_AUTOSCALER).delete("web", &DeleteParams::default()).await.unwrap();
        eventually("the autoscaler comes back", DEADLINE, async || {
            let now = hospital.get(HORIZONTAL_POD_AUTOSCALER, "web").await.filter(|now| now.uid() != live.uid());
            now.map(drop).ok_or("not yet".to_owned())
        })
        .await;

        // Nobody moves the number any more, so it is the hospital's again.
        scale(&hospital, "web-blue", 5).await;
        let mut fixed = application(&hospital.name);
        fixed["spec"]["components"][0].as_object_mut().unwrap().remove("autoscaling");
        apply(&world.admin, &fixed).await;
        has(&hospital, "web-blue", 2).await;
        eventually("the autoscaler goes", DEADLINE, async || {
            let left = autoscalers(&hospital).await;
            (left.len() == 1 && left[0].0 == "worker").then_some(()).ok_or(format!("{left:?}"))
        })
        .await;
        hospital.ready().await;
    });
}

/// Waits until the release's message has this part, while it stays proved.
async fn tells(hospital: &Hospital, (active, reason): (&str, &str), part: &str) {
    says(hospital, active, reason, 40).await;
    eventually(&format!("ReleaseReady says {part:?}"), DEADLINE, async || {
        let now = hospital.condition("ReleaseReady").await;
        let told = now.as_ref().is_some_and(|(status, _, message)| status == "True" && message.contains(part));
        told.then_some(()).ok_or(format!("{now:?}"))
    })
    .await;
}
