//! A fresh control plane for one contestant, with what that one needs.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "plays the part of the people who use a cluster"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::children::{self, Children, hospital_dir};
use super::contestant::{CONCURRENCY, Contestant, Program};
use super::trail::{Trail, now, seconds};
use super::{clocked, clocked::Clocked, kro, kubelets};
use crate::control_plane::{ControlPlane, free_port};
use crate::parts::{self, Part};
use crate::{paths, shell};

/// See the module.
#[derive(Debug)]
pub(super) struct Arena {
    plane: ControlPlane,
    dir: tempfile::TempDir,
    program: Program,
    kubeconfig: PathBuf,
    hospitals: ApiResource,
    children: Children,
    pub trail: Trail,
    /// Those who make pods run and routes accepted; they end with the arena.
    kubelets: tokio::task::JoinSet<()>,
}

impl Arena {
    pub(super) async fn open(program: &Program, children: &Children) -> Result<Self> {
        let contestant = program.contestant;
        // As in production: every write waits for the disk.
        let plane = ControlPlane::builder().durable(true).start().await?;
        let dir = tempfile::tempdir().context("no scratch directory")?;
        fs::write(dir.path().join("children.json"), children.template()).context("cannot write the children")?;
        let kubeconfig = plane.kubeconfig_for(contestant.user(), contestant.groups())?;
        let trail = Trail::of(&plane.audit_log(), contestant.user());
        let hospitals = children::resource(&contestant.hospital(&children.hospital, "any"))?;
        let mut arena = Self {
            plane,
            dir,
            program: program.clone(),
            kubeconfig,
            hospitals,
            children: children.clone(),
            trail,
            kubelets: tokio::task::JoinSet::new(),
        };
        arena.prepare(children).await?;
        arena.kubelets = kubelets::play(&arena.plane.client())?;
        Ok(arena)
    }

    /// Installs what the contestant needs, as its documentation says.
    async fn prepare(&self, children: &Children) -> Result<()> {
        let root = paths::repo_root()?;
        let gateway = parts::module_dir(Part::EnvoyGateway, "sigs.k8s.io/gateway-api")?;
        self.apply(&gateway.join("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml")).await?;
        match self.program.contestant {
            Contestant::HisOperator => {
                self.apply(&root.join("crds")).await?;
                self.established().await?;
                self.apply(&root.join("manifests/install.yaml")).await?;
                self.apply(&hospital_dir()?.join("definitions.yaml")).await
            }
            Contestant::Raw | Contestant::Helm => self.rights().await,
            Contestant::ControllerRuntime => {
                self.rights().await?;
                self.apply(&root.join("e2e/bench/peers/hospitals.yaml")).await?;
                self.established().await
            }
            Contestant::Kro => {
                self.rights().await?;
                self.apply(&parts::module_dir(Part::Kro, kro::MODULE)?.join("helm/crds")).await?;
                self.established().await?;
                kro::write_graph(children, &self.scratch("graph.json"))
            }
        }
    }

    /// `kubectl apply` by an administrator.
    pub(super) async fn apply(&self, path: &Path) -> Result<()> {
        self.kubectl(&["apply", "--server-side", "--filename", &path.display().to_string()]).await.map(drop)
    }

    /// Lets the operator's peers do everything, and waits until the API server knows.
    async fn rights(&self) -> Result<()> {
        self.apply(&paths::repo_root()?.join("e2e/bench/peers/rights.yaml")).await?;
        let user = self.plane.client_for(self.trail.user(), self.program.contestant.groups()).await?;
        let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(user);
        let started = Instant::now();
        while let Err(error) = namespaces.list(&ListParams::default().limit(1)).await {
            if started.elapsed() > Duration::from_secs(20) {
                return Err(error).context("rights did not arrive");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn established(&self) -> Result<()> {
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await.map(drop)
    }

    pub(super) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let kubectl = shell::command(ControlPlane::kubectl()?).args(arguments).env("HOME", self.dir.path());
        let kubectl = kubectl.env("KUBECONFIG", self.plane.kubeconfig_path());
        tokio::task::spawn_blocking(move || kubectl.output()).await?
    }

    pub(super) fn scratch(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// Starts some program as the contestant's user.
    pub(super) fn start(&self, arguments: &[String]) -> Result<Clocked> {
        let command = clocked::command(&self.program.path).args(arguments);
        let command = command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.dir.path());
        let command = command.envs(self.program.contestant.environment()?);
        Clocked::start(&command, &self.scratch("contestant.log"))
    }

    /// Starts a contestant that keeps running, and waits until it has nothing to do. Returns milliseconds from its start
    /// to the first thing that it asked to list or watch.
    pub(super) async fn enter(&mut self) -> Result<(Clocked, f64)> {
        let mark = self.trail.read()?;
        let started = now();
        let mut process = self.start(&self.arguments()?)?;
        let user = self.trail.user().to_owned();
        let lists = |event: &crate::control_plane::AuditEvent| {
            event.user == user && matches!(event.verb.as_str(), "list" | "watch") && event.resource != "leases"
        };
        let Some(first) = self.trail.wait(mark, Duration::from_secs(60), lists).await? else {
            process.usage()?;
            bail!("it asked for nothing within a minute");
        };
        if self.program.contestant == Contestant::Kro {
            self.apply(&self.scratch("graph.json")).await?;
            let ready = ["wait", "--for=condition=Ready", "resourcegraphdefinition", "--all", "--timeout=60s"];
            if let Err(error) = self.kubectl(&ready).await {
                let said =
                    self.kubectl(&["get", "resourcegraphdefinition", "--output=jsonpath={.items[*].status}"]).await;
                return Err(error.context(said.unwrap_or_default()));
            }
        }
        let watches = |event: &crate::control_plane::AuditEvent| {
            event.user == user && event.verb == "watch" && event.resource == self.hospitals.plural
        };
        if self.trail.wait(mark, Duration::from_secs(60), watches).await?.is_none() {
            bail!("it did not watch hospitals within a minute");
        }
        self.quiet(mark, Duration::from_secs(2), Duration::from_secs(60)).await?;
        Ok((process, 1000.0 * seconds(started, super::trail::time(&first.received)?)))
    }

    /// Starts the same contestant again, and waits for nothing.
    pub(super) fn again(&self) -> Result<Clocked> {
        self.start(&self.arguments()?)
    }

    fn arguments(&self) -> Result<Vec<String>> {
        Ok(match self.program.contestant {
            Contestant::HisOperator => vec![
                "run".to_owned(),
                format!("--listen=127.0.0.1:{}", free_port()?),
                format!("--admin-port={}", free_port()?),
                format!("--concurrency={CONCURRENCY}"),
            ],
            Contestant::ControllerRuntime => vec![
                format!("--children={}", self.scratch("children.json").display()),
                format!("--concurrency={CONCURRENCY}"),
            ],
            Contestant::Kro => kro::arguments(free_port()?),
            Contestant::Raw | Contestant::Helm => bail!("{} does not keep running", self.program.contestant),
        })
    }

    /// Waits until the contestant has asked for nothing for a while; gives up at the deadline and says so.
    pub(super) async fn quiet(&mut self, mark: usize, silence: Duration, patience: Duration) -> Result<bool> {
        let started = Instant::now();
        loop {
            self.trail.read()?;
            let since = self.trail.last_work(mark).map_or(f64::MAX, |last| seconds(last, now()));
            if since >= silence.as_secs_f64() && started.elapsed() >= silence {
                return Ok(true);
            }
            if started.elapsed() > patience {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        let client: Client = self.plane.client();
        match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        }
    }

    /// Makes all hospitals at once.
    pub(super) async fn create(&self, names: &[String]) -> Result<()> {
        let api = self.api(&self.hospitals, None);
        let hospital = |name: &String| self.program.contestant.hospital(&self.children.hospital, name);
        let bodies: Vec<_> = names.iter().map(hospital).collect();
        stream::iter(bodies)
            .map(|body| async {
                let object: DynamicObject = serde_json::from_value(body).context("a hospital is no object")?;
                api.create(&PostParams::default(), &object).await.context("a hospital cannot be created")
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|_| std::future::ready(Ok(())))
            .await
    }

    /// Gives a hospital another host.
    pub(super) async fn edit(&self, tenant: &str, host: &str) -> Result<()> {
        let patch = json!({ "spec": { "host": host } });
        self.patch(&self.api(&self.hospitals, None), tenant, patch).await
    }

    /// Changes a hospital's route behind everybody's back.
    pub(super) async fn drift(&self, tenant: &str) -> Result<()> {
        let route = children::resource(&json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute" }))?;
        let patch = json!({ "spec": { "hostnames": ["drift.example.org"] } });
        self.patch(&self.api(&route, Some(&namespace(tenant))), "hospital", patch).await
    }

    async fn patch(&self, api: &Api<DynamicObject>, name: &str, patch: Value) -> Result<()> {
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.with_context(|| format!("{name} cannot be changed")).map(|_| ())
    }

    /// Objects of one hospital.
    pub(super) fn children(&self) -> usize {
        self.children.count()
    }

    /// Plural name of the contestant's own resource.
    pub(super) fn hospitals(&self) -> &str {
        &self.hospitals.plural
    }
}

/// Namespace of a hospital.
pub(super) fn namespace(tenant: &str) -> String {
    format!("his-{tenant}")
}
