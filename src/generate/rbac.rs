//! Rights of the operator: exactly what its code uses, each with the reason.
//!
//! Guarantees: made from the kinds that capabilities declare, so a kind that no capability writes has no right. No wildcard,
//! no secret outside hospitals' namespaces, no way to more rights than these.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{Error, operator::labels, site::Site, yaml};
use crate::{
    capabilities::registry,
    names,
    objects::kind::{JOB, Kind, ROLE_BINDING, Retention, SECRET, Scope, Watch},
};

/// API group of roles and bindings.
pub const RBAC: &str = "rbac.authorization.k8s.io";

/// Rights on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Resources, with subresources as `resource/subresource`.
    pub resources: Vec<String>,
    /// Names; empty means any.
    pub names: Vec<&'static str>,
    /// Verbs.
    pub verbs: Vec<&'static str>,
    /// What for.
    pub reason: String,
}

fn rule(group: &'static str, resources: &[&str], verbs: &[&'static str], reason: &str) -> Rule {
    Rule {
        group,
        resources: resources.iter().map(|resource| (*resource).to_owned()).collect(),
        names: Vec::new(),
        verbs: verbs.to_vec(),
        reason: reason.to_owned(),
    }
}

/// One resource that capabilities write.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// How it is declared.
    pub kind: Kind,
    /// Whether some objects of it go with the workload. Where one kind is declared twice, one declaration is enough;
    /// the objects that stay are told by their label.
    pub removable: bool,
}

/// Every resource that any capability writes, once.
pub fn written() -> Vec<Written> {
    let mut all: BTreeMap<(&str, &str), Written> = BTreeMap::new();
    for kind in registry().iter().flat_map(|capability| capability.kinds) {
        let removable = kind.retention == Retention::Workload;
        let known = all.entry((kind.group, kind.plural)).or_insert(Written { kind: *kind, removable });
        known.removable |= removable;
    }
    all.into_values().collect()
}

/// Rights in the whole cluster.
pub fn cluster_rules() -> Vec<Rule> {
    let own = |resources: &[&str], verbs: &[&'static str], reason| rule(names::GROUP, resources, verbs, reason);
    let mut rules = vec![
        own(
            &["hospitaltenants"],
            &["list", "watch", "patch"],
            "hospitals are reconciled; the only patch is the finalizer that holds a deletion until the workload has ended",
        ),
        own(&["hospitaltenants/status"], &["patch"], "what was observed of a hospital"),
        own(&["hospitalplatforms", "hospitalapplications"], &["list", "watch"], "what hospitals refer to"),
        rule(
            "apiextensions.k8s.io",
            &["customresourcedefinitions"],
            &["list", "watch"],
            "metadata only: which foreign kinds are served",
        ),
        rule("", &["pods"], &["list", "watch"], "why a hospital's pod does not start"),
        rule(
            "events.k8s.io",
            &["events"],
            &["create"],
            "what kubectl describe shows; events of cluster-scoped objects live in the namespace default",
        ),
    ];
    for Written { kind, .. } in written() {
        let mut verbs = Vec::new();
        if kind.watch == Watch::Cluster {
            verbs.extend(["list", "watch"]);
        }
        // Both come before the operator has any right in the hospital's namespace.
        if kind.scope == Scope::Cluster || kind == ROLE_BINDING {
            verbs.extend(["create", "patch"]);
        }
        if !verbs.is_empty() {
            rules.push(rule(kind.group, &[kind.plural], &verbs, kind.reason));
        }
    }
    let bind = rule(
        RBAC,
        &["clusterroles"],
        &["bind"],
        "lets the operator into hospitals' namespaces; an admission policy allows the binding nowhere else",
    );
    rules.push(Rule { names: vec![names::TENANT_ROLE], ..bind });
    rules
}

/// Rights in the namespaces of hospitals.
pub fn tenant_rules() -> Vec<Rule> {
    let namespaced =
        written().into_iter().filter(|written| written.kind.scope == Scope::Namespaced && written.kind != ROLE_BINDING);
    let mut rules = Vec::new();
    for Written { kind, removable } in namespaced {
        let mut verbs = Vec::new();
        if kind.watch == Watch::TenantMetadata {
            verbs.extend(["list", "watch"]);
        }
        verbs.extend(["create", "patch"]);
        if removable {
            verbs.push("delete");
        }
        rules.push(rule(kind.group, &[kind.plural], &verbs, kind.reason));
        if kind == SECRET {
            let restores = "a deleted credential is brought back with its old value through a copy named *.rescue, the only Secrets that an admission policy lets it delete";
            rules.push(rule(kind.group, &[kind.plural], &["get", "delete"], restores));
        }
    }
    rules
}

/// Rights in the operator's own namespace.
pub fn namespace_rules() -> Vec<Rule> {
    let leases = |verbs: &[&'static str], reason| rule("coordination.k8s.io", &["leases"], verbs, reason);
    vec![
        leases(
            &["create"],
            "the lease by which replicas elect their leader; RBAC cannot name an object that is created",
        ),
        Rule { names: vec![names::PRODUCT], ..leases(&["get", "update"], "taking, renewing and releasing that lease") },
    ]
}

/// Rights in the namespace from which hospitals are tried.
pub fn probe_rules() -> Vec<Rule> {
    let reason = "a pod of another namespace tries what hospitals must refuse; there is no other identity here to run as, and no secret";
    vec![rule(JOB.group, &[JOB.plural], &["create", "patch", "delete"], reason)]
}

/// All roles and bindings, in the order of installation; rules carry their reasons as comments.
pub fn documents(site: &Site) -> Result<Vec<String>, Error> {
    let cluster = ClusterRole { metadata: named(names::PRODUCT), ..ClusterRole::default() };
    let tenant = ClusterRole { metadata: named(names::TENANT_ROLE), ..ClusterRole::default() };
    let cluster_binding = ClusterRoleBinding {
        metadata: named(names::PRODUCT),
        role_ref: reference("ClusterRole", names::PRODUCT),
        subjects: Some(vec![subject(site)]),
    };
    let mut documents = vec![
        with_rules("ClusterRole", &cluster, &cluster_rules())?,
        with_rules("ClusterRole", &tenant, &tenant_rules())?,
        yaml::document("ClusterRoleBinding", &typed("ClusterRoleBinding", &cluster_binding)?)?,
    ];
    documents.extend(within(site, &site.namespace, &namespace_rules())?);
    documents.extend(within(site, names::PROBES, &probe_rules())?);
    Ok(documents)
}

/// Role and binding in one namespace.
fn within(site: &Site, namespace: &str, rules: &[Rule]) -> Result<[String; 2], Error> {
    let metadata = || ObjectMeta { namespace: Some(namespace.to_owned()), ..named(names::PRODUCT) };
    let binding = RoleBinding {
        metadata: metadata(),
        role_ref: reference("Role", names::PRODUCT),
        subjects: Some(vec![subject(site)]),
    };
    Ok([
        with_rules("Role", &Role { metadata: metadata(), ..Role::default() }, rules)?,
        yaml::document("RoleBinding", &typed("RoleBinding", &binding)?)?,
    ])
}

fn typed(kind: &str, object: &impl serde::Serialize) -> Result<serde_json::Value, Error> {
    yaml::value(kind, object)
}

fn with_rules(kind: &str, object: &impl serde::Serialize, rules: &[Rule]) -> Result<String, Error> {
    let mut value = typed(kind, object)?;
    if let Some(map) = value.as_object_mut() {
        map.remove("rules");
    }
    let mut text = yaml::document(kind, &value)? + "rules:\n";
    for rule in rules {
        text.extend(["# ", &rule.reason, "\n"]);
        let policy = PolicyRule {
            api_groups: Some(vec![rule.group.to_owned()]),
            resources: Some(rule.resources.clone()),
            resource_names: (!rule.names.is_empty())
                .then(|| rule.names.iter().map(|name| (*name).to_owned()).collect()),
            verbs: rule.verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            ..PolicyRule::default()
        };
        text += &yaml::document(kind, &yaml::value(kind, &vec![policy])?)?;
    }
    Ok(text)
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), labels: Some(labels()), ..ObjectMeta::default() }
}

fn reference(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: RBAC.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

fn subject(site: &Site) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: names::PRODUCT.to_owned(),
        namespace: Some(site.namespace.clone()),
        ..Subject::default()
    }
}
