//! Control groups of the cluster, on hosts with the old and with the new hierarchy.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::{CGROUP, NODES};

const ROOT: &str = "/sys/fs/cgroup";

/// Creates the groups of daemons and pods.
pub(super) fn create() -> Result<()> {
    for hierarchy in hierarchies()? {
        let mut groups = vec![CGROUP.to_owned(), format!("{CGROUP}/daemons")];
        groups.extend(NODES.map(super::layout::Node::cgroup));
        for group in groups {
            let dir = hierarchy.join(group);
            if let Err(error) = fs::create_dir(&dir)
                && error.kind() != ErrorKind::AlreadyExists
            {
                return Err(error).with_context(|| format!("cannot create control group {}", dir.display()));
            }
            inherit(&dir)?;
        }
    }
    Ok(())
}

/// The group that daemons enter. One hierarchy is enough to find them again.
pub(super) fn daemons() -> Result<PathBuf> {
    Ok(tracking()?.join(CGROUP).join("daemons"))
}

/// Every process in our groups, except pods' ones that the kernel shows as already ended.
pub(super) fn members() -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    for group in subtree(&tracking()?.join(CGROUP))? {
        // A group may disappear while it is read.
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// Removes the groups; they must be empty of processes.
pub(super) fn remove() -> Result<()> {
    for hierarchy in hierarchies()? {
        for group in subtree(&hierarchy.join(CGROUP))?.iter().rev() {
            match fs::remove_dir(group) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot remove control group {}", group.display()));
                }
            }
        }
    }
    Ok(())
}

/// A new group starts with nothing: the old cpuset needs its values, the new hierarchy its controllers.
fn inherit(group: &Path) -> Result<()> {
    let Some(parent) = group.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (parent.join(file), group.join(file));
        if !is_unified() && to.exists() && fs::read_to_string(&to)?.trim().is_empty() {
            fs::write(&to, fs::read_to_string(&from)?).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    let (available, enabled) = (parent.join("cgroup.controllers"), parent.join("cgroup.subtree_control"));
    if is_unified() && available.exists() {
        for controller in fs::read_to_string(&available)?.split_whitespace() {
            fs::write(&enabled, format!("+{controller}"))
                .with_context(|| format!("cannot enable {controller} in {}", enabled.display()))?;
        }
    }
    Ok(())
}

fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

fn hierarchies() -> Result<Vec<PathBuf>> {
    if is_unified() {
        return Ok(vec![PathBuf::from(ROOT)]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(ROOT).with_context(|| format!("cannot read {ROOT}: are control groups mounted?"))? {
        let entry = entry?;
        // Links such as `cpu` → `cpu,cpuacct` would name a hierarchy twice.
        if entry.file_type()?.is_dir() && entry.path().join("cgroup.procs").exists() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The hierarchy in which processes are looked up.
fn tracking() -> Result<PathBuf> {
    if is_unified() {
        return Ok(PathBuf::from(ROOT));
    }
    let found = Path::new(ROOT).join("pids");
    if found.is_dir() { Ok(found) } else { anyhow::bail!("control group hierarchy `pids` is not mounted at {ROOT}") }
}

/// A group and all below it, parents first. Empty if the group does not exist.
fn subtree(group: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let mut open = vec![group.to_path_buf()];
    while let Some(dir) = open.pop() {
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", dir.display())),
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
        all.push(dir);
    }
    Ok(all)
}
