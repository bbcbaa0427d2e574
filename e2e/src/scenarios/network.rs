//! Connections that must pass do, and those that must not do not: tried with packets.

use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::DeleteParams, api::PostParams};
use serde_json::json;

use super::Theatre;
use crate::outside;

const STRANGERS: &str = "strangers";

/// The application reaches its database; a stranger in another namespace, and a stranger in the hospital's own, do not.
pub async fn only_declared(theatre: &Theatre) -> Result<String> {
    let namespace = theatre.hospital.namespace.clone();
    let database = format!("database.{namespace}.svc");
    let web = format!("deploy/web-{}", theatre.colour().await?);
    let reach = format!("import socket; socket.create_connection(('{database}', 5432), 5)");
    theatre.kubectl(&["-n", &namespace, "exec", &web, "-c", "web", "--", "python3", "-c", &reach]).await?;

    let address =
        theatre.kubectl(&["-n", &namespace, "get", "pod", "database-0", "-o", "jsonpath={.status.podIP}"]).await?;
    theatre.kubectl(&["create", "namespace", STRANGERS]).await?;
    let outcome = tried(theatre, &namespace, address.trim()).await;
    theatre.kubectl(&["delete", "namespace", STRANGERS, "--wait=false"]).await?;
    outcome?;
    no_hole(theatre, &namespace).await?;
    Ok("web reached the database; pods of another namespace and an undeclared pod of the same one did not, nor did that one reach the API server, the internet and the metadata service; nobody could widen a policy".to_owned())
}

/// Not even an administrator widens what is declared, while the admission policies are in place.
async fn no_hole(theatre: &Theatre, namespace: &str) -> Result<()> {
    let hole = r#"{"spec":{"egress":[{}]}}"#;
    let patch = ["-n", namespace, "patch", "networkpolicy/default-deny", "--type", "merge", "-p", hole];
    match theatre.kubectl(&patch).await {
        Ok(_) => bail!("an administrator could widen NetworkPolicy default-deny"),
        Err(error) if format!("{error:#}").contains("only the operator may write NetworkPolicies") => Ok(()),
        Err(error) => Err(error.context("the patch failed for another reason")),
    }
}

async fn tried(theatre: &Theatre, namespace: &str, address: &str) -> Result<()> {
    let tries = [
        // Proof that the stranger's tool can connect at all: the resolver is open to everybody outside of hospitals.
        (STRANGERS, "10.96.0.10".to_owned(), 53, true),
        (STRANGERS, address.to_owned(), 5432, false),
        (namespace, address.to_owned(), 5432, false),
        (namespace, "10.96.0.1".to_owned(), 443, false),
    ];
    // Only our own cluster has a host outside that answers.
    let outside = outside::ALL.into_iter().filter(|_| theatre.stage.site.is_local()).flat_map(|address| {
        [(STRANGERS, true), (namespace, false)]
            .map(|(place, open)| (place, address.ip().to_string(), address.port(), open))
    });
    for (place, target, port, expected) in tries.into_iter().chain(outside) {
        let reached = connects(theatre, place, &target, port).await?;
        if reached != expected {
            bail!("from namespace {place} to {target}:{port}: connected is {reached}, expected {expected}");
        }
    }
    Ok(())
}

/// Whether a pod without any declared flow can open a TCP connection.
async fn connects(theatre: &Theatre, namespace: &str, target: &str, port: u16) -> Result<bool> {
    let pods: Api<Pod> = Api::namespaced(theatre.hospital.client.clone(), namespace);
    let name = "stranger";
    let pod = stranger(name, &theatre.stage.images.shell.by_digest(), target, port);
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    let ended = theatre
        .eventually("the stranger's try", Duration::from_secs(60), || async {
            let phase = pods.get(name).await?.status.and_then(|status| status.phase);
            Ok(match phase.as_deref() {
                Some("Succeeded") => Some(true),
                Some("Failed") => Some(false),
                _ => None,
            })
        })
        .await;
    pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
    theatre
        .eventually("the stranger's end", Duration::from_secs(60), || async {
            Ok(pods.get_opt(name).await?.is_none().then_some(()))
        })
        .await?;
    Ok(ended?.0)
}

fn stranger(name: &str, image: &str, target: &str, port: u16) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 12345, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": name,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                // It ends when its input does, so 0 means that the connection opened.
                "command": ["sh", "-c", "exec nc -w 4 \"$0\" \"$1\" < /dev/null", target, port.to_string()],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}
