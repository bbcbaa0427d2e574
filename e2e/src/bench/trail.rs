//! What one contestant has asked the API server for, as the audit log has it.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};

use super::children::Place;
use super::model::Requests;
use crate::control_plane::{AuditEvent, Tail};

/// Between two looks at the log, while something is waited for that takes milliseconds.
const GLANCE: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Trail {
    tail: Tail,
    user: String,
    events: Vec<AuditEvent>,
}

impl Trail {
    pub(super) fn of(log: &Path, user: &str) -> Self {
        Self { tail: Tail::of(log), user: user.to_owned(), events: Vec::new() }
    }

    /// Reads what is new; returns how many requests there are by now, of everybody.
    pub(super) fn read(&mut self) -> Result<usize> {
        self.events.extend(self.tail.read()?);
        Ok(self.events.len())
    }

    /// Requests after a mark, of everybody.
    pub(super) fn since(&self, mark: usize) -> &[AuditEvent] {
        self.events.get(mark..).unwrap_or_default()
    }

    /// Requests of the contestant after a mark.
    pub(super) fn own(&self, mark: usize) -> impl DoubleEndedIterator<Item = &AuditEvent> {
        self.since(mark).iter().filter(|event| event.user == self.user)
    }

    /// Counts the contestant's requests after a mark.
    pub(super) fn count(&self, mark: usize) -> Requests {
        let mut count = Requests::default();
        for event in self.own(mark) {
            match event.verb.as_str() {
                _ if event.resource == "leases" => count.lease += 1,
                "watch" => count.watches += 1,
                _ if event.is_write() => {
                    count.writes += 1;
                    count.refused += usize::from(event.code >= 400);
                }
                _ => count.reads += 1,
            }
        }
        count
    }

    /// When the contestant last asked for something other than its lease and watches.
    pub(super) fn last_work(&self, mark: usize) -> Option<DateTime<Utc>> {
        let work = |event: &&AuditEvent| event.resource != "leases" && event.verb != "watch";
        self.own(mark).rev().find(work).and_then(|event| time(&event.answered).ok())
    }

    /// Waits for a request after a mark; `None` when it did not come in time.
    pub(super) async fn wait(
        &mut self,
        mut mark: usize,
        patience: Duration,
        is_it: impl Fn(&AuditEvent) -> bool,
    ) -> Result<Option<AuditEvent>> {
        let started = Instant::now();
        loop {
            let read = self.read()?;
            if let Some(event) = self.since(mark).iter().find(|event| is_it(event)) {
                return Ok(Some(event.clone()));
            }
            mark = read;
            if started.elapsed() > patience {
                return Ok(None);
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }
}

/// Objects that are still to come, and when the last of them came.
#[derive(Debug)]
pub(super) struct Missing {
    places: HashSet<Place>,
    pub all: usize,
    pub last: Option<String>,
}

impl Missing {
    pub(super) fn new(places: HashSet<Place>) -> Self {
        Self { all: places.len(), places, last: None }
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// Notes what a request has made.
    pub(super) fn seen(&mut self, event: &AuditEvent) {
        let made = event.is_write() && event.code < 300 && event.subresource.is_empty();
        let namespace = if event.resource == "namespaces" { &event.name } else { &event.namespace };
        let place = (event.resource.clone(), namespace.clone(), event.name.clone());
        if made && self.places.remove(&place) {
            self.last = Some(event.answered.clone());
        }
    }

    /// Some that did not come.
    pub(super) fn some(&self) -> String {
        let words = |(resource, namespace, name): &Place| format!("{resource} {namespace}/{name}");
        self.places.iter().take(3).map(words).collect::<Vec<_>>().join(", ")
    }
}

/// The time, by the clock that the audit log is written with.
#[allow(clippy::disallowed_methods, reason = "times of another process on this machine are compared with it")]
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A time of the audit log.
pub(super) fn time(text: &str) -> Result<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).with_context(|| format!("not a time in the audit log: {text:?}"))?;
    Ok(time.to_utc())
}

/// Seconds between two times of the audit log.
pub(super) fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).as_seconds_f64()
}
