//! How each operation is asked for, and when it is done.

use his_operator::{names, objects::kind};
use kube::{ResourceExt, core::DynamicObject};
use serde_json::{Value, json};

use super::{hospital::Hospital, plan::Operation};

impl Operation {
    /// Asks for it. `predecessor` is the UID of the hospital that had this name before.
    pub async fn start(self, hospital: &Hospital, predecessor: Option<&str>) {
        let pause = |until: Value| json!({ names::PAUSE_UNTIL: until, names::PAUSE_REASON: "a fault plan" });
        let change = match self {
            Self::Create => return drop(hospital.create(json!({})).await),
            Self::Delete => return hospital.delete().await,
            Self::Recreate => {
                let mut spec = self.whole_spec(&hospital.name);
                spec["adopt"] = json!({ "tenantUid": predecessor });
                return drop(hospital.create(json!({ "spec": spec })).await);
            }
            Self::Pause => json!({
                "metadata": { "annotations": pause(json!("2099-01-01T00:00:00Z")) }, "spec": self.spec(&hospital.name),
            }),
            Self::Resume => json!({ "metadata": { "annotations": pause(Value::Null) } }),
            Self::Edit | Self::Scale | Self::Rotate | Self::Upgrade => json!({ "spec": self.spec(&hospital.name) }),
        };
        hospital.patch(change).await;
    }

    /// Everything that the operations before this one have changed in the spec.
    pub fn whole_spec(self, name: &str) -> Value {
        let mut spec = json!({});
        for change in Self::ALL.into_iter().filter(|change| *change < self) {
            crate::support::merge(&mut spec, change.spec(name));
        }
        spec
    }

    /// What changes in the spec.
    fn spec(self, name: &str) -> Value {
        match self {
            Self::Edit => {
                json!({ "parameters": { "language": "fr" }, "additionalHosts": [format!("more.{name}.example.org")] })
            }
            Self::Scale => json!({ "components": [{ "name": "web", "replicas": 3 }] }),
            Self::Rotate => json!({ "credentials": { "rotations": { "session_key": 2 } } }),
            // What a release brings, and what needs none: neither may be made during a pause.
            Self::Pause => {
                let flow =
                    json!({ "component": "web", "cidrs": ["192.0.2.77/32"], "port": 443, "reason": "a registry" });
                json!({ "parameters": { "language": "nl" }, "network": { "egress": [flow] } })
            }
            Self::Upgrade => json!({ "application": { "version": "2.0.0" } }),
            Self::Create | Self::Resume | Self::Delete | Self::Recreate => json!({}),
        }
    }

    /// Whether its end is reached, as people see it.
    pub async fn done(self, hospital: &Hospital) -> Result<(), String> {
        let Some(resource) = hospital.tenants().get_opt(&hospital.name).await.unwrap() else {
            return if self == Self::Delete { Ok(()) } else { Err("it is not there".to_owned()) };
        };
        if self == Self::Delete {
            return Err(format!("held by {:?}", resource.finalizers()));
        }
        let status = resource.status.unwrap_or_default();
        if status.observed_generation != resource.metadata.generation {
            return Err(format!("status is about generation {:?}", status.observed_generation));
        }
        let wanted = if self == Self::Pause { ("Reconciling", "False", "Paused") } else { ("Ready", "True", "Proved") };
        let shown =
            status.conditions.iter().any(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str()) == wanted);
        let version = match self {
            Self::Upgrade | Self::Recreate => status.version.as_deref() == Some("2.0.0"),
            _ => true,
        };
        if !(shown && version) {
            return Err(format!("{:?}", status.blocking));
        }
        // What the trial of the network has found is written down before its Job goes.
        let trial = |job: &DynamicObject| job.name_any().starts_with("network-probe-");
        if self != Self::Pause && hospital.all(kind::JOB).await.iter().any(trial) {
            return Err("the Job that tried the network is still there".to_owned());
        }
        Ok(())
    }
}

/// Type, status and reason of each condition.
pub async fn conditions(hospital: &Hospital) -> Vec<String> {
    let Some(resource) = hospital.tenants().get_opt(&hospital.name).await.unwrap() else { return Vec::new() };
    let conditions = resource.status.unwrap_or_default().conditions;
    conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
}
