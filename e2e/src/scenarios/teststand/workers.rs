//! What nobody is led to: workers end between two jobs, and there are never two schedulers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::task::JoinSet;

use crate::demo::hospital::Hospital;

const COMPONENT: &str = "app.kubernetes.io/component";

/// Who watches the pods of workers and schedulers.
#[derive(Debug)]
pub struct Background {
    seen: Arc<Mutex<Seen>>,
    /// Ends with this.
    _watch: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Exit codes of workers, by pod.
    ended: BTreeMap<String, i32>,
    /// Pods of the scheduler that have not ended.
    schedulers: BTreeSet<String>,
    most_schedulers: usize,
}

impl Background {
    /// Watches until it is dropped.
    pub fn watch(hospital: &Hospital) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let pods: Api<Pod> = Api::namespaced(hospital.client.clone(), &hospital.namespace);
        let config = watcher::Config::default().labels(&format!("{COMPONENT} in (worker, scheduler)"));
        let events = watcher(pods, config).default_backoff();
        let mut watch = JoinSet::new();
        let told = Arc::clone(&seen);
        watch.spawn(events.for_each(move |event| {
            let mut seen = told.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Ok(Event::Apply(pod) | Event::InitApply(pod)) => seen.look(&pod, false),
                Ok(Event::Delete(pod)) => seen.look(&pod, true),
                // A watch that ended opens again by itself.
                Ok(Event::Init | Event::InitDone) | Err(_) => {}
            }
            futures::future::ready(())
        }));
        Self { seen, _watch: watch }
    }

    /// How many workers have ended, each between two jobs; at least `least` of them.
    pub fn end(self, least: usize) -> Result<usize> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let broken: Vec<_> = seen.ended.iter().filter(|(_, code)| **code != 0).collect();
        ensure!(broken.is_empty(), "workers ended in the midst of a job: exit codes {broken:?}");
        ensure!(seen.ended.len() >= least, "{} of {least} workers were seen to end", seen.ended.len());
        ensure!(seen.most_schedulers == 1, "{} schedulers ran at once", seen.most_schedulers);
        Ok(seen.ended.len())
    }
}

impl Seen {
    fn look(&mut self, pod: &Pod, gone: bool) {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let state = statuses.and_then(|all| all.first()?.state.as_ref());
        let code = state.and_then(|state| state.terminated.as_ref()).map(|terminated| terminated.exit_code);
        if pod.labels().get(COMPONENT).is_some_and(|component| component == "worker") {
            self.ended.extend(code.map(|code| (pod.name_any(), code)));
        } else if gone || code.is_some() {
            self.schedulers.remove(&pod.name_any());
        } else if state.is_some_and(|state| state.running.is_some()) {
            self.schedulers.insert(pod.name_any());
            self.most_schedulers = self.most_schedulers.max(self.schedulers.len());
        }
    }
}
