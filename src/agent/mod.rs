//! `his-agent`: the small program that runs beside a hospital's application.
//!
//! Guarantees: it holds no Kubernetes token; as a sidecar it talks to nobody but its own pod, otherwise only to whom it is told; it
//! never prints the value of a secret or the body of an answer. Every failure is one line on standard error and exit code 1.

mod alarm;
pub mod ask;
#[cfg(test)]
mod certified;
pub mod chain;
pub mod egress;
pub mod gate;
pub mod network;
pub mod prepare;
pub mod probe;
pub mod prober;
mod template;
pub mod trust;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Command line of `his-agent`.
#[derive(Debug, Parser)]
#[command(name = "his-agent", version, about = "Prepares and probes one pod of a hospital", max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write configuration files with their secrets filled in; bring this program into a volume.
    Prepare(prepare::Arguments),
    /// Ask the application of this pod a question that the kubelet cannot ask itself.
    #[command(subcommand)]
    Probe(Probe),
    /// Ask the new pods of a release, before users do.
    Gate(gate::Gate),
    /// Ask as users do while they are led to other pods, and report what was seen.
    Prober(prober::Prober),
    /// Say what the prober has found as soon as it is known.
    Alarm(alarm::Alarm),
    /// Let the hospital's components call listed servers over HTTPS, and no others.
    Egress(egress::Egress),
    /// Read a chained log from standard input, and say whether its lines hold together.
    AuditVerify,
}

#[derive(Debug, Subcommand)]
enum Probe {
    /// POST to 127.0.0.1; succeeds if the answer has status 200 and contains a text.
    RpcPost(probe::RpcPost),
    /// Try connections that must open and connections that must not, and report what came of it.
    Network(network::Network),
}

/// Why the agent did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Prepare(#[from] prepare::Error),
    #[error(transparent)]
    Probe(#[from] ask::Failure),
    #[error(transparent)]
    Gate(#[from] gate::Failure),
    #[error(transparent)]
    Network(#[from] network::Failure),
    #[error(transparent)]
    Prober(#[from] prober::Failure),
    #[error(transparent)]
    Alarm(#[from] alarm::Failure),
    #[error(transparent)]
    Egress(#[from] egress::Failure),
    #[error(transparent)]
    AuditVerify(#[from] chain::Broken),
}

/// Runs the agent with the arguments of this process.
pub fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "his-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<(), Error> {
    match command {
        Command::Prepare(arguments) => arguments.run()?,
        Command::Probe(Probe::RpcPost(question)) => question.run()?,
        Command::Probe(Probe::Network(network)) => network.run()?,
        Command::Gate(gate) => gate.run()?,
        Command::Prober(prober) => prober.run()?,
        Command::Alarm(alarm) => alarm.run()?,
        Command::Egress(egress) => egress.run()?,
        Command::AuditVerify => chain::run()?,
    }
    Ok(())
}
