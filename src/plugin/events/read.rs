//! Reads events from the cluster.

use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};

use super::Timeline;
use crate::{
    api::v1alpha1::HospitalTenant,
    names,
    plugin::{
        access::{refused, tenant},
        output::Ending,
        status::{about, known},
    },
};

/// Everything about a hospital and in its namespace.
pub(in crate::plugin) async fn timeline(client: &Client, name: &str) -> Result<Timeline, Ending> {
    let uid = Api::<HospitalTenant>::all(client.clone()).get_opt(name).await.map_err(|error| refused(&error))?;
    let uid = uid.map(|tenant| tenant.metadata.uid);
    let (own, all) = (ListParams::default().fields(&about(name)), ListParams::default());
    let namespace = names::namespace(name);
    let (own, inside) = tokio::join!(list(client, "default", &own), list(client, &namespace, &all));
    let mut unread = Vec::new();
    let mut events = known("events about the hospital", own, &mut unread);
    // Of this hospital, not of one that had the same name before.
    events.retain(|event| uid.as_ref().is_none_or(|uid| event.involved_object.uid == *uid));
    events.extend(known("events of its namespace", inside, &mut unread));
    if uid.is_none() && events.is_empty() {
        tenant(client, name).await?;
    }
    Ok(Timeline::of(events, unread))
}

async fn list(client: &Client, namespace: &str, parameters: &ListParams) -> kube::Result<Vec<Event>> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    Ok(api.list(parameters).await?.items)
}
