//! The one write that a person makes through `kubectl his`: the annotations that pause a hospital.
//!
//! Guarantees: touches those annotations and nothing else, with the person's own rights, and only on the hospital that was
//! read: one that was made anew under the same name is left alone.

use chrono::{DateTime, SecondsFormat, Utc};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{api::v1alpha1::HospitalTenant, names};

/// Who writes it, in `metadata.managedFields`.
const PERSON: &str = "kubectl-his";

/// Pauses until then, with this reason; without a time, resumes.
pub async fn pause(
    client: &Client,
    tenant: &HospitalTenant,
    until: Option<DateTime<Utc>>,
    reason: Option<&str>,
) -> kube::Result<HospitalTenant> {
    let until = until.map(|until| until.to_rfc3339_opts(SecondsFormat::Secs, true));
    let body = json!({
        "metadata": { "uid": tenant.uid(), "annotations": { names::PAUSE_UNTIL: until, names::PAUSE_REASON: reason } },
    });
    let parameters = PatchParams { field_manager: Some(PERSON.to_owned()), ..PatchParams::default() };
    Api::<HospitalTenant>::all(client.clone()).patch(&tenant.name_any(), &parameters, &Patch::Merge(&body)).await
}
