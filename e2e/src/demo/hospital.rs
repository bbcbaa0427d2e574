//! The fictional hospital St. Elsewhere: platform, application and tenant, from the files that are shipped.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, core::DynamicObject, runtime::watcher};
use serde_json::{Value, json};

use super::{
    Stage,
    resources::{applications, apply, condition, is_true, platforms, tenants},
};
use crate::{control_plane::client_from, paths, progress};

const APPLICATION: &str = "manifests/applications/gnu-health.yaml";
/// From an empty namespace to a served hospital, on two busy cores.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// One hospital of the demo.
#[derive(Clone)]
pub struct Hospital {
    /// Name of the tenant.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its host.
    pub host: String,
    /// Access to the cluster as an administrator.
    pub client: Client,
    /// The kubeconfig behind it.
    pub kubeconfig: PathBuf,
    /// The platform.
    pub platform: Value,
    /// The application.
    pub application: Value,
    /// The tenant.
    pub tenant: Value,
}

impl std::fmt::Debug for Hospital {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hospital").field("name", &self.name).field("host", &self.host).finish_non_exhaustive()
    }
}

impl Hospital {
    /// GNU Health for St. Elsewhere.
    pub async fn st_elsewhere(stage: &Stage) -> Result<Self> {
        Self::named(stage, "st-elsewhere").await
    }

    /// GNU Health for any hospital.
    pub async fn named(stage: &Stage, name: &str) -> Result<Self> {
        // Browsers and curl resolve names below localhost to this machine.
        let host = format!("{name}.localhost");
        let client = client_from(&stage.kubeconfig).await?;
        Ok(Self {
            name: name.to_owned(),
            namespace: format!("his-{name}"),
            platform: stage.site.platform(&stage.images.postgres.by_digest()),
            application: application(&paths::repo_root()?.join(APPLICATION), &stage.images.gnuhealth.by_digest())?,
            tenant: tenant(name, &host),
            host,
            client,
            kubeconfig: stage.kubeconfig.clone(),
        })
    }

    /// Applies platform, application and tenant.
    pub async fn apply(&self) -> Result<()> {
        apply(&platforms(&self.client), &self.platform).await?;
        apply(&applications(&self.client), &self.application).await?;
        apply(&tenants(&self.client), &self.tenant).await?;
        Ok(())
    }

    /// Waits until the hospital is Ready, and shows what it waits for.
    pub async fn ready(&self) -> Result<DynamicObject> {
        self.until(&format!("waiting for hospital {}", self.name), PATIENCE, |tenant| is_true(tenant, "Ready")).await
    }

    /// Waits for a condition on the tenant; the newest message is shown meanwhile.
    pub async fn until(
        &self,
        title: &str,
        patience: Duration,
        done: impl Fn(&DynamicObject) -> bool,
    ) -> Result<DynamicObject> {
        let step = progress::step(title);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut events = watcher(tenants(&self.client), config).boxed();
        let deadline = Instant::now() + patience;
        let mut last = "the tenant was not seen".to_owned();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = tokio::time::timeout(left, events.next()).await else {
                bail!("{title}: not within {} s; last: {last}", patience.as_secs())
            };
            match event.context("the watch ended")? {
                Ok(watcher::Event::Apply(tenant) | watcher::Event::InitApply(tenant)) => {
                    if done(&tenant) {
                        step.done();
                        return Ok(tenant);
                    }
                    if let Some((_, reason, message)) = condition(&tenant, "Ready") {
                        last = format!("{reason}: {message}");
                        step.note(last.clone());
                    }
                }
                Ok(_) => {}
                // The watcher starts anew by itself.
                Err(error) => step.note(error.to_string()),
            }
        }
    }

    /// The generated password of the user admin.
    pub async fn admin_password(&self) -> Result<String> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = secrets.get("app-admin-password").await.context("the admin's password is not there")?;
        let value = secret.data.unwrap_or_default().remove("value").context("the Secret has no key value")?;
        String::from_utf8(value.0).context("the password is not text")
    }
}

/// The shipped application with the digest of the image that this machine has made.
fn application(file: &Path, image: &str) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut application: Value =
        serde_yaml_ng::from_str(&text).with_context(|| format!("{} is no YAML", file.display()))?;
    let images = application
        .pointer_mut("/spec/versions/0/images")
        .and_then(Value::as_object_mut)
        .with_context(|| format!("{} has no spec.versions[0].images", file.display()))?;
    for value in images.values_mut() {
        *value = image.into();
    }
    Ok(application)
}

fn tenant(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "his-operator.io/v1alpha1",
        "kind": "HospitalTenant",
        "metadata": {"name": name},
        "spec": {
            "application": {"name": "gnu-health", "version": "5.0.4"},
            "host": host,
            "parameters": {"adminEmail": format!("admin@{host}")},
            "database": {"embedded": {"storage": "2Gi"}},
        },
    })
}
