//! A real Kubernetes with two nodes on one Linux machine: routed pods, enforced network policies, DNS, storage, a
//! gateway, an audit log.
//!
//! Guarantees that [`up`] and [`down`] may be repeated and interrupted at any moment; the next one cleans up what was
//! left. The cluster lives in network namespaces without a way out, and is reached through two loopback ports of the
//! host. Must never touch a cluster, namespace or process that it did not make.

mod addons;
mod cgroup;
mod layout;
mod load;
mod network;
mod node;
mod plane;
mod process;
mod teardown;

use std::env;
use std::fmt::Write;
use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;

use crate::control_plane::pki::Authority;
use crate::forward::Forward;
use crate::netpol::NodeNet;
use crate::parts::{self, Part};
use crate::shell::{self, Command};
use crate::{packages, paths, progress};
pub use layout::{FIRST, Layout, NODES, Node, OUTSIDE};
use process::Daemon;

/// Bytes that a cluster with a few hospitals takes.
const ROOM: u64 = 6 << 30;
const PACKAGES: [&str; 8] = [
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "nftables",
    "iproute2",
    "conntrack",
    "util-linux",
];

/// Loopback ports of the host that lead into the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub api: u16,
    pub gateway: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { api: 16443, gateway: 8080 }
    }
}

/// Brings the cluster up, or leaves it alone if it is complete, and returns the kubeconfig for it.
pub fn up(ports: Ports) -> Result<PathBuf> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a cluster needs network namespaces and control groups: run this as root (sudo -E)");
    }
    packages::ensure(&PACKAGES)?;
    let layout = Layout::ours()?;
    let _lock = lock(&layout)?;
    there_is_room(layout.dir())?;
    if is_complete(&layout, ports) && revive(&layout) {
        progress::say(format!("the cluster is up; kubeconfig: {}", layout.kubeconfig().display()));
        return Ok(layout.kubeconfig());
    }
    parts::ensure_all(&Part::CLUSTER)?;
    if teardown::is_needed(&layout) {
        progress::step("removing an incomplete cluster").run(|_| teardown::run(&layout))?;
    }
    create(&layout, ports)?;
    fs::write(layout.complete(), signature(ports)).context("cannot mark the cluster as complete")?;
    progress::say(format!("the cluster is up; kubeconfig: {}", layout.kubeconfig().display()));
    Ok(layout.kubeconfig())
}

/// Nodes evict pods when the disk is almost full, which looks like any other failure from outside.
fn there_is_room(dir: &Path) -> Result<()> {
    let existing = dir.ancestors().find(|dir| dir.exists()).context("no directory for the cluster")?;
    let disk = statvfs(existing).with_context(|| format!("cannot see the disk of {}", existing.display()))?;
    let (free, all) = (disk.blocks_available() * disk.fragment_size(), disk.blocks() * disk.fragment_size());
    // The nodes' own limit, and what images, volumes and logs may take until then.
    let needed = all / 100 + ROOM;
    if free < needed {
        let gib = |bytes: u64| bytes.div_ceil(1 << 30);
        bail!("{} has {} GiB free and the cluster needs {}: make room", existing.display(), gib(free), gib(needed));
    }
    Ok(())
}

/// Removes the cluster and everything it left behind.
pub fn down() -> Result<()> {
    let layout = Layout::ours()?;
    // The lock itself stays: who waits for it would otherwise hold a file that nobody else can see.
    let _lock = lock(&layout)?;
    if teardown::is_needed(&layout) {
        progress::step("removing the cluster").run(|_| teardown::run(&layout))?;
    } else {
        progress::say("there is no cluster");
    }
    Ok(())
}

/// One line per daemon, and whether the API server answers.
pub fn status() -> Result<String> {
    let layout = Layout::ours()?;
    if !layout.dir().exists() {
        return Ok("there is no cluster; make one with: cargo e2e up\n".to_owned());
    }
    let mut text = String::new();
    for name in plane::daemons() {
        let state = if process::is_running(&layout, &name) { "running" } else { "not running" };
        writeln!(text, "{name:<26}{state}")?;
    }
    let complete = if layout.complete().exists() { "complete" } else { "incomplete: run `cargo e2e up` again" };
    let ready = if answers(&layout) { "ready" } else { "not ready" };
    writeln!(text, "cluster is {complete}; API is {ready}; kubeconfig: {}", layout.kubeconfig().display())?;
    Ok(text)
}

/// Imports an image archive into both nodes. Afterwards pods may name it by tag, or as `name@sha256:…`.
pub fn load_image(tar: &Path) -> Result<()> {
    let layout = existing()?;
    progress::step(format!("loading {}", tar.display())).run(|_| load::into_all_nodes(&layout, tar))
}

/// Ends a daemon of our cluster as a crash would: `kubelet-node2`, `kube-apiserver` and so on, see [`status`]. Pods go on.
pub fn crash(daemon: &str) -> Result<()> {
    process::crash(&existing()?, daemon)
}

/// Starts a daemon of our cluster that has ended.
pub fn restart(daemon: &str) -> Result<()> {
    process::revive(&existing()?, daemon)
}

/// The kubeconfig to use: the selected one, else that of our running cluster.
pub fn kubeconfig(selected: Option<&Path>) -> Result<PathBuf> {
    match selected {
        Some(path) if path.is_file() => Ok(path.to_path_buf()),
        Some(path) => bail!("there is no kubeconfig {}", path.display()),
        None => Ok(existing()?.kubeconfig()),
    }
}

/// kubectl for that cluster.
pub fn kubectl(selected: Option<&Path>) -> Result<Command> {
    let kubeconfig = kubeconfig(selected)?;
    let cache = paths::cache_dir()?.join("kubectl");
    Ok(shell::command(parts::ensure(Part::Kubectl)?).env("KUBECONFIG", kubeconfig).env("KUBECACHEDIR", cache))
}

fn existing() -> Result<Layout> {
    let layout = Layout::ours()?;
    if !layout.complete().exists() {
        bail!("there is no cluster; make one with: cargo e2e up");
    }
    Ok(layout)
}

/// The lock is released when the file is closed, also by a kill.
fn lock(layout: &Layout) -> Result<File> {
    let path = layout.lock();
    if let Some(parent) = path.parent() {
        paths::create_dir(parent)?;
    }
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        progress::step("waiting for another `e2e` to finish").run(|_| Ok(file.lock()?))?;
    }
    Ok(file)
}

fn is_complete(layout: &Layout, ports: Ports) -> bool {
    fs::read_to_string(layout.complete()).is_ok_and(|found| found == signature(ports)) && network::exists()
}

/// Starts again what has ended, and tells whether the cluster works then. Where nothing runs any more, as after a restart of
/// the machine, the pods and their mounts have gone too: such a cluster does not come back.
fn revive(layout: &Layout) -> bool {
    let (running, dead): (Vec<_>, Vec<_>) =
        plane::daemons().into_iter().partition(|name| process::is_running(layout, name));
    if running.is_empty() {
        return false;
    }
    let revived = dead.into_iter().map(|name| {
        progress::say(format!("{name} has ended; starting it again"));
        process::revive(layout, &name)
    });
    // A busy machine may need a moment.
    revived.collect::<Result<()>>().is_ok()
        && process::wait_for(layout, "kube-apiserver", Duration::from_secs(30), || answers(layout)).is_ok()
}

/// A cluster made by another version of the harness, or on other ports, is made anew.
fn signature(ports: Ports) -> String {
    format!("{} api {} gateway {}\n", env!("CARGO_PKG_VERSION"), ports.api, ports.gateway)
}

fn answers(layout: &Layout) -> bool {
    addons::kubectl(layout)
        .and_then(|kubectl| kubectl.args(["--request-timeout=10s", "get", "--raw=/readyz"]).succeeds())
        .unwrap_or(false)
}

fn create(layout: &Layout, ports: Ports) -> Result<()> {
    for dir in ["log", "run", "bin"] {
        paths::create_dir(&layout.dir().join(dir))?;
    }
    copy_program(layout)?;
    let authority = Authority::open(&layout.pki())?;
    progress::step("starting the control plane").run(|_| {
        cgroup::create()?;
        network::create()?;
        start_outside(layout)?;
        plane::start(layout, &authority)?;
        start_forward(layout, &authority, ports)
    })?;
    progress::step("starting two nodes").run(|_| {
        start_enforcer(layout, &authority)?;
        NODES.iter().try_for_each(|node| node::start(layout, &authority, *node))?;
        load::into_all_nodes(layout, &crate::images::ensure(&crate::images::ImageKind::Pause)?.tar)?;
        await_nodes(layout)
    })?;
    addons::install(layout)
}

fn await_nodes(layout: &Layout) -> Result<()> {
    let kubectl = addons::kubectl(layout)?;
    for node in NODES {
        let kubelet = format!("kubelet-{}", node.name());
        let found = kubectl.clone().args(["get", "node", &node.name()]);
        process::wait_for(layout, &kubelet, Duration::from_mins(1), || found.succeeds().unwrap_or(false))?;
        let name = format!("node/{}", node.name());
        kubectl.clone().args(["wait", "--for=condition=Ready", "--timeout=60s", &name]).output()?;
    }
    Ok(())
}

fn start_forward(layout: &Layout, authority: &Authority, ports: Ports) -> Result<()> {
    let server = format!("https://127.0.0.1:{}", ports.api);
    authority.kubeconfig(&layout.kubeconfig(), &server, &authority.client("user", "admin", &["system:masters"])?)?;
    plane::identity(layout, authority, "forward", "his-forward", &["system:masters"])?;
    let arguments = ["forward", "--api-port", &ports.api.to_string(), "--gateway-port", &ports.gateway.to_string()];
    let daemon = Daemon {
        name: "forward".to_owned(),
        // It enters the namespace by itself, after it has opened its ports on the host.
        netns: None,
        program: layout.program(),
        arguments: arguments.map(str::to_owned).to_vec(),
    };
    process::start(layout, &daemon)?;
    process::wait_for(layout, "forward", Duration::from_secs(20), || answers(layout))
}

fn start_outside(layout: &Layout) -> Result<()> {
    let daemon = Daemon {
        name: "outside".to_owned(),
        // It enters the namespace by itself.
        netns: None,
        program: layout.program(),
        arguments: vec!["outside".to_owned()],
    };
    process::start(layout, &daemon)
}

/// What the `forward` daemon does.
pub fn forward(ports: Ports) -> Result<Forward> {
    let layout = Layout::ours()?;
    Ok(Forward {
        netns: FIRST.netns(),
        api_port: ports.api,
        api: SocketAddrV4::new(FIRST.address(), layout::API_PORT),
        gateway_port: ports.gateway,
        gateway: addons::GATEWAY_SERVICE.to_owned(),
        kubeconfig: layout.internal_kubeconfig("forward"),
    })
}

fn start_enforcer(layout: &Layout, authority: &Authority) -> Result<()> {
    plane::identity(layout, authority, "netpol", "his-netpol", &["system:masters"])?;
    let daemon = Daemon {
        name: "netpol-enforcer".to_owned(),
        netns: Some(FIRST.netns()),
        program: layout.program(),
        arguments: vec!["netpol-enforcer".to_owned()],
    };
    process::start(layout, &daemon)
}

/// What the `netpol-enforcer` daemon works on. Its files lie beside this kubeconfig, as beside that of users.
pub fn enforced() -> Result<(PathBuf, Vec<NodeNet>)> {
    let layout = Layout::ours()?;
    let nodes = NODES.map(|node| NodeNet { name: node.name(), netns: node.netns(), announced: true });
    Ok((layout.internal_kubeconfig("netpol"), nodes.to_vec()))
}

/// The cluster's daemons are this program with other arguments; tests find it beside themselves.
fn copy_program(layout: &Layout) -> Result<()> {
    let current = env::current_exe().context("cannot find the running program")?;
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name == "e2e") && path.is_file();
    let beside = current.ancestors().skip(1).take(2).map(|dir| dir.join("e2e"));
    let program = std::iter::once(current.clone()).chain(beside).find(is_it);
    let program = program.context("the program `e2e` is not built: run cargo build --package his-operator-e2e")?;
    fs::copy(&program, layout.program()).with_context(|| format!("cannot copy {}", program.display()))?;
    Ok(())
}
