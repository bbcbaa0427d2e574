//! Policies that somebody else had changed or deleted: what is said of them once they are right again.
//!
//! Guarantees: pure. Only what somebody else did counts. A policy that is written for another reason is no gap: for the first
//! time, because what it is made from has changed (the spec, the platform, a release, the operator itself), or because only
//! its labels or annotations were touched. Where that cannot be told apart, nothing is said.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use kube::{ResourceExt, core::DynamicObject};

use super::proof;
use crate::{
    api::v1alpha1::{GapKind, NetworkGap},
    capabilities::{Capability, network::Network},
    names,
    objects::{Desired, Disturbance, Object, Observed, covers, created, kind, managed},
    tenant::Tenant,
};

/// Gaps that status keeps.
const KEPT: usize = 5;

/// An object that was just written, because it was not as it must be.
#[derive(Clone, Copy, Debug)]
pub struct Repair<'a> {
    /// As it must be.
    pub wanted: &'a Desired,
    /// As it was; nothing if it was not there.
    pub before: Option<&'a DynamicObject>,
    /// What the API server made of it.
    pub answer: &'a DynamicObject,
    /// When it answered.
    pub ended: DateTime<Utc>,
}

/// Since when a policy was not as we had written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// The API server took the change in this second.
    Second(DateTime<Utc>),
    /// We saw it at this moment.
    Seen(DateTime<Utc>),
}

impl Repair<'_> {
    /// The gap that this write has closed, if it has closed one.
    pub fn gap(&self, tenant: &Tenant, desired: &[Desired], observed: &Observed) -> Option<NetworkGap> {
        let Desired::Apply(wanted) = self.wanted else { return None };
        let planned_before = tenant.status.observed_generation.is_some();
        if wanted.at.kind != kind::NETWORK_POLICY || !planned_before {
            return None;
        }
        let disturbed = observed.disturbed.get(&wanted.at.name);
        let was_there = || observed.policies_listed && was_in_place(&wanted.at.name, tenant, desired);
        let gap = match self.before {
            Some(before) => changed(wanted, before, disturbed, tenant.now)?,
            None => self.gone(disturbed, was_there, tenant.now)?,
        };
        Some(self.measured(wanted, gap))
    }

    /// A policy that is not there counts if we saw it go, or if the last status has proved that it was there.
    fn gone(
        &self,
        disturbed: Option<&Disturbance>,
        was_in_place: impl FnOnce() -> bool,
        began: DateTime<Utc>,
    ) -> Option<Gap> {
        let gap = |what, seen, at_least| Some(Gap { what, who: None, since: Since::Seen(seen), at_least });
        let metadata = &self.answer.metadata;
        match disturbed {
            // Without the labels by which we find it, it only looked as if it had gone.
            Some(Disturbance::Gone { seen, uid, generation, .. }) if *uid == metadata.uid => {
                (*generation != metadata.generation).then(|| gap(GapKind::Changed, *seen, true)).flatten()
            }
            Some(Disturbance::Gone { seen, watched, .. }) => gap(GapKind::Deleted, *seen, !watched),
            _ if was_in_place() && self.is_new() => gap(GapKind::Deleted, began, true),
            _ => None,
        }
    }

    /// Whether our write has made it.
    fn is_new(&self) -> bool {
        let age = created(self.answer).zip(self.written()).map(|(made, now)| now - made);
        // Both are whole seconds.
        age.is_some_and(|age| age <= TimeDelta::seconds(1))
    }

    /// When the API server took our write, in whole seconds of its own clock.
    fn written(&self) -> Option<DateTime<Utc>> {
        self.answer
            .managed_fields()
            .iter()
            .find(|entry| managed::is(entry, names::FIELD_MANAGER))
            .and_then(managed::time)
    }

    fn measured(&self, wanted: &Object, gap: Gap) -> NetworkGap {
        let Gap { what, who, since, at_least } = gap;
        let (from, to, precision) = match since {
            Since::Second(from) => (from, self.written().unwrap_or(self.ended), SecondsFormat::Secs),
            Since::Seen(from) => (from, self.ended, SecondsFormat::Millis),
        };
        // Clocks may be set back.
        let length = (to - from).max(TimeDelta::zero());
        let seen = precision == SecondsFormat::Millis;
        NetworkGap {
            policy: wanted.at.name.clone(),
            what,
            who,
            since: from.to_rfc3339_opts(precision, true),
            until: to.to_rfc3339_opts(precision, true),
            milliseconds: seen.then(|| length.num_milliseconds()),
            seconds: (!seen).then(|| length.num_seconds()),
            at_least,
        }
    }
}

/// A gap without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap {
    what: GapKind,
    who: Option<String>,
    since: Since,
    at_least: bool,
}

/// What somebody else has made of the spec of a policy. Our own last write is there as it was if the policy carries the
/// digest of what is wanted now; with another digest it may differ because of what is wanted, and only what we saw counts.
fn changed(
    wanted: &Object,
    before: &DynamicObject,
    disturbed: Option<&Disturbance>,
    began: DateTime<Utc>,
) -> Option<Gap> {
    let of_spec = |difference: &covers::Difference| difference.path.starts_with(".spec");
    if !covers::differences(before, wanted).iter().any(of_spec) {
        return None;
    }
    let taker = before.managed_fields().first();
    let who = taker.and_then(|taker| taker.manager.clone());
    let gap = |since, at_least| Gap { what: GapKind::Changed, who: who.clone(), since, at_least };
    let stamp = before.annotations().get(names::DESIRED).map(String::as_str);
    let same = stamp == wanted.body.pointer("/metadata/annotations").and_then(|all| all.get(names::DESIRED)?.as_str());
    let by_hand = if stamp.is_some() { same } else { taker.is_some() };
    match disturbed {
        Some(Disturbance::Written { at }) => Some(gap(Since::Second(*at), false)),
        // It came back by another's hand.
        Some(Disturbance::Gone { seen, watched, .. }) => Some(gap(Since::Seen(*seen), !watched)),
        // Earlier writes of the same manager are not noted anywhere.
        None if by_hand => Some(match taker.and_then(managed::time) {
            Some(at) => gap(Since::Second(at), true),
            None => gap(Since::Seen(began), true),
        }),
        None => None,
    }
}

/// Whether the last status has proved that exactly what is wanted now was in place. It is the only memory of a policy that
/// went while no operator was watching.
fn was_in_place(name: &str, tenant: &Tenant, desired: &[Desired]) -> bool {
    let status = &tenant.status;
    let proved = status.conditions.iter().any(|c| c.type_ == Network::CONDITION && c.status == "True");
    let policies = desired.iter().filter_map(|desired| match desired {
        Desired::Apply(object) if object.at.kind == kind::NETWORK_POLICY => Some(object),
        _ => None,
    });
    let lasting = proof::is_lasting(name);
    proved
        && lasting
        && status.network.proof.as_ref().is_some_and(|proof| proof.of == proof::of_wanted(tenant, policies))
}

/// What status keeps: the newest first.
pub fn listed(before: &[NetworkGap], closed: &[NetworkGap]) -> Vec<NetworkGap> {
    // A status whose writing was believed to have failed may have arrived.
    let news = closed.iter().rev().filter(|gap| !before.contains(gap));
    news.chain(before).take(KEPT).cloned().collect()
}

#[cfg(test)]
mod tests;
