//! The same objects as a chart, installed once per hospital.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};

use super::arena::Arena;
use super::children::{Children, HOST, NAME, UID};
use super::clocked::Usage;
use crate::progress::Step;

const CHART: &str = "apiVersion: v2\nname: hospital\nversion: 1.0.0\n";

/// Installs all hospitals, as many at once as the machine has processors. CPU is that of all processes together, memory
/// that of the largest one.
pub(super) async fn install(arena: &Arena, children: &Children, names: &[String], step: &Step) -> Result<Usage> {
    let chart = arena.scratch("chart");
    write(children, &chart)?;
    let at_once = std::thread::available_parallelism().context("cannot count processors")?.get();
    stream::iter(names.iter().enumerate())
        .map(|(number, name)| {
            step.note(format!("release {} of {}", number + 1, names.len()));
            release(arena, &chart, name)
        })
        .buffer_unordered(at_once)
        .try_fold(Usage::default(), |all, one| async move {
            Ok(Usage {
                cpu_seconds: all.cpu_seconds + one.cpu_seconds,
                now_mib: 0.0,
                peak_mib: all.peak_mib.max(one.peak_mib),
            })
        })
        .await
}

async fn release(arena: &Arena, chart: &Path, name: &str) -> Result<Usage> {
    let chart = chart.display().to_string();
    let (set_name, set_host) = (format!("name={name}"), format!("host={name}.example.org"));
    let words =
        ["upgrade", "--install", name, &chart, "--namespace", "default", "--set", &set_name, "--set", &set_host];
    let arguments: Vec<String> = words.into_iter().map(ToOwned::to_owned).collect();
    arena.start(&arguments)?.finish().await.with_context(|| format!("helm did not install {name}"))
}

fn write(children: &Children, chart: &Path) -> Result<()> {
    let templates = chart.join("templates");
    crate::paths::create_dir(&templates)?;
    let mut text = String::new();
    for item in children.items()? {
        text.push_str(&format!("---\n{}\n", template(&item.to_string())));
    }
    fs::write(chart.join("Chart.yaml"), CHART).context("cannot write the chart")?;
    fs::write(templates.join("children.yaml"), text).context("cannot write the chart")
}

/// A template of Helm: what looks like one in the objects themselves stays what it is.
fn template(json: &str) -> String {
    json.replace("{{", "\u{0}")
        .replace("}}", "}{{\"\"}}}")
        .replace('\u{0}', "{{`{{`}}")
        .replace(NAME, "{{ .Values.name }}")
        .replace(HOST, "{{ .Values.host }}")
        .replace(UID, "0e1f5e4c-0000-4000-8000-000000000001")
}
