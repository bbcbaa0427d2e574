//! Asks as users do, through the front door, while they are led from one version to another.
//!
//! Guarantees: a bounded number of requests at a steady pace, and no more than a few at a time; ends by itself. That requests
//! fail is told at once, and it goes on until the old pods answer again. What it reports are numbers: nothing of an answer but
//! its colour is kept.

mod tally;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

use super::{
    alarm,
    ask::ask,
    gate::parse,
    trust::{self, Trust},
};
use crate::{api::v1alpha1::Colour, capabilities::release::check::Check};
use tally::{Sample, Tally};

/// Requests under way at once; a server that hangs is not buried under more.
const AT_ONCE: usize = 32;

/// What to ask, and until when.
#[derive(Args, Clone, Debug)]
pub struct Prober {
    /// One question, as JSON; they take turns.
    #[arg(long = "check", required = true, value_parser = parse)]
    checks: Vec<Check>,
    /// Certificates (PEM) of the authorities that may certify who answers over TLS. Absent: nobody is asked over TLS.
    #[arg(long, allow_hyphen_values = true)]
    authorities: Option<String>,
    /// The copy of the application that users will be led to.
    #[arg(long, value_parser = colour)]
    to: Colour,
    /// Milliseconds between two requests.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(10..=10_000))]
    interval_milliseconds: u64,
    /// Seconds after the last change of who answers, after which nothing more is expected.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    quiet_seconds: u64,
    /// Seconds after which it ends in any case.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Where it leaves word as soon as requests fail, and otherwise at its end.
    #[arg(long, default_value = alarm::NEWS)]
    news: PathBuf,
    /// Where the report is written.
    #[arg(long, default_value = "/dev/termination-log")]
    report: PathBuf,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The runtime does not start.
    #[error("the prober cannot start: {0}")]
    Start(#[source] io::Error),
    /// Nobody can be trusted.
    #[error(transparent)]
    Trust(#[from] trust::Failure),
    /// The report cannot be written.
    #[error("the report cannot be written to {path}: {source}")]
    WriteReport {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

fn colour(text: &str) -> Result<Colour, String> {
    Colour::parse(text).ok_or_else(|| "there are blue and green".to_owned())
}

impl Prober {
    /// Asks until it knows enough, then reports.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let trust = self.authorities.as_deref().map_or(Ok(Trust::default()), Trust::in_authorities)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start)?;
        let tally = runtime.block_on(self.watch(&trust))?;
        let report = self.words(&tally);
        // Nobody is left to tell if standard output is closed.
        let _ = writeln!(io::stdout(), "{report}");
        if !tally.breached() {
            written(&self.news, alarm::tell(&self.news, &report))?;
        }
        written(&self.report, fs::write(&self.report, report))
    }

    fn words(&self, tally: &Tally) -> String {
        // Numbers always have a JSON form.
        serde_json::to_string(&tally.evidence(self.interval_milliseconds)).unwrap_or_default()
    }

    async fn watch(&self, trust: &Trust) -> Result<Tally, Failure> {
        let (started, checks) = (Instant::now(), self.checks.iter().cloned().map(Arc::new).collect::<Vec<_>>());
        let mut ticks = tokio::time::interval(Duration::from_millis(self.interval_milliseconds));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut turn, mut under_way) = (checks.iter().enumerate().cycle(), JoinSet::new());
        let mut tally = Tally::new(self.to, checks.len());
        while started.elapsed().as_secs() < self.seconds && !tally.knows(millis(started), self.quiet_seconds * 1000) {
            tokio::select! {
                _ = ticks.tick() => if under_way.len() < AT_ONCE && let Some((place, check)) = turn.next() {
                    under_way.spawn(one(place, Arc::clone(check), trust.clone(), started));
                },
                Some(Ok(sample)) = under_way.join_next() => {
                    let known = tally.breached();
                    tally.add(sample);
                    if tally.breached() && !known {
                        written(&self.news, alarm::tell(&self.news, &self.words(&tally)))?;
                    }
                }
            }
        }
        // Each has its own deadline.
        while let Some(ended) = under_way.join_next().await {
            ended.into_iter().for_each(|sample| tally.add(sample));
        }
        Ok(tally)
    }
}

fn written(path: &Path, done: io::Result<()>) -> Result<(), Failure> {
    done.map_err(|source| Failure::WriteReport { path: path.to_owned(), source })
}

async fn one(place: usize, check: Arc<Check>, trust: Trust, started: Instant) -> Sample {
    let sent = millis(started);
    let answer = ask(&check, &trust).await;
    Sample { sent, check: place, colour: answer.map(|answer| answer.colour).map_err(drop) }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
