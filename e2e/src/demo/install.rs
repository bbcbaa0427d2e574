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
            .args(["build", "--quiet", "--package", "his-operator", "--bins", "--message-format", "json"])
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
pub fn charts(kubeconfig: &Path, images: &Images) -> Result<()> {
    let helm = parts::ensure(Part::Helm)?;
    let charts = paths::repo_root()?.join("charts");
    let chart = |name: &str, values: &[String]| {
        shell::command(&helm)
            .args(["upgrade", "--install", name])
            .arg(charts.join(name))
            .args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "5m"])
            .args(values)
            .env("KUBECONFIG", kubeconfig)
            .output()
    };
    progress::step("installing chart his-operator-crds").run(|_| chart("his-operator-crds", &[]))?;
    let values = [
        "--set".to_owned(),
        format!("image.repository={}", images.operator.name),
        "--set".to_owned(),
        format!("image.digest={}", images.operator.digest),
    ];
    progress::step("installing chart his-operator").run(|_| chart("his-operator", &values))?;
    Ok(())
}
