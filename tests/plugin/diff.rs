//! `kubectl his diff`: its text as a golden file.

use his_operator::{
    objects::{Desired, Observed, Ref, kind::DEPLOYMENT},
    plugin::{
        diff::{Action, changes, text},
        redact::Redaction,
    },
    render::simulate,
};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

use super::{health::world, plugin, status::golden};

/// The cluster that the operator has made, and then somebody changed.
fn tampered() -> (his_operator::tenant::Inputs, Observed) {
    let (inputs, observed) = world();
    let made = simulate(&inputs, &observed, false).unwrap();
    let mut live = observed;
    for desired in &made.desired {
        let Some(mut body) = kept(desired) else { continue };
        touch(desired, &mut body);
        let object: DynamicObject = serde_json::from_value(body).unwrap();
        if desired.at().name != "default-deny" {
            live.objects.insert(desired.at().clone(), Arc::new(object));
        }
    }
    (inputs, live)
}

/// As the operator writes it.
fn kept(desired: &Desired) -> Option<Value> {
    let Desired::Generate(generated) = desired else { return desired.body().cloned() };
    let mut body = generated.object.clone().stamped().body;
    body["metadata"]["finalizers"] = json!(["his-operator.io/keep-credential"]);
    Some(body)
}

fn touch(desired: &Desired, body: &mut Value) {
    match (desired.at().kind.kind, desired.at().name.as_str()) {
        ("Deployment", "web-blue") => {
            body["spec"]["replicas"] = json!(7);
            let container = &mut body["spec"]["template"]["spec"]["containers"][0];
            container["image"] = json!("registry.example.org/other@sha256:3");
        }
        ("NetworkPolicy", name) if name.starts_with("ingress.web") => {
            body["spec"]["ingress"][0]["from"] = json!([{"podSelector": {}}]);
        }
        ("Secret", "app-session") => body["metadata"]["labels"] = json!({}),
        ("ConfigMap", name) if name != "release-ledger" => {
            for text in body["data"].as_object_mut().into_iter().flatten().map(|(_, text)| text) {
                *text = json!(text.as_str().unwrap().replace("host =", "hosts ="));
            }
        }
        _ => {}
    }
}

#[test]
fn every_field_that_somebody_changed_is_shown_with_both_values() {
    let (inputs, live) = tampered();
    let plan = simulate(&inputs, &live, false).unwrap();
    let changes = changes(&plan, &live, &BTreeMap::new(), &Redaction::default());
    golden("diff", &text(std::slice::from_ref(&changes)));
    assert!(changes.changes.iter().all(|change| change.action != Action::Remove));
}

#[test]
fn workload_that_nobody_wants_is_removed_and_data_and_what_is_somebody_elses_stays() {
    let (inputs, mut live) = tampered();
    let owned = json!({"his-operator.io/tenant-uid": "00000000-0000-0000-0000-000000000000"});
    for (name, annotations, labels) in [
        ("old", owned.clone(), json!({"his-operator.io/capability": "release"})),
        ("kept", owned, json!({"his-operator.io/retain": "true"})),
        ("strange", json!({}), json!({})),
    ] {
        let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "annotations": annotations, "labels": labels}});
        let at = Ref { kind: DEPLOYMENT, namespace: "his-st-elsewhere".to_owned(), name: name.to_owned() };
        live.objects.insert(at, Arc::new(serde_json::from_value(body).unwrap()));
    }
    let plan = simulate(&inputs, &live, false).unwrap();
    let changes = changes(&plan, &live, &BTreeMap::new(), &Redaction::default());
    let removed = changes.changes.iter().filter(|change| change.action == Action::Remove);
    assert_eq!(removed.map(|change| change.name.as_str()).collect::<Vec<_>>(), ["old"]);
    assert!(text(&[changes]).contains("- Deployment/old in his-st-elsewhere (release): no longer wanted"));
}

#[test]
fn a_cluster_as_it_must_be_has_nothing_to_change() {
    let (inputs, observed) = world();
    let made = simulate(&inputs, &observed, false).unwrap();
    let mut live = observed;
    for desired in &made.desired {
        if let Some(body) = kept(desired) {
            let body: DynamicObject = serde_json::from_value(body).unwrap();
            live.objects.insert(desired.at().clone(), Arc::new(body));
        }
    }
    let plan = simulate(&inputs, &live, false).unwrap();
    let changes = changes(&plan, &live, &BTreeMap::new(), &Redaction::default());
    assert_eq!(changes.changes, []);
    assert_eq!(changes.unchanged, plan.desired.len());
    assert!(text(&[changes]).contains("nothing to change"));
}

#[test]
fn a_kind_that_was_not_looked_at_is_said_and_not_compared() {
    let (inputs, live) = tampered();
    let plan = simulate(&inputs, &live, false).unwrap();
    let kind = his_operator::objects::kind::NETWORK_POLICY;
    let unread = BTreeMap::from([(kind, "networkpolicies could not be read".to_owned())]);
    let changes = changes(&plan, &live, &unread, &Redaction::default());
    assert!(changes.changes.iter().all(|change| change.kind != "NetworkPolicy"));
    assert!(text(&[changes]).contains("networkpolicies could not be read"));
}

#[test]
fn neither_a_hospital_nor_a_file_is_wrong_usage() {
    let ran = plugin(&["diff"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("<TENANT>"), "{}", ran.err);
}
