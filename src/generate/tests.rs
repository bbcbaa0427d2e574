use std::collections::BTreeSet;

use super::{
    rbac::{RBAC, written},
    *,
};
use crate::objects::kind::{ROLE_BINDING, Retention, Scope, Watch};

type Right = (String, String, String);

/// Group, resource and verb of every rule that names no object.
fn rights(rules: &[Rule]) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for rule in rules.iter().filter(|rule| rule.names.is_empty()) {
        for resource in &rule.resources {
            all.extend(rule.verbs.iter().map(|verb| (rule.group.to_owned(), resource.clone(), (*verb).to_owned())));
        }
    }
    all
}

fn all_rules() -> Vec<Rule> {
    [cluster_rules(), tenant_rules(), namespace_rules(), probe_rules()].concat()
}

/// Who uses what, told from the registry a second time and in another way.
fn used(scope_is_cluster: bool) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for kind in crate::capabilities::registry().iter().flat_map(|capability| capability.kinds) {
        let mut add = |verb: &str| {
            all.insert((kind.group.to_owned(), kind.plural.to_owned(), verb.to_owned()));
        };
        let early = kind.scope == Scope::Cluster || *kind == ROLE_BINDING;
        if (kind.watch == Watch::Cluster) == scope_is_cluster {
            ["list", "watch"].into_iter().for_each(&mut add);
        }
        if early == scope_is_cluster {
            ["create", "patch"].into_iter().for_each(&mut add);
        }
        if kind.retention == Retention::Workload && !scope_is_cluster {
            add("delete");
        }
    }
    all
}

#[test]
fn rights_in_hospitals_are_exactly_what_the_registry_and_the_rescue_of_credentials_use() {
    let rescue = ["get", "delete"].map(|verb| (String::new(), "secrets".to_owned(), verb.to_owned()));
    let wanted: BTreeSet<Right> = used(false).into_iter().chain(rescue).collect();
    assert_eq!(rights(&tenant_rules()), wanted);
}

#[test]
fn rights_in_the_cluster_are_exactly_what_the_registry_and_the_caches_use() {
    let fixed = [
        ("his-operator.io", "hospitaltenants", "list"),
        ("his-operator.io", "hospitaltenants", "watch"),
        ("his-operator.io", "hospitaltenants", "patch"),
        ("his-operator.io", "hospitaltenants/status", "patch"),
        ("his-operator.io", "hospitalplatforms", "list"),
        ("his-operator.io", "hospitalplatforms", "watch"),
        ("his-operator.io", "hospitalapplications", "list"),
        ("his-operator.io", "hospitalapplications", "watch"),
        ("apiextensions.k8s.io", "customresourcedefinitions", "list"),
        ("apiextensions.k8s.io", "customresourcedefinitions", "watch"),
        ("", "pods", "list"),
        ("", "pods", "watch"),
        ("events.k8s.io", "events", "create"),
    ];
    let fixed = fixed.map(|(group, resource, verb)| (group.to_owned(), resource.to_owned(), verb.to_owned()));
    let wanted: BTreeSet<Right> = used(true).into_iter().chain(fixed).collect();
    assert_eq!(rights(&cluster_rules()), wanted);
}

#[test]
fn no_rule_holds_a_wildcard_or_a_way_to_more_rights() {
    for rule in all_rules() {
        let words = rule.verbs.iter().copied().chain([rule.group]).chain(rule.resources.iter().map(String::as_str));
        for word in words {
            assert!(!["*", "escalate", "impersonate", "deletecollection"].contains(&word), "{rule:?}");
            assert!(!word.contains('*'), "{rule:?}");
        }
        for forbidden in [
            "pods/exec",
            "pods/attach",
            "pods/ephemeralcontainers",
            "nodes/proxy",
            "serviceaccounts/token",
            "validatingwebhookconfigurations",
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
        ] {
            assert!(!rule.resources.iter().any(|resource| resource == forbidden), "{rule:?}");
        }
        assert!(rule.reason.len() > 10, "{rule:?} says nothing");
    }
}

#[test]
fn bind_is_allowed_on_one_cluster_role_by_name_only() {
    let binding: Vec<Rule> = all_rules().into_iter().filter(|rule| rule.verbs.contains(&"bind")).collect();
    let [rule] = binding.as_slice() else { panic!("{binding:?}") };
    assert_eq!((rule.group, rule.resources.as_slice()), (RBAC, ["clusterroles".to_owned()].as_slice()));
    assert_eq!(
        (rule.names.as_slice(), rule.verbs.as_slice()),
        (["his-operator-tenant"].as_slice(), ["bind"].as_slice())
    );
}

#[test]
fn secrets_can_be_neither_read_nor_written_outside_hospitals() {
    for rule in [cluster_rules(), namespace_rules()].concat() {
        assert!(!rule.resources.iter().any(|resource| resource.starts_with("secrets")), "{rule:?}");
    }
}

#[test]
fn what_is_never_removed_has_no_right_of_deletion() {
    for name in ["namespaces", "persistentvolumeclaims", "rolebindings", "clusters"] {
        let kept = written().into_iter().find(|written| written.kind.plural == name).unwrap();
        assert!(!kept.removable, "{name}");
        let found = all_rules()
            .into_iter()
            .find(|rule| rule.verbs.contains(&"delete") && rule.resources.iter().any(|r| r == name));
        assert_eq!(found, None);
    }
}

#[test]
fn a_changed_a_missing_and_a_left_over_file_are_each_reported() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).unwrap();
    assert_eq!(differences(dir.path()).unwrap(), Vec::<String>::new());
    assert_eq!(write(dir.path()).unwrap(), Vec::<PathBuf>::new());

    let crd = dir.path().join("crds/hospitaltenants.yaml");
    let text = fs::read_to_string(&crd).unwrap().replacen("Cluster", "Namespaced", 1);
    fs::write(crd, text).unwrap();
    fs::remove_file(dir.path().join("manifests/install.yaml")).unwrap();
    fs::write(dir.path().join("crds/old.yaml"), format!("# {MARK}\n")).unwrap();
    fs::write(dir.path().join("crds/by-hand.yaml"), "# mine\n").unwrap();
    let found = differences(dir.path()).unwrap();
    let [changed, missing, left_over] = found.as_slice() else { panic!("{found:?}") };
    assert!(
        changed.starts_with("crds/hospitaltenants.yaml: line ") && changed.contains("scope: Namespaced"),
        "{changed}"
    );
    assert_eq!(missing, "manifests/install.yaml: is missing");
    assert_eq!(left_over, "crds/old.yaml: is no longer generated");

    write(dir.path()).unwrap();
    assert!(!dir.path().join("crds/old.yaml").exists() && dir.path().join("crds/by-hand.yaml").exists());
}
