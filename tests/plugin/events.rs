//! `kubectl his events` as golden files and against fixtures.

use chrono::{DateTime, Utc};
use his_operator::plugin::{
    events::{Timeline, text},
    status::Look,
};
use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};

use super::{
    server::{Server, answers, listed, refusal},
    status::golden,
};

fn event(about: [&str; 2], [reason, message]: [&str; 2], last: &str, count: i32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{}-{last}", about[1]), "namespace": "his-st-elsewhere"},
        "involvedObject": {"kind": about[0], "name": about[1]}, "type": "Warning", "reason": reason, "message": message,
        "firstTimestamp": "2030-01-09T11:00:00Z", "lastTimestamp": last, "count": count,
    })
}

fn all() -> Vec<Value> {
    let pulled = ["Failed", "Failed to pull image"];
    vec![
        event(["Pod", "web-1"], pulled, "2030-01-09T11:58:00Z", 2),
        event(
            ["Job", "migrate-1f0e"],
            ["BackoffLimitExceeded", "Job has reached\u{1b}[2J its limit"],
            "2030-01-09T11:57:00Z",
            1,
        ),
        event(["Pod", "web-1"], pulled, "2030-01-09T11:59:30Z", 3),
        event(["Pod", "web-2"], pulled, "2030-01-09T11:59:00Z", 1),
    ]
}

fn timeline(events: &[Value]) -> Timeline {
    let read = events.iter().map(|event| serde_json::from_value::<Event>(event.clone()).unwrap());
    Timeline::of(read, vec!["events of its namespace could not be read: forbidden".to_owned()])
}

#[test]
fn events_are_in_the_order_of_time_and_the_same_words_are_one_line() {
    let now: DateTime<Utc> = "2030-01-09T12:00:00Z".parse().unwrap();
    golden("events", &text(&timeline(&all()), now, Look { width: 120, colour: false }));
    let merged = &timeline(&all()).events[2];
    assert_eq!((merged.about.as_str(), merged.times), ("Pod/web-1", 5));
    assert!(text(&Timeline::default(), now, Look { width: 120, colour: false }).starts_with("There are no events."));
}

#[test]
fn events_of_the_hospital_and_of_its_namespace_are_in_one_table() {
    let mut answers = answers(&["migration-failed"]);
    answers.insert("/api/v1/namespaces/his-st-elsewhere/events".to_owned(), listed("Event", &all()));
    let ran = Server::new(answers).call("events", &["st-elsewhere", "-o", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    let about: Vec<_> = json["events"].as_array().unwrap().iter().map(|line| line["about"].as_str().unwrap()).collect();
    assert!(about.contains(&"HospitalTenant/st-elsewhere") && about.contains(&"Pod/web-1"), "{about:?}");
}

#[test]
fn events_that_may_not_be_read_are_said_and_told_by_the_exit_code() {
    let mut answers = answers(&["ready"]);
    answers.insert("/api/v1/namespaces/his-eligius/events".to_owned(), refusal(403, "events is forbidden"));
    let ran = Server::new(answers).call("events", &["eligius"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.out.contains("events of its namespace could not be read"), "{}", ran.out);
}

#[test]
fn a_hospital_that_never_was_is_wrong_usage() {
    let ran = Server::new(answers(&["ready"])).call("events", &["st-elsewhere"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("HospitalTenant st-elsewhere does not exist; there are: eligius"), "{}", ran.err);
}
