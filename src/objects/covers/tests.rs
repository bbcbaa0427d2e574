use kube::core::DynamicObject;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{covers, difference, differences};
use crate::objects::{
    Kind, Object,
    kind::{DEPLOYMENT, HTTP_ROUTE, NETWORK_POLICY, RESOURCE_QUOTA, SERVICE, SERVICE_ACCOUNT, STATEFUL_SET},
};

fn desired(kind: Kind, body: &Value) -> Object {
    Object::new(kind, body)
}

fn live(body: &Value) -> DynamicObject {
    let mut body = body.clone();
    body["apiVersion"] = json!("v1");
    body["kind"] = json!("Any");
    serde_json::from_value(body).unwrap()
}

fn check(kind: Kind, live_body: &Value, want: &Value) -> Option<String> {
    difference(&live(live_body), &desired(kind, want))
}

fn deployment() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "his-st-elsewhere", "labels": {"a": "b"}, "annotations": {"his-operator.io/desired": "01"}},
        "spec": {
            "replicas": 2,
            "template": {"spec": {
                "containers": [
                    {"name": "web", "image": "web@sha256:1", "args": ["serve", "now"],
                     "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
                     "env": [{"name": "A", "value": "1"}, {"name": "B", "value": ""}],
                     "ports": [{"containerPort": 80}], "volumeMounts": [{"mountPath": "/tmp", "name": "tmp"}]},
                    {"name": "audit", "image": "audit@sha256:2"}
                ],
                "tolerations": [{"key": "k", "operator": "Exists"}],
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
            }}
        }
    })
}

/// The same object as an API server gives it back.
fn defaulted() -> Value {
    let mut live = deployment();
    live["metadata"]["uid"] = json!("u");
    live["metadata"]["labels"]["other"] = json!("manager");
    live["spec"]["strategy"] = json!({"type": "RollingUpdate"});
    live["status"] = json!({"replicas": 2});
    let pod = &mut live["spec"]["template"]["spec"];
    pod["dnsPolicy"] = json!("ClusterFirst");
    let web = &mut pod["containers"][0];
    web["resources"]["limits"] = json!({"cpu": "1", "memory": "1Gi"});
    web["env"] = json!([{"name": "INJECTED", "value": "x"}, {"name": "B"}, {"name": "A", "value": "1"}]);
    web["ports"] = json!([{"containerPort": 80, "protocol": "TCP"}]);
    pod["containers"].as_array_mut().unwrap().swap(0, 1);
    pod["containers"].as_array_mut().unwrap().push(json!({"name": "mesh"}));
    live
}

#[test]
fn defaults_and_other_managers_need_no_apply() {
    assert_eq!(check(DEPLOYMENT, &defaulted(), &deployment()), None);
}

#[test]
fn a_changed_field_is_named_by_its_path() {
    let cases: [(&str, Value, &str); 8] = [
        ("/spec/replicas", json!(3), ".spec.replicas"),
        ("/metadata/labels/a", json!("c"), ".metadata.labels.a"),
        (
            "/metadata/annotations/his-operator.io~1desired",
            json!("02"),
            ".metadata.annotations[\"his-operator.io/desired\"]",
        ),
        ("/spec/template/spec/containers/0/image", json!("x"), ".spec.template.spec.containers[name=audit].image"),
        ("/spec/template/spec/containers/1/args", json!(["serve"]), ".spec.template.spec.containers[name=web].args"),
        ("/spec/template/spec/containers/1/args/1", json!("later"), ".spec.template.spec.containers[name=web].args[1]"),
        (
            "/spec/template/spec/containers/1/resources/limits/cpu",
            json!("2"),
            ".spec.template.spec.containers[name=web].resources.limits.cpu",
        ),
        ("/spec/template/spec/tolerations/0/effect", json!("NoExecute"), ".spec.template.spec.tolerations[0].effect"),
    ];
    for (pointer, value, path) in cases {
        let mut live = defaulted();
        let (parent, leaf) = pointer.rsplit_once('/').unwrap();
        let parent = live.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(list) => list[leaf.parse::<usize>().unwrap()] = value,
            other => other[leaf.replace("~1", "/")] = value,
        }
        assert_eq!(check(DEPLOYMENT, &live, &deployment()).as_deref(), Some(path));
    }
}

#[test]
fn a_removed_container_is_missed() {
    let mut live = defaulted();
    live["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().remove(0);
    assert_eq!(check(DEPLOYMENT, &live, &deployment()).unwrap(), ".spec.template.spec.containers[name=audit]");
}

fn policy(spec: &Value) -> Value {
    json!({"metadata": {"name": "deny"}, "spec": spec})
}

#[test]
fn a_widened_network_policy_is_drift() {
    let want = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {"matchLabels": {"a": "b"}}}], "ports": [{"port": 5432}]}]});
    let cases: [(&str, Value); 4] = [
        (
            "/ingress/0/from/0",
            json!({"podSelector": {"matchLabels": {"a": "b"}}, "namespaceSelector": {"matchLabels": {"x": "y"}}}),
        ),
        ("/ingress", json!([{"from": [{"podSelector": {"matchLabels": {"a": "b"}}}], "ports": [{"port": 5432}]}, {}])),
        ("/ingress/0/ports", json!([])),
        ("/podSelector", json!({"matchLabels": {"only": "this"}})),
    ];
    for (pointer, value) in cases {
        let mut live = want.clone();
        *live.pointer_mut(pointer).unwrap() = value;
        assert!(check(NETWORK_POLICY, &policy(&live), &policy(&want)).is_some(), "{pointer}");
    }
    let mut defaulted = want.clone();
    defaulted["ingress"][0]["ports"][0]["protocol"] = json!("TCP");
    assert_eq!(check(NETWORK_POLICY, &policy(&defaulted), &policy(&want)), None);
}

#[test]
fn a_rule_that_someone_added_to_a_deny_policy_is_drift() {
    let want = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    let live = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}]});
    assert_eq!(check(NETWORK_POLICY, &policy(&live), &policy(&want)).unwrap(), ".spec.egress");
}

#[test]
fn a_key_more_in_a_selector_is_drift_because_it_selects_nothing() {
    let service = |selector: Value| json!({"metadata": {"name": "web"}, "spec": {"selector": selector}});
    let want = service(json!({"component": "web"}));
    assert_eq!(check(SERVICE, &want, &want), None);
    let narrowed = service(json!({"component": "web", "other": "other"}));
    assert_eq!(check(SERVICE, &narrowed, &want).as_deref(), Some(".spec.selector.other"));
}

#[test]
fn an_absent_pointer_field_is_drift_and_an_absent_omitempty_field_is_not() {
    let account = |extra: Value| {
        let mut body = json!({"metadata": {"name": "web"}});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    assert!(
        check(SERVICE_ACCOUNT, &account(json!({})), &account(json!({"automountServiceAccountToken": false}))).is_some()
    );
    assert!(check(SERVICE_ACCOUNT, &account(json!({})), &account(json!({"imagePullSecrets": []}))).is_none());
    let pod = |spec: Value| json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": spec}}});
    assert!(check(DEPLOYMENT, &pod(json!({})), &pod(json!({"hostNetwork": false}))).is_none());
    assert!(check(DEPLOYMENT, &pod(json!({"hostNetwork": true})), &pod(json!({"hostNetwork": false}))).is_some());
    assert!(
        check(
            DEPLOYMENT,
            &pod(json!({"volumes": [{"name": "a"}]})),
            &pod(json!({"volumes": [{"name": "a", "emptyDir": {}}]}))
        )
        .is_some()
    );
}

#[test]
fn lists_are_matched_as_the_api_server_merges_them() {
    let service = |ports: Value| json!({"metadata": {"name": "web"}, "spec": {"ports": ports}});
    let live = service(json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP", "targetPort": 53}]));
    assert_eq!(check(SERVICE, &live, &service(json!([{"port": 53}, {"port": 53, "protocol": "UDP"}]))), None);
    assert_eq!(check(SERVICE, &live, &service(json!([{"port": 54}]))).unwrap(), ".spec.ports[port=54,protocol=]");

    let claims = |template: Value| json!({"metadata": {"name": "db"}, "spec": {"volumeClaimTemplates": [template]}});
    let want = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}});
    let live = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "creationTimestamp": null},
        "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Pending"}});
    assert_eq!(check(STATEFUL_SET, &claims(live), &claims(want)), None);
}

#[test]
fn gateway_api_defaults_are_not_drift_and_an_added_filter_is() {
    let route = |rule: Value| json!({"metadata": {"name": "public"}, "spec": {"parentRefs": [{"name": "edge"}], "rules": [rule]}});
    let want = route(json!({"backendRefs": [{"name": "web-blue", "port": 80}]}));
    let mut live = route(json!({
        "backendRefs": [{"name": "web-blue", "port": 80, "group": "", "kind": "Service", "weight": 1}],
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}]
    }));
    live["spec"]["parentRefs"][0] = json!({"name": "edge", "group": "gateway.networking.k8s.io", "kind": "Gateway"});
    assert_eq!(check(HTTP_ROUTE, &live, &want), None);
    live["spec"]["rules"][0]["filters"] = json!([{"type": "RequestMirror"}]);
    assert_eq!(check(HTTP_ROUTE, &live, &want).unwrap(), ".spec.rules[0].filters");
}

#[test]
fn quantities_are_compared_by_value_only_where_kubernetes_has_quantities() {
    let quota = |hard: &str| json!({"metadata": {"name": "limits"}, "spec": {"hard": {"requests.cpu": hard}}});
    assert_eq!(check(RESOURCE_QUOTA, &quota("2"), &quota("2000m")), None);
    assert!(check(RESOURCE_QUOTA, &quota("2"), &quota("2001m")).is_some());
    let label = |value: &str| json!({"metadata": {"name": "x", "labels": {"v": value}}});
    assert!(check(DEPLOYMENT, &label("1"), &label("1000m")).is_some());
}

#[test]
fn finalizers_are_a_set() {
    let with = |finalizers: Value| json!({"metadata": {"name": "x", "finalizers": finalizers}});
    assert_eq!(check(DEPLOYMENT, &with(json!(["b", "a"])), &with(json!(["a"]))), None);
    assert!(check(DEPLOYMENT, &with(json!(["b"])), &with(json!(["a"]))).is_some());
}

fn any_body() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (1_i64..9000).prop_map(Value::from),
        "[a-z]{1,8}".prop_map(Value::from)
    ];
    let value = leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 1..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    value.prop_map(|spec| json!({"metadata": {"name": "x"}, "spec": {"body": spec}}))
}

fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| leaves(value, &format!("{at}/{key}"), found)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

proptest! {
    #[test]
    fn what_is_desired_covers_itself(body in any_body()) {
        prop_assert!(!covers(&live(&body), &desired(DEPLOYMENT, &body).stamped()));
        let stamped = desired(DEPLOYMENT, &body).stamped();
        prop_assert_eq!(difference(&live(&stamped.body), &stamped), None);
    }

    #[test]
    fn any_changed_leaf_is_detected(body in any_body(), pick in any::<prop::sample::Index>()) {
        let mut found = Vec::new();
        leaves(&body["spec"], "/spec", &mut found);
        let mut changed = body.clone();
        *changed.pointer_mut(pick.get::<String>(&found)).unwrap() = json!("CHANGED");
        prop_assert!(difference(&live(&changed), &desired(DEPLOYMENT, &body)).is_some());
    }
}

#[test]
fn every_difference_is_told_with_both_values() {
    let mut changed = defaulted();
    changed["spec"]["replicas"] = json!(5);
    changed["spec"]["template"]["spec"]["containers"][1]["image"] = json!("web@sha256:0");
    let want = desired(DEPLOYMENT, &deployment());
    let found: Vec<_> = differences(&live(&changed), &want).into_iter().map(|d| (d.path, d.live, d.want)).collect();
    let image = ".spec.template.spec.containers[name=web].image".to_owned();
    assert_eq!(
        found,
        [
            (".spec.replicas".to_owned(), Some(json!(5)), Some(json!(2))),
            (image, Some(json!("web@sha256:0")), Some(json!("web@sha256:1"))),
        ]
    );
    assert!(differences(&live(&defaulted()), &want).is_empty());
}

#[test]
fn what_is_too_much_in_a_policy_is_told_without_a_desired_value() {
    let policy =
        json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}});
    let mut open = policy.clone();
    open["spec"]["ingress"][0]["from"][0]["namespaceSelector"] = json!({"matchLabels": {"a": "b"}});
    let found = differences(&live(&open), &desired(NETWORK_POLICY, &policy));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, ".spec.ingress[0].from[0].namespaceSelector");
    assert_eq!(found[0].want, None);
}
