//! What was measured, as it is written to the results file.

use std::fs;

use anyhow::{Context, Error, Result};
use serde::Serialize;

use super::contestant::Contestant;

/// Everything of one call of the command.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    pub taken: String,
    pub machine: String,
    /// Objects of one hospital.
    pub children: usize,
    /// Connections to servers outside that it declares.
    pub flows: u8,
    pub idle_window_seconds: u64,
    pub runs: Vec<Run>,
    /// What was not measured, and why.
    pub left: Vec<Left>,
}

/// One contestant with one number of hospitals.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    pub contestant: Contestant,
    pub tenants: usize,
    /// From the first hospital's creation to the last object's.
    pub wall_seconds: f64,
    /// Everything that was asked for until it fell silent, leases apart.
    pub requests: Requests,
    /// Objects, and what a controller cannot do without: one status, and one finalizer if it holds its resources.
    pub needed_writes: usize,
    pub cpu_seconds: f64,
    pub peak_mib: f64,
    pub settled_mib: Option<f64>,
    pub cold_start_ms: Option<f64>,
    pub binary_mib: f64,
    pub steady: Option<Steady>,
}

/// Requests by what they are for.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Requests {
    pub writes: usize,
    /// Of the writes: answered with an error.
    pub refused: usize,
    pub reads: usize,
    pub watches: usize,
    pub lease: usize,
}

/// A contestant that runs on with nothing to do, and is then given something.
#[derive(Debug, Serialize)]
pub(super) struct Steady {
    pub idle: Requests,
    pub edit: Latency,
    pub drift: Latency,
    pub restart: Restart,
}

/// From a cause to the write that answers it.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    pub samples: usize,
    /// Not answered in time.
    pub missed: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// After `kill -9`.
#[derive(Debug, Serialize)]
pub(super) struct Restart {
    /// From the kill until an edit that was made while it was dead is carried out.
    pub caught_up_seconds: f64,
    /// Of these: until the dead process's lease had run out.
    pub lease_seconds: f64,
    /// Reads and writes for everything else.
    pub needless: usize,
}

/// Something that was not measured.
#[derive(Debug, Serialize)]
pub(super) struct Left {
    pub contestant: Contestant,
    pub tenants: Option<usize>,
    pub reason: String,
}

impl Left {
    pub(super) fn because(contestant: Contestant, error: &Error) -> Self {
        Self { contestant, tenants: None, reason: format!("{error:#}") }
    }
}

impl Results {
    pub(super) fn of_this_machine(idle_window_seconds: u64) -> Result<Self> {
        let processors = std::thread::available_parallelism().context("cannot count processors")?;
        let memory = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
        let kibibytes = memory.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
        let machine = format!("{processors} processors, {} GiB", kibibytes.unwrap_or_default() >> 20);
        let (runs, left, taken) = (Vec::new(), Vec::new(), String::new());
        Ok(Self { taken, machine, children: 0, flows: 0, idle_window_seconds, runs, left })
    }

    /// Runs of one contestant, smallest first.
    pub(super) fn of(&self, contestant: Contestant) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.contestant == contestant)
    }
}

impl Run {
    /// Writes in relation to what is needed.
    pub(super) fn write_ratio(&self) -> f64 {
        ratio(self.requests.writes, self.needed_writes)
    }

    pub(super) fn per_tenant(&self, amount: f64) -> f64 {
        amount / precise(self.tenants)
    }
}

/// Of counts that are far below 2^52.
#[allow(clippy::cast_precision_loss, reason = "counts of one run")]
pub(super) fn precise(count: usize) -> f64 {
    count as f64
}

pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    precise(part) / precise(whole.max(1))
}
