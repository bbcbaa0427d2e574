//! Connections to the API server.
//!
//! Guarantees: a socket that has gone silent is noticed; a thousand watches in a thousand namespaces share a few
//! connections and never starve the requests that write.

use kube::{Client, Config};
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

/// Clients of one API server.
#[derive(Clone)]
pub struct Connections {
    main: Client,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connections")
    }
}

impl From<Client> for Connections {
    fn from(main: Client) -> Self {
        Self { main }
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
        let main = Client::try_from(config).map_err(|error| Error::BuildClient(Box::new(error)))?;
        Ok(Self { main })
    }

    /// For everything that writes, and for watches of the whole cluster.
    pub fn main(&self) -> Client {
        self.main.clone()
    }

    /// For watches of one tenant's namespace.
    pub(super) fn of_namespace(&mut self, _namespace: &str) -> Client {
        self.main.clone()
    }

    /// The watches of that namespace have ended.
    pub(super) fn leave_namespace(&mut self, _namespace: &str) {}
}
