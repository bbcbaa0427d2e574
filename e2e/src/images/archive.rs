//! An OCI image archive of one uncompressed layer (OCI Image Format Specification 1.0, image layout).
//!
//! Guarantees that equal trees give equal digests: entries are sorted, times are zero, everything belongs to root.
//! Not compressed: both ends are on this machine.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::recipe::Recipe;
use super::{hex, remove_if_there};
use crate::paths;
use crate::shell::command;

/// Part of every key, to be raised when this file changes what it writes.
pub(super) const FORMAT: &str = "oci-1";
pub(super) const TAR: &str = "image.tar";
pub(super) const DIGEST: &str = "digest";

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Turns `scratch/root` into `scratch/image.tar` and `scratch/digest`.
pub(super) fn write(recipe: &Recipe, tag: &str, scratch: &Path) -> Result<()> {
    let root = scratch.join("root");
    let layout = scratch.join("layout");
    let blobs = layout.join("blobs/sha256");
    paths::create_dir(&blobs)?;

    let layer = add_layer(&root, &blobs)?;
    remove_if_there(&root)?;
    let config = add(&blobs, CONFIG, &Settings::of(recipe, &layer.digest))?;
    let manifest =
        add(&blobs, MANIFEST, &Manifest { schema_version: 2, media_type: MANIFEST, config, layers: vec![layer] })?;

    // The importer names an image after each annotation; without the second one `name@digest` resolves to nothing.
    let name = recipe.full_name();
    let manifests = [format!("{name}:{tag}"), format!("{name}@{}", manifest.digest)]
        .map(|reference| Descriptor { annotations: Some(Annotations { reference }), ..manifest.clone() });
    let index = Index { schema_version: 2, media_type: INDEX, manifests };
    fs::write(layout.join("index.json"), json(&index)?).context("cannot write index.json of an image")?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .context("cannot write oci-layout of an image")?;

    tar(&layout, &scratch.join(TAR))?;
    remove_if_there(&layout)?;
    fs::write(scratch.join(DIGEST), &manifest.digest).context("cannot write the digest of an image")
}

fn add_layer(root: &Path, blobs: &Path) -> Result<Descriptor> {
    let file = blobs.join("layer");
    tar(root, &file)?;
    let mut digest = Sha256::new();
    let mut source = File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let size = std::io::copy(&mut source, &mut digest).with_context(|| format!("cannot read {}", file.display()))?;
    let digest = hex(&digest.finalize());
    fs::rename(&file, blobs.join(&digest)).context("cannot name the layer of an image")?;
    Ok(Descriptor::new(LAYER, &digest, size))
}

fn add(blobs: &Path, media_type: &'static str, content: &impl Serialize) -> Result<Descriptor> {
    let bytes = json(content)?;
    let digest = hex(&Sha256::digest(&bytes));
    fs::write(blobs.join(&digest), &bytes).with_context(|| format!("cannot write blob {digest} of an image"))?;
    let size = u64::try_from(bytes.len()).context("a blob is too large")?;
    Ok(Descriptor::new(media_type, &digest, size))
}

fn json(content: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(content).context("cannot write a part of an image as JSON")
}

fn tar(dir: &Path, into: &Path) -> Result<()> {
    command("tar")
        .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu", "-C"])
        .arg(dir)
        .arg("-cf")
        .arg(into)
        .arg(".")
        .output()
        .map(drop)
}

#[derive(Serialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
}

impl Descriptor {
    fn new(media_type: &'static str, digest: &str, size: u64) -> Self {
        Self { media_type, digest: format!("sha256:{digest}"), size, annotations: None }
    }
}

#[derive(Serialize, Clone)]
struct Annotations {
    #[serde(rename = "io.containerd.image.name")]
    reference: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: [Descriptor; 2],
}

#[derive(Serialize)]
struct Settings<'a> {
    architecture: &'static str,
    os: &'static str,
    config: Process<'a>,
    rootfs: Layers<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Process<'a> {
    user: &'a str,
    env: &'a [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entrypoint: &'a [&'static str],
    working_dir: &'static str,
}

#[derive(Serialize)]
struct Layers<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: [&'a str; 1],
}

impl<'a> Settings<'a> {
    fn of(recipe: &'a Recipe, layer: &'a str) -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            architecture,
            os: "linux",
            config: Process { user: recipe.user, env: recipe.env, entrypoint: recipe.entrypoint, working_dir: "/" },
            rootfs: Layers { kind: "layers", diff_ids: [layer] },
        }
    }
}
