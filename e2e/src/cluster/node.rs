//! A node: containerd, kubelet and kube-proxy in a network namespace, with directories and control groups of its own.

#![allow(clippy::disallowed_macros, reason = "configuration of other programs, for which there are no types here")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::layout::{DNS, Layout, Node, PODS};
use super::plane;
use super::process::{self, Daemon};
use crate::control_plane::pki::Authority;
use crate::images::{self, ImageKind};
use crate::netpol;
use crate::parts::{self, Part};
use crate::paths;
use crate::shell::{self, Command};

/// Where Debian puts CNI plugins.
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Starts the node; it becomes Ready by itself.
pub(super) fn start(layout: &Layout, authority: &Authority, node: Node) -> Result<()> {
    paths::create_dir(&layout.node(node))?;
    start_containerd(layout, node)?;
    start_kubelet(layout, authority, node)?;
    start_proxy(layout, authority, node)
}

/// `ctr` for the images and containers that the kubelet sees.
pub(super) fn ctr(layout: &Layout, node: Node) -> Command {
    shell::command("ctr").arg("--address").arg(layout.containerd_socket(node)).args(["--namespace", "k8s.io"])
}

fn start_containerd(layout: &Layout, node: Node) -> Result<()> {
    let dir = layout.node(node);
    let networks = dir.join("net.d");
    paths::create_dir(&networks)?;
    netpol::cni::install(Path::new(CNI_PLUGINS), &layout.cni_plugins(), &layout.program())?;
    write(&networks.join("10.conflist"), &serde_json::to_string_pretty(&network(layout, node))?)?;
    let config = dir.join("containerd.toml");
    write(&config, &containerd_config(layout, node, &images::ensure(&ImageKind::Pause)?.by_tag()))?;
    let name = format!("containerd-{}", node.name());
    let daemon = Daemon {
        name: name.clone(),
        netns: Some(node.netns()),
        program: "containerd".into(),
        arguments: vec!["--config".to_owned(), config.display().to_string()],
    };
    process::start(layout, &daemon)?;
    let answers = ctr(layout, node).arg("version");
    process::wait_for(layout, &name, Duration::from_secs(30), || answers.succeeds().unwrap_or(false))
}

/// `ptp` routes every packet of a pod through its node, where the policy enforcer sees it.
fn network(layout: &Layout, node: Node) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": node.netns(),
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": layout.node(node).join("ipam"),
                    "ranges": [[{"subnet": node.pod_cidr()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
            netpol::cni::conflist_entry(&layout.kubeconfig()),
        ],
    })
}

/// Everything that containerd would put in shared directories goes into ours, so that it can be removed.
fn containerd_config(layout: &Layout, node: Node, pause: &str) -> String {
    let dir = layout.node(node).display().to_string();
    let plugins = layout.cni_plugins().display().to_string();
    format!(
        r#"version = 2
root = "{dir}/containerd/root"
state = "{dir}/containerd/state"
[grpc]
address = "{dir}/containerd.sock"
[ttrpc]
address = "{dir}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
path = "{dir}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# A container in which this runs may not raise priorities.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{dir}/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{dir}/containerd/runc"
"#
    )
}

fn start_kubelet(layout: &Layout, authority: &Authority, node: Node) -> Result<()> {
    let dir = layout.node(node);
    let address = node.address().to_string();
    let user = format!("system:node:{}", node.name());
    let pair = authority.issue(&node.name(), &user, &["system:nodes"], &[&node.name(), &address])?;
    let kubeconfig = layout.internal_kubeconfig(&node.name());
    authority.kubeconfig(&kubeconfig, &plane::internal_server(), &pair)?;
    // Empty: cluster DNS is asked by pods, and nothing may be asked beyond it.
    write(&dir.join("resolv.conf"), "")?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "x509": {"clientCAFile": authority.certificate()},
            "webhook": {"enabled": true},
            "anonymous": {"enabled": false},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS],
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node.cgroup()),
        "podLogsDir": dir.join("logs"),
        "volumePluginDir": dir.join("volume-plugins"),
        "tlsCertFile": pair.certificate,
        "tlsPrivateKeyFile": pair.key,
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd_socket(node).display()),
        "resolvConf": dir.join("resolv.conf"),
        "failSwapOn": false,
        // Images that no pod uses cannot be fetched again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    });
    let file = dir.join("kubelet.yaml");
    write(&file, &serde_yaml_ng::to_string(&config)?)?;
    let arguments = [
        format!("--config={}", file.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--hostname-override={}", node.name()),
        format!("--node-ip={address}"),
        format!("--root-dir={}", dir.join("kubelet").display()),
        format!("--cert-dir={}", dir.join("kubelet/pki").display()),
    ];
    run(layout, node, Part::Kubelet, ("kubelet", &arguments))
}

fn start_proxy(layout: &Layout, authority: &Authority, node: Node) -> Result<()> {
    let name = format!("kube-proxy-{}", node.name());
    let kubeconfig = plane::identity(layout, authority, &name, "system:kube-proxy", &[])?;
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "mode": "iptables",
        // A changed Service should be seen at once, not after a second.
        "iptables": {"minSyncPeriod": "200ms"},
        "clusterCIDR": PODS,
        "hostnameOverride": node.name(),
        // The limit belongs to the host, not to a namespace.
        "conntrack": {"maxPerCore": 0},
    });
    let file = layout.node(node).join("kube-proxy.yaml");
    write(&file, &serde_yaml_ng::to_string(&config)?)?;
    run(layout, node, Part::KubeProxy, ("kube-proxy", &[format!("--config={}", file.display())]))
}

fn run(layout: &Layout, node: Node, part: Part, (kind, arguments): (&str, &[String])) -> Result<()> {
    let daemon = Daemon {
        name: format!("{kind}-{}", node.name()),
        netns: Some(node.netns()),
        program: parts::ensure(part)?,
        arguments: arguments.to_vec(),
    };
    process::start(layout, &daemon)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
