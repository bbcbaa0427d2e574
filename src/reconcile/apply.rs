//! Makes the cluster what a pass wants: writes what differs, in order, then removes what nobody wants any more.
//!
//! Guarantees: an object that is as it must be costs no request. Nothing is written whose protection could not be, and
//! nothing is removed after a failure. Objects that hold patient data are never removed.

use std::{collections::BTreeSet, sync::Arc};

use kube::{ResourceExt, core::DynamicObject};

use super::{Context, pass::Pass};
use crate::{
    capabilities::{network::Repair, registry},
    cluster::{Error, needs_rescue},
    error::ErrorClass,
    names,
    objects::{
        Desired, Generated, Object, Observed, Ref,
        kind::{self, Retention},
    },
    tenant::Tenant,
};

/// How far a pass came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Everything is written.
    End,
    /// What lets the operator into the namespace is written. The rest waits until its rights have arrived and everything in
    /// the namespace was seen, which wakes the hospital: nothing is sent that would only be refused.
    Door,
}

/// Writes everything that differs. What the API server answers becomes part of what was observed.
///
/// An object that is refused does not keep others from being repaired. Only workload waits while an object that guards it
/// is refused, and a Job while anything of its capability is: it runs once, and its time would pass without its files. Any
/// other failure ends the pass.
pub async fn write(pass: &Pass, known: bool, observed: &mut Observed, ctx: &Context) -> Result<Reached, Error> {
    // No status was ever written, so no pass has ever ended; what is taken over is not new.
    let first = pass.tenant.status.observed_generation.is_none() && pass.tenant.spec.adopt.is_none();
    let mut refused: Option<Error> = None;
    let (mut unguarded, mut incomplete) = (false, BTreeSet::new());
    for wanted in &pass.desired {
        if !known && ![kind::NAMESPACE, kind::ROLE_BINDING].contains(&wanted.at().kind) {
            return refused.map_or(Ok(Reached::Door), Err);
        }
        let runs_once = wanted.at().kind == kind::JOB && incomplete.contains(&wanted.capability());
        if !observed.serves(wanted.at().kind) || (unguarded && !guards(wanted)) || runs_once {
            continue;
        }
        match one(wanted, first, observed, ctx).await {
            Ok(None) => {}
            Ok(Some(answer)) => {
                ctx.caches.learn(wanted.at().kind, &answer);
                let answer = Arc::new(answer);
                let before = observed.objects.insert(wanted.at().clone(), Arc::clone(&answer));
                let repair = Repair { wanted, before: before.as_deref(), answer: &answer, ended: ctx.clock.now() };
                if let Some(gap) = repair.gap(&pass.tenant, &pass.desired, observed) {
                    tracing::warn!(%gap, "gap closed");
                    ctx.caches.closed(&pass.tenant.namespace, gap.clone());
                    observed.gaps.push(gap);
                }
            }
            Err(error) if error.concerns_one_object() => {
                unguarded |= guards(wanted);
                incomplete.insert(wanted.capability());
                // What may pass by itself decides how soon the next pass comes.
                let sooner = refused.as_ref().is_none_or(|first| first.class() != ErrorClass::Transient);
                if refused.is_none() || (sooner && error.class() == ErrorClass::Transient) {
                    refused = Some(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    refused.map_or(Ok(Reached::End), Err)
}

fn guards(wanted: &Desired) -> bool {
    registry().iter().any(|capability| capability.guards && wanted.capability() == Some(capability.name))
}

async fn one(
    wanted: &Desired,
    first: bool,
    observed: &Observed,
    ctx: &Context,
) -> Result<Option<DynamicObject>, Error> {
    match wanted {
        Desired::Apply(object) => ctx.writer.ensure(object, observed.objects.get(&object.at).map(AsRef::as_ref)).await,
        Desired::Generate(generated) => secret(generated, first, observed, ctx).await,
        Desired::Keep(_) => Ok(None),
    }
}

/// Makes a Secret that is not there, brings one back that somebody deleted, and marks one again whose labels, annotations
/// or finalizer somebody changed. Returns what was made of it, without its content.
async fn secret(
    generated: &Generated,
    first: bool,
    observed: &Observed,
    ctx: &Context,
) -> Result<Option<DynamicObject>, Error> {
    let at = &generated.object.at;
    if needs_rescue(observed, at) {
        return ctx.writer.restore_secret(at).await.map(|_whole| None);
    }
    let Some(live) = observed.objects.get(at) else { return ctx.writer.generate(generated, first).await };
    let answer = ctx.writer.ensure(&marks(generated, live), Some(live)).await?;
    Ok(answer.map(|secret| DynamicObject { data: serde_json::Value::Null, types: None, ..secret }))
}

/// Metadata of a Secret that is there. With its UID, so that no empty Secret is made where one has just gone.
pub fn marks(generated: &Generated, live: &DynamicObject) -> Object {
    let mut marks = generated.object.clone().stamped();
    if let Some(body) = marks.body.as_object_mut() {
        body.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata"));
        if let Some(metadata) = body.get_mut("metadata").and_then(|metadata| metadata.as_object_mut()) {
            metadata.insert("uid".to_owned(), live.uid().into());
            metadata.insert("finalizers".to_owned(), vec![names::KEEP_FINALIZER].into());
        }
    }
    marks
}

/// Removes workload of this hospital that nobody wants any more.
pub async fn prune(tenant: &Tenant, desired: &[Desired], observed: &Observed, ctx: &Context) -> Result<(), Error> {
    for (at, live) in unwanted(tenant, desired, observed) {
        remove(at, live, ctx).await?;
    }
    Ok(())
}

/// Workload that is there, belongs to this hospital or to the one that it stands for, and is not wanted.
pub fn unwanted<'a>(tenant: &Tenant, desired: &[Desired], observed: &'a Observed) -> Vec<(&'a Ref, &'a DynamicObject)> {
    let wanted: BTreeSet<&Ref> = desired.iter().map(Desired::at).collect();
    let ours = |live: &DynamicObject| owner(live).is_some_and(|uid| uid == tenant.uid || adopted(tenant) == Some(uid));
    let live = observed.objects.iter().map(|(at, live)| (at, live.as_ref()));
    live.filter(|(at, live)| !wanted.contains(at) && ours(live) && removable(at, live)).collect()
}

/// Removes all workload of a hospital that is being deleted. Returns what is still there, and what is kept.
pub async fn retire(uid: &str, observed: &Observed, ctx: &Context) -> Result<(Vec<Ref>, Vec<Ref>), Error> {
    let (mut leaving, mut kept) = (Vec::new(), Vec::new());
    for (at, live) in &observed.objects {
        if owner(live) != Some(uid) {
            continue;
        }
        if removable(at, live) {
            remove(at, live, ctx).await?;
            leaving.push(at.clone());
        } else {
            kept.push(at.clone());
        }
    }
    Ok((leaving, kept))
}

fn removable(at: &Ref, live: &DynamicObject) -> bool {
    at.kind.retention == Retention::Workload && !live.labels().contains_key(names::RETAIN)
}

fn owner(live: &DynamicObject) -> Option<&str> {
    live.annotations().get(names::TENANT_UID).map(String::as_str)
}

fn adopted(tenant: &Tenant) -> Option<&str> {
    tenant.spec.adopt.as_ref().map(|adopt| adopt.tenant_uid.as_str())
}

async fn remove(at: &Ref, live: &DynamicObject, ctx: &Context) -> Result<(), Error> {
    if live.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    tracing::info!(object = %at, "removing");
    ctx.caches.leaves(at);
    ctx.writer.delete(at, &live.uid().unwrap_or_default()).await
}
