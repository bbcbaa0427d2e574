//! Connections to the API server.
//!
//! Guarantees: a socket that has gone silent is noticed; a thousand watches in a thousand namespaces share a few
//! connections and never starve the requests that write.

use std::collections::BTreeSet;

use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{Client, Config, client::ConfigExt};
use tokio::time::Duration;

/// Above the 290 seconds after which the API server ends a watch.
const SILENCE: Duration = Duration::from_secs(305);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither in a cluster nor configured for one.
    #[error("no cluster is configured: run in a pod with a service account, or set KUBECONFIG: {0}")]
    ReadConfig(#[from] kube::config::KubeconfigError),
    /// The configuration does not make a client.
    #[error("the cluster's configuration is not usable: {0}")]
    BuildClient(#[source] Box<kube::Error>),
}

/// Watches that share one HTTP/2 connection: below the 100 streams that an API server allows.
const STREAMS: usize = 80;
/// Time between signs of life on a shared connection, and how long one may take.
const PING: Duration = Duration::from_secs(30);

/// Clients of one API server.
#[derive(Clone)]
pub struct Connections {
    main: Client,
    /// How to make shared connections; absent where they cannot be made.
    shared: Option<Config>,
    shares: Vec<Share>,
}

/// One HTTP/2 connection and the namespaces whose watches it carries.
#[derive(Clone)]
struct Share {
    client: Client,
    namespaces: BTreeSet<String>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("shares", &self.shares.len()).finish_non_exhaustive()
    }
}

impl From<Client> for Connections {
    fn from(main: Client) -> Self {
        Self { main, shared: None, shares: Vec::new() }
    }
}

impl Connections {
    /// Of the cluster that this process runs in; else of the current kubeconfig context.
    pub async fn infer() -> Result<Self, Error> {
        let config = match Config::incluster_env() {
            Ok(config) => config,
            Err(error) => {
                tracing::debug!(%error, "not in a cluster");
                Config::from_kubeconfig(&kube::config::KubeConfigOptions::default()).await?
            }
        };
        Self::to(config)
    }

    /// Of this cluster.
    pub fn to(mut config: Config) -> Result<Self, Error> {
        config.read_timeout = Some(SILENCE);
        // A pooled connection's idle time must not count against its next answer.
        config.reset_reader_on_write = true;
        // A proxy, or headers of its own, only the ordinary client knows how to use.
        let plain = config.proxy_url.is_none() && config.headers.is_empty() && config.auth_info.impersonate.is_none();
        let shared = plain.then(|| config.clone());
        let main = Client::try_from(config).map_err(|error| Error::BuildClient(Box::new(error)))?;
        Ok(Self { main, shared, shares: Vec::new() })
    }

    /// For everything that writes, and for watches of the whole cluster.
    pub fn main(&self) -> Client {
        self.main.clone()
    }

    /// For watches of one tenant's namespace.
    pub(super) fn of_namespace(&mut self, namespace: &str) -> Client {
        let Some(config) = &self.shared else { return self.main.clone() };
        let free = self.shares.iter_mut().find(|share| share.namespaces.len() < STREAMS);
        if let Some(share) = free {
            share.namespaces.insert(namespace.to_owned());
            return share.client.clone();
        }
        match multiplexed(config) {
            Ok(client) => {
                self.shares.push(Share { client: client.clone(), namespaces: [namespace.to_owned()].into() });
                client
            }
            Err(error) => {
                tracing::warn!(%error, "no shared connection; each watch has its own");
                self.main.clone()
            }
        }
    }

    /// The watches of that namespace have ended.
    pub(super) fn leave_namespace(&mut self, namespace: &str) {
        self.shares.iter_mut().for_each(|share| share.namespaces.retain(|name| name != namespace));
        self.shares.retain(|share| !share.namespaces.is_empty());
    }
}

/// A client whose requests share one HTTP/2 connection where the server speaks it.
fn multiplexed(config: &Config) -> kube::Result<Client> {
    let mut socket = HttpConnector::new();
    socket.enforce_http(false);
    socket.set_connect_timeout(config.connect_timeout);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(socket);
    let http = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        .http2_keep_alive_while_idle(true)
        .build(connector);
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_namespaces_share_few_connections_and_free_their_place() {
        let config = Config::new("http://127.0.0.1:1".parse().unwrap());
        let mut connections = Connections::to(config).unwrap();
        for number in 0..STREAMS * 2 + 1 {
            connections.of_namespace(&format!("his-{number}"));
        }
        assert_eq!(connections.shares.len(), 3);
        connections.leave_namespace(&format!("his-{}", STREAMS * 2));
        assert_eq!(connections.shares.len(), 2);
        connections.leave_namespace("his-0");
        connections.of_namespace("his-new");
        assert_eq!(connections.shares.len(), 2);
    }
}
