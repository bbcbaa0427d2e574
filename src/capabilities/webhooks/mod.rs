#![doc = include_str!("README.md")]

mod render;

use crate::{
    api::v1alpha1::WebhooksDependency,
    capabilities::{
        Capability, Contributions, Demand, Input, Peer, release,
        serving::{self, Pods},
    },
    conditions::{Reason, Rejection, Verdict, Verdicts},
    objects::{Desired, Kind, kind},
    tenant::{
        Tenant,
        hostname::Pattern,
        template::WEBHOOKS,
        webhooks::{COMPONENT, PORT, dependency, has_gate, hosts},
    },
};

/// See the module documentation.
#[derive(Debug)]
pub struct Webhooks;

/// TCP port of HTTPS, the only one that is called.
const HTTPS: i32 = 443;
/// Pods of the gate: one may go at any time.
const REPLICAS: i32 = 2;
const CPU_LIMIT: &str = "500m";
const MEMORY: &str = "64Mi";

/// Whether there is a gate.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Nobody may, or nobody wants to, call anybody; why.
    Nobody(&'static str),
    /// To so many hosts.
    Gate(usize),
}

impl Capability for Webhooks {
    const NAME: &'static str = "webhooks";
    const CONDITION: &'static str = "WebhookGateReady";
    const KINDS: &'static [Kind] = &[kind::SERVICE, kind::POD_DISRUPTION_BUDGET, kind::DEPLOYMENT];
    type Plan = Plan;

    fn plan(input: Input<'_>, shared: &mut Contributions, _: &Verdicts) -> Result<Plan, Rejection> {
        let tenant = input.tenant;
        check(tenant)?;
        let Some(WebhooksDependency { optional }) = dependency(tenant) else {
            return Ok(Plan::Nobody("the application calls no server outside by name"));
        };
        if hosts(tenant).is_empty() {
            return match optional {
                Some(true) => Ok(Plan::Nobody("no server outside may be called by name: spec.webhooks lists none")),
                _ => Err(refused(
                    "spec.webhooks".to_owned(),
                    "the application calls servers outside, and the tenant lists none; add spec.webhooks.hosts"
                        .to_owned(),
                )),
            };
        }
        if !exists(tenant) {
            return Ok(Plan::Nobody("no component of the application names the gate to servers outside in its texts"));
        }
        contribute(tenant, shared);
        Ok(Plan::Gate(hosts(tenant).len()))
    }

    fn render(plan: &Plan, input: Input<'_>, _: &Contributions) -> Vec<Desired> {
        match plan {
            Plan::Nobody(_) => Vec::new(),
            Plan::Gate(_) => render::all(input.tenant).into_iter().map(Desired::Apply).collect(),
        }
    }

    fn assess(plan: &Plan, input: Input<'_>) -> Verdict {
        let listed = match plan {
            Plan::Nobody(why) => return Verdict::proved(*why),
            Plan::Gate(listed) => listed,
        };
        let Some(live) = input.observed.get(kind::DEPLOYMENT, &input.tenant.namespace, COMPONENT) else {
            return Verdict::unknown(Reason::Progressing, format!("Deployment {COMPONENT} was not seen yet"));
        };
        match serving::pods(input, COMPONENT, live, serving::Needed::All) {
            Pods::Complete => Verdict::proved(format!(
                "the gate to servers outside is ready, with all its pods; listed hosts: {listed}"
            )),
            Pods::Coming(message) => Verdict::failed(Reason::Progressing, message),
            Pods::Broken(message) => Verdict::failed(Reason::PodsFailing, message),
        }
    }
}

/// Whether there is a gate, which somebody may reach.
pub fn exists(tenant: &Tenant) -> bool {
    has_gate(tenant) && !release::users(tenant, WEBHOOKS).is_empty()
}

/// What names the gate in its texts may reach it; nothing else may. Only the gate goes out.
fn contribute(tenant: &Tenant, shared: &mut Contributions) {
    let gate = || Peer::component(COMPONENT);
    for user in release::users(tenant, WEBHOOKS) {
        shared.flow(Peer::Component(user), gate(), PORT, "calls to listed servers outside");
    }
    shared.flow(gate(), Peer::Internet, HTTPS, "calls to listed servers outside");
    shared.resolution(tenant, COMPONENT);
    shared.identity(COMPONENT);
    shared.demands.push(Demand { cpu: CPU_LIMIT.to_owned(), memory: MEMORY.to_owned(), pods: REPLICAS });
}

/// The agent would not start without a host, or with what is no pattern.
fn check(tenant: &Tenant) -> Result<(), Rejection> {
    if tenant.spec.webhooks.is_some() && hosts(tenant).is_empty() {
        let message = "it lists nobody; add a host, or remove spec.webhooks".to_owned();
        return Err(refused("spec.webhooks.hosts".to_owned(), message));
    }
    for (index, host) in hosts(tenant).iter().enumerate() {
        if let Err(error) = host.parse::<Pattern>() {
            return Err(refused(format!("spec.webhooks.hosts[{index}]"), format!("{host:?} is {error}")));
        }
    }
    Ok(())
}

fn refused(field: String, message: String) -> Rejection {
    Rejection::terminal(field, Reason::WebhooksInvalid, message)
}
