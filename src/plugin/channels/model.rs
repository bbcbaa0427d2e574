//! Channels with the hospitals that follow them, by the rule that the operator itself goes by. Pure.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::v1alpha1::{Channel, HospitalPlatform, HospitalTenant},
    objects::Turn,
    tenant::fleet::{self, Address, Stage},
};

/// One channel, and how far its version has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Name of the HospitalPlatform.
    pub platform: String,
    /// Name of the HospitalApplication.
    pub application: String,
    /// Name of the channel.
    pub channel: String,
    /// Version that it brings.
    pub version: String,
    /// The hospital that refused the version, so that no other begins.
    pub stopped_by: Option<String>,
    /// Hospitals that follow it, by name.
    pub hospitals: Vec<Hospital>,
}

/// One hospital of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hospital {
    /// Its name.
    pub name: String,
    /// How far it has come with the channel's version.
    pub stage: Stage,
    /// Version that serves.
    pub serves: Option<String>,
    /// Whether it may begin, or has begun.
    pub turn: bool,
    /// When it may begin, if its maintenance window or a hold keeps it (RFC 3339).
    pub not_before: Option<String>,
}

impl View {
    /// Hospitals at a stage.
    pub fn count(&self, stage: Stage) -> usize {
        self.hospitals.iter().filter(|hospital| hospital.stage == stage).count()
    }
}

/// All channels, or those of that name.
pub fn views(platforms: &[HospitalPlatform], tenants: &[HospitalTenant], only: Option<&str>) -> Vec<View> {
    let named = |channel: &&Channel| only.is_none_or(|only| channel.name == only);
    let of = |platform: &HospitalPlatform| {
        let channels = platform.spec.channels.iter().filter(named);
        channels.map(|channel| view(&platform.name_any(), channel, tenants)).collect::<Vec<_>>()
    };
    platforms.iter().flat_map(of).collect()
}

fn view(platform: &str, channel: &Channel, tenants: &[HospitalTenant]) -> View {
    let address = Address {
        platform: platform.to_owned(),
        application: channel.application.clone(),
        channel: channel.name.clone(),
    };
    let members = fleet::members(&address, tenants);
    let turns = fleet::turns(channel, &members);
    let found: BTreeMap<String, &HospitalTenant> = tenants.iter().map(|tenant| (tenant.name_any(), tenant)).collect();
    let refused = |(_, member): &(&String, &fleet::Member)| member.stage(&channel.version) == Stage::Refused;
    let stopped = members.iter().find(refused).map(|(name, _)| name.clone());
    let status = |name: &String| found.get(name).and_then(|tenant| tenant.status.as_ref());
    let hospitals = members.iter().map(|(name, member)| Hospital {
        name: name.clone(),
        stage: member.stage(&channel.version),
        serves: member.live.clone(),
        turn: turns.get(name) == Some(&Turn::Come),
        not_before: status(name).and_then(|status| status.release.not_before.clone()),
    });
    View {
        platform: platform.to_owned(),
        application: channel.application.clone(),
        channel: channel.name.clone(),
        version: channel.version.clone(),
        stopped_by: stopped,
        hospitals: hospitals.collect(),
    }
}
