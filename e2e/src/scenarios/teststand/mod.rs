//! Releases of a small application that says which version answers and fails as it is told to: many in a row under load, and
//! one for each way to fail.

pub mod compare;
pub mod disturbed;
pub mod encrypted;
pub mod inside;
mod load;
pub mod matrix;
pub mod named;
mod socket;
pub mod webhooks;
mod workers;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams, core::DynamicObject};
use serde_json::{Value, json};

use super::Theatre;
use crate::demo::{
    hospital::Hospital,
    resources::{FIELD_MANAGER, applications, apply, condition, is_true, set, tenants},
};
use load::{Door, Load, Report};
use workers::Background;

const APPLICATION: &str = include_str!("application.yaml");
const SERVER: &str = include_str!("server.py");
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// Releases in a row.
const RELEASES: usize = 3;
const RELEASES_IN_FULL: usize = 20;
/// So many requests each release may see, at the most.
const MOST: u64 = 20_000;

/// Ways to fail: part of the version's name, and the reason that the condition must give.
const FAILURES: [(&str, &str); 8] = [
    ("migration-fails", "MigrationFailed"),
    ("migration-hangs", "MigrationFailed"),
    ("migration-needs-too-much-memory", "MigrationFailed"),
    ("needs-too-much-memory", "RolledBack"),
    ("crashes", "RolledBack"),
    ("never-ready", "RolledBack"),
    ("fails-its-gate", "GateFailed"),
    // The migration has the image of its version.
    ("image-missing", "MigrationFailed"),
];

/// What the migration that fails says last, as far as it may be told.
const LAST_WORDS: &str = "its last lines: no column ward, password=[redacted]";

/// Ways to fail that nobody can see before users come.
const FAILURES_UNDER_USERS: [&str; 2] = ["fails-under-users", "breaks-under-users"];
/// Users go on for a moment.
const MOMENT: Duration = Duration::from_secs(2);
/// So long may users notice.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// A hospital with the test stand.
struct Stand {
    hospital: Hospital,
    door: Door,
}

/// One release after the other, under load: nothing fails, and nobody sees anything but the two versions of the moment.
pub async fn releases(theatre: &Theatre) -> Result<String> {
    let count = if theatre.full { RELEASES_IN_FULL } else { RELEASES };
    let versions: Vec<String> = (0..=count).map(|number| format!("v{number}")).collect();
    let stand = Stand::open(theatre, "releases", &versions).await?;
    let background = Background::watch(&stand.hospital);
    let (mut mixed, mut sent, mut probed) = (Vec::new(), 0, Vec::new());
    for pair in versions.windows(2) {
        let [old, new] = pair else { continue };
        let load = Load::start(&stand.door, MOST);
        let outcome = stand.release(new).await;
        let report = load.end().await;
        outcome?;
        report.is_clean(&[old, new]).with_context(|| format!("release of {new}"))?;
        sent += report.sent;
        probed.push(stand.evidence(theatre, new).await?);
        mixed.push(report.mixed(old, new));
    }
    let workers = background.end(count)?;
    stand.close(theatre).await?;
    mixed.sort_unstable();
    let at = |share: usize| mixed.get((mixed.len() * share / 100).min(mixed.len() - 1)).copied().unwrap_or_default();
    Ok(format!(
        "{count} releases, 0 of {sent} requests failed, no other version answered; both versions answered for {:.0?} (p50), {:.0?} (p99); status says: 0 of {} requests of its own failed, {} ms with both versions at the most; {workers} workers ended between two jobs, never two schedulers",
        at(50),
        at(99),
        probed.iter().map(|(requests, _)| requests).sum::<i64>(),
        probed.iter().map(|(_, mixed)| *mixed).max().unwrap_or_default(),
    ))
}

/// Each way to fail ends on the old version: no request fails, no user sees the new one, and the condition says why.
pub async fn failures(theatre: &Theatre) -> Result<String> {
    let versions: Vec<String> =
        std::iter::once("good").chain(FAILURES.map(|(name, _)| name)).map(ToOwned::to_owned).collect();
    let stand = Stand::open(theatre, "failures", &versions).await?;
    let mut sent = 0;
    for (version, reason) in FAILURES {
        let load = Load::start(&stand.door, MOST);
        let outcome = stand.refuses(version, &[reason]).await;
        let report: Report = load.end().await;
        let told = outcome.with_context(|| format!("release of {version}"))?;
        ensure!(version != "migration-fails" || told.contains(LAST_WORDS), "its last lines are not told: {told}");
        report.is_clean(&["good"]).with_context(|| format!("release of {version}"))?;
        sent += report.sent;
        stand.choose("good").await?;
        stand.serves("good").await?;
    }
    stand.no_room(theatre).await?;
    stand.close(theatre).await?;
    let names = FAILURES.map(|(name, _)| name).join(", ");
    Ok(format!("{names}, quota-too-small: the old version served throughout, 0 of {sent} requests failed"))
}

/// What no check before the cutover can find is found by requests through the front door, and users are led back.
pub async fn failures_under_users(theatre: &Theatre) -> Result<String> {
    let versions: Vec<String> = std::iter::once("good").chain(FAILURES_UNDER_USERS).map(ToOwned::to_owned).collect();
    let stand = Stand::open(theatre, "noticed", &versions).await?;
    let mut told = Vec::new();
    for version in FAILURES_UNDER_USERS {
        let load = Load::start(&stand.door, MOST);
        let outcome = stand.refuses(version, &["RequestsFailing", "RolledBack"]).await;
        let report: Report = load.end().await;
        outcome.with_context(|| format!("release of {version}"))?;
        let (failed, span) = report.failed();
        ensure!(failed > 0, "{version}: no request failed, so the scenario shows nothing");
        ensure!(span < BACK_WITHIN, "{version}: requests failed for {span:?}");
        told.push(format!("{version}: back after {span:.1?}, {failed} of {} requests failed", report.sent));
        stand.choose("good").await?;
        stand.serves("good").await?;
        let load = Load::start(&stand.door, MOST);
        tokio::time::sleep(MOMENT).await;
        load.end().await.is_clean(&["good"]).with_context(|| format!("after {version}"))?;
        told.extend(stand.way_back(version).await?);
    }
    stand.close(theatre).await?;
    Ok(told.join("; "))
}

/// The contract step runs when a person has named the version that serves; after it, nobody goes back below its schema.
pub async fn contract(theatre: &Theatre) -> Result<String> {
    let versions = ["v0", "v1"].map(ToOwned::to_owned);
    let mut stand = Stand::open(theatre, "contract", &versions).await?;
    stand.release("v1").await?;
    let ran = |tenant: &DynamicObject| {
        let jobs = tenant.data.pointer("/status/jobs").and_then(Value::as_array).cloned().unwrap_or_default();
        jobs.iter().any(|job| {
            job["name"].as_str().is_some_and(|name| name.starts_with("contract-")) && job["result"] == "Succeeded"
        })
    };
    let tenant = tenants(&stand.hospital.client).get(&stand.hospital.name).await?;
    ensure!(!ran(&tenant), "the contract step ran without approval");
    set(&mut stand.hospital.tenant, &["spec", "release", "contract"], "v1".into());
    stand.choose("v1").await?;
    stand.hospital.until("the contract step", PATIENCE, |tenant| ran(tenant) && is_true(tenant, "Ready")).await?;
    let load = Load::start(&stand.door, MOST);
    stand.choose("v0").await?;
    let refused = |tenant: &DynamicObject| {
        condition(tenant, "Ready").is_some_and(|(status, why, _)| status == "False" && why == "SchemaContracted")
    };
    let outcome = stand.hospital.until("the way back is refused", PATIENCE, refused).await;
    tokio::time::sleep(MOMENT).await;
    let report = load.end().await;
    outcome?;
    report.is_clean(&["v1"])?;
    stand.release("v1").await?;
    stand.close(theatre).await?;
    Ok(format!("approved, it ran once; going back was refused, 0 of {} requests failed", report.sent))
}

impl Stand {
    /// A hospital with the first of these versions.
    async fn open(theatre: &Theatre, name: &str, versions: &[String]) -> Result<Self> {
        Self::open_with(theatre, name, versions, &json!({})).await
    }

    /// A hospital with the first of these versions, and more in its spec.
    async fn open_with(theatre: &Theatre, name: &str, versions: &[String], more: &Value) -> Result<Self> {
        Self::open_changed(theatre, name, versions, more, |_| ()).await
    }

    /// The same with another application.
    async fn open_changed(
        theatre: &Theatre,
        name: &str,
        versions: &[String],
        more: &Value,
        change: impl FnOnce(&mut Value),
    ) -> Result<Self> {
        let mut hospital = Hospital::named(&theatre.stage, &format!("{name}-{}", std::process::id())).await?;
        hospital.application = application(&theatre.stage.images.gnuhealth.by_digest(), versions)?;
        change(&mut hospital.application);
        let first = versions.first().context("no version")?;
        hospital.tenant = json!({
            "apiVersion": "his-operator.io/v1alpha1",
            "kind": "HospitalTenant",
            "metadata": {"name": hospital.name},
            "spec": {
                "application": {"name": "teststand", "version": first},
                "host": hospital.host,
                "release": {"soakSeconds": 3, "deadlineSeconds": 20},
            },
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            set(&mut hospital.tenant, &["spec", field], value.clone());
        }
        apply(&applications(&hospital.client), &hospital.application).await?;
        apply(&tenants(&hospital.client), &hospital.tenant).await?;
        hospital.ready().await?;
        let door = Door { gateway: theatre.stage.site.gateway(), host: hospital.host.clone() };
        Ok(Self { hospital, door })
    }

    async fn release(&self, version: &str) -> Result<()> {
        self.choose(version).await?;
        self.serves(version).await
    }

    async fn choose(&self, version: &str) -> Result<()> {
        apply(&tenants(&self.hospital.client), &self.asked(version)).await.map(drop)
    }

    /// The tenant that asks for this version.
    fn asked(&self, version: &str) -> Value {
        let mut tenant = self.hospital.tenant.clone();
        set(&mut tenant, &["spec", "application", "version"], version.into());
        tenant
    }

    async fn serves(&self, version: &str) -> Result<()> {
        let done = |tenant: &DynamicObject| is_true(tenant, "Ready") && serving(tenant) == version;
        self.hospital.until(&format!("releasing {version}"), PATIENCE, done).await.map(drop)
    }

    /// What status says of the last release: requests, and milliseconds with both versions.
    async fn evidence(&self, theatre: &Theatre, version: &str) -> Result<(i64, i64)> {
        let last = |tenant: &DynamicObject, field: &str| {
            tenant.data.pointer("/status/release/history/0").and_then(|last| last.pointer(field).cloned())
        };
        let known = |tenant: &DynamicObject| last(tenant, "/evidence").is_some();
        let tenant = self.hospital.until(&format!("evidence of {version}"), PATIENCE, known).await?;
        ensure!(last(&tenant, "/askedBy").is_some_and(|by| by == FIELD_MANAGER), "nobody is said to have asked");
        let number = |field: &str| last(&tenant, &format!("/evidence/{field}")).and_then(|value| value.as_i64());
        ensure!(last(&tenant, "/release/version").is_some_and(|of| of == version), "the last release is not {version}");
        let [requests, failed, old, new, mixed] = ["requests", "failed", "old", "new", "mixedMilliseconds"].map(number);
        ensure!(failed == Some(0) && old > Some(0) && new > Some(0), "{version}: {:?}", last(&tenant, "/evidence"));
        self.is_told(theatre, "ReleaseWatched", &format!("while version {version} came in, 0 of")).await?;
        requests.zip(mixed).context("the evidence has no numbers")
    }

    /// What status says of the way back from a release that has failed under users.
    async fn way_back(&self, version: &str) -> Result<Option<String>> {
        let last = |tenant: &DynamicObject, field: &str| {
            let history = tenant.data.pointer("/status/release/history").and_then(Value::as_array)?;
            let record =
                history.iter().find(|record| record.pointer("/release/version").is_some_and(|of| of == version))?;
            record.pointer(&format!("/evidence/{field}")).cloned()
        };
        let known = |tenant: &DynamicObject| last(tenant, "requests").is_some();
        let tenant = self.hospital.until(&format!("what users met after {version}"), PATIENCE, known).await?;
        if last(&tenant, "breached") != Some(Value::Bool(true)) {
            return Ok(None);
        }
        let recovered = last(&tenant, "recoveredMilliseconds").and_then(|ms| ms.as_i64());
        let recovered = recovered.with_context(|| format!("{version}: status does not say when all was well again"))?;
        ensure!(recovered < i64::try_from(BACK_WITHIN.as_millis())?, "{version}: all was well after {recovered} ms");
        Ok(Some(format!("{version}: status says, well again {recovered} ms after too many had failed")))
    }

    /// Waits for an event of the hospital.
    async fn is_told(&self, theatre: &Theatre, reason: &str, words: &str) -> Result<()> {
        let about = format!("reason={reason},regarding.name={}", self.hospital.name);
        let (events, about) = (Api::<Event>::all(self.hospital.client.clone()), ListParams::default().fields(&about));
        let what = format!("an event {reason} says {words:?}");
        let told = async || {
            let notes: Vec<_> = events.list(&about).await?.items.into_iter().filter_map(|event| event.note).collect();
            if notes.iter().any(|note| note.contains(words)) { Ok(Some(())) } else { bail!("{notes:?}") }
        };
        theatre.eventually(&what, MOMENT * 5, told).await.map(drop)
    }

    /// The release is taken back, for one of these reasons; the condition's message.
    async fn refuses(&self, version: &str, reasons: &[&str]) -> Result<String> {
        self.choose(version).await?;
        let refused = |tenant: &DynamicObject| {
            let of_now = tenant.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
            of_now == tenant.metadata.generation
                && tenant.data.pointer("/status/release/refused").is_some()
                && condition(tenant, "ReleaseReady")
                    .is_some_and(|(status, why, _)| status == "False" && reasons.contains(&why.as_str()))
        };
        let tenant = self.hospital.until(&format!("{version} is taken back"), PATIENCE, refused).await?;
        let (.., message) = condition(&tenant, "ReleaseReady").unwrap_or_default();
        ensure!(message.contains("version good serves"), "{message}");
        ensure!(serving(&tenant) == "good", "status says that {} serves", serving(&tenant));
        Ok(message)
    }

    /// A release for which the quota has no room does not begin.
    async fn no_room(&self, theatre: &Theatre) -> Result<()> {
        let mut tenant = self.hospital.tenant.clone();
        set(&mut tenant, &["spec", "isolation"], json!({"quota": {"cpu": "16", "memory": "8Gi", "pods": 4}}));
        set(&mut tenant, &["spec", "application", "version"], "crashes".into());
        apply(&tenants(&self.hospital.client), &tenant).await?;
        let waits = |tenant: &DynamicObject| {
            condition(tenant, "ReleaseReady").is_some_and(|(_, reason, _)| reason == "QuotaTooSmall")
        };
        self.hospital.until("a release without room does not begin", PATIENCE, waits).await?;
        let pods = ["-n", &self.hospital.namespace, "get", "pods", "-l", "his-operator.io/colour", "-o", "name"];
        let pods = theatre.kubectl(&pods).await?;
        ensure!(pods.lines().count() == 2, "pods of another release came up: {pods}");
        Ok(())
    }

    async fn close(&self, theatre: &Theatre) -> Result<()> {
        let gone = ["delete", "ht", &self.hospital.name, "--wait=true", "--timeout=180s"];
        theatre.kubectl(&gone).await?;
        theatre.kubectl(&["delete", "happ", "teststand", "--wait=true"]).await.map(drop)
    }
}

fn serving(tenant: &DynamicObject) -> &str {
    tenant.data.pointer("/status/version").and_then(Value::as_str).unwrap_or_default()
}

fn application(image: &str, versions: &[String]) -> Result<Value> {
    let mut application: Value = serde_yaml_ng::from_str(APPLICATION).context("application.yaml is no YAML")?;
    let missing = format!("his.local/missing@sha256:{}", "0".repeat(64));
    let version = |(schema, name): (usize, &String)| {
        let image = if name == "image-missing" { &missing } else { image };
        json!({"version": name, "images": {"python": image}, "schema": schema})
    };
    set(&mut application, &["spec", "versions"], versions.iter().enumerate().map(version).collect());
    let file = application.pointer_mut("/spec/components/0/files/0/template").context("web has no file")?;
    *file = SERVER.into();
    Ok(application)
}
