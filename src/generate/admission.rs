//! Admission policies: what RBAC cannot say about the operator's rights, and about everybody's in hospitals' namespaces.
//!
//! Guarantees: a stolen token of the operator opens no namespace that is not a hospital's, and removes no object that is
//! marked as retained. They run inside the API server, so nothing has to be up for them to hold.

mod hospitals;

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec,
        Validation, Variable,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    Error,
    operator::labels,
    rbac::{RBAC, written},
    site::Site,
    yaml,
};
use crate::{
    cluster::twin_of,
    names,
    objects::{
        Ref,
        kind::{SECRET, Scope},
    },
};

/// Fences the one cluster role that the operator may bind.
pub const BINDINGS: &str = "his-operator-tenant-bindings";
/// Fences the label that opens a namespace to the operator.
pub const NAMESPACES: &str = "his-operator-tenant-namespaces";
/// Fences what is retained.
pub const RETAINED: &str = "his-operator-retained-data";

/// Policies, each followed by its binding.
pub fn documents(site: &Site) -> Result<Vec<String>, Error> {
    let mut documents = Vec::new();
    for policy in [bindings(site), namespaces(site), retained(site)].into_iter().chain(hospitals::policies(site)) {
        documents.push(yaml::document("policy", &yaml::value("policy", &policy)?)?);
        documents.push(yaml::document("binding", &yaml::value("binding", &binding(&policy))?)?);
    }
    Ok(documents)
}

fn bindings(site: &Site) -> ValidatingAdmissionPolicy {
    let tenant_role =
        format!("object.roleRef.kind == 'ClusterRole' && object.roleRef.name == '{}'", names::TENANT_ROLE);
    let itself = format!(
        "has(object.subjects) && object.subjects.size() == 1 && object.subjects.all(s, s.kind == 'ServiceAccount' && s.name == '{}' && s.namespace == '{}')",
        names::PRODUCT,
        site.namespace
    );
    let in_a_hospital =
        format!("namespaceObject != null && {} == namespaceObject.metadata.name", namespace_of("namespaceObject"));
    policy(
        BINDINGS,
        vec![named_rule(RBAC, &["rolebindings".to_owned()], &["CREATE", "UPDATE"], Scope::Namespaced)],
        Some(site),
        vec![],
        vec![
            validation(tenant_role, &format!("the operator may bind ClusterRole {} only", names::TENANT_ROLE)),
            validation(itself, "the operator may bind that ClusterRole to itself only"),
            validation(
                in_a_hospital,
                &format!(
                    "the operator may bind that ClusterRole only in a hospital's namespace: his-NAME with label {}: NAME",
                    names::TENANT
                ),
            ),
        ],
    )
}

fn namespaces(site: &Site) -> ValidatingAdmissionPolicy {
    let operator = format!("request.userInfo.username == '{}'", site.user());
    let resources = ["namespaces", "namespaces/status", "namespaces/finalize"].map(ToOwned::to_owned);
    let unchanged = "variables.operator || variables.before == variables.after";
    let well_named = format!("!variables.operator || {} == object.metadata.name", namespace_of("object"));
    let no_takeover = "!variables.operator || request.operation == 'CREATE' || variables.before == variables.after";
    policy(
        NAMESPACES,
        vec![named_rule("", &resources, &["CREATE", "UPDATE"], Scope::Cluster)],
        None,
        vec![
            variable("operator", operator),
            variable("before", label_of("oldObject")),
            variable("after", label_of("object")),
        ],
        vec![
            validation(
                unchanged.to_owned(),
                &format!(
                    "only the operator may set, change or remove label {}: apply a HospitalTenant instead",
                    names::TENANT
                ),
            ),
            validation(
                well_named,
                &format!("the operator may write only namespaces named his-NAME with label {}: NAME", names::TENANT),
            ),
            validation(no_takeover.to_owned(), "the operator may not take over a namespace that it did not create"),
        ],
    )
}

fn retained(site: &Site) -> ValidatingAdmissionPolicy {
    let kept =
        |object: &str| format!("has({object}.metadata.labels) && '{}' in {object}.metadata.labels", names::RETAIN);
    let twin = twin_of(&Ref { kind: SECRET, namespace: String::new(), name: String::new() }).name;
    let rescue = format!("request.resource.resource == 'secrets' && oldObject.metadata.name.endsWith('{twin}')");
    let by_scope = |scope| written().into_iter().filter(move |written| written.kind.scope == scope);
    let rules = [Scope::Namespaced, Scope::Cluster].into_iter().flat_map(|scope| {
        let mut groups: Vec<&str> = by_scope(scope).map(|written| written.kind.group).collect();
        groups.dedup();
        groups.into_iter().map(move |group| {
            let resources: Vec<String> = by_scope(scope)
                .filter(|written| written.kind.group == group)
                .map(|written| written.kind.plural.to_owned())
                .collect();
            named_rule(group, &resources, &["UPDATE", "DELETE"], scope)
        })
    });
    policy(
        RETAINED,
        rules.collect(),
        Some(site),
        vec![],
        vec![
            validation(
                format!("request.operation != 'DELETE' || !({}) || ({rescue})", kept("oldObject")),
                &format!("the operator may not delete what carries label {}", names::RETAIN),
            ),
            validation(
                format!("request.operation != 'UPDATE' || !({}) || ({})", kept("oldObject"), kept("object")),
                &format!("the operator may not take label {} away", names::RETAIN),
            ),
        ],
    )
}

/// The tenant label of an object, empty where there is none.
fn label_of(object: &str) -> String {
    format!(
        "{object} != null && has({object}.metadata.labels) && '{key}' in {object}.metadata.labels ? {object}.metadata.labels['{key}'] : ''",
        key = names::TENANT
    )
}

/// Name that the namespace of an object's tenant label must have; never a namespace's name where there is no label.
fn namespace_of(object: &str) -> String {
    format!(
        "(has({object}.metadata.labels) && '{key}' in {object}.metadata.labels && {object}.metadata.labels['{key}'] != '' ? '{prefix}' + {object}.metadata.labels['{key}'] : '')",
        key = names::TENANT,
        prefix = names::namespace("")
    )
}

fn policy(
    name: &str,
    rules: Vec<NamedRuleWithOperations>,
    only_for: Option<&Site>,
    variables: Vec<Variable>,
    validations: Vec<Validation>,
) -> ValidatingAdmissionPolicy {
    let conditions = only_for.map(|site| {
        vec![MatchCondition {
            name: "by-the-operator".to_owned(),
            expression: format!("request.userInfo.username == '{}'", site.user()),
        }]
    });
    ValidatingAdmissionPolicy {
        metadata: named(name),
        spec: Some(ValidatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            match_conditions: conditions,
            match_constraints: Some(MatchResources { resource_rules: Some(rules), ..MatchResources::default() }),
            variables: (!variables.is_empty()).then_some(variables),
            validations: Some(validations),
            ..ValidatingAdmissionPolicySpec::default()
        }),
        status: None,
    }
}

fn binding(policy: &ValidatingAdmissionPolicy) -> ValidatingAdmissionPolicyBinding {
    let name = policy.metadata.name.clone().unwrap_or_default();
    ValidatingAdmissionPolicyBinding {
        metadata: named(&name),
        spec: Some(ValidatingAdmissionPolicyBindingSpec {
            policy_name: Some(name),
            validation_actions: Some(vec!["Deny".to_owned()]),
            ..ValidatingAdmissionPolicyBindingSpec::default()
        }),
    }
}

fn named_rule(group: &str, resources: &[String], operations: &[&str], scope: Scope) -> NamedRuleWithOperations {
    let versions: Vec<String> = written()
        .iter()
        .filter(|written| written.kind.group == group)
        .map(|written| written.kind.version.to_owned())
        .collect();
    let version = versions.first().cloned().unwrap_or_else(|| "v1".to_owned());
    NamedRuleWithOperations {
        api_groups: Some(vec![group.to_owned()]),
        // Other versions of the same resource are converted and matched too (matchPolicy Equivalent, the default).
        api_versions: Some(vec![version]),
        operations: Some(operations.iter().map(|operation| (*operation).to_owned()).collect()),
        resources: Some(resources.to_vec()),
        scope: Some(if scope == Scope::Cluster { "Cluster" } else { "Namespaced" }.to_owned()),
        ..NamedRuleWithOperations::default()
    }
}

fn variable(name: &str, expression: String) -> Variable {
    Variable { name: name.to_owned(), expression }
}

fn validation(expression: String, message: &str) -> Validation {
    Validation {
        expression,
        message: Some(message.to_owned()),
        reason: Some("Forbidden".to_owned()),
        ..Validation::default()
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), labels: Some(labels()), ..ObjectMeta::default() }
}
