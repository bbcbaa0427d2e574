//! Reads hospitals from the cluster.
//!
//! Guarantees: GET and LIST only. What a person may not see is named, and the rest is shown.

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::Event,
    },
};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::model::{Hospital, Warning, Workload};
use crate::{
    api::v1alpha1::HospitalTenant,
    names,
    plugin::{
        access::{tenant, words},
        output::Ending,
    },
};

/// Warnings on the screen.
const WARNINGS: usize = 8;

/// One hospital and what runs for it.
pub(in crate::plugin) async fn hospital(client: &Client, name: &str) -> Result<Hospital, Ending> {
    let tenant = tenant(client, name).await?;
    let namespace = names::namespace(name);
    let (deployments, sets, events) = tokio::join!(
        workloads::<Deployment>(client, &namespace, name),
        workloads::<StatefulSet>(client, &namespace, name),
        warnings(client, &tenant),
    );
    let mut unread = Vec::new();
    let mut workloads: Vec<_> = [("Deployments", deployments), ("StatefulSets", sets)]
        .into_iter()
        .flat_map(|(what, read)| known(what, read, &mut unread))
        .collect();
    workloads.sort();
    let warnings = known("events", events, &mut unread);
    Ok(Hospital { tenant, workloads, warnings, unread })
}

pub(in crate::plugin) fn known<T>(what: &str, read: kube::Result<Vec<T>>, unread: &mut Vec<String>) -> Vec<T> {
    read.unwrap_or_else(|error| {
        unread.push(format!("{what} could not be read: {}", words(&error)));
        Vec::new()
    })
}

async fn workloads<K>(client: &Client, namespace: &str, tenant: &str) -> kube::Result<Vec<Workload>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Into<Workload>,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mine = ListParams::default().labels(&format!("{}={tenant}", names::TENANT));
    Ok(api.list(&mine).await?.items.into_iter().map(Into::into).collect())
}

/// Field selector of the events about a hospital.
pub(in crate::plugin) fn about(name: &str) -> String {
    format!("involvedObject.kind=HospitalTenant,involvedObject.name={name}")
}

/// Events about objects without a namespace are kept in `default`.
async fn warnings(client: &Client, tenant: &HospitalTenant) -> kube::Result<Vec<Warning>> {
    let api: Api<Event> = Api::namespaced(client.clone(), "default");
    let fields = format!("{},type=Warning", about(&tenant.name_any()));
    let list = api.list(&ListParams::default().fields(&fields)).await?;
    // Of this tenant, not of one that had the same name before.
    let mine = list.items.into_iter().filter(|event| event.involved_object.uid == tenant.metadata.uid);
    let mut warnings: Vec<Warning> = mine.map(Into::into).collect();
    warnings.sort_by_key(|warning| std::cmp::Reverse(warning.at));
    warnings.truncate(WARNINGS);
    Ok(warnings)
}
