//! The same objects as a ResourceGraphDefinition of kro.

#![allow(clippy::disallowed_macros, reason = "raw objects are the subject here")]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::children::{Children, HOST, NAME, UID};
use super::contestant::CONCURRENCY;

/// Go module that kro is built from; its CRDs lie there.
pub(super) const MODULE: &str = "github.com/kubernetes-sigs/kro";

/// Its defaults reconcile one instance at a time and ten events a second; here it may do as much as everybody.
pub(super) fn arguments(port: u16) -> Vec<String> {
    vec![
        "--metrics-bind-address=0".to_owned(),
        format!("--health-probe-bind-address=127.0.0.1:{port}"),
        "--leader-elect=true".to_owned(),
        "--leader-election-namespace=default".to_owned(),
        format!("--dynamic-controller-concurrent-reconciles={CONCURRENCY}"),
        "--client-qps=10000".to_owned(),
        "--client-burst=10000".to_owned(),
        "--dynamic-controller-rate-limiter-rate-limit=10000".to_owned(),
        "--dynamic-controller-rate-limiter-burst-limit=10000".to_owned(),
    ]
}

/// Writes the definition to a file.
pub(super) fn write_graph(children: &Children, file: &Path) -> Result<()> {
    let items = children.items()?;
    let resources: Vec<Value> = items.iter().enumerate().map(|(number, item)| resource(number, item)).collect();
    let graph = json!({
        "apiVersion": "kro.run/v1alpha1",
        "kind": "ResourceGraphDefinition",
        "metadata": { "name": "hospital" },
        "spec": {
            "schema": {
                "apiVersion": "v1", "kind": "Hospital", "group": "bench.his-operator.io", "scope": "Cluster",
                "spec": { "host": "string" },
            },
            "resources": resources,
        },
    });
    fs::write(file, graph.to_string()).context("cannot write the ResourceGraphDefinition")
}

fn resource(number: usize, item: &Value) -> Value {
    // What looks like an expression of kro in the objects themselves stays what it is.
    let text = item.to_string().replace("${", r#"${\"$\"}{"#);
    let text = text
        .replace(NAME, "${schema.metadata.name}")
        .replace(HOST, "${schema.spec.host}")
        .replace(UID, "${schema.metadata.uid}");
    let mut template: Value = serde_json::from_str(&text).unwrap_or_default();
    // Says that the namespace comes first.
    if let Some(namespace) = template.pointer_mut("/metadata/namespace") {
        *namespace = "${home.metadata.name}".into();
    }
    // `namespace` is a word of kro's own.
    let id = if number == 0 { "home".to_owned() } else { format!("child{number}") };
    json!({ "id": id, "template": template })
}
