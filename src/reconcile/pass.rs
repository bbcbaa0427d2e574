//! One pass over one hospital without a cluster: validate → plan → render. The reconciler, `his-operator render` and
//! `kubectl his plan` all run exactly this.

use crate::{
    api::v1alpha1::HospitalTenantStatus,
    capabilities::{Contributions, Input, Planned, registry},
    conditions::{Proof, Reason, Rejection, Verdict, Verdicts},
    objects::{Desired, Observed, covers},
    tenant::{Inputs, Tenant},
};

/// A hospital with a plan for every capability.
pub struct Pass {
    /// The hospital.
    pub tenant: Tenant,
    /// What must exist, in order of application; each object stamped with its digest.
    pub desired: Vec<Desired>,
    shared: Contributions,
    plans: Vec<(&'static str, &'static str, Box<dyn Planned>)>,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass")
            .field("tenant", &self.tenant.name)
            .field("desired", &self.desired.len())
            .finish_non_exhaustive()
    }
}

/// Plans and renders everything, or nothing: a rejection by one capability leaves the whole hospital as it is.
pub fn plan(inputs: &Inputs, observed: &Observed) -> Result<Pass, Rejection> {
    let tenant = Tenant::validate(inputs, observed)?;
    let input = Input { tenant: &tenant, observed };
    let mut shared = Contributions::default();
    let mut verdicts = Verdicts::new();
    let mut plans = Vec::new();
    for capability in registry() {
        let plan = (capability.plan)(input, &mut shared, &verdicts)?;
        verdicts.push((capability.condition, plan.assess(input)));
        plans.push((capability.name, capability.condition, plan));
    }
    let render = |(_, _, plan): &(_, _, Box<dyn Planned>)| plan.render(input, &shared);
    let desired = plans.iter().flat_map(render).map(stamped).collect();
    Ok(Pass { tenant, desired, shared, plans })
}

impl Pass {
    /// Judges every capability by what was observed. What is wanted but not there, or not as it is wanted, cannot be
    /// proved, whatever the capability says of the rest.
    pub fn assess(&self, observed: &Observed) -> Verdicts {
        let input = Input { tenant: &self.tenant, observed };
        let judge = |(name, condition, plan): &(&'static str, &'static str, Box<dyn Planned>)| {
            let verdict = plan.assess(input);
            let open = (verdict.proof == Proof::Proved).then(|| self.unwritten(name, observed)).flatten();
            (*condition, open.unwrap_or(verdict))
        };
        self.plans.iter().map(judge).collect()
    }

    /// Writes down what every capability has to say beside its verdict.
    pub fn record(&self, observed: &Observed, status: &mut HospitalTenantStatus) {
        let input = Input { tenant: &self.tenant, observed };
        self.plans.iter().for_each(|(_, _, plan)| plan.record(input, &self.shared, status));
    }

    fn unwritten(&self, capability: &str, observed: &Observed) -> Option<Verdict> {
        let mine =
            |desired: &&Desired| matches!(desired, Desired::Apply(_)) && desired.capability() == Some(capability);
        self.desired.iter().filter(mine).find_map(|desired| {
            let why = difference(desired, observed)?;
            Some(Verdict::unknown(Reason::Progressing, format!("{} is not yet as it must be: {why}", desired.at())))
        })
    }
}

/// Why an object has to be written; `None` when it is as it must be.
pub fn difference(desired: &Desired, observed: &Observed) -> Option<String> {
    let live = observed.objects.get(desired.at());
    match (desired, live) {
        (Desired::Keep(_), _) => None,
        (Desired::Apply(_) | Desired::Generate(_), None) => Some("it does not exist".to_owned()),
        (Desired::Generate(_), Some(live)) => {
            live.metadata.deletion_timestamp.is_some().then(|| "somebody deleted it".to_owned())
        }
        (Desired::Apply(object), Some(live)) => covers::difference(live, object),
    }
}

fn stamped(desired: Desired) -> Desired {
    match desired {
        Desired::Apply(object) => Desired::Apply(object.stamped()),
        other => other,
    }
}
