//! Container images for the local cluster, made on this machine without a registry.
//!
//! Guarantees that an image is either whole or absent in the cache, is named after everything that its recipe says,
//! and that the digest told here is the one a kubelet resolves after `ctr -n k8s.io images import`. Must never pull
//! from an image registry.

mod archive;
mod debian;
mod gnuhealth;
mod recipe;
pub mod release;
mod root;
pub mod sbom;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{paths, progress};
use recipe::Recipe;

/// What the cluster and the demo run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageKind {
    /// Holds the namespaces of a pod.
    Pause,
    /// A static busybox with all its applets.
    Shell,
    CoreDns,
    EnvoyGateway,
    LocalPathProvisioner,
    Envoy,
    /// Debian's PostgreSQL 15 without entrypoint.
    Postgres,
    GnuHealth,
    /// The operator and its agent from these two programs. Static ones get an image of nothing else.
    Operator {
        operator: PathBuf,
        agent: PathBuf,
    },
}

impl ImageKind {
    /// Every image that needs no program of this repository.
    pub const FOREIGN: [ImageKind; 8] = [
        ImageKind::Pause,
        ImageKind::Shell,
        ImageKind::CoreDns,
        ImageKind::LocalPathProvisioner,
        ImageKind::EnvoyGateway,
        ImageKind::Envoy,
        ImageKind::Postgres,
        ImageKind::GnuHealth,
    ];
}

/// An image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// For example `his.local/postgres`.
    pub name: String,
    /// Changes with the recipe; the digest is what pins.
    pub tag: String,
    /// An OCI archive for `ctr -n k8s.io images import`, which registers it by tag and by digest.
    pub tar: PathBuf,
    /// `sha256:...` of the manifest.
    pub digest: String,
}

impl Image {
    /// `name:tag`, for settings that take no digest.
    pub fn by_tag(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }

    /// `name@sha256:...`, which can only ever be this image.
    pub fn by_digest(&self) -> String {
        format!("{}@{}", self.name, self.digest)
    }
}

/// The image, made first if this machine does not have it yet.
///
/// # Errors
/// When a program of a recipe fails; the message carries its last words.
pub fn ensure(kind: &ImageKind) -> Result<Image> {
    let recipe = Recipe::of(kind)?;
    let home = paths::cache_dir()?.join("images");
    let tag = key(&recipe)?;
    let dir = home.join(format!("{}-{tag}", recipe.name));
    paths::create_dir(&home)?;
    let lock = File::create(home.join(format!(".{}.lock", recipe.name))).context("cannot open the lock of an image")?;
    lock.lock().with_context(|| format!("cannot lock image {}", recipe.name))?;
    if !dir.is_dir() {
        progress::step(format!("making image {} (once per machine)", recipe.name)).run(|step| {
            let scratch = home.join(format!(".{}.new", recipe.name));
            remove_if_there(&scratch)?;
            paths::create_dir(&scratch)?;
            recipe.fill(&scratch.join("root"), step)?;
            step.note("packing");
            archive::write(&recipe, &tag, &scratch)?;
            fs::rename(&scratch, &dir).with_context(|| format!("cannot move the image to {}", dir.display()))?;
            forget_older(&home, recipe.name, &dir)
        })?;
    }
    let digest = fs::read_to_string(dir.join(archive::DIGEST))
        .with_context(|| format!("{} is damaged: remove the directory and try again", dir.display()))?;
    Ok(Image { name: recipe.full_name(), tag, tar: dir.join(archive::TAR), digest })
}

/// Everything that decides what an image is, as one short word.
fn key(recipe: &Recipe) -> Result<String> {
    let mut digest = Sha256::new();
    digest.update(archive::FORMAT);
    digest.update(recipe.words());
    for file in recipe.files() {
        let mut source = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        std::io::copy(&mut source, &mut digest).with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(hex(&digest.finalize()).chars().take(16).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Keeps this image and the one before it: another harness may still be importing that one.
fn forget_older(home: &Path, name: &str, newest: &Path) -> Result<()> {
    let prefix = format!("{name}-");
    let mut older = Vec::new();
    for entry in fs::read_dir(home).with_context(|| format!("cannot list {}", home.display()))? {
        let entry = entry.with_context(|| format!("cannot list {}", home.display()))?;
        let file_name = entry.file_name();
        // `envoy-` must not match `envoy-gateway-<tag>`.
        let is_ours =
            file_name.to_str().and_then(|text| text.strip_prefix(&prefix)).is_some_and(|tag| !tag.contains('-'));
        if is_ours && entry.path() != newest {
            let made = entry.metadata().and_then(|metadata| metadata.modified()).context("cannot date an image")?;
            older.push((made, entry.path()));
        }
    }
    older.sort();
    older.pop();
    older.iter().try_for_each(|(_, path)| remove_if_there(path))
}

fn remove_if_there(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
