//! Operators that are killed again and again, at random moments, while a hospital comes up.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{OPERATOR, Theatre, children as kinds};
use crate::demo::{
    hospital::Hospital,
    resources::{apply, tenants},
};

/// A hospital that was upgraded has more of these.
const OF_VERSIONS: [&str; 2] = ["configmaps", "jobs"];
/// The next leader waits for the old lease first.
const TAKE_OVER: Duration = Duration::from_secs(120);
/// Leaders that are killed while one hospital comes up: the lease of each has to end first, which takes its time.
const KILLS: u32 = 3;
const KILLS_IN_FULL: u32 = 20;
const LONGEST_LIFE_MILLIS: u64 = 3000;

/// Kills each leader within seconds of its first renewal; the hospital still ends like one that was never disturbed.
pub async fn often(theatre: &Theatre) -> Result<String> {
    // Its data outlives it, so each run needs a name of its own.
    let hospital = Hospital::named(&theatre.stage, &format!("mercy-west-{}", std::process::id())).await?;
    apply(&tenants(&hospital.client), &hospital.tenant).await?;
    let mut last = String::new();
    let kills = if theatre.full { KILLS_IN_FULL } else { KILLS };
    for _ in 0..kills {
        last = next_leader(theatre, &last).await?;
        // A moment by chance is the point of it.
        let life = RandomState::new().build_hasher().finish() % LONGEST_LIFE_MILLIS;
        tokio::time::sleep(Duration::from_millis(life)).await;
        // The process's number and its start follow the pod's name.
        let pod = last.rsplitn(3, '-').nth(2).unwrap_or(&last);
        let pods = ["-n", "his-operator-system", "delete", "pod", pod, "--grace-period=0", "--force", "--wait=false"];
        theatre.kubectl(&pods).await?;
    }
    hospital.ready().await?;
    let (expected, found) = (children(theatre, &theatre.hospital).await?, children(theatre, &hospital).await?);
    if expected != found {
        bail!("an undisturbed hospital has {expected:?}, this one {found:?}");
    }
    let twice = made_twice(theatre, &hospital.namespace).await?;
    if !twice.is_empty() {
        bail!("made more than once: {twice:?}");
    }
    theatre.kubectl(&["delete", "ht", &hospital.name, "--wait=true", "--timeout=180s"]).await?;
    let objects: usize = found.values().sum();
    Ok(format!("{kills} leaders were killed while a hospital came up: Ready, {objects} objects, none twice, no orphan"))
}

/// Waits until somebody leads who is not the one that was killed last.
async fn next_leader(theatre: &Theatre, before: &str) -> Result<String> {
    let lease = ["-n", "his-operator-system", "get", "lease", "his-operator", "-o", "jsonpath={.spec.holderIdentity}"];
    let (holder, _) = theatre
        .eventually("the next leader", TAKE_OVER, || async {
            let holder = theatre.kubectl(&lease).await?;
            Ok(Some(holder).filter(|holder| !holder.is_empty() && holder != before))
        })
        .await?;
    Ok(holder)
}

/// Number of children by kind.
async fn children(theatre: &Theatre, hospital: &Hospital) -> Result<BTreeMap<String, usize>> {
    let label = format!("his-operator.io/tenant={}", hospital.name);
    let list =
        theatre.kubectl(&["-n", &hospital.namespace, "get", &kinds(&OF_VERSIONS), "-l", &label, "-o", "name"]).await?;
    let mut count = BTreeMap::new();
    for child in list.lines() {
        let (kind, _) = child.split_once('/').context("kubectl named no kind")?;
        *count.entry(kind.to_owned()).or_default() += 1;
    }
    Ok(count)
}

/// Jobs and Secrets that the API server made more than once.
async fn made_twice(theatre: &Theatre, namespace: &str) -> Result<Vec<String>> {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for request in theatre.requests().await? {
        let once = ["jobs", "secrets"].contains(&request.resource.as_str()) && request.subresource.is_empty();
        if request.user == OPERATOR && once && request.code == 201 && request.namespace == namespace {
            *made.entry(format!("{} {}", request.resource, request.name)).or_default() += 1;
        }
    }
    Ok(made.into_iter().filter(|(_, times)| *times > 1).map(|(what, times)| format!("{what}: {times}")).collect())
}
