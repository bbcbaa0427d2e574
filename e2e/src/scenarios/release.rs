//! A new version comes in while users work; a migration that fails changes nothing for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Theatre;
use crate::demo::{
    access::Access,
    resources::{applications, apply, condition, is_true, tenants},
};

const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// At most that many requests, so that the load ends by itself.
const MOST_REQUESTS: u64 = 5_000;

/// Steady requests on fresh connections while something happens.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(access: &Access) -> Self {
        let (stop, sent, failed) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let (access, stopped, all, bad) = (access.clone(), Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&failed));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) && all.fetch_add(1, Ordering::Relaxed) < MOST_REQUESTS {
                if let Err(error) = access.version().await {
                    bad.fetch_add(1, Ordering::Relaxed);
                    eprintln!("   a request failed: {error:#}");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { stop, sent, failed, task }
    }

    /// Requests sent and failed.
    async fn end(self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?;
        Ok((self.sent.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed)))
    }
}

/// A second version with the same image: its migration runs, all pods are replaced, no request fails.
pub async fn rolls(theatre: &Theatre) -> Result<String> {
    offer(theatre, "5.0.4-b", None).await?;
    let load = Load::start(&theatre.access);
    let outcome = upgrade(theatre, "5.0.4-b").await;
    let (sent, failed) = load.end().await?;
    outcome?;
    if failed > 0 || sent < 50 {
        bail!("{failed} of {sent} requests failed during the release");
    }
    Ok(format!("0 of {sent} requests failed while version 5.0.4 was replaced by 5.0.4-b"))
}

async fn upgrade(theatre: &Theatre, version: &str) -> Result<()> {
    choose(theatre, version).await?;
    let serves = |tenant: &kube::core::DynamicObject| {
        is_true(tenant, "Ready") && tenant.data.pointer("/status/version").and_then(Value::as_str) == Some(version)
    };
    theatre.hospital.until(&format!("rolling out {version}"), PATIENCE, serves).await?;
    Ok(())
}

/// A version whose migration exits 1: the old version keeps serving, the condition says why, and going back is enough.
pub async fn migration_fails(theatre: &Theatre) -> Result<String> {
    let old = theatre.hospital.ready().await?;
    let old = old.data.pointer("/status/version").and_then(Value::as_str).context("no version serves")?.to_owned();
    let before = deployment(theatre).await?;
    offer(theatre, "6.0.0-broken", Some(json!({"image": "gnuhealth", "command": ["false"]}))).await?;
    let load = Load::start(&theatre.access);
    choose(theatre, "6.0.0-broken").await?;
    let failed = |tenant: &kube::core::DynamicObject| {
        condition(tenant, "ReleaseReady")
            .is_some_and(|(status, reason, _)| status == "False" && reason == "MigrationFailed")
    };
    let outcome = theatre.hospital.until("waiting for the migration to fail", PATIENCE, failed).await;
    let (sent, lost) = load.end().await?;
    let tenant = outcome?;
    let serving = tenant.data.pointer("/status/version").and_then(Value::as_str).unwrap_or_default();
    if serving != old || lost > 0 || deployment(theatre).await? != before {
        bail!(
            "status says {serving} serves, {lost} of {sent} requests failed, and the Deployment must not have changed"
        );
    }
    offer(theatre, &old, None).await?;
    upgrade(theatre, &old).await?;
    Ok(format!(
        "migration of 6.0.0-broken failed, {old} kept serving: 0 of {sent} requests failed, its Deployment is untouched"
    ))
}

/// A version whose pods never start: they come up beside the old ones, no user reaches them, and they go again.
pub async fn taken_back(theatre: &Theatre) -> Result<String> {
    let old = theatre.hospital.ready().await?;
    let old = old.data.pointer("/status/version").and_then(Value::as_str).context("no version serves")?.to_owned();
    let before = deployment(theatre).await?;
    let missing = json!({"gnuhealth": format!("his.local/missing@sha256:{}", "0".repeat(64))});
    offer_images(theatre, "7.0.0-missing", &missing).await?;
    let load = Load::start(&theatre.access);
    let outcome = async {
        choose_with(theatre, "7.0.0-missing", json!({"deadlineSeconds": 20, "soakSeconds": 0})).await?;
        let refused = |tenant: &kube::core::DynamicObject| {
            condition(tenant, "ReleaseReady")
                .is_some_and(|(status, reason, _)| status == "False" && reason == "RolledBack")
        };
        theatre.hospital.until("waiting for the release to be taken back", PATIENCE, refused).await
    };
    let outcome = outcome.await;
    let (sent, lost) = load.end().await?;
    let tenant = outcome?;
    let serving = tenant.data.pointer("/status/version").and_then(Value::as_str).unwrap_or_default();
    let said = condition(&tenant, "ReleaseReady").map(|(_, _, message)| message).unwrap_or_default();
    if serving != old || lost > 0 || deployment(theatre).await? != before {
        bail!(
            "status says {serving} serves, {lost} of {sent} requests failed, and the Deployment must not have changed"
        );
    }
    if !said.contains("available") {
        bail!("the condition does not say what was wrong: {said}");
    }
    offer(theatre, &old, None).await?;
    upgrade(theatre, &old).await?;
    Ok(format!("7.0.0-missing was taken back, {old} kept serving: 0 of {sent} requests failed; {said}"))
}

/// UID and generation of the web Deployment.
async fn deployment(theatre: &Theatre) -> Result<String> {
    let path = "jsonpath={.metadata.uid} {.metadata.generation}";
    let name = format!("web-{}", theatre.colour().await?);
    theatre.kubectl(&["-n", &theatre.hospital.namespace, "get", "deploy", &name, "-o", path]).await
}

/// Adds a version with the image of the first one; `migrate` replaces the migration.
async fn offer(theatre: &Theatre, version: &str, migrate: Option<Value>) -> Result<()> {
    let mut application = with_version(theatre, version, None)?;
    if let (Some(migrate), Some(lifecycle)) =
        (migrate, application.pointer_mut("/spec/lifecycle").and_then(Value::as_object_mut))
    {
        lifecycle.insert("migrate".to_owned(), migrate);
    }
    apply(&applications(&theatre.hospital.client), &application).await?;
    Ok(())
}

/// Adds a version with other images and without a migration of its own.
async fn offer_images(theatre: &Theatre, version: &str, images: &Value) -> Result<()> {
    let mut application = with_version(theatre, version, Some(images))?;
    if let Some(lifecycle) = application.pointer_mut("/spec/lifecycle").and_then(Value::as_object_mut) {
        lifecycle.remove("migrate");
    }
    apply(&applications(&theatre.hospital.client), &application).await?;
    Ok(())
}

fn with_version(theatre: &Theatre, version: &str, images: Option<&Value>) -> Result<Value> {
    let mut application = theatre.hospital.application.clone();
    let versions = application.pointer_mut("/spec/versions").and_then(Value::as_array_mut).context("no versions")?;
    let first = versions.first().cloned().context("no version")?;
    for name in ["5.0.4-b", version] {
        if !versions.iter().any(|known| known.get("version").and_then(Value::as_str) == Some(name)) {
            let mut new = first.clone();
            if let Some(new) = new.as_object_mut() {
                new.insert("version".to_owned(), name.into());
                if let (Some(images), true) = (images, name == version) {
                    new.insert("images".to_owned(), images.clone());
                }
            }
            versions.push(new);
        }
    }
    Ok(application)
}

async fn choose(theatre: &Theatre, version: &str) -> Result<()> {
    choose_with(theatre, version, json!({"soakSeconds": 5})).await
}

async fn choose_with(theatre: &Theatre, version: &str, release: Value) -> Result<()> {
    let mut tenant = theatre.hospital.tenant.clone();
    let application =
        tenant.pointer_mut("/spec/application").and_then(Value::as_object_mut).context("no application")?;
    application.insert("version".to_owned(), version.into());
    if let Some(spec) = tenant.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.insert("release".to_owned(), release);
    }
    apply(&tenants(&theatre.hospital.client), &tenant).await?;
    Ok(())
}
