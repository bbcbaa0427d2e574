//! Servers outside that a hospital lists by name: where the name leads is open, to whom it says, and nothing else.

use anyhow::{Result, ensure};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{PATIENCE, Stand, Theatre, webhooks::CONNECT};
use crate::{
    demo::resources::{apply, condition, set, tenants},
    outside::{HOST, INTERNET, SERVER},
};

/// A name that leads to the API server.
const INSIDE: &str = "inside.laboratory.example";
/// A name that nobody knows.
const UNKNOWN: &str = "nobody.laboratory.example";

/// See the module.
pub async fn by_name(theatre: &Theatre) -> Result<String> {
    let mut stand = Stand::open_with(theatre, "named", &["v0".to_owned()], &json!({"network": network(HOST)})).await?;
    let (web, port) = (format!("deploy/web-{}", stand.colour(theatre).await?), SERVER.port().to_string());
    let internet = INTERNET.ip().to_string();
    let tried = [(web.as_str(), HOST, "open"), (&web, &internet, "closed"), ("deploy/worker", HOST, "closed")];
    for (from, to, wanted) in tried {
        let found = stand.python(theatre, from, CONNECT, &[to, &port]).await?;
        ensure!(found == wanted, "{from} to {to}:{port} is {found} and must be {wanted}");
    }
    let tenant = tenants(&stand.hospital.client).get(&stand.hospital.name).await?;
    let shown = json!([{"host": HOST, "followedBy": "Operator", "addresses": [SERVER.ip().to_string()]}]);
    let hosts = tenant.data.pointer("/status/network/hosts");
    ensure!(hosts == Some(&shown), "status shows {hosts:?}");
    let refused = stand.leads(INSIDE, "False", "HostRefused").await?;
    let unknown = stand.leads(UNKNOWN, "Unknown", "HostUnresolved").await?;
    let server = SERVER.ip().to_string();
    let found = stand.python(theatre, &web, CONNECT, &[&server, &port]).await?;
    ensure!(found == "closed", "{server}:{port} is {found} although nobody lists {HOST} any more");
    stand.leads(HOST, "True", "Proved").await?;
    let found = stand.python(theatre, &web, CONNECT, &[HOST, &port]).await?;
    ensure!(found == "open", "{HOST}:{port} is {found} once it is listed again");
    stand.close(theatre).await?;
    Ok(format!("{HOST} was open to the component that lists it and to no other; {refused}; {unknown}"))
}

pub(super) fn network(host: &str) -> Value {
    json!({"egress": [{"component": "web", "hosts": [host], "port": SERVER.port(), "reason": "results for the laboratory"}]})
}

impl Stand {
    /// Lists another name, and waits until the network is judged so; returns the message.
    async fn leads(&mut self, host: &str, status: &str, reason: &str) -> Result<String> {
        set(&mut self.hospital.tenant, &["spec", "network"], network(host));
        let made = apply(&tenants(&self.hospital.client), &self.hospital.tenant).await?;
        let judged = |tenant: &DynamicObject| {
            let seen = tenant.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
            let found = condition(tenant, "NetworkIsolated");
            seen == made.metadata.generation && found.is_some_and(|(now, why, _)| now == status && why == reason)
        };
        let tenant = self.hospital.until(&format!("{host}: {reason}"), PATIENCE, judged).await?;
        Ok(condition(&tenant, "NetworkIsolated").map(|(.., message)| message).unwrap_or_default())
    }
}
