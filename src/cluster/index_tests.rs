use serde_json::json;

use super::*;
use crate::{
    api::v1alpha1::NetworkGap,
    objects::{
        Disturbance,
        kind::{CONFIG_MAP, HORIZONTAL_POD_AUTOSCALER, HTTP_ROUTE, ROLE_BINDING, SECRET},
    },
};

fn tenant(name: &str, created: &str, host: &str) -> HospitalTenant {
    serde_json::from_value(json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "generation": 1, "creationTimestamp": created},
        "spec": {"application": {"name": "emr", "version": "1"}, "host": host}
    }))
    .unwrap()
}

fn object(kind: Kind, namespace: &str, name: &str, tenant: Option<&str>) -> DynamicObject {
    let labels = tenant.map(|tenant| json!({"his-operator.io/tenant": tenant})).unwrap_or_default();
    serde_json::from_value(json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"namespace": namespace, "name": name, "labels": labels}, "data": {"a": "b"}})).unwrap()
}

fn binding(tenant: &str) -> DynamicObject {
    let mut binding = object(ROLE_BINDING, &names::namespace(tenant), "operator", Some(tenant));
    binding.data = json!({"roleRef": {"name": names::TENANT_ROLE}});
    binding
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn with_tenants(names: &[&str]) -> Index {
    let mut index = Index::default();
    for name in names {
        index.tenant(&tenant(name, "2026-01-01T00:00:00Z", &format!("{name}.example.org")));
    }
    index
}

#[test]
fn a_changed_child_wakes_its_tenant_and_an_unchanged_one_nobody() {
    let mut index = with_tenants(&["a", "b"]);
    let child = object(CONFIG_MAP, "his-a", "web", Some("a"));
    assert_eq!(index.apply(CONFIG_MAP, child.clone()).wake, set(&["a"]));
    assert_eq!(index.apply(CONFIG_MAP, child.clone()).wake, set(&[]));
    let seen = index.observe(&tenant("a", "2026-01-01T00:00:00Z", "a.example.org"));
    assert_eq!(seen.get(CONFIG_MAP, "his-a", "web"), Some(&child));
    assert!(index.observe(&tenant("b", "2026-01-01T00:00:00Z", "b.example.org")).objects.is_empty());
    assert_eq!(index.remove(CONFIG_MAP, &("his-a".to_owned(), "web".to_owned()), 0).wake, set(&["a"]));
}

#[test]
fn what_an_autoscaler_measures_wakes_nobody_and_what_it_says_of_itself_does() {
    let mut index = with_tenants(&["a"]);
    let mut tell = |version: &str, cpu: i64, active: &str| {
        let mut autoscaler = object(HORIZONTAL_POD_AUTOSCALER, "his-a", "web", Some("a"));
        autoscaler.metadata.resource_version = Some(version.to_owned());
        let status = json!({
            "currentMetrics": [{"resource": {"current": {"averageUtilization": cpu}}}], "currentReplicas": 2,
            "desiredReplicas": 3, "lastScaleTime": format!("2030-01-31T18:00:0{version}Z"),
            "conditions": [{"type": "ScalingActive", "status": active}],
        });
        autoscaler.data = json!({"spec": {"maxReplicas": 6}, "status": status});
        index.apply(HORIZONTAL_POD_AUTOSCALER, autoscaler).wake
    };
    assert_eq!(tell("1", 40, "True"), set(&["a"]));
    assert_eq!(tell("2", 55, "True"), set(&[]));
    assert_eq!(tell("3", 55, "False"), set(&["a"]));
    let seen = index.observe(&tenant("a", "2026-01-01T00:00:00Z", "a.example.org"));
    let live = seen.get(HORIZONTAL_POD_AUTOSCALER, "his-a", "web").unwrap();
    let said = json!({"conditions": [{"type": "ScalingActive", "status": "False"}]});
    assert_eq!(live.data, json!({"spec": {"maxReplicas": 6}, "status": said}));
}

#[test]
fn a_forged_label_moves_no_object_into_another_tenants_view() {
    let mut index = with_tenants(&["a", "b"]);
    index.apply(CONFIG_MAP, object(CONFIG_MAP, "his-a", "web", Some("a")));
    assert_eq!(index.apply(CONFIG_MAP, object(CONFIG_MAP, "his-a", "web", Some("b"))).wake, set(&["a"]));
    for name in ["a", "b"] {
        assert!(index.observe(&tenant(name, "2026-01-01T00:00:00Z", "x.example.org")).objects.is_empty());
    }
}

#[test]
fn a_namespace_without_our_label_is_seen_by_its_name() {
    let mut index = with_tenants(&["a"]);
    let mut strange = object(NAMESPACE, "", "his-a", None);
    strange.metadata.namespace = None;
    assert_eq!(index.apply(NAMESPACE, strange).wake, set(&["a"]));
    assert!(index.observe(&tenant("a", "2026-01-01T00:00:00Z", "a.example.org")).get(NAMESPACE, "", "his-a").is_some());
    let mut other = object(NAMESPACE, "", "kube-system", None);
    other.metadata.namespace = None;
    assert_eq!(index.apply(NAMESPACE, other), Effects::default());
}

#[test]
fn a_complete_list_removes_what_it_does_not_contain_and_nothing_of_other_kinds() {
    let mut index = with_tenants(&["a", "b"]);
    for (kind, tenant) in [(CONFIG_MAP, "a"), (CONFIG_MAP, "b"), (HTTP_ROUTE, "a")] {
        index.apply(kind, object(kind, &names::namespace(tenant), "web", Some(tenant)));
    }
    let source = Source { kind: CONFIG_MAP, namespace: None };
    let effects = index.retain(&source, &[("his-b".to_owned(), "web".to_owned())].into());
    assert_eq!(effects.into_iter().flat_map(|effects| effects.wake).collect::<BTreeSet<_>>(), set(&["a"]));
    index.serves(HTTP_ROUTE.crd.unwrap(), true);
    let seen = index.observe(&tenant("a", "2026-01-01T00:00:00Z", "a.example.org"));
    assert!(seen.get(CONFIG_MAP, "his-a", "web").is_none() && seen.get(HTTP_ROUTE, "his-a", "web").is_some());
}

#[test]
fn objects_of_a_kind_are_hidden_until_the_api_server_has_listed_it() {
    let mut index = with_tenants(&["a"]);
    index.apply(HTTP_ROUTE, object(HTTP_ROUTE, "his-a", "public", Some("a")));
    let view = |index: &Index| index.observe(&tenant("a", "2026-01-01T00:00:00Z", "a.example.org"));
    assert!(view(&index).objects.is_empty() && !view(&index).serves(HTTP_ROUTE));
    assert_eq!(index.serves(HTTP_ROUTE.crd.unwrap(), true).wake, set(&["a"]));
    assert!(!view(&index).objects.is_empty() && view(&index).serves(HTTP_ROUTE));
}

#[test]
fn a_namespace_is_watched_from_its_binding_until_the_tenant_or_the_binding_goes() {
    let mut index = with_tenants(&["a"]);
    assert_eq!(index.apply(ROLE_BINDING, binding("b")).namespace, None);
    assert_eq!(index.apply(ROLE_BINDING, binding("a")).namespace, Some(("a".to_owned(), true)));
    assert_eq!(index.apply(ROLE_BINDING, binding("a")).namespace, None);
    assert_eq!(index.tenant_gone("a").namespace, Some(("a".to_owned(), false)));
    assert_eq!(index.tenant(&tenant("a", "2026-01-01T00:00:00Z", "x")).namespace, Some(("a".to_owned(), true)));
    let key = ("his-a".to_owned(), "operator".to_owned());
    assert_eq!(index.remove(ROLE_BINDING, &key, 0).namespace, Some(("a".to_owned(), false)));
}

#[test]
fn a_tenant_is_woken_when_its_namespace_becomes_known_and_when_it_stays_refused() {
    let mut index = with_tenants(&["a"]);
    index.apply(ROLE_BINDING, binding("a"));
    index.doors.ask("a", [SECRET]);
    assert_eq!(index.answered("a", SECRET).wake, set(&["a"]));
    assert_eq!(index.answered("a", SECRET), Effects::default());
    assert_eq!(index.refused("a", SECRET, None), Effects::default());
    assert_eq!(index.refused("a", SECRET, Some("forbidden")).wake, set(&["a"]));
    assert_eq!(index.refused("a", SECRET, Some("forbidden")), Effects::default());
}

fn at_version(version: &str) -> DynamicObject {
    let mut child = object(CONFIG_MAP, "his-a", "web", Some("a"));
    child.metadata.resource_version = Some(version.to_owned());
    child.data = json!({"data": {"version": version}});
    child
}

#[test]
fn an_answer_to_our_own_write_is_seen_at_once_and_its_event_wakes_nobody() {
    let mut index = with_tenants(&["a"]);
    assert_eq!(index.learn(CONFIG_MAP, &at_version("7")), Effects::default());
    let seen = index.observe(&tenant("a", "2026-01-01T00:00:00Z", "a.example.org"));
    assert_eq!(seen.get(CONFIG_MAP, "his-a", "web"), Some(&at_version("7")));
    assert_eq!(index.apply(CONFIG_MAP, at_version("7")).wake, set(&[]));
    assert_eq!(index.apply(CONFIG_MAP, at_version("8")).wake, set(&["a"]));
}

#[test]
fn an_answer_that_comes_later_than_the_end_of_its_object_does_not_bring_it_back() {
    let mut index = with_tenants(&["a"]);
    let key = ("his-a".to_owned(), "web".to_owned());
    index.apply(CONFIG_MAP, at_version("11"));
    assert_eq!(index.remove(CONFIG_MAP, &key, 12).wake, set(&["a"]));
    index.learn(CONFIG_MAP, &at_version("11"));
    let seen = index.observe(&tenant("a", "2026-01-01T00:00:00Z", "a.example.org"));
    assert!(seen.get(CONFIG_MAP, "his-a", "web").is_none());
    index.learn(CONFIG_MAP, &at_version("13"));
    let seen = index.observe(&tenant("a", "2026-01-01T00:00:00Z", "a.example.org"));
    assert!(seen.get(CONFIG_MAP, "his-a", "web").is_some(), "made again");
}

#[test]
fn what_is_older_than_what_is_known_changes_nothing() {
    let mut index = with_tenants(&["a"]);
    index.apply(CONFIG_MAP, at_version("10"));
    assert_eq!(index.apply(CONFIG_MAP, at_version("9")), Effects::default());
    assert_eq!(index.learn(CONFIG_MAP, &at_version("9")), Effects::default());
    let key = ("his-a".to_owned(), "web".to_owned());
    assert_eq!(index.remove(CONFIG_MAP, &key, 9), Effects::default(), "the end of a predecessor");
    let seen = index.observe(&tenant("a", "2026-01-01T00:00:00Z", "a.example.org"));
    assert_eq!(seen.get(CONFIG_MAP, "his-a", "web"), Some(&at_version("10")));
    assert_eq!(
        index.listed(CONFIG_MAP, at_version("9")).wake,
        set(&["a"]),
        "a complete list after the server was set back"
    );
    assert_eq!(index.remove(CONFIG_MAP, &key, 11).wake, set(&["a"]));
}

#[test]
fn content_of_a_secret_is_never_kept() {
    let mut index = with_tenants(&["a"]);
    let mut secret = object(SECRET, "his-a", "app", Some("a"));
    secret.metadata.resource_version = Some("3".to_owned());
    index.learn(SECRET, &secret);
    let seen = index.observe(&tenant("a", "2026-01-01T00:00:00Z", "a.example.org"));
    assert!(seen.get(SECRET, "his-a", "app").unwrap().data.get("data").is_none());
}

#[test]
fn secrets_of_people_are_seen_by_name_in_the_tenants_own_namespace() {
    let mut index = with_tenants(&["a"]);
    index.apply(SECRET, object(SECRET, "his-a", "cache-password", None));
    assert!(index.observe(&tenant("a", "2026-01-01T00:00:00Z", "x")).get(SECRET, "his-a", "cache-password").is_some());
    index.forget("a");
    assert!(index.observe(&tenant("a", "2026-01-01T00:00:00Z", "x")).objects.is_empty());
}

#[test]
fn the_older_tenant_holds_a_host_and_the_other_is_woken_when_it_lets_go() {
    let mut index = Index::default();
    index.tenant(&tenant("old", "2026-01-01T00:00:00Z", "x.example.org"));
    let young = tenant("young", "2026-02-01T00:00:00Z", "x.example.org");
    index.tenant(&young);
    assert_eq!(index.observe(&young).taken_hosts, [("x.example.org".to_owned(), "old".to_owned())].into());
    assert!(index.tenant(&tenant("old", "2026-01-01T00:00:00Z", "y.example.org")).wake.contains("young"));
    assert!(index.observe(&young).taken_hosts.is_empty());
}

#[test]
fn a_tenant_that_serves_a_host_keeps_it_when_another_of_the_same_second_wants_it() {
    let mut index = Index::default();
    let created = "2026-01-01T00:00:00Z";
    let mut serving = tenant("z-serving", created, "x.example.org");
    serving.status = Some(
        serde_json::from_value(json!({"version": "1", "url": "https://x.example.org", "conditions": []})).unwrap(),
    );
    index.tenant(&serving);
    let other = tenant("a-other", created, "x.example.org");
    index.tenant(&other);
    assert!(index.observe(&serving).taken_hosts.is_empty());
    assert_eq!(index.observe(&other).taken_hosts, [("x.example.org".to_owned(), "z-serving".to_owned())].into());
}

#[test]
fn a_status_update_wakes_nobody() {
    let mut index = with_tenants(&["a"]);
    let mut same = tenant("a", "2026-01-01T00:00:00Z", "a.example.org");
    same.metadata.resource_version = Some("9".to_owned());
    same.status = Some(crate::api::v1alpha1::HospitalTenantStatus::default());
    assert_eq!(index.tenant(&same).wake, set(&[]));
    same.metadata.generation = Some(2);
    assert_eq!(index.tenant(&same).wake, set(&["a"]));
}

#[test]
fn only_tenants_that_name_a_definition_are_woken_by_it() {
    let mut index = with_tenants(&["a"]);
    let mut other = tenant("b", "2026-01-01T00:00:00Z", "b.example.org");
    other.spec.platform = Some("second".to_owned());
    index.tenant(&other);
    let platform = |generation| HospitalPlatform {
        metadata: kube::core::ObjectMeta { generation: Some(generation), ..Default::default() },
        ..Default::default()
    };
    assert_eq!(index.platform("default", Some(platform(1))).wake, set(&["a"]));
    assert_eq!(index.platform("default", Some(platform(1))).wake, set(&[]));
    assert_eq!(index.platform("default", Some(platform(2))).wake, set(&["a"]));
    assert_eq!(index.platform("default", None).wake, set(&["a"]));
}

/// A policy with that egress rule, and who has written which part of its spec at which second.
fn policy(version: u64, rule: &str, writers: &[(&str, i64, &str)]) -> DynamicObject {
    let mut policy = object(NETWORK_POLICY, "his-a", "default-deny", Some("a"));
    let entry = |(manager, second, field): &(&str, i64, &str)| {
        let time = at(*second).to_rfc3339();
        json!({"manager": manager, "operation": "Apply", "time": time, "fieldsV1": {"f:spec": {format!("f:{field}"): {}}}})
    };
    let writers = serde_json::to_value(writers.iter().map(entry).collect::<Vec<_>>()).unwrap();
    policy.metadata.managed_fields = serde_json::from_value(writers).unwrap();
    policy.metadata.resource_version = Some(version.to_string());
    policy.data = json!({"spec": {"egress": [rule]}});
    policy
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

const OURS: (&str, i64, &str) = ("his-operator", 10, "egress");
/// What is left of ours when somebody has taken the rules.
const REST: (&str, i64, &str) = ("his-operator", 10, "ingress");

fn disturbed(index: &Index) -> Option<Disturbance> {
    index.observe(&tenant("a", "2026-01-01T00:00:00Z", "x")).disturbed.get("default-deny").cloned()
}

fn default_deny() -> Key {
    ("his-a".to_owned(), "default-deny".to_owned())
}

#[test]
fn the_first_foreign_change_of_a_policy_is_remembered_until_it_is_as_before() {
    let first = Some(Disturbance::Written { at: at(20) });
    let edited = |index: &mut Index| {
        index.apply(NETWORK_POLICY, policy(1, "ours", &[OURS]));
        index.apply(NETWORK_POLICY, policy(2, "theirs", &[REST, ("edit", 20, "egress")]));
        index.apply(NETWORK_POLICY, policy(3, "more", &[REST, ("edit", 30, "egress")]));
        assert_eq!(disturbed(index), first);
    };
    let mut index = with_tenants(&["a"]);
    edited(&mut index);
    let seen = index.observe(&tenant("a", "2026-01-01T00:00:00Z", "x"));
    let live = seen.get(NETWORK_POLICY, "his-a", "default-deny").unwrap();
    let [last] = live.managed_fields() else { panic!("{:?}", live.managed_fields()) };
    assert_eq!(
        (last.manager.as_deref(), &last.fields_v1),
        (Some("edit"), &None),
        "its last writer and no more is kept"
    );
    // Put right by us, or by whoever had changed it.
    index.learn(NETWORK_POLICY, &policy(4, "ours", &[OURS]));
    assert_eq!(disturbed(&index), None);
    let mut index = with_tenants(&["a"]);
    edited(&mut index);
    index.apply(NETWORK_POLICY, policy(4, "ours", &[REST, ("edit", 40, "egress")]));
    assert_eq!(disturbed(&index), None);
}

#[test]
fn our_own_writes_and_those_that_leave_the_spec_alone_disturb_nothing() {
    let mut index = with_tenants(&["a"]);
    index.apply(NETWORK_POLICY, policy(1, "ours", &[OURS]));
    index.apply(NETWORK_POLICY, policy(2, "ours", &[OURS, ("label", 20, "egress")]));
    index.apply(NETWORK_POLICY, policy(3, "release", &[OURS]));
    assert_eq!(disturbed(&index), None);
    let seen = index.observe(&tenant("a", "2026-01-01T00:00:00Z", "x"));
    assert!(seen.get(NETWORK_POLICY, "his-a", "default-deny").unwrap().managed_fields().is_empty());
    // One that was first seen changed: what it was before is not known.
    let mut index = with_tenants(&["a"]);
    index.listed(NETWORK_POLICY, policy(1, "theirs", &[REST, ("edit", 20, "egress")]));
    index.apply(NETWORK_POLICY, policy(2, "more", &[REST, ("edit", 30, "egress")]));
    assert_eq!(disturbed(&index), None);
}

#[test]
fn a_policy_that_goes_is_remembered_with_the_time_unless_we_asked_for_it() {
    let mut index = with_tenants(&["a"]);
    let gone = |index: &mut Index, version: u64, asked_for: bool| {
        index.learn(NETWORK_POLICY, &policy(version, "ours", &[OURS]));
        if asked_for {
            index.disturbed.leaves(default_deny());
        }
        index.at(at(50)).remove(NETWORK_POLICY, &default_deny(), version + 1);
        disturbed(index)
    };
    let by_another = |watched| Some(Disturbance::Gone { seen: at(50), watched, uid: None, generation: None });
    assert_eq!(gone(&mut index, 1, false), by_another(true));
    assert_eq!(gone(&mut index, 3, true), None);
    assert_eq!(gone(&mut index, 5, false), by_another(true), "asked for once");
    index.learn(NETWORK_POLICY, &policy(7, "ours", &[OURS]));
    index.retain(&Source { kind: NETWORK_POLICY, namespace: None }, &BTreeSet::new());
    assert_eq!(disturbed(&index), by_another(false), "found when the watch began again");
    index.tenant_gone("a");
    assert_eq!(disturbed(&index), None);
    assert_eq!(gone(&mut index, 9, false), None, "nobody's hospital");
}

#[test]
fn what_a_pass_has_seen_is_forgotten_when_status_says_it_and_what_came_later_is_not() {
    let mut index = with_tenants(&["a"]);
    let view = |index: &Index| index.observe(&tenant("a", "2026-01-01T00:00:00Z", "x"));
    index.apply(NETWORK_POLICY, policy(1, "ours", &[OURS]));
    index.at(at(50)).remove(NETWORK_POLICY, &default_deny(), 2);
    let seen = view(&index);
    index.disturbed.closed("his-a", NetworkGap::default());
    assert_eq!(view(&index).gaps, [NetworkGap::default()]);
    index.disturbed.told("his-a", &seen, false);
    assert_eq!((disturbed(&index).is_some(), view(&index).gaps), (true, Vec::new()), "the pass came not to its end");
    index.disturbed.told("his-a", &seen, true);
    assert_eq!(disturbed(&index), None);
    index.apply(NETWORK_POLICY, policy(3, "ours", &[OURS]));
    index.at(at(60)).remove(NETWORK_POLICY, &default_deny(), 4);
    index.disturbed.told("his-a", &seen, true);
    assert_eq!(disturbed(&index), Some(Disturbance::Gone { seen: at(60), watched: true, uid: None, generation: None }));
}

#[test]
fn a_gap_that_status_names_wakes_its_tenant_so_that_the_network_is_tried() {
    let mut index = with_tenants(&["a"]);
    let mut told = tenant("a", "2026-01-01T00:00:00Z", "a.example.org");
    let mut status = crate::api::v1alpha1::HospitalTenantStatus::default();
    status.network.gaps = vec![NetworkGap::default()];
    told.status = Some(status);
    assert_eq!(index.tenant(&told).wake, set(&["a"]));
    assert_eq!(index.tenant(&told).wake, set(&[]));
}
