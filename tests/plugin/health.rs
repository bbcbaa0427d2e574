//! What Argo CD and Flux make of a hospital's status: the shipped files, run as they are over statuses that the operator's
//! own code writes.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use cel::{Context, Program, Value as CelValue};
use chrono::{DateTime, Utc};
use his_operator::{
    api::v1alpha1::{HospitalTenant, HospitalTenantStatus},
    capabilities::kinds,
    conditions::{Reason, Rejection},
    names,
    objects::Observed,
    reconcile::{pass, report},
    render::{Definitions, Document, simulate},
    settings::Settings,
    tenant::Inputs,
};
use mlua::{Lua, LuaOptions, LuaSerdeExt, StdLib, Table, serde::SerializeOptions};
use serde_json::{Value, json};

use super::documents_of;

/// What a hospital is to Argo CD.
#[derive(Debug, PartialEq, Eq)]
struct Argo {
    status: String,
    message: String,
}

/// What a resource is to Flux; `Unknown` is asked again until the Kustomization's timeout.
#[derive(Debug, PartialEq, Eq)]
enum Flux {
    InProgress,
    Failed,
    Current,
    Unknown,
}

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    serde_yaml_ng::from_str(&text).unwrap()
}

/// With the libraries that Argo CD gives a health check, and no others.
fn argo(object: &Value) -> Argo {
    let file = yaml("manifests/health/argocd-cm.yaml");
    let script = file["data"]["resource.customizations.health.his-operator.io_HospitalTenant"].as_str().unwrap();
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default()).unwrap();
    let nothing = SerializeOptions::new().serialize_none_to_null(false).serialize_unit_to_null(false);
    lua.globals().set("obj", lua.to_value_with(object, nothing).unwrap()).unwrap();
    let answer: Table = lua.load(script).eval().unwrap();
    Argo { status: answer.get("status").unwrap(), message: answer.get("message").unwrap() }
}

/// In the order of Flux's RFC 0009.
fn flux(object: &Value) -> Flux {
    let file = yaml("manifests/health/flux-kustomization.yaml");
    let checks = &file["spec"]["healthCheckExprs"][0];
    assert_eq!((&checks["apiVersion"], &checks["kind"]), (&object["apiVersion"], &object["kind"]));
    let seen = &object["status"]["observedGeneration"];
    if seen.is_i64() && *seen != object["metadata"]["generation"] {
        return Flux::InProgress;
    }
    for (name, means) in [("inProgress", Flux::InProgress), ("failed", Flux::Failed), ("current", Flux::Current)] {
        let mut context = Context::default();
        for (field, value) in object.as_object().unwrap() {
            context.add_variable(field.clone(), value).unwrap();
        }
        let program = Program::compile(checks[name].as_str().unwrap()).unwrap();
        match program.execute(&context) {
            Ok(CelValue::Bool(true)) => return means,
            Ok(CelValue::Bool(false)) => {}
            Ok(other) => panic!("{name} is no truth value: {other:?}"),
            Err(_) => return Flux::Unknown,
        }
    }
    Flux::InProgress
}

fn now() -> DateTime<Utc> {
    "2030-01-09T12:00:00Z".parse().unwrap()
}

/// A hospital as the API server gives it, without status, and what it refers to.
pub fn world() -> (Inputs, Observed) {
    let read = |name: &str| {
        let place = |body| Document { place: name.to_owned(), body };
        documents_of(name).into_iter().map(place).collect::<Vec<_>>()
    };
    let documents = [read("definitions.yaml"), read("hospital.yaml")].concat();
    let definitions = Definitions::decode(&documents).unwrap();
    let mut tenant = HospitalTenant::clone(&definitions.tenants[0].1);
    tenant.metadata.generation = Some(3);
    let observed = Observed {
        crds: kinds().iter().filter_map(|kind| kind.crd).map(str::to_owned).collect(),
        platform: definitions.platforms.get(names::DEFAULT_PLATFORM).cloned(),
        application: definitions.applications.get("records").cloned(),
        ..Observed::default()
    };
    (Inputs { tenant: Arc::new(tenant), settings: Settings::default(), now: now() }, observed)
}

fn object(inputs: &Inputs, status: Option<HospitalTenantStatus>) -> Value {
    let mut tenant = HospitalTenant::clone(&inputs.tenant);
    tenant.status = status;
    serde_json::to_value(&tenant).unwrap()
}

/// Statuses by name, each as the operator writes it.
fn statuses() -> BTreeMap<&'static str, Value> {
    let (inputs, observed) = world();
    let starting = pass::plan(&inputs, &observed).unwrap();
    let planned = |paused| report::planned(&inputs.tenant, &starting, &observed, None, paused);
    let refused = |rejection| report::rejected(&inputs.tenant, &rejection, now());
    let ready = object(&inputs, Some(simulate(&inputs, &observed, false).unwrap().status));
    let until = Some("2030-01-10T00:00:00Z".parse().unwrap());
    let mut behind = ready.clone();
    behind["metadata"]["generation"] = json!(4);
    let mut deleting = ready.clone();
    deleting["metadata"]["deletionTimestamp"] = json!("2030-01-09T11:59:00Z");
    let mut paused = ready.clone();
    paused["status"]["pausedUntil"] = json!("2030-01-10T00:00:00Z");
    let terminal = Rejection::terminal("spec.host", Reason::HostTaken, "is held by eligius");
    let waiting = Rejection::waiting("spec.platform", Reason::PlatformNotFound, "no platform default");
    BTreeMap::from([
        ("no status", object(&inputs, None)),
        ("ready", ready),
        ("observed generation behind", behind),
        ("deleting", deleting),
        ("paused while ready", paused),
        ("paused while starting", object(&inputs, Some(planned(until)))),
        ("starting", object(&inputs, Some(planned(None)))),
        ("stalled", object(&inputs, Some(refused(terminal)))),
        ("waiting for its platform", object(&inputs, Some(refused(waiting)))),
    ])
}

const EXPECTED: &[(&str, &str, Flux)] = &[
    ("no status", "Progressing", Flux::Unknown),
    ("ready", "Healthy", Flux::Current),
    ("observed generation behind", "Progressing", Flux::InProgress),
    ("deleting", "Progressing", Flux::InProgress),
    ("paused while ready", "Suspended", Flux::Current),
    ("paused while starting", "Suspended", Flux::InProgress),
    ("starting", "Progressing", Flux::InProgress),
    ("stalled", "Degraded", Flux::Failed),
    ("waiting for its platform", "Progressing", Flux::InProgress),
];

#[test]
fn argo_and_flux_judge_every_state_of_a_hospital_as_it_is() {
    let statuses = statuses();
    let names: Vec<_> = EXPECTED.iter().map(|(name, ..)| *name).collect();
    assert!(statuses.keys().all(|name| names.contains(name)) && statuses.len() == names.len());
    for (name, wanted_argo, wanted_flux) in EXPECTED {
        let object = &statuses[name];
        assert_eq!(argo(object).status, *wanted_argo, "{name}: {object:#}");
        assert_eq!(flux(object), *wanted_flux, "{name}: {object:#}");
    }
}

#[test]
fn argo_says_what_blocks_and_what_to_do_next() {
    let statuses = statuses();
    let stalled = argo(&statuses["stalled"]);
    assert!(stalled.message.contains("is held by eligius") && stalled.message.contains(Reason::HostTaken.next()));
    assert_eq!(argo(&statuses["paused while ready"]).message, "paused until 2030-01-10T00:00:00Z");
    assert!(!argo(&statuses["ready"]).message.contains("Next:"));
}

#[test]
fn a_failed_migration_is_degraded_although_the_old_version_serves() {
    let tenant = super::status::documents("migration-failed").remove(0);
    let object: Value = serde_yaml_ng::from_value(tenant).unwrap();
    assert_eq!((argo(&object).status.as_str(), flux(&object)), ("Degraded", Flux::Failed));
}
