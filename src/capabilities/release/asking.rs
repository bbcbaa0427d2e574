//! Jobs of our own agent that ask: the gate asks the new pods before users do, the prober asks as a user does while these
//! are led to other pods.

use std::collections::BTreeSet;

use kube::{ResourceExt, core::DynamicObject};

use super::{
    check::{Check, inside, listeners},
    container::Contents,
    workload::Errand,
};
use crate::{
    api::v1alpha1::{ReleaseIdentity, ReleaseRecord, Rollout},
    capabilities::{
        Contributions, Demand, Peer,
        job::{self, agent},
    },
    names,
    objects::{Object, digest},
    tenant::Tenant,
};

/// Component of the Job that asks the new pods.
pub const GATE: &str = "gate";
/// Component of the Job that asks through the front door.
pub const PROBER: &str = "prober";
/// Container beside the prober's that ends, and so reports, as soon as requests fail: the prober itself goes on asking until
/// the old pods answer again.
pub const ALARM: &str = "alarm";
/// Most seconds that the checks may take together.
const GATE_SECONDS: i64 = 300;
/// Most seconds of a prober's life: the gate, a Gateway that follows slowly, and a while after.
const PROBER_SECONDS: i64 = 900;
/// Most seconds that it watches the new pods alone.
const QUIET_SECONDS: i64 = 120;

/// Whether it belongs to one of these Jobs.
pub fn is_asking(live: &DynamicObject) -> bool {
    live.labels().get(names::COMPONENT).is_some_and(|component| is_asker(component))
}

/// Whether it is the component of one of these Jobs.
pub fn is_asker(component: &str) -> bool {
    [GATE, PROBER].contains(&component)
}

/// Name of a Job of one release; each release asks anew, also one that was here before.
pub fn name(component: &str, release: &ReleaseIdentity, number: i64) -> String {
    format!("{component}-{}", digest(&(&release.digest, number)))
}

/// Name of the prober of a release that has ended.
pub fn prober_of(record: &ReleaseRecord) -> String {
    name(PROBER, &record.release, record.number)
}

/// Asks the new pods through their own Service.
pub fn gate(tenant: &Tenant, name: &str, rollout: &Rollout, checks: &[Check]) -> Object {
    let contents = contents(GATE, &rollout.release.agent, words(checks));
    Errand { name, component: GATE, contents, seconds: GATE_SECONDS, reports: false, harmless: true }.job(tenant)
}

/// Asks through the front door until the new pods have answered alone for a while.
pub fn prober(tenant: &Tenant, name: &str, rollout: &Rollout, checks: &[Check]) -> Object {
    // The old pods stay for the soak: what it finds must be known before they go.
    let quiet = (super::seen::soak(tenant).num_seconds() / 2).clamp(2, QUIET_SECONDS);
    let own = [
        ("--to", rollout.colour.as_str().to_owned()),
        ("--quiet-seconds", quiet.to_string()),
        ("--seconds", (PROBER_SECONDS - 60).to_string()),
    ];
    let authorities = inside(tenant).and_then(|(_, inside)| Some(("--authorities", inside.authorities.clone()?)));
    let own = own.into_iter().chain(authorities).flat_map(|(flag, value)| [flag.to_owned(), value]);
    let image = &rollout.release.agent;
    let mut contents = contents(PROBER, image, own.chain(words(checks)).collect());
    let patience = ["--seconds".to_owned(), (PROBER_SECONDS - 30).to_string()];
    contents.beside.push(agent(ALARM, image, &[ALARM], patience.into()));
    Errand { name, component: PROBER, contents, seconds: PROBER_SECONDS, reports: true, harmless: false }.job(tenant)
}

fn words(checks: &[Check]) -> Vec<String> {
    // Plain strings and numbers always have a JSON form.
    let word = |check| ["--check".to_owned(), serde_json::to_string(check).unwrap_or_default()];
    checks.iter().flat_map(word).collect()
}

fn contents(command: &str, image: &str, args: Vec<String>) -> Contents {
    Contents { main: agent(command, image, &[command], args), ..Contents::default() }
}

/// What the pod of the gate needs of a quota.
pub fn gates() -> Demand {
    job::agents(1)
}

/// What the pod of the prober needs of a quota.
pub fn probers() -> Demand {
    job::agents(2)
}

/// While new pods are asked, and no longer, somebody else than the Gateway may reach them.
pub fn contribute_gate<'a>(ports: impl Iterator<Item = (&'a str, i32)>, tenant: &Tenant, shared: &mut Contributions) {
    shared.identity(GATE);
    shared.resolution(tenant, GATE);
    for (component, port) in ports {
        let (from, to) = (Peer::component(GATE), Peer::component(component));
        shared.flow(from, to, port, "a release's checks of its new pods");
    }
}

/// The prober goes the way of users: through the Gateway.
pub fn contribute_prober(tenant: &Tenant, shared: &mut Contributions) {
    let Some((gateway, inside)) = inside(tenant) else { return };
    shared.identity(PROBER);
    shared.resolution(tenant, PROBER);
    let ports: BTreeSet<i32> = listeners(gateway, inside).map(|listener| listener.pod_port).collect();
    for port in ports {
        let to = Peer::Elsewhere {
            name: "gateway",
            namespace: gateway.pods_namespace.clone(),
            labels: gateway.pod_labels.clone(),
        };
        shared.flow(Peer::component(PROBER), to, port, "a release is watched through the front door");
    }
}
