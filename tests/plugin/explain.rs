//! `kubectl his explain`, offline and about a hospital.

use serde_json::Value;

use super::{
    plugin,
    server::{Server, answers},
    status::golden,
};

#[test]
fn every_reason_and_condition_is_explained_in_any_case() {
    let all = plugin(&["explain"]);
    assert_eq!((all.code, all.err.as_str()), (Some(0), ""));
    for word in ["MigrationFailed", "DatabaseReady", "Stalled"] {
        assert!(all.out.contains(word), "{}", all.out);
    }
    golden("explain-reason", &plugin(&["explain", "migrationfailed"]).out);
    // Its words are the capability's own README, so only the order is stated here.
    let condition = plugin(&["explain", "edgeready"]).out;
    let titles = [
        "EdgeReady\n",
        "Meaning:",
        "Threat:",
        "Control:",
        "Evidence:",
        "Relaxing it:",
        "Writes:",
        "(needs CRD",
        "Run:",
    ];
    let places: Vec<_> = titles.iter().map(|title| condition.find(title)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{titles:?} are at {places:?} in {condition}");
}

#[test]
fn a_word_that_nobody_knows_is_wrong_usage() {
    let ran = plugin(&["explain", "Sunshine"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("\"Sunshine\" is neither a reason nor a condition"), "{}", ran.err);
}

#[test]
fn of_a_named_hospital_the_state_comes_first_then_cause_fix_and_runbook() {
    let server = Server::new(answers(&["migration-failed"]));
    let ran = server.call("explain", &["releaseready", "st-elsewhere"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), ""), "what is not as it should be is told by the exit code");
    golden("explain-hospital", &ran.out);
    assert_eq!(server.call("explain", &["DatabaseReady", "st-elsewhere"]).code, Some(0));
    assert_eq!(server.call("explain", &["Reconciling", "st-elsewhere"]).code, Some(0));
    let json = server.call("explain", &["MigrationFailed", "st-elsewhere", "-o", "json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["now"]["status"], "False");
    assert_eq!(json["runbook"][1], "kubectl -n his-st-elsewhere logs job/JOB      # the one named in the message");
}

#[test]
fn a_reason_that_the_hospital_does_not_have_is_said() {
    let ran = Server::new(answers(&["ready"])).call("explain", &["MigrationFailed", "eligius"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("has no condition with reason MigrationFailed"), "{}", ran.err);
}
