//! Reads everything that goes into a bundle.
//!
//! Guarantees: GET and LIST only. Secrets are read first, so that their values are known before anything else is looked at;
//! they stay in memory. What cannot be read is left out and said.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams},
    core::{DynamicObject, TypeMeta},
};
use serde::Serialize;
use serde_json::Value;

use super::{Bundle, pods};
use crate::{
    names,
    objects::Observed,
    plugin::{
        access::{self, words},
        diff::{self, Live, Operator, Wanted, changes, live},
        events::{self, timeline},
        look::Look,
        output::Ending,
        redact::Redaction,
        status::{hospital, screen},
    },
    render::{Definitions, simulate},
    tenant::Inputs,
};

/// Of each container of the operator.
const LOG_LINES: i64 = 1000;
const PAPER: Look = Look { width: 160, colour: false };

/// Everything about one hospital, redacted.
pub(super) async fn gather(
    client: &Client,
    tenant: &str,
    operator: &Operator,
    now: DateTime<Utc>,
) -> Result<Bundle, Ending> {
    let mut bundle = Bundle::default();
    let found = Wanted::read(client, Definitions::default(), Some(tenant)).await?.into_iter().next();
    let wanted = found.ok_or_else(|| Ending::Usage(format!("HospitalTenant {tenant} does not exist")))?;
    let redaction = learn(client, tenant, &mut bundle).await;
    resources(&wanted, &redaction, &mut bundle);
    told(client, tenant, (&redaction, now), &mut bundle).await?;
    let live = live(client, tenant).await;
    for why in live.unread.values() {
        bundle.leave_out("objects", why);
    }
    plan(client, (&wanted, &live), (operator, now), &redaction, &mut bundle).await;
    for (at, object) in &live.objects {
        // Secrets are there already, with the names of their keys.
        if at.kind != crate::objects::kind::SECRET {
            let path = format!("objects/{}/{}.yaml", at.kind.kind, at.name);
            let types = TypeMeta { api_version: at.kind.api_version(), kind: at.kind.kind.to_owned() };
            let object = DynamicObject { types: Some(types), ..object.as_ref().clone() };
            bundle.add(path, "as it is in the cluster", yaml(&redaction, &object));
        }
    }
    running(client, tenant, &redaction, &mut bundle).await;
    logs(client, tenant, operator, &redaction, &mut bundle).await;
    bundle.leave_out("logs and termination messages of the hospital's pods", "they may hold patient data");
    bundle.leave_out("values of Secrets", "they are secret; their names and keys are in objects/Secret");
    for part in &mut bundle.parts {
        part.text = redaction.known(&part.text);
    }
    Ok(bundle)
}

fn yaml(redaction: &Redaction, object: &impl Serialize) -> String {
    let object = redaction.object(serde_json::to_value(object).unwrap_or_default());
    serde_yaml_ng::to_string(&object).unwrap_or_default()
}

async fn learn(client: &Client, tenant: &str, bundle: &mut Bundle) -> Redaction {
    let mut redaction = Redaction::default();
    let api: Api<Secret> = Api::namespaced(client.clone(), &names::namespace(tenant));
    match api.list(&ListParams::default()).await {
        Ok(secrets) => {
            secrets.items.iter().for_each(|secret| redaction.learn(secret));
            for secret in &secrets.items {
                let path = format!("objects/Secret/{}.yaml", secret.name_any());
                let mut object = serde_json::to_value(secret).unwrap_or_default();
                if let Some(object) = object.as_object_mut() {
                    object.insert("kind".to_owned(), "Secret".into());
                }
                bundle.add(path, "metadata and names of its keys", yaml(&redaction, &object));
            }
        }
        Err(error) => bundle.leave_out(
            "Secrets",
            format!(
                "could not be read: {}; in the rest, secrets were recognised by their place and shape only",
                words(&error)
            ),
        ),
    }
    redaction
}

fn resources(wanted: &Wanted, redaction: &Redaction, bundle: &mut Bundle) {
    bundle.add("tenant.yaml", "the HospitalTenant with its status", yaml(redaction, wanted.tenant.as_ref()));
    match &wanted.platform {
        Some(platform) => bundle.add("platform.yaml", "its HospitalPlatform", yaml(redaction, platform.as_ref())),
        None => bundle.leave_out("platform.yaml", "the HospitalPlatform does not exist"),
    }
    match &wanted.application {
        Some(application) => {
            bundle.add("application.yaml", "its HospitalApplication", yaml(redaction, application.as_ref()));
        }
        None => bundle.leave_out("application.yaml", "the HospitalApplication does not exist"),
    }
}

/// Conditions and events.
async fn told(
    client: &Client,
    tenant: &str,
    (redaction, now): (&Redaction, DateTime<Utc>),
    bundle: &mut Bundle,
) -> Result<(), Ending> {
    let hospital = hospital(client, tenant).await?;
    bundle.add("status.txt", "kubectl his status", redaction.text(&screen(&hospital, now, PAPER)));
    let mut timeline = timeline(client, tenant).await?;
    for line in &mut timeline.events {
        line.message = redaction.text(&line.message);
    }
    for why in hospital.unread.iter().chain(&timeline.unread) {
        bundle.leave_out("part of status.txt or events.txt", why);
    }
    bundle.add("events.txt", "kubectl his events", events::text(&timeline, now, PAPER));
    Ok(())
}

/// What the operator wants, and what it would change.
async fn plan(
    client: &Client,
    (wanted, live): (&Wanted, &Live),
    (operator, now): (&Operator, DateTime<Utc>),
    redaction: &Redaction,
    bundle: &mut Bundle,
) {
    let (settings, warnings) = diff::settings(client, operator).await;
    for warning in warnings {
        bundle.leave_out("settings of the operator", warning);
    }
    let inputs = Inputs { tenant: wanted.tenant.clone(), settings, now };
    let observed = wanted.observe(live);
    let planned = simulate(&inputs, &observed, false).and_then(|plan| {
        let whole = simulate(&inputs, &Observed { objects: BTreeMap::new(), ..observed.clone() }, false)?;
        Ok((plan, whole))
    });
    match planned {
        Ok((plan, whole)) => {
            let differences = changes(&plan, &observed, &live.unread, redaction);
            bundle.add("diff.txt", "kubectl his diff", diff::text(&[differences]));
            let objects = whole.entries.iter().filter_map(|entry| entry.desired.body());
            let documents: Vec<_> = objects.map(|body| yaml(redaction, body)).collect();
            bundle.add("plan.yaml", "every object that the operator wants", documents.join("---\n"));
        }
        Err(rejection) => {
            let text = format!("{rejection} ({})\nnext: {}\n", rejection.reason.as_str(), rejection.reason.next());
            bundle.add("plan.txt", "why the operator refuses the hospital", redaction.text(&text));
        }
    }
}

/// Pods of the hospital.
async fn running(client: &Client, tenant: &str, redaction: &Redaction, bundle: &mut Bundle) {
    let api: Api<Pod> = Api::namespaced(client.clone(), &names::namespace(tenant));
    match api.list(&ListParams::default()).await {
        Ok(list) => bundle.add("pods.yaml", "status of the hospital's pods", pods::statuses(&list.items, redaction)),
        Err(error) => bundle.leave_out("pods.yaml", words(&error)),
    }
}

/// The operator: versions, pods, last lines of its log.
async fn logs(client: &Client, tenant: &str, operator: &Operator, redaction: &Redaction, bundle: &mut Bundle) {
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/name={}", names::PRODUCT));
    let namespace = &operator.operator_namespace;
    version(client, (namespace, &ours), redaction, bundle).await;
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = match api.list(&ours).await {
        Ok(list) => list.items,
        Err(error) => return bundle.leave_out("the operator's pods and logs", words(&error)),
    };
    if list.is_empty() {
        bundle.leave_out("the operator's logs", format!("it has no pod in namespace {namespace}"));
    }
    bundle.add("operator/pods.yaml", "status of the operator's pods", pods::statuses(&list, redaction));
    let others = others(client, tenant).await;
    for pod in &list {
        for container in pods::containers(pod) {
            let last = LogParams {
                container: Some(container.clone()),
                tail_lines: Some(LOG_LINES),
                timestamps: true,
                ..LogParams::default()
            };
            let path = format!("operator/{}.{container}.log", pod.name_any());
            match api.logs(&pod.name_any(), &last).await {
                Ok(log) => {
                    let text = pods::lines(&log, tenant, &others, redaction);
                    bundle.add(path, format!("last {LOG_LINES} lines, but for those about other hospitals"), text);
                }
                Err(error) => bundle.leave_out(format!("log of {}", pods::name(pod)), words(&error)),
            }
        }
    }
}

async fn others(client: &Client, tenant: &str) -> BTreeSet<String> {
    let all = access::tenants(client).await.unwrap_or_default();
    all.iter().map(ResourceExt::name_any).filter(|name| name != tenant).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    plugin: &'static str,
    kubernetes: Value,
    operator_images: Vec<String>,
}

async fn version(client: &Client, (namespace, ours): (&str, &ListParams), redaction: &Redaction, bundle: &mut Bundle) {
    let kubernetes = match client.apiserver_version().await {
        Ok(version) => serde_json::to_value(&version).unwrap_or_default(),
        Err(error) => words(&error).into(),
    };
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployments = match api.list(ours).await {
        Ok(list) => list.items,
        Err(error) => {
            bundle.leave_out("version of the operator", words(&error));
            Vec::new()
        }
    };
    let pods = deployments.iter().filter_map(|operator| operator.spec.as_ref()?.template.spec.as_ref());
    let operator_images =
        pods.flat_map(|pod| &pod.containers).filter_map(|container| container.image.clone()).collect();
    let versions = Versions { plugin: env!("CARGO_PKG_VERSION"), kubernetes, operator_images };
    bundle.add("versions.yaml", "of the plugin, Kubernetes and the operator", yaml(redaction, &versions));
}
