//! Releases of what no gateway leads to: the Service under the component's own name leads from one colour to the other, for
//! whoever asks it from inside of the cluster.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Stand, Theatre};

const USER: &str = include_str!("inside.py");
const POD: &str = "a-user";
/// The user ends by itself after so many seconds.
const SECONDS: &str = "240";
const PATIENCE: Duration = Duration::from_mins(2);

/// What the user says at its end.
#[derive(Deserialize)]
struct Said {
    sent: u64,
    failed: u64,
    failures: Vec<String>,
    versions: Vec<String>,
    mixed: u64,
}

/// One release under a user inside of the cluster.
pub async fn release(theatre: &Theatre) -> Result<String> {
    let versions = ["v0", "v1"].map(ToOwned::to_owned);
    let changed = |application: &mut Value| {
        // Nothing is public; workers ask the web component.
        declare(application, "/spec/components/0", "routes", json!([]));
        declare(application, "/spec/components/1", "connectsTo", json!([{"component": "web", "port": "http"}]));
    };
    let stand = Stand::open_changed(theatre, "inside", &versions, &json!({}), changed).await?;
    stand.user_comes(theatre).await?;
    let outcome = stand.release("v1").await;
    let said = stand.user_goes(theatre).await;
    outcome?;
    let said = said?;
    stand.close(theatre).await?;
    ensure!(said.failed == 0, "{} of {} requests failed: {:?}", said.failed, said.sent, said.failures);
    ensure!(said.versions == ["v0", "v1"], "the versions {:?} answered", said.versions);
    ensure!(said.sent > 50, "{} requests are too few to say anything", said.sent);
    Ok(format!(
        "0 of {} requests failed, no other version answered; on new connections both versions answered for {} ms",
        said.sent, said.mixed
    ))
}

fn declare(application: &mut Value, component: &str, field: &str, value: Value) {
    if let Some(component) = application.pointer_mut(component).and_then(Value::as_object_mut) {
        component.insert(field.to_owned(), value);
    }
}

impl Stand {
    /// A pod that counts as a worker to every policy, and that no release replaces.
    async fn user_comes(&self, theatre: &Theatre) -> Result<()> {
        theatre.apply(self.user(&theatre.stage.images.gnuhealth.by_digest()).to_string()).await?;
        let asks = async || {
            Ok(theatre.kubectl(&["-n", &self.hospital.namespace, "logs", POD]).await?.contains("asking").then_some(()))
        };
        theatre.eventually("a user inside of the cluster asks", PATIENCE, asks).await.map(drop)
    }

    /// Lets its last requests end.
    async fn user_goes(&self, theatre: &Theatre) -> Result<Said> {
        let pod = format!("pod/{POD}");
        let namespace = ["-n", &self.hospital.namespace];
        theatre.kubectl(&[&namespace[..], &["exec", POD, "--", "touch", "/tmp/stop"]].concat()).await?;
        let ended = ["wait", &pod, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"];
        theatre.kubectl(&[&namespace[..], &ended].concat()).await?;
        let log = theatre.kubectl(&[&namespace[..], &["logs", POD]].concat()).await?;
        theatre.kubectl(&[&namespace[..], &["delete", &pod, "--wait=true"]].concat()).await?;
        let last = log.lines().last().context("the user said nothing")?;
        serde_json::from_str(last).with_context(|| format!("{last:?} is no report"))
    }

    fn user(&self, image: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": POD, "namespace": self.hospital.namespace, "labels": {
                "app.kubernetes.io/component": "worker", "his-operator.io/tenant": self.hospital.name,
            }},
            "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": false, "serviceAccountName": "worker",
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 10001, "runAsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "user", "image": image, "command": ["python3", "-c", USER, "web", "8000", SECONDS],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"},
                    },
                }],
            },
        })
    }
}
