//! Reads hospitals from the cluster.
//!
//! Guarantees: GET and LIST only. What a person may not see is named, and the rest is shown.

use std::time::Duration;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::Event,
    },
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;

use super::{
    Cluster,
    model::{Hospital, Warning, Workload},
};
use crate::{api::v1alpha1::HospitalTenant, names, plugin::output::Ending};

/// A person waits in front of the terminal.
const PATIENCE: Duration = Duration::from_secs(15);
/// Hospitals per request.
const PAGE: u32 = 500;
/// Warnings on the screen.
const WARNINGS: usize = 8;

/// A client of the cluster that the person means.
pub(super) async fn connect(cluster: &Cluster) -> Result<Client, Ending> {
    // The first caller wins; there is one choice only.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let fix = "name a file with --kubeconfig or $KUBECONFIG, and a context of it with --context";
    let unusable =
        |error: kube::config::KubeconfigError| Ending::Usage(format!("no cluster is configured: {error}; {fix}"));
    let options = KubeConfigOptions { context: cluster.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match &cluster.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)?
        }
        None => match (Config::from_kubeconfig(&options).await, Config::incluster_env()) {
            (Ok(config), _) => config,
            (Err(_), Ok(config)) if cluster.context.is_none() => config,
            (Err(error), _) => return Err(unusable(error)),
        },
    };
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    config.write_timeout = Some(PATIENCE);
    Client::try_from(config)
        .map_err(|error| Ending::Usage(format!("the kubeconfig cannot be used: {error}; correct it")))
}

/// All hospitals.
pub(super) async fn tenants(client: &Client) -> Result<Vec<HospitalTenant>, Ending> {
    let api: Api<HospitalTenant> = Api::all(client.clone());
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&page).await.map_err(|error| refused(&error))?;
        found.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// One hospital and what runs for it.
pub(super) async fn hospital(client: &Client, name: &str) -> Result<Hospital, Ending> {
    let api: Api<HospitalTenant> = Api::all(client.clone());
    let Some(tenant) = api.get_opt(name).await.map_err(|error| refused(&error))? else {
        let known = tenants(client).await?;
        let known: Vec<_> = known.iter().map(ResourceExt::name_any).collect();
        let known = if known.is_empty() {
            "there is none at all".to_owned()
        } else {
            format!("there are: {}", known.join(", "))
        };
        return Err(Ending::Usage(format!("HospitalTenant {name} does not exist; {known}")));
    };
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

fn known<T>(what: &str, read: kube::Result<Vec<T>>, unread: &mut Vec<String>) -> Vec<T> {
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

/// Events about objects without a namespace are kept in `default`.
async fn warnings(client: &Client, tenant: &HospitalTenant) -> kube::Result<Vec<Warning>> {
    let api: Api<Event> = Api::namespaced(client.clone(), "default");
    let about = format!("involvedObject.kind=HospitalTenant,involvedObject.name={},type=Warning", tenant.name_any());
    let list = api.list(&ListParams::default().fields(&about)).await?;
    // Of this tenant, not of one that had the same name before.
    let mine = list.items.into_iter().filter(|event| event.involved_object.uid == tenant.metadata.uid);
    let mut warnings: Vec<Warning> = mine.map(Into::into).collect();
    warnings.sort_by_key(|warning| std::cmp::Reverse(warning.at));
    warnings.truncate(WARNINGS);
    Ok(warnings)
}

fn refused(error: &kube::Error) -> Ending {
    Ending::Unreachable(match error {
        kube::Error::Api(status) if status.code == 404 => {
            "the cluster knows no HospitalTenant; install the CRDs of his-operator".to_owned()
        }
        kube::Error::Api(status) if status.code == 403 => {
            format!("{}; have somebody grant get and list on hospitaltenants.his-operator.io", status.message)
        }
        kube::Error::Api(status) if status.code == 401 => {
            format!("the cluster does not know you: {}; log in again", status.message)
        }
        kube::Error::Api(status) => format!("the cluster refuses: {}", status.message),
        other => format!("the cluster does not answer: {}; check the context and the network", words(other)),
    })
}

/// The whole chain: the outermost error alone says too little.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
}
