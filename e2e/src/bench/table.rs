//! Results as tables, for a terminal and for Markdown.

use super::contestant::Contestant;
use super::judge;
use super::model::{Results, Run, Steady};

const HEAD: [&str; 11] = [
    "contestant",
    "N",
    "wall s",
    "writes/N",
    "of needed",
    "reads/N",
    "CPU ms/N",
    "peak MiB",
    "settled MiB",
    "first list ms",
    "binary MiB",
];
const STEADY_HEAD: [&str; 9] = [
    "contestant",
    "N",
    "idle requests",
    "idle watch, lease",
    "edit p50 ms",
    "edit p99 ms",
    "drift p99 ms",
    "kill -9 to caught up s",
    "of these lease s",
];

/// One run in one line, for progress.
pub(super) fn line(run: &Run) -> String {
    HEAD.iter().zip(row(run)).skip(2).map(|(head, cell)| format!("{head} {cell}")).collect::<Vec<_>>().join(", ")
}

/// Everything, for a terminal.
pub(super) fn text(results: &Results) -> String {
    let mut text = format!("\n{} objects per hospital; {}; {}\n\n", results.children, results.machine, results.taken);
    text.push_str(&aligned(&HEAD, &rows(results)));
    let steady = steady_rows(results);
    if !steady.is_empty() {
        text.push('\n');
        text.push_str(&aligned(&STEADY_HEAD, &steady));
    }
    text.push('\n');
    text.push_str(&aligned(&judge::HEAD, &judge::rows(results)));
    text.push_str(&left(results));
    text
}

/// Everything, for Markdown.
pub(super) fn markdown(results: &Results) -> String {
    let tables = [
        piped(&HEAD, &rows(results)),
        piped(&STEADY_HEAD, &steady_rows(results)),
        piped(&judge::HEAD, &judge::rows(results)),
    ];
    format!("{}{}", tables.join("\n"), left(results))
}

/// Only what making the objects costs, for Markdown.
pub(super) fn making(results: &Results) -> String {
    format!("{}{}", piped(&HEAD, &rows(results)), left(results))
}

fn left(results: &Results) -> String {
    let words = results.left.iter().map(|left| {
        let tenants = left.tenants.map(|tenants| format!(" with {tenants} hospitals")).unwrap_or_default();
        format!("\nNot measured: {}{tenants}: {}\n", left.contestant, left.reason)
    });
    words.collect()
}

fn rows(results: &Results) -> Vec<Vec<String>> {
    Contestant::ALL.iter().flat_map(|contestant| results.of(*contestant)).map(row).collect()
}

fn row(run: &Run) -> Vec<String> {
    let each = |count: usize| format!("{:.2}", run.per_tenant(super::model::precise(count)));
    let maybe = |value: Option<f64>, digits: usize| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
    vec![
        run.contestant.to_string(),
        run.tenants.to_string(),
        format!("{:.2}", run.wall_seconds),
        each(run.requests.writes),
        format!("{:.3}×", run.write_ratio()),
        each(run.requests.reads),
        format!("{:.1}", run.per_tenant(1000.0 * run.cpu_seconds)),
        format!("{:.1}", run.peak_mib),
        maybe(run.settled_mib, 1),
        maybe(run.cold_start_ms, 0),
        format!("{:.1}", run.binary_mib),
    ]
}

fn steady_rows(results: &Results) -> Vec<Vec<String>> {
    let runs = Contestant::ALL.iter().flat_map(|contestant| results.of(*contestant));
    runs.filter_map(|run| run.steady.as_ref().map(|steady| steady_row(run, steady))).collect()
}

fn steady_row(run: &Run, steady: &Steady) -> Vec<String> {
    let latency = |time: f64, missed: usize| match missed {
        0 => format!("{time:.1}"),
        missed => format!("{time:.1} ({missed} never)"),
    };
    vec![
        run.contestant.to_string(),
        run.tenants.to_string(),
        (steady.idle.reads + steady.idle.writes).to_string(),
        format!("{}, {}", steady.idle.watches, steady.idle.lease),
        latency(steady.edit.p50_ms, 0),
        latency(steady.edit.p99_ms, steady.edit.missed),
        latency(steady.drift.p99_ms, steady.drift.missed),
        format!("{:.2}", steady.restart.caught_up_seconds),
        format!("{:.2}", steady.restart.lease_seconds),
    ]
}

fn piped(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = vec!["---".to_owned(); head.len()];
    let body: String = rows.iter().map(|row| line(row)).collect();
    line(&head) + &line(&rule) + &body
}

fn aligned(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let padded = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    [&head].into_iter().chain(rows).map(line).collect()
}
