//! What the cluster looks like, kept current by watches.
//!
//! Guarantees: reading costs no request. Each kind is watched on its own, so that one that is refused, absent or broken
//! never blocks another. Secrets are seen as metadata only, and only in namespaces that let the operator in. Foreign kinds
//! are watched as soon as their CRD is there, without polling.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use futures::{Stream, channel::mpsc};
use kube::{
    ResourceExt,
    core::DynamicObject,
    runtime::reflector::{ObjectRef, Store, store},
};
use tokio::{sync::watch, task::AbortHandle};

use super::{
    connect::Connections,
    index::{Effects, Index},
    supervisor::{self, Command},
};
use crate::{
    api::v1alpha1::{HospitalTenant, NetworkGap},
    metrics::Metrics,
    names,
    objects::{Kind, Observed, Ref, kind},
    ports::Clock,
};

/// Live view of the cluster. Clones share it; the watches end with the last clone.
#[derive(Clone, Debug)]
pub struct Caches {
    core: Arc<Core>,
    tenants: Store<HospitalTenant>,
    synced: watch::Receiver<bool>,
    _watches: Arc<Watches>,
}

#[derive(Debug)]
struct Watches(AbortHandle);

impl Drop for Watches {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the watches share.
#[derive(Debug)]
pub(super) struct Core {
    index: RwLock<Index>,
    wake: mpsc::UnboundedSender<ObjectRef<HospitalTenant>>,
    commands: mpsc::UnboundedSender<Command>,
    /// Watches whose first answer is still out.
    unsettled: Mutex<BTreeSet<String>>,
    synced: watch::Sender<bool>,
    pub(super) metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

impl Core {
    /// Reads.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the index and tells everyone concerned.
    pub(super) fn change(&self, mutate: impl FnOnce(&mut Index) -> Effects) {
        let now = self.clock.now();
        let effects = mutate(self.index.write().unwrap_or_else(PoisonError::into_inner).at(now));
        self.tell(effects);
    }

    /// [`Self::change`] for mutations with several effects.
    pub(super) fn change_all(&self, mutate: impl FnOnce(&mut Index) -> Vec<Effects>) {
        let now = self.clock.now();
        let effects = mutate(self.index.write().unwrap_or_else(PoisonError::into_inner).at(now));
        effects.into_iter().for_each(|effects| self.tell(effects));
    }

    fn tell(&self, effects: Effects) {
        // Until the caches are complete nobody may act on them; then everyone is woken once.
        if *self.synced.borrow() {
            self.wake(effects.wake);
        }
        if let Some((tenant, watched)) = effects.namespace {
            self.command(Command::Namespace { tenant, watched });
        }
    }

    fn wake(&self, tenants: BTreeSet<String>) {
        for tenant in tenants {
            // Nobody listens any more while the process ends.
            let _ended = self.wake.unbounded_send(ObjectRef::new(&tenant));
        }
    }

    /// Asks for watches to be started or stopped.
    pub(super) fn command(&self, command: Command) {
        let _ended = self.commands.unbounded_send(command);
    }

    /// A watch was started; the caches are not complete before its first answer.
    pub(super) fn expect(&self, watch: &str) {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).insert(watch.to_owned());
    }

    /// A watch has its first answer.
    pub(super) fn settle(&self, watch: &str) {
        let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        if unsettled.remove(watch) && unsettled.is_empty() && !self.synced.send_replace(true) {
            self.wake(self.read(|index| index.tenants.names()));
        }
    }
}

impl Caches {
    /// Starts all watches. The stream names every tenant whose view has changed.
    pub fn start(
        connections: impl Into<Connections>,
        kinds: Vec<Kind>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> (Self, impl Stream<Item = ObjectRef<HospitalTenant>> + Send + 'static) {
        let (wake, woken) = mpsc::unbounded();
        let (commands, inbox) = mpsc::unbounded();
        let (synced, seen) = watch::channel(false);
        let (index, unsettled) = (RwLock::default(), Mutex::default());
        let core = Arc::new(Core { index, wake, commands, unsettled, synced, metrics, clock });
        let (tenants, writer) = store();
        let task = supervisor::supervise(connections.into(), kind::distinct(kinds), Arc::clone(&core), writer, inbox);
        let watches = Arc::new(Watches(tokio::spawn(task).abort_handle()));
        (Self { core, tenants, synced: seen, _watches: watches }, woken)
    }

    /// One tenant's view of the cluster.
    pub fn observe(&self, tenant: &HospitalTenant) -> Observed {
        self.core.read(|index| index.observe(tenant))
    }

    /// Waits until every watch has had its first answer. Reconciling earlier would write everything again.
    pub async fn synced(&self) {
        let mut synced = self.synced.clone();
        // The sender lives as long as `self`.
        let _closed = synced.wait_for(|synced| *synced).await;
    }

    /// Whether every watch has had its first answer.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Whether no first answer about this tenant's own namespace is out; the tenant is woken when the last one comes.
    pub fn is_settled(&self, tenant: &HospitalTenant) -> bool {
        self.core.read(|index| index.doors.is_settled(&tenant.name_any()))
    }

    /// Whether the operator's rights in this tenant's namespace have arrived and everything in it was seen: only then does
    /// absence prove anything. The tenant is woken when that becomes true.
    pub fn is_known(&self, tenant: &HospitalTenant) -> bool {
        self.core.read(|index| index.doors.is_known(&tenant.name_any()))
    }

    /// Why this tenant's namespace stays unknown, in words.
    pub fn refusal(&self, tenant: &HospitalTenant) -> Option<String> {
        self.core.read(|index| index.doors.refusal(&tenant.name_any()).map(str::to_owned))
    }

    /// Notes the API server's answer to a write, so that the next look sees it, and no event about it wakes anybody.
    pub fn learn(&self, kind: Kind, answer: &DynamicObject) {
        self.core.change(|index| index.learn(kind, answer));
    }

    /// We are about to remove an object: that it goes is no news.
    pub fn leaves(&self, at: &Ref) {
        if at.kind == kind::NETWORK_POLICY {
            self.note(|index| index.disturbed.leaves((at.namespace.clone(), at.name.clone())));
        }
    }

    /// A NetworkPolicy was put right, and status is to say so.
    pub fn closed(&self, namespace: &str, gap: NetworkGap) {
        self.note(|index| index.disturbed.closed(namespace, gap));
    }

    /// Status names all gaps that were seen; `end` says that the pass came to its end, so that none of them is open.
    pub fn told(&self, tenant: &HospitalTenant, seen: &Observed, end: bool) {
        if !seen.disturbed.is_empty() || !seen.gaps.is_empty() {
            self.note(|index| index.disturbed.told(&names::namespace(&tenant.name_any()), seen, end));
        }
    }

    /// Changes what concerns nobody else.
    fn note(&self, note: impl FnOnce(&mut Index)) {
        self.core.change(|index| {
            note(index);
            Effects::default()
        });
    }

    /// All tenants.
    pub fn tenants(&self) -> Store<HospitalTenant> {
        self.tenants.clone()
    }
}
