//! Says what the prober has found as soon as it is known: the message with which a container ends can be read while another
//! container of its pod goes on.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use clap::Args;

/// Where the prober leaves its news; both containers have this directory.
pub(super) const NEWS: &str = "/tmp/news";
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What to wait for, and how long.
#[derive(Args, Clone, Debug)]
pub struct Alarm {
    /// The file with the news.
    #[arg(long, default_value = NEWS)]
    news: PathBuf,
    /// Seconds after which nobody is waited for any more.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Where the report is written.
    #[arg(long, default_value = "/dev/termination-log")]
    report: PathBuf,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The prober has not said anything.
    #[error("there are no news in {path} after {seconds} s")]
    Silent {
        /// The file.
        path: PathBuf,
        /// Seconds.
        seconds: u64,
    },
    /// The news cannot be passed on.
    #[error("the news cannot be copied from {from} to {to}: {source}")]
    Copy {
        /// The file with the news.
        from: PathBuf,
        /// The report.
        to: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl Alarm {
    /// Waits for the news and passes them on.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let started = Instant::now();
        while !self.news.exists() {
            if started.elapsed().as_secs() >= self.seconds {
                return Err(Failure::Silent { path: self.news.clone(), seconds: self.seconds });
            }
            thread::sleep(PAUSE);
        }
        let copied = fs::read(&self.news).and_then(|news| fs::write(&self.report, news));
        copied.map_err(|source| Failure::Copy { from: self.news.clone(), to: self.report.clone(), source })
    }
}

/// Leaves news; whoever sees the file sees all of it.
pub(super) fn tell(at: &Path, news: &str) -> io::Result<()> {
    let whole = at.with_extension("whole");
    fs::write(&whole, news)?;
    fs::rename(whole, at)
}
