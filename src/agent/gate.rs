//! Asks the pods of a release, before users do.
//!
//! Guarantees: succeeds only when every check has passed so many times in a row; the whole takes a bounded time.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    ask::{self, ask},
    trust::Trust,
};
use crate::capabilities::release::check::Check;

/// Between two rounds, so that they do not all meet the same moment.
const PAUSE: Duration = Duration::from_secs(1);

/// Checks to pass.
#[derive(Args, Clone, Debug)]
pub struct Gate {
    /// One check, as JSON.
    #[arg(long = "check", required = true, value_parser = parse)]
    checks: Vec<Check>,
    /// Rounds in a row that every check must pass.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    passes: u32,
    /// Rounds after which it has failed.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds during which rounds in which nobody takes a connection do not count: pods that are ready are reached through
    /// their Service only when every node knows of them, and a node that had lost the API server takes its time.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(0..=3600))]
    patience: u64,
}

/// Why the gate stays closed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The runtime does not start.
    #[error("the gate cannot start: {0}")]
    Start(#[source] io::Error),
    /// A check kept failing.
    #[error("{host}:{port} did not pass {passes} rounds in a row: {failure}")]
    Closed {
        /// Whom it asked.
        host: String,
        /// TCP port.
        port: u16,
        /// Rounds that it had to pass.
        passes: u32,
        /// The last failure.
        failure: ask::Failure,
    },
    /// No round was left.
    #[error("{rounds} rounds do not suffice for {passes} in a row")]
    TooFew {
        /// Rounds.
        rounds: u32,
        /// In a row.
        passes: u32,
    },
}

impl Failure {
    fn is_unreached(&self) -> bool {
        matches!(self, Self::Closed { failure: ask::Failure::Connect { .. }, .. })
    }
}

pub(super) fn parse(text: &str) -> Result<Check, serde_json::Error> {
    serde_json::from_str(text)
}

impl Gate {
    /// Asks until the gate opens or has failed.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start)?;
        runtime.block_on(self.rounds())
    }

    async fn rounds(&self) -> Result<(), Failure> {
        let (mut passed, mut counted) = (0, 0);
        let mut last = Failure::TooFew { rounds: self.rounds, passes: self.passes };
        let patient_until = Instant::now() + Duration::from_secs(self.patience);
        for round in 1_u64.. {
            match self.round().await {
                Ok(()) => passed += 1,
                Err(failure) => {
                    passed = 0;
                    last = failure;
                }
            }
            // Progress in the log; nobody is left to tell if standard output is closed.
            let _ = writeln!(io::stdout(), "round {round}: {passed} of {} passed in a row", self.passes);
            if passed >= self.passes {
                return Ok(());
            }
            let unreached = passed == 0 && last.is_unreached() && Instant::now() < patient_until;
            counted += u32::from(!unreached);
            if counted >= self.rounds {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(last)
    }

    async fn round(&self) -> Result<(), Failure> {
        for check in &self.checks {
            ask(check, &Trust::default()).await.map_err(|failure| Failure::Closed {
                host: check.host.clone(),
                port: check.port,
                passes: self.passes,
                failure,
            })?;
        }
        Ok(())
    }
}
