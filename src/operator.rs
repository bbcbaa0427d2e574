//! The operator's life: lead, watch, reconcile, step down.
//!
//! Guarantees: nothing is reconciled before the caches are complete, nothing is written without the lease, and a lost lease
//! ends the process. Every hospital has its own back-off; a broken one takes one slot for one attempt and delays nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{FutureExt, StreamExt};
use kube::{
    ResourceExt,
    runtime::{
        Controller,
        controller::{Action, Config, Error as ControllerError},
    },
};
use tokio::{
    sync::{oneshot, watch},
    time::{Duration, timeout},
};
use tracing::Instrument;

use crate::{
    api::v1alpha1::HospitalTenant,
    capabilities,
    cluster::{Caches, Candidate, Connections, Election, Fence, Writer},
    error::{Error as ReconcileError, ErrorClass},
    metrics::Metrics,
    ports::{Clock, Entropy, Resolver, SystemClock, SystemEntropy, SystemResolver, jitter},
    reconcile::{self, Context, Lookups},
    serve::Health,
    settings::Settings,
};

/// First wait after a failure that may pass by itself: rights that were granted a moment ago take this long to arrive.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);
/// A net below the watches, for what no watch can tell.
const SECOND_LOOK: Duration = Duration::from_secs(10 * 60);
/// How long running reconciles may take to end; each request ends earlier.
const GRACE: Duration = Duration::from_secs(20);

/// Why the operator ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another replica may lead.
    #[error("the leader lease is lost: {0}; the process ends so that the next one starts clean")]
    LoseLease(String),
    /// A part that must never end has ended.
    #[error("the controller ended by itself: {0}")]
    EndEarly(String),
}

/// One replica.
#[derive(Debug)]
pub struct Operator {
    /// The API server.
    pub connections: Connections,
    /// Settings of the process.
    pub settings: Settings,
    /// Hospitals that are reconciled at the same time.
    pub concurrency: u16,
    /// The election to take part in; without one, this replica must be the only one.
    pub candidate: Option<Candidate>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Source of key material.
    pub entropy: Arc<dyn Entropy>,
    /// Who knows where names lead.
    pub resolver: Arc<dyn Resolver>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Told when this replica is ready.
    pub health: watch::Sender<Health>,
}

/// Runs one replica without an election until `shutdown`: for tests and for a single process on a laptop.
pub async fn run(
    client: kube::Client,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    Operator::new(client, settings).run(shutdown).await
}

impl Operator {
    /// A single replica with the machine's clock and randomness.
    pub fn new(connections: impl Into<Connections>, settings: Settings) -> Self {
        Self {
            connections: connections.into(),
            settings,
            concurrency: 16,
            candidate: None,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            resolver: Arc::new(SystemResolver),
            metrics: Arc::default(),
            health: watch::Sender::default(),
        }
    }

    /// Runs until `shutdown` or until the lease is lost.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let mut shutdown = std::pin::pin!(shutdown.fuse());
        // A replica that waits for the lease does what it is there for.
        self.health.send_replace(Health { ready: true });
        let Some(candidate) = self.candidate.clone() else {
            return self.lead(Fence::open(), shutdown).await;
        };
        let client = self.connections.main();
        let mut election = Election::new(client, candidate, Arc::clone(&self.clock), Arc::clone(&self.metrics));
        tokio::select! {
            () = election.acquire() => tracing::info!("leading"),
            () = &mut shutdown => return Ok(()),
        }
        let fence = election.fence();
        let (stop, stopped) = oneshot::channel();
        let mut work = std::pin::pin!(self.lead(fence, stopped.map(drop)).fuse());
        let ended = tokio::select! {
            ended = &mut work => ended,
            lost = election.hold() => return Err(Error::LoseLease(lost)),
            () = &mut shutdown => {
                let _ended = stop.send(());
                // Still the leader until the last request is answered.
                tokio::select! {
                    ended = &mut work => ended,
                    lost = election.hold() => return Err(Error::LoseLease(lost)),
                }
            }
        };
        election.release().await;
        ended
    }

    /// Reconciles until told to stop.
    async fn lead(&self, fence: Fence, stop: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let mut stop = std::pin::pin!(stop.fuse());
        let (metrics, clock) = (Arc::clone(&self.metrics), Arc::clone(&self.clock));
        let (caches, woken) = Caches::start(self.connections.clone(), capabilities::kinds(), metrics, clock);
        self.health.send_replace(Health { ready: false });
        tokio::select! {
            () = caches.synced() => {}
            () = &mut stop => return Ok(()),
        }
        self.health.send_replace(Health { ready: true });
        tracing::info!("caches are complete");
        let writer = Writer::new(
            self.connections.main(),
            fence,
            Arc::clone(&self.metrics),
            Arc::clone(&self.clock),
            Arc::clone(&self.entropy),
        );
        let context = Arc::new(Context {
            caches: caches.clone(),
            writer,
            clock: Arc::clone(&self.clock),
            lookups: Lookups::new(Arc::clone(&self.resolver)),
            settings: self.settings.clone(),
            metrics: Arc::clone(&self.metrics),
        });
        let desk = Arc::new(Desk { metrics: Arc::clone(&self.metrics), ..Desk::default() });
        let queue = Arc::clone(&desk);
        let woken = woken.inspect(move |tenant| queue.queued(&tenant.name));
        let (end, ending) = oneshot::channel::<()>();
        let config = Config::default().concurrency(self.concurrency);
        // Tenants come through the caches' own watch, so that a reconcile never sees less than what woke it.
        let mut controller = tokio::spawn(
            Controller::for_stream(futures::stream::pending(), caches.tenants())
                .with_config(config)
                .reconcile_on(woken)
                .graceful_shutdown_on(async move {
                    let _ended = ending.await;
                })
                .run(move |tenant, context| attempt(tenant, context, Arc::clone(&desk)), policy, context)
                .for_each(|result| {
                    report(result);
                    std::future::ready(())
                }),
        );
        tokio::select! {
            ended = &mut controller => return Err(Error::EndEarly(format!("{ended:?}"))),
            () = &mut stop => {}
        }
        tracing::info!("ending");
        let _ended = end.send(());
        if timeout(GRACE, &mut controller).await.is_err() {
            tracing::warn!(
                "reconciles did not end in time and are cut off; the next leader goes on where they stopped"
            );
            controller.abort();
        }
        Ok(())
    }
}

/// What is remembered between the attempts on all hospitals.
#[derive(Debug, Default)]
struct Desk {
    metrics: Arc<Metrics>,
    queue: Mutex<BTreeSet<String>>,
    failures: Mutex<BTreeMap<String, u32>>,
    serial: AtomicU64,
}

impl Desk {
    fn queued(&self, tenant: &str) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.insert(tenant.to_owned());
        self.metrics.queued(queue.len());
    }

    fn started(&self, tenant: &str) -> u64 {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.remove(tenant);
        self.metrics.queued(queue.len());
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    fn succeeded(&self, tenant: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// How long to wait after one more failure in a row.
    fn failed(&self, tenant: &str, class: ErrorClass) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(tenant.to_owned()).or_default();
        *count = count.saturating_add(1);
        match class {
            ErrorClass::Terminal | ErrorClass::Waiting => jitter(SECOND_LOOK),
            ErrorClass::Transient => {
                let doubled = FIRST_RETRY.saturating_mul(1 << (*count - 1).min(16));
                jitter(doubled.min(LONGEST_RETRY))
            }
        }
    }
}

/// A failed reconcile with the wait that it has earned.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct Failure {
    error: ReconcileError,
    retry: Duration,
}

/// One attempt on one hospital, on a task of its own.
async fn attempt(tenant: Arc<HospitalTenant>, context: Arc<Context>, desk: Arc<Desk>) -> Result<Action, Failure> {
    let name = tenant.name_any();
    let serial = desk.started(&name);
    let span = tracing::info_span!("reconcile", tenant = name, reconcile = serial);
    let metrics = Arc::clone(&desk.metrics);
    let task = async move {
        let measured = metrics.reconcile();
        // Too large for the stack of whoever polls it.
        let result = Box::pin(reconcile::reconcile(tenant, context)).await;
        let took = measured.finish(result.as_ref().err().map(ReconcileError::class));
        match &result {
            Ok(_) => tracing::debug!(?took, "reconciled"),
            Err(error) if error.class() == ErrorClass::Transient => tracing::warn!(%error, ?took, "reconcile failed"),
            Err(error) => tracing::info!(%error, ?took, class = error.class().as_str(), "reconcile is blocked"),
        }
        result
    };
    match tokio::spawn(task.instrument(span)).await {
        Ok(Ok(action)) => {
            desk.succeeded(&name);
            Ok(action)
        }
        Ok(Err(error)) => Err(Failure { retry: desk.failed(&name, error.class()), error }),
        Err(lost) => {
            tracing::error!(tenant = name, %lost, "reconcile broke off; this is a defect of the operator");
            Ok(Action::requeue(desk.failed(&name, ErrorClass::Transient)))
        }
    }
}

fn policy(_tenant: Arc<HospitalTenant>, failure: &Failure, _context: Arc<Context>) -> Action {
    Action::requeue(failure.retry)
}

/// Results are logged where they arise; here only what the machinery itself says.
fn report<T, E, Q: std::fmt::Display>(result: Result<T, ControllerError<E, Q>>) {
    match result {
        Err(ControllerError::QueueError(error)) => tracing::error!(%error, "event queue failed"),
        Err(ControllerError::RunnerError(error)) => tracing::error!(%error, "runner failed"),
        // The hospital has gone in the meantime.
        Err(ControllerError::ObjectNotFound(_) | ControllerError::ReconcilerFailed(..)) | Ok(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hospital_backs_off_on_its_own_and_starts_over_after_a_success() {
        let desk = Desk::default();
        let waits: Vec<Duration> = (0..14).map(|_| desk.failed("a", ErrorClass::Transient)).collect();
        assert!(waits[0] <= FIRST_RETRY);
        assert!(waits[4] >= FIRST_RETRY * 8 && waits[4] <= FIRST_RETRY * 16, "{waits:?}");
        assert!(waits[13] >= LONGEST_RETRY / 2 && waits[13] <= LONGEST_RETRY, "{waits:?}");
        assert!(desk.failed("b", ErrorClass::Transient) <= FIRST_RETRY);
        desk.succeeded("a");
        assert!(desk.failed("a", ErrorClass::Transient) <= FIRST_RETRY);
    }

    #[test]
    fn a_hospital_that_waits_for_an_edit_is_looked_at_rarely() {
        assert!(Desk::default().failed("a", ErrorClass::Terminal) >= SECOND_LOOK / 2);
    }

    #[test]
    fn the_queue_counts_each_hospital_once() {
        let desk = Desk::default();
        desk.queued("a");
        desk.queued("a");
        desk.queued("b");
        assert!(desk.metrics.text().contains("his_operator_queue_depth 2"));
        desk.started("a");
        assert!(desk.metrics.text().contains("his_operator_queue_depth 1"));
    }
}
