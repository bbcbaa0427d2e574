//! What somebody breaks is put right, by whichever replica leads.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::DateTime;
use serde_json::Value;

use super::{OPERATOR, Theatre, children};
use crate::control_plane::AuditEvent;

const PATIENCE: Duration = Duration::from_secs(30);
/// What cannot be deleted without deleting data, and what does not come back once it has run.
const DATA_AND_JOBS: [&str; 2] = ["persistentvolumeclaims", "jobs"];

/// An admission policy keeps everybody from a hospital's NetworkPolicies but these two: somebody who has stolen the operator's
/// identity, and the controller that empties namespaces.
const WRITER: [&str; 4] = ["--as", OPERATOR, "--as-group", "system:masters"];
const REMOVER: [&str; 4] =
    ["--as", "system:serviceaccount:kube-system:namespace-controller", "--as-group", "system:masters"];

/// Deletes every child, one at a time; each must come back as a new object, and a Secret with its old value.
pub async fn deleted(theatre: &Theatre) -> Result<String> {
    let namespace = theatre.hospital.namespace.as_str();
    let label = format!("his-operator.io/tenant={}", theatre.hospital.name);
    let password = theatre.hospital.admin_password().await?;
    let list =
        theatre.kubectl(&["-n", namespace, "get", &children(&DATA_AND_JOBS), "-l", &label, "-o", "name"]).await?;
    let mut times = Vec::new();
    for child in list.lines().filter(|line| !line.is_empty()) {
        let old = uid(theatre, child).await?.with_context(|| format!("{child} was not there"))?;
        theatre.kubectl(&[&REMOVER[..], &["-n", namespace, "delete", child, "--wait=false"]].concat()).await?;
        let (_, took) = theatre
            .eventually(&format!("{child} comes back"), PATIENCE, || async {
                Ok(uid(theatre, child).await?.filter(|new| *new != old))
            })
            .await?;
        times.push(took);
    }
    if theatre.hospital.admin_password().await? != password {
        bail!("the admin's password changed when its Secret was deleted");
    }
    theatre.hospital.ready().await?;
    let (last, _) = theatre
        .eventually("status names deleted policies", PATIENCE, || async {
            let gaps = gaps(theatre).await?;
            let deleted = gaps.iter().all(|gap| gap["what"] == "Deleted" && gap["milliseconds"].is_i64());
            Ok(gaps.into_iter().next().filter(|_| deleted))
        })
        .await?;
    let count = times.len();
    let seen = spread(times);
    if !theatre.stage.site.is_local() {
        return Ok(format!(
            "{count} children came back, {seen} (with two kubectl calls each); secrets kept their values; status: {last}"
        ));
    }
    // The API server writes its log a moment after it has answered.
    let told = format!("the audit log has an answer to each of {count} deletions");
    let (answers, _) = theatre
        .eventually(&told, PATIENCE, || async {
            let answers = answers(&theatre.requests().await?, namespace);
            Ok((answers.len() >= count).then_some(answers))
        })
        .await?;
    let median = answers.get(answers.len() / 2).copied().unwrap_or_default();
    if median > Duration::from_secs(1) {
        bail!("the operator's answer to a deletion took {median:?} (median)");
    }
    let answered = spread(answers);
    Ok(format!(
        "{count} children came back; audit log, from deletion to the operator's write: {answered}; secrets kept their values; status: {last}"
    ))
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().unwrap_or_default();
    format!("median {:.0?}, slowest {:.0?}", at(times.len() / 2), at(times.len().saturating_sub(1)))
}

/// From each person's deletion of an object to the operator's first write of an object of that name, shortest first.
fn answers(requests: &[AuditEvent], namespace: &str) -> Vec<Duration> {
    let of = |request: &AuditEvent| (request.resource.clone(), request.name.clone());
    let moment = |request: &AuditEvent| DateTime::parse_from_rfc3339(&request.received).ok();
    let here = |request: &&AuditEvent| request.namespace == namespace && request.subresource.is_empty();
    let mut answers = Vec::new();
    for deletion in requests.iter().filter(here) {
        if deletion.verb != "delete" || deletion.user == OPERATOR {
            continue;
        }
        let mine =
            |request: &&AuditEvent| request.user == OPERATOR && request.is_write() && of(request) == of(deletion);
        let writes = requests.iter().filter(here).filter(mine).filter_map(moment);
        // A request is logged when it ends: the answer to a deletion may come before the deletion itself.
        let waits = writes.filter_map(|write| (write - moment(deletion)?).to_std().ok());
        answers.extend(waits.min());
    }
    answers.sort_unstable();
    answers
}

/// Edits a field of several kinds; the old value must come back.
pub async fn edited(theatre: &Theatre) -> Result<String> {
    let namespace = theatre.hospital.namespace.as_str();
    let colour = theatre.colour().await?;
    let (deployment, budget) = (format!("deployment/web-{colour}"), format!("poddisruptionbudget/web-{colour}"));
    let edits = [
        ("networkpolicy/default-deny", r#"{"spec":{"egress":[{}]}}"#, "{.spec.egress}"),
        (deployment.as_str(), r#"{"spec":{"replicas":1}}"#, "{.spec.replicas}"),
        ("service/web", r#"{"spec":{"selector":{"his-operator.io/tenant":"another"}}}"#, "{.spec.selector}"),
        ("resourcequota/hospital", r#"{"spec":{"hard":{"pods":"500"}}}"#, "{.spec.hard.pods}"),
        ("serviceaccount/web", r#"{"automountServiceAccountToken":true}"#, "{.automountServiceAccountToken}"),
        (budget.as_str(), r#"{"spec":{"maxUnavailable":2}}"#, "{.spec.maxUnavailable}"),
    ];
    let mut told = None;
    for (object, patch, path) in edits {
        let read = format!("jsonpath={path}");
        let before = theatre.kubectl(&["-n", namespace, "get", object, "-o", &read]).await?;
        let patch = ["-n", namespace, "patch", object, "--type", "merge", "-p", patch];
        theatre.kubectl(&[&WRITER[..], &patch].concat()).await?;
        theatre
            .eventually(&format!("{object} {path} is put right"), PATIENCE, || async {
                let now = theatre.kubectl(&["-n", namespace, "get", object, "-o", &read]).await?;
                Ok((now == before).then_some(()))
            })
            .await?;
        if let Some(policy) = object.strip_prefix("networkpolicy/") {
            told = Some(widening_told(theatre, policy).await?);
        }
    }
    theatre.hospital.ready().await?;
    let gap = told.context("no policy was edited")?;
    Ok(format!("{} edited objects were put right; status: {gap}", edits.len()))
}

/// What status says of a policy that somebody has just changed with kubectl.
async fn widening_told(theatre: &Theatre, policy: &str) -> Result<Value> {
    let (gap, _) = theatre
        .eventually(&format!("status names the change of {policy}"), PATIENCE, || async {
            let is = |gap: &Value, field: &str, text: &str| gap.get(field).is_some_and(|value| value == text);
            Ok(gaps(theatre).await?.into_iter().find(|gap| is(gap, "policy", policy) && is(gap, "what", "Changed")))
        })
        .await?;
    let (who, seconds) = (gap.get("who"), gap.get("seconds"));
    match (who.and_then(Value::as_str), seconds.and_then(Value::as_i64)) {
        (Some("kubectl-patch"), Some(0..=30)) => Ok(gap),
        _ => bail!("status says of the change: {gap}"),
    }
}

/// Gaps that status names, the newest first.
async fn gaps(theatre: &Theatre) -> Result<Vec<Value>> {
    let list = ["get", "ht", &theatre.hospital.name, "-o", "jsonpath={.status.network.gaps}"];
    let list = theatre.kubectl(&list).await?;
    if list.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&list).context("status.network.gaps is not as the API has it")
}

/// Kills the leader without warning; the other replica repairs what is broken then.
pub async fn operator_killed(theatre: &Theatre) -> Result<String> {
    let pods = ["-n", "his-operator-system", "delete", "pod", "-l", "app.kubernetes.io/name=his-operator"];
    theatre.kubectl(&[&pods[..], &["--grace-period=0", "--force", "--wait=false"]].concat()).await?;
    let namespace = theatre.hospital.namespace.as_str();
    let child = "networkpolicy.networking.k8s.io/default-deny";
    let known = gaps(theatre).await?;
    let before = uid(theatre, child).await?.context("default-deny was not there")?;
    theatre.kubectl(&[&REMOVER[..], &["-n", namespace, "delete", child, "--wait=false"]].concat()).await?;
    let (_, took) = theatre
        .eventually("default-deny comes back", Duration::from_secs(120), || async {
            Ok(uid(theatre, child).await?.filter(|new| *new != before))
        })
        .await?;
    let rollout = ["-n", "his-operator-system", "rollout", "status", "deploy/his-operator", "--timeout=120s"];
    theatre.kubectl(&rollout).await?;
    theatre.hospital.ready().await?;
    let (gap, _) = theatre
        .eventually("status names the deletion", PATIENCE, || async {
            let deleted = |gap: &Value| gap["policy"] == "default-deny" && gap["what"] == "Deleted";
            Ok(gaps(theatre).await?.into_iter().find(|gap| !known.contains(gap) && deleted(gap)))
        })
        .await?;
    Ok(format!("all operator pods were killed; a policy deleted right after was back in {took:.1?}; status: {gap}"))
}

async fn uid(theatre: &Theatre, child: &str) -> Result<Option<String>> {
    let namespace = theatre.hospital.namespace.as_str();
    let arguments = ["-n", namespace, "get", child, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}"];
    let uid = theatre.kubectl(&arguments).await?;
    Ok((!uid.is_empty()).then_some(uid))
}
