//! Case files: what is in the cluster and what is asked for, as YAML documents that people can read.
//!
//! Each document is a JSON merge patch on its fixture in `tests/cases/fixtures`; the document of kind `Case` says what
//! is observed. A field that no type knows fails the case: a misspelt case would prove nothing.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "shared by several tests, each of which uses a part; a test may stop at once, and reads raw objects"
)]

pub mod cluster;
pub mod served;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use his_operator::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant, HospitalTenantStatus},
    capabilities::kinds,
    conditions::Rejection,
    objects::{Kind, Observed, Problem, Ref, Report, Resolved},
    reconcile::pass::{self, Pass},
    settings::Settings,
    tenant::Inputs,
};
use kube::{ResourceExt, core::DynamicObject};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The time of every case.
pub const NOW: &str = "2030-01-31T18:00:00Z";

/// What is observed beside the three resources.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seen {
    #[serde(rename = "kind")]
    _kind: String,
    /// What the case shows, in words.
    pub shows: String,
    /// Application that the case's patch is applied to, in place of the fixture; a path below the repository.
    pub application: Option<PathBuf>,
    /// Tenant that the case's patch is applied to, in place of the fixture.
    pub tenant: Option<PathBuf>,
    /// `platform`, `application`: not there.
    #[serde(default)]
    pub missing: BTreeSet<String>,
    /// CRDs that are not installed.
    #[serde(default)]
    pub missing_crds: BTreeSet<String>,
    /// Hosts that other tenants hold.
    #[serde(default)]
    pub taken_hosts: BTreeMap<String, String>,
    /// Pods that do not start.
    #[serde(default)]
    pub problems: Vec<SeenProblem>,
    /// Where names of servers outside lead.
    #[serde(default)]
    pub resolved: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Why nobody knows where names lead now; with an entry in `resolved`, they were known before.
    #[serde(default)]
    pub unresolved: BTreeMap<String, String>,
    /// What agents report: `JOB/CONTAINER`, and JSON.
    #[serde(default)]
    pub reports: BTreeMap<String, Value>,
    /// What happened before: versions that were asked for one after the other, and what became of them.
    #[serde(default)]
    pub settled: Vec<Settled>,
    /// Patch on the tenant's spec while that happened.
    pub runs_with: Option<Value>,
    /// Live objects, patched onto those of `settled`.
    #[serde(default)]
    pub objects: Vec<Value>,
    /// Ended jobs in the tenant's status.
    #[serde(default)]
    pub status: Option<Value>,
    /// What must come out, for tests that need no snapshot.
    pub expect: Option<Value>,
}

/// Which version was asked for, until nothing changed any more.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settled {
    /// The version.
    pub version: String,
    /// How its lifecycle jobs ended.
    #[serde(default)]
    pub jobs: cluster::Jobs,
}

/// A pod that does not start.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeenProblem {
    component: String,
    pod: String,
    reason: String,
    message: String,
}

/// One case, ready to be planned.
#[derive(Clone, Debug)]
pub struct Case {
    pub inputs: Inputs,
    pub observed: Observed,
    pub seen: Seen,
}

impl Case {
    pub fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap(), &path.display().to_string())
    }

    pub fn parse(text: &str, name: &str) -> Self {
        let mut documents: BTreeMap<String, Value> = BTreeMap::new();
        for document in documents_of(text, name) {
            let kind = document["kind"].as_str().unwrap_or_else(|| panic!("{name}: a document has no kind")).to_owned();
            assert!(documents.insert(kind.clone(), document).is_none(), "{name}: two documents of kind {kind}");
        }
        let seen = documents.remove("Case").unwrap_or_else(|| panic!("{name}: no document of kind Case"));
        let seen: Seen = serde_json::from_value(seen).unwrap_or_else(|error| panic!("{name}: Case: {error}"));
        let fixture = |file: &str| PathBuf::from("tests/cases/fixtures").join(file);
        let application = seen.application.clone().unwrap_or_else(|| fixture("application.yaml"));
        let tenant = seen.tenant.clone().unwrap_or_else(|| fixture("tenant.yaml"));
        let platform: HospitalPlatform = patched(&fixture("platform.yaml"), documents.remove("HospitalPlatform"), name);
        let application: HospitalApplication = patched(&application, documents.remove("HospitalApplication"), name);
        let mut tenant: HospitalTenant = patched(&tenant, documents.remove("HospitalTenant"), name);
        assert!(documents.is_empty(), "{name}: nothing uses {:?}", documents.keys());
        if let Some(status) = &seen.status {
            tenant.status = Some(serde_json::from_value::<HospitalTenantStatus>(status.clone()).unwrap());
        }
        let observed = Observed {
            crds: crds().difference(&seen.missing_crds).cloned().collect(),
            platform: (!seen.missing.contains("platform")).then(|| Arc::new(platform)),
            application: (!seen.missing.contains("application")).then(|| Arc::new(application)),
            taken_hosts: seen.taken_hosts.clone(),
            problems: seen.problems.iter().map(problem).collect(),
            reports: seen.reports.iter().map(report).collect(),
            resolved: resolved(&seen),
            ..Observed::default()
        };
        let mut case = Self { inputs: inputs(tenant), observed, seen };
        case.observe(name);
        case
    }

    /// Fills the cluster with what `settled` and `objects` say.
    fn observe(&mut self, name: &str) {
        let mut status = self.inputs.tenant.status.clone();
        for settled in &self.seen.settled {
            let mut before = serde_json::to_value(self.inputs.tenant.as_ref()).unwrap();
            merge(&mut before, json!({"spec": self.seen.runs_with.clone().unwrap_or_else(|| json!({}))}));
            merge(&mut before, json!({"spec": {"application": {"version": settled.version}}}));
            let mut before: HospitalTenant = serde_json::from_value(before).unwrap();
            before.status = status;
            status = cluster::settle(&before, &mut self.observed, settled.jobs)
                .unwrap_or_else(|rejection| panic!("{name}: version {} does not settle: {rejection}", settled.version))
                .status;
        }
        let mut tenant = self.inputs.tenant.as_ref().clone();
        tenant.status = status;
        self.inputs = inputs(tenant);
        for patch in self.seen.objects.clone() {
            let at = address(&patch).unwrap_or_else(|| panic!("{name}: {patch} names no kind that is written"));
            let live = self.observed.objects.get(&at).map(|live| serde_json::to_value(live.as_ref()).unwrap());
            let mut live = live.unwrap_or(Value::Null);
            merge(&mut live, patch);
            let live: DynamicObject = serde_json::from_value(live).unwrap();
            self.observed.objects.insert(at, Arc::new(live));
        }
    }

    /// The pass that acts: what moves is written down first.
    pub fn plan(&self) -> Result<Pass, Rejection> {
        let mut inputs = self.inputs.clone();
        loop {
            let pass = pass::plan(&inputs, &self.observed)?;
            let mut status = pass.tenant.status.clone();
            pass.record(&self.observed, &mut status);
            if status.release == pass.tenant.status.release {
                return Ok(pass);
            }
            Arc::make_mut(&mut inputs.tenant).status.get_or_insert_default().release = status.release;
        }
    }
}

/// Inputs of a tenant at [`NOW`].
fn resolved(seen: &Seen) -> BTreeMap<String, Resolved> {
    let known = seen.resolved.iter().map(|(host, addresses)| (host.clone(), leads_to(addresses.iter().copied())));
    let mut resolved: BTreeMap<String, Resolved> = known.collect();
    for (host, why) in &seen.unresolved {
        let unknown = Resolved { since: now(), ..Resolved::default() };
        resolved.entry(host.clone()).or_insert(unknown).failure = Some(why.clone());
    }
    resolved
}

/// A name that leads there for an hour.
pub fn leads_to(addresses: impl IntoIterator<Item = IpAddr>) -> Resolved {
    let seen = addresses.into_iter().map(|address| (address, now())).collect();
    Resolved { since: now() - TimeDelta::hours(1), answered: Some(now()), seen, failure: None }
}

pub fn inputs(tenant: HospitalTenant) -> Inputs {
    Inputs { tenant: Arc::new(tenant), settings: Settings::default(), now: now() }
}

pub fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(NOW).unwrap().to_utc()
}

/// CRDs of all other projects whose kinds are written.
pub fn crds() -> BTreeSet<String> {
    kinds().iter().filter_map(|kind| kind.crd.map(ToOwned::to_owned)).collect()
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files with that ending below a folder, in order.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    found.sort();
    found
}

/// Name of a case: its file's, without ending.
pub fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// All documents of a YAML text.
pub fn documents_of(text: &str, name: &str) -> Vec<Value> {
    let read = |document| Value::deserialize(document).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_yaml_ng::Deserializer::from_str(text).map(read).filter(|value| !value.is_null()).collect()
}

/// JSON merge patch, RFC 7386.
pub fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let map = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            map.remove(&key);
        } else {
            merge(map.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// A typed resource from its file, with a patch.
pub fn patched<T: DeserializeOwned + Serialize>(file: &Path, patch: Option<Value>, name: &str) -> T {
    let file = root().join(file);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut value = documents_of(&text, &file.display().to_string()).remove(0);
    if let Some(patch) = patch {
        merge(&mut value, patch);
    }
    strict(&value, name)
}

/// Reads a typed value and panics on every field that the type does not have.
pub fn strict<T: DeserializeOwned + Serialize>(value: &Value, name: &str) -> T {
    let typed: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let back = serde_json::to_value(&typed).unwrap();
    if let Some(path) = lost(value, &back, "") {
        panic!("{name}: no such field: {path}");
    }
    typed
}

/// First field of `all` that `kept` lost. Empty and null values may be left out.
fn lost(all: &Value, kept: &Value, path: &str) -> Option<String> {
    match (all, kept) {
        (Value::Object(all), kept) => all.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match kept.get(key) {
                Some(kept) => lost(value, kept, &path),
                None if is_empty(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(all), Value::Array(kept)) => {
            all.iter().zip(kept).enumerate().find_map(|(n, (all, kept))| lost(all, kept, &format!("{path}[{n}]")))
        }
        (all, kept) => (all != kept && !is_empty(all)).then(|| path.to_owned()),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Address of a live object.
pub fn address(object: &Value) -> Option<Ref> {
    let group = object["apiVersion"].as_str()?.rsplit_once('/').map_or("", |(group, _)| group);
    let kind = object["kind"].as_str()?;
    let kind: Kind = kinds().into_iter().find(|k| k.group == group && k.kind == kind)?;
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    Some(Ref { kind, namespace: text("namespace"), name: text("name") })
}

/// Label of a live object.
pub fn label<'a>(object: &'a DynamicObject, key: &str) -> Option<&'a str> {
    object.labels().get(key).map(String::as_str)
}

fn report((of, said): (&String, &Value)) -> Report {
    let (job, container) = of.split_once('/').unwrap();
    // The agent writes JSON, other programs write lines.
    let text = said.as_str().map_or_else(|| said.to_string(), ToOwned::to_owned);
    Report { job: job.to_owned(), container: container.to_owned(), ended: now(), text }
}

fn problem(seen: &SeenProblem) -> Problem {
    Problem {
        component: seen.component.clone(),
        pod: seen.pod.clone(),
        reason: seen.reason.clone(),
        message: seen.message.clone(),
    }
}
