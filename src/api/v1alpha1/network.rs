//! Who may talk to whom: the graph that status shows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The connections that are allowed. Everything else is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// Allowed connections, ordered by their ends and port (at most 256).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<AllowedFlow>,
    /// Allowed connections that are left out of `flows` because there are too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: i32,
    /// Ends of flows that are not components of the hospital.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<NetworkPeer>,
    /// Set while `spec.network.off` holds: until then everything is allowed (RFC 3339), and `flows` is what is allowed again
    /// after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_until: Option<String>,
}

impl NetworkStatus {
    /// Nothing was written down yet.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// One allowed connection. Answers to it are allowed too.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedFlow {
    /// Who connects: a component or lifecycle step of the hospital, or a name among `peers`.
    pub from: String,
    /// To whom: likewise.
    pub to: String,
    /// Port of the receiving pod or server.
    pub port: i32,
    /// `TCP` or `UDP`.
    pub protocol: Protocol,
    /// What for.
    pub why: String,
}

/// Transport protocol, as NetworkPolicy calls it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// RFC 9293.
    #[default]
    Tcp,
    /// RFC 768.
    Udp,
}

impl Protocol {
    /// As NetworkPolicy spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// An end of a flow that is not a component of the hospital: pods of another namespace, or addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPeer {
    /// Name in `flows`: `namespace/name` for pods, `addresses/digest` for addresses.
    pub name: String,
    /// Namespace of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels of the pods; absent means every pod of the namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Addresses, as CIDR.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<String>,
}
