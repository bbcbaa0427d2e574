//! One hospital of one test: how it is made, looked at and waited for.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use e2e::control_plane::AuditEvent;
use his_operator::{
    api::v1alpha1::HospitalTenant,
    capabilities::kinds,
    names,
    objects::{Kind, Ref, kind::Scope},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::world::World;
use crate::support::merge;

/// More than anything takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// Waits until a question has an answer; at the deadline the last reason why it has none is the failure.
pub async fn eventually<T>(what: &str, deadline: Duration, ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    within(what, deadline, ask).await.unwrap_or_else(|failure| panic!("{failure}"))
}

/// [`eventually`] for whoever goes on after a failure.
pub async fn within<T>(
    what: &str,
    deadline: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    let until = Instant::now() + deadline;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(reason) if Instant::now() > until => return Err(format!("{what}: not within {deadline:?}: {reason}")),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Lets the time pass in which something forbidden would happen.
pub async fn quiet() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// See the module.
#[derive(Clone)]
pub struct Hospital {
    pub world: &'static World,
    pub name: String,
}

impl Hospital {
    pub fn named(world: &'static World, name: &str) -> Self {
        Self { world, name: name.to_owned() }
    }

    /// The smallest hospital with an embedded database, as YAML would have it.
    pub fn body(&self) -> Value {
        json!({
            "apiVersion": "his-operator.io/v1alpha1",
            "kind": "HospitalTenant",
            "metadata": { "name": self.name },
            "spec": {
                "application": { "name": "chart", "version": "1.0.0" },
                "host": format!("{}.example.org", self.name),
                "database": { "embedded": {} },
                "release": { "soakSeconds": 0 },
            },
        })
    }

    /// Makes it, with a merge patch on its smallest form.
    pub async fn create(&self, patch: Value) -> HospitalTenant {
        self.try_create(patch).await.unwrap()
    }

    pub async fn try_create(&self, patch: Value) -> kube::Result<HospitalTenant> {
        let mut body = self.body();
        merge(&mut body, patch);
        let resource: HospitalTenant = serde_json::from_value(body).unwrap();
        self.tenants().create(&PostParams::default(), &resource).await
    }

    /// Makes it and waits until it is ready.
    pub async fn open(world: &'static World, name: &str) -> Self {
        let hospital = Self::named(world, name);
        hospital.create(json!({})).await;
        hospital.ready().await;
        hospital
    }

    pub fn tenants(&self) -> Api<HospitalTenant> {
        Api::all(self.world.admin.clone())
    }

    pub fn namespace(&self) -> String {
        names::namespace(&self.name)
    }

    pub async fn resource(&self) -> HospitalTenant {
        self.tenants().get(&self.name).await.unwrap()
    }

    /// Merge patch on the custom resource.
    pub async fn patch(&self, patch: Value) -> HospitalTenant {
        self.tenants().patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap()
    }

    pub async fn delete(&self) {
        self.tenants().delete(&self.name, &DeleteParams::background()).await.unwrap();
    }

    /// Status, reason and message of a condition that is about the newest spec.
    pub async fn condition(&self, kind: &str) -> Option<(String, String, String)> {
        let resource = self.resource().await;
        let status = resource.status.filter(|status| status.observed_generation == resource.metadata.generation)?;
        let found = status.conditions.into_iter().find(|condition| condition.type_ == kind)?;
        Some((found.status, found.reason, found.message))
    }

    /// Waits until a condition has this status and reason; returns its message.
    pub async fn shows(&self, kind: &str, status: &str, reason: &str) -> String {
        let what = format!("{}: {kind}={status} {reason}", self.name);
        eventually(&what, DEADLINE, async || match self.condition(kind).await {
            Some((s, r, message)) if s == status && r == reason => Ok(message),
            other => Err(format!("{other:?}")),
        })
        .await
    }

    pub async fn ready(&self) {
        self.shows("Ready", "True", "Proved").await;
    }

    pub fn api(&self, kind: Kind) -> Api<DynamicObject> {
        match kind.scope {
            Scope::Cluster => Api::all_with(self.world.admin.clone(), &kind.api_resource()),
            Scope::Namespaced => {
                Api::namespaced_with(self.world.admin.clone(), &self.namespace(), &kind.api_resource())
            }
        }
    }

    pub async fn get(&self, kind: Kind, name: &str) -> Option<DynamicObject> {
        self.api(kind).get_opt(name).await.unwrap()
    }

    /// Waits for an object.
    pub async fn sees(&self, kind: Kind, name: &str) -> DynamicObject {
        let what = format!("{}: {kind}/{name} appears", self.name);
        eventually(&what, DEADLINE, async || {
            let status = self.resource().await.status;
            self.get(kind, name).await.ok_or_else(|| format!("{:?}", status.map(|status| status.blocking)))
        })
        .await
    }

    /// All objects of one kind that carry its label.
    pub async fn all(&self, kind: Kind) -> Vec<DynamicObject> {
        let labels = ListParams::default().labels(&format!("{}={}", names::TENANT, self.name));
        match self.api(kind).list(&labels).await {
            Ok(list) => list.items,
            // A foreign kind that is not installed.
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => panic!("{kind}: {error}"),
        }
    }

    /// All objects of all kinds that carry its label.
    pub async fn objects(&self) -> BTreeMap<Ref, DynamicObject> {
        let mut objects = BTreeMap::new();
        for kind in kinds() {
            for object in self.all(kind).await {
                let at = Ref { kind, namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
                objects.insert(at, object);
            }
        }
        objects
    }

    /// Values of all its Secrets.
    pub async fn secrets(&self) -> BTreeMap<String, Value> {
        let secrets = self.all(his_operator::objects::kind::SECRET).await;
        secrets.into_iter().map(|secret| (secret.name_any(), secret.data["data"].clone())).collect()
    }

    /// Requests of the operator about this hospital, in the order of the answers.
    pub fn requests(&self) -> Vec<AuditEvent> {
        let namespace = self.namespace();
        let about =
            |event: &AuditEvent| event.namespace == namespace || event.name == self.name || event.name == namespace;
        self.world.requests().into_iter().filter(about).collect()
    }

    /// Waits for a whole pass over it that is logged after the mark.
    pub async fn is_looked_at(&self, mark: usize) {
        let span = format!("reconcile{{tenant=\"{}\" ", self.name);
        eventually(&format!("{} is looked at again", self.name), DEADLINE, async || {
            let log = self.world.log.after(mark);
            log.lines()
                .any(|line| line.contains(&span) && line.contains(" took="))
                .then_some(())
                .ok_or("it is not".to_owned())
        })
        .await;
    }

    /// Waits until the operator has had nothing to do with it for a while; returns the number of requests so far.
    pub async fn settles(&self) -> usize {
        let mut seen = (self.requests().len(), Instant::now());
        eventually(&format!("{} settles", self.name), DEADLINE, async || {
            let count = self.requests().len();
            if count != seen.0 {
                seen = (count, Instant::now());
            }
            (seen.1.elapsed() > Duration::from_secs(1)).then_some(count).ok_or_else(|| format!("{count} requests"))
        })
        .await
    }
}

/// A request in words.
pub fn words(event: &AuditEvent) -> String {
    let slash = if event.subresource.is_empty() { "" } else { "/" };
    format!(
        "{} {}{slash}{} {}/{} -> {}",
        event.verb, event.resource, event.subresource, event.namespace, event.name, event.code
    )
}

/// The hospital that a request is about.
pub fn tenant_of(path: &str, body: &[u8]) -> Option<String> {
    let segments: Vec<&str> = path.split('/').collect();
    let after = |word: &str| segments.iter().skip_while(|segment| **segment != word).nth(1).copied();
    if let Some(tenant) = after("hospitaltenants") {
        return Some(tenant.to_owned());
    }
    if let Some(tenant) = after("namespaces").and_then(|namespace| namespace.strip_prefix("his-")) {
        // The operator's own namespace is nobody's hospital.
        return (tenant != "operator-system").then(|| tenant.to_owned());
    }
    if path.ends_with("/events") {
        let event: Value = serde_json::from_slice(body).ok()?;
        return Some(event["regarding"]["name"].as_str()?.to_owned());
    }
    None
}
