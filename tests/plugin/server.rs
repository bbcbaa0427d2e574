//! An API server that answers from fixtures, on the loopback.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ran, plugin, status::documents};

pub const TENANTS: &str = "/apis/his-operator.io/v1alpha1/hospitaltenants";

/// Answers of the server by path, and the requests that it got.
pub struct Server {
    pub directory: TempDir,
    pub port: u16,
    pub requests: mpsc::Receiver<String>,
}

impl Server {
    pub fn new(answers: BTreeMap<String, (u16, Value)>) -> Self {
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

    /// `kubectl his status` with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.call("status", arguments)
    }

    /// Any command with these arguments.
    pub fn call(&self, command: &str, arguments: &[&str]) -> Ran {
        let config = self.config().display().to_string();
        plugin(&[&[command, "--kubeconfig", &config], arguments].concat())
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("config")
    }
}

pub fn kubeconfig(port: u16) -> String {
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
    // Logs are text.
    let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    let head = format!(
        "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes());
    let _ = requests.send(first);
}

pub fn refusal(code: u16, message: &str) -> (u16, Value) {
    let reason = if code == 403 { "Forbidden" } else { "NotFound" };
    (
        code,
        json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

pub fn objects(name: &str, kind: &str) -> Vec<Value> {
    let mine = documents(name).into_iter().filter(|document| document["kind"] == kind);
    mine.map(|document| serde_yaml_ng::from_value(document).unwrap()).collect()
}

pub fn listed(kind: &str, items: &[Value]) -> (u16, Value) {
    (200, json!({"apiVersion": "v1", "kind": format!("{kind}List"), "metadata": {}, "items": items}))
}

/// All that there is to read about the hospitals of these fixtures.
pub fn answers(fixtures: &[&str]) -> BTreeMap<String, (u16, Value)> {
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
