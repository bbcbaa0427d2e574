//! What must hold on real nodes with real traffic, one file per subject. Each scenario leaves the hospital as it found it.

mod data;
mod existing;
mod external;
mod isolated;
mod killed;
mod network;
mod quiet;
mod release;
mod repair;
mod served;
pub mod teststand;
mod upgrade;

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    cluster::Layout,
    control_plane::{AuditEvent, requests_in},
    demo::{self, Site, Stage, access::Access, hospital::Hospital},
    progress,
    verify::Count,
};

/// The operator, as the API server calls it.
const OPERATOR: &str = "system:serviceaccount:his-operator-system:his-operator";

/// Kinds that a hospital consists of where nobody runs database operators of others.
const CHILDREN: [&str; 15] = [
    "configmaps",
    "deployments",
    "horizontalpodautoscalers",
    "httproutes",
    "jobs",
    "limitranges",
    "networkpolicies",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "resourcequotas",
    "rolebindings",
    "secrets",
    "serviceaccounts",
    "services",
    "statefulsets",
];

/// These kinds but for some, as kubectl takes them.
fn children(without: &[&str]) -> String {
    let wanted = CHILDREN.into_iter().filter(|kind| !without.contains(kind));
    wanted.collect::<Vec<_>>().join(",")
}

/// Where scenarios play.
pub struct Theatre {
    /// The cluster with the operator.
    pub stage: Stage,
    /// The hospital.
    pub hospital: Hospital,
    /// A user's way in.
    pub access: Access,
    /// Everything, instead of a sample.
    full: bool,
}

impl std::fmt::Debug for Theatre {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Theatre").field("hospital", &self.hospital).finish_non_exhaustive()
    }
}

type Play<'a> = Pin<Box<dyn Future<Output = Result<String>> + Send + 'a>>;

/// One scenario; what it returns is the evidence.
struct Scenario {
    name: &'static str,
    /// It needs more than an API server: logs or programs of the local cluster.
    local: bool,
    play: for<'a> fn(&'a Theatre) -> Play<'a>,
}

/// In this order: later ones disturb more.
const ALL: &[Scenario] = &[
    Scenario { name: "a hospital is served through the gateway", local: false, play: |t| Box::pin(served::login(t)) },
    Scenario { name: "an unchanged hospital costs no request", local: true, play: |t| Box::pin(quiet::unchanged(t)) },
    Scenario { name: "only declared flows pass", local: false, play: |t| Box::pin(network::only_declared(t)) },
    Scenario {
        name: "a network plug-in that enforces nothing is noticed",
        local: true,
        play: |t| Box::pin(isolated::unenforced(t)),
    },
    Scenario { name: "deleted children come back", local: false, play: |t| Box::pin(repair::deleted(t)) },
    Scenario { name: "edited children are put right", local: false, play: |t| Box::pin(repair::edited(t)) },
    Scenario { name: "a new version drops no request", local: false, play: |t| Box::pin(release::rolls(t)) },
    Scenario {
        name: "a failed migration leaves the old version serving",
        local: false,
        play: |t| Box::pin(release::migration_fails(t)),
    },
    Scenario {
        name: "a version that never becomes ready is taken back",
        local: false,
        play: |t| Box::pin(release::taken_back(t)),
    },
    Scenario { name: "releases in a row under load", local: false, play: |t| Box::pin(teststand::releases(t)) },
    Scenario {
        name: "a release over https is watched",
        local: true,
        play: |t| Box::pin(teststand::encrypted::release(t)),
    },
    Scenario { name: "a release without a gateway", local: false, play: |t| Box::pin(teststand::inside::release(t)) },
    Scenario { name: "releases that fail", local: false, play: |t| Box::pin(teststand::failures(t)) },
    Scenario {
        name: "releases that fail under users",
        local: false,
        play: |t| Box::pin(teststand::failures_under_users(t)),
    },
    Scenario {
        name: "releases that are disturbed",
        local: false,
        play: |t| Box::pin(teststand::disturbed::releases(t)),
    },
    Scenario { name: "a contract step ends the way back", local: false, play: |t| Box::pin(teststand::contract(t)) },
    Scenario {
        name: "calls outside pass a gate",
        local: true,
        play: |t| Box::pin(teststand::webhooks::only_listed(t)),
    },
    Scenario { name: "servers outside by name", local: true, play: |t| Box::pin(teststand::named::by_name(t)) },
    Scenario { name: "every pair of pods is tried", local: true, play: |t| Box::pin(teststand::matrix::every_pair(t)) },
    Scenario { name: "another operator comes and goes", local: false, play: |t| Box::pin(upgrade::and_back(t)) },
    Scenario { name: "a killed operator is replaced", local: false, play: |t| Box::pin(repair::operator_killed(t)) },
    Scenario { name: "leaders killed while a hospital comes up", local: true, play: |t| Box::pin(killed::often(t)) },
    Scenario { name: "a database that somebody else runs", local: false, play: |t| Box::pin(external::database(t)) },
    Scenario { name: "the demo on a cluster that exists already", local: true, play: |t| Box::pin(existing::demo(t)) },
    Scenario { name: "a deleted hospital keeps its data", local: false, play: |t| Box::pin(data::kept_and_adopted(t)) },
];

/// Sets the stage and plays all scenarios, or those with `only` in their name.
pub async fn run(site: Site, only: Option<&str>, full: bool) -> Result<Count> {
    let theatre = Theatre::open(site, full).await?;
    theatre.hospital.ready().await?;
    let mut count = Count::default();
    for scenario in ALL.iter().filter(|scenario| only.is_none_or(|only| scenario.name.contains(only))) {
        if scenario.local && !theatre.stage.site.is_local() {
            println!("skipped {}: it needs the audit log of the local cluster", scenario.name);
            continue;
        }
        let (started, step) = (Instant::now(), progress::step(scenario.name));
        match (scenario.play)(&theatre).await {
            Ok(evidence) => {
                step.done();
                println!("ok      {} ({} s): {evidence}", scenario.name, started.elapsed().as_secs());
                count = count + Count::ONE;
            }
            Err(error) => {
                drop(step);
                println!("FAILED  {} ({} s): {error:#}", scenario.name, started.elapsed().as_secs());
                println!("{}", theatre.last_words().await);
                count = count + Count { passed: 0, failed: 1 };
            }
        }
    }
    Ok(count)
}

impl Theatre {
    /// A cluster with the operator and a hospital that comes up.
    async fn open(site: Site, full: bool) -> Result<Self> {
        let stage = tokio::task::spawn_blocking(|| demo::stage(site)).await??;
        let hospital = Hospital::st_elsewhere(&stage).await?;
        hospital.apply().await?;
        Ok(Self { access: Access::to(&hospital, stage.site.gateway()), hospital, stage, full })
    }

    /// kubectl on this cluster, as an administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let command = crate::cluster::kubectl(Some(&self.stage.kubeconfig))?.args(arguments);
        tokio::task::spawn_blocking(move || command.output()).await?
    }

    /// `kubectl apply` of objects, as JSON or YAML.
    pub async fn apply(&self, objects: String) -> Result<()> {
        let command =
            crate::cluster::kubectl(Some(&self.stage.kubeconfig))?.args(["apply", "--server-side", "-f", "-"]);
        tokio::task::spawn_blocking(move || command.stdin(objects).output()).await?.map(drop)
    }

    /// The colour whose pods serve.
    pub async fn colour(&self) -> Result<String> {
        self.kubectl(&["get", "ht", &self.hospital.name, "-o", "jsonpath={.status.release.live.colour}"]).await
    }

    /// Every answered request that the audit log of the local cluster holds.
    async fn requests(&self) -> Result<Vec<AuditEvent>> {
        tokio::task::spawn_blocking(|| requests_in(&Layout::ours()?.audit_log())).await?
    }

    /// Asks again and again until the answer is there or the time is over; returns how long it took.
    pub async fn eventually<T, F>(
        &self,
        what: &str,
        patience: Duration,
        mut ask: impl FnMut() -> F,
    ) -> Result<(T, Duration)>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let started = Instant::now();
        loop {
            let last = match ask().await {
                Ok(Some(answer)) => return Ok((answer, started.elapsed())),
                Ok(None) => "not yet".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            if started.elapsed() > patience {
                bail!("{what}: not within {} s; last: {last}", patience.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What a person would look at first when a scenario has failed.
    async fn last_words(&self) -> String {
        let namespace = self.hospital.namespace.as_str();
        let mut words = String::new();
        for arguments in [
            vec!["get", "ht", &self.hospital.name, "-o", "yaml"],
            vec!["-n", namespace, "get", "pods,jobs", "-o", "wide"],
            vec!["get", "events", "-A", "--field-selector", "type=Warning"],
            vec![
                "-n",
                "his-operator-system",
                "logs",
                "-l",
                "app.kubernetes.io/name=his-operator",
                "--tail",
                "30",
                "--prefix",
            ],
        ] {
            let answer = self.kubectl(&arguments).await.unwrap_or_else(|error| format!("{error:#}"));
            words.push_str(&format!("--- kubectl {}\n{answer}\n", arguments.join(" ")));
        }
        words
    }
}
