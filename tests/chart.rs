//! The charts, rendered by the real Helm: the same as the plain bundle, and every value does what it says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at once"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use e2e::parts::{self, Part};
use serde::Deserialize;
use serde_json::Value;

const CHART: &str = "charts/his-operator";
const CRDS: &str = "charts/his-operator-crds";
const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

type Objects = BTreeMap<(String, String, String), Value>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn helm(arguments: &[&str]) -> Output {
    let program = std::env::var_os("HELM").map_or_else(|| parts::ensure(Part::Helm).unwrap(), PathBuf::from);
    Command::new(program).args(arguments).current_dir(root()).output().unwrap()
}

fn render(chart: &str, namespace: &str, values: &[&str]) -> Objects {
    let mut arguments = vec!["template", "any-name", chart, "--namespace", namespace];
    arguments.extend(values.iter().flat_map(|value| ["--set-json", value]));
    let output = helm(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    objects(&String::from_utf8(output.stdout).unwrap())
}

fn refusal(values: &[&str]) -> String {
    let mut arguments = vec!["template", "any-name", CHART];
    arguments.extend(values.iter().flat_map(|value| ["--set-json", value]));
    let output = helm(&arguments);
    assert!(!output.status.success(), "{values:?} is accepted");
    String::from_utf8(output.stderr).unwrap()
}

fn objects(text: &str) -> Objects {
    let documents = serde_yaml_ng::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    let mut all = Objects::new();
    for object in documents.filter(|document| !document.is_null()) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        assert!(all.insert(key.clone(), object).is_none(), "{key:?} is there twice");
    }
    all
}

fn bundle() -> Objects {
    objects(&fs::read_to_string(root().join("manifests/install.yaml")).unwrap())
}

fn of_kind<'a>(objects: &'a Objects, kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|((k, ..), _)| k == kind);
    let (_, object) = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    object
}

fn pod(objects: &Objects) -> &Value {
    &of_kind(objects, "Deployment")["spec"]["template"]["spec"]
}

fn env_of<'a>(objects: &'a Objects, name: &str) -> &'a str {
    let env = pod(objects)["containers"][0]["env"].as_array().unwrap();
    env.iter().find(|entry| entry["name"] == name).unwrap()["value"].as_str().unwrap()
}

#[test]
fn both_charts_pass_the_strict_lint() {
    for chart in [CHART, CRDS] {
        let output = helm(&["lint", "--strict", chart]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_plain_bundle_is_what_the_charts_render() {
    let mut wanted = bundle();
    let namespace = wanted.remove(&("Namespace".to_owned(), String::new(), "his-operator-system".to_owned())).unwrap();
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let mut found = render(CHART, "his-operator-system", &[]);
    for (key, mut crd) in render(CRDS, "his-operator-system", &[]) {
        let annotations = crd["metadata"].as_object_mut().unwrap().remove("annotations").unwrap();
        assert_eq!(annotations["helm.sh/resource-policy"], "keep", "{key:?} would go with helm uninstall");
        found.insert(key, crd);
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (key, object) in &wanted {
        assert_eq!(&found[key], object, "{key:?}");
    }
}

#[test]
fn another_namespace_reaches_every_place_that_names_it() {
    let text = serde_json::to_string(&render(CHART, "elsewhere", &[]).into_values().collect::<Vec<_>>()).unwrap();
    assert!(!text.contains("his-operator-system"), "the default namespace is still named");
    assert_eq!(text.matches("system:serviceaccount:elsewhere:his-operator").count(), 3, "one for each policy");
    let objects = render(CHART, "elsewhere", &[]);
    assert_eq!(env_of(&objects, "HIS_NAMESPACE"), "elsewhere");
    let mut namespaces = objects.keys().map(|(_, namespace, _)| namespace).filter(|namespace| !namespace.is_empty());
    assert!(namespaces.all(|namespace| namespace == "elsewhere"));
}

#[test]
fn a_digest_pins_the_operator_and_what_hospitals_get() {
    let objects = render(CHART, "x", &[&format!("image.digest=\"{DIGEST}\"")]);
    let image = format!("ghcr.io/his-operator/his-operator@{DIGEST}");
    assert_eq!(pod(&objects)["containers"][0]["image"], image.as_str());
    assert_eq!(env_of(&objects, "HIS_AGENT_IMAGE"), image);
    let other = format!("example.org/agent@{DIGEST}");
    let objects =
        render(CHART, "x", &[&format!("agentImage=\"{other}\""), "image.tag=\"2\"", "image.pullPolicy=\"Never\""]);
    assert_eq!(env_of(&objects, "HIS_AGENT_IMAGE"), other);
    assert_eq!(pod(&objects)["containers"][0]["image"], "ghcr.io/his-operator/his-operator:2");
    assert_eq!(pod(&objects)["containers"][0]["imagePullPolicy"], "Never");
}

#[test]
fn every_value_reaches_its_field() {
    let objects = render(
        CHART,
        "x",
        &[
            "replicas=3",
            "logLevel=\"debug\"",
            "tracingEndpoint=\"http://collector:4318\"",
            "resources={\"limits\":{\"cpu\":2}}",
            "nodeSelector={\"pool\":\"system\"}",
            "tolerations=[{\"key\":\"system\",\"operator\":\"Exists\"}]",
            "imagePullSecrets=[{\"name\":\"registry\"}]",
        ],
    );
    assert_eq!(of_kind(&objects, "Deployment")["spec"]["replicas"], 3);
    assert_eq!(env_of(&objects, "RUST_LOG"), "debug");
    assert_eq!(env_of(&objects, "OTEL_EXPORTER_OTLP_ENDPOINT"), "http://collector:4318");
    assert_eq!(pod(&objects)["containers"][0]["resources"]["limits"]["cpu"], 2);
    assert_eq!(
        pod(&objects)["containers"][0]["resources"]["requests"]["cpu"],
        "50m",
        "what is not said keeps its default"
    );
    assert_eq!(pod(&objects)["nodeSelector"]["pool"], "system");
    assert_eq!(pod(&objects)["tolerations"][0]["key"], "system");
    assert_eq!(of_kind(&objects, "ServiceAccount")["imagePullSecrets"][0]["name"], "registry");
}

#[test]
fn traffic_is_closed_unless_a_value_opens_it_and_an_empty_list_opens_nothing() {
    let spec = |values: &[&str]| of_kind(&render(CHART, "x", values), "NetworkPolicy")["spec"].clone();
    let closed = spec(&["networkPolicy.metricsFrom=[]"]);
    assert_eq!(closed["ingress"], Value::Array(Vec::new()));
    assert_eq!(closed["egress"].as_array().unwrap().len(), 1);
    let open = spec(&[
        "networkPolicy.metricsFrom=[{\"podSelector\":{}}]",
        "networkPolicy.apiServerCidrs=[\"192.0.2.10/32\"]",
        "networkPolicy.apiServerPorts=[6443]",
        "networkPolicy.extraEgress=[{\"to\":[{\"podSelector\":{}}]}]",
    ]);
    assert_eq!(open["ingress"][0]["ports"][0]["port"], 8080);
    assert_eq!(open["ingress"][0]["from"].as_array().unwrap().len(), 1);
    let api_server = &open["egress"][0];
    assert_eq!(
        (&api_server["to"][0]["ipBlock"]["cidr"], &api_server["ports"][0]["port"]),
        (&"192.0.2.10/32".into(), &6443.into())
    );
    assert_eq!((api_server["to"].as_array().unwrap().len(), api_server["ports"].as_array().unwrap().len()), (1, 1));
    assert_eq!(open["egress"].as_array().unwrap().len(), 2);
}

#[test]
fn a_value_that_does_not_exist_or_cannot_be_is_refused_with_its_name() {
    for (values, name) in [
        (["replica=3"], "replica"),
        (["replicas=0"], "/replicas"),
        (["image.digest=\"sha256:12\""], "/image/digest"),
        (["image.pullPolicy=\"Sometimes\""], "/image/pullPolicy"),
        (["networkPolicy.apiServerPorts=[]"], "/networkPolicy/apiServerPorts"),
    ] {
        let message = refusal(&values);
        assert!(message.contains(name), "{message}");
    }
    render(CHART, "x", &["global={\"region\":\"eu\"}"]);
}

#[test]
fn the_token_is_short_lived_and_in_one_pod_only() {
    let objects = bundle();
    assert_eq!(of_kind(&objects, "ServiceAccount")["automountServiceAccountToken"], false);
    let pod = pod(&objects);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let sources = pod["volumes"][0]["projected"]["sources"].as_array().unwrap();
    let life = sources.iter().find_map(|source| source["serviceAccountToken"]["expirationSeconds"].as_i64()).unwrap();
    assert!(life <= 3600);
}

#[test]
fn every_generated_rule_carries_its_reason_as_a_comment() {
    let text = fs::read_to_string(Path::new(&root()).join(CHART).join("templates/rbac.yaml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let rules: Vec<usize> = (0..lines.len()).filter(|at| lines[*at] == "- apiGroups:").collect();
    assert!(rules.len() > 20, "{} rules", rules.len());
    for at in rules {
        assert!(lines[at - 1].starts_with("# "), "line {} has no reason", at + 1);
    }
}
