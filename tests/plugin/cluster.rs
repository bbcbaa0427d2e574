//! `kubectl his status` against an API server that answers from fixtures.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, TcpListener},
};

use serde_json::{Value, json};

use super::{
    plugin,
    server::{Server, TENANTS, answers, kubeconfig, refusal},
};

#[test]
fn one_hospital_is_read_with_its_workloads_and_its_own_warnings() {
    let server = Server::new(answers(&["migration-failed"]));
    let ran = server.run(&["st-elsewhere"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), ""), "a hospital that is not Ready is told by the exit code");
    for words in ["Deployment/web", "StatefulSet/database", "MigrationFailed", "Next:", "cron/writableRoot"] {
        assert!(ran.out.contains(words), "{words} is not in {}", ran.out);
    }
    assert!(!ran.out.contains("about a tenant that had the same name before"), "{}", ran.out);
    let requests: Vec<_> = server.requests.try_iter().collect();
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert!(requests.iter().all(|request| request.starts_with("GET ")), "{requests:?}");
}

#[test]
fn all_hospitals_are_ready_or_the_exit_code_says_no() {
    let ran = Server::new(answers(&["ready", "migration-failed"])).run(&[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.out.find("st-elsewhere") < ran.out.find("eligius"), "{}", ran.out);
    let ran = Server::new(answers(&["ready"])).run(&[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn a_ready_condition_of_an_older_spec_does_not_count() {
    assert_eq!(Server::new(answers(&["paused"])).run(&["st-elsewhere"]).code, Some(2));
}

#[test]
fn machines_get_the_whole_model() {
    let server = Server::new(answers(&["migration-failed"]));
    let json: Value = serde_json::from_str(&server.run(&["st-elsewhere", "-o", "json"]).out).unwrap();
    assert_eq!(json["tenant"]["status"]["version"], "5.0");
    assert_eq!(json["workloads"].as_array().unwrap().len(), 3);
    let yaml: Value = serde_yaml_ng::from_str(&server.run(&["-o", "yaml"]).out).unwrap();
    assert_eq!((&yaml[0]["name"], &yaml[0]["ready"]), (&json!("st-elsewhere"), &json!("False")));
}

#[test]
fn what_a_person_may_not_see_is_named_and_the_rest_is_shown() {
    let mut answers = answers(&["ready"]);
    answers.insert("/api/v1/namespaces/default/events".to_owned(), refusal(403, "events is forbidden"));
    let ran = Server::new(answers).run(&["eligius"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.contains("events could not be read") && ran.out.contains("forbidden"), "{}", ran.out);
}

#[test]
fn a_hospital_that_does_not_exist_is_wrong_usage_and_those_that_do_are_named() {
    let ran = Server::new(answers(&["ready"])).run(&["st-elsewhere"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("HospitalTenant st-elsewhere does not exist; there are: eligius"), "{}", ran.err);
}

#[test]
fn a_cluster_without_the_crds_or_the_right_or_an_answer_ends_with_3() {
    let ran = Server::new(BTreeMap::new()).run(&[]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.err.contains("install the CRDs"), "{}", ran.err);
    let forbidden = BTreeMap::from([(TENANTS.to_owned(), refusal(403, "hospitaltenants is forbidden"))]);
    let ran = Server::new(forbidden).run(&[]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.err.contains("grant get and list on hospitaltenants"), "{}", ran.err);
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let server = Server::new(BTreeMap::new());
    assert_ne!(server.port, nobody);
    fs::write(server.directory.path().join("config"), kubeconfig(nobody)).unwrap();
    let ran = server.run(&[]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""));
    assert!(
        ran.err.contains("does not answer") && ran.err.contains("check the context and the network"),
        "{}",
        ran.err
    );
}

#[test]
fn a_kubeconfig_that_is_not_there_is_wrong_usage() {
    let ran = plugin(&["status", "--kubeconfig", "/nonexistent/config"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("no cluster is configured") && ran.err.contains("--kubeconfig"), "{}", ran.err);
    let ran = Server::new(BTreeMap::new()).run(&["--context", "elsewhere"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("elsewhere"), "{}", ran.err);
}
