//! `kubectl his`: what a hospital is doing, what a change would do, and what a reason means.
//!
//! Guarantees: it only reads, but for `pause` and `resume`, which write two annotations; `plan`, `network` of files,
//! `explain` of a word and `completion` need no cluster. Text is made by pure functions from what was read.
//! Exit codes: 0 all is well, 1 wrong usage or unreadable files, 2 refused or not Ready, 3 no answer from the cluster,
//! 4 the cluster differs from what is wanted.

mod access;
mod bundle;
pub mod channels;
mod complete;
pub mod diff;
pub mod events;
mod explain;
mod look;
pub mod network;
mod output;
mod pause;
mod plan;
pub mod redact;
pub mod status;
mod time;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::Ended;

const EXIT_CODES: &str = "\
Exit codes:
  0  all is well; for diff: there is nothing to change
  1  wrong usage, or a file that cannot be read or written
  2  what is asked for is refused, or a hospital is not Ready (with --timeout: not in time)
  3  the cluster does not answer or refuses to, or part of what was asked for cannot be read
  4  diff: there is something to change";

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
    /// Show what the operator would change in the cluster, field by field.
    Diff(diff::Arguments),
    /// Say what a reason or a condition means and what to do about it; with a hospital, what is so there.
    Explain(explain::Arguments),
    /// Show who may connect to whom in a hospital, as a table or a picture, or why one may or may not.
    Network(network::Arguments),
    /// Show how far the versions have come that channels bring to their hospitals.
    Channels(channels::Arguments),
    /// Show everything that was told about a hospital and in its namespace.
    Events(events::Arguments),
    /// Have the operator change nothing of a hospital until a given time.
    Pause(pause::Pause),
    /// End a pause.
    Resume(pause::Resume),
    /// Collect what somebody needs who helps, without secrets, in one file.
    SupportBundle(bundle::Arguments),
    /// Print a completion script. Needs no cluster.
    Completion(complete::Arguments),
    /// Words that could come next, for kubectl.
    #[command(hide = true)]
    Complete(complete::Words),
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
        Command::Diff(arguments) => arguments.run(),
        Command::Explain(arguments) => arguments.run(),
        Command::Network(arguments) => arguments.run(),
        Command::Channels(arguments) => arguments.run(),
        Command::Events(arguments) => arguments.run(),
        Command::Pause(arguments) => arguments.run(),
        Command::Resume(arguments) => arguments.run(),
        Command::SupportBundle(arguments) => arguments.run(),
        Command::Completion(arguments) => arguments.run(),
        Command::Complete(words) => Ok(words.run()),
    }
}
