//! The same commands on a cluster that exists already: here the local one, described as a stranger's would be.

use std::fs;

use anyhow::{Context, Result, bail};

use super::Theatre;
use crate::shell;

/// `cargo demo --kubeconfig …` with all that it needs to know of the cluster.
pub async fn demo(theatre: &Theatre) -> Result<String> {
    let stage = &theatre.stage;
    let scratch = tempfile::tempdir().context("no scratch directory")?;
    let platform = scratch.path().join("platform.yaml");
    fs::write(&platform, theatre.hospital.platform.to_string()).context("cannot write the platform")?;
    let program = shell::this_program();
    let command = shell::command(&program)
        .args(["demo", "--kubeconfig"])
        .arg(&stage.kubeconfig)
        .arg("--platform")
        .arg(&platform)
        .args(["--image-loader", &format!("{} load-image {{}}", program.display())])
        .args(["--gateway", &stage.site.gateway()]);
    let said = tokio::task::spawn_blocking(move || command.output()).await??;
    let Some(ready) = said.lines().find(|line| line.starts_with("Ready:") && line.contains("True")) else {
        bail!("the hospital is not shown as Ready: {}", shell::last_lines(&said, 20));
    };
    Ok(format!(
        "a login, and {ready:?}, with nothing but a kubeconfig, a platform, an image loader and the Gateway's address"
    ))
}
