//! What somebody changes is changed back: every field that the operator owns, of every object.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::StreamExt;
use his_operator::{
    names,
    objects::{
        Ref,
        kind::{JOB, NAMESPACE},
    },
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Map, Value, json};

use super::{hospital::Hospital, world::run};

/// Objects that are changed at the same time.
const AT_ONCE: usize = 8;
/// For one repair on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// One step from an object's root to a field, as managed fields write it.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Element(Map<String, Value>),
    Member(Value),
}

type Path = Vec<Step>;

#[derive(Clone, Debug)]
enum Change {
    To(Value),
    Away,
}

/// How changes ended.
#[derive(Debug, Default)]
pub struct Tally {
    pub repaired: usize,
    refused: usize,
    without_effect: usize,
    /// What stayed as somebody changed it.
    pub left: Vec<String>,
}

#[test]
fn every_changed_field_is_changed_back() {
    run(async |world| {
        let hospital = Hospital::open(world, "edited").await;
        hospital.settles().await;
        // What an ended Job says no longer matters to anybody.
        let objects = hospital.objects().await.into_iter().filter(|(at, _)| at.kind != JOB);
        let tallies: Vec<(Ref, Tally)> = futures::stream::iter(objects)
            .map(|(at, live)| {
                let hospital = hospital.clone();
                async move { (at.clone(), every_field(&hospital, &at, live).await) }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        hospital.ready().await;

        let mut sum: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
        for (at, tally) in &tallies {
            let [repaired, refused, without_effect] = sum.entry(at.kind.kind).or_default();
            *repaired += tally.repaired;
            *refused += tally.refused;
            *without_effect += tally.without_effect;
            assert!(tally.repaired > 0, "nothing of {at} could be changed");
        }
        let repaired: usize = tallies.iter().map(|(_, tally)| tally.repaired).sum();
        eprintln!("{repaired} changes repaired; repaired, refused and without effect by kind: {sum:?}");
        let left: Vec<_> = tallies.iter().flat_map(|(_, tally)| &tally.left).collect();
        assert!(left.is_empty(), "{} changes stay:\n{left:#?}", left.len());
        assert!(repaired > 500, "{repaired} changes");
    });
}

#[test]
fn a_namespace_that_no_longer_names_its_owner_is_reported_and_nothing_is_guessed() {
    run(async |world| {
        let hospital = Hospital::open(world, "disowned").await;
        let uid = hospital.resource().await.metadata.uid.unwrap();
        let api = hospital.api(NAMESPACE);
        let owner = |uid: Value| Patch::Merge(json!({ "metadata": { "annotations": { names::TENANT_UID: uid } } }));
        api.patch(&hospital.namespace(), &PatchParams::default(), &owner(Value::Null)).await.unwrap();
        hospital.shows("Ready", "False", "NamespaceNotOurs").await;
        api.patch(&hospital.namespace(), &PatchParams::default(), &owner(json!("somebody"))).await.unwrap();
        hospital.shows("Ready", "False", "RetainedDataFound").await;
        api.patch(&hospital.namespace(), &PatchParams::default(), &owner(json!(uid))).await.unwrap();
        hospital.ready().await;
    });
}

/// Changes and removes each owned field of one object, one after the other.
pub async fn every_field(hospital: &Hospital, at: &Ref, live: DynamicObject) -> Tally {
    let api = hospital.api(at.kind);
    let live = serde_json::to_value(live).unwrap();
    let paths = owned(&live);
    assert!(!paths.is_empty(), "{at} has no field of the operator");
    let mut tally = Tally::default();
    for path in &paths {
        // Who owns the data is never guessed; see the other test.
        if at.kind == NAMESPACE && path.last() == Some(&Step::Field(names::TENANT_UID.to_owned())) {
            continue;
        }
        let Some(value) = lookup(&live, path) else { continue };
        for changes in [others(value), vec![Change::Away]] {
            match change(&api, at, path, changes).await {
                Some(true) => match is_as_before(&api, at, (&live, &paths)).await {
                    Ok(()) => tally.repaired += 1,
                    Err(left) => {
                        let left = format!("{at}: {path:?} was changed: {left}");
                        eprintln!("{left}");
                        tally.left.push(left);
                        // So that the next field is not judged by this one.
                        change(&api, at, path, vec![Change::To(value.clone())]).await;
                    }
                },
                Some(false) => tally.without_effect += 1,
                None => tally.refused += 1,
            }
        }
    }
    tally
}

/// Tries changes until the API server takes one: whether it had an effect, or none if all were refused.
async fn change(api: &Api<DynamicObject>, at: &Ref, path: &Path, changes: Vec<Change>) -> Option<bool> {
    for change in changes {
        loop {
            let before = api.get_opt(&at.name).await.unwrap()?;
            let version = before.metadata.resource_version.clone();
            let mut body = serde_json::to_value(before).unwrap();
            if !make(&mut body, path, &change) {
                return Some(false);
            }
            let body: DynamicObject = match serde_json::from_value(body) {
                Ok(body) => body,
                Err(_) => break,
            };
            match api.replace(&at.name, &PostParams::default(), &body).await {
                Ok(after) => return Some(after.metadata.resource_version != version),
                // Somebody was faster; 409 also says that the API server keeps this field as it is.
                Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "Conflict" => {}
                Err(kube::Error::Api(_)) => break,
                Err(error) => panic!("{at}: {error}"),
            }
        }
    }
    None
}

/// Waits until every owned field is as it was; the first that stays different is the error.
async fn is_as_before(api: &Api<DynamicObject>, at: &Ref, (before, paths): (&Value, &[Path])) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let now = api.get_opt(&at.name).await.unwrap();
        let now = now.map(|now| serde_json::to_value(now).unwrap()).unwrap_or_default();
        let Some(path) = paths.iter().find(|path| lookup(before, path) != lookup(&now, path)) else { return Ok(()) };
        if Instant::now() > until {
            return Err(format!("{path:?} is {:?} after {PATIENCE:?}", lookup(&now, path)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Leaves of what the operator owns, without status.
fn owned(live: &Value) -> Vec<Path> {
    let mut paths = Vec::new();
    let managers = live["metadata"]["managedFields"].as_array().unwrap();
    for manager in
        managers.iter().filter(|manager| manager["manager"] == names::FIELD_MANAGER && manager["subresource"].is_null())
    {
        leaves(&manager["fieldsV1"], &mut Vec::new(), &mut paths);
    }
    paths
}

fn leaves(fields: &Value, at: &mut Path, into: &mut Vec<Path>) {
    for (key, below) in fields.as_object().unwrap() {
        let Some((kind, rest)) = key.split_once(':') else { continue };
        at.push(match kind {
            "f" => Step::Field(rest.to_owned()),
            "k" => Step::Element(serde_json::from_str(rest).unwrap()),
            "v" => Step::Member(serde_json::from_str(rest).unwrap()),
            other => panic!("unknown step {other}"),
        });
        if below.as_object().unwrap().keys().any(|key| key != ".") {
            leaves(below, at, into);
        } else {
            into.push(at.clone());
        }
        at.pop();
    }
}

/// Position of a step in a list.
fn position(list: &[Value], step: &Step) -> Option<usize> {
    list.iter().position(|item| match step {
        Step::Field(_) => false,
        Step::Element(keys) => keys.iter().all(|(key, value)| item.get(key) == Some(value)),
        Step::Member(value) => item == value,
    })
}

fn lookup<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    let Some((step, rest)) = path.split_first() else { return Some(value) };
    let next = match step {
        Step::Field(name) => value.get(name)?,
        step => value.as_array()?.get(position(value.as_array()?, step)?)?,
    };
    lookup(next, rest)
}

/// Changes the field; false if it is not there.
fn make(value: &mut Value, path: &[Step], change: &Change) -> bool {
    let Some((step, rest)) = path.split_first() else { return false };
    if !rest.is_empty() {
        let next = match step {
            Step::Field(name) => value.get_mut(name),
            step => value.as_array_mut().and_then(|list| position(list, step).and_then(|at| list.get_mut(at))),
        };
        return next.is_some_and(|next| make(next, rest, change));
    }
    match (step, change) {
        (Step::Field(name), Change::To(new)) => value.get_mut(name).map(|old| *old = new.clone()).is_some(),
        (Step::Field(name), Change::Away) => value.as_object_mut().is_some_and(|map| map.remove(name).is_some()),
        (step, change) => {
            let Some(list) = value.as_array_mut() else { return false };
            let Some(at) = position(list, step) else { return false };
            match change {
                Change::To(new) => list[at] = new.clone(),
                Change::Away => drop(list.remove(at)),
            }
            true
        }
    }
}

/// Other values that the API server may take in place of this one.
fn others(value: &Value) -> Vec<Change> {
    const WORDS: [&str; 14] = [
        "UDP",
        "Always",
        "IfNotPresent",
        "baseline",
        "v1.34",
        "DoNotSchedule",
        "Recreate",
        "OnDelete",
        "IfHealthyBudget",
        "Exact",
        "Unconfined",
        "Memory",
        "/other",
        "7",
    ];
    let others: Vec<Value> = match value {
        Value::String(text) => {
            let more = [format!("{text}x"), format!("1{text}")];
            more.into_iter()
                .chain(WORDS.map(ToOwned::to_owned))
                .filter(|other| other != text)
                .map(Value::from)
                .collect()
        }
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            vec![json!(number + 1), json!(number - 1)]
        }
        Value::Bool(value) => vec![json!(!value)],
        Value::Array(list) if !list.is_empty() => vec![json!(list[1..]), json!([list.as_slice(), &list[..1]].concat())],
        Value::Object(map) => {
            let mut more = map.clone();
            more.insert("other".to_owned(), json!("other"));
            vec![Value::Object(more)]
        }
        _ => Vec::new(),
    };
    others.into_iter().map(Change::To).collect()
}
