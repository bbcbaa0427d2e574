//! Whom the operator may talk to.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use serde_json::Value;

use super::{
    Error,
    operator::{metadata, selector},
    site::Site,
    values::{Dns, Values},
    yaml,
};

/// Out to the API server and the resolver only; in for nobody, unless told. The kubelet's probes are not subject to policies.
pub(super) fn network_policy(site: &Site, values: &Values) -> Result<Value, Error> {
    let ports = values.network_policy.api_server_ports.iter().map(|port| NetworkPolicyPort {
        port: Some(IntOrString::Int(*port)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    });
    let anywhere = |cidr: &str| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_owned(), except: None }),
        ..NetworkPolicyPeer::default()
    };
    let api_server = NetworkPolicyEgressRule {
        ports: Some(ports.collect()),
        to: Some(vec![anywhere("0.0.0.0/0"), anywhere("::/0")]),
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(selector()),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: Some(Vec::new()),
        egress: Some(vec![api_server, resolver(&values.network_policy.dns)]),
    };
    let mut value = yaml::value("NetworkPolicy", &NetworkPolicy { metadata: metadata(site), spec: Some(spec) })?;
    site.place(&mut value, "/spec/ingress", "include \"his-operator.ingress\" .")?;
    site.place(&mut value, "/spec/egress", "include \"his-operator.egress\" .")?;
    Ok(value)
}

fn resolver(dns: &Dns) -> NetworkPolicyEgressRule {
    let port = |protocol: &str| NetworkPolicyPort {
        port: Some(IntOrString::Int(dns.port)),
        protocol: Some(protocol.to_owned()),
        ..NetworkPolicyPort::default()
    };
    let matching = |labels| Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() });
    let namespace = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), dns.namespace.clone())]);
    let pods = NetworkPolicyPeer {
        namespace_selector: matching(namespace),
        pod_selector: matching(dns.pod_labels.clone()),
        ..NetworkPolicyPeer::default()
    };
    NetworkPolicyEgressRule { ports: Some(vec![port("UDP"), port("TCP")]), to: Some(vec![pods]) }
}
