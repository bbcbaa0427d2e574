//! Users of the test stand: steady requests, and what answered each.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use super::socket;

const PATIENCE: Duration = Duration::from_secs(15);
const LARGEST_ANSWER: usize = 1 << 10;
/// Between two requests of one user.
const PAUSE: Duration = Duration::from_millis(10);
/// Failures that are told in words.
const TOLD: usize = 5;

/// How a user behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    /// One connection for as long as it stays open.
    KeepsAlive,
    /// A connection for every request.
    Fresh,
    /// Requests that take two seconds.
    Slow,
    /// A WebSocket for as long as it stays open.
    Socket,
}

const USERS: [User; 8] = [
    User::KeepsAlive,
    User::KeepsAlive,
    User::KeepsAlive,
    User::Fresh,
    User::Fresh,
    User::Slow,
    User::Socket,
    User::Socket,
];

/// One answered request.
#[derive(Clone, Debug)]
struct Answer {
    sent: Instant,
    version: String,
    user: User,
}

/// A request without a good answer.
#[derive(Clone, Debug)]
struct Failure {
    sent: Instant,
    why: String,
}

/// What all users saw.
#[derive(Debug, Default)]
struct Seen {
    answers: Mutex<Vec<Answer>>,
    failures: Mutex<Vec<Failure>>,
    sent: AtomicU64,
}

/// Users at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    users: JoinSet<()>,
}

/// What was seen in the end.
#[derive(Debug)]
pub struct Report {
    answers: Vec<Answer>,
    /// Requests that were sent.
    pub sent: u64,
    failures: Vec<Failure>,
}

/// Where users go.
#[derive(Clone, Debug)]
pub struct Door {
    /// Address of the gateway.
    pub gateway: String,
    /// Host of the hospital.
    pub host: String,
}

impl Load {
    /// At most `most` requests, so that the load ends by itself.
    pub fn start(door: &Door, most: u64) -> Self {
        let (stop, seen) = <(Arc<AtomicBool>, Arc<Seen>)>::default();
        let mut users = JoinSet::new();
        for user in USERS {
            let (door, stop, seen) = (door.clone(), Arc::clone(&stop), Arc::clone(&seen));
            users.spawn(async move {
                let (mut connection, mut socket) = (None, None);
                while !stop.load(Ordering::Relaxed) && seen.sent.fetch_add(1, Ordering::Relaxed) < most {
                    let sent = Instant::now();
                    let answer = match user {
                        User::Socket => timeout(PATIENCE, socket::ask(&door, &mut socket)).await,
                        _ => timeout(PATIENCE, ask(&door, user, &mut connection)).await,
                    };
                    match answer.context("no answer").and_then(|answer| answer) {
                        Ok(version) => locked(&seen.answers).push(Answer { sent, version, user }),
                        Err(error) => {
                            (connection, socket) = (None, None);
                            locked(&seen.failures).push(Failure { sent, why: format!("{user:?}: {error:#}") });
                        }
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Self { stop, seen, users }
    }

    /// Lets every request end.
    pub async fn end(mut self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        while self.users.join_next().await.is_some() {}
        let (answers, failures) = (locked(&self.seen.answers).clone(), locked(&self.seen.failures).clone());
        Report { sent: u64::try_from(answers.len() + failures.len()).unwrap_or(u64::MAX), answers, failures }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Sender = SendRequest<Empty<Bytes>>;

/// The version that answers.
async fn ask(door: &Door, user: User, connection: &mut Option<Sender>) -> Result<String> {
    let kept = connection.take().filter(|sender| matches!(user, User::KeepsAlive) && !sender.is_closed());
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(door).await?,
    };
    let path = if matches!(user, User::Slow) { "/slow" } else { "/" };
    let request = Request::get(path).header(header::HOST, &door.host).body(Empty::new())?;
    let response = sender.send_request(request).await.context("the gateway closed the connection")?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    ensure!(status == StatusCode::OK, "status {status}: {text}");
    *connection = Some(sender);
    Ok(text)
}

async fn connect(door: &Door) -> Result<Sender> {
    let stream = TcpStream::connect(&door.gateway).await.context("the gateway does not listen")?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection.
    tokio::spawn(connection);
    Ok(sender)
}

impl Report {
    /// Answers by version.
    pub fn versions(&self) -> BTreeMap<&str, usize> {
        let mut versions = BTreeMap::new();
        for answer in &self.answers {
            *versions.entry(answer.version.as_str()).or_default() += 1;
        }
        versions
    }

    /// From the first request that the new version answered to the last one that the old version did. Without WebSockets:
    /// an open one stays with the pod that it was opened to, until that drains.
    pub fn mixed(&self, old: &str, new: &str) -> Duration {
        let of = |version: &str| -> Vec<Instant> {
            let routed = self.answers.iter().filter(|answer| answer.user != User::Socket);
            routed.filter(|answer| answer.version == version).map(|answer| answer.sent).collect()
        };
        match (of(new).into_iter().min(), of(old).into_iter().max()) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        }
    }

    /// How many failed, and for how long: from the first to the last.
    pub fn failed(&self) -> (usize, Duration) {
        let sent = || self.failures.iter().map(|failure| failure.sent);
        let span = sent().min().zip(sent().max()).map(|(first, last)| last.duration_since(first));
        (self.failures.len(), span.unwrap_or_default())
    }

    /// Nothing failed, and nobody but these versions answered.
    ///
    /// # Errors
    /// With the first failures in words.
    pub fn is_clean(&self, versions: &[&str]) -> Result<()> {
        let told: Vec<_> = self.failures.iter().map(|failure| &failure.why).take(TOLD).collect();
        ensure!(told.is_empty(), "{} of {} requests failed: {told:?}", self.failures.len(), self.sent);
        let strange: Vec<_> = self.versions().into_iter().filter(|(version, _)| !versions.contains(version)).collect();
        ensure!(strange.is_empty(), "answers of versions that must not be seen: {strange:?}");
        ensure!(self.sent > 50, "{} requests are too few to say anything", self.sent);
        Ok(())
    }
}
