//! The namespace from which pods try what hospitals must refuse.
//!
//! Guarantees: its pods have no token, no secret and no way in; every way out is theirs, so that it is the hospitals that refuse.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::Namespace,
        networking::v1::{NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicySpec},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::{
    Error,
    operator::{labels, service_account},
    site::Site,
    yaml,
};
use crate::{capabilities::network::PROBE, names};

/// Labels that ask for the strictest of the Pod Security Standards.
pub fn restricted(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
    }
    labels
}

/// The namespace, the identity of its pods, and their traffic; its rights are with all others.
pub fn documents(site: &Site) -> Result<Vec<String>, Error> {
    let namespace = ObjectMeta {
        name: Some(names::PROBES.to_owned()),
        labels: Some(restricted(labels())),
        ..ObjectMeta::default()
    };
    let own = || ObjectMeta {
        name: Some(PROBE.to_owned()),
        namespace: Some(names::PROBES.to_owned()),
        labels: Some(labels()),
        ..ObjectMeta::default()
    };
    let traffic = NetworkPolicySpec {
        pod_selector: Some(LabelSelector::default()),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: Some(Vec::new()),
        egress: Some(vec![NetworkPolicyEgressRule::default()]),
    };
    let traffic = NetworkPolicy { metadata: own(), spec: Some(traffic) };
    Ok(vec![
        yaml::document(
            "Namespace",
            &yaml::value("Namespace", &Namespace { metadata: namespace, ..Namespace::default() })?,
        )?,
        yaml::document("ServiceAccount", &service_account(site, own())?)?,
        yaml::document("NetworkPolicy", &yaml::value("NetworkPolicy", &traffic)?)?,
    ])
}
