//! Builds the product, makes the images, and installs the operator from its own charts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Site;
use crate::{
    images::{self, Image, ImageKind},
    parts::{self, Part},
    paths, progress, shell,
};

/// Namespace of the operator.
pub const NAMESPACE: &str = "his-operator-system";

/// Programs of the product.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The operator.
    pub operator: PathBuf,
    /// The agent.
    pub agent: PathBuf,
    /// The kubectl plugin.
    pub plugin: PathBuf,
}

/// Images of the product and of the hospital.
#[derive(Debug, Clone)]
pub struct Images {
    /// Operator and agent.
    pub operator: Image,
    /// Plain PostgreSQL.
    pub postgres: Image,
    /// GNU Health.
    pub gnuhealth: Image,
    /// busybox, for test pods.
    pub shell: Image,
}

/// Builds the product from this checkout.
pub fn build() -> Result<Programs> {
    let root = paths::repo_root()?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let messages = progress::step("building the operator").run(|_| {
        shell::command(cargo)
            // The whole workspace: features of one package alone are others, and every dependency would be built again.
            .args(["build", "--quiet", "--workspace", "--bins", "--message-format", "json"])
            .dir(&root)
            .output()
    })?;
    let program = |name: &str| executable(&messages, name).with_context(|| format!("cargo built no program {name}"));
    Ok(Programs { operator: program("his-operator")?, agent: program("his-agent")?, plugin: program("kubectl-his")? })
}

/// Where cargo put a program, by its own messages.
pub(crate) fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|message| {
        let named = message.pointer("/target/name")?.as_str()? == name;
        let path = message.get("executable")?.as_str()?;
        named.then(|| PathBuf::from(path))
    })
}

/// Makes all images and brings them to the nodes.
pub fn images(programs: &Programs, site: &Site) -> Result<Images> {
    let operator = ImageKind::Operator { operator: programs.operator.clone(), agent: programs.agent.clone() };
    let loaded = |kind: &ImageKind| -> Result<Image> {
        let image = images::ensure(kind)?;
        site.load_image(&image.tar)?;
        Ok(image)
    };
    Ok(Images {
        operator: loaded(&operator)?,
        postgres: loaded(&ImageKind::Postgres)?,
        gnuhealth: loaded(&ImageKind::GnuHealth)?,
        shell: loaded(&ImageKind::Shell)?,
    })
}

/// Installs or upgrades both charts and waits until the operator is ready.
pub fn charts(kubeconfig: &Path, images: &Images, site: &Site) -> Result<()> {
    progress::step("installing chart his-operator-crds").run(|_| chart(kubeconfig, "his-operator-crds", &[]))?;
    progress::step("installing chart his-operator").run(|_| {
        // The resolver's own port, which policies are about.
        let resolver = site.is_local().then(|| "networkPolicy.dns.port=5353".to_owned());
        operator_chart(kubeconfig, &images.operator, resolver)
    })?;
    Ok(())
}

/// Installs the operator with this image, or upgrades it to it, and waits until it is ready. Other values stay as they are,
/// unless they are given.
pub fn operator_chart(kubeconfig: &Path, image: &Image, value: Option<String>) -> Result<String> {
    let mut values = vec![format!("image.repository={}", image.name), format!("image.digest={}", image.digest)];
    values.extend(value);
    chart(kubeconfig, "his-operator", &values)
}

fn chart(kubeconfig: &Path, name: &str, values: &[String]) -> Result<String> {
    let path = paths::repo_root()?.join("charts").join(name).display().to_string();
    let upgrade = ["upgrade", "--install", "--reset-then-reuse-values", name, &path, "--create-namespace", "--wait"];
    let upgrade = upgrade.into_iter().chain(["--timeout", "5m"]);
    let values = values.iter().flat_map(|value| ["--set", value]);
    helm(kubeconfig, &upgrade.chain(values).collect::<Vec<_>>())
}

/// Helm on the operator's namespace.
pub fn helm(kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let helm = parts::ensure(Part::Helm)?;
    shell::command(&helm).args(["--namespace", NAMESPACE]).args(arguments).env("KUBECONFIG", kubeconfig).output()
}
