//! `kubectl his status` against an API server that answers from fixtures, on the loopback.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ran, plugin, status::documents};

const TENANTS: &str = "/apis/his-operator.io/v1alpha1/hospitaltenants";

/// Answers of the server by path, and the requests that it got.
struct Server {
    directory: TempDir,
    port: u16,
    requests: mpsc::Receiver<String>,
}

impl Server {
    fn new(answers: BTreeMap<String, (u16, Value)>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = mpsc::channel();
        // Ends with the test process; each connection serves one request.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &answers, &sender);
            }
        });
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("config"), kubeconfig(port)).unwrap();
        Self { directory, port, requests }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let config = self.directory.path().join("config").display().to_string();
        plugin(&[&["status", "--kubeconfig", &config], arguments].concat())
    }
}

fn kubeconfig(port: u16) -> String {
    let cluster = json!({"name": "c", "cluster": {"server": format!("http://127.0.0.1:{port}")}});
    let context = json!({"name": "x", "context": {"cluster": "c", "user": "u"}});
    let user = json!({"name": "u", "user": {}});
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "x", "clusters": [cluster], "contexts": [context], "users": [user]})
        .to_string()
}

fn answer(mut stream: TcpStream, answers: &BTreeMap<String, (u16, Value)>, requests: &mpsc::Sender<String>) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = first.split(' ').nth(1).unwrap_or_default();
    let known = answers.get(path.split('?').next().unwrap_or_default());
    let (code, body) =
        known.cloned().unwrap_or_else(|| refusal(404, "the server could not find the requested resource"));
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes());
    let _ = requests.send(first);
}

fn refusal(code: u16, message: &str) -> (u16, Value) {
    let reason = if code == 403 { "Forbidden" } else { "NotFound" };
    (
        code,
        json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

fn objects(name: &str, kind: &str) -> Vec<Value> {
    let mine = documents(name).into_iter().filter(|document| document["kind"] == kind);
    mine.map(|document| serde_yaml_ng::from_value(document).unwrap()).collect()
}

fn listed(kind: &str, items: &[Value]) -> (u16, Value) {
    (200, json!({"apiVersion": "v1", "kind": format!("{kind}List"), "metadata": {}, "items": items}))
}

/// All that there is to read about the hospitals of these fixtures.
fn answers(fixtures: &[&str]) -> BTreeMap<String, (u16, Value)> {
    let mut answers = BTreeMap::new();
    let mut tenants = Vec::new();
    for fixture in fixtures {
        let tenant = objects(fixture, "HospitalTenant").remove(0);
        let name = tenant["metadata"]["name"].as_str().unwrap().to_owned();
        answers.insert(format!("{TENANTS}/{name}"), (200, tenant.clone()));
        for (plural, kind) in [("deployments", "Deployment"), ("statefulsets", "StatefulSet")] {
            answers
                .insert(format!("/apis/apps/v1/namespaces/his-{name}/{plural}"), listed(kind, &objects(fixture, kind)));
        }
        answers.insert("/api/v1/namespaces/default/events".to_owned(), listed("Event", &objects(fixture, "Event")));
        tenants.push(tenant);
    }
    answers.insert(TENANTS.to_owned(), listed("HospitalTenant", &tenants));
    answers
}

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
