//! Deletion of a tenant: the application ends, all data stays, and what stays is written down in the namespace.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{ResourceExt, runtime::controller::Action};

use super::{Context, apply};
use crate::{
    api::v1alpha1::HospitalTenant,
    conditions::Reason,
    error::Error,
    names,
    objects::{Object, Observed, Ref, kind},
};

/// Name of the ConfigMap that says what was kept.
pub const RECEIPT: &str = "retained-data";

/// One pass over a hospital that is being deleted.
pub async fn retire(resource: &HospitalTenant, observed: &Observed, ctx: &Context) -> Result<Action, Error> {
    if !resource.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER) {
        return Ok(Action::await_change());
    }
    let uid = resource.uid().unwrap_or_default();
    let (leaving, kept) = apply::retire(&uid, observed, ctx).await?;
    if !leaving.is_empty() {
        tracing::info!(left = leaving.len(), "waiting for workload to end");
        return Ok(Action::await_change());
    }
    if !kept.is_empty() {
        let receipt = receipt(resource, &uid, &kept, ctx);
        ctx.writer.apply(&receipt.stamped()).await?;
        let names = kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message = format!("the application has ended; kept: {names}");
        ctx.writer.event(resource, true, Reason::Deleting.as_str(), &message).await?;
    }
    ctx.writer.finalizer(resource, false).await?;
    Ok(Action::await_change())
}

fn receipt(resource: &HospitalTenant, uid: &str, kept: &[Ref], ctx: &Context) -> Object {
    let tenant = resource.name_any();
    let data = BTreeMap::from([
        ("tenant".to_owned(), tenant.clone()),
        ("tenantUid".to_owned(), uid.to_owned()),
        ("deletedAt".to_owned(), ctx.clock.now().to_rfc3339()),
        ("kept".to_owned(), kept.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        (
            "adopt".to_owned(),
            format!("to take this data over, create HospitalTenant {tenant} with spec.adopt.tenantUid: {uid}"),
        ),
    ]);
    let metadata = ObjectMeta {
        name: Some(RECEIPT.to_owned()),
        namespace: Some(names::namespace(&tenant)),
        labels: Some(BTreeMap::from([
            (names::MANAGED_BY.to_owned(), names::PRODUCT.to_owned()),
            (names::TENANT.to_owned(), tenant),
        ])),
        annotations: Some(BTreeMap::from([(names::TENANT_UID.to_owned(), uid.to_owned())])),
        ..ObjectMeta::default()
    };
    Object::new(kind::LEDGER, &ConfigMap { metadata, data: Some(data), ..ConfigMap::default() })
}
