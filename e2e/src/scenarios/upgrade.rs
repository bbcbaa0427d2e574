//! Another operator comes, and goes again: no hospital notices.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{OPERATOR, Theatre, children};
use crate::{
    demo::install,
    images::{self, ImageKind},
    paths,
};

/// The chart's own test, an upgrade to another operator, and the rollback: each with Helm, as its users do it.
pub async fn and_back(theatre: &Theatre) -> Result<String> {
    theatre.hospital.ready().await?;
    let before = everything(theatre).await?;
    let written = writes(theatre).await?;
    let other = other_operator(theatre).await?;
    let kubeconfig = theatre.stage.kubeconfig.clone();
    helm(move || install::operator_chart(&kubeconfig, &other, None)).await?;
    unchanged(theatre, &before, "the upgrade").await?;
    tested(theatre).await?;
    let kubeconfig = theatre.stage.kubeconfig.clone();
    let rollback = ["rollback", "his-operator", "--wait", "--timeout", "5m"];
    helm(move || install::helm(&kubeconfig, &rollback)).await?;
    unchanged(theatre, &before, "the rollback").await?;
    tested(theatre).await?;
    let more = writes(theatre).await?.saturating_sub(written);
    ensure!(more == 0, "the operators wrote {more} times into the hospital's namespace");
    Ok(format!("upgrade, rollback and helm test: {} objects of the hospital are as they were", before.len()))
}

/// Another program as far as images know: the same one with a few bytes behind its end.
async fn other_operator(theatre: &Theatre) -> Result<images::Image> {
    let (programs, site) = (theatre.stage.programs.clone(), theatre.stage.site.clone());
    tokio::task::spawn_blocking(move || {
        let home = paths::cache_dir()?.join("other-operator");
        paths::create_dir(&home)?;
        let longer = |program: PathBuf, name: &str| -> Result<PathBuf> {
            let mut content = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
            content.extend_from_slice(b"another release");
            let path = home.join(name);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            fs::set_permissions(&path, fs::metadata(&program)?.permissions())?;
            Ok(path)
        };
        let operator = longer(programs.operator, "his-operator")?;
        let agent = longer(programs.agent, "his-agent")?;
        let image = images::ensure(&ImageKind::Operator { operator, agent })?;
        site.load_image(&image.tar)?;
        Ok(image)
    })
    .await?
}

async fn helm(run: impl FnOnce() -> Result<String> + Send + 'static) -> Result<String> {
    tokio::task::spawn_blocking(run).await?
}

async fn tested(theatre: &Theatre) -> Result<()> {
    let kubeconfig = theatre.stage.kubeconfig.clone();
    let said = helm(move || install::helm(&kubeconfig, &["test", "his-operator", "--timeout", "2m"])).await?;
    ensure!(said.contains("Succeeded"), "helm test said: {said}");
    Ok(())
}

async fn unchanged(theatre: &Theatre, before: &BTreeMap<String, String>, what: &str) -> Result<()> {
    theatre.hospital.ready().await?;
    let after = everything(theatre).await?;
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    let changed: Vec<_> = before.keys().chain(after.keys()).filter(differs).collect();
    if changed.is_empty() { Ok(()) } else { bail!("{what} changed {changed:?}") }
}

/// Every object with what changes when somebody writes it: its UID and its generation, or its version where it has none.
async fn everything(theatre: &Theatre) -> Result<BTreeMap<String, String>> {
    let label = format!("his-operator.io/tenant={}", theatre.hospital.name);
    let namespace = theatre.hospital.namespace.as_str();
    let kinds = format!("pods,{}", children(&[]));
    let list = theatre.kubectl(&["-n", namespace, "get", &kinds, "-l", &label, "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&list).context("kubectl printed no JSON")?;
    let items = list.get("items").and_then(Value::as_array).context("kubectl printed no list")?;
    // Pods of a release before this one may still be on their way out.
    let stays = |object: &&Value| object.pointer("/metadata/deletionTimestamp").is_none();
    let state = |object: &Value| {
        let at = |pointer: &str| object.pointer(pointer).map(ToString::to_string).unwrap_or_default();
        let kept = ["Pod", "ResourceQuota"].contains(&object.get("kind")?.as_str()?);
        let generation = object.pointer("/metadata/generation").map(ToString::to_string);
        let version = generation.or_else(|| (!kept).then(|| at("/metadata/resourceVersion"))).unwrap_or_default();
        Some((format!("{} {}", at("/kind"), at("/metadata/name")), format!("{} {version}", at("/metadata/uid"))))
    };
    Ok(items.iter().filter(stays).filter_map(state).collect())
}

/// Writes of operators into the hospital's namespace, as far as somebody keeps count.
async fn writes(theatre: &Theatre) -> Result<usize> {
    if !theatre.stage.site.is_local() {
        return Ok(0);
    }
    let namespace = &theatre.hospital.namespace;
    let ours = |request: &&crate::control_plane::AuditEvent| {
        request.user == OPERATOR && request.is_write() && request.namespace == *namespace
    };
    Ok(theatre.requests().await?.iter().filter(ours).count())
}
