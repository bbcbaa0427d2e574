//! Hospitals that follow a channel, and whose turn it is. Pure; tells who has to be woken because that has changed.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use crate::{
    api::v1alpha1::{HospitalPlatform, HospitalTenant},
    objects::Turn,
    tenant::fleet::{self, Address, Member},
};

#[derive(Debug, Default)]
struct Followers {
    members: BTreeMap<String, Member>,
    turns: BTreeMap<String, Turn>,
}

/// All channels that somebody follows.
#[derive(Debug, Default)]
pub(super) struct Channels(BTreeMap<Address, Followers>);

impl Channels {
    /// A hospital was seen; returns the channels in which that may change turns.
    pub(super) fn see(&mut self, tenant: &HospitalTenant) -> Vec<Address> {
        let (name, address) = (tenant.name_any(), Address::of(tenant));
        let mut changed = self.forget(&name, address.as_ref());
        if let Some(address) = address {
            let member = Member::of(tenant);
            let followers = self.0.entry(address.clone()).or_default();
            if followers.members.get(&name) != Some(&member) {
                followers.members.insert(name, member);
                changed.push(address);
            }
        }
        changed
    }

    /// A hospital has gone, or follows no channel but `but`.
    pub(super) fn forget(&mut self, name: &str, but: Option<&Address>) -> Vec<Address> {
        let left = self.0.iter_mut().filter(|(address, _)| Some(*address) != but);
        let left = left.filter_map(|(address, followers)| followers.members.remove(name).map(|_| address.clone()));
        let left: Vec<Address> = left.collect();
        self.0.retain(|_, followers| !followers.members.is_empty());
        left
    }

    /// Channels of a platform.
    pub(super) fn of(&self, platform: &str) -> Vec<Address> {
        self.0.keys().filter(|address| address.platform == platform).cloned().collect()
    }

    /// Decides anew; returns the hospitals for which that makes a difference.
    pub(super) fn decide(&mut self, address: &Address, platform: Option<&HospitalPlatform>) -> BTreeSet<String> {
        let Some(followers) = self.0.get_mut(address) else { return BTreeSet::new() };
        let channel = platform.and_then(|platform| address.find(&platform.spec));
        let turns = channel.map(|channel| fleet::turns(channel, &followers.members)).unwrap_or_default();
        let before = std::mem::replace(&mut followers.turns, turns);
        let changed = |(name, turn): &(&String, &Turn)| before.get(*name) != Some(*turn);
        followers.turns.iter().filter(changed).map(|(name, _)| name.clone()).collect()
    }

    /// Whether a hospital may begin with its channel's version; absent for one that follows none.
    pub(super) fn turn(&self, tenant: &HospitalTenant) -> Option<Turn> {
        let followers = self.0.get(&Address::of(tenant)?);
        Some(followers.and_then(|followers| followers.turns.get(&tenant.name_any())).cloned().unwrap_or(Turn::Waits))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn platform(version: &str) -> HospitalPlatform {
        serde_json::from_value(json!({
            "metadata": {"name": "default"},
            "spec": {"channels": [{"name": "stable", "application": "emr", "version": version, "waves": [1]}]}
        }))
        .unwrap()
    }

    fn tenant(name: &str, live: &str) -> HospitalTenant {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"application": {"name": "emr", "channel": "stable"}, "host": "x.example.org"},
            "status": {
                "observedGeneration": 1,
                "conditions": [{"type": "Ready", "status": "True", "reason": "Proved", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "release": {"count": 1, "live": {"colour": "blue", "release": {"version": live, "attempt": 0, "digest": "d", "images": "i", "agent": "a"}}}
            }
        }))
        .unwrap()
    }

    fn see(channels: &mut Channels, tenant: &HospitalTenant, version: &str) -> BTreeSet<String> {
        let addresses = channels.see(tenant);
        addresses.iter().flat_map(|address| channels.decide(address, Some(&platform(version)))).collect()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn who_has_moved_wakes_the_next_and_nobody_else() {
        let mut channels = Channels::default();
        for name in ["a", "b", "c"] {
            see(&mut channels, &tenant(name, "1"), "2");
        }
        let turns = ["a", "b", "c"].map(|name| channels.turn(&tenant(name, "1")).unwrap());
        assert_eq!(turns, [Turn::Come, Turn::Waits, Turn::Waits]);
        assert_eq!(see(&mut channels, &tenant("a", "1"), "2"), set(&[]));
        assert_eq!(see(&mut channels, &tenant("a", "2"), "2"), set(&["b"]));
        assert_eq!(channels.turn(&tenant("b", "1")), Some(Turn::Come));
    }

    #[test]
    fn who_leaves_the_channel_makes_room() {
        let mut channels = Channels::default();
        for name in ["a", "b"] {
            see(&mut channels, &tenant(name, "1"), "2");
        }
        let mut own = tenant("a", "1");
        own.spec.application.channel = None;
        assert_eq!(see(&mut channels, &own, "2"), set(&["b"]));
        assert_eq!(channels.turn(&own), None);
    }

    #[test]
    fn nobodys_turn_comes_while_the_platform_names_no_such_channel() {
        let mut channels = Channels::default();
        let addresses = channels.see(&tenant("a", "1"));
        assert_eq!(channels.decide(&addresses[0], None), set(&[]));
        assert_eq!(channels.turn(&tenant("a", "1")), Some(Turn::Waits));
    }
}
