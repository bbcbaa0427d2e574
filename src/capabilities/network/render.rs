//! NetworkPolicies, one function per kind of policy.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    addresses,
    graph::{self, Side},
    proof::PROBE,
    tries::Receiver,
};
use crate::{
    api::v1alpha1::Protocol,
    capabilities::{Capability, Flow, Peer, isolation::metadata, network::Network},
    names,
    objects::{Kind, Object, kind},
    tenant::Tenant,
};

/// Name of the policy that denies all traffic.
pub const DENY: &str = "default-deny";
const ATTEMPTS: &str = "attempts.network-probe";
const WHY: &str = "his-operator.io/why";

pub fn deny_all(tenant: &Tenant) -> Object {
    policy(
        tenant,
        kind::DEFAULT_DENY,
        DENY,
        "nothing is allowed that is not declared",
        NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ..nothing()
        },
    )
}

/// In place of [`deny_all`] while the control is off, under the same name, so that the way back is one write.
pub fn allow_all(tenant: &Tenant) -> Object {
    policy(
        tenant,
        kind::DEFAULT_DENY,
        DENY,
        "switched off by spec.network.off",
        NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule::default()]),
            egress: Some(vec![NetworkPolicyEgressRule::default()]),
        },
    )
}

/// One policy for each end of the flow that is a pod of this hospital.
pub fn flow(tenant: &Tenant, flow: &Flow) -> Vec<Object> {
    // A rule without a peer would allow everybody.
    if matches!(&flow.to, Peer::Hosts { addresses, .. } if addresses.is_empty()) {
        return Vec::new();
    }
    let ports = Some(ports(flow));
    let (from, to) = (graph::id(&flow.from), graph::id(&flow.to));
    let mut policies = Vec::new();
    if let Peer::Component(component) = &flow.from {
        let rule = NetworkPolicyEgressRule { to: Some(peers(tenant, &flow.to)), ports: ports.clone() };
        policies.push(policy(
            tenant,
            kind::NETWORK_POLICY,
            &graph::policy(Side::Egress, &from, &to, flow.port),
            &flow.why,
            NetworkPolicySpec {
                pod_selector: Some(component_pods(tenant, component)),
                policy_types: Some(vec!["Egress".to_owned()]),
                egress: Some(vec![rule]),
                ..nothing()
            },
        ));
    }
    if let Peer::Component(component) = &flow.to {
        let rule = NetworkPolicyIngressRule { from: Some(peers(tenant, &flow.from)), ports };
        policies.push(policy(
            tenant,
            kind::NETWORK_POLICY,
            &graph::policy(Side::Ingress, &to, &from, flow.port),
            &flow.why,
            NetworkPolicySpec {
                pod_selector: Some(component_pods(tenant, component)),
                policy_types: Some(vec!["Ingress".to_owned()]),
                ingress: Some(vec![rule]),
                ..nothing()
            },
        ));
    }
    policies
}

/// Lets the probe send what its receivers must refuse; without it, only the probe's own side would be tried.
pub fn attempts(tenant: &Tenant, receivers: &[Receiver]) -> Option<Object> {
    let rule = |Receiver { component, port, .. }: &Receiver| NetworkPolicyEgressRule {
        to: Some(peers(tenant, &Peer::component(component))),
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(*port)),
            protocol: Some(Protocol::Tcp.as_str().to_owned()),
            end_port: None,
        }]),
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(component_pods(tenant, PROBE)),
        policy_types: Some(vec!["Egress".to_owned()]),
        egress: Some(receivers.iter().map(rule).collect()),
        ..nothing()
    };
    let why = "the probe sends this, and proves that nobody takes it";
    (!receivers.is_empty()).then(|| policy(tenant, kind::NETWORK_POLICY, ATTEMPTS, why, spec))
}

/// No rule in either direction, said aloud: server-side apply removes a foreign rule only from a field that is owned.
fn nothing() -> NetworkPolicySpec {
    NetworkPolicySpec { ingress: Some(Vec::new()), egress: Some(Vec::new()), ..NetworkPolicySpec::default() }
}

fn policy(tenant: &Tenant, kind: Kind, name: &str, why: &str, spec: NetworkPolicySpec) -> Object {
    Object::new(kind, &NetworkPolicy { metadata: explained(tenant, name, why), spec: Some(spec) })
}

/// Metadata that says what the policy is for.
pub fn explained(tenant: &Tenant, name: &str, why: &str) -> ObjectMeta {
    let mut metadata = metadata(tenant, Network::NAME, name);
    metadata.annotations.get_or_insert_default().insert(WHY.to_owned(), why.to_owned());
    metadata
}

fn peers(tenant: &Tenant, peer: &Peer) -> Vec<NetworkPolicyPeer> {
    match peer {
        Peer::Component(component) => {
            vec![NetworkPolicyPeer {
                pod_selector: Some(component_pods(tenant, component)),
                ..NetworkPolicyPeer::default()
            }]
        }
        Peer::Elsewhere { namespace, labels, .. } => vec![elsewhere(namespace, labels.clone())],
        Peer::Addresses { .. } | Peer::Hosts { .. } | Peer::Internet => {
            addresses::of(peer).into_iter().map(|cidr| block(tenant, peer, cidr)).collect()
        }
    }
}

fn elsewhere(namespace: &str, pods: BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(labels(BTreeMap::from([(
            "kubernetes.io/metadata.name".to_owned(),
            namespace.to_owned(),
        )]))),
        pod_selector: Some(if pods.is_empty() { LabelSelector::default() } else { labels(pods) }),
        ip_block: None,
    }
}

fn block(tenant: &Tenant, peer: &Peer, cidr: String) -> NetworkPolicyPeer {
    let except = addresses::except(tenant, peer, std::slice::from_ref(&cidr));
    let except = (!except.is_empty()).then_some(except);
    NetworkPolicyPeer { ip_block: Some(IPBlock { cidr, except }), ..NetworkPolicyPeer::default() }
}

fn component_pods(tenant: &Tenant, component: &str) -> LabelSelector {
    labels(component_labels(tenant, component))
}

/// What all pods of a component carry, and no others.
pub fn component_labels(tenant: &Tenant, component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::TENANT.to_owned(), tenant.name.clone()),
        (names::COMPONENT.to_owned(), component.to_owned()),
    ])
}

fn labels(match_labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(match_labels), ..LabelSelector::default() }
}

fn ports(flow: &Flow) -> Vec<NetworkPolicyPort> {
    let port = |protocol: &Protocol| NetworkPolicyPort {
        port: Some(IntOrString::Int(flow.port)),
        protocol: Some(protocol.as_str().to_owned()),
        end_port: None,
    };
    graph::protocols(flow).iter().map(port).collect()
}
