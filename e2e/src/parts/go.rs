//! Builds programs of Go modules exactly as pinned.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Part, Source, ensure, pins_dir};
use crate::paths;
use crate::progress::Step;
use crate::shell::{self, Command};

/// Builds a part into a directory.
pub(super) fn build(part: Part, into: &Path, step: &Step) -> Result<()> {
    let recipe = part.recipe();
    let Source::Go { pins, package, flags } = recipe.source else { bail!("{} is not built from Go", recipe.name) };
    let dir = pins_dir(pins)?;
    step.note(format!("downloading and compiling {package}"));
    // A build runs beside things that people wait for, and ends when nobody waits for it any more.
    shell::command("setpriv")
        .args(["--pdeathsig", "TERM", "nice", "-n", "5"])
        .arg(program()?)
        .args(["build", "-trimpath", "-ldflags", flags, "-o"])
        .arg(into.join(recipe.program))
        .arg(package)
        .dir(&dir)
        .envs(environment()?)
        .output()?;
    Ok(())
}

/// Where the source of a module lies, downloaded if it has to be.
pub(super) fn module_dir(pins: &str, module: &str) -> Result<PathBuf> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Download {
        dir: PathBuf,
    }
    let answer = go()?.dir(pins_dir(pins)?).args(["mod", "download", "-json", module]).output()?;
    let download: Download =
        serde_json::from_str(&answer).with_context(|| format!("unexpected answer of go about module {module}"))?;
    Ok(download.dir)
}

/// The version of Go that builds here, for example `go1.26.8 linux/amd64`.
pub(super) fn version() -> Result<String> {
    static VERSION: OnceLock<String> = OnceLock::new();
    if let Some(version) = VERSION.get() {
        return Ok(version.clone());
    }
    // A go.mod may ask for a newer toolchain than the installed one, so ask where the answer counts.
    let version = go()?.dir(pins_dir("kubernetes")?).arg("version").output()?;
    Ok(VERSION.get_or_init(|| version.trim().to_owned()).clone())
}

fn go() -> Result<Command> {
    Ok(shell::command(program()?).envs(environment()?))
}

/// The Go of this machine, or the pinned one.
fn program() -> Result<PathBuf> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    if let Some(program) = PROGRAM.get() {
        return Ok(program.clone());
    }
    let program = match installed() {
        Some(program) => program,
        None => ensure(Part::Go).context("Go is needed to build Kubernetes: install Go 1.26 or newer on PATH")?,
    };
    Ok(PROGRAM.get_or_init(|| program).clone())
}

/// Go on PATH, unless it is so old that it cannot fetch a newer toolchain by itself (before 1.21).
fn installed() -> Option<PathBuf> {
    let version = shell::command("go").args(["env", "GOVERSION"]).output().ok()?;
    let minor: u32 = version.trim().strip_prefix("go1.")?.split('.').next()?.parse().ok()?;
    (minor >= 21).then(|| PathBuf::from("go"))
}

fn environment() -> Result<Vec<(&'static str, String)>> {
    let cache = paths::cache_dir()?.join("go-build");
    Ok(vec![
        ("GOCACHE", cache.display().to_string()),
        ("GOFLAGS", "-buildvcs=false -mod=readonly".to_owned()),
        ("GOWORK", "off".to_owned()),
        ("CGO_ENABLED", "0".to_owned()),
    ])
}
