//! What belongs to pods that serve: how they are replaced, reached and counted.

use k8s_openapi::{
    api::{
        apps::v1::{DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{Service, ServicePort, ServiceSpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::core::DynamicObject;

use super::Input;
use crate::objects::{Object, Problem, field, kind, number};

/// Reason of a pod for which there is no node.
pub const UNSCHEDULABLE: &str = "Unschedulable";

/// New pods before old ones end, one by one.
pub fn rolling() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

/// Label of the pods of Jobs (<https://kubernetes.io/docs/reference/labels-annotations-taints/#batchkubernetesio-job-name>).
const OF_A_JOB: &str = "batch.kubernetes.io/job-name";

/// One pod at a time may be evicted, and a pod that is not ready never blocks an eviction.
pub fn disruption_budget(metadata: ObjectMeta, mut selector: LabelSelector) -> Object {
    // A Job in the place of a component has no number of pods of which one could be missing.
    let job = LabelSelectorRequirement { key: OF_A_JOB.to_owned(), operator: "DoesNotExist".to_owned(), values: None };
    selector.match_expressions.get_or_insert_default().push(job);
    let budget = PodDisruptionBudget {
        metadata,
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            selector: Some(selector),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    };
    Object::new(kind::POD_DISRUPTION_BUDGET, &budget)
}

/// Inside of the cluster only; ports by their names.
pub fn service<'a>(
    metadata: ObjectMeta,
    selector: LabelSelector,
    ports: impl Iterator<Item = (&'a str, i32)>,
) -> Object {
    let port = |(name, port): (&str, i32)| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let service = Service {
        metadata,
        spec: Some(ServiceSpec {
            selector: selector.match_labels,
            ports: Some(ports.map(port).collect()),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    Object::new(kind::SERVICE, &service)
}

/// How far pods are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pods {
    /// All there, all ready, all as they are wanted.
    Complete,
    /// On their way; what is missing.
    Coming(String),
    /// They will not become ready by themselves; what is wrong.
    Broken(String),
}

/// Which pods must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// All that the Deployment asks for.
    All,
    /// At least so many, and none of another template: what an autoscaler asks for beyond them is on its way.
    Least(i32),
    /// The same of a Deployment whose pods were all there before: that its controller has not looked at the newest number
    /// yet says nothing about those that are there.
    Still(i32),
}

/// How far the pods of a Deployment are.
pub fn pods(input: Input<'_>, name: &str, live: &DynamicObject, needed: Needed) -> Pods {
    // A node for one more pod is missing sooner than what serves is hurt.
    let well = || problems(input, name).all(|problem| problem.reason == UNSCHEDULABLE);
    let complete = match needed {
        Needed::All => rolled_out(live),
        Needed::Least(least) => is_observed(live) && has_at_least(live, least) && well(),
        Needed::Still(least) => has_at_least(live, least) && well(),
    };
    if complete {
        return Pods::Complete;
    }
    let (available, wanted) = (
        number(live, "/status/updatedReplicas").min(number(live, "/status/availableReplicas")),
        number(live, "/spec/replicas"),
    );
    let count = format!("{available} of {wanted} new pods of {name} are available");
    if let Some(problem) = problems(input, name).next() {
        return Pods::Broken(format!("{count}; pod {}: {}: {}", problem.pod, problem.reason, problem.message));
    }
    let conditions = field(live, "/status/conditions").and_then(|c| c.as_array()).cloned().unwrap_or_default();
    match conditions.iter().find(|condition| condition["reason"] == "ProgressDeadlineExceeded") {
        Some(_) => Pods::Broken(format!("{count}; the Deployment makes no progress")),
        None => Pods::Coming(count),
    }
}

/// What keeps pods of a Deployment from running.
pub fn problems<'a>(input: Input<'a>, name: &'a str) -> impl Iterator<Item = &'a Problem> {
    let of = move |problem: &&Problem| problem.pod.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    input.observed.problems.iter().filter(of)
}

fn is_observed(live: &DynamicObject) -> bool {
    number(live, "/status/observedGeneration") >= live.metadata.generation.unwrap_or_default()
}

fn has_at_least(live: &DynamicObject, least: i32) -> bool {
    number(live, "/status/updatedReplicas") == number(live, "/status/replicas")
        && number(live, "/status/availableReplicas") >= i64::from(least)
}

fn rolled_out(live: &DynamicObject) -> bool {
    let wanted = number(live, "/spec/replicas");
    is_observed(live)
        && number(live, "/status/updatedReplicas") == wanted
        && number(live, "/status/replicas") == wanted
        && number(live, "/status/availableReplicas") == wanted
}
