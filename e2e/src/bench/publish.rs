//! Where results go: a file for programs always, the README and its plots when asked.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::model::Results;
use super::{plot, table};
use crate::{paths, progress, readme};

/// Writes the results file into the cache or, to be published, into the checkout with plots and README.
pub(super) fn write(results: &Results, publish: bool) -> Result<()> {
    if results.flows > 0 && publish {
        return readme::publish("flows", &flows(results));
    }
    let root = paths::repo_root()?;
    let dir = if publish { root.join("e2e/bench/results") } else { paths::cache_dir()?.join("bench") };
    paths::create_dir(&dir)?;
    let json = serde_json::to_string_pretty(results).context("results are not JSON")? + "\n";
    write_file(&dir.join("results.json"), &json)?;
    let plots = [
        ("wall.svg", plot::svg(results, "Seconds until all objects are there", |run| Some(run.wall_seconds))),
        ("memory.svg", plot::svg(results, "Peak memory, MiB", |run| Some(run.peak_mib))),
    ];
    for (file, svg) in plots {
        if let Some(svg) = svg {
            write_file(&dir.join(file), &svg)?;
        }
    }
    if publish {
        readme::publish("measured", &section(results))?;
    }
    progress::say(format!("results and plots are in {}", dir.display()));
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn flows(results: &Results) -> String {
    format!(
        "Taken {} on {}: {} connections to servers outside in each hospital, {} objects per hospital.\n\n{}",
        results.taken,
        results.machine,
        results.flows,
        results.children,
        table::making(results)
    )
}

fn section(results: &Results) -> String {
    format!(
        "Taken {} on {}: {} objects per hospital.\n\n{}\n![wall time](e2e/bench/results/wall.svg)\n![memory](e2e/bench/results/memory.svg)\n",
        results.taken,
        results.machine,
        results.children,
        table::markdown(results)
    )
}
