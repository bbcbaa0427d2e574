//! Leader election on a `coordination.k8s.io/v1` Lease.
//!
//! Guarantees: at most one replica writes. A holder's [`Fence`] closes a margin before another replica may take the lease;
//! another replica takes it only after it has watched it unchanged for its whole duration on its own monotonic clock
//! (the rule of client-go), or when it was released. A lost lease ends the process, so that no stale task survives.

use std::sync::Arc;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::Fence;
use crate::{
    metrics::Metrics,
    names,
    ports::{Clock, jitter},
};

/// Durations of the election.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a renewal is valid.
    pub duration: Duration,
    /// Time between renewals.
    pub renew: Duration,
    /// Time between attempts to take or to mend.
    pub retry: Duration,
    /// How long before its end the lease is no longer used.
    pub margin: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            margin: Duration::from_secs(3),
        }
    }
}

/// Who wants to lead, and where that is written down.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Unique per process, for example the pod's name and a random suffix.
    pub identity: String,
    /// Durations.
    pub timing: Timing,
}

/// One candidate's part in the election.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    clock: Arc<dyn Clock>,
    fence: Fence,
    metrics: Arc<Metrics>,
    /// The lease as last seen, and since when it has looked like that.
    seen: Option<(Lease, Instant)>,
}

/// What to do about the lease.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Create,
    Take,
    Wait(Duration),
}

impl Election {
    /// Takes no part yet.
    pub fn new(client: Client, candidate: Candidate, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let api = Api::namespaced(client, &candidate.namespace);
        Self { api, candidate, clock, fence: Fence::closed(), metrics, seen: None }
    }

    /// The permission that this election gives and takes.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Waits until this candidate leads.
    pub async fn acquire(&mut self) {
        let retry = self.candidate.timing.retry;
        loop {
            let wait = match timeout(self.candidate.timing.duration, self.attempt()).await {
                Ok(Ok(None)) => return,
                Ok(Ok(Some(wait))) => wait,
                Err(_) => retry,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.candidate.name, %error, "leader lease could not be read or taken");
                    retry
                }
            };
            sleep(jitter(wait.min(retry * 2))).await;
        }
    }

    /// Renews until the lease is lost; returns why.
    pub async fn hold(&mut self) -> String {
        let timing = self.candidate.timing;
        let mut wait = timing.renew;
        loop {
            sleep(jitter(wait)).await;
            let Some(left) = self.fence.permit(timing.renew) else {
                self.lost();
                return "it could not be renewed in time".to_owned();
            };
            wait = match timeout(left, self.renew()).await {
                Ok(Ok(true)) => timing.renew,
                Ok(Ok(false)) => {
                    self.lost();
                    return "another replica holds it".to_owned();
                }
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.candidate.name, %error, "leader lease was not renewed");
                    timing.retry
                }
                Err(_) => timing.retry,
            };
        }
    }

    /// Gives the lease back, so that the next replica need not wait. Only after everything that writes has ended.
    pub async fn release(&mut self) {
        self.lost();
        let Some((mut lease, _)) = self.seen.take() else { return };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.candidate.identity) {
            return;
        }
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        let parameters = PostParams::default();
        let sent = self.api.replace(&self.candidate.name, &parameters, &lease);
        if let Ok(Err(error)) = timeout(self.candidate.timing.margin, sent).await {
            tracing::warn!(lease = self.candidate.name, %error, "leader lease was not released; it expires by itself");
        }
    }

    fn lost(&self) {
        self.fence.close();
        self.metrics.leading(false);
    }

    /// `None` when taken, otherwise how long to wait.
    async fn attempt(&mut self) -> kube::Result<Option<Duration>> {
        let found = self.api.get_opt(&self.candidate.name).await?;
        match self.next(found, Instant::now()) {
            Step::Wait(wait) => Ok(Some(wait)),
            Step::Create => {
                let started = Instant::now();
                let lease = self.claim(None);
                let created = self.api.create(&PostParams::default(), &lease).await?;
                self.won(created, started);
                Ok(None)
            }
            Step::Take => {
                let lease = self.claim(self.seen.as_ref().map(|(lease, _)| lease));
                let started = Instant::now();
                let taken = self.api.replace(&self.candidate.name, &PostParams::default(), &lease).await?;
                self.won(taken, started);
                Ok(None)
            }
        }
    }

    fn next(&mut self, found: Option<Lease>, now: Instant) -> Step {
        let Some(lease) = found else { return Step::Create };
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let since = match &self.seen {
            Some((seen, since)) if version(seen) == version(&lease) => *since,
            _ => now,
        };
        let spec = lease.spec.clone().unwrap_or_default();
        self.seen = Some((lease, since));
        let holder = spec.holder_identity.unwrap_or_default();
        if holder.is_empty() || holder == self.candidate.identity {
            return Step::Take;
        }
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let valid = seconds.map_or(self.candidate.timing.duration, Duration::from_secs);
        let left = (since + valid).saturating_duration_since(now);
        if left.is_zero() { Step::Take } else { Step::Wait(left) }
    }

    /// False when another replica holds the lease.
    async fn renew(&mut self) -> kube::Result<bool> {
        let lease = self.claim(self.seen.as_ref().map(|(lease, _)| lease));
        let started = Instant::now();
        match self.api.replace(&self.candidate.name, &PostParams::default(), &lease).await {
            Ok(renewed) => {
                self.won(renewed, started);
                Ok(true)
            }
            // Either an earlier renewal arrived although its answer did not, or the lease is someone else's.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let found = self.api.get(&self.candidate.name).await?;
                let holder = found.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
                let ours = holder == Some(self.candidate.identity.as_str());
                self.seen = Some((found, Instant::now()));
                if ours { Err(kube::Error::Api(status)) } else { Ok(false) }
            }
            Err(error) => Err(error),
        }
    }

    fn won(&mut self, lease: Lease, started: Instant) {
        let timing = self.candidate.timing;
        self.seen = Some((lease, started));
        self.fence.extend(started + timing.duration.saturating_sub(timing.margin));
        self.metrics.leading(true);
    }

    /// The lease as it must be for this candidate to hold it.
    fn claim(&self, current: Option<&Lease>) -> Lease {
        let now = Timestamp::from_microsecond(self.clock.now().timestamp_micros()).ok().map(MicroTime);
        let mut lease = current.cloned().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.candidate.name.clone()),
                namespace: Some(self.candidate.namespace.clone()),
                labels: Some([(names::MANAGED_BY.to_owned(), names::PRODUCT.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let before = lease.spec.take().unwrap_or_default();
        let same = before.holder_identity.as_deref() == Some(&self.candidate.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        lease.spec = Some(LeaseSpec {
            acquire_time: if same { before.acquire_time.clone() } else { now.clone() },
            holder_identity: Some(self.candidate.identity.clone()),
            lease_duration_seconds: i32::try_from(self.candidate.timing.duration.as_secs()).ok(),
            lease_transitions: Some(if same || current.is_none() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            renew_time: now,
            ..before
        });
        lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::SystemClock;

    fn election(identity: &str) -> Election {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let candidate = Candidate {
            namespace: "system".to_owned(),
            name: "his-operator".to_owned(),
            identity: identity.to_owned(),
            timing: Timing::default(),
        };
        Election::new(Client::try_from(config).unwrap(), candidate, Arc::new(SystemClock), Arc::default())
    }

    fn held_by(holder: &str, version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
        }
    }

    #[tokio::test]
    async fn a_lease_is_taken_only_after_it_was_seen_unchanged_for_its_whole_duration() {
        let mut election = election("b");
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(election.next(Some(held_by("a", "1")), start), Step::Wait(Duration::from_secs(15)));
        assert_eq!(election.next(Some(held_by("a", "1")), after(14)), Step::Wait(Duration::from_secs(1)));
        assert_eq!(election.next(Some(held_by("a", "2")), after(14)), Step::Wait(Duration::from_secs(15)));
        assert_eq!(election.next(Some(held_by("a", "2")), after(28)), Step::Wait(Duration::from_secs(1)));
        assert_eq!(election.next(Some(held_by("a", "2")), after(29)), Step::Take);
    }

    #[tokio::test]
    async fn an_absent_a_released_and_an_own_lease_are_taken_at_once() {
        let mut election = election("b");
        let now = Instant::now();
        assert_eq!(election.next(None, now), Step::Create);
        assert_eq!(election.next(Some(held_by("", "1")), now), Step::Take);
        assert_eq!(election.next(Some(held_by("b", "2")), now), Step::Take);
    }

    #[tokio::test]
    async fn writes_stop_before_another_replica_may_take_over() {
        let mut election = election("a");
        let timing = election.candidate.timing;
        let started = Instant::now();
        election.won(held_by("a", "1"), started);
        let permitted = election.fence().permit(Duration::from_secs(60)).unwrap();
        assert!(permitted <= timing.duration - timing.margin);
        assert!(timing.renew * 2 < timing.duration - timing.margin, "one lost renewal must not lose the lease");
    }

    #[tokio::test]
    async fn a_change_of_holder_is_counted_and_dated() {
        let election = election("b");
        let taken = election.claim(Some(&held_by("a", "7"))).spec.unwrap();
        assert_eq!((taken.lease_transitions, taken.holder_identity.as_deref()), (Some(1), Some("b")));
        assert_eq!(taken.acquire_time, taken.renew_time);
    }
}
