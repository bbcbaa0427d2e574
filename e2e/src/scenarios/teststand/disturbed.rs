//! Releases during which something else goes wrong: the operator is killed at a step, the API server is gone, a node is
//! drained. Users notice nothing, and the release ends as if nothing had happened.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::core::DynamicObject;
use serde_json::Value;

use super::{
    MOST, PATIENCE, Stand,
    load::{Load, Report},
};
use crate::{
    cluster,
    demo::{
        hospital::Hospital,
        resources::{apply, set, tenants},
    },
    scenarios::Theatre,
};

/// So long the API server is gone.
const GONE: Duration = Duration::from_secs(30);
const STEPS: [&str; 6] = ["Expand", "Surge", "Gate", "Cutover", "Drain", "Soak"];

/// What goes wrong when a release has come so far.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    OperatorKilled(&'static str),
    ApiServerGone(&'static str),
    NodeDrained(&'static str),
}

impl Disturbance {
    fn step(self) -> &'static str {
        match self {
            Self::OperatorKilled(step) | Self::ApiServerGone(step) | Self::NodeDrained(step) => step,
        }
    }
}

/// One release for each disturbance, under load.
pub async fn releases(theatre: &Theatre) -> Result<String> {
    let all = disturbances(theatre);
    let versions: Vec<String> = (0..=all.len()).map(|number| format!("v{number}")).collect();
    let mut stand = Stand::open(theatre, "disturbed", &versions).await?;
    // Longer than anything is gone.
    set(&mut stand.hospital.tenant, &["spec", "release", "deadlineSeconds"], 300.into());
    let (mut sent, mut told) = (0, Vec::new());
    for (pair, disturbance) in versions.windows(2).zip(all) {
        let [old, new] = pair else { continue };
        let report = disturbed(theatre, &stand, new, disturbance).await;
        let report = report.with_context(|| format!("{disturbance:?}"))?;
        report.is_clean(&[old, new]).with_context(|| format!("{disturbance:?}"))?;
        sent += report.sent;
        told.push(format!("{disturbance:?}"));
    }
    stand.close(theatre).await?;
    Ok(format!("{}: each new version serves, 0 of {sent} requests failed", told.join(", ")))
}

fn disturbances(theatre: &Theatre) -> Vec<Disturbance> {
    let steps = if theatre.full { STEPS.as_slice() } else { &["Gate", "Cutover"] };
    let killed = steps.iter().map(|step| Disturbance::OperatorKilled(step));
    let gone = theatre.stage.site.is_local().then_some(Disturbance::ApiServerGone("Cutover"));
    killed.chain([Disturbance::NodeDrained("Gate")]).chain(gone).collect()
}

/// What users met.
async fn disturbed(theatre: &Theatre, stand: &Stand, version: &str, disturbance: Disturbance) -> Result<Report> {
    let load = Load::start(&stand.door, MOST);
    stand.choose(version).await?;
    come_to(&stand.hospital, version, disturbance.step()).await?;
    match disturbance {
        Disturbance::OperatorKilled(_) => kill_operators(theatre).await?,
        Disturbance::NodeDrained(_) => drain(theatre, stand).await?,
        Disturbance::ApiServerGone(_) => {
            tokio::task::spawn_blocking(|| cluster::crash("kube-apiserver")).await??;
            tokio::time::sleep(GONE).await;
            // Nodes that could not say that they live are believed dead for a while afterwards, the Gateway's too: that is
            // what Kubernetes does to its users then, and no release can change it.
            let report = load.end().await;
            tokio::task::spawn_blocking(|| cluster::restart("kube-apiserver")).await??;
            back(theatre, stand, version).await?;
            return stand.serves(version).await.map(|()| report);
        }
    }
    let outcome = stand.serves(version).await;
    let report = load.end().await;
    outcome.map(|()| report)
}

/// The API server answers again.
async fn back(theatre: &Theatre, stand: &Stand, version: &str) -> Result<()> {
    let ask = || async { apply(&tenants(&stand.hospital.client), &stand.asked(version)).await.map(Some) };
    theatre.eventually("the API server", PATIENCE, ask).await.map(drop)
}

/// Waits until the release of this version is at the step, or past it.
async fn come_to(hospital: &Hospital, version: &str, step: &str) -> Result<()> {
    let rank = |step: &str| STEPS.iter().position(|known| *known == step);
    let there = |tenant: &DynamicObject| {
        let text = |pointer: &str| tenant.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let of_this = text("/status/release/rollout/release/version") == version;
        (of_this && rank(text("/status/release/rollout/step")) >= rank(step))
            || text("/status/release/live/release/version") == version
    };
    hospital.until(&format!("{version} is at {step}"), PATIENCE, there).await.map(drop)
}

/// All of them at once: the lease has to end before anybody goes on.
async fn kill_operators(theatre: &Theatre) -> Result<()> {
    let pods = ["-n", "his-operator-system", "delete", "pod", "-l", "app.kubernetes.io/name=his-operator"];
    theatre.kubectl(&[pods.as_slice(), &["--grace-period=0", "--force"]].concat()).await.map(drop)
}

/// Takes the hospital's pods off the node of the first one, and lets pods come back.
async fn drain(theatre: &Theatre, stand: &Stand) -> Result<()> {
    let ours = format!("his-operator.io/tenant={}", stand.hospital.name);
    let first = ["-n", &stand.hospital.namespace, "get", "pods", "-l", "his-operator.io/colour"];
    let name = ["-o", "jsonpath={.items[0].spec.nodeName}"];
    let node = theatre.kubectl(&[first.as_slice(), &name].concat()).await?;
    ensure!(!node.is_empty(), "no pod has a node");
    let flags = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=180s", "--pod-selector", &ours];
    let drained = theatre.kubectl(&[["drain", &node].as_slice(), &flags].concat()).await;
    theatre.kubectl(&["uncordon", &node]).await?;
    drained.map(drop)
}
