//! The main job in one command: from a bare machine to a hospital that answers a login through the gateway.
//!
//! Guarantees: every step can be repeated and a step that is already true costs little; what it prints was observed, not
//! assumed. The operator comes from its own Helm charts and its own image.

pub mod access;
pub mod hospital;
pub mod install;
pub mod resources;
mod site;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{progress, shell};
use access::Access;
use hospital::Hospital;
pub use site::{ExistingArgs, Site};

/// A cluster with the operator on it.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The cluster.
    pub kubeconfig: PathBuf,
    /// Programs of the product, built from this checkout.
    pub programs: install::Programs,
    /// Digests of the images that the hospital needs.
    pub images: install::Images,
    /// Where the cluster is.
    pub site: Site,
}

/// Cluster, images and operator, from nothing or from whatever is there.
pub fn stage(site: Site) -> Result<Stage> {
    let kubeconfig = site.ready()?;
    let programs = install::build()?;
    let images = install::images(&programs, &site)?;
    install::charts(&kubeconfig, &images, &site)?;
    Ok(Stage { kubeconfig, programs, images, site })
}

/// Sets everything up, waits until the hospital is served, and shows how to use it.
pub async fn run(site: Site) -> Result<()> {
    let stage = tokio::task::spawn_blocking(|| stage(site)).await??;
    let hospital = Hospital::st_elsewhere(&stage).await?;
    hospital.apply().await?;
    hospital.ready().await?;
    let access = Access::to(&hospital, stage.site.gateway());
    let version = access.version().await?;
    let password = hospital.admin_password().await?;
    access.login("admin", &password).await?;
    progress::say(format!("GNU Health {version} answered through Envoy, and the user admin signed in"));
    print!("{}", status(&stage.programs.plugin, &stage.kubeconfig, &hospital.name)?);
    print!("{}", farewell(&stage, &hospital, &access));
    Ok(())
}

/// What `kubectl his status` says.
pub fn status(plugin: &Path, kubeconfig: &Path, tenant: &str) -> Result<String> {
    shell::command(plugin).args(["status", tenant]).env("KUBECONFIG", kubeconfig).output()
}

fn farewell(stage: &Stage, hospital: &Hospital, access: &Access) -> String {
    let kubeconfig = stage.kubeconfig.display();
    format!(
        "
Hospital   {url}/
Sign in    user admin, password: kubectl -n {namespace} get secret app-admin-password -o go-template='{{{{.data.value | base64decode}}}}'
Try        curl -s {url}/ -H 'Content-Type: application/json' -d '{{\"id\":1,\"method\":\"common.server.version\",\"params\":[]}}'
Look       export KUBECONFIG={kubeconfig}; kubectl get his -A; kubectl his status {name}
Clean up   {clean_up}
",
        clean_up = if stage.site.is_local() { "cargo e2e down" } else { "kubectl delete ht --all; helm uninstall -n his-operator-system his-operator" },
        url = access.url(),
        namespace = hospital.namespace,
        name = hospital.name,
    )
}
