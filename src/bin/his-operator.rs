//! The operator.

use std::{net::SocketAddr, sync::Arc};

use clap::{Parser, Subcommand};
use his_operator::{
    ask,
    cluster::{Candidate, ConnectError, Connections, Timing},
    operator::{self, Operator},
    plugin,
    ports::{Clock, SystemClock},
    render,
    serve::{self, Health},
    settings::Settings,
    telemetry::{self, Telemetry},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Runs secure hospital information systems on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "his-operator", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reconciles all hospitals of the cluster.
    Run(Run),
    /// Prints every object that it would make of YAML files. Needs no cluster. Exit code 2: the files are refused.
    Render(Render),
    /// Asks a running operator whether it is ready; `helm test` does.
    Ask(ask::Arguments),
}

#[derive(Debug, clap::Args)]
struct Render {
    #[command(flatten)]
    files: render::Arguments,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = render::Format::Yaml)]
    output: render::Format,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Namespace of the operator.
    #[arg(long, env = "HIS_NAMESPACE", default_value = "his-operator-system")]
    namespace: String,
    /// ServiceAccount of the operator: the only subject that it binds in tenant namespaces.
    #[arg(long, env = "HIS_SERVICE_ACCOUNT", default_value = "his-operator")]
    service_account: String,
    /// Image that holds his-agent, by digest.
    #[arg(long, env = "HIS_AGENT_IMAGE")]
    agent_image: Option<String>,
    /// What is logged, for example `info` or `his_operator=debug,info`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    log_level: String,
    /// Hospitals that are reconciled at the same time.
    #[arg(long, env = "HIS_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Lease by which the replicas elect their leader.
    #[arg(long, env = "HIS_LEASE_NAME", default_value = "his-operator")]
    lease_name: String,
    /// Unique name of this replica.
    #[arg(long, env = "POD_NAME", default_value = "local")]
    replica: String,
    /// Address of metrics and probes.
    #[arg(long, env = "HIS_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Port on 127.0.0.1 of the admin listener, for `kubectl port-forward`.
    #[arg(long, env = "HIS_ADMIN_PORT", default_value_t = 8081)]
    admin_port: u16,
}

/// Why the process ends with a failure.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("cannot listen on {0}: {1}; choose another address")]
    Listen(SocketAddr, std::io::Error),
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Ask(#[from] ask::Failure),
    #[error(transparent)]
    Operate(#[from] operator::Error),
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    // The provider is chosen once, here; an error means that it was chosen already.
    let _chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ended = match Cli::parse().command {
        Command::Run(run) => run.run().await,
        Command::Ask(question) => question.run().await.map_err(Error::from),
        Command::Render(render) => return plugin::render(&render.files, render.output),
    };
    match ended {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "ended");
            eprintln!("his-operator: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

impl Run {
    async fn run(self) -> Result<(), Error> {
        let telemetry = Telemetry::install(&self.log_level)?;
        let connections = Connections::infer().await?;
        let mut operator = Operator::new(connections, self.settings());
        operator.concurrency = self.concurrency;
        operator.candidate = Some(self.candidate());
        let servers = self.serve(&operator, &telemetry).await?;
        let ended = operator.run(stop_signal()?).await;
        servers.abort();
        // Spans are sent by a task of this runtime, so waiting for them must not block it.
        let _joined = tokio::task::spawn_blocking(move || telemetry.shutdown()).await;
        Ok(ended?)
    }

    fn settings(&self) -> Settings {
        let defaults = Settings::default();
        Settings {
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
            agent_image: self.agent_image.clone().unwrap_or(defaults.agent_image.clone()),
        }
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            namespace: self.namespace.clone(),
            name: self.lease_name.clone(),
            // A pod's name outlives its containers; the process id and start tell them apart.
            identity: format!("{}-{}", self.replica, unique()),
            timing: Timing::default(),
        }
    }

    async fn serve(&self, operator: &Operator, telemetry: &Telemetry) -> Result<tokio::task::AbortHandle, Error> {
        let health: watch::Receiver<Health> = operator.health.subscribe();
        let public = serve::public(Arc::clone(&operator.metrics), health);
        let admin = serve::admin(telemetry.clone());
        let loopback = SocketAddr::from(([127, 0, 0, 1], self.admin_port));
        let (_, public) =
            serve::listen(self.listen, public).await.map_err(|error| Error::Listen(self.listen, error))?;
        let (_, admin) = serve::listen(loopback, admin).await.map_err(|error| Error::Listen(loopback, error))?;
        let task = tokio::spawn(async move {
            if let Err(error) = tokio::try_join!(public, admin) {
                tracing::error!(%error, "an endpoint ended");
            }
        });
        Ok(task.abort_handle())
    }
}

fn unique() -> String {
    format!("{:x}-{:x}", std::process::id(), SystemClock.now().timestamp_micros())
}

/// Ends with SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()> + Send, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
