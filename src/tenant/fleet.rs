//! Whose turn it is when a channel brings a new version to many hospitals: waves, a health gate, and a stop. Pure.
//!
//! Guarantees: the same hospitals in the same state always get the same answer, whatever happened before, so nothing is
//! lost with the operator's memory. Nobody's turn comes while a hospital that has the version already is not Ready and
//! its wave is full, and nobody's at all once a hospital has refused the version. A hospital that may not begin yet keeps
//! nobody waiting.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::v1alpha1::{Channel, HospitalPlatformSpec, HospitalTenant, LiveRelease},
    conditions, names,
    objects::Turn,
};

/// Hospitals in the waves of a channel that names none; the last one is repeated.
const WAVES: &[usize] = &[1, 5, 20];

/// Where a channel is: its platform, its application and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Name of the HospitalPlatform.
    pub platform: String,
    /// Name of the HospitalApplication.
    pub application: String,
    /// Name of the channel.
    pub channel: String,
}

impl Address {
    /// The channel that a hospital follows, if it follows one. One that is deleted follows none any more.
    pub fn of(tenant: &HospitalTenant) -> Option<Self> {
        let spec = &tenant.spec;
        let channel = spec.application.channel.clone().filter(|_| tenant.metadata.deletion_timestamp.is_none())?;
        let platform = spec.platform.clone().unwrap_or_else(|| names::DEFAULT_PLATFORM.to_owned());
        Some(Self { platform, application: spec.application.name.clone(), channel })
    }

    /// The channel itself, as its platform describes it.
    pub fn find<'a>(&self, platform: &'a HospitalPlatformSpec) -> Option<&'a Channel> {
        channel(platform, &self.application, &self.channel)
    }
}

/// What counts of a hospital.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Version that serves.
    pub live: Option<String>,
    /// Version that is coming in.
    pub coming: Option<String>,
    /// Version that was tried and has failed.
    pub refused: Option<String>,
    /// Its maintenance window is closed, or it is held or paused.
    pub postponed: bool,
    /// Whether it is Ready.
    pub ready: bool,
}

impl Member {
    /// As its status says.
    pub fn of(tenant: &HospitalTenant) -> Self {
        let status = tenant.status.as_ref();
        let release = status.map(|status| &status.release);
        let ready = status.into_iter().flat_map(|status| &status.conditions).find(|c| c.type_ == conditions::READY);
        let version = |live: &LiveRelease| live.release.version.clone();
        Self {
            live: release.and_then(|release| release.live.as_ref()).map(version),
            coming: release.and_then(|release| release.rollout.as_ref()).map(|coming| coming.release.version.clone()),
            refused: release.and_then(|release| release.refused.as_ref()).map(|no| no.release.version.clone()),
            postponed: status
                .is_some_and(|status| status.release.not_before.is_some() || status.paused_until.is_some()),
            ready: ready.is_some_and(|ready| ready.status == "True"),
        }
    }

    /// How far it has come with the channel's version.
    pub fn stage(&self, version: &str) -> Stage {
        let is = |at: &Option<String>| at.as_deref() == Some(version);
        match (&self.live, self.ready) {
            (None, _) => Stage::Installing,
            (live, true) if is(live) => Stage::Serving,
            (live, false) if is(live) => Stage::Unwell,
            _ if is(&self.coming) => Stage::Moving,
            _ if is(&self.refused) => Stage::Refused,
            _ if self.postponed => Stage::Postponed,
            _ => Stage::Waiting,
        }
    }
}

/// How far a hospital has come with a channel's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Stage {
    /// It has the version and is Ready.
    Serving,
    /// It has the version and is not Ready.
    Unwell,
    /// The version is coming in.
    Moving,
    /// The version was tried and has failed.
    Refused,
    /// Its maintenance window is closed, or it is held or paused.
    Postponed,
    /// Its turn has not come, or has just come.
    Waiting,
    /// It is new: nothing serves there yet that could be replaced, so it takes no turn.
    Installing,
}

/// The channel of an application on a platform.
pub fn channel<'a>(platform: &'a HospitalPlatformSpec, application: &str, name: &str) -> Option<&'a Channel> {
    platform.channels.iter().find(|channel| channel.application == application && channel.name == name)
}

/// The hospitals of a channel, by name.
pub fn members<'a>(address: &Address, all: impl IntoIterator<Item = &'a HospitalTenant>) -> BTreeMap<String, Member> {
    let follow = all.into_iter().filter(|tenant| Address::of(tenant).as_ref() == Some(address));
    follow.map(|tenant| (tenant.name_any(), Member::of(tenant))).collect()
}

/// Whose turn it is, of all hospitals of a channel.
pub fn turns(channel: &Channel, members: &BTreeMap<String, Member>) -> BTreeMap<String, Turn> {
    let stages = members.iter().map(|(name, member)| (name, member.stage(&channel.version)));
    let stages: BTreeMap<&String, Stage> = stages.collect();
    let stopped = stages.iter().find(|(_, stage)| **stage == Stage::Refused).map(|(name, _)| (*name).clone());
    let mut free = room(channel, &stages.values().copied().collect::<Vec<_>>());
    let turn = |stage: Stage| match (stage, &stopped) {
        // What has begun goes on, and who failed alone may try again.
        (Stage::Serving | Stage::Unwell | Stage::Moving | Stage::Refused | Stage::Installing, _) => Turn::Come,
        (Stage::Waiting | Stage::Postponed, Some(by)) => Turn::Stopped { by: by.clone() },
        (Stage::Waiting, None) if free > 0 => {
            free -= 1;
            Turn::Come
        }
        (Stage::Waiting | Stage::Postponed, None) => Turn::Waits,
    };
    stages.values().copied().map(turn).zip(stages.keys()).map(|(turn, name)| ((*name).clone(), turn)).collect()
}

/// How many more may begin: what the wave has left that is open. The next one opens when all of it are Ready.
fn room(channel: &Channel, stages: &[Stage]) -> usize {
    let count = |of: &[Stage]| stages.iter().filter(|stage| of.contains(stage)).count();
    let begun = count(&[Stage::Serving, Stage::Unwell, Stage::Moving, Stage::Refused]);
    open(&channel.waves, count(&[Stage::Serving])).saturating_sub(begun)
}

/// Hospitals up to the end of the first wave that is not through.
fn open(waves: &[i32], serving: usize) -> usize {
    let given: Vec<usize> = waves.iter().map(|wave| usize::try_from(*wave).unwrap_or(1).max(1)).collect();
    let waves = if given.is_empty() { WAVES } else { &given };
    let last = waves.last().copied().unwrap_or(1);
    let mut end = 0_usize;
    for wave in waves.iter().copied().chain(std::iter::repeat(last)) {
        end = end.saturating_add(wave);
        if end > serving {
            break;
        }
    }
    end
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
