//! What cannot be acted upon is refused or reported, changes nothing, and disturbs nobody else.

use std::fs;

use chrono::Utc;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    hospital::{DEADLINE, Hospital, eventually, quiet, words},
    install::{api_of, apply},
    world::{World, run},
};
use crate::support::{documents_of, files, merge, root, stem};

const KINDS: [&str; 3] = ["HospitalPlatform", "HospitalApplication", "HospitalTenant"];

/// A case that needs nothing but its three resources.
struct Mistake {
    name: String,
    expected: Value,
    resources: Vec<Value>,
}

#[test]
fn every_mistake_is_refused_or_reported_and_another_hospital_never_notices() {
    run(async |world| {
        let healthy = Hospital::open(world, "healthy").await;
        healthy.settles().await;
        // A watch is opened again when another test restarts the operator.
        let cost = || healthy.requests().iter().filter(|event| event.verb != "watch").map(words).collect::<Vec<_>>();
        let before = cost();
        let mistakes = mistakes();
        assert!(mistakes.len() > 25, "{} cases", mistakes.len());
        let mut accepted = Vec::new();
        for mistake in &mistakes {
            if is_accepted(world, mistake).await {
                accepted.push(mistake);
            }
        }
        let mut reported = Vec::new();
        for mistake in &accepted {
            let hospital = Hospital::named(world, &mistake.name);
            let text = |key: &str| mistake.expected[key].as_str().unwrap_or_default().to_owned();
            let by_rejection = mistake.expected["by"] == "rejection";
            let (kind, status) = if by_rejection {
                ("Ready".to_owned(), "False".to_owned())
            } else {
                (text("condition"), text("status"))
            };
            let message = hospital.shows(&kind, &status, &text("reason")).await;
            says(&mistake.name, &message, &mistake.expected);
            if by_rejection {
                reported.push(hospital);
            }
        }
        quiet().await;
        for hospital in &reported {
            let namespace = hospital.namespace();
            let touched: Vec<_> = hospital
                .requests()
                .iter()
                .filter(|event| event.namespace == namespace || event.name == namespace)
                .map(words)
                .collect();
            assert!(touched.is_empty(), "{}: {touched:?}", hospital.name);
        }
        eprintln!("{} mistakes, {} of them accepted and reported in status", mistakes.len(), accepted.len());
        assert!(reported.len() > 10, "{} reported", reported.len());
        assert_eq!(cost(), before, "the healthy hospital cost requests");
        healthy.ready().await;
        Hospital::open(world, "healthy-too").await;
    });
}

#[test]
fn a_host_belongs_to_the_older_hospital_until_that_one_goes() {
    run(async |world| {
        let (older, newer) = (Hospital::named(world, "host-older"), Hospital::named(world, "host-newer"));
        let host = json!({ "spec": { "host": "shared.example.org" } });
        older.create(host.clone()).await;
        older.ready().await;
        // Ages are compared by the second.
        let age = older.resource().await.metadata.creation_timestamp.unwrap().0.as_second();
        eventually("a second passes", DEADLINE, async || {
            (Utc::now().timestamp() > age).then_some(()).ok_or(String::new())
        })
        .await;
        let newer_uid = newer.create(host).await.uid();
        let message = newer.shows("Ready", "False", "HostTaken").await;
        assert!(message.contains("host-older"), "{message}");
        older.ready().await;
        older.delete().await;
        newer.ready().await;
        assert_eq!(newer.resource().await.uid(), newer_uid);
    });
}

#[test]
fn a_namespace_of_somebody_else_is_left_alone_until_they_remove_it() {
    run(async |world| {
        let hospital = Hospital::named(world, "squatted");
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": hospital.namespace() } });
        apply(&world.admin, &namespace).await;
        hospital.create(json!({})).await;
        let message = hospital.shows("Ready", "False", "NamespaceNotOurs").await;
        assert!(message.contains(&hospital.namespace()), "{message}");
        quiet().await;
        let touched = hospital
            .requests()
            .into_iter()
            .filter(|event| event.namespace == hospital.namespace() || event.name == hospital.namespace());
        assert_eq!(touched.map(|event| words(&event)).collect::<Vec<_>>(), Vec::<String>::new());
        remove_namespace(world, &hospital.namespace()).await;
        hospital.ready().await;
    });
}

/// Deletes an empty namespace and finishes the deletion, as the namespace controller would.
async fn remove_namespace(world: &World, name: &str) {
    let api = api_of(&world.admin, &json!({ "apiVersion": "v1", "kind": "Namespace" }));
    api.delete(name, &kube::api::DeleteParams::default()).await.unwrap();
    let mut live = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
    live["spec"]["finalizers"] = json!([]);
    let uri = format!("/api/v1/namespaces/{name}/finalize");
    let request = axum::http::Request::put(uri)
        .header("content-type", "application/json")
        .body(live.to_string().into_bytes())
        .unwrap();
    world.admin.request_text(request).await.unwrap();
    eventually("the namespace goes", DEADLINE, async || {
        api.get_opt(name).await.unwrap().map_or(Ok(()), |live| Err(format!("{:?}", live.data)))
    })
    .await;
}

/// Applies what a person would; false if the API server refuses a resource with the words that are expected.
async fn is_accepted(world: &World, mistake: &Mistake) -> bool {
    for resource in &mistake.resources {
        let parameters = PatchParams::apply("gitops").force();
        let name = resource["metadata"]["name"].as_str().unwrap();
        match api_of(&world.admin, resource).patch(name, &parameters, &Patch::Apply(resource)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 422 => {
                let field = mistake.expected["field"].as_str().unwrap();
                assert!(status.message.contains(field), "{}: {field} is not named: {}", mistake.name, status.message);
                if mistake.expected["by"] == "cel" {
                    says(&mistake.name, &status.message, &mistake.expected);
                }
                return false;
            }
            Err(error) => panic!("{}: {error}", mistake.name),
        }
    }
    assert_ne!(mistake.expected["by"], "cel", "{} is accepted", mistake.name);
    true
}

fn says(name: &str, message: &str, expected: &Value) {
    for part in expected["says"].as_array().unwrap() {
        let part = part.as_str().unwrap().replace("st-elsewhere", name);
        assert!(message.contains(&part), "{name}: {part:?} is not said: {message}");
    }
}

fn mistakes() -> Vec<Mistake> {
    let cases = files(&root().join("tests/cases/bad-input"), "yaml");
    cases.iter().enumerate().filter_map(|(number, path)| mistake(number, path)).collect()
}

fn mistake(number: usize, path: &std::path::Path) -> Option<Mistake> {
    let file = stem(path);
    let mut patches = documents_of(&fs::read_to_string(path).unwrap(), &file);
    let case = patches.iter().position(|document| document["kind"] == "Case").map(|at| patches.remove(at))?;
    let simple = ["kind", "shows", "expect"];
    if case.as_object()?.keys().any(|key| !simple.contains(&key.as_str())) {
        return None;
    }
    let name = format!("mistake-{number}-{}", &file[..file.len().min(24)]).trim_end_matches('-').to_owned();
    let resources = KINDS.iter().map(|kind| {
        let fixture = format!("tests/cases/fixtures/{}.yaml", kind.trim_start_matches("Hospital").to_lowercase());
        let mut resource = documents_of(&fs::read_to_string(root().join(&fixture)).unwrap(), &fixture).remove(0);
        if *kind == "HospitalTenant" {
            let own = json!({ "spec": { "platform": name, "application": { "name": name }, "host": format!("{name}.example.org") } });
            merge(&mut resource, own);
        }
        if let Some(patch) = patches.iter().find(|patch| patch["kind"] == *kind) {
            merge(&mut resource, patch.clone());
        }
        // The application has a name of its own here.
        let channels = resource["spec"].get_mut("channels").and_then(Value::as_array_mut);
        for channel in channels.into_iter().flatten().filter(|channel| channel["application"] == "chart") {
            channel["application"] = json!(name);
        }
        resource["metadata"] = json!({ "name": name });
        resource
    });
    Some(Mistake { resources: resources.collect(), expected: case["expect"].clone(), name })
}
