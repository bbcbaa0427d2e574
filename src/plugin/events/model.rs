//! Events, reduced and without repetition.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Event;
use serde::Serialize;

use crate::plugin::status::{last_seen, utc};

/// Everything that was told, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// By the time when they were last seen.
    pub events: Vec<Line>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

/// The same words about the same object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When they were last seen.
    pub last: Option<DateTime<Utc>>,
    /// When they were first seen.
    pub first: Option<DateTime<Utc>>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Kind and name of the object.
    pub about: String,
    /// CamelCase.
    pub reason: String,
    /// Their words.
    pub message: String,
    /// How often.
    pub times: i64,
}

impl Timeline {
    /// Merges what was said more than once.
    pub fn of(events: impl IntoIterator<Item = Event>, unread: Vec<String>) -> Self {
        let mut merged: BTreeMap<(String, String, String, String), Line> = BTreeMap::new();
        for line in events.into_iter().map(Line::from) {
            let key = (line.about.clone(), line.kind.clone(), line.reason.clone(), line.message.clone());
            match merged.get_mut(&key) {
                Some(known) => known.add(&line),
                None => drop(merged.insert(key, line)),
            }
        }
        let mut events: Vec<Line> = merged.into_values().collect();
        events.sort();
        Self { events, unread }
    }
}

impl Line {
    fn add(&mut self, other: &Self) {
        self.times += other.times;
        self.last = self.last.max(other.last);
        self.first = [self.first, other.first].into_iter().flatten().min();
    }
}

impl From<Event> for Line {
    fn from(event: Event) -> Self {
        let last = last_seen(&event);
        let first = event.first_timestamp.as_ref().and_then(|time| utc(time.0));
        let series = event.series.as_ref().and_then(|series| series.count);
        let object = &event.involved_object;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        Self {
            last,
            first: first.or_else(|| event.event_time.as_ref().and_then(|time| utc(time.0))).or(last),
            kind: part(&event.type_),
            about: format!("{}/{}", part(&object.kind), part(&object.name)),
            reason: part(&event.reason),
            message: part(&event.message),
            times: i64::from(series.or(event.count).unwrap_or(1)),
        }
    }
}
