//! Makes the cluster what a pass wants: writes what differs, in order, then removes what nobody wants any more.
//!
//! Guarantees: an object that is as it must be costs no request. Nothing is written whose protection could not be, and
//! nothing is removed after a failure. Objects that hold patient data are never removed.

use std::{collections::BTreeSet, sync::Arc};

use kube::{ResourceExt, core::DynamicObject};

use super::Context;
use crate::{
    capabilities::registry,
    cluster::{Error, needs_rescue},
    error::ErrorClass,
    names,
    objects::{Desired, Generated, Object, Observed, Ref, kind::Retention},
    tenant::Tenant,
};

/// Writes everything that differs. What the API server answers becomes part of what was observed.
///
/// An object that is refused does not keep others from being repaired; only workload waits while an object that guards it
/// is refused. Any other failure ends the pass.
pub async fn write(desired: &[Desired], observed: &mut Observed, ctx: &Context) -> Result<(), Error> {
    let mut refused: Option<Error> = None;
    let mut unguarded = false;
    for wanted in desired {
        if !observed.serves(wanted.at().kind) || (unguarded && !guards(wanted)) {
            continue;
        }
        match one(wanted, observed, ctx).await {
            Ok(()) => {}
            Err(error) if error.concerns_one_object() => {
                unguarded |= guards(wanted);
                // What may pass by itself decides how soon the next pass comes.
                let sooner = refused.as_ref().is_none_or(|first| first.class() != ErrorClass::Transient);
                if refused.is_none() || (sooner && error.class() == ErrorClass::Transient) {
                    refused = Some(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    refused.map_or(Ok(()), Err)
}

fn guards(wanted: &Desired) -> bool {
    registry().iter().any(|capability| capability.guards && wanted.capability() == Some(capability.name))
}

async fn one(wanted: &Desired, observed: &mut Observed, ctx: &Context) -> Result<(), Error> {
    match wanted {
        Desired::Apply(object) => {
            let live = observed.objects.get(&object.at).map(AsRef::as_ref);
            if let Some(answer) = ctx.writer.ensure(object, live).await? {
                observed.objects.insert(object.at.clone(), Arc::new(answer));
            }
            Ok(())
        }
        Desired::Generate(generated) => secret(generated, observed, ctx).await,
        Desired::Keep(_) => Ok(()),
    }
}

/// Makes a Secret that is not there, brings one back that somebody deleted, and marks one again whose labels, annotations
/// or finalizer somebody changed.
async fn secret(generated: &Generated, observed: &Observed, ctx: &Context) -> Result<(), Error> {
    let at = &generated.object.at;
    if needs_rescue(observed, at) {
        ctx.writer.restore_secret(at).await?;
    } else if let Some(live) = observed.objects.get(at) {
        ctx.writer.ensure(&marks(generated, live), Some(live)).await?;
    } else {
        ctx.writer.generate(generated).await?;
    }
    Ok(())
}

/// Metadata of a Secret that is there. With its UID, so that no empty Secret is made where one has just gone.
fn marks(generated: &Generated, live: &DynamicObject) -> Object {
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

/// Removes workload of this hospital that nobody wants any more; `uids` are those of tenants that this one stands for.
pub async fn prune(tenant: &Tenant, desired: &[Desired], observed: &Observed, ctx: &Context) -> Result<(), Error> {
    let wanted: BTreeSet<&Ref> = desired.iter().map(Desired::at).collect();
    for (at, live) in &observed.objects {
        let ours = owner(live).is_some_and(|uid| uid == tenant.uid || adopted(tenant) == Some(uid));
        if wanted.contains(at) || !ours || !removable(at, live) {
            continue;
        }
        remove(at, live, ctx).await?;
    }
    Ok(())
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
