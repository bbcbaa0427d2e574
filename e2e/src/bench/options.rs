//! The command line.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::contestant::Contestant;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Numbers of hospitals.
    #[arg(long, value_delimiter = ',', default_value = "10,100,300,1000")]
    tenants: Vec<usize>,
    /// Only these contestants.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Contestant>,
    /// Ten minutes of silence and a thousand edits, instead of one minute and a hundred.
    #[arg(long)]
    full: bool,
    /// Seconds in which idle requests are counted, in place of what `--full` decides.
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u64>,
    /// Most hospitals for Helm: a process each, so that it takes longest.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    most_for_helm: usize,
    /// Most hospitals for kro.
    #[arg(long, value_name = "NUMBER", default_value_t = 300)]
    most_for_kro: usize,
    /// Connections to servers outside that each hospital declares: each is a policy of its own. Published apart.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=32))]
    pub(super) flows: u8,
    /// Measure this program as the operator, in place of one that is built from this checkout as it is released.
    #[arg(long, value_name = "FILE")]
    pub(super) operator: Option<PathBuf>,
    /// Write the table and the plots into the README and `e2e/bench/results`.
    #[arg(long)]
    pub(super) publish: bool,
}

/// What is measured of a contestant that keeps running.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steady {
    pub idle: Duration,
    /// Edits, and as many drifts.
    pub samples: usize,
}

impl Options {
    pub(super) fn contestants(&self) -> Vec<Contestant> {
        let wanted = |one: &Contestant| self.only.is_empty() || self.only.contains(one);
        Contestant::ALL.into_iter().filter(wanted).collect()
    }

    /// Smallest first.
    pub(super) fn sizes(&self) -> BTreeSet<usize> {
        self.tenants.iter().copied().filter(|tenants| *tenants > 0).collect()
    }

    pub(super) fn most(&self, contestant: Contestant) -> usize {
        match contestant {
            Contestant::Helm => self.most_for_helm,
            Contestant::Kro => self.most_for_kro,
            Contestant::HisOperator | Contestant::Raw | Contestant::ControllerRuntime => usize::MAX,
        }
    }

    pub(super) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle.unwrap_or(if self.full { 600 } else { 60 }))
    }

    pub(super) fn steady(&self) -> Steady {
        Steady { idle: self.idle(), samples: if self.full { 1000 } else { 100 } }
    }
}
