//! Where results go: a file for programs always, the README and its plots when asked.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::model::Results;
use super::{plot, table};
use crate::{paths, progress};

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Writes the results file into the cache or, to be published, into the checkout with plots and README.
pub(super) fn write(results: &Results, publish: bool) -> Result<()> {
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
        let readme = root.join("README.md");
        let text = fs::read_to_string(&readme).with_context(|| format!("cannot read {}", readme.display()))?;
        write_file(&readme, &between(&text, &section(results))?)?;
    }
    progress::say(format!("results and plots are in {}", dir.display()));
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
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

/// The text with what is between the marks replaced.
fn between(text: &str, section: &str) -> Result<String> {
    let Some((before, rest)) = text.split_once(BEGIN) else { bail!("README.md has no line {BEGIN}") };
    let Some((_, after)) = rest.split_once(END) else { bail!("README.md has no line {END}") };
    Ok(format!("{before}{BEGIN}\n{section}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = "a\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nb\n";
        let new = between(text, "new\n").unwrap();
        assert_eq!(new, "a\n<!-- measured: begin -->\nnew\n<!-- measured: end -->\nb\n");
        assert_eq!(between(&new, "new\n").unwrap(), new);
        assert!(between("nothing", "new").is_err());
    }
}
