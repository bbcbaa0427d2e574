#![doc = include_str!("README.md")]

use crate::{
    api::v1alpha1::{Colour, Off, PlatformGateway},
    capabilities::{Capability, Contributions, Input, Peer, isolation::metadata, release, route},
    conditions::{Reason, Rejection, Verdict, Verdicts},
    foreign::gateway::{
        BackendReference, Filter, Header, HeaderModifier, HttpRoute, HttpRouteSpec, Match, ParentReference, PathMatch,
        Rule,
    },
    names,
    objects::{Desired, Kind, Object, kind},
    tenant::{Tenant, template::public_url},
};

/// See the module documentation.
#[derive(Debug)]
pub struct Edge;

/// Where the hospital is reachable.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Taken off the Gateway.
    Off,
    /// The platform has no Gateway, or the application nothing to show.
    Nowhere(Verdict),
    /// Nothing serves yet: a route would lead to errors, or to an application that is not initialised.
    Waits,
    /// On the Gateway.
    Routed(Box<PlatformGateway>, Vec<Rule>),
}

impl Capability for Edge {
    const NAME: &'static str = "edge";
    const CONDITION: &'static str = "EdgeReady";
    const KINDS: &'static [Kind] = &[kind::HTTP_ROUTE];
    type Plan = Plan;

    fn plan(input: Input<'_>, shared: &mut Contributions, _: &Verdicts) -> Result<Plan, Rejection> {
        let tenant = input.tenant;
        if tenant.is_off("spec.edge.off", off(tenant))? {
            return Ok(Plan::Off);
        }
        let shown = release::shown(input);
        let rules = rules(tenant, shown);
        if rules.is_empty() {
            return Ok(Plan::Nowhere(Verdict::proved("the application has no public paths")));
        }
        let Some(gateway) = tenant.platform.gateway.clone() else {
            let message = "the HospitalPlatform has no gateway; add spec.gateway there";
            return Ok(Plan::Nowhere(Verdict::failed(Reason::GatewayMissing, message)));
        };
        for component in &tenant.application.components {
            for route in &component.routes {
                let Some(port) = component.ports.iter().find(|port| port.name == route.port) else { continue };
                let from = Peer::Elsewhere {
                    name: "gateway",
                    namespace: gateway.pods_namespace.clone(),
                    labels: gateway.pod_labels.clone(),
                };
                shared.flow(from, Peer::component(&component.name), port.port, "users through the platform's Gateway");
            }
        }
        // That the Gateway API is missing is told at once, not only when the route is due.
        let due = shown.is_some() || !input.observed.serves(kind::HTTP_ROUTE);
        Ok(if due { Plan::Routed(Box::new(gateway), rules) } else { Plan::Waits })
    }

    fn render(plan: &Plan, input: Input<'_>, _: &Contributions) -> Vec<Desired> {
        match plan {
            Plan::Off | Plan::Nowhere(_) | Plan::Waits => Vec::new(),
            Plan::Routed(gateway, rules) => vec![Desired::Apply(http_route(input.tenant, gateway, rules))],
        }
    }

    fn assess(plan: &Plan, input: Input<'_>) -> Verdict {
        match plan {
            Plan::Nowhere(verdict) => verdict.clone(),
            Plan::Waits => Verdict::failed(Reason::Progressing, "the route is made as soon as a version serves"),
            Plan::Off => off(input.tenant).map_or_else(
                || Verdict::unknown(Reason::NotObserved, "off without a reason"),
                |off| {
                    Verdict::failed(Reason::SwitchedOff, format!("not reachable until {}: {}", off.until, off.reason))
                },
            ),
            Plan::Routed(..) => match input.observed.get(kind::HTTP_ROUTE, &input.tenant.namespace, route::ROUTE) {
                Some(live) => route::accepted(live, &public_url(input.tenant)),
                None => Verdict::unknown(Reason::Progressing, format!("HTTPRoute {} was not seen yet", route::ROUTE)),
            },
        }
    }
}

fn off(tenant: &Tenant) -> Option<&Off> {
    tenant.spec.edge.as_ref().and_then(|edge| edge.off.as_ref())
}

/// Longest path first, so that people read them in the order in which they match.
fn rules(tenant: &Tenant, shown: Option<Colour>) -> Vec<Rule> {
    let mut rules: Vec<(String, Rule)> = Vec::new();
    for component in &tenant.application.components {
        let backend = shown.map_or_else(|| component.name.clone(), |colour| release::backend(component, colour));
        for route in &component.routes {
            let Some(port) = component.ports.iter().find(|port| port.name == route.port) else { continue };
            let rule = Rule {
                matches: vec![Match { path: PathMatch { kind: "PathPrefix".to_owned(), value: route.path.clone() } }],
                filters: shown.filter(|_| release::has_colours(component)).map(colour_header).into_iter().collect(),
                backend_refs: vec![BackendReference {
                    group: String::new(),
                    kind: "Service".to_owned(),
                    name: backend.clone(),
                    port: port.port,
                    weight: 1,
                }],
            };
            rules.push((route.path.clone(), rule));
        }
    }
    rules.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    rules.into_iter().map(|(_, rule)| rule).collect()
}

/// Answers say which of the two copies they come from.
fn colour_header(colour: Colour) -> Filter {
    let header = Header { name: names::COLOUR_HEADER.to_owned(), value: colour.as_str().to_owned() };
    Filter { kind: "ResponseHeaderModifier".to_owned(), response_header_modifier: HeaderModifier { set: vec![header] } }
}

fn http_route(tenant: &Tenant, gateway: &PlatformGateway, rules: &[Rule]) -> Object {
    let route = HttpRoute {
        metadata: metadata(tenant, Edge::NAME, route::ROUTE),
        spec: HttpRouteSpec {
            parent_refs: vec![ParentReference {
                group: "gateway.networking.k8s.io".to_owned(),
                kind: "Gateway".to_owned(),
                name: gateway.name.clone(),
                namespace: gateway.namespace.clone(),
                section_name: gateway.section_name.clone(),
            }],
            hostnames: tenant.hosts().cloned().collect(),
            rules: rules.to_vec(),
        },
    };
    Object::new(kind::HTTP_ROUTE, &route)
}
