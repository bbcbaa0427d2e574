//! Exact YAML of every case of every capability. The diff of a snapshot is the review of a change.
//!
//! After an intended change: `INSTA_UPDATE=always cargo test --test golden`, then read the diff.

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

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use his_operator::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant},
    capabilities::registry,
    conditions::{READY, RECONCILING, Reason, Rejection, STALLED, Verdict},
    names,
    objects::Desired,
    reconcile::{pass::Pass, report},
};
use kube::{CustomResourceExt, ResourceExt};
use serde_json::{Value, json};
use support::{Case, files, root, stem};

/// Longer texts (scripts) are shown by their size and digest.
const LONGEST: usize = 3000;

#[test]
fn every_capability_renders_its_cases_exactly() {
    for capability in registry() {
        let folder = root().join("src/capabilities").join(capability.name);
        let mut refused = 0;
        let cases = files(&folder.join("cases"), "yaml");
        assert!(!cases.is_empty(), "capability {} has no case", capability.name);
        for path in &cases {
            let case = Case::read(path);
            let text = match case.plan() {
                Ok(pass) => planned(&case, &pass, capability.name, capability.condition),
                Err(rejection) => {
                    refused += 1;
                    refusal(&rejection)
                }
            };
            assert_snapshot(&folder.join("snapshots"), path, &case, &text);
        }
        assert!(refused > 0, "capability {} has no refused case", capability.name);
        no_orphans(&folder.join("snapshots"), &cases);
    }
}

#[test]
fn whole_hospitals_render_exactly() {
    let folder = root().join("tests/cases/whole");
    let cases = files(&folder, "yaml");
    for path in &cases {
        let case = Case::read(path);
        let pass = case.plan().unwrap_or_else(|rejection| panic!("{}: {rejection}", path.display()));
        let status = report::planned(&case.inputs.tenant, &pass, &case.observed, None, None);
        let mut text = yaml(&json!({ "status": status }));
        for desired in &pass.desired {
            write!(text, "---\n{}", yaml(&shown(desired))).unwrap();
        }
        assert_snapshot(&folder.join("snapshots"), path, &case, &text);
    }
    no_orphans(&folder.join("snapshots"), &cases);
}

/// Every shipped application must have a whole hospital.
#[test]
fn every_shipped_application_has_a_whole_hospital() {
    let cases = files(&root().join("tests/cases/whole"), "yaml");
    let used: Vec<_> = cases.iter().filter_map(|path| Case::read(path).seen.application).collect();
    for path in files(&root().join("manifests/applications"), "yaml") {
        let path = path.strip_prefix(root()).unwrap().to_path_buf();
        assert!(used.contains(&path), "{} is in no case of tests/cases/whole", path.display());
    }
}

/// What users, dashboards and objects in clusters depend on: a change here breaks somebody.
#[test]
fn names_are_frozen() {
    let mut text = String::new();
    for crd in [HospitalPlatform::crd(), HospitalApplication::crd(), HospitalTenant::crd()] {
        let crd = serde_json::to_value(&crd).unwrap();
        writeln!(text, "{} {} {}", crd["spec"]["group"], crd["spec"]["names"], crd["spec"]["scope"]).unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let mut fields = Vec::new();
            field_paths(&version["schema"]["openAPIV3Schema"], version["name"].as_str().unwrap(), &mut fields);
            for field in fields {
                writeln!(text, "  {field}").unwrap();
            }
        }
    }
    for (name, value) in named() {
        writeln!(text, "{name} = {value}").unwrap();
    }
    for capability in registry() {
        writeln!(text, "capability {} condition {}", capability.name, capability.condition).unwrap();
    }
    for condition in [READY, RECONCILING, STALLED] {
        writeln!(text, "condition {condition}").unwrap();
    }
    for reason in Reason::ALL {
        writeln!(text, "reason {}", reason.as_str()).unwrap();
    }
    let folder = root().join("tests/cases/names");
    insta::with_settings!({snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("frozen", text);
    });
}

fn named() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("CAPABILITY", names::CAPABILITY.to_owned()),
        ("COLOUR", names::COLOUR.to_owned()),
        ("COLOUR_HEADER", names::COLOUR_HEADER.to_owned()),
        ("REPORTS", names::REPORTS.to_owned()),
        ("RELEASE", names::RELEASE.to_owned()),
        ("COMPONENT", names::COMPONENT.to_owned()),
        ("APP_VERSION", names::APP_VERSION.to_owned()),
        ("DEFAULT_PLATFORM", names::DEFAULT_PLATFORM.to_owned()),
        ("DESIRED", names::DESIRED.to_owned()),
        ("FIELD_MANAGER", names::FIELD_MANAGER.to_owned()),
        ("FINALIZER", names::FINALIZER.to_owned()),
        ("GROUP", names::GROUP.to_owned()),
        ("KEEP_FINALIZER", names::KEEP_FINALIZER.to_owned()),
        ("MANAGED_BY", names::MANAGED_BY.to_owned()),
        ("PAUSE_REASON", names::PAUSE_REASON.to_owned()),
        ("PAUSE_UNTIL", names::PAUSE_UNTIL.to_owned()),
        ("PROBES", names::PROBES.to_owned()),
        ("TAKES_TRAFFIC", names::TAKES_TRAFFIC.to_owned()),
        ("PRIORITY_CLASS", names::PRIORITY_CLASS.to_owned()),
        ("PRODUCT", names::PRODUCT.to_owned()),
        ("RESCUE", names::RESCUE.to_owned()),
        ("RETAIN", names::RETAIN.to_owned()),
        ("TENANT", names::TENANT.to_owned()),
        ("TENANT_ROLE", names::TENANT_ROLE.to_owned()),
        ("TENANT_UID", names::TENANT_UID.to_owned()),
        ("VERSION", names::VERSION.to_owned()),
        ("namespace(x)", names::namespace("x")),
    ])
}

/// A name that is missing above would not be frozen.
#[test]
fn every_public_name_is_among_the_frozen_ones() {
    let source = std::fs::read_to_string(root().join("src/names.rs")).unwrap();
    let constants = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    for constant in constants {
        assert!(named().contains_key(constant), "names::{constant} is not frozen: add it to `named`");
    }
}

fn field_paths(schema: &Value, path: &str, into: &mut Vec<String>) {
    let kind = schema["type"].as_str().unwrap_or("any");
    let values = schema["enum"].as_array().map(|values| format!(" {}", json!(values))).unwrap_or_default();
    into.push(format!("{path}: {kind}{values}"));
    let properties = schema["properties"].as_object();
    for (name, inner) in properties.into_iter().flatten() {
        field_paths(inner, &format!("{path}.{name}"), into);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[key].is_object() {
            field_paths(&schema[key], &format!("{path}{suffix}"), into);
        }
    }
}

fn planned(case: &Case, pass: &Pass, name: &str, condition: &str) -> String {
    let verdicts = pass.assess(&case.observed);
    let (_, verdict) = verdicts.iter().find(|(kind, _)| *kind == condition).unwrap();
    let mut text = yaml(&json!({"condition": condition, "verdict": shown_verdict(verdict)}));
    for desired in pass.desired.iter().filter(|desired| rendered_by(desired, case, name)) {
        write!(text, "---\n{}", yaml(&shown(desired))).unwrap();
    }
    text
}

fn rendered_by(desired: &Desired, case: &Case, name: &str) -> bool {
    let of = |body: &Value| body["metadata"]["labels"][names::CAPABILITY] == name;
    match desired {
        Desired::Apply(object) => of(&object.body),
        Desired::Generate(generated) => of(&generated.object.body),
        Desired::Keep(at) => case.observed.objects[at].labels().get(names::CAPABILITY).is_some_and(|c| c == name),
    }
}

fn shown_verdict(verdict: &Verdict) -> Value {
    json!({"status": verdict.proof.as_str(), "reason": verdict.reason.as_str(), "message": verdict.message})
}

fn refusal(rejection: &Rejection) -> String {
    yaml(&json!({"refused": {
        "field": rejection.field, "reason": rejection.reason.as_str(), "message": rejection.message,
        "next": rejection.reason.next(), "waiting": rejection.waiting,
    }}))
}

/// The object without the digest of its own content, which says nothing new.
fn shown(desired: &Desired) -> Value {
    let mut value = match desired {
        Desired::Apply(object) => object.body.clone(),
        Desired::Generate(generated) => {
            let made = generated.values.iter().map(|(key, material)| (key.clone(), format!("{material:?}")));
            json!({"generate": generated.object.body, "values": made.collect::<BTreeMap<_, _>>()})
        }
        Desired::Keep(at) => json!({"keep": at.to_string()}),
    };
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(names::DESIRED);
    }
    shorten(&mut value);
    value
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > LONGEST => {
            *value = format!("{} lines, digest {}", text.lines().count(), his_operator::objects::digest(&text)).into();
        }
        Value::Array(list) => list.iter_mut().for_each(shorten),
        Value::Object(map) => map.values_mut().for_each(shorten),
        _ => {}
    }
}

fn yaml(value: &Value) -> String {
    serde_yaml_ng::to_string(value).unwrap()
}

fn assert_snapshot(folder: &Path, path: &Path, case: &Case, text: &str) {
    let about = case.seen.shows.trim().to_owned();
    insta::with_settings!({
        snapshot_path => folder,
        prepend_module_to_snapshot => false,
        omit_expression => true,
        description => about,
    }, {
        insta::assert_snapshot!(stem(path), text);
    });
}

/// A snapshot without a case is a promise that nobody checks.
fn no_orphans(folder: &Path, cases: &[std::path::PathBuf]) {
    let known: Vec<String> = cases.iter().map(|path| stem(path)).collect();
    for snapshot in files(folder, "snap") {
        assert!(known.contains(&stem(&snapshot)), "{} has no case: remove it", snapshot.display());
    }
}
