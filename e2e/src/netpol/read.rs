//! From Kubernetes objects to the model, with the defaults of the API.
//!
//! Guarantees to fail closed: a policy that cannot be read isolates its whole namespace, a peer that cannot match an
//! IPv4 address matches nothing. Must never turn "no peer left" into "everyone".

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::model::{
    Cidr, NamedPort, Namespaces, Peer, Peers, Pod, Policy, Port, Ports, Protocol, Requirement, Rule, Selector, Which,
};

/// A pod with an address of its own: not on the host's network, not finished (its address may already be another's).
///
/// `announced` is the address that the CNI plugin told before the kubelet did.
pub fn pod(pod: &core::Pod, announced: Option<Ipv4Addr>) -> Option<Pod> {
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref();
    let finished = status
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
    if spec.host_network == Some(true) || finished {
        return None;
    }
    let reported = || {
        status?
            .pod_ips
            .iter()
            .flatten()
            .map(|ip| ip.ip.as_str())
            .chain(status?.pod_ip.as_deref())
            .find_map(|ip| ip.parse().ok())
    };
    Some(Pod {
        namespace: pod.metadata.namespace.clone()?,
        name: pod.metadata.name.clone()?,
        node: spec.node_name.clone()?,
        address: announced.or_else(reported)?,
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        ports: spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
            .flat_map(|container| container.ports.iter().flatten())
            .filter_map(named_port)
            .collect(),
    })
}

fn named_port(port: &core::ContainerPort) -> Option<NamedPort> {
    Some(NamedPort {
        name: port.name.clone()?,
        protocol: protocol(port.protocol.as_deref()).ok()?,
        port: u16::try_from(port.container_port).ok()?,
    })
}

/// A policy and, if it could not be read, why; such a policy isolates every pod of its namespace.
pub fn policy(policy: &api::NetworkPolicy) -> (Policy, Option<String>) {
    let namespace = policy.metadata.namespace.clone().unwrap_or_default();
    let name = policy.metadata.name.clone().unwrap_or_default();
    match parts(policy.spec.as_ref()) {
        Ok((pods, ingress, egress)) => (Policy { namespace, name, pods, ingress, egress }, None),
        Err(error) => {
            let reason = format!("networkpolicy {namespace}/{name}: {error:#}");
            let isolating = Policy {
                namespace,
                name,
                pods: Selector::default(),
                ingress: Some(Vec::new()),
                egress: Some(Vec::new()),
            };
            (isolating, Some(reason))
        }
    }
}

type Parts = (Selector, Option<Vec<Rule>>, Option<Vec<Rule>>);

fn parts(spec: Option<&api::NetworkPolicySpec>) -> Result<Parts> {
    let spec = spec.context("spec is missing")?;
    let types = spec.policy_types.as_deref().unwrap_or_default();
    let named = |wanted: &str| types.iter().any(|name| name == wanted);
    // Without policyTypes, every policy is about ingress, and about egress only if it has egress rules.
    let about_egress = named("Egress") || types.is_empty() && has_rules(spec.egress.as_ref());
    let about_ingress = named("Ingress") || types.is_empty();
    let ingress = spec.ingress.iter().flatten();
    let egress = spec.egress.iter().flatten();
    let ingress = ingress
        .map(|one| rule(one.from.as_deref(), one.ports.as_deref()))
        .collect::<Result<_>>()
        .context("spec.ingress")?;
    let egress = egress
        .map(|one| rule(one.to.as_deref(), one.ports.as_deref()))
        .collect::<Result<_>>()
        .context("spec.egress")?;
    let pods = spec.pod_selector.as_ref().map(selector).transpose();
    Ok((
        pods.context("spec.podSelector")?.unwrap_or_default(),
        about_ingress.then_some(ingress),
        about_egress.then_some(egress),
    ))
}

fn has_rules<T>(rules: Option<&Vec<T>>) -> bool {
    rules.is_some_and(|rules| !rules.is_empty())
}

fn rule(peers: Option<&[api::NetworkPolicyPeer]>, ports: Option<&[api::NetworkPolicyPort]>) -> Result<Rule> {
    let peers = match peers.unwrap_or_default() {
        [] => Peers::Everyone,
        list => {
            let read = list.iter().map(peer).collect::<Result<Vec<_>>>()?;
            Peers::Only(read.into_iter().flatten().collect())
        }
    };
    let ports = match ports.unwrap_or_default() {
        [] => Ports::Every,
        list => Ports::Only(list.iter().map(port).collect::<Result<_>>()?),
    };
    Ok(Rule { peers, ports })
}

/// `None` for a block of IPv6 addresses, which no pod here has.
fn peer(peer: &api::NetworkPolicyPeer) -> Result<Option<Peer>> {
    if let Some(block) = &peer.ip_block {
        if peer.pod_selector.is_some() || peer.namespace_selector.is_some() {
            bail!("a peer has ipBlock beside selectors; use one peer for each");
        }
        let Some(cidr) = cidr(&block.cidr)? else {
            return Ok(None);
        };
        let except = block.except.iter().flatten();
        let except = except.map(|text| self::cidr(text)).collect::<Result<Vec<_>>>()?;
        return Ok(Some(Peer::Block { cidr, except: except.into_iter().flatten().collect() }));
    }
    let pods = peer.pod_selector.as_ref().map(selector).transpose()?;
    let namespaces = peer.namespace_selector.as_ref().map(selector).transpose()?;
    if pods.is_none() && namespaces.is_none() {
        bail!("a peer is empty; give it podSelector, namespaceSelector or ipBlock");
    }
    Ok(Some(Peer::Pods {
        namespaces: namespaces.map_or(Namespaces::Own, Namespaces::Labelled),
        pods: pods.unwrap_or_default(),
    }))
}

fn port(port: &api::NetworkPolicyPort) -> Result<Port> {
    let number = |value: i32| u16::try_from(value).with_context(|| format!("port {value} is not between 0 and 65535"));
    let which = match (&port.port, port.end_port) {
        (None, None) => Which::Numbers(0, u16::MAX),
        (Some(IntOrString::Int(first)), last) => Which::Numbers(number(*first)?, number(last.unwrap_or(*first))?),
        (Some(IntOrString::String(name)), None) => Which::Named(name.clone()),
        (None | Some(IntOrString::String(_)), Some(last)) => {
            bail!("endPort {last} needs a number in port")
        }
    };
    Ok(Port { protocol: protocol(port.protocol.as_deref())?, which })
}

fn protocol(name: Option<&str>) -> Result<Protocol> {
    Ok(match name.unwrap_or("TCP") {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        other => bail!("protocol {other} is unknown; use TCP, UDP or SCTP"),
    })
}

fn selector(selector: &LabelSelector) -> Result<Selector> {
    let mut requirements: Vec<_> = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]))
        .collect();
    for expression in selector.match_expressions.iter().flatten() {
        let key = expression.key.clone();
        let values = expression.values.clone().unwrap_or_default();
        requirements.push(match expression.operator.as_str() {
            "In" => Requirement::In(key, values),
            "NotIn" => Requirement::NotIn(key, values),
            "Exists" => Requirement::Exists(key),
            "DoesNotExist" => Requirement::DoesNotExist(key),
            other => bail!("operator {other} of label {key} is unknown; use In, NotIn, Exists or DoesNotExist"),
        });
    }
    Ok(Selector(requirements))
}

/// `None` for an IPv6 network.
fn cidr(text: &str) -> Result<Option<Cidr>> {
    let explain = || format!("{text} is not a network; write it as 192.0.2.0/24");
    let (address, prefix) = text.split_once('/').with_context(explain)?;
    let prefix: u8 = prefix.parse().with_context(explain)?;
    match address.parse::<IpAddr>().with_context(explain)? {
        IpAddr::V4(address) if prefix <= 32 => Ok(Some(Cidr::new(address, prefix))),
        IpAddr::V6(_) if prefix <= 128 => Ok(None),
        _ => bail!(explain()),
    }
}

/// Name and labels of a namespace.
pub fn namespace(namespace: &core::Namespace) -> (String, BTreeMap<String, String>) {
    let metadata = &namespace.metadata;
    (metadata.name.clone().unwrap_or_default(), metadata.labels.clone().unwrap_or_default())
}
