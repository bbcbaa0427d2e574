//! Images into the nodes, the way a registry would have brought them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::layout::{Layout, NODES, Node};
use super::node::ctr;
use crate::paths;

/// How long the kubelet's view of images may lag behind an import.
const VISIBLE: Duration = Duration::from_secs(30);

/// Imports every image of an archive into every node, and makes it known under its digest, too. An archive that was
/// imported before, and has not changed since, is left alone.
pub(super) fn into_all_nodes(layout: &Layout, tar: &Path) -> Result<()> {
    let mark = mark(layout, tar)?;
    if mark.exists() {
        return Ok(());
    }
    import(layout, tar)?;
    fs::write(&mark, tar.display().to_string()).with_context(|| format!("cannot write {}", mark.display()))
}

/// Its presence says that the nodes have this very archive.
fn mark(layout: &Layout, tar: &Path) -> Result<PathBuf> {
    let facts = fs::metadata(tar).with_context(|| format!("there is no image archive {}", tar.display()))?;
    let changed = facts.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let identity = format!("{} {} {}", tar.canonicalize()?.display(), facts.len(), changed.as_nanos());
    let dir = layout.dir().join("loaded");
    paths::create_dir(&dir)?;
    Ok(dir.join(format!("{:x}", Sha256::digest(identity))))
}

fn import(layout: &Layout, tar: &Path) -> Result<()> {
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let imports: Vec<_> = NODES.iter().map(|node| scope.spawn(|| into_node(layout, *node, tar))).collect();
        imports
            .into_iter()
            .map(|import| import.join().unwrap_or_else(|_| bail!("an import ended abnormally")))
            .collect()
    });
    results.into_iter().collect()
}

fn into_node(layout: &Layout, node: Node, tar: &Path) -> Result<()> {
    let said = ctr(layout, node).args(["images", "import"]).arg(tar).output()?;
    let names: Vec<String> = said.lines().filter_map(imported_name).collect();
    if names.is_empty() {
        bail!("{} holds no named image: tag it before it is exported", tar.display());
    }
    for name in names {
        let digest = digest_of(layout, node, &name)?;
        let pinned = format!("{}@{digest}", repository(&name));
        ctr(layout, node).args(["images", "tag", "--force", &name, &pinned]).output()?;
        await_visible(layout, node, &pinned)?;
    }
    Ok(())
}

/// From a line such as `unpacking his.local/pause:1 (sha256:…)...done`.
fn imported_name(line: &str) -> Option<String> {
    let name = line.strip_prefix("unpacking ")?.split(' ').next()?;
    (!name.contains('@')).then(|| name.to_owned())
}

/// The name without its tag; a port of a registry is not a tag.
fn repository(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

fn digest_of(layout: &Layout, node: Node, name: &str) -> Result<String> {
    let listing = ctr(layout, node).args(["images", "ls", &format!("name=={name}")]).output()?;
    listing
        .split_whitespace()
        .find(|word| word.starts_with("sha256:"))
        .map(str::to_owned)
        .with_context(|| format!("image {name} was imported but is not listed"))
}

/// containerd tells the part that the kubelet asks by an event; that part marks the image when it knows it.
fn await_visible(layout: &Layout, node: Node, name: &str) -> Result<()> {
    let deadline = Instant::now() + VISIBLE;
    let listing = ctr(layout, node).args(["images", "ls", &format!("name=={name}")]);
    while !listing.output()?.contains("io.cri-containerd.image=managed") {
        if Instant::now() > deadline {
            bail!("image {name} was imported into {} but is not visible to the kubelet", node.name());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_is_cut_from_a_name() {
        assert_eq!(repository("his.local/pause:1"), "his.local/pause");
        assert_eq!(repository("localhost:5000/pause"), "localhost:5000/pause");
        assert_eq!(repository("localhost:5000/pause:1"), "localhost:5000/pause");
    }

    #[test]
    fn imported_images_are_read_from_what_ctr_says() {
        assert_eq!(
            imported_name("unpacking his.local/pause:1 (sha256:ab)...done").as_deref(),
            Some("his.local/pause:1")
        );
        assert_eq!(imported_name("unpacking his.local/pause@sha256:ab (sha256:ab)...done"), None);
    }
}
