//! `kubectl his support-bundle` on a cluster where secrets stand everywhere.

use std::{collections::BTreeMap, fs, io::Read, path::Path};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::{
    Ran,
    server::{Server, TENANTS, answers, listed, refusal},
};

/// Values of Secrets, planted wherever a secret ever leaked.
const PLANTED: [&str; 4] =
    ["Wiener-Schnitzel-4711", "d3adb33f-session-key", "line-one-of-a-private-key-AAAA", "planted-in-env"];
/// Not in any Secret: only their place or shape gives them away.
const STRANGE: [&str; 4] = ["never-learned-1", "never-learned-2", "never-learned-3", "patient Jane Doe"];

pub fn base64(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

fn secret() -> Value {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", PLANTED[2]);
    let data = json!({"password": base64(PLANTED[0]), "session": base64(PLANTED[1]), "tls.key": base64(&key), "env": base64(PLANTED[3])});
    let applied = json!({"apiVersion": "v1", "kind": "Secret", "data": data}).to_string();
    json!({
        "apiVersion": "v1", "kind": "Secret", "data": data, "type": "Opaque",
        "metadata": {"name": "app-session", "namespace": "his-st-elsewhere",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied, "note": PLANTED[0]}},
    })
}

fn deployment() -> Value {
    let container = json!({
        "name": "web", "image": "x@sha256:1",
        "env": [{"name": "SESSION", "value": PLANTED[3]}, {"name": "MAIL_PASSWORD", "value": STRANGE[0]}, {"name": "LANG", "value": "de"}],
        "args": ["serve", "--api-key", STRANGE[1]],
    });
    let labels = json!({"app.kubernetes.io/managed-by": "his-operator", "his-operator.io/tenant": "st-elsewhere"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "his-st-elsewhere", "labels": labels,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": STRANGE[1]}},
        "spec": {"template": {"spec": {"containers": [container]}}},
        "status": {"conditions": [{"type": "Available", "message": format!("login with {} failed", PLANTED[1])}]},
    })
}

fn pod(name: &str, namespace: &str) -> Value {
    let ended = json!({"terminated": {"exitCode": 1, "message": format!("{}: {}", STRANGE[3], PLANTED[0])}});
    let container = json!({"name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 3, "lastState": ended, "state": {}});
    json!({
        "metadata": {"name": name, "namespace": namespace}, "spec": {"containers": [{"name": "main"}]},
        "status": {"phase": "Running", "message": format!("password={}", STRANGE[2]), "containerStatuses": [container]},
    })
}

/// Everything that a bundle reads, each with something planted.
fn planted() -> BTreeMap<String, (u16, Value)> {
    let mut all = answers(&["migration-failed"]);
    let core = "/api/v1/namespaces/his-st-elsewhere";
    let (_, tenant) = all.get_mut(&format!("{TENANTS}/st-elsewhere")).unwrap();
    tenant["status"]["conditions"][0]["message"] = json!(format!("could not sign in with {}", PLANTED[0]));
    let note = format!("{} {}", PLANTED[1], base64(PLANTED[1]));
    tenant["metadata"]["annotations"] = json!({"note": note, "smtpPassword": STRANGE[0]});
    tenant["spec"]["application"]["version"] = json!("5.0");
    tenant["spec"]["database"] = json!({"embedded": {}});
    let tenant = tenant.clone();
    all.insert(TENANTS.to_owned(), listed("HospitalTenant", &[tenant]));
    all.insert(format!("{core}/secrets"), listed("Secret", &[secret()]));
    all.insert(
        "/apis/apps/v1/namespaces/his-st-elsewhere/deployments".to_owned(),
        listed("Deployment", &[deployment()]),
    );
    let labels = json!({"app.kubernetes.io/managed-by": "his-operator", "his-operator.io/tenant": "st-elsewhere"});
    let conf = format!("url = postgres://app:{}@database/x\nsession = {}\nhost = h\n", STRANGE[2], PLANTED[1]);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files", "namespace": "his-st-elsewhere", "labels": labels}, "data": {"records.conf": conf}});
    all.insert(format!("{core}/configmaps"), listed("ConfigMap", &[map]));
    let event = json!({
        "metadata": {"name": "e", "namespace": "his-st-elsewhere"}, "involvedObject": {"kind": "Pod", "name": "web-1"},
        "type": "Warning", "reason": "Unhealthy", "message": format!("probe got {} and {}", PLANTED[0], PLANTED[2]), "lastTimestamp": "2030-01-09T11:59:00Z",
    });
    all.insert(format!("{core}/events"), listed("Event", &[event]));
    all.insert(format!("{core}/pods"), listed("Pod", &[pod("web-1", "his-st-elsewhere")]));
    let system = "/api/v1/namespaces/his-operator-system/pods";
    all.insert(system.to_owned(), listed("Pod", &[pod("his-operator-1", "his-operator-system")]));
    let log = format!(
        "about st-elsewhere: {}\nAuthorization: Bearer {}\nabout his-st-elsewhere: fine\n",
        PLANTED[0], STRANGE[1]
    );
    all.insert(format!("{system}/his-operator-1/log"), (200, json!(log)));
    for path in ["hospitalplatforms/default", "hospitalapplications/records"] {
        let kind = if path.starts_with("hospitalp") { "HospitalPlatform" } else { "HospitalApplication" };
        let found = super::documents_of("definitions.yaml").into_iter().find(|document| document["kind"] == kind);
        all.insert(format!("/apis/his-operator.io/v1alpha1/{path}"), (200, found.unwrap()));
    }
    all.insert("/version".to_owned(), (200, serde_json::to_value(kube_version()).unwrap()));
    all
}

fn kube_version() -> Value {
    json!({"major": "1", "minor": "35", "gitVersion": "v1.35.0", "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})
}

/// Files by their path below the bundle's directory.
pub fn unpacked(file: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(file).unwrap()));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(path.split_once('/').unwrap().1.to_owned(), text);
    }
    files
}

fn bundle(server: &Server) -> (Ran, BTreeMap<String, String>) {
    let file = server.directory.path().join("bundle.tar.gz");
    let ran = server.call("support-bundle", &["st-elsewhere", "--to", file.to_str().unwrap()]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let files = unpacked(&file);
    (ran, files)
}

#[test]
fn no_secret_that_was_planted_anywhere_is_in_the_bundle() {
    let server = Server::new(planted());
    let (_, files) = bundle(&server);
    for needle in PLANTED.iter().chain(&STRANGE) {
        for needle in [(*needle).to_owned(), base64(needle)] {
            for (path, text) in &files {
                assert!(!text.contains(&needle), "{needle} is in {path}:\n{text}");
            }
        }
    }
    // The fixture itself must be worth searching.
    let planted = serde_json::to_string(&planted().into_values().map(|(_, body)| body).collect::<Vec<_>>()).unwrap();
    assert!(PLANTED.iter().all(|needle| planted.contains(*needle) || planted.contains(&base64(needle))));
    assert!(STRANGE.iter().all(|needle| planted.contains(needle)));
}

#[test]
fn a_bundle_has_everything_that_helps_and_says_what_it_has_not() {
    let server = Server::new(planted());
    let (ran, files) = bundle(&server);
    for path in [
        "MANIFEST.md",
        "tenant.yaml",
        "platform.yaml",
        "application.yaml",
        "plan.yaml",
        "diff.txt",
        "status.txt",
        "events.txt",
        "pods.yaml",
        "versions.yaml",
        "objects/Deployment/web.yaml",
        "objects/ConfigMap/files.yaml",
        "objects/Secret/app-session.yaml",
        "operator/pods.yaml",
        "operator/his-operator-1.main.log",
    ] {
        let plan = files.get("plan.txt");
        assert!(files.contains_key(path), "{path} is not in {:?}: {plan:?}", files.keys());
        assert!(
            path == "MANIFEST.md" || files["MANIFEST.md"].contains(&format!("`{path}`")),
            "{path} is not in the manifest"
        );
    }
    assert!(files["objects/Secret/app-session.yaml"].contains("keys:\n- env\n- password\n- session\n- tls.key"));
    assert!(files["operator/his-operator-1.main.log"].contains("about his-st-elsewhere: fine"));
    assert!(files["objects/ConfigMap/files.yaml"].contains("host = h"));
    assert!(files["objects/Deployment/web.yaml"].contains("value: de"));
    assert!(files["plan.yaml"].contains("kind: StatefulSet"), "{}", files["plan.yaml"]);
    for words in ["they may hold patient data", "values of Secrets", "networkpolicies could not be read"] {
        assert!(files["MANIFEST.md"].contains(words), "{}", files["MANIFEST.md"]);
    }
    assert!(ran.out.contains("Look through it before you send it") && ran.out.contains("patient data"), "{}", ran.out);
    let written: Vec<_> = server.requests.try_iter().filter(|request| !request.starts_with("GET ")).collect();
    assert_eq!(written, Vec::<String>::new(), "a bundle only reads");
}

#[test]
fn without_the_right_to_read_secrets_place_and_shape_still_give_them_away() {
    let mut all = planted();
    all.insert("/api/v1/namespaces/his-st-elsewhere/secrets".to_owned(), refusal(403, "secrets is forbidden"));
    all.insert("/api/v1/namespaces/his-operator-system/pods".to_owned(), refusal(403, "pods is forbidden"));
    let (_, files) = bundle(&Server::new(all));
    for needle in STRANGE {
        assert!(files.values().all(|text| !text.contains(needle)), "{needle}");
    }
    let manifest = &files["MANIFEST.md"];
    assert!(manifest.contains("recognised by their place and shape only"), "{manifest}");
    assert!(
        manifest.contains("the operator's pods and logs: ") && manifest.contains("pods is forbidden"),
        "{manifest}"
    );
}

#[test]
fn a_file_that_exists_is_never_replaced_and_only_its_owner_can_read_a_bundle() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::new(planted());
    bundle(&server);
    let file = server.directory.path().join("bundle.tar.gz");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = server.call("support-bundle", &["st-elsewhere", "--to", file.to_str().unwrap()]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("exists already; name another file with --to"), "{}", again.err);
}
