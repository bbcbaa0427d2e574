//! What nobody may make in a hospital's namespace, whatever RBAC lets them: ways in beside the Gateway, pods on the node's
//! network, and policies that widen the declared graph.
//!
//! Guarantees: a namespace can still be removed, and garbage still be collected.

use k8s_openapi::{
    api::admissionregistration::v1::ValidatingAdmissionPolicy,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use super::{Site, named_rule, policy, validation, variable};
use crate::{
    names,
    objects::kind::{CILIUM_NETWORK_POLICY, Kind, NETWORK_POLICY, Scope},
};

/// Fences the ways in.
pub const SERVICES: &str = "his-operator-tenant-services";
/// Fences pods.
pub const PODS: &str = "his-operator-tenant-pods";
/// Fences the declared graph.
pub const FLOWS: &str = "his-operator-tenant-flows";

/// Fences the declared graph, where it has servers with names.
pub const NAMED_FLOWS: &str = "his-operator-tenant-named-flows";

/// Controllers of Kubernetes that remove what belongs to something that is gone. The last is all of them, where they share
/// one identity.
const REMOVERS: [&str; 3] = [
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:kube-controller-manager",
];

/// All of them.
pub fn policies(site: &Site) -> [ValidatingAdmissionPolicy; 4] {
    // Two, because the rules of one may lie in `specs` too, which the API server does not know of the other.
    let named = flows(site, NAMED_FLOWS, CILIUM_NETWORK_POLICY, &["spec", "specs"]);
    [services(), pods(), flows(site, FLOWS, NETWORK_POLICY, &["spec"]), named]
}

fn services() -> ValidatingAdmissionPolicy {
    in_hospitals(policy(
        SERVICES,
        vec![named_rule("", &["services".to_owned()], &["CREATE", "UPDATE"], Scope::Namespaced)],
        None,
        vec![],
        vec![
            validation(
                "!has(object.spec.type) || !(object.spec.type in ['NodePort', 'LoadBalancer'])".to_owned(),
                "a Service of a hospital may not be a NodePort or LoadBalancer: users come through the platform's Gateway, declare routes in the HospitalApplication",
            ),
            validation(
                "!has(object.spec.externalIPs) || object.spec.externalIPs.size() == 0".to_owned(),
                "a Service of a hospital may not have externalIPs: users come through the platform's Gateway, declare routes in the HospitalApplication",
            ),
        ],
    ))
}

fn pods() -> ValidatingAdmissionPolicy {
    in_hospitals(policy(
        PODS,
        vec![named_rule("", &["pods".to_owned()], &["CREATE"], Scope::Namespaced)],
        None,
        vec![],
        vec![validation(
            "!has(object.spec.hostNetwork) || !object.spec.hostNetwork".to_owned(),
            "a pod of a hospital may not use hostNetwork: no NetworkPolicy holds for the network of the node",
        )],
    ))
}

fn flows(site: &Site, name: &str, kind: Kind, rules: &[&str]) -> ValidatingAdmissionPolicy {
    let removers = REMOVERS.map(|user| format!("'{user}'")).join(", ");
    let plurals = [kind.plural.to_owned()];
    let same = |field: &&str| {
        format!(
            "has(object.{field}) == has(oldObject.{field}) && (!has(object.{field}) || object.{field} == oldObject.{field})"
        )
    };
    let unchanged: Vec<String> = rules.iter().map(same).collect();
    in_hospitals(policy(
        name,
        vec![named_rule(kind.group, &plurals, &["CREATE", "UPDATE", "DELETE"], Scope::Namespaced)],
        None,
        vec![
            variable("operator", format!("request.userInfo.username == '{}'", site.user())),
            variable("remover", format!("request.userInfo.username in [{removers}]")),
            // Whoever collects garbage takes finalizers away first.
            variable(
                "removes",
                format!(
                    "request.operation == 'DELETE' || (request.operation == 'UPDATE' && {})",
                    unchanged.join(" && ")
                ),
            ),
        ],
        vec![validation(
            "variables.operator || (variables.remover && variables.removes)".to_owned(),
            &format!(
                "only the operator may write {kinds} of a hospital: declare the flow in the HospitalApplication (connectsTo), or in the HospitalTenant (spec.network.egress)",
                kinds = kind.kind.replace("Policy", "Policies")
            ),
        )],
    ))
}

/// Only in namespaces that carry the tenant label, which only the operator may set.
fn in_hospitals(mut policy: ValidatingAdmissionPolicy) -> ValidatingAdmissionPolicy {
    let hospitals =
        LabelSelectorRequirement { key: names::TENANT.to_owned(), operator: "Exists".to_owned(), values: None };
    let selector = LabelSelector { match_expressions: Some(vec![hospitals]), ..LabelSelector::default() };
    if let Some(constraints) = policy.spec.as_mut().and_then(|spec| spec.match_constraints.as_mut()) {
        constraints.namespace_selector = Some(selector);
    }
    policy
}
