//! Every rule of the CRDs accepts what it should and refuses what it should, with a message that names the fix: in this
//! process, and on a real API server, from the same files.
//!
//! A file's first line says what is expected. One document is created; of two, the second updates the first. They are
//! JSON merge patches on the fixtures, as in all cases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a test may stop at once, and reads and writes raw objects"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use e2e::control_plane::ControlPlane;
use his_operator::api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, PostParams},
    core::cel::Validator,
};
use serde_json::Value;
use support::{documents_of, files, merge, root, served, strict};

/// What the first line of a file says.
#[derive(Debug, PartialEq)]
enum Expected {
    Accepted,
    Refused(String),
}

struct File {
    name: String,
    kind: &'static str,
    expected: Expected,
    /// What is there before, for an update.
    old: Option<Value>,
    new: Value,
}

const KINDS: [(&str, &str); 3] =
    [("platform", "HospitalPlatform"), ("application", "HospitalApplication"), ("tenant", "HospitalTenant")];

fn schema(kind: &str) -> Value {
    serde_json::to_value(&served::of(kind).spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap()
}

fn cases() -> Vec<File> {
    let read = |(folder, kind): (&str, &'static str)| {
        let paths = files(&root().join("tests/cases/cel").join(folder), "yaml");
        assert!(!paths.is_empty(), "no case for {kind}");
        paths.into_iter().map(move |path| file(&path, folder, kind)).collect::<Vec<_>>()
    };
    KINDS.into_iter().flat_map(read).collect()
}

fn file(path: &Path, folder: &str, kind: &'static str) -> File {
    let name = path.strip_prefix(root()).unwrap().display().to_string();
    let text = fs::read_to_string(path).unwrap();
    let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
    let expected = match expected.unwrap_or_else(|| panic!("{name}: the first line is no `# expect: …`")) {
        "accepted" => Expected::Accepted,
        message => Expected::Refused(message.to_owned()),
    };
    let fixture = fs::read_to_string(root().join("tests/cases/fixtures").join(format!("{folder}.yaml"))).unwrap();
    let fixture = documents_of(&fixture, &name).remove(0);
    let patched = |patch: Value| {
        assert_eq!(patch["kind"], kind, "{name}");
        let mut value = fixture.clone();
        merge(&mut value, patch);
        known_fields_only(&value, kind, &name);
        value["metadata"].as_object_mut().unwrap().retain(|key, _| key == "name");
        value
    };
    let mut documents: Vec<Value> = documents_of(&text, &name).into_iter().map(patched).collect();
    let new = documents.pop().unwrap_or_else(|| panic!("{name}: no document"));
    let old = documents.pop();
    assert!(documents.is_empty(), "{name}: more than two documents");
    File { name, kind, expected, old, new }
}

fn known_fields_only(value: &Value, kind: &str, name: &str) {
    match kind {
        "HospitalPlatform" => drop(strict::<HospitalPlatform>(value, name)),
        "HospitalApplication" => drop(strict::<HospitalApplication>(value, name)),
        _ => drop(strict::<HospitalTenant>(value, name)),
    }
}

/// Messages with which the rules refuse, in this process.
fn client_side(file: &File) -> Vec<String> {
    let result = Validator::new().validate(&schema(file.kind), &file.new, file.old.as_ref());
    result.err().map(|errors| errors.iter().map(|error| error.message.clone()).collect()).unwrap_or_default()
}

#[test]
fn every_file_is_judged_as_it_says() {
    let mut wrong = Vec::new();
    for file in cases() {
        let messages = client_side(&file);
        let right = match &file.expected {
            Expected::Accepted => messages.is_empty(),
            Expected::Refused(part) => messages.len() == 1 && messages[0].contains(part),
        };
        if !right {
            wrong.push(format!("{}: expected {:?}, but: {messages:?}", file.name, file.expected));
        }
        if let Some(old) = &file.old {
            let before = Validator::new().validate(&schema(file.kind), old, None);
            assert!(before.is_ok(), "{}: the first document is refused already: {before:?}", file.name);
        }
    }
    assert!(wrong.is_empty(), "{} files differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A message that only says no leaves people guessing.
#[test]
fn every_refusal_names_its_field_and_what_to_write() {
    const FIXES: &[&str] = &[
        "must",
        "may contain",
        ": name the",
        "remove",
        "choose",
        "declare",
        "use ",
        "add ",
        "write",
        "set ",
        "needs",
        "only be raised",
        "restore",
    ];
    for file in cases().iter().filter(|file| file.expected != Expected::Accepted) {
        let errors = Validator::new().validate(&schema(file.kind), &file.new, file.old.as_ref()).unwrap_err();
        for error in errors {
            let at = error.field_path.trim_start_matches('.');
            // A rule on the name stands at the root, where no path leads to metadata.
            let named = !at.is_empty() || error.message.starts_with("metadata.");
            let fix = FIXES.iter().any(|fix| error.message.contains(fix));
            assert!(named && fix, "{}: {at:?}: {:?} names no field or no fix", file.name, error.message);
        }
    }
}

/// One rule of a schema: where it stands and what it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    path: Vec<String>,
    text: String,
    message: String,
}

fn rules(schema: &Value, path: &[String], into: &mut Vec<Rule>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let field = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        into.push(Rule { path: path.to_vec(), text: field("rule"), message: field("message") });
    }
    let below = |name: &str| path.iter().cloned().chain([name.to_owned()]).collect::<Vec<_>>();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        rules(inner, &below(name), into);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            rules(&schema[key], &below("*"), into);
        }
    }
}

fn rules_of(kind: &str) -> Vec<Rule> {
    let mut found = Vec::new();
    rules(&schema(kind), &[], &mut found);
    found
}

/// Whether a value has something at a path; `*` stands for any entry.
fn has(value: &Value, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    match value {
        Value::Array(list) => list.iter().any(|entry| has(entry, rest)),
        Value::Object(map) if first == "*" => map.values().any(|entry| has(entry, rest)),
        Value::Object(map) => map.get(first).is_some_and(|entry| has(entry, rest)),
        _ => false,
    }
}

#[test]
fn every_rule_refuses_something() {
    let mut said: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in cases() {
        said.entry(file.kind).or_default().extend(client_side(&file));
    }
    for (_, kind) in KINDS {
        for rule in rules_of(kind) {
            assert!(!rule.message.is_empty(), "{kind}: rule {} has no message", rule.text);
            assert!(
                said[kind].contains(&rule.message),
                "{kind} {:?}: no file is refused by: {}",
                rule.path,
                rule.message
            );
        }
    }
}

#[test]
fn every_rule_accepts_something() {
    let accepted: Vec<File> = cases().into_iter().filter(|file| file.expected == Expected::Accepted).collect();
    for (_, kind) in KINDS {
        for rule in rules_of(kind) {
            let transition = rule.text.contains("oldSelf");
            let judged = |file: &&File| {
                let old = !transition || file.old.as_ref().is_some_and(|old| has(old, &rule.path));
                file.kind == kind && old && has(&file.new, &rule.path)
            };
            assert!(
                accepted.iter().any(|file| judged(&file)),
                "{kind}: no accepted file has {:?}, so this was never judged: {}",
                rule.path,
                rule.text
            );
        }
    }
}

/// The oracle itself: without its rules a schema accepts everything, and the files say otherwise.
#[test]
fn a_schema_without_its_rules_is_noticed() {
    fn without_rules(schema: &mut Value) {
        match schema {
            Value::Object(map) => {
                map.remove("x-kubernetes-validations");
                map.values_mut().for_each(without_rules);
            }
            Value::Array(list) => list.iter_mut().for_each(without_rules),
            _ => {}
        }
    }
    for file in cases().iter().filter(|file| file.expected != Expected::Accepted) {
        let mut mutant = schema(file.kind);
        without_rules(&mut mutant);
        assert!(Validator::new().validate(&mutant, &file.new, file.old.as_ref()).is_ok(), "{}", file.name);
    }
}

#[tokio::test]
async fn the_api_server_judges_every_file_the_same() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client();
    for (_, kind) in KINDS {
        served::install(&client, served::of(kind)).await;
    }
    let mut wrong = Vec::new();
    for file in cases() {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &served::resource(file.kind));
        let answer = judge(&api, &file).await;
        let right = match (&file.expected, &answer) {
            (Expected::Accepted, Ok(())) => true,
            (Expected::Refused(part), Err(message)) => message.contains(part.as_str()),
            _ => false,
        };
        if !right {
            wrong.push(format!("{}: expected {:?}, but: {answer:?}", file.name, file.expected));
        }
    }
    assert!(wrong.is_empty(), "{} files differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Creates the old document for real, if there is one, and the new one on trial.
async fn judge(api: &Api<DynamicObject>, file: &File) -> Result<(), String> {
    let object = |value: &Value| serde_json::from_value::<DynamicObject>(value.clone()).unwrap();
    let trial = PostParams { dry_run: true, ..PostParams::default() };
    let Some(old) = &file.old else {
        return api.create(&trial, &object(&file.new)).await.map(drop).map_err(|error| error.to_string());
    };
    let old = api.create(&PostParams::default(), &object(old)).await.unwrap_or_else(|e| panic!("{}: {e}", file.name));
    let mut new = object(&file.new);
    new.metadata.resource_version = old.resource_version();
    let answer = api.replace(&old.name_any(), &trial, &new).await.map(drop).map_err(|error| error.to_string());
    api.delete(&old.name_any(), &kube::api::DeleteParams::default()).await.unwrap();
    answer
}

/// Files that nobody reads prove nothing.
#[test]
fn every_file_is_in_a_folder_of_a_kind() {
    let all: Vec<PathBuf> = fs::read_dir(root().join("tests/cases/cel")).unwrap().map(|e| e.unwrap().path()).collect();
    for path in all {
        let folder = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(KINDS.iter().any(|(known, _)| *known == folder), "{} belongs to no kind", path.display());
    }
}
