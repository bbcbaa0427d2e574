//! Questions to a component that anybody who reaches its Service can ask. Rendered by the release, asked by the agent.

use serde::{Deserialize, Serialize};

use super::candidate::{Candidate, Part};
use crate::{
    api::v1alpha1::{Colour, Probe},
    tenant::Tenant,
};

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// DNS name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The `Host` that an HTTP server is asked for.
    pub authority: String,
    /// What is asked.
    pub ask: Ask,
    /// Seconds that the whole exchange may take.
    pub timeout_seconds: u64,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// GET that must answer 200 to 399.
    Http {
        /// Absolute path.
        path: String,
    },
    /// Connection that must open.
    Tcp,
    /// POST of JSON whose answer must be 200 and contain a text.
    RpcPost {
        /// Absolute path.
        path: String,
        /// Body.
        body: String,
        /// Text in the answer; absent: any.
        #[serde(skip_serializing_if = "Option::is_none")]
        expect: Option<String>,
    },
}

/// The checks of one colour: the kubelet's questions, to each component's Service instead of a single pod. What only a
/// program inside of the pod can answer was answered to the kubelet itself.
pub fn checks(tenant: &Tenant, candidate: &Candidate, colour: Colour) -> Vec<Check> {
    candidate.atomic().filter_map(|part| check(tenant, part, colour)).collect()
}

fn check(tenant: &Tenant, part: &Part, colour: Colour) -> Option<Check> {
    let probes = &part.program.probes;
    let mut asked = [&probes.readiness, &probes.startup, &probes.liveness].into_iter().flatten();
    let (probe, (port, ask)) = asked.find_map(|probe| Some((probe, ask(probe)?)))?;
    let port = part.component.ports.iter().find(|declared| declared.name == *port)?.port;
    Some(Check {
        host: service(&part.component.name, colour),
        port: u16::try_from(port).ok()?,
        authority: tenant.spec.host.clone(),
        ask,
        timeout_seconds: probe.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(3),
    })
}

fn ask(probe: &Probe) -> Option<(&String, Ask)> {
    if let Some(http) = &probe.http {
        return Some((&http.port, Ask::Http { path: http.path.clone() }));
    }
    if let Some(tcp) = &probe.tcp {
        return Some((&tcp.port, Ask::Tcp));
    }
    let rpc = probe.rpc_post.as_ref()?;
    let ask = Ask::RpcPost { path: rpc.path.clone(), body: rpc.body.clone(), expect: rpc.expect.clone() };
    Some((&rpc.port, ask))
}

/// Name of the Service and of the Deployment of one colour.
pub fn service(component: &str, colour: Colour) -> String {
    format!("{component}-{colour}")
}
