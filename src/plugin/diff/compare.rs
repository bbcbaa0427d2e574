//! A plan beside what is there. Pure.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use super::owned;
use crate::{
    names,
    objects::{Desired, Kind, Object, Observed, Ref, covers},
    plugin::redact::Redaction,
    reconcile::apply::{marks, unwanted},
    render::{Entry, Outcome},
};

/// What would change for one hospital.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Name of the hospital.
    pub tenant: String,
    /// In order of application; what is removed comes last.
    pub changes: Vec<Change>,
    /// Objects that are as they must be.
    pub unchanged: usize,
    /// Secrets that a person must provide and that are not there; the rest is shown as if they were.
    pub missing: Vec<String>,
    /// Nothing is written before that time.
    pub paused_until: Option<String>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

/// What would happen to one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What.
    pub action: Action,
    /// For example `Deployment`.
    pub kind: String,
    /// Empty for objects without one.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// The capability that renders it.
    pub capability: String,
    /// Counts from 1; a step is written when everything before it is ready. Absent for what is removed.
    pub step: Option<usize>,
    /// What it is for.
    pub why: String,
    /// What differs; empty when the object comes or goes.
    pub fields: Vec<Field>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// It does not exist.
    Create,
    /// It differs.
    Change,
    /// Somebody deleted it while it is kept.
    Restore,
    /// Nobody wants it any more.
    Remove,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// JSON path.
    pub path: String,
    /// What is there.
    pub live: Option<Value>,
    /// What is wanted.
    pub want: Option<Value>,
}

/// Compares. `observed` is what the plan was made from; kinds in `unread` were not looked at.
pub fn changes(plan: &Outcome, observed: &Observed, unread: &BTreeMap<Kind, String>, redaction: &Redaction) -> Changes {
    // What the API server does not serve is neither there nor written.
    let compared = |at: &Ref| !unread.contains_key(&at.kind) && observed.serves(at.kind);
    let mut changes: Vec<Change> = plan
        .entries
        .iter()
        .filter(|entry| compared(entry.desired.at()))
        .filter_map(|entry| change(entry, observed, redaction))
        .collect();
    changes.extend(plan.desired.iter().filter_map(|desired| marked(desired, observed)));
    let touched = changes.len();
    let removed = unwanted(&plan.tenant, &plan.desired, observed);
    changes.extend(removed.into_iter().map(|(at, live)| Change {
        step: None,
        ..at_rest(at, Action::Remove, live.metadata.labels.as_ref().and_then(|labels| labels.get(names::CAPABILITY)))
    }));
    Changes {
        tenant: plan.tenant.name.clone(),
        unchanged: plan.desired.iter().filter(|desired| compared(desired.at())).count().saturating_sub(touched),
        changes,
        missing: if unread.contains_key(&crate::objects::kind::SECRET) { Vec::new() } else { plan.provided.clone() },
        paused_until: None,
        unread: unread.values().cloned().collect(),
    }
}

fn at_rest(at: &Ref, action: Action, capability: Option<&String>) -> Change {
    Change {
        action,
        kind: at.kind.kind.to_owned(),
        namespace: at.namespace.clone(),
        name: at.name.clone(),
        capability: capability.cloned().unwrap_or_default(),
        step: Some(1),
        why: "no longer wanted".to_owned(),
        fields: Vec::new(),
    }
}

fn change(entry: &Entry, observed: &Observed, redaction: &Redaction) -> Option<Change> {
    let at = entry.desired.at();
    let live = observed.objects.get(at);
    let (action, fields) = match (&entry.desired, live) {
        (_, None) => (Action::Create, Vec::new()),
        (Desired::Apply(object), Some(live)) => (Action::Change, fields(live, object, redaction)),
        (Desired::Generate(_) | Desired::Keep(_), Some(_)) => (Action::Restore, Vec::new()),
    };
    if action == Action::Change && fields.is_empty() {
        return None;
    }
    let step = Some(entry.step);
    Some(Change { step, why: entry.why.clone(), fields, ..at_rest(at, action, Some(&entry.capability)) })
}

/// A generated Secret that is there and has lost its labels.
fn marked(desired: &Desired, observed: &Observed) -> Option<Change> {
    let Desired::Generate(generated) = desired else { return None };
    let live = observed.objects.get(desired.at()).filter(|live| live.metadata.deletion_timestamp.is_none())?;
    let fields = fields(live, &marks(generated, live), &Redaction::default());
    let why = desired.at().kind.reason.to_owned();
    let capability = generated.object.body.pointer("/metadata/labels").and_then(|labels| labels.get(names::CAPABILITY));
    let capability = capability.and_then(Value::as_str).map(str::to_owned);
    (!fields.is_empty()).then(|| Change { why, fields, ..at_rest(desired.at(), Action::Change, capability.as_ref()) })
}

fn fields(live: &DynamicObject, wanted: &Object, redaction: &Redaction) -> Vec<Field> {
    let differing = covers::differences(live, wanted).into_iter();
    let mut fields: Vec<Field> = differing.map(|d| Field { path: d.path, live: d.live, want: d.want }).collect();
    fields.extend(owned::no_longer_wanted(live, &wanted.body));
    // The stamp changes with everything else; alone it is all there is to say.
    let stamp = |field: &Field| field.path.contains(names::DESIRED);
    if !fields.iter().all(stamp) {
        fields.retain(|field| !stamp(field));
    }
    for field in &mut fields {
        let redact = |value: Option<Value>| value.map(|value| redaction.field(&field.path, value));
        (field.live, field.want) = (redact(field.live.take()), redact(field.want.take()));
    }
    fields
}
