//! Tries TCP connections from where a pod stands: inside of its network namespace, with its address and its routes, so that
//! whatever judges the pod's packets judges these.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::{Layout, NODES};
use crate::shell::{Command, command, this_program};

/// What is dropped is never answered; what is allowed is answered by a machine that has other work too.
const PATIENCE: Duration = Duration::from_secs(3);

/// Prints the addresses among these that take a connection, one on a line.
pub fn run(targets: &[SocketAddrV4]) {
    let tries = targets.iter().map(|target| {
        (
            *target,
            thread::spawn({
                let target = SocketAddr::V4(*target);
                move || TcpStream::connect_timeout(&target, PATIENCE).is_ok()
            }),
        )
    });
    for (target, open) in tries.collect::<Vec<_>>() {
        if open.join().unwrap_or_default() {
            println!("{target}");
        }
    }
}

/// Network namespaces of the pods of the local cluster, by the pods' addresses.
pub fn pods(layout: &Layout) -> Result<BTreeMap<Ipv4Addr, PathBuf>> {
    let mut found = BTreeMap::new();
    for path in namespaces(layout)? {
        let said = within(&path, "ip").args(["-4", "-o", "addr", "show", "scope", "global"]).output();
        // A pod that ends meanwhile takes its namespace along.
        let Ok(said) = said else { continue };
        let words = said.split_whitespace().skip_while(|word| *word != "inet").nth(1);
        let address = words.and_then(|word| word.split('/').next()).and_then(|address| address.parse().ok());
        found.extend(address.map(|address| (address, path)));
    }
    Ok(found)
}

fn namespaces(layout: &Layout) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for directory in NODES.map(|node| layout.pod_networks(node)) {
        let entries = fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
        found.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    Ok(found)
}

/// Those of the targets that open from inside of a network namespace.
pub fn open_from(namespace: &Path, targets: &BTreeSet<SocketAddrV4>) -> Result<BTreeSet<SocketAddrV4>> {
    let said = within(namespace, this_program()).arg("knock").args(targets.iter().map(ToString::to_string)).output()?;
    said.lines().map(|line| line.parse().with_context(|| format!("{line:?} is no address"))).collect()
}

fn within(namespace: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
    command("nsenter").arg(format!("--net={}", namespace.display())).arg("--").arg(program)
}
