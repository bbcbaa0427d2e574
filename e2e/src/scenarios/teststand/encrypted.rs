//! A release behind a listener with TLS: the prober asks as users do, and its report is in the history.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{MOST, Stand, Theatre};
use crate::{control_plane::pki::Authority, demo::resources::set, scenarios::teststand::load::Load};

/// Name of the platform, the listener and its Secret.
const NAME: &str = "encrypted";
const GATEWAY: [&str; 3] = ["-n", "his-gateway", "gateway/hospitals"];
/// Envoy Gateway adds 10000 to listener ports below 1024.
const POD_PORT: i32 = 10443;

/// Users come over https; what they would meet is counted all the same.
pub async fn release(theatre: &Theatre) -> Result<String> {
    let versions = ["v0", "v1"].map(ToOwned::to_owned);
    let host = format!("{NAME}-{}.localhost", std::process::id());
    let before = theatre.kubectl(&[&["get"], &GATEWAY[..], &["-o", "jsonpath={.spec.listeners}"]].concat()).await?;
    let outcome = async {
        listen(theatre, &host, &before).await?;
        let stand = Stand::open_with(theatre, NAME, &versions, &json!({"platform": NAME})).await?;
        let load = Load::start(&stand.door, MOST);
        let outcome = stand.release("v1").await;
        let report = load.end().await;
        outcome?;
        report.is_clean(&["v0", "v1"])?;
        let (requests, mixed) = stand.evidence(theatre, "v1").await?;
        stand.close(theatre).await?;
        Ok(format!("status says: 0 of {requests} requests over https failed, both versions answered for {mixed} ms"))
    };
    let outcome = outcome.await;
    relisten(theatre, &before).await?;
    theatre.kubectl(&["delete", "hplat", NAME, "--ignore-not-found"]).await?;
    theatre.kubectl(&["-n", "his-gateway", "delete", "secret", NAME, "--ignore-not-found"]).await?;
    outcome
}

/// A listener with a certificate for the host, and a platform that says so.
async fn listen(theatre: &Theatre, host: &str, before: &str) -> Result<()> {
    let scratch = tempfile::tempdir().context("no scratch directory")?;
    let authority = Authority::open(scratch.path())?;
    let pair = authority.issue(NAME, NAME, &[], &[host])?;
    let read =
        |path: &std::path::Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": NAME, "namespace": "his-gateway"},
        "stringData": {"tls.crt": read(&pair.certificate)?, "tls.key": read(&pair.key)?},
    });
    let mut platform = theatre.hospital.platform.clone();
    set(&mut platform, &["metadata"], json!({"name": NAME}));
    set(&mut platform, &["spec", "gateway", "public"], json!({"scheme": "https", "port": 443}));
    let inside = json!({
        "service": "hospitals", "port": 443, "podPort": POD_PORT, "authorities": read(&authority.certificate())?,
        "listeners": [{"scheme": "http", "port": 80, "podPort": 10080}],
    });
    set(&mut platform, &["spec", "gateway", "inside"], inside);
    for object in [secret, platform] {
        theatre.apply(object.to_string()).await?;
    }
    let mut listeners: Vec<Value> = serde_json::from_str(before).context("the Gateway has no listeners")?;
    listeners.push(json!({
        "name": NAME, "port": 443, "protocol": "HTTPS", "allowedRoutes": {"namespaces": {"from": "All"}},
        "tls": {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": NAME}]},
    }));
    relisten(theatre, &Value::from(listeners).to_string()).await?;
    theatre.kubectl(&[&["wait", "--for=condition=Programmed", "--timeout=120s"], &GATEWAY[..]].concat()).await.map(drop)
}

async fn relisten(theatre: &Theatre, listeners: &str) -> Result<()> {
    let patch = format!(r#"{{"spec":{{"listeners":{listeners}}}}}"#);
    theatre.kubectl(&[&["patch", "--type=merge", "--patch", &patch], &GATEWAY[..]].concat()).await.map(drop)
}
