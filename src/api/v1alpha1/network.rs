//! Who may talk to whom: what the spec adds to the application, and the graph that status shows.

use std::{collections::BTreeMap, fmt, time::Duration};

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Connections to servers outside of the cluster that the application needs in this hospital.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.cidrs) != has(self.hosts)").message("a flow needs exactly one of cidrs and hosts: remove the other").field_path(".cidrs"),
    validation = Rule::new("has(self.wholeInternetReason) || !has(self.cidrs) || self.cidrs.all(c, !c.endsWith('/0'))").message("cidrs may cover the whole internet only with wholeInternetReason: name the addresses, or say why nobody can").field_path(".cidrs")
)]
pub struct EgressFlow {
    /// Component of the application, or lifecycle step, that connects.
    #[schemars(length(min = 1, max = 30))]
    pub component: String,
    /// Addresses of the servers, as CIDR. Metadata services (169.254.169.254 and fd00:ec2::254) and the cluster itself stay
    /// denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))").message("every entry of cidrs must be a CIDR such as 192.0.2.10/32"))]
    pub cidrs: Vec<String>,
    /// DNS names of the servers, in place of their addresses. The operator resolves them every minute and allows the addresses
    /// to which they lead, which `status.network.hosts` shows; where the cluster has Cilium, that follows them as well. A private,
    /// local or otherwise special address is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 253)))]
    #[x_kube(
        validation = Rule::new("self.all(h, h.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?\\\\.)+[a-z]([-a-z0-9]*[a-z0-9])?$'))").message("every entry of hosts must be a DNS name in lower case such as results.example.org, without scheme, port, wildcard or address"),
        validation = Rule::new("self.all(h, self.exists_one(o, o == h))").message("an entry of hosts stands there twice: remove one of them")
    )]
    pub hosts: Vec<String>,
    /// TCP port of the servers.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// What for; shown in status and on the policy.
    #[schemars(length(min = 10, max = 200))]
    pub reason: String,
    /// Why the addresses cannot be named; needed for ranges larger than /8 (IPv6: /16), refused for smaller ones. Shown in
    /// status for as long as it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 10, max = 500))]
    pub whole_internet_reason: Option<String>,
}

/// Servers outside that the application calls by name over HTTPS, as it does for webhooks and push messages. All such calls go
/// through a gate in the hospital's namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct WebhooksSpec {
    /// Names of the servers, or `*.example.org` for every name below one (not that name itself). Only port 443. A name that
    /// resolves to a private, local or otherwise special address is refused all the same.
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 253)))]
    #[x_kube(
        validation = Rule::new("self.all(h, h.matches('^(\\\\*\\\\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?\\\\.)+[a-z]([-a-z0-9]*[a-z0-9])?$'))").message("every entry of hosts must be a DNS name in lower case such as hooks.example.org, or *.example.org for every name below it, without scheme, port, path or address"),
        validation = Rule::new("self.all(h, self.exists_one(o, o == h))").message("an entry of hosts stands there twice: remove one of them")
    )]
    pub hosts: Vec<String>,
}

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
    /// Where the names of servers outside lead that the spec lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<NamedHost>,
    /// What the last trial of the policies has found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<NetworkProof>,
    /// Policies that somebody else had changed or deleted and that were put right, newest first (at most 5).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<NetworkGap>,
}

/// A server outside that the spec names by its DNS name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedHost {
    /// Its name.
    pub host: String,
    /// By whom it is followed: `Operator`, or `Cilium` beside it.
    #[serde(default)]
    pub followed_by: Follower,
    /// Addresses that the operator allows: those to which the name leads, or has led in the last ten minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Addresses to which it leads and that are not allowed, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// Why it was not resolved the last time; `addresses` stay as they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unresolved: Option<String>,
}

/// Who finds out where a name leads, and allows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Follower {
    /// The operator alone, once a minute.
    #[default]
    Operator,
    /// Cilium as well, with each answer that a pod gets.
    Cilium,
}

impl Follower {
    /// What it means that nobody but a pod may find out where the name leads.
    pub fn without_address(self) -> &'static str {
        match self {
            Self::Operator => "leads nowhere, so nothing is allowed to it",
            Self::Cilium => "leads nowhere, so nothing is allowed to it but what Cilium hears from a pod's own lookup",
        }
    }
}

/// A time in which a NetworkPolicy was not as the operator had written it, although nothing that it is made from had changed.
/// It says nothing of what passed meanwhile. A change of labels or annotations alone is put right and is no gap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkGap {
    /// Name of the NetworkPolicy in the hospital's namespace.
    pub policy: String,
    /// `Deleted`, or `Changed`: it allowed more, less or something else.
    pub what: GapKind,
    /// Field manager of the last change, as the API server noted it: a program such as `kubectl-edit`, not a person; the audit
    /// log of the API server has the person. Absent where the API server names none, as for every deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Since when (RFC 3339), as precisely as is known. To the second: when the API server took the first change. To the
    /// millisecond: when the operator saw it.
    pub since: String,
    /// Until when (RFC 3339), by the same clock: that of the API server's write, or that of the operator when it was answered.
    pub until: String,
    /// Length, by the operator's clock; absent where only seconds are known. A deletion is seen some milliseconds after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<i64>,
    /// Length, by the API server's clock, which notes whole seconds: up to one second more or less. Absent where milliseconds
    /// are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// True when it began before `since`, nobody knows when: no operator was watching, or the API server does not name who
    /// made the change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

/// What was done to a NetworkPolicy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GapKind {
    /// Its spec was changed.
    #[default]
    Changed,
    /// It was deleted.
    Deleted,
}

impl NetworkGap {
    /// Its length, as far as it is known.
    pub fn length(&self) -> Duration {
        let whole = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let milliseconds = whole(self.milliseconds).map(Duration::from_millis);
        milliseconds.or_else(|| whole(self.seconds).map(Duration::from_secs)).unwrap_or_default()
    }
}

/// One sentence without its full stop.
impl fmt::Display for NetworkGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, what, who, since, milliseconds, seconds, at_least, .. } = self;
        let done = match (what, who) {
            (GapKind::Deleted, _) => "was deleted".to_owned(),
            (GapKind::Changed, Some(who)) => format!("was changed by {who}"),
            (GapKind::Changed, None) => "was changed".to_owned(),
        };
        let least = if *at_least { "at least " } else { "" };
        let length = match (milliseconds, seconds) {
            (Some(milliseconds), _) => format!("{least}{milliseconds} ms"),
            (None, Some(seconds)) => format!("{least}{seconds} s (give or take one)"),
            (None, None) => "an unknown time".to_owned(),
        };
        write!(f, "NetworkPolicy {policy} {done} and was put right after {length}, since {since}")
    }
}

/// What pods found that tried connections: one for which nothing is declared, one of another namespace, and one in the place of
/// each component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkProof {
    /// Digest of what was tried, and of the policies in place.
    pub of: String,
    /// Which trial it was; the names of its Jobs depend on it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trial: String,
    /// When the first of them was done (RFC 3339).
    pub at: String,
    /// Whence it was tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Connections that nobody declared, and that did not open.
    pub refused: i32,
    /// Connections that nobody declared, and that opened, and whence (at most 16).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opened: Vec<String>,
    /// Declared connections that did not open, and names without an address, and whence (at most 16).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<String>,
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
    /// Name in `flows`: `namespace/name` for pods, `addresses/digest` for addresses, `addresses/internet` for all that are public,
    /// `hosts/digest` for servers with names.
    pub name: String,
    /// DNS names that lead to `cidrs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Namespace of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels of the pods; absent means every pod of the namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Addresses, as CIDR.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<String>,
    /// Addresses that stay denied although `cidrs` covers them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}
