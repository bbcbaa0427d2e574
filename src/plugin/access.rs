//! Which cluster, and which hospitals are there.
//!
//! Guarantees: GET and LIST only.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::output::Ending;
use crate::api::v1alpha1::HospitalTenant;

/// A person waits in front of the terminal.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// Above the 290 seconds after which an API server ends a watch on which nothing happened.
const SILENCE: Duration = Duration::from_secs(305);
/// Hospitals per request.
const PAGE: u32 = 500;

/// Which cluster.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Cluster {
    /// File with clusters and logins. Absent: $KUBECONFIG, else ~/.kube/config, else the pod's own service account.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kubeconfig: Option<PathBuf>,
    /// Context in that file. Absent: the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Runs what talks to a cluster.
pub(super) fn run<T>(command: impl Future<Output = Result<T, Ending>>) -> Result<T, Ending> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Ending::Usage(format!("the plugin cannot start: {error}")))?.block_on(command)
}

/// A client for a few requests, each of which a person waits for.
pub(super) async fn connect(cluster: &Cluster) -> Result<Client, Ending> {
    client(cluster, PATIENCE).await
}

/// A client for watches, on which nothing may happen for long.
pub(super) async fn connect_to_watch(cluster: &Cluster) -> Result<Client, Ending> {
    client(cluster, SILENCE).await
}

async fn client(cluster: &Cluster, silence: Duration) -> Result<Client, Ending> {
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
    config.read_timeout = Some(silence);
    config.write_timeout = Some(PATIENCE);
    // A pooled connection's idle time must not count against its next answer.
    config.reset_reader_on_write = true;
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

/// One hospital; that it does not exist is told with the names of those that do.
pub(super) async fn tenant(client: &Client, name: &str) -> Result<HospitalTenant, Ending> {
    let api: Api<HospitalTenant> = Api::all(client.clone());
    if let Some(tenant) = api.get_opt(name).await.map_err(|error| refused(&error))? {
        return Ok(tenant);
    }
    let known = tenants(client).await?;
    let known: Vec<_> = known.iter().map(ResourceExt::name_any).collect();
    let known =
        if known.is_empty() { "there is none at all".to_owned() } else { format!("there are: {}", known.join(", ")) };
    Err(Ending::Usage(format!("HospitalTenant {name} does not exist; {known}")))
}

/// What the API server's answer about hospitals means.
pub(super) fn refused(error: &kube::Error) -> Ending {
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
pub(super) fn words(error: &dyn std::error::Error) -> String {
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
