//! Where the gate to servers outside may not go, address by address: the policy must say so too, not only the gate.

use std::net::IpAddr;

use his_operator::{names, objects::kind};
use serde_json::Value;

use crate::world::World;

/// Somewhere in each range that is nobody's on the internet, and in those that only look like somebody's.
const INSIDE: &[&str] = &[
    "0.0.0.1",
    "10.1.2.3",
    "100.100.100.100",
    "127.0.0.1",
    "169.254.169.254",
    "172.31.255.255",
    "192.168.0.1",
    "198.19.0.1",
    "224.0.0.251",
    "239.255.255.255",
    "255.255.255.255",
    "::1",
    "::ffff:10.1.2.3",
    "64:ff9b::a01:203",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001:0:1::1",
    "2002:a01:203::1",
    "fd00:ec2::254",
    "fe80::1",
    "ff02::1",
];
const OUTSIDE: &[&str] = &["8.8.8.8", "172.32.0.1", "100.128.0.1", "2600::1", "64:ff9b::808:808"];

/// The gate leaves the cluster for public addresses, and for no others.
pub fn gate_stays_outside(world: &World) -> Result<(), String> {
    let of_gate = |body: &Value| body["spec"]["podSelector"]["matchLabels"][names::COMPONENT] == "webhook-gate";
    let policies = world.of_kind(kind::NETWORK_POLICY).filter(|policy| of_gate(&policy.body));
    let rules = policies.flat_map(|policy| policy.body["spec"]["egress"].as_array().into_iter().flatten());
    let blocks: Vec<&Value> =
        rules.flat_map(|rule| rule["to"].as_array().into_iter().flatten()).map(|peer| &peer["ipBlock"]).collect();
    let blocks: Vec<&Value> = blocks.into_iter().filter(|block| block.is_object()).collect();
    let lets = |address: &str| blocks.iter().any(|block| allows(block, address.parse().unwrap()));
    if let Some(address) = INSIDE.iter().find(|address| lets(address)) {
        return Err(format!("the gate may connect to {address}"));
    }
    let closed = OUTSIDE.iter().find(|address| !blocks.is_empty() && !lets(address));
    closed.map_or(Ok(()), |address| Err(format!("the gate may not connect to {address}")))
}

fn allows(block: &Value, address: IpAddr) -> bool {
    let left_out = block["except"].as_array().into_iter().flatten().any(|range| holds(range, address));
    holds(&block["cidr"], address) && !left_out
}

fn holds(range: &Value, address: IpAddr) -> bool {
    let (first, length) = range.as_str().unwrap().split_once('/').unwrap();
    let length: u32 = length.parse().unwrap();
    let same = |one: u128, other: u128, size: u32| length == 0 || (one ^ other) >> (size - length) == 0;
    match (first.parse().unwrap(), address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => same(first.to_bits().into(), address.to_bits().into(), 32),
        (IpAddr::V6(first), IpAddr::V6(address)) => same(first.to_bits(), address.to_bits(), 128),
        _ => false,
    }
}
