//! What is published: the image from a release build, and the list of everything in it.
//!
//! Guarantees: the same commit gives the same image digest wherever it is built, because no path of the machine gets into
//! a program; [`build`] with `twice` shows it with a second clone. The list (CycloneDX) names exactly the packages of
//! Cargo.lock that the product is made of.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    images::{self, Image, ImageKind},
    paths, progress,
    shell::{self, Command},
    tools,
};

const SBOM: &str = "his-operator.cdx.json";

/// Builds image and list into a directory; `twice` builds the same commit again elsewhere and compares.
pub fn build(output: &Path, twice: bool) -> Result<()> {
    let root = paths::repo_root()?;
    paths::create_dir(output)?;
    let image = image(&root, &root.join("target/artifact"))?;
    if twice {
        let again = elsewhere(&root)?;
        if again.digest != image.digest {
            bail!("two builds of one commit differ: {} and {}", image.digest, again.digest);
        }
        progress::say(format!("a second clone gave the same image: {}", image.digest));
    }
    fs::copy(&image.tar, output.join("his-operator.tar")).context("cannot copy the image")?;
    let packages = sbom(&root, &output.join(SBOM))?;
    let size = fs::metadata(&image.tar).context("the image has gone")?.len();
    println!("image     {} ({:.1} MB)", image.by_digest(), f64::from(u32::try_from(size)?) / 1e6);
    println!("contents  {packages} packages in {SBOM}, exactly those of Cargo.lock that the product is made of");
    Ok(())
}

/// The same commit in another directory, with nothing left of the first build.
fn elsewhere(root: &Path) -> Result<Image> {
    let scratch = tempfile::tempdir().context("no scratch directory")?;
    let clone = clone(root, scratch.path())?;
    image(&clone, &scratch.path().join("target"))
}

fn clone(root: &Path, scratch: &Path) -> Result<PathBuf> {
    let clone = scratch.join("clone");
    shell::command("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(root).arg(&clone).output()?;
    Ok(clone)
}

fn image(root: &Path, target: &Path) -> Result<Image> {
    let build = release(root, target)?;
    progress::step(format!("release build in {}", root.display())).run(|_| build.output())?;
    let programs = target.join(triple()).join("release");
    images::ensure(&ImageKind::Operator { operator: programs.join("his-operator"), agent: programs.join("his-agent") })
}

/// A release build in which every path of this machine has a neutral name.
fn release(root: &Path, target: &Path) -> Result<Command> {
    let cargo_home = paths::cargo_home()?;
    let neutral = [(root, "/src"), (target, "/target"), (cargo_home.as_path(), "/cargo")];
    let flags = |option: &str| neutral.map(|(path, name)| format!("{option}={}={name}", path.display()));
    let rust = flags("--remap-path-prefix").map(|flag| format!("{flag:?}")).join(",");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    Ok(shell::command(cargo)
        .args(["build", "--quiet", "--locked", "--release", "--package", "his-operator"])
        .args(["--bin", "his-operator", "--bin", "his-agent", "--target-dir"])
        .arg(target)
        .arg("--config")
        .arg(format!("target.{}.rustflags=[{rust}]", triple()))
        .env("CFLAGS", flags("-ffile-prefix-map").join(" "))
        .dir(root))
}

fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Writes the list and checks it against what cargo resolves; returns the number of packages.
fn sbom(root: &Path, to: &Path) -> Result<usize> {
    let program = tools::cargo_cyclonedx()?;
    // The tool writes beside each manifest, and the checkout is only read.
    let scratch = tempfile::tempdir().context("no scratch directory")?;
    let clone = clone(root, scratch.path())?;
    shell::command(program)
        .args(["cyclonedx", "--format", "json", "--spec-version", "1.5", "--quiet", "--target"])
        .arg(triple())
        .dir(&clone)
        .output()?;
    let written = clone.join(SBOM);
    let text = fs::read_to_string(&written).with_context(|| format!("{SBOM} was not written"))?;
    let listed = components(&serde_json::from_str(&text).context("the list is no JSON")?);
    let resolved = resolved(root)?;
    let difference: Vec<_> = listed.symmetric_difference(&resolved).collect();
    if !difference.is_empty() {
        bail!("the list and Cargo.lock differ in: {difference:?}");
    }
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(listed.len())
}

fn components(list: &Value) -> BTreeSet<String> {
    let text = |component: &Value, key: &str| component[key].as_str().unwrap_or_default().to_owned();
    let components = list["components"].as_array().cloned().unwrap_or_default();
    components.iter().map(|component| format!("{} {}", text(component, "name"), text(component, "version"))).collect()
}

/// Packages that cargo builds the product from, build scripts included.
fn resolved(root: &Path) -> Result<BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = shell::command(cargo)
        .args(["tree", "--locked", "--package", "his-operator", "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}", "--target"])
        .arg(triple())
        .dir(root)
        .output()?;
    let package = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next()?, words.next()?);
        Some(format!("{name} {}", version.trim_start_matches('v')))
    };
    Ok(tree.lines().filter_map(package).filter(|package| !package.starts_with("his-operator ")).collect())
}
