//! A hospital that is as it must be costs nothing.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};

use super::{OPERATOR, Theatre};
use crate::control_plane::AuditEvent;

const WINDOW: Duration = Duration::from_secs(20);
/// What was started before (a rollout, a new leader) has ended when that long nothing was written.
const SETTLED: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(300);

/// No request but the lease's and re-opened watches, also after somebody touched the tenant.
pub async fn unchanged(theatre: &Theatre) -> Result<String> {
    settle(theatre).await?;
    theatre.kubectl(&["annotate", "ht", &theatre.hospital.name, "example.org/touched=once", "--overwrite"]).await?;
    let before = requests(theatre).await?.len();
    tokio::time::sleep(WINDOW).await;
    let during: Vec<_> = requests(theatre).await?.into_iter().skip(before).collect();
    let mut unwanted: BTreeMap<String, usize> = BTreeMap::new();
    for request in during.iter().filter(|request| !is_idle(request)) {
        let what = format!("{} {}/{}", request.verb, request.resource, request.name);
        *unwanted.entry(what).or_default() += 1;
    }
    if !unwanted.is_empty() {
        bail!("requests in {} s of nothing to do: {unwanted:?}", WINDOW.as_secs());
    }
    Ok(format!("{} requests in {} s, all for the leader lease or open watches", during.len(), WINDOW.as_secs()))
}

async fn settle(theatre: &Theatre) -> Result<()> {
    let quiet = || async {
        let before = requests(theatre).await?.iter().filter(|request| !is_idle(request)).count();
        tokio::time::sleep(SETTLED).await;
        let after = requests(theatre).await?.iter().filter(|request| !is_idle(request)).count();
        Ok((before == after).then_some(()))
    };
    theatre.eventually("the operator has nothing to do", PATIENCE, quiet).await?;
    theatre.hospital.ready().await?;
    Ok(())
}

async fn requests(theatre: &Theatre) -> Result<Vec<AuditEvent>> {
    Ok(theatre.requests().await?.into_iter().filter(|request| request.user == OPERATOR).collect())
}

/// The lease is renewed, and a watch that has run its time is opened again.
fn is_idle(request: &AuditEvent) -> bool {
    request.resource == "leases" || request.verb == "watch"
}
