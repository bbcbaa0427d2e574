//! A release as it would be rendered: all programs of one version, and the digest that tells it from any other.

use crate::{
    api::v1alpha1::{Component, ReleaseIdentity, ReleaseStatus, Strategy},
    conditions::{Reason, Rejection},
    objects::digest,
    tenant::{Count, Tenant},
};

use super::{
    linger,
    program::{self, Program},
    workload,
};

/// A component, ready to be rendered.
#[derive(Clone, Debug)]
pub struct Part {
    /// As declared.
    pub component: Component,
    /// What it runs.
    pub program: Program,
    /// How many pods it has.
    pub count: Count,
}

impl Part {
    /// How it changes its version.
    pub fn strategy(&self) -> Strategy {
        strategy(&self.component)
    }
}

/// How a component changes its version.
pub fn strategy(component: &Component) -> Strategy {
    if component.singleton == Some(true) {
        return Strategy::Recreate;
    }
    component.strategy.unwrap_or(if component.ports.is_empty() { Strategy::Recreate } else { Strategy::Atomic })
}

/// A release, ready to be rendered.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which one.
    pub identity: ReleaseIdentity,
    /// Its components.
    pub parts: Vec<Part>,
}

impl Candidate {
    /// What users are led to, in two colours.
    pub fn atomic(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.strategy() == Strategy::Atomic)
    }

    /// Everything else.
    pub fn others(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.strategy() != Strategy::Atomic)
    }
}

/// Components that users are led to, in two colours.
pub fn atomic(tenant: &Tenant) -> impl Iterator<Item = &Component> {
    tenant.application.components.iter().filter(|component| strategy(component) == Strategy::Atomic)
}

/// The release that the spec asks for.
pub fn wanted(tenant: &Tenant, state: &ReleaseStatus) -> Result<Candidate, Rejection> {
    let attempt = attempt(tenant);
    let version = &tenant.version.version;
    // A new operator brings a new agent and every release another measurement, but no pod is restarted for them.
    let known =
        known(state).find(|known| known.version == *version && known.attempt == attempt && !known.agent.is_empty());
    let pinned = known.map_or_else(
        || Pinned { agent: &tenant.settings.agent_image, linger: linger::seconds(&state.history) },
        Pinned::of,
    );
    let candidate = candidate(tenant, attempt, pinned)?;
    images_are_unchanged(tenant, state, &candidate.identity)?;
    Ok(candidate)
}

/// The release that serves, if the application still lists its version and nothing else of it has changed. Otherwise it
/// cannot be rendered any more, and is kept as it is.
pub fn again(tenant: &Tenant, identity: &ReleaseIdentity) -> Option<Candidate> {
    let version = tenant.application.versions.iter().find(|version| version.version == identity.version)?;
    let then = Tenant { version: version.clone(), ..tenant.clone() };
    let candidate = candidate(&then, identity.attempt, Pinned::of(identity)).ok()?;
    (candidate.identity == *identity).then_some(candidate)
}

/// Number of the release's attempt.
pub fn attempt(tenant: &Tenant) -> i32 {
    tenant.spec.release.as_ref().and_then(|release| release.attempt).unwrap_or(0)
}

fn known(state: &ReleaseStatus) -> impl Iterator<Item = &ReleaseIdentity> {
    let live = state.live.iter().map(|live| &live.release);
    let rollout = state.rollout.iter().map(|rollout| &rollout.release);
    live.chain(rollout).chain(state.refused.iter().map(|refused| &refused.release))
}

/// What a release keeps that is not in the spec.
#[derive(Clone, Copy)]
struct Pinned<'a> {
    agent: &'a str,
    linger: Option<i64>,
}

impl<'a> Pinned<'a> {
    fn of(identity: &'a ReleaseIdentity) -> Self {
        Self { agent: &identity.agent, linger: identity.linger_seconds }
    }
}

fn candidate(tenant: &Tenant, attempt: i32, pinned: Pinned<'_>) -> Result<Candidate, Rejection> {
    let part = |component: &Component| {
        Ok(Part {
            component: component.clone(),
            program: program::of_component(tenant, component)?.lingering(pinned.linger),
            count: tenant.count(component)?,
        })
    };
    let parts = tenant.application.components.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let pods: Vec<_> = parts.iter().map(|part| workload::pods(tenant, part, pinned.agent)).collect();
    let identity = ReleaseIdentity {
        version: tenant.version.version.clone(),
        attempt,
        digest: digest(&(attempt, pods)),
        images: digest(&tenant.version.images),
        agent: pinned.agent.to_owned(),
        linger_seconds: pinned.linger,
    };
    Ok(Candidate { identity, parts })
}

/// A version stands for its images: nobody could say any more which of them a hospital runs.
fn images_are_unchanged(tenant: &Tenant, state: &ReleaseStatus, wanted: &ReleaseIdentity) -> Result<(), Rejection> {
    let same = |known: &ReleaseIdentity| known.version == wanted.version && !known.images.is_empty();
    match known(state).find(|known| same(known) && known.images != wanted.images) {
        None => Ok(()),
        Some(_) => Err(Rejection::terminal(
            format!("HospitalApplication spec.versions[{}].images", wanted.version),
            Reason::ImagesChanged,
            format!(
                "this hospital runs version {} with other images; restore them, and list the new ones as a new version",
                tenant.version.version
            ),
        )),
    }
}
