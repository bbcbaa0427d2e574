//! Isolation is proved by trying: where nothing enforces policies, the hospital says so.

use std::time::Duration;

use anyhow::Result;

use super::Theatre;
use crate::{
    netpol::UNENFORCED,
    outside::{INTERNET, METADATA},
};

/// From a change of the policies to a verdict about them.
const PATIENCE: Duration = Duration::from_secs(120);

/// Takes the enforcement of the hospital's policies away, and gives it back.
pub async fn unenforced(theatre: &Theatre) -> Result<String> {
    let namespace = theatre.hospital.namespace.as_str();
    shows(theatre, "True").await?;
    theatre.kubectl(&["annotate", "namespace", namespace, &format!("{UNENFORCED}=yes")]).await?;
    let noticed = noticed(theatre).await;
    theatre.kubectl(&["annotate", "namespace", namespace, &format!("{UNENFORCED}-")]).await?;
    let (message, took) = noticed?;
    let again = shows(theatre, "True").await?;
    patch(theatre, r#"{"spec":{"network":{"egress":null}}}"#).await?;
    let after = shows(theatre, "True").await?;
    theatre.hospital.ready().await?;
    Ok(format!(
        "False {took:.0?} after a change of the policies ({message}); True again {again:.0?} after enforcement came back, and {after:.0?} after another change"
    ))
}

/// Another flow is declared, so the policies are tried anew.
async fn noticed(theatre: &Theatre) -> Result<(String, Duration)> {
    let flow = r#"{"spec":{"network":{"egress":[{"component":"web","cidrs":["192.0.2.77/32"],"port":443,"reason":"results for the laboratory"}]}}}"#;
    patch(theatre, flow).await?;
    let took = shows(theatre, "False").await?;
    let ready = theatre.kubectl(&["get", "ht", &theatre.hospital.name, "-o", &of("Ready", "status")]).await?;
    anyhow::ensure!(ready == "False", "Ready is {ready} while the network is open");
    // One place that finds something open is believed at once, and the others are heard as well.
    let places = ["another namespace", "a pod that declares nothing", "web"].map(ToOwned::to_owned);
    let named = ["database.".to_owned(), INTERNET.to_string(), METADATA.to_string()].into_iter().chain(places);
    let named: Vec<String> = named.collect();
    let (message, _) = theatre
        .eventually("everything that is open is named", PATIENCE, || async {
            let field = of("NetworkIsolated", "message");
            let message = theatre.kubectl(&["get", "ht", &theatre.hospital.name, "-o", &field]).await?;
            Ok(named.iter().all(|open| message.contains(open)).then_some(message))
        })
        .await?;
    Ok((message, took))
}

async fn patch(theatre: &Theatre, patch: &str) -> Result<()> {
    theatre.kubectl(&["patch", "ht", &theatre.hospital.name, "--type", "merge", "-p", patch]).await.map(drop)
}

fn of(condition: &str, field: &str) -> String {
    format!("jsonpath={{.status.conditions[?(@.type==\"{condition}\")].{field}}}")
}

/// Waits until the newest spec is judged so; returns how long that took.
async fn shows(theatre: &Theatre, status: &str) -> Result<Duration> {
    let fields = "jsonpath={.metadata.generation} {.status.observedGeneration} {.status.conditions[?(@.type==\"NetworkIsolated\")].status}";
    let ((), took) = theatre
        .eventually(&format!("NetworkIsolated is {status}"), PATIENCE, || async {
            let said = theatre.kubectl(&["get", "ht", &theatre.hospital.name, "-o", fields]).await?;
            let words: Vec<_> = said.split(' ').collect();
            Ok(matches!(words[..], [wanted, seen, now] if wanted == seen && now == status).then_some(()))
        })
        .await?;
    Ok(took)
}
