//! The same application, released by this operator and by what a user would take instead, under the same load in one run.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    MOMENT, MOST, SERVER, Stand,
    load::{Door, Load, Report},
};
use crate::{
    cluster,
    demo::{Site, install},
    progress,
    scenarios::Theatre,
};

const MANIFEST: &str = include_str!("compare.yaml");
const VERSION: &str = "{{ .Values.version }}";
const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";

/// How the application is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Operator,
    RollingUpdate,
    Helm,
}

impl Way {
    const ALL: [Self; 3] = [Self::Operator, Self::RollingUpdate, Self::Helm];

    fn name(self) -> &'static str {
        match self {
            Self::Operator => "his-operator",
            Self::RollingUpdate => "Deployment, rolling update (`kubectl apply`)",
            Self::Helm => "the same Deployment, `helm upgrade --wait`",
        }
    }
}

/// What users met in all releases of one way.
#[derive(Debug, Default)]
struct Met {
    sent: u64,
    failed: usize,
    mixed: Vec<Duration>,
    /// How long each release took.
    took: Vec<Duration>,
}

/// The application without an operator.
struct Plain<'a> {
    theatre: &'a Theatre,
    way: Way,
    namespace: String,
    door: Door,
    manifest: String,
}

/// Releases by every way, and the table.
///
/// # Errors
/// If a release does not come in, or a version answers that must not.
pub async fn run(site: Site, releases: u32) -> Result<String> {
    let theatre = Theatre::open(site, false).await?;
    let versions: Vec<String> = (0..=releases).map(|number| format!("v{number}")).collect();
    let mut rows = Vec::new();
    for way in Way::ALL {
        let step = progress::step(format!("{releases} releases by {}", way.name()));
        let met = match way {
            Way::Operator => by_operator(&theatre, &versions).await?,
            Way::RollingUpdate | Way::Helm => by_hand(&theatre, way, &versions).await?,
        };
        step.done();
        rows.push((way, met));
    }
    Ok(table(&rows))
}

async fn by_operator(theatre: &Theatre, versions: &[String]) -> Result<Met> {
    let stand = Stand::open(theatre, "compared", versions).await?;
    let mut met = Met::default();
    for pair in versions.windows(2) {
        let [old, new] = pair else { continue };
        let load = Load::start(&stand.door, MOST);
        tokio::time::sleep(MOMENT).await;
        let started = std::time::Instant::now();
        let outcome = stand.release(new).await;
        let took = started.elapsed();
        tokio::time::sleep(MOMENT).await;
        met.add(&load.end().await, old, new, took)?;
        outcome?;
    }
    stand.close(theatre).await?;
    Ok(met)
}

async fn by_hand(theatre: &Theatre, way: Way, versions: &[String]) -> Result<Met> {
    let plain = Plain::new(theatre, way)?;
    theatre.kubectl(&["create", "namespace", &plain.namespace]).await?;
    let (first, mut met) = (versions.first().context("no version")?, Met::default());
    plain.release(first).await?;
    theatre
        .eventually("the application through the gateway", Duration::from_secs(60), || async {
            let report = {
                let load = Load::start(&plain.door, 60);
                tokio::time::sleep(MOMENT).await;
                load.end().await
            };
            Ok((report.failed().0 == 0).then_some(()))
        })
        .await?;
    for pair in versions.windows(2) {
        let [old, new] = pair else { continue };
        let load = Load::start(&plain.door, MOST);
        tokio::time::sleep(MOMENT).await;
        let started = std::time::Instant::now();
        let outcome = plain.release(new).await;
        let took = started.elapsed();
        tokio::time::sleep(MOMENT).await;
        met.add(&load.end().await, old, new, took)?;
        outcome?;
    }
    theatre.kubectl(&["delete", "namespace", &plain.namespace]).await?;
    Ok(met)
}

impl<'a> Plain<'a> {
    fn new(theatre: &'a Theatre, way: Way) -> Result<Self> {
        let gateway = theatre.hospital.platform.pointer("/spec/gateway").context("the platform has no gateway")?;
        let parent = serde_json::json!({"name": gateway["name"], "namespace": gateway["namespace"]}).to_string();
        let namespace = format!("plain-{way:?}-{}", std::process::id()).to_lowercase();
        let host = format!("{namespace}.localhost");
        let manifest = MANIFEST
            .replace("\"@SERVER@\"", &serde_json::to_string(SERVER)?)
            .replace("\"@PARENT@\"", &parent)
            .replace("@IMAGE@", &theatre.stage.images.gnuhealth.by_digest())
            .replace("@HOST@", &host);
        let door = Door { gateway: theatre.stage.site.gateway(), host };
        Ok(Self { theatre, way, namespace, door, manifest })
    }

    async fn release(&self, version: &str) -> Result<()> {
        match self.way {
            Way::Operator | Way::RollingUpdate => self.apply(version).await,
            Way::Helm => self.upgrade(version).await,
        }
    }

    async fn apply(&self, version: &str) -> Result<()> {
        let text = self.manifest.replace(VERSION, version);
        let apply = cluster::kubectl(Some(&self.theatre.stage.kubeconfig))?;
        let apply = apply.args(["-n", &self.namespace, "apply", "-f", "-"]).stdin(text);
        tokio::task::spawn_blocking(move || apply.output()).await??;
        let wait = ["-n", &self.namespace, "rollout", "status", "deployment/web", "--timeout=180s"];
        self.theatre.kubectl(&wait).await.map(drop)
    }

    async fn upgrade(&self, version: &str) -> Result<()> {
        let chart = tempfile::tempdir().context("no place for the chart")?;
        std::fs::create_dir(chart.path().join("templates")).context("no place for the chart")?;
        std::fs::write(chart.path().join("Chart.yaml"), CHART).context("cannot write the chart")?;
        std::fs::write(chart.path().join("templates/web.yaml"), &self.manifest).context("cannot write the chart")?;
        let (kubeconfig, namespace) = (self.theatre.stage.kubeconfig.clone(), self.namespace.clone());
        let set = format!("version={version}");
        tokio::task::spawn_blocking(move || {
            let path = chart.path().display().to_string();
            let words = ["upgrade", "--install", "web", &path, "--namespace", &namespace, "--set", &set, "--wait"];
            install::helm(&kubeconfig, &words)
        })
        .await?
        .map(drop)
    }
}

impl Met {
    fn add(&mut self, report: &Report, old: &str, new: &str, took: Duration) -> Result<()> {
        let versions = report.versions();
        ensure!(
            versions.keys().all(|version| [old, new].contains(version)),
            "answers of versions that must not be seen: {versions:?}"
        );
        self.sent += report.sent;
        self.failed += report.failed().0;
        self.mixed.push(report.mixed(old, new));
        self.took.push(took);
        Ok(())
    }
}

fn table(rows: &[(Way, Met)]) -> String {
    let mut text =
        "| Released by | releases | requests | failed | two versions answered, p50 | p99 | took, p50 |\n".to_owned();
    text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for (way, met) in rows {
        let at = |all: &[Duration], share: usize| {
            let mut all = all.to_vec();
            all.sort_unstable();
            all.get((all.len() * share / 100).min(all.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        let (p50, p99) = (at(&met.mixed, 50).as_millis(), at(&met.mixed, 99).as_millis());
        let took = at(&met.took, 50).as_secs_f64();
        // Writing to a string never fails.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {p50} ms | {p99} ms | {took:.1} s |",
            way.name(),
            met.took.len(),
            met.sent,
            met.failed
        );
    }
    text
}
