//! Questions to a component that anybody who reaches its Service can ask. Rendered by the release, asked by the agent.

use serde::{Deserialize, Serialize};

use super::candidate::{Candidate, Part};
use crate::{
    api::v1alpha1::{Colour, Component, InsideAddress, PlatformGateway, Probe, Route},
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
    /// The `Host` that an HTTP server is asked for, and that its certificate must be for.
    pub authority: String,
    /// Whether it is asked over TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
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
    /// GET that must answer, whatever it says of the one who asks: anything below 500.
    Reach {
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
    let (port, ask, timeout_seconds) = asked(part).next()?;
    let port = part.component.ports.iter().find(|declared| declared.name == *port)?.port;
    Some(Check {
        host: service(&part.component.name, colour),
        port: u16::try_from(port).ok()?,
        authority: tenant.spec.host.clone(),
        tls: false,
        ask,
        timeout_seconds,
    })
}

/// What the kubelet asks a component: port, question, seconds.
fn asked(part: &Part) -> impl Iterator<Item = (&String, Ask, u64)> {
    let probes = &part.program.probes;
    let asked = [&probes.readiness, &probes.startup, &probes.liveness].into_iter().flatten();
    asked.filter_map(|probe| {
        let (port, ask) = ask(probe)?;
        Some((port, ask, probe.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(3)))
    })
}

/// Questions through every listener of the front door, one for each component that users are led to: the kubelet's, where its
/// path is public, otherwise whether the public path answers at all. None where the platform does not say how pods reach the front door.
pub fn front_door(tenant: &Tenant, candidate: &Candidate) -> Vec<Check> {
    let Some((gateway, inside)) = inside(tenant) else { return Vec::new() };
    let question = |part: &Part| {
        let component = &part.component;
        let of_kubelet = asked(part).find(|(port, ask, _)| {
            let route = path(ask).and_then(|path| leads_to(tenant, path));
            route.is_some_and(|(leads, route)| leads.name == component.name && route.port == **port)
        });
        let public = component.routes.first().map(|route| (Ask::Reach { path: route.path.clone() }, 3));
        of_kubelet.map(|(_, ask, seconds)| (ask, seconds)).or(public)
    };
    let through = |(ask, timeout_seconds): (Ask, u64)| {
        listeners(gateway, inside).filter_map(move |listener| {
            Some(Check {
                host: format!("{}.{}.svc", inside.service, gateway.pods_namespace),
                port: u16::try_from(listener.port).ok()?,
                authority: tenant.spec.host.clone(),
                tls: listener.tls,
                ask: ask.clone(),
                timeout_seconds,
            })
        })
    };
    candidate.atomic().filter_map(question).flat_map(through).collect()
}

/// A listener of the Gateway, as pods reach it.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// Port of the Service.
    port: i32,
    /// Port of the pods.
    pub pod_port: i32,
    tls: bool,
}

/// Every listener through which users come.
pub fn listeners(gateway: &PlatformGateway, inside: &InsideAddress) -> impl Iterator<Item = Listener> {
    let first = Listener { port: inside.port, pod_port: inside.pod_port, tls: gateway.is_https() };
    let further = inside.listeners.iter().map(|listener| Listener {
        port: listener.port,
        pod_port: listener.pod_port,
        tls: listener.scheme == "https",
    });
    std::iter::once(first).chain(further)
}

/// The platform's Gateway, and how pods reach it.
pub fn inside(tenant: &Tenant) -> Option<(&PlatformGateway, &InsideAddress)> {
    let gateway = tenant.platform.gateway.as_ref()?;
    Some((gateway, gateway.inside.as_ref()?))
}

fn path(ask: &Ask) -> Option<&str> {
    match ask {
        Ask::Http { path } | Ask::Reach { path } | Ask::RpcPost { path, .. } => Some(path),
        Ask::Tcp => None,
    }
}

/// The component that the route leads a path to: the longest prefix by whole segments decides.
fn leads_to<'a>(tenant: &'a Tenant, path: &str) -> Option<(&'a Component, &'a Route)> {
    let path = path.split('?').next().unwrap_or_default();
    let below = |prefix: &str| {
        let prefix = prefix.trim_end_matches('/');
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let components = tenant.application.components.iter();
    let routes = components.flat_map(|component| component.routes.iter().map(move |route| (component, route)));
    routes.filter(|(_, route)| below(&route.path)).max_by_key(|(_, route)| route.path.len())
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
