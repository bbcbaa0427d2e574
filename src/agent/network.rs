//! Tries connections: those that must open and those that must not.
//!
//! Guarantees: TCP only, no byte is sent; each try and the whole have a bound. Only what is not as expected is tried again,
//! because a network plug-in may take a moment to learn of a new pod.

use std::{
    env, fmt, fs,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::timeout,
};

use crate::capabilities::network::{
    proof::{NAMED, Report},
    tries::{Expect, Target, Try},
};

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(3);
/// Where a pod is told its resolver.
const RESOLVERS: &str = "/etc/resolv.conf";

/// What to try.
#[derive(Args, Clone, Debug)]
pub struct Network {
    /// One connection, as JSON.
    #[arg(long = "try", required = true, value_parser = parse)]
    tries: Vec<Try>,
    /// Seconds that one connection may take to open.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    /// Rounds after which what is not as expected stays so.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Where the report is written.
    #[arg(long, default_value = "/dev/termination-log")]
    report: PathBuf,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The runtime does not start.
    #[error("the probe cannot start: {0}")]
    Start(#[source] io::Error),
    /// The report cannot be written.
    #[error("the report cannot be written to {path}: {source}")]
    WriteReport {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

fn parse(text: &str) -> Result<Try, serde_json::Error> {
    serde_json::from_str(text)
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    Closed,
    /// It has no address.
    Nowhere,
}

impl Outcome {
    fn is(self, expected: Expect) -> bool {
        matches!((self, expected), (Self::Open, Expect::Open) | (Self::Closed, Expect::Closed))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiServer => f.write_str("the API server"),
            Self::Resolver(port) => write!(f, "the resolver on port {port}"),
            Self::Server(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Server(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl Network {
    /// Tries, then reports; what it found is no failure.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start)?;
        let report = report(runtime.block_on(self.all()));
        // Strings and numbers always have a JSON form.
        let report = serde_json::to_string(&report).unwrap_or_default();
        // Nobody is left to tell if standard output is closed.
        let _ = writeln!(io::stdout(), "{report}");
        fs::write(&self.report, report).map_err(|source| Failure::WriteReport { path: self.report.clone(), source })
    }

    async fn all(&self) -> Vec<(Try, Outcome)> {
        let mut done = Vec::new();
        let mut open: Vec<Try> = self.tries.clone();
        for round in 1..=self.rounds {
            let mut under_way = JoinSet::new();
            for one in open.drain(..) {
                let patience = Duration::from_secs(self.timeout);
                under_way.spawn(async move { (outcome(&one.to, patience).await, one) });
            }
            for (outcome, one) in under_way.join_all().await {
                if outcome.is(one.expect) || round == self.rounds {
                    done.push((one, outcome));
                } else {
                    open.push(one);
                }
            }
            if open.is_empty() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        done
    }
}

async fn outcome(to: &Target, patience: Duration) -> Outcome {
    let addresses = timeout(patience, addresses(to)).await.unwrap_or_default();
    if addresses.is_empty() {
        return Outcome::Nowhere;
    }
    for address in addresses {
        if matches!(timeout(patience, TcpStream::connect(address)).await, Ok(Ok(_))) {
            return Outcome::Open;
        }
    }
    Outcome::Closed
}

async fn addresses(to: &Target) -> Vec<SocketAddr> {
    let (host, port) = match to {
        Target::Server(host, port) => (Some(host.clone()), Some(*port)),
        Target::Resolver(port) => (resolver(&fs::read_to_string(RESOLVERS).unwrap_or_default()), Some(*port)),
        Target::ApiServer => {
            let port = env::var("KUBERNETES_SERVICE_PORT").ok().and_then(|port| port.parse().ok());
            (env::var("KUBERNETES_SERVICE_HOST").ok(), port)
        }
    };
    let Some((host, port)) = host.zip(port) else { return Vec::new() };
    lookup_host((host, port)).await.map(Iterator::collect).unwrap_or_default()
}

/// The first one that a pod asks (resolv.conf(5)).
fn resolver(text: &str) -> Option<String> {
    let mut words = text.lines().map(str::split_whitespace);
    words.find_map(|mut words| {
        (words.next() == Some("nameserver")).then(|| words.next().map(ToOwned::to_owned)).flatten()
    })
}

fn report(tried: Vec<(Try, Outcome)>) -> Report {
    let mut report = Report::default();
    for (one, outcome) in tried {
        let name = one.to.to_string();
        match (one.expect, outcome) {
            (Expect::Open, Outcome::Open) => {}
            (Expect::Closed, Outcome::Closed) => report.refused += 1,
            (Expect::Closed, Outcome::Open) => report.opened.push(name),
            (Expect::Open, Outcome::Closed) | (_, Outcome::Nowhere) => report.unreached.push(name),
        }
    }
    for names in [&mut report.opened, &mut report.unreached] {
        names.sort();
        names.truncate(NAMED);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_resolver_counts() {
        let text = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        assert_eq!(resolver(text).as_deref(), Some("192.0.2.1"));
        assert_eq!(resolver("search example.org\n"), None);
    }

    #[test]
    fn the_longest_report_fits_into_a_termination_message() {
        let host = format!("{}.his-{}.svc", "b".repeat(30), "a".repeat(40));
        let one = |port| Try { to: Target::Server(host.clone(), port), expect: Expect::Closed };
        let tried = (10_000..10_040).flat_map(|port| [(one(port), Outcome::Open), (one(port), Outcome::Nowhere)]);
        let text = serde_json::to_string(&report(tried.collect())).unwrap();
        assert!(text.len() <= 4096, "{}", text.len());
    }
}
