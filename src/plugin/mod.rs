//! `kubectl his`: what a hospital is doing, what a change would do, and what a reason means.
//!
//! Guarantees: it only reads; `plan` and `explain` need no cluster. Text is made by pure functions from what was read.
//! Exit codes: 0 all is well, 1 wrong usage or unreadable files, 2 refused or not Ready, 3 no answer from the cluster.

mod explain;
mod output;
mod plan;
pub mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::{Ended, Ending};

const EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  wrong usage, or a file that cannot be read
  2  the files are refused, or a hospital is not Ready
  3  the cluster does not answer, or refuses to";

/// Command line of `kubectl his`.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-his",
    bin_name = "kubectl his",
    version,
    about = "Hospital information systems on Kubernetes",
    after_help = EXIT_CODES,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show all hospitals, or one hospital on one screen.
    Status(status::Arguments),
    /// Show every object that the operator would make of YAML files. Needs no cluster.
    Plan(plan::Arguments),
    /// Say what a reason or a condition means and what to do about it. Needs no cluster.
    Explain(explain::Arguments),
}

/// Runs the plugin with the arguments of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    output::end(run(cli))
}

/// `his-operator render`: the same as `kubectl his plan`, with the same exit codes.
pub fn render(arguments: &crate::render::Arguments, format: crate::render::Format) -> ExitCode {
    output::end(plan::plan(arguments, format))
}

fn run(cli: Cli) -> Ended {
    match cli.command {
        Command::Status(arguments) => arguments.run(),
        Command::Plan(arguments) => arguments.run(),
        Command::Explain(arguments) => arguments.run().map_err(Ending::Usage),
    }
}
