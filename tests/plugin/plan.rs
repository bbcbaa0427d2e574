//! `kubectl his plan` on case files.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde::Deserialize;
use serde_json::Value;

use super::{Ran, case, command, plugin};

fn plan(file: &str, more: &[&str]) -> Ran {
    let files = [case("definitions.yaml"), case(file)];
    let arguments = ["plan", "-f", &files[0], "-f", &files[1]];
    plugin(&[&arguments, more].concat())
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap()).collect()
}

fn names(objects: &[Value]) -> Vec<String> {
    let text =
        |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    objects.iter().map(|object| format!("{}/{}", text(object, "/kind"), text(object, "/metadata/name"))).collect()
}

fn position(names: &[String], start: &str) -> usize {
    let found = names.iter().position(|name| name.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in {names:?}"))
}

#[test]
fn every_object_that_the_hospital_ends_up_with_is_shown_in_order_of_application() {
    let ran = plan("hospital.yaml", &["-o", "yaml"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let names = names(&documents(&ran.out));
    let order = [
        "Namespace/his-st-elsewhere",
        "NetworkPolicy/default-deny",
        "Secret/app-session",
        "StatefulSet/database",
        "Job/init-",
        "Deployment/web",
    ];
    let positions = order.map(|name| position(&names, name));
    assert!(positions.is_sorted(), "{order:?} are at {positions:?}");
    assert!(names.contains(&"HTTPRoute/hospital".to_owned()), "{names:?}");
    let mut once = names.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), names.len(), "an object is shown twice: {names:?}");
}

#[test]
fn the_ledger_is_shown_as_it_is_in_the_end() {
    let ran = plan("hospital.yaml", &["-o", "yaml"]);
    let objects = documents(&ran.out);
    let ledger = objects.iter().find(|object| object["metadata"]["name"] == "release-ledger").unwrap();
    let data: BTreeMap<String, String> = serde_json::from_value(ledger["data"].clone()).unwrap();
    assert_eq!(data.values().collect::<Vec<_>>(), ["Succeeded 5.0"]);
    assert!(data.keys().all(|job| job.starts_with("init-")));
}

#[test]
fn generated_secrets_have_no_values_and_name_their_keys() {
    let ran = plan("hospital.yaml", &["-o", "yaml"]);
    let objects = documents(&ran.out);
    let secrets: Vec<_> = objects.iter().filter(|object| object["kind"] == "Secret").collect();
    assert!(secrets.len() > 3, "{secrets:?}");
    for secret in secrets {
        assert!(secret.get("data").is_none() && secret.get("stringData").is_none(), "{secret}");
        assert!(!secret["metadata"]["annotations"]["his-operator.io/generated-keys"].as_str().unwrap().is_empty());
    }
    assert!(ran.out.contains("# Made once, in the cluster: value (50 random letters and digits)"), "{}", ran.out);
}

#[test]
fn json_has_the_same_objects_as_yaml() {
    let list: Value = serde_json::from_str(&plan("hospital.yaml", &["-o", "json"]).out).unwrap();
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"].as_array().unwrap(), &documents(&plan("hospital.yaml", &["-o", "yaml"]).out));
}

#[test]
fn the_table_says_why_each_object_is_there_and_what_is_relaxed() {
    let table = plan("hospital.yaml", &[]).out;
    let has =
        |start: &[&str]| table.lines().any(|line| line.split_whitespace().take(start.len()).eq(start.iter().copied()));
    assert!(
        has(&["1", "network", "NetworkPolicy", "ingress.web.envoy-gateway-system.gateway.8000", "users", "through"]),
        "{table}"
    );
    assert!(
        table
            .lines()
            .any(|line| line.contains("Deployment") && line.contains("web-blue") && line.contains("components")),
        "{table}"
    );
    assert!(
        table.starts_with("HospitalTenant st-elsewhere: records 5.0 at https://st-elsewhere.example.org, in namespace"),
        "{table}"
    );
    assert!(table.contains("relaxed: cron/writableRoot: writes lock files"), "{table}");
}

#[test]
fn the_first_step_has_nothing_that_waits_for_a_database() {
    let names = names(&documents(&plan("hospital.yaml", &["-o", "yaml", "--first-step"]).out));
    assert!(names.contains(&"StatefulSet/database".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("Job/") || name.starts_with("Deployment/")), "{names:?}");
}

#[test]
fn secrets_of_persons_are_assumed_and_said_so() {
    let ran = plan("external.yaml", &[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for secret in ["records-database", "records-schema"] {
        assert!(ran.out.contains(&format!("assumed to be there: Secret {secret}")), "{}", ran.out);
    }
    assert!(ran.out.contains("Deployment"), "{}", ran.out);
}

#[test]
fn a_missing_crd_is_a_warning_that_names_the_condition() {
    let ran = plan("hospital.yaml", &["--without-crd", "httproutes.gateway.networking.k8s.io"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.contains("HospitalTenant st-elsewhere will not be Ready: EdgeReady:"), "{}", ran.err);
    let ran = plan("hospital.yaml", &["--without-crd", "roses.example.org"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("known are: ciliumnetworkpolicies.cilium.io, clusters"), "{}", ran.err);
}

#[test]
fn what_is_switched_off_until_a_time_is_planned_as_of_that_time() {
    let off = "  network:\n    off:\n      reason: debugging with the vendor\n      until: 2030-01-31T18:00:00Z\n";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("off.yaml");
    fs::write(&file, fs::read_to_string(case("hospital.yaml")).unwrap() + off).unwrap();
    let planned = |at: &str| {
        let (definitions, file) = (case("definitions.yaml"), file.display().to_string());
        plugin(&["plan", "-f", &definitions, "-f", &file, "--at", at])
    };
    let before = planned("2030-01-01T00:00:00Z");
    assert!(before.out.contains("relaxed until 2030-01-31T18:00:00Z: network: debugging"), "{}", before.out);
    assert!(!planned("2030-02-01T00:00:00Z").out.contains("relaxed until"));
}

#[test]
fn directories_and_standard_input_are_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(case("definitions.yaml"), directory.path().join("a.yaml")).unwrap();
    fs::write(directory.path().join("README.md"), "not YAML: [").unwrap();
    let mut child = command(&["plan", "-f", &directory.path().display().to_string(), "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(case("hospital.yaml")).unwrap()).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains("HospitalTenant st-elsewhere"), "{}", ran.out);
}

#[test]
fn each_refused_case_is_refused_in_the_words_that_it_states() {
    let mut cases = 0;
    for entry in fs::read_dir(case("refused")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let words: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# refused: ")).collect();
        assert!(!words.is_empty(), "{name} states no words");
        let ran = plan(&format!("refused/{name}"), &["-o", "yaml"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{name}: {}", ran.err);
        for words in words {
            assert!(ran.err.contains(words), "{name}: {words:?} is not in: {}", ran.err);
        }
        assert!(ran.err.contains(&name), "the file is not named: {}", ran.err);
        cases += 1;
    }
    assert!(cases > 10, "only {cases} cases were found");
}

#[test]
fn files_that_cannot_be_read_are_wrong_usage_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken.yaml");
    fs::write(&broken, "kind: [\n").unwrap();
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let of = |path: &Path| plugin(&["plan", "-f", path.to_str().unwrap()]);
    for (path, words) in [
        (broken.as_path(), "broken.yaml, document 1: not valid YAML"),
        (&empty, "holds no file that ends in .yaml"),
        (&directory.path().join("absent.yaml"), "absent.yaml cannot be read"),
    ] {
        let ran = of(path);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{}", ran.err);
        assert!(ran.err.contains(words), "{words:?} is not in: {}", ran.err);
    }
    let ran = of(Path::new(&case("definitions.yaml")));
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("hold no HospitalTenant"), "{}", ran.err);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let files = [case("definitions.yaml"), case("hospital.yaml")];
    let mut plugin: Command = command(&["plan", "-f", &files[0], "-f", &files[1], "-o", "yaml"]);
    let mut child = plugin.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn the_operator_itself_renders_the_very_same() {
    let files = [case("definitions.yaml"), case("hospital.yaml")];
    let mut operator = Command::new(env!("CARGO_BIN_EXE_his-operator"));
    let rendered = Ran::from(operator.args(["render", "-f", &files[0], "-f", &files[1]]).output().unwrap());
    assert_eq!((rendered.code, rendered.err.as_str()), (Some(0), ""));
    assert_eq!(rendered.out, plan("hospital.yaml", &["-o", "yaml"]).out);
}
