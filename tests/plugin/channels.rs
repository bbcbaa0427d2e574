//! `kubectl his channels` as a golden file and against fixtures.

use his_operator::{
    api::v1alpha1::{HospitalPlatform, HospitalTenant},
    plugin::{
        channels::{text, views},
        status::Look,
    },
};
use serde_json::{Value, json};

use super::{
    server::{Server, TENANTS, listed},
    status::golden,
};

const PLATFORMS: &str = "/apis/his-operator.io/v1alpha1/hospitalplatforms";

fn platform() -> Value {
    let channel = |name: &str, version: &str| json!({"name": name, "application": "emr", "version": version});
    json!({
        "apiVersion": "his-operator.io/v1alpha1", "kind": "HospitalPlatform", "metadata": {"name": "default"},
        "spec": {"channels": [channel("early", "3.0"), {"name": "stable", "application": "emr", "version": "2.0", "waves": [1, 4]}]},
    })
}

fn release(version: &str) -> Value {
    json!({"version": version, "attempt": 0, "digest": "d", "images": "i", "agent": "a"})
}

fn hospital(name: &str, channel: &str, live: &str, ready: &str, more: &Value) -> Value {
    let mut status = json!({
        "conditions": [{"type": "Ready", "status": ready, "reason": "Proved", "message": "", "lastTransitionTime": "2030-01-01T00:00:00Z"}],
        "release": {"count": 1, "live": {"colour": "blue", "release": release(live)}},
    });
    status["release"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "apiVersion": "his-operator.io/v1alpha1", "kind": "HospitalTenant", "metadata": {"name": name},
        "spec": {"application": {"name": "emr", "channel": channel}, "host": format!("{name}.example.org")}, "status": status,
    })
}

fn hospitals() -> Vec<Value> {
    let refused = json!({"refused": {"release": release("2.0"), "failure": {"step": "Gate", "reason": "GateFailed", "message": "no"}}});
    vec![
        hospital("a", "stable", "2.0", "True", &json!({})),
        hospital("b", "stable", "1.0", "False", &refused),
        hospital("c", "stable", "1.0", "True", &json!({"notBefore": "2030-02-01T02:00:00Z"})),
        hospital("d", "stable", "1.0", "True", &json!({})),
        hospital("e", "early", "3.0", "True", &json!({})),
    ]
}

#[test]
fn a_channel_is_one_line_and_its_hospitals_are_shown_when_it_is_named() {
    let platforms: Vec<HospitalPlatform> = vec![serde_json::from_value(platform()).unwrap()];
    let tenants: Vec<HospitalTenant> =
        hospitals().into_iter().map(|one| serde_json::from_value(one).unwrap()).collect();
    let look = Look { width: 140, colour: false };
    let all = text(&views(&platforms, &tenants, None), false, look);
    let stable = text(&views(&platforms, &tenants, Some("stable")), true, look);
    golden("channels", &format!("{all}\n{stable}"));
    assert!(text(&views(&platforms, &tenants, Some("nightly")), true, look).starts_with("There is no such channel."));
}

#[test]
fn a_channel_that_has_stopped_is_told_by_the_exit_code() {
    let answers = |hospitals: &[Value]| {
        let platforms = listed("HospitalPlatform", &[platform()]);
        [(PLATFORMS.to_owned(), platforms), (TENANTS.to_owned(), listed("HospitalTenant", hospitals))].into()
    };
    let stopped = Server::new(answers(&hospitals())).call("channels", &["-o", "json"]);
    assert_eq!((stopped.code, stopped.err.as_str()), (Some(2), ""));
    let views: Value = serde_json::from_str(&stopped.out).unwrap();
    let by: Vec<_> = views.as_array().unwrap().iter().map(|view| view["stoppedBy"].clone()).collect();
    assert_eq!(by, [Value::Null, json!("b")]);
    let early = Server::new(answers(&hospitals())).call("channels", &["early"]);
    assert_eq!((early.code, early.err.as_str()), (Some(0), ""));
    assert!(early.out.contains("every hospital has it"), "{}", early.out);
}
