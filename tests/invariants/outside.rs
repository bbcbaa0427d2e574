//! Where the gate to servers outside, and names, may not lead, address by address: the policy must say so too.

use std::net::IpAddr;

use his_operator::{api::v1alpha1::EgressFlow, names, objects::kind};
use serde_json::{Value, json};

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
/// What random hospitals declare by address.
const DECLARED: &[&str] = &["192.0.2.40", "192.0.2.41", "198.51.100.7", "203.0.113.70", "2001:db8:2::9", "169.254.1.1"];
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

/// What Cilium is told beside the policies by address: nothing is allowed but names that the spec lists for this component and
/// port, and questions to resolvers; and nothing is denied that a policy allows.
pub fn names_as_declared(world: &World) -> Result<(), String> {
    world.of_kind(kind::CILIUM_NETWORK_POLICY).try_for_each(|policy| {
        let finding = |text: String| Err(format!("{}: {text}", policy.name));
        let spec = &policy.body["spec"];
        let component = spec["endpointSelector"]["matchLabels"][names::COMPONENT].as_str().unwrap_or_default();
        for rule in list(&spec["egress"]) {
            if let Some(wrong) = list(&rule["toPorts"]).find(|ports| !is_declared(world, component, rule, ports)) {
                return finding(format!("nobody declared {rule}, on {wrong}"));
            }
        }
        let denies = |address, port: &Value| {
            list(&spec["egressDeny"]).any(|rule| {
                let on_port = list(&rule["toPorts"]).any(|ports| list(&ports["ports"]).any(|one| one == port));
                on_port && list(&rule["toCIDRSet"]).any(|range| allows(range, address))
            })
        };
        let ports = list(&spec["egress"]).filter(|rule| rule["toFQDNs"].is_array());
        let ports = ports.flat_map(|rule| list(&rule["toPorts"])).flat_map(|ports| list(&ports["ports"]));
        for port in ports {
            for address in INSIDE.iter().chain(OUTSIDE).chain(DECLARED).map(|text| text.parse().unwrap()) {
                // It looks like nothing that is ever sent.
                let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
                let (denied, allowed) = (denies(address, port), by_address(world, component, port, address));
                let inside = INSIDE.iter().any(|text| text.parse() == Ok(address));
                if (denied && allowed) || (inside && !denied && !allowed && !mapped) {
                    return finding(format!("{address} on {port}: denied: {denied}, by address allowed: {allowed}"));
                }
            }
        }
        Ok(())
    })
}

/// Whether the spec has these names for this component and port, or these are questions to a resolver.
fn is_declared(world: &World, component: &str, rule: &Value, ports: &Value) -> bool {
    let port = |port: &Value| port["port"].as_str().unwrap().parse::<i32>().unwrap();
    let flows = || world.tenant.network.iter().flat_map(|network| &network.egress);
    let named = |name: &Value, port: i32| {
        let of = |flow: &EgressFlow| flow.component == component && flow.port == port;
        flows().any(|flow| of(flow) && flow.hosts.iter().any(|host| name["matchName"] == host.as_str()))
    };
    if rule["toFQDNs"].is_null() {
        let asks = ports["rules"] == json!({ "dns": [{ "matchPattern": "*" }] });
        let resolver = rule["toEndpoints"]
            == json!([{ "matchLabels": {
            "k8s:io.kubernetes.pod.namespace": "kube-system", "k8s:k8s-app": "kube-dns",
        } }]);
        return asks && resolver && list(&ports["ports"]).all(|one| port(one) == 53);
    }
    let only = rule.as_object().unwrap().keys().all(|key| ["toFQDNs", "toPorts"].contains(&key.as_str()));
    only && list(&ports["ports"])
        .all(|one| one["protocol"] == "TCP" && list(&rule["toFQDNs"]).all(|name| named(name, port(one))))
}

/// Whether a policy of Kubernetes allows an address to a component.
fn by_address(world: &World, component: &str, port: &Value, address: IpAddr) -> bool {
    let of = |body: &Value| body["spec"]["podSelector"]["matchLabels"][names::COMPONENT] == component;
    let port: i64 = port["port"].as_str().unwrap().parse().unwrap();
    let same = |one: &Value| one["port"] == port && one["protocol"] == "TCP";
    let rules = world.of_kind(kind::NETWORK_POLICY).filter(|policy| of(&policy.body));
    let rules = rules.flat_map(|policy| list(&policy.body["spec"]["egress"]));
    let mut blocks =
        rules.filter(|rule| list(&rule["ports"]).any(same)).flat_map(|rule| list(&rule["to"])).map(|to| &to["ipBlock"]);
    blocks.any(|block| block.is_object() && allows(block, address))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn allows(block: &Value, address: IpAddr) -> bool {
    let left_out = list(&block["except"]).any(|range| holds(range, address));
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
