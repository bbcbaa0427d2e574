//! How long a pod goes on serving after it was told to end: until everybody who leads users has noticed.
//!
//! Guarantees: pure. Measured where there is something to measure: a cutover shows how long the Gateway takes to follow a
//! change, and its prober how long some of it still went the old way. Twice the longest of the last releases counts, and
//! never less than [`PRE_STOP_SECONDS`] or more than [`MOST`].

use crate::{
    api::v1alpha1::{ReleaseOutcome, ReleaseRecord, ReleaseStep},
    capabilities::pod::PRE_STOP_SECONDS,
};

/// A Gateway that needs longer is broken: waiting for it would only keep nodes from being drained.
const MOST: i64 = 30;

/// Seconds; absent for the least, which needs no measurement.
pub fn seconds(history: &[ReleaseRecord]) -> Option<i64> {
    let longest = history.iter().filter_map(followed).max()?;
    Some(longest.saturating_mul(2).clamp(PRE_STOP_SECONDS, MOST)).filter(|seconds| *seconds > PRE_STOP_SECONDS)
}

/// Seconds from the change of the route until nobody was led the old way any more; of releases that came in and were watched.
fn followed(record: &ReleaseRecord) -> Option<i64> {
    let evidence = record.evidence.as_ref().filter(|_| record.outcome == ReleaseOutcome::Completed)?;
    let cutover = record.steps.iter().find(|step| step.step == ReleaseStep::Cutover)?;
    let mixed = evidence.mixed_milliseconds.max(0).saturating_add(999) / 1000;
    Some(cutover.seconds.saturating_add(mixed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1alpha1::{ReleaseEvidence, StepDuration};

    fn record(outcome: ReleaseOutcome, seconds: i64, mixed_milliseconds: i64) -> ReleaseRecord {
        let evidence = Some(ReleaseEvidence { mixed_milliseconds, ..ReleaseEvidence::default() });
        let steps = vec![StepDuration { step: ReleaseStep::Cutover, seconds }];
        ReleaseRecord { outcome, steps, evidence, ..ReleaseRecord::default() }
    }

    #[test]
    fn twice_the_longest_that_was_seen_counts_within_bounds() {
        use ReleaseOutcome::{Completed, RolledBack};
        for (history, expected) in [
            (vec![], None),
            (vec![record(Completed, 0, 0)], None),
            (vec![record(Completed, 2, 400)], Some(6)),
            (vec![record(Completed, 1, 0), record(Completed, 7, 1001), record(Completed, 0, 0)], Some(18)),
            (vec![record(Completed, 250, 0)], Some(30)),
            // What was taken back may have waited for something else, and nobody saw what was not watched.
            (vec![record(RolledBack, 300, 0)], None),
            (vec![ReleaseRecord { evidence: None, ..record(Completed, 300, 0) }], None),
            (vec![ReleaseRecord::default()], None),
        ] {
            assert_eq!(seconds(&history), expected, "{history:?}");
        }
    }
}
