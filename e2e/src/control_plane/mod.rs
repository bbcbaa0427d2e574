//! A real kube-apiserver with etcd on loopback, for tests: ready in about three seconds, private to one process.
//!
//! Guarantees RBAC, an audit log, and that nothing of it survives the process that started it, whatever kills that
//! process. Has no nodes: pods are accepted and never run. Must never listen on anything but loopback.

mod audit;
pub mod pki;
mod programs;
mod supervisor;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

pub use audit::{AuditEvent, Tail, read as requests_in};
use pki::Authority;
pub(crate) use programs::AUDIT_POLICY;
use programs::Programs;
pub(crate) use programs::free_port;
use supervisor::Supervisor;

use crate::parts::{self, Part};

/// How often a start is tried: another process may take the chosen port in between.
const ATTEMPTS: usize = 3;

/// A running control plane. Dropping it stops it and removes its files.
pub struct ControlPlane {
    supervisor: Supervisor,
    authority: Authority,
    dir: PathBuf,
    server: String,
    client: Client,
}

/// What the control plane should have besides etcd and kube-apiserver.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builder {
    controller_manager: bool,
    durable: bool,
}

impl Builder {
    /// Also runs kube-controller-manager: namespaces finish deleting, Deployments get pods, garbage is collected,
    /// service accounts exist.
    #[must_use]
    pub fn controller_manager(mut self, run: bool) -> Self {
        self.controller_manager = run;
        self
    }

    /// Writes to disk as a production etcd does. For benchmarks; several times slower.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Starts the control plane and waits until it serves.
    pub async fn start(self) -> Result<ControlPlane> {
        let programs = tokio::task::spawn_blocking(move || Programs::ensure(self.controller_manager))
            .await
            .context("building the control plane was interrupted")??;
        let mut failure = anyhow!("the control plane was never tried");
        for _ in 0..ATTEMPTS {
            match self.attempt(&programs).await {
                Ok(control_plane) => return Ok(control_plane),
                Err(error) => failure = error,
            }
        }
        Err(failure.context(format!("the control plane did not start in {ATTEMPTS} attempts")))
    }

    async fn attempt(self, programs: &Programs) -> Result<ControlPlane> {
        let dir =
            tempfile::Builder::new().prefix("his-control-plane-").tempdir().context("no scratch directory")?.keep();
        // From here on the supervisor owns the directory.
        let mut supervisor = Supervisor::start(&dir)?;
        let authority = Authority::open(&dir.join("pki"))?;
        let port = programs::free_port()?;
        let server = format!("https://127.0.0.1:{port}");
        let kubeconfig = dir.join("admin.kubeconfig");
        authority.kubeconfig(&kubeconfig, &server, &authority.client("admin", "admin", &["system:masters"])?)?;
        programs.start_storage(&mut supervisor, self.durable)?;
        programs.start_api(&mut supervisor, &authority, &dir, port)?;
        let client = client_from(&kubeconfig).await?;
        programs::await_api(&supervisor, &client).await?;
        if self.controller_manager {
            programs.start_controllers(&mut supervisor, &authority, &kubeconfig)?;
            programs::await_controllers(&supervisor, &client).await?;
        }
        Ok(ControlPlane { supervisor, authority, dir, server, client })
    }
}

impl ControlPlane {
    /// etcd and kube-apiserver only.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The kubeconfig of `admin`, a member of `system:masters`.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// A client of `admin`, a member of `system:masters`.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A kubeconfig for some user, who may do what RBAC grants to them or their groups. A service account is the user
    /// `system:serviceaccount:<namespace>:<name>`.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let file: String = user.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect();
        let path = self.dir.join(format!("user-{file}.kubeconfig"));
        let pair = self.authority.client(&format!("user-{file}"), user, groups)?;
        self.authority.kubeconfig(&path, &self.server, &pair)?;
        Ok(path)
    }

    /// A client of some user; see [`ControlPlane::kubeconfig_for`].
    pub async fn client_for(&self, user: &str, groups: &[&str]) -> Result<Client> {
        client_from(&self.kubeconfig_for(user, groups)?).await
    }

    /// The API server's own audit log, one JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// Every request answered so far. An answer may arrive a moment before its line is written.
    pub fn requests(&self) -> Result<Vec<AuditEvent>> {
        audit::read(&self.audit_log())
    }

    /// Every request of one user answered so far.
    pub fn requests_by(&self, user: &str) -> Result<Vec<AuditEvent>> {
        Ok(self.requests()?.into_iter().filter(|event| event.user == user).collect())
    }

    /// The log of a program: `etcd`, `kube-apiserver` or `kube-controller-manager`.
    pub fn log_of(&self, program: &str) -> String {
        fs::read_to_string(self.supervisor.log(program)).unwrap_or_default()
    }

    /// kubectl of the same version, made if absent; run it with `KUBECONFIG` set to [`ControlPlane::kubeconfig_path`].
    pub fn kubectl() -> Result<PathBuf> {
        parts::ensure(Part::Kubectl)
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ControlPlane")
            .field("server", &self.server)
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// A client for a kubeconfig file.
pub async fn client_from(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("{} is not usable", kubeconfig.display()))?;
    // A server that is still starting should be asked again soon, not waited for.
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).context("cannot make a client")
}
