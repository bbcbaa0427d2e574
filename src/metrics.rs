//! Metrics of the operator, in OpenMetrics text.
//!
//! Guarantees: labels have few values (verbs, kinds, results), never names of hospitals' objects. A hospital is named only
//! where somebody has opened a gap in its network, which is rare, and of which one must know where.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::{
    api::v1alpha1::{NetworkGap, ReleaseEvidence, ReleaseOutcome},
    error::ErrorClass,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watched {
    kind: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Readiness {
    ready: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Gap {
    tenant: String,
    what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Outcome, Counter>,
    duration: Histogram,
    writes: Family<Request, Counter>,
    watch_restarts: Family<Watched, Counter>,
    queue: Gauge,
    running: Gauge,
    tenants: Family<Readiness, Gauge>,
    leader: Gauge,
    releases: Family<Ended, Counter>,
    release_duration: Histogram,
    release_requests: Family<Answered, Counter>,
    release_mixed: Histogram,
    gaps: Family<Gap, Counter>,
    gap_seconds: Family<Gap, Counter<f64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("his_operator"),
            reconciles: Family::default(),
            duration: Histogram::new([
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ]),
            writes: Family::default(),
            watch_restarts: Family::default(),
            queue: Gauge::default(),
            running: Gauge::default(),
            tenants: Family::default(),
            leader: Gauge::default(),
            releases: Family::default(),
            release_duration: Histogram::new([5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]),
            release_requests: Family::default(),
            release_mixed: Histogram::new([0.0, 0.01, 0.1, 0.5, 1.0, 5.0, 30.0]),
            gaps: Family::default(),
            gap_seconds: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("reconciles", "Reconciles of hospitals by result", self.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Time that one reconcile took",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register(
            "writes",
            "Requests that may change the cluster, by verb, kind and result",
            self.writes.clone(),
        );
        registry.register(
            "watch_restarts",
            "Watches that ended early, by kind and reason",
            self.watch_restarts.clone(),
        );
        registry.register("queue_depth", "Hospitals that wait for a reconcile", self.queue.clone());
        registry.register("reconciles_running", "Reconciles that run now", self.running.clone());
        registry.register("tenants", "Hospitals by state of their Ready condition", self.tenants.clone());
        registry.register("leader", "Whether this replica holds the lease", self.leader.clone());
        registry.register("releases", "Ended releases by outcome", self.releases.clone());
        registry.register(
            "release_requests",
            "Requests of probers through the front door while releases came in, by how they were answered",
            self.release_requests.clone(),
        );
        registry.register_with_unit(
            "release_mixed",
            "Time in which both versions answered while a release came in",
            Unit::Seconds,
            self.release_mixed.clone(),
        );
        registry.register_with_unit(
            "release_duration",
            "Time from the beginning of a release to its end",
            Unit::Seconds,
            self.release_duration.clone(),
        );
        registry.register(
            "network_gaps",
            "NetworkPolicies that somebody else had changed or deleted and that were put right",
            self.gaps.clone(),
        );
        registry.register_with_unit(
            "network_gap",
            "Time in which these were not as they must be, as far as it is known",
            Unit::Seconds,
            self.gap_seconds.clone(),
        );
        registry.register("build", "Version of the operator", Info::new(Build { version: env!("CARGO_PKG_VERSION") }));
    }

    /// Counts a request that may change the cluster.
    pub fn wrote(&self, verb: &'static str, kind: &'static str, result: &'static str) {
        self.writes.get_or_create(&Request { verb, kind, result }).inc();
    }

    /// How often such a request was counted.
    pub fn writes(&self, verb: &'static str, kind: &'static str, result: &'static str) -> u64 {
        self.writes.get_or_create(&Request { verb, kind, result }).get()
    }

    /// Counts a watch that ended early.
    pub fn watch_restarted(&self, kind: &str, reason: &'static str) {
        self.watch_restarts.get_or_create(&Watched { kind: kind.to_owned(), reason }).inc();
    }

    /// Counts a release that has ended.
    pub fn release_ended(&self, outcome: ReleaseOutcome, took: Option<Duration>) {
        self.releases.get_or_create(&Ended { outcome: format!("{outcome:?}") }).inc();
        if let Some(took) = took {
            self.release_duration.observe(took.as_secs_f64());
        }
    }

    /// Counts what users met while a release came in.
    pub fn release_watched(&self, evidence: &ReleaseEvidence) {
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        let failed = count(evidence.failed);
        let answered = |answer| self.release_requests.get_or_create(&Answered { answer });
        answered("failed").inc_by(failed);
        answered("good").inc_by(count(evidence.requests).saturating_sub(failed));
        self.release_mixed.observe(Duration::from_millis(count(evidence.mixed_milliseconds)).as_secs_f64());
    }

    /// Counts a gap in the network of a hospital.
    pub fn gap_closed(&self, tenant: &str, gap: &NetworkGap) {
        let labels = Gap { tenant: tenant.to_owned(), what: format!("{:?}", gap.what) };
        self.gaps.get_or_create(&labels).inc();
        self.gap_seconds.get_or_create(&labels).inc_by(gap.length().as_secs_f64());
    }

    /// How many hospitals wait.
    pub fn queued(&self, hospitals: usize) {
        self.queue.set(i64::try_from(hospitals).unwrap_or(i64::MAX));
    }

    /// Moves one hospital from one Ready state to another; `None` is absence.
    pub fn ready_changed(&self, before: Option<&'static str>, after: Option<&'static str>) {
        if before == after {
            return;
        }
        if let Some(ready) = before {
            self.tenants.get_or_create(&Readiness { ready }).dec();
        }
        if let Some(ready) = after {
            self.tenants.get_or_create(&Readiness { ready }).inc();
        }
    }

    /// Whether this replica leads.
    pub fn leading(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Measures one reconcile from now until the measurement is finished or dropped.
    pub fn reconcile(&self) -> Reconcile<'_> {
        self.running.inc();
        Reconcile { metrics: self, started: Instant::now(), result: "cancelled" }
    }

    /// OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail; an empty page would be noticed by the scraper.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }
}

/// A running measurement; counts on drop, so that a cancelled reconcile is seen too.
#[derive(Debug)]
pub struct Reconcile<'a> {
    metrics: &'a Metrics,
    started: Instant,
    result: &'static str,
}

impl Reconcile<'_> {
    /// Ends the measurement.
    pub fn finish(mut self, failure: Option<ErrorClass>) -> Duration {
        self.result = failure.map_or("ok", ErrorClass::as_str);
        self.started.elapsed()
    }
}

impl Drop for Reconcile<'_> {
    fn drop(&mut self) {
        self.metrics.running.dec();
        self.metrics.duration.observe(self.started.elapsed().as_secs_f64());
        self.metrics.reconciles.get_or_create(&Outcome { result: self.result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_appears_with_its_labels() {
        let metrics = Metrics::default();
        metrics.wrote("apply", "Deployment", "ok");
        metrics.watch_restarted("Deployment", "gone");
        metrics.queued(3);
        metrics.ready_changed(None, Some("True"));
        metrics.ready_changed(Some("True"), Some("False"));
        metrics.leading(true);
        metrics.release_ended(ReleaseOutcome::RolledBack, Some(Duration::from_secs(20)));
        let watched =
            ReleaseEvidence { requests: 400, failed: 3, mixed_milliseconds: 20, ..ReleaseEvidence::default() };
        metrics.release_watched(&watched);
        let gap = |milliseconds| NetworkGap { milliseconds: Some(milliseconds), ..NetworkGap::default() };
        [40, 2000].iter().for_each(|milliseconds| metrics.gap_closed("st-elsewhere", &gap(*milliseconds)));
        drop(metrics.reconcile());
        metrics.reconcile().finish(None);
        metrics.reconcile().finish(Some(ErrorClass::Transient));
        let text = metrics.text();
        for line in [
            r#"his_operator_writes_total{verb="apply",kind="Deployment",result="ok"} 1"#,
            r#"his_operator_watch_restarts_total{kind="Deployment",reason="gone"} 1"#,
            "his_operator_queue_depth 3",
            r#"his_operator_tenants{ready="False"} 1"#,
            r#"his_operator_tenants{ready="True"} 0"#,
            "his_operator_leader 1",
            r#"his_operator_reconciles_total{result="ok"} 1"#,
            r#"his_operator_reconciles_total{result="transient"} 1"#,
            r#"his_operator_reconciles_total{result="cancelled"} 1"#,
            "his_operator_reconcile_duration_seconds_count 3",
            "his_operator_reconciles_running 0",
            r#"his_operator_releases_total{outcome="RolledBack"} 1"#,
            "his_operator_release_duration_seconds_sum 20",
            r#"his_operator_release_requests_total{answer="failed"} 3"#,
            r#"his_operator_release_requests_total{answer="good"} 397"#,
            "his_operator_release_mixed_seconds_sum 0.02",
            r#"his_operator_network_gaps_total{tenant="st-elsewhere",what="Changed"} 2"#,
            r#"his_operator_network_gap_seconds_total{tenant="st-elsewhere",what="Changed"} 2.04"#,
            "his_operator_build_info",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
