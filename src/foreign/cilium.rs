//! Cilium's `CiliumNetworkPolicy` (`cilium.io/v2`), <https://docs.cilium.io/en/stable/network/kubernetes/policy/>.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

/// Traffic of pods of one namespace.
#[derive(Clone, Debug, Serialize)]
pub struct CiliumNetworkPolicy {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// One rule.
    pub spec: Rule,
    /// Further rules.
    pub specs: Vec<Rule>,
}

/// What pods may send and receive. Lists are there even when they are empty: server-side apply removes a foreign entry only
/// from a list that is owned.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// For people.
    pub description: String,
    /// Pods.
    pub endpoint_selector: Selector,
    /// What they may receive.
    pub ingress: Vec<Egress>,
    /// What they may not receive, whatever allows it.
    pub ingress_deny: Vec<Egress>,
    /// What they may send.
    pub egress: Vec<Egress>,
    /// What they may not send, whatever allows it.
    pub egress_deny: Vec<Egress>,
}

/// Receivers and their ports. One kind of receiver in each.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Egress {
    /// By DNS name.
    #[serde(rename = "toFQDNs", skip_serializing_if = "Vec::is_empty")]
    pub to_fqdns: Vec<Name>,
    /// By labels.
    #[serde(rename = "toEndpoints", skip_serializing_if = "Vec::is_empty")]
    pub to_endpoints: Vec<Selector>,
    /// By address.
    #[serde(rename = "toCIDRSet", skip_serializing_if = "Vec::is_empty")]
    pub to_cidr_set: Vec<Range>,
    /// Ports.
    #[serde(rename = "toPorts")]
    pub to_ports: Vec<Ports>,
}

/// A DNS name.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Name {
    /// The name itself.
    pub match_name: String,
}

/// Labels, each with the source that Cilium knows it from (`k8s:`), or from any.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// The labels.
    pub match_labels: BTreeMap<String, String>,
}

/// Addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// A range.
    pub cidr: String,
    /// Ranges inside of it that do not count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// Ports of receivers, behind Services.
#[derive(Clone, Debug, Serialize)]
pub struct Ports {
    /// The ports.
    pub ports: Vec<Port>,
    /// What may be asked there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Rules>,
}

/// A port.
#[derive(Clone, Debug, Serialize)]
pub struct Port {
    /// Its number.
    pub port: String,
    /// `TCP` or `UDP`.
    pub protocol: String,
}

/// What may be asked at a port.
#[derive(Clone, Debug, Serialize)]
pub struct Rules {
    /// Names that may be looked up.
    pub dns: Vec<Pattern>,
}

/// A pattern of DNS names.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pattern {
    /// `*` for all.
    pub match_pattern: String,
}
