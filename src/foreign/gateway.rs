//! Gateway API `HTTPRoute` (`gateway.networking.k8s.io/v1`), <https://gateway-api.sigs.k8s.io/reference/spec/>.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

/// Hosts and paths that lead to Services.
#[derive(Clone, Debug, Serialize)]
pub struct HttpRoute {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Spec.
    pub spec: HttpRouteSpec,
}

/// Spec of a route.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteSpec {
    /// Gateways to attach to.
    pub parent_refs: Vec<ParentReference>,
    /// Hosts.
    pub hostnames: Vec<String>,
    /// Rules, longest path first.
    pub rules: Vec<Rule>,
}

/// A Gateway.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// `gateway.networking.k8s.io`.
    pub group: String,
    /// `Gateway`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// Paths and where they lead.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Paths.
    pub matches: Vec<Match>,
    /// What is changed on the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// Services.
    pub backend_refs: Vec<BackendReference>,
}

/// Sets headers of answers (`ResponseHeaderModifier`).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// `ResponseHeaderModifier`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The headers.
    pub response_header_modifier: HeaderModifier,
}

/// Headers of answers.
#[derive(Clone, Debug, Serialize)]
pub struct HeaderModifier {
    /// Headers that replace those of the same name.
    pub set: Vec<Header>,
}

/// A header.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A path.
#[derive(Clone, Debug, Serialize)]
pub struct Match {
    /// The path.
    pub path: PathMatch,
}

/// A path.
#[derive(Clone, Debug, Serialize)]
pub struct PathMatch {
    /// `PathPrefix`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Prefix by whole segments.
    pub value: String,
}

/// A Service of the same namespace.
#[derive(Clone, Debug, Serialize)]
pub struct BackendReference {
    /// Empty: core.
    pub group: String,
    /// `Service`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: i32,
    /// Share of the traffic.
    pub weight: i32,
}
