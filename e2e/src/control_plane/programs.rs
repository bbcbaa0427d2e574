//! How the programs of a control plane are started, and when they count as started.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, Client};

use super::pki::Authority;
use super::supervisor::Supervisor;
use crate::parts::{self, Part};

/// Relative to the directory that the programs run in: a socket needs no free port and no second process can take it.
const ETCD: &str = "unix://localhost:2379";

const DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);

/// Everything counts, except the first of two lines that each request would otherwise write.
pub(crate) const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
 "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}
"#;

/// Where the programs of a control plane lie.
pub(super) struct Programs {
    etcd: PathBuf,
    api: PathBuf,
    controllers: Option<PathBuf>,
}

impl Programs {
    pub fn ensure(controllers: bool) -> Result<Self> {
        Ok(Self {
            etcd: parts::ensure(Part::Etcd)?,
            api: parts::ensure(Part::KubeApiserver)?,
            controllers: controllers.then(|| parts::ensure(Part::KubeControllerManager)).transpose()?,
        })
    }

    pub fn start_storage(&self, supervisor: &mut Supervisor, durable: bool) -> Result<()> {
        let mut arguments = vec![
            "--data-dir=etcd".to_owned(),
            format!("--listen-client-urls={ETCD}"),
            format!("--advertise-client-urls={ETCD}"),
            // A single member talks to no peer; the advertised address is only its name.
            "--listen-peer-urls=unix://localhost:2380".to_owned(),
            "--initial-advertise-peer-urls=http://127.0.0.1:1".to_owned(),
            "--initial-cluster=default=http://127.0.0.1:1".to_owned(),
        ];
        if !durable {
            arguments.push("--unsafe-no-fsync".to_owned());
        }
        supervisor.run("etcd", &self.etcd, &arguments)
    }

    pub fn start_api(&self, supervisor: &mut Supervisor, authority: &Authority, dir: &Path, port: u16) -> Result<()> {
        let hosts =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1", "10.96.0.1"];
        let serving = authority.issue("apiserver", "kube-apiserver", &[], &hosts)?;
        let tokens = authority.token_key("sa")?;
        let policy = dir.join("audit-policy.yaml");
        fs::write(&policy, AUDIT_POLICY).context("cannot write the audit policy")?;
        supervisor.run(
            "kube-apiserver",
            &self.api,
            &[
                format!("--etcd-servers={ETCD}"),
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                // There are no nodes: the kubernetes Service needs no endpoint, and loopback is not allowed as one.
                "--endpoint-reconciler-type=none".to_owned(),
                format!("--secure-port={port}"),
                "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
                format!("--client-ca-file={}", authority.certificate().display()),
                format!("--tls-cert-file={}", serving.certificate.display()),
                format!("--tls-private-key-file={}", serving.key.display()),
                format!("--service-account-key-file={}", tokens.certificate.display()),
                format!("--service-account-signing-key-file={}", tokens.key.display()),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                "--allow-privileged=true".to_owned(),
                format!("--audit-policy-file={}", policy.display()),
                format!("--audit-log-path={}", dir.join("audit.log").display()),
                // One file, however long: what counts requests reads it from its begin.
                "--audit-log-maxsize=100000".to_owned(),
            ],
        )
    }

    pub fn start_controllers(
        &self,
        supervisor: &mut Supervisor,
        authority: &Authority,
        kubeconfig: &Path,
    ) -> Result<()> {
        let Some(program) = &self.controllers else { bail!("kube-controller-manager was not asked for") };
        supervisor.run(
            "kube-controller-manager",
            program,
            &[
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--service-account-private-key-file={}", authority.key().with_file_name("sa.key").display()),
                format!("--root-ca-file={}", authority.certificate().display()),
                format!("--cluster-signing-cert-file={}", authority.certificate().display()),
                format!("--cluster-signing-key-file={}", authority.key().display()),
                "--use-service-account-credentials=true".to_owned(),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
            ],
        )
    }
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
    Ok(listener.local_addr().context("no free port on loopback")?.port())
}

/// Waits until the API server is ready and its built-in roles and namespaces exist.
pub(super) async fn await_api(supervisor: &Supervisor, client: &Client) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        supervisor.check("etcd")?;
        supervisor.check("kube-apiserver")?;
        if ready(client).await {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("kube-apiserver is not ready after {DEADLINE:?}");
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn ready(client: &Client) -> bool {
    // Ready includes the built-in roles; the namespaces follow a moment later.
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    client.request_text(request).await.is_ok_and(|answer| answer == "ok")
        && Api::<Namespace>::all(client.clone()).get("default").await.is_ok()
}

/// Waits until controllers have written something: the default service account is among the first.
pub(super) async fn await_controllers(supervisor: &Supervisor, client: &Client) -> Result<()> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), "default");
    let deadline = Instant::now() + DEADLINE;
    while accounts.get("default").await.is_err() {
        supervisor.check("kube-controller-manager")?;
        if Instant::now() > deadline {
            bail!("kube-controller-manager has done nothing after {DEADLINE:?}");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
