//! Checks that need no cluster of nodes, cheapest first.

use anyhow::{Context, Result, bail};

use super::{Count, gates};
use crate::{
    mutants,
    parts::{self, Part},
    paths, progress,
    shell::{self, Command},
    tools,
};

/// One check.
pub struct Check {
    /// Name in the summary.
    pub name: &'static str,
    /// What it does.
    pub run: fn() -> Result<Count>,
}

/// All of them.
pub const ALL: &[Check] = &[
    Check { name: "format", run: format },
    Check { name: "programs for tests", run: programs },
    Check { name: "lints", run: lints },
    Check { name: "documentation", run: documentation },
    Check { name: "licences, bans, sources", run: deny },
    Check { name: "tests", run: tests },
    Check { name: "manifest gates", run: gates::run },
];

/// What takes hours: `cargo verify -- --full`.
pub const FULL: &[Check] =
    &[Check { name: "every fault plan", run: fault_plans }, Check { name: "mutants", run: mutants }];

fn cargo(arguments: &[&str]) -> Result<Command> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    Ok(shell::command(cargo).args(arguments).dir(paths::repo_root()?))
}

fn quiet(title: &str, command: &Command) -> Result<Count> {
    progress::step(title).run(|_| command.output())?;
    Ok(Count::ONE)
}

fn format() -> Result<Count> {
    quiet("checking the format", &cargo(&["fmt", "--all", "--check"])?)
}

/// Programs that tests start; built here, so that no test waits for a compiler.
fn programs() -> Result<Count> {
    let all = [Part::Etcd, Part::KubeApiserver, Part::KubeControllerManager, Part::Kubectl, Part::Helm];
    parts::ensure_all(&all)?;
    Ok(Count::ONE)
}

fn lints() -> Result<Count> {
    let clippy = cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    quiet("checking lints", &clippy)
}

fn documentation() -> Result<Count> {
    let doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"])?;
    quiet(
        "building the documentation",
        &doc.env("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private_intra_doc_links"),
    )
}

fn deny() -> Result<Count> {
    let program = tools::cargo_deny()?;
    let check = shell::command(program).args(["check", "licenses", "bans", "sources"]).dir(paths::repo_root()?);
    quiet("checking licences, bans and sources", &check)
}

/// Every fault at every write, instead of the sample that the tests take.
fn fault_plans() -> Result<Count> {
    let run = cargo(&["test", "--package", "his-operator", "--test", "faults"])?.env("HIS_FULL", "1");
    let output = progress::step("running every fault plan").run(|_| run.output())?;
    Count::of_cargo_test(&output).context("the fault plans have no complete result")
}

fn mutants() -> Result<Count> {
    mutants::run(None).map(|()| Count::ONE)
}

/// Unit, golden, CEL, reconcile, chart and drift tests, on a real API server where they need one.
fn tests() -> Result<Count> {
    let log = paths::cache_dir()?.join("verify-tests.log");
    let helm = parts::ensure(Part::Helm)?;
    if log.exists() {
        std::fs::remove_file(&log).with_context(|| format!("cannot remove {}", log.display()))?;
    }
    let run = cargo(&["test", "--workspace", "--no-fail-fast"])?.env("HELM", helm);
    let ended = progress::step("running tests").run(|_| {
        let ended = run.output_to(&log);
        Ok(ended.err())
    })?;
    let output = std::fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let Some(count) = Count::of_cargo_test(&output) else {
        bail!("no complete result in {}:\n{}", log.display(), shell::last_lines(&output, 40));
    };
    for line in output.lines().filter(|line| line.ends_with("... FAILED") || line.starts_with("---- ")) {
        println!("{line}");
    }
    match ended {
        Some(error) if count.failed == 0 => bail!("{error:#}; log: {}", log.display()),
        Some(_) => println!("log: {}\n{}", log.display(), shell::last_lines(&output, 80)),
        None => {}
    }
    Ok(count)
}
