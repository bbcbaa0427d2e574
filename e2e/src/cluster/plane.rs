//! The control plane of the cluster, inside the network of the first node.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::layout::{API_PORT, FIRST, Layout, NODES, SERVICES};
use super::process::{self, Daemon};
use crate::control_plane::{AUDIT_POLICY, pki::Authority};
use crate::parts::{self, Part};
use crate::shell;

const ETCD: &str = "http://127.0.0.1:2379";

/// Starts etcd, kube-apiserver, kube-controller-manager and kube-scheduler, and waits until the API is ready.
pub(super) fn start(layout: &Layout, authority: &Authority) -> Result<()> {
    etcd(layout)?;
    api(layout, authority)?;
    controllers(layout, authority)?;
    scheduler(layout, authority)
}

/// The address of the API server inside the namespaces.
pub(super) fn internal_server() -> String {
    format!("https://{}:{API_PORT}", FIRST.address())
}

/// Certificate and kubeconfig for a component that talks to the API server from inside.
pub(super) fn identity(
    layout: &Layout,
    authority: &Authority,
    name: &str,
    user: &str,
    groups: &[&str],
) -> Result<String> {
    let pair = authority.client(name, user, groups)?;
    let path = layout.internal_kubeconfig(name);
    authority.kubeconfig(&path, &internal_server(), &pair)?;
    Ok(path.display().to_string())
}

fn etcd(layout: &Layout) -> Result<()> {
    let arguments = [
        format!("--data-dir={}", layout.dir().join("etcd").display()),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        // The cluster does not outlive a crash of its machine.
        "--unsafe-no-fsync".to_owned(),
    ];
    run(layout, "etcd", Part::Etcd, &arguments)
}

fn api(layout: &Layout, authority: &Authority) -> Result<()> {
    let address = FIRST.address().to_string();
    let hosts =
        ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1", "10.96.0.1", &address];
    let serving = authority.issue("apiserver", "kube-apiserver", &[], &hosts)?;
    let tokens = authority.token_key("sa")?;
    let to_kubelets =
        authority.client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", &["system:masters"])?;
    let policy = layout.dir().join("audit-policy.yaml");
    fs::write(&policy, AUDIT_POLICY).context("cannot write the audit policy")?;
    let ca = authority.certificate().display().to_string();
    let arguments = [
        format!("--etcd-servers={ETCD}"),
        format!("--service-cluster-ip-range={SERVICES}"),
        format!("--advertise-address={address}"),
        "--bind-address=0.0.0.0".to_owned(),
        format!("--secure-port={API_PORT}"),
        format!("--client-ca-file={ca}"),
        format!("--tls-cert-file={}", serving.certificate.display()),
        format!("--tls-private-key-file={}", serving.key.display()),
        format!("--service-account-key-file={}", tokens.certificate.display()),
        format!("--service-account-signing-key-file={}", tokens.key.display()),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--kubelet-client-certificate={}", to_kubelets.certificate.display()),
        format!("--kubelet-client-key={}", to_kubelets.key.display()),
        format!("--kubelet-certificate-authority={ca}"),
        // Nothing resolves the names of the nodes.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", layout.audit_log().display()),
    ];
    run(layout, "kube-apiserver", Part::KubeApiserver, &arguments)?;
    let admin = identity(layout, authority, "admin", "admin", &["system:masters"])?;
    let kubectl = parts::ensure(Part::Kubectl)?;
    let ready = shell::nsenter_net(&FIRST.netns(), kubectl).args(["--kubeconfig", &admin, "get", "--raw=/readyz"]);
    process::wait_for(layout, "kube-apiserver", Duration::from_mins(2), || ready.succeeds().unwrap_or(false))
}

fn controllers(layout: &Layout, authority: &Authority) -> Result<()> {
    let name = "kube-controller-manager";
    let kubeconfig = identity(layout, authority, name, "system:kube-controller-manager", &[])?;
    let ca = authority.certificate().display().to_string();
    let arguments = [
        format!("--kubeconfig={kubeconfig}"),
        format!("--service-account-private-key-file={}", layout.pki().join("sa.key").display()),
        format!("--root-ca-file={ca}"),
        format!("--cluster-signing-cert-file={ca}"),
        format!("--cluster-signing-key-file={}", authority.key().display()),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
    ];
    run(layout, name, Part::KubeControllerManager, &arguments)
}

fn scheduler(layout: &Layout, authority: &Authority) -> Result<()> {
    let name = "kube-scheduler";
    let kubeconfig = identity(layout, authority, name, "system:kube-scheduler", &[])?;
    run(layout, name, Part::KubeScheduler, &[format!("--kubeconfig={kubeconfig}"), "--leader-elect=false".to_owned()])
}

fn run(layout: &Layout, name: &str, part: Part, arguments: &[String]) -> Result<()> {
    let daemon = Daemon {
        name: name.to_owned(),
        netns: Some(FIRST.netns()),
        program: parts::ensure(part)?,
        arguments: arguments.to_vec(),
    };
    process::start(layout, &daemon)
}

/// Every daemon that a complete cluster has.
pub(super) fn daemons() -> Vec<String> {
    let mut names: Vec<String> = [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "netpol-enforcer",
        "forward",
        "outside",
    ]
    .map(str::to_owned)
    .into();
    for node in NODES {
        names.extend(["containerd", "kubelet", "kube-proxy"].map(|program| format!("{program}-{}", node.name())));
    }
    names
}
