//! What others did to NetworkPolicies, from the moment that it was seen until status says it.
//!
//! Guarantees: pure; the time is an input. A removal that we asked for, and a write that leaves the spec as we wrote it, are
//! no disturbance. Holds nothing for policies that nobody touched.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use kube::{ResourceExt, core::DynamicObject};

use super::index::{Key, key};
use crate::{
    api::v1alpha1::NetworkGap,
    names,
    objects::{Disturbance, Observed, digest, managed},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Disturbed {
    open: BTreeMap<Key, Open>,
    /// Policies whose removal we have asked for.
    leaving: BTreeSet<Key>,
    /// Gaps that status does not name yet, by namespace, oldest first.
    closed: BTreeMap<String, Vec<NetworkGap>>,
    /// A complete list of policies has come.
    listed: bool,
}

#[derive(Debug)]
struct Open {
    what: Disturbance,
    /// Digest of the spec that we had written; absent for a policy that has gone.
    ours: Option<String>,
}

impl Disturbed {
    /// A policy was seen, with all its managed fields; `before` is what was known of it.
    pub(super) fn seen(&mut self, policy: &DynamicObject, before: impl FnOnce() -> Option<DynamicObject>) {
        let (at, entries) = (key(policy), policy.managed_fields());
        let Some(taker) = managed::taken_from(names::FIELD_MANAGER, entries) else {
            if entries.iter().any(|entry| managed::is(entry, names::FIELD_MANAGER)) {
                self.open.remove(&at);
                self.leaving.remove(&at);
            }
            return;
        };
        let live = spec(policy);
        if let Some(open) = self.open.get(&at) {
            // Put right by whoever had changed it.
            if open.ours.as_ref() == Some(&live) {
                self.open.remove(&at);
            }
            return;
        }
        // One that was first seen after somebody had changed it is no proof of what we had written.
        let untouched = before().filter(|before| before.managed_fields().is_empty());
        let ours = untouched.map(|before| spec(&before)).filter(|ours| *ours != live);
        if let Some((ours, second)) = ours.zip(managed::time(&taker)) {
            self.open.insert(at, Open { what: Disturbance::Written { at: second }, ours: Some(ours) });
        }
    }

    /// A policy has gone, or no longer carries the labels by which we find it; `watched` says that a watch told it at once.
    pub(super) fn gone(&mut self, at: &Key, policy: Option<DynamicObject>, watched: bool, now: DateTime<Utc>) {
        if !self.leaving.remove(at) {
            let known = policy.map(|policy| (policy.metadata.uid, policy.metadata.generation));
            let (uid, generation) = known.unwrap_or_default();
            let what = Disturbance::Gone { seen: now, watched, uid, generation };
            self.open.insert(at.clone(), Open { what, ours: None });
        }
    }

    /// A complete list of policies has come.
    pub(super) fn listed(&mut self) {
        self.listed = true;
    }

    /// We are about to ask for the removal of a policy.
    pub(super) fn leaves(&mut self, at: Key) {
        self.leaving.insert(at);
    }

    /// A gap was closed.
    pub(super) fn closed(&mut self, namespace: &str, gap: NetworkGap) {
        self.closed.entry(namespace.to_owned()).or_default().push(gap);
    }

    /// A view of a namespace with what is open and what was closed there.
    pub(super) fn added_to(&self, namespace: &str, view: Observed) -> Observed {
        let from = (namespace.to_owned(), String::new());
        let open = self.open.range(from..).take_while(|((place, _), _)| place == namespace);
        Observed {
            disturbed: open.map(|((_, name), open)| (name.clone(), open.what.clone())).collect(),
            policies_listed: self.listed,
            gaps: self.closed.get(namespace).cloned().unwrap_or_default(),
            ..view
        }
    }

    /// Status has said what was closed, and, where a pass came to its `end`, nothing that it had seen is open any more.
    pub(super) fn told(&mut self, namespace: &str, seen: &Observed, end: bool) {
        self.closed.remove(namespace);
        for (name, what) in seen.disturbed.iter().filter(|_| end) {
            let at = (namespace.to_owned(), name.clone());
            if self.open.get(&at).is_some_and(|open| open.what == *what) {
                self.open.remove(&at);
            }
        }
    }

    /// The tenant of a namespace has gone.
    pub(super) fn forget(&mut self, namespace: &str) {
        self.open.retain(|(place, _), _| place != namespace);
        self.leaving.retain(|(place, _)| place != namespace);
        self.closed.remove(namespace);
    }
}

fn spec(policy: &DynamicObject) -> String {
    digest(&policy.data.get("spec"))
}
