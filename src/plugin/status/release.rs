//! The release that is coming in, and what became of the last ones, as text. Pure.

use chrono::{DateTime, Utc};
use comfy_table::Cell;

use crate::{
    api::v1alpha1::{ReleaseEvidence, ReleaseOutcome, ReleaseRecord, ReleaseStatus},
    plugin::{
        look::{Look, age, filled, table, truth},
        output::plain,
    },
};

/// The step that a release is at, and since when. What it waits for is the message of ReleaseReady.
pub(super) fn under_way(release: &ReleaseStatus, now: DateTime<Utc>) -> Option<String> {
    let rollout = release.rollout.as_ref()?;
    let mut line = format!(
        "Release of {}: {} for {}, in {}; began {} ago",
        rollout.release.version,
        rollout.step,
        age(time(&rollout.since), now),
        rollout.colour,
        age(time(&rollout.started), now)
    );
    line.push_str(&format!("\nRestore point: {:?}", rollout.restore_point));
    if let Some(failure) = &rollout.failure {
        line.push_str(&format!("\nTaken back at {}: {}", failure.step, failure.message));
    }
    Some(plain(&line))
}

/// Ended releases, newest first.
pub(super) fn history(release: &ReleaseStatus, now: DateTime<Utc>, look: Look) -> Option<String> {
    let mut table = table(
        look,
        &["RELEASE", "ATTEMPT", "ASKED BY", "OUTCOME", "ENDED", "TOOK", "REQUESTS FAILED", "TWO VERSIONS", "STEPS"],
    );
    for record in &release.history {
        let outcome = format!("{:?}", record.outcome);
        table.add_row([
            Cell::new(plain(&record.release.version)),
            Cell::new(record.release.attempt),
            Cell::new(plain(record.asked_by.as_deref().unwrap_or_default())),
            truth(&outcome, Some(record.outcome == ReleaseOutcome::Completed)),
            Cell::new(age(time(&record.ended), now)),
            Cell::new(took(record)),
            Cell::new(failed(record)),
            Cell::new(mixed(record)),
            Cell::new(plain(&steps(record))),
        ]);
    }
    filled(&table)
}

fn took(record: &ReleaseRecord) -> String {
    match (time(&record.started), time(&record.ended)) {
        (Some(started), Some(ended)) => format!("{} s", (ended - started).num_seconds()),
        _ => "unknown".to_owned(),
    }
}

/// Of how many, as the prober saw them.
fn failed(record: &ReleaseRecord) -> String {
    let Some(evidence) = &record.evidence else { return "not watched".to_owned() };
    let back = evidence.recovered_milliseconds.map(|ms| format!(", well again {ms} ms after the alarm"));
    format!("{} of {}{}", evidence.failed, evidence.requests, back.unwrap_or_default())
}

/// How long both answered.
fn mixed(record: &ReleaseRecord) -> String {
    let mixed = |evidence: &ReleaseEvidence| format!("{} ms", evidence.mixed_milliseconds);
    record.evidence.as_ref().map_or_else(String::new, mixed)
}

/// Steps that took time, or the one that failed.
fn steps(record: &ReleaseRecord) -> String {
    if let Some(failure) = &record.failure {
        return format!("{} failed: {}", failure.step, failure.message);
    }
    let long = record.steps.iter().filter(|step| step.seconds > 0);
    long.map(|step| format!("{} {} s", step.step, step.seconds)).collect::<Vec<_>>().join(", ")
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}
