//! Writes every generated file, or says which one is not as generated.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use his_operator::generate;

/// Writes CRDs, their reference, rights, charts and the install bundle from code.
#[derive(Debug, Parser)]
#[command(name = "gen")]
struct Cli {
    /// Changes nothing; fails if a file is not as generated.
    #[arg(long)]
    check: bool,
    /// Root of the repository.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

fn main() -> ExitCode {
    // The alias ends in `--`, so that both `cargo gen --check` and `cargo gen -- --check` work.
    let cli = Cli::parse_from(std::env::args().filter(|argument| argument != "--"));
    let (result, label) = if cli.check {
        (generate::differences(&cli.root), "not as generated")
    } else {
        let written = generate::write(&cli.root);
        (written.map(|paths| paths.iter().map(|path| path.display().to_string()).collect()), "written")
    };
    let mut out = io::stderr();
    let lines = match result {
        Ok(lines) => lines,
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _closed = writeln!(out, "gen: {error}");
            return ExitCode::FAILURE;
        }
    };
    for line in &lines {
        let _closed = writeln!(out, "gen: {label}: {line}");
    }
    if cli.check && !lines.is_empty() {
        let _closed = writeln!(out, "gen: run `cargo gen` and look at `git diff`");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
