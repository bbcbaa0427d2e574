//! The door to the harness: a local cluster that comes up, is used, and goes away without a trace.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use e2e::cluster::{self, Ports};
use e2e::demo::{self, ExistingArgs, Site};
use e2e::parts::{self, Part};
use e2e::{bench, forward, knock, mutants, netpol, outside, scenarios, verify};

/// A real two-node Kubernetes on this machine, and what runs on it.
#[derive(Debug, Parser)]
#[command(name = "e2e", version)]
struct Cli {
    /// Use this existing cluster instead of the local one.
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the local cluster up; does nothing if it is up.
    Up(PortArgs),
    /// Set up everything that is missing, run the operator and a hospital, and show how to use them.
    Demo(ExistingArgs),
    /// Run every test and check; the last line counts them.
    Verify {
        /// Only checks with this in their name.
        #[arg(long)]
        only: Option<String>,
        #[command(flatten)]
        existing: ExistingArgs,
        /// Every fault plan instead of a sample, and every mutant: takes hours.
        #[arg(long)]
        full: bool,
        /// What follows a second `--`, as in `cargo verify -- --full`.
        #[arg(last = true, hide = true, value_parser = ["--full"])]
        after: Vec<String>,
    },
    /// Break the operator in every known way, one at a time, and show that a test notices.
    Mutants {
        /// Only mutants with this in their name.
        #[arg(long)]
        only: Option<String>,
    },
    /// Measure the operator beside a raw client, a hand-written controller, kro and Helm.
    BenchOperator(bench::Options),
    /// Run the scenarios on the two nodes, and leave the cluster up.
    Scenarios {
        /// Only scenarios with this in their name.
        #[arg(long)]
        only: Option<String>,
        /// Kill twenty leaders instead of a few.
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        existing: ExistingArgs,
    },
    /// Release the same application by this operator and by what a user would take instead, and compare what users meet.
    CompareReleases {
        /// Releases of each way.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
        releases: u32,
        /// Write the table into the README.
        #[arg(long)]
        publish: bool,
        #[command(flatten)]
        existing: ExistingArgs,
    },
    /// Remove the local cluster and everything it left.
    Down,
    /// Show what of the local cluster is running.
    Status,
    /// Import image archives into both nodes of the local cluster.
    LoadImage {
        #[arg(required = true)]
        tars: Vec<PathBuf>,
    },
    /// Print the path of the kubeconfig.
    Kubeconfig,
    /// Run kubectl against the cluster.
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the released image of the operator from nothing, with its bill of materials.
    Image {
        /// Build it twice, in two places, and fail unless both are the same.
        #[arg(long)]
        twice: bool,
    },
    /// Judge everything that the operator can render, and the charts, with the tools of the manifest gates.
    Gates,
    /// Build every program of the cluster without starting it.
    Parts,
    #[command(hide = true)]
    BenchRaw(bench::RawOptions),
    #[command(hide = true)]
    Forward(PortArgs),
    #[command(hide = true)]
    Outside,
    #[command(hide = true)]
    Knock {
        /// Where to connect.
        targets: Vec<SocketAddrV4>,
    },
    #[command(hide = true)]
    NetpolEnforcer,
    #[command(hide = true)]
    NetpolCni,
}

#[derive(Debug, Args)]
struct PortArgs {
    /// Loopback port of the API server.
    #[arg(long, default_value_t = Ports::default().api)]
    api_port: u16,
    /// Loopback port of the gateway.
    #[arg(long, default_value_t = Ports::default().gateway)]
    gateway_port: u16,
}

impl From<PortArgs> for Ports {
    fn from(args: PortArgs) -> Self {
        Self { api: args.api_port, gateway: args.gateway_port }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let selected = cli.kubeconfig.as_deref();
    if let (Some(path), Command::Up(_) | Command::Down | Command::Status | Command::LoadImage { .. }) =
        (selected, &cli.command)
    {
        bail!("--kubeconfig {}: up, down, status and load-image work on the local cluster only", path.display());
    }
    match cli.command {
        Command::Up(ports) => cluster::up(ports.into()).map(drop)?,
        Command::Demo(existing) => runtime()?.block_on(demo::run(Site::choose(selected, existing)?))?,
        Command::Verify { only, existing, full, after } => {
            let site = Site::choose(selected, existing)?;
            runtime()?.block_on(verify::run(site, only.as_deref(), full || !after.is_empty()))?;
        }
        Command::Mutants { only } => mutants::run(only.as_deref())?,
        Command::Scenarios { only, existing, full } => {
            let site = Site::choose(selected, existing)?;
            let count = runtime()?.block_on(scenarios::run(site, only.as_deref(), full))?;
            println!("{} passed, {} failed", count.passed, count.failed);
            return Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::CompareReleases { releases, publish, existing } => {
            let site = Site::choose(selected, existing)?;
            let table = runtime()?.block_on(scenarios::teststand::compare::run(site, releases))?;
            println!("{table}");
            if publish {
                e2e::readme::publish("compared", &table)?;
            }
        }
        Command::BenchOperator(options) => runtime()?.block_on(bench::run(options))?,
        Command::BenchRaw(options) => runtime()?.block_on(bench::raw(options))?,
        Command::Down => cluster::down()?,
        Command::Status => print!("{}", cluster::status()?),
        Command::LoadImage { tars } => tars.iter().try_for_each(|tar| cluster::load_image(tar))?,
        Command::Kubeconfig => println!("{}", cluster::kubeconfig(selected)?.display()),
        Command::Kubectl { arguments } => {
            let code = cluster::kubectl(selected)?.args(arguments).interactive()?;
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
        Command::Image { twice } => {
            let release = e2e::images::release::make(twice)?;
            println!("{}\n{}\n{}", release.image.by_digest(), release.image.tar.display(), release.bill.display());
        }
        Command::Gates => {
            let count = verify::gates::run()?;
            println!("{} passed, {} failed", count.passed, count.failed);
            return Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Parts => parts::ensure_all(&Part::CLUSTER)?,
        Command::Forward(ports) => forward::run(&cluster::forward(ports.into())?)?,
        Command::Outside => outside::run(cluster::OUTSIDE)?,
        Command::Knock { targets } => knock::run(&targets),
        Command::NetpolEnforcer => {
            let (kubeconfig, nodes) = cluster::enforced()?;
            runtime()?.block_on(netpol::run(&kubeconfig, nodes))?;
        }
        Command::NetpolCni => return Ok(ExitCode::from(u8::try_from(netpol::cni::main()).unwrap_or(1))),
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start tokio")
}
