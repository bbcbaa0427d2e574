//! Which `his-agent` the pods of a hospital run.
//!
//! Guarantees: a new operator brings a new agent, but no pod of any hospital is restarted for it: components keep the agent
//! that they were released with until their next version or attempt. Jobs are new pods and take the operator's own. The
//! record is in the tenant's status, which only the operator writes: what somebody puts into a Deployment is drift.

use kube::ResourceExt;

use crate::{api::v1alpha1::ReleasedAgent, capabilities::Input, names, objects::kind, tenant::Tenant};

/// The agent of the release that the spec asks for.
pub fn of_release(tenant: &Tenant) -> ReleasedAgent {
    let wanted = ReleasedAgent {
        version: tenant.version.version.clone(),
        attempt: attempt(tenant),
        image: tenant.settings.agent_image.clone(),
    };
    let same = |known: &&ReleasedAgent| known.version == wanted.version && known.attempt == wanted.attempt;
    tenant.status.agent.as_ref().filter(same).cloned().unwrap_or(wanted)
}

/// What to remember: the agent of the wanted release once a Deployment of it was seen, the one before until then.
pub fn released(input: Input<'_>) -> Option<ReleasedAgent> {
    let tenant = input.tenant;
    let of_version = |live: &kube::core::DynamicObject| {
        live.labels().get(names::APP_VERSION).is_some_and(|version| *version == tenant.version.version)
    };
    let mut deployments = input.observed.objects.iter().filter(|(at, _)| at.kind == kind::DEPLOYMENT);
    if deployments.any(|(_, live)| of_version(live)) { Some(of_release(tenant)) } else { tenant.status.agent.clone() }
}

/// Number of the release's attempt.
pub fn attempt(tenant: &Tenant) -> i32 {
    tenant.spec.release.as_ref().and_then(|release| release.attempt).unwrap_or(0)
}
