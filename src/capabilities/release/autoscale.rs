//! Components whose number of pods follows their load.
//!
//! Guarantees: a component has one autoscaler, and it moves the pods that users are led to: during a release the old ones
//! until everybody follows the cutover, then the new ones. The number that it has chosen is kept, and a release comes up with
//! it. What a person chooses outside of the bounds is put right.

use k8s_openapi::{
    api::autoscaling::v2::{
        CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior,
        HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget, ResourceMetricSource,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::DynamicObject;
use serde_json::Value;

use super::{Plan, candidate::Part, check::service, has_colours, seen, step_of, workload};
use crate::{
    api::v1alpha1::{Colour, ReleaseStep},
    capabilities::{
        Input,
        serving::{UNSCHEDULABLE, problems},
    },
    objects::{Desired, Object, field, kind},
    tenant::{Bounds, Count},
};

/// Load must have been low for that long before pods go.
const SCALE_DOWN_SECONDS: i32 = 300;

/// The pods that an autoscaler moves, of components in two colours; none before users were led to any.
pub fn leader(plan: &Plan, input: Input<'_>) -> Option<Colour> {
    match step_of(&plan.state) {
        // Written, but not yet followed by everybody: users are still on the old ones.
        Some(ReleaseStep::Cutover) => plan.state.live.as_ref().map(|live| live.colour),
        _ => plan.traffic(input).map(|traffic| traffic.colour),
    }
}

/// Autoscalers of components in two colours. They belong to no release: what is allowed follows the spec at once.
pub fn all(plan: &Plan, input: Input<'_>) -> Vec<Desired> {
    let (Some(leader), Some(traffic)) = (leader(plan, input), plan.traffic(input)) else { return Vec::new() };
    let candidate = plan.candidate(traffic.release).unwrap_or(&plan.wanted);
    let parts = candidate.atomic();
    parts.filter_map(|part| workload::autoscaler(input.tenant, part, Some(leader))).map(Desired::Apply).collect()
}

/// Number of pods of one of the two colours.
pub fn of_colour(plan: &Plan, input: Input<'_>, part: &Part, colour: Colour) -> i32 {
    let now = |colour: Colour| seen::current_replicas(input, &service(&part.component.name, colour));
    let live = plan.state.live.as_ref().map(|live| live.colour);
    match part.count {
        // While both are there, the new copy is no smaller than the old one: users come all at once.
        Count::Fixed(pods) => live.filter(|live| *live != colour).and_then(now).unwrap_or(pods).max(pods),
        Count::Within(bounds) => {
            let (own, other) = (now(colour), now(colour.other()));
            let before =
                matches!(step_of(&plan.state), Some(ReleaseStep::Surge | ReleaseStep::Gate | ReleaseStep::Cutover));
            let comes = before && live == Some(colour.other());
            let pods = if comes { other.or(own) } else { own.or(other) };
            bounds.nearest(pods.unwrap_or(bounds.least))
        }
    }
}

/// Number of pods of a component that is replaced in place.
pub fn in_place(input: Input<'_>, part: &Part) -> i32 {
    match part.count {
        Count::Fixed(pods) => pods,
        Count::Within(bounds) => {
            bounds.nearest(seen::current_replicas(input, &part.component.name).unwrap_or(bounds.least))
        }
    }
}

/// An autoscaler of the Deployment with this name.
pub fn autoscaler(metadata: ObjectMeta, deployment: String, bounds: Bounds) -> Object {
    let target = MetricTarget {
        type_: "Utilization".to_owned(),
        average_utilization: Some(bounds.cpu_percent),
        ..MetricTarget::default()
    };
    let cpu = MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource { name: "cpu".to_owned(), target }),
        ..MetricSpec::default()
    };
    let down = HPAScalingRules { stabilization_window_seconds: Some(SCALE_DOWN_SECONDS), ..HPAScalingRules::default() };
    let autoscaler = HorizontalPodAutoscaler {
        metadata,
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some(kind::DEPLOYMENT.api_version()),
                kind: kind::DEPLOYMENT.kind.to_owned(),
                name: deployment,
            },
            min_replicas: Some(bounds.least),
            max_replicas: bounds.most,
            metrics: Some(vec![cpu]),
            behavior: Some(HorizontalPodAutoscalerBehavior { scale_down: Some(down), scale_up: None }),
        }),
        status: None,
    };
    Object::new(kind::HORIZONTAL_POD_AUTOSCALER, &autoscaler)
}

/// What is seen of every autoscaler, for a person; empty where there is none.
pub fn told(plan: &Plan, input: Input<'_>) -> String {
    let bounds = |part: &Part| Some((part.component.clone(), part.count.bounds()?));
    let moved = plan.wanted.parts.iter().filter_map(bounds);
    let told = moved.map(|(component, bounds)| {
        let name = &component.name;
        let leader = if has_colours(&component) { leader(plan, input) } else { None };
        let deployment = leader.map_or_else(|| name.clone(), |colour| service(name, colour));
        format!("; {}{}", activity(input, name, bounds), lack(input, &deployment))
    });
    told.collect()
}

/// Whether an autoscaler is at work, as it says itself.
fn activity(input: Input<'_>, name: &str, Bounds { least, most, .. }: Bounds) -> String {
    let live = input.observed.get(kind::HORIZONTAL_POD_AUTOSCALER, &input.tenant.namespace, name);
    let says = |condition: &str| live.and_then(|live| status_of(live, condition));
    let idle = ["AbleToScale", "ScalingActive"].into_iter().filter_map(says).find(|(status, _)| *status == "False");
    match (idle, says("ScalingActive")) {
        (Some((_, reason)), _) => {
            format!("{name} keeps the pods that it has, because its autoscaler is not at work ({reason})")
        }
        (None, Some(("True", _))) => format!("an autoscaler keeps {name} between {least} and {most} pods"),
        (None, _) => {
            format!("{name} may have {least} to {most} pods, but its autoscaler was not seen at work yet")
        }
    }
}

/// Why pods that an autoscaler has asked for do not come.
fn lack(input: Input<'_>, deployment: &str) -> String {
    let live = input.observed.get(kind::DEPLOYMENT, &input.tenant.namespace, deployment);
    let refused = live.and_then(|live| status_of(live, "ReplicaFailure")).filter(|(status, _)| *status == "True");
    if let Some((_, reason)) = refused {
        return format!("; more pods of {deployment} are refused ({reason})");
    }
    let homeless = problems(input, deployment).find(|problem| problem.reason == UNSCHEDULABLE);
    homeless.map(|problem| format!("; there is no node for pod {}", problem.pod)).unwrap_or_default()
}

/// Status and reason of a condition.
fn status_of<'a>(live: &'a DynamicObject, condition: &str) -> Option<(&'a str, &'a str)> {
    let text = |of: &'a Value, name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default();
    let all = field(live, "/status/conditions")?.as_array()?;
    let found = all.iter().find(|one| text(one, "type") == condition)?;
    Some((text(found, "status"), text(found, "reason")))
}

#[cfg(test)]
mod tests;
