//! Everything that must hold before a change is merged, in one command; continuous integration runs the same.
//!
//! Guarantees: a check that could not run has failed; the last line counts every test and every check. What the machine
//! lacks is installed first.

mod checks;
mod count;
pub mod gates;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::{cluster, demo::Site, packages, scenarios};
pub use count::Count;

/// Debian packages that the tests need beside those of the cluster.
const PACKAGES: [&str; 5] = ["postgresql-15", "openssl", "iproute2", "util-linux", "shellcheck"];

/// One line of the summary.
struct Row {
    name: String,
    count: Count,
    seconds: u64,
    error: Option<String>,
}

/// Runs everything, or only what has `only` in its name; `full` adds what takes hours. An error means that something failed.
pub async fn run(site: Site, only: Option<&str>, full: bool) -> Result<()> {
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only));
    packages::ensure(&PACKAGES)?;
    let mut rows = Vec::new();
    let more: &[checks::Check] = if full { checks::FULL } else { &[] };
    for check in checks::ALL.iter().chain(more).filter(|check| wanted(check.name)) {
        let (started, run) = (Instant::now(), check.run);
        let result = tokio::task::spawn_blocking(run).await?;
        rows.push(row(check.name, started, result));
    }
    if wanted("scenarios") {
        let started = Instant::now();
        // What somebody did to a cluster before would be part of the result.
        let result = match remove_cluster(&site).await {
            Ok(()) => scenarios::run(site.clone(), None, full).await,
            Err(error) => Err(error),
        };
        rows.push(row("scenarios on two nodes", started, result));
        if let Err(error) = remove_cluster(&site).await {
            rows.push(row("removing the cluster", Instant::now(), Err(error)));
        }
    }
    finish(&rows)
}

/// Only ours: a cluster that was selected by its kubeconfig stays.
async fn remove_cluster(site: &Site) -> Result<()> {
    let local = site.is_local();
    tokio::task::spawn_blocking(move || if local { cluster::down() } else { Ok(()) }).await?
}

fn row(name: &str, started: Instant, result: Result<Count>) -> Row {
    let seconds = started.elapsed().as_secs();
    let (count, error) = match result {
        Ok(count) => (count, None),
        Err(error) => (Count { passed: 0, failed: 1 }, Some(format!("{error:#}"))),
    };
    Row { name: name.to_owned(), count, seconds, error }
}

fn finish(rows: &[Row]) -> Result<()> {
    let total = rows.iter().fold(Count::default(), |total, row| total + row.count);
    println!("\n{:<34} {:>8} {:>8} {:>9}", "check", "passed", "failed", "seconds");
    for row in rows {
        println!("{:<34} {:>8} {:>8} {:>9}", row.name, row.count.passed, row.count.failed, row.seconds);
    }
    for row in rows {
        if let Some(error) = &row.error {
            println!("\n{} failed:\n{error}", row.name);
        }
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 || total.passed == 0 {
        bail!("not everything holds");
    }
    Ok(())
}
