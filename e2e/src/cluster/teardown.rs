//! Removes a cluster, whole or half, whatever state it is in.
//!
//! Guarantees that afterwards no process, mount, network namespace, control group or file of the cluster is left, and
//! that nothing else was touched: every step finds its objects by our names, our control group or our directory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};

use super::layout::{CGROUP, Layout, NODES};
use super::{cgroup, network, process};

/// Whether anything is there to be removed.
pub(super) fn is_needed(layout: &Layout) -> bool {
    layout.dir().exists()
        || NODES.iter().any(|node| Path::new("/run/netns").join(node.netns()).exists())
        || Path::new("/sys/fs/cgroup/pids").join(CGROUP).exists()
        || Path::new("/sys/fs/cgroup").join(CGROUP).exists()
}

pub(super) fn run(layout: &Layout) -> Result<()> {
    process::kill_all()?;
    let sockets = shim_sockets(layout);
    unmount_below(layout.dir())?;
    network::remove()?;
    cgroup::remove()?;
    for socket in sockets {
        remove_file(&socket)?;
    }
    remove_traces(layout)?;
    match fs::remove_dir_all(layout.dir()) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", layout.dir().display()))
        }
        _ => Ok(()),
    }
}

/// Sockets of the processes that watched containers; they lie in a directory that all containerds share.
fn shim_sockets(layout: &Layout) -> Vec<PathBuf> {
    let mut sockets = Vec::new();
    for node in NODES {
        let tasks = layout.node(node).join("containerd/state/io.containerd.runtime.v2.task/k8s.io");
        // Absent if the node never ran a container.
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            let address = fs::read_to_string(task.path().join("address")).unwrap_or_default();
            sockets.extend(address.trim().strip_prefix("unix://").map(PathBuf::from));
        }
    }
    sockets
}

/// Detaches every mount below a directory, the innermost first.
fn unmount_below(dir: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mounts").context("cannot read the mount table")?;
    let ours = table.lines().filter_map(|line| line.split(' ').nth(1)).map(unescaped);
    let mut ours: Vec<PathBuf> = ours.map(PathBuf::from).filter(|path| path.starts_with(dir) && path != dir).collect();
    ours.sort();
    for path in ours.iter().rev() {
        umount2(path, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {}", path.display()))?;
    }
    Ok(())
}

/// The mount table writes blanks in octal.
fn unescaped(path: &str) -> String {
    path.replace(r"\040", " ").replace(r"\011", "\t").replace(r"\134", r"\")
}

/// Files that kubelet and CNI put into shared directories, whatever they are told.
fn remove_traces(layout: &Layout) -> Result<()> {
    for link in entries("/var/log/containers") {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(layout.dir())) {
            remove_file(&link)?;
        }
    }
    for result in entries("/var/lib/cni/results") {
        let name = result.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if NODES.iter().any(|node| name.starts_with(&format!("{}-", node.netns()))) {
            remove_file(&result)?;
        }
    }
    Ok(())
}

fn entries(dir: &str) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_mount_points_are_understood() {
        assert_eq!(unescaped(r"/home/a\040b"), "/home/a b");
    }
}
