use std::{collections::BTreeSet, fmt::Debug, future::Future, net::IpAddr, pin::Pin, time::Duration};

use tokio::{net::lookup_host, time::timeout};

/// An answer is waited for no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a name leads to, or why nobody knows.
pub type Answer = Result<BTreeSet<IpAddr>, String>;

/// Knows where names lead.
pub trait Resolver: Send + Sync + Debug {
    /// All addresses of an absolute name.
    fn resolve<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;
}

/// The resolver that the machine, or the pod, is told to use.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        // With the last dot, so that no search domain of the cluster is tried.
        let absolute = format!("{}.", name.trim_end_matches('.'));
        Box::pin(async move {
            let asked = timeout(PATIENCE, lookup_host((absolute, 0))).await;
            let found = asked.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
            Ok(found.map_err(|error| error.to_string())?.map(|address| address.ip().to_canonical()).collect())
        })
    }
}
