//! Makes the cluster what a pass wants: writes what differs, in order, then removes what nobody wants any more.
//!
//! Guarantees: an object that is as it must be costs no request. The first failure ends the pass, so that nothing is
//! written whose protection could not be. Objects that hold patient data are never removed.

use std::{collections::BTreeSet, sync::Arc};

use kube::{ResourceExt, core::DynamicObject};

use super::Context;
use crate::{
    cluster::{Error, needs_rescue},
    names,
    objects::{Desired, Generated, Object, Observed, Ref, kind::Retention},
    tenant::Tenant,
};

/// Writes everything that differs. What the API server answers becomes part of what was observed.
pub async fn write(desired: &[Desired], observed: &mut Observed, ctx: &Context) -> Result<usize, Error> {
    let mut writes = 0;
    for wanted in desired {
        if !observed.serves(wanted.at().kind) {
            continue;
        }
        match wanted {
            Desired::Apply(object) => {
                let live = observed.objects.get(&object.at).map(AsRef::as_ref);
                if let Some(answer) = ctx.writer.ensure(object, live).await? {
                    observed.objects.insert(object.at.clone(), Arc::new(answer));
                    writes += 1;
                }
            }
            Desired::Generate(generated) => writes += usize::from(secret(generated, observed, ctx).await?),
            Desired::Keep(_) => {}
        }
    }
    Ok(writes)
}

/// Makes a Secret that is not there, brings one back that somebody deleted, and marks one again whose labels, annotations
/// or finalizer somebody changed. Says whether anything was done.
async fn secret(generated: &Generated, observed: &Observed, ctx: &Context) -> Result<bool, Error> {
    let at = &generated.object.at;
    if needs_rescue(observed, at) {
        ctx.writer.restore_secret(at).await?;
    } else if let Some(live) = observed.objects.get(at) {
        return Ok(ctx.writer.ensure(&marks(generated, live), Some(live)).await?.is_some());
    } else {
        ctx.writer.generate(generated).await?;
    }
    Ok(true)
}

/// Metadata of a Secret that is there. With its UID, so that no empty Secret is made where one has just gone.
pub fn marks(generated: &Generated, live: &DynamicObject) -> Object {
    let mut marks = generated.object.stamped();
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
pub async fn prune(tenant: &Tenant, desired: &[Desired], observed: &Observed, ctx: &Context) -> Result<usize, Error> {
    let unwanted = unwanted(tenant, desired, observed);
    for (at, live) in &unwanted {
        remove(at, live, ctx).await?;
    }
    Ok(unwanted.len())
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
    ctx.writer.delete(at, &live.uid().unwrap_or_default()).await
}
