//! Removes a cluster, whole or half, whatever state it is in.
//!
//! Guarantees that afterwards no process, mount, network namespace, control group or file of the cluster is left, and
//! that nothing else was touched: every step finds its objects by our names, our control group or our directory.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};

use super::layout::{CGROUP, Layout, NODES};
use super::{cgroup, network, process};

/// Whether anything is there to be removed.
pub(super) fn is_needed(layout: &Layout) -> bool {
    layout.dir().exists()
        || network::is_any_left()
        || Path::new("/sys/fs/cgroup/pids").join(CGROUP).exists()
        || Path::new("/sys/fs/cgroup").join(CGROUP).exists()
}

pub(super) fn run(layout: &Layout) -> Result<()> {
    process::kill_all()?;
    let sockets = shim_sockets(layout);
    let sandboxes = sandboxes(layout);
    unmount_below(layout.dir())?;
    network::remove()?;
    cgroup::remove()?;
    for socket in sockets {
        remove_file(&socket)?;
    }
    remove_traces(layout, &sandboxes)?;
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

/// Names of all sandboxes that the nodes still knew.
fn sandboxes(layout: &Layout) -> Vec<String> {
    let known = |node| layout.node(node).join("containerd/root/io.containerd.grpc.v1.cri/sandboxes");
    NODES.iter().flat_map(|node| entries(&known(*node))).filter_map(|path| file_name(&path)).collect()
}

/// Files that kubelet and CNI put into shared directories, whatever they are told.
fn remove_traces(layout: &Layout, sandboxes: &[String]) -> Result<()> {
    for link in entries(Path::new("/var/log/containers")) {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(layout.dir())) {
            remove_file(&link)?;
        }
    }
    for result in entries(Path::new("/var/lib/cni/results")) {
        let name = file_name(&result).unwrap_or_default();
        if sandboxes.iter().any(|sandbox| name.contains(sandbox.as_str())) {
            remove_file(&result)?;
        }
    }
    // Refused means that no kubelet listens there: the socket was ours, or nobody's.
    let socket = Path::new("/var/lib/kubelet/device-plugins/kubelet.sock");
    if UnixStream::connect(socket).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
        remove_file(socket)?;
    }
    SHARED.iter().try_for_each(|dir| remove_if_empty(Path::new(dir)))
}

/// Directories that exist only because a kubelet or CNI plugin once ran; children first.
const SHARED: [&str; 5] = [
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/var/log/containers",
];

fn remove_if_empty(dir: &Path) -> Result<()> {
    match fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    // Absent means that there is nothing to look at.
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
