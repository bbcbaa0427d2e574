//! The charts, rendered by the real Helm: the same as the plain bundle, and every value does what it says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at once"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use e2e::parts::{self, Part};
use his_operator::api::v1alpha1::{NetworkGap, ReleaseEvidence, ReleaseOutcome};
use his_operator::{generate::ALERTS, metrics::Metrics, names};
use serde::Deserialize;
use serde_json::{Value, json};

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
    let test = |object: &Value| object["metadata"]["annotations"]["helm.sh/hook"] == "test";
    let mut found = objects.iter().filter(|((k, namespace, _), object)| {
        k == kind && namespace != names::PROBES && (kind == "Job" || !test(object))
    });
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
    found.retain(|_, object| object["metadata"]["annotations"]["helm.sh/hook"].is_null());
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
    assert_eq!(text.matches("system:serviceaccount:elsewhere:his-operator").count(), 5, "one for each policy");
    let objects = render(CHART, "elsewhere", &[]);
    assert_eq!(env_of(&objects, "HIS_NAMESPACE"), "elsewhere");
    let mut namespaces = objects.keys().map(|(_, namespace, _)| namespace).filter(|namespace| !namespace.is_empty());
    assert!(namespaces.all(|namespace| ["elsewhere", names::PROBES].contains(&namespace.as_str())));
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
    let resolver = &closed["egress"][1];
    assert_eq!((&resolver["ports"][0]["protocol"], &resolver["ports"][1]["port"]), (&"UDP".into(), &53.into()));
    assert_eq!(resolver["to"][0]["podSelector"]["matchLabels"]["k8s-app"], "kube-dns");
    assert_eq!(closed["egress"].as_array().unwrap().len(), 2);
    let open = spec(&[
        "networkPolicy.metricsFrom=[{\"podSelector\":{}}]",
        "networkPolicy.apiServerCidrs=[\"192.0.2.10/32\"]",
        "networkPolicy.apiServerPorts=[6443]",
        "networkPolicy.dns.namespace=\"\"",
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

/// Where pods try what hospitals refuse there is nothing worth having: no token, no secret, no way in.
#[test]
fn the_namespace_of_probes_has_no_token_and_lets_nobody_in() {
    let objects = render(CHART, "x", &["imagePullSecrets=[{\"name\":\"registry\"}]"]);
    let of = |kind: &str, namespace: &str, name: &str| {
        let at = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        objects.get(&at).unwrap_or_else(|| panic!("no {at:?}"))
    };
    let namespace = of("Namespace", "", names::PROBES);
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let account = of("ServiceAccount", names::PROBES, "network-probe");
    assert_eq!(account["automountServiceAccountToken"], false);
    assert_eq!(account["imagePullSecrets"][0]["name"], "registry");
    let traffic = &of("NetworkPolicy", names::PROBES, "network-probe")["spec"];
    assert_eq!((&traffic["ingress"], &traffic["podSelector"]), (&Value::Array(Vec::new()), &json!({})));
    let rules = of("Role", names::PROBES, "his-operator")["rules"].as_array().unwrap();
    let [rule] = rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!((&rule["resources"], &rule["apiGroups"]), (&json!(["jobs"]), &json!(["batch"])));
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

const WATCHED: [&str; 3] = ["serviceMonitor", "prometheusRule", "dashboard"];

fn watched() -> Objects {
    let values = WATCHED.map(|value| format!("{value}.enabled=true"));
    let labels = WATCHED.map(|value| format!("{value}.labels={{\"release\":\"prometheus\"}}"));
    render(CHART, "x", &values.iter().chain(&labels).map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn what_watches_the_operator_is_made_only_if_somebody_wants_it_and_carries_the_labels_of_the_values() {
    let kinds = |objects: &Objects| objects.keys().map(|(kind, ..)| kind.clone()).collect::<BTreeSet<_>>();
    let (with, without) = (watched(), render(CHART, "x", &[]));
    let more: Vec<_> = kinds(&with).difference(&kinds(&without)).cloned().collect();
    assert_eq!(more, ["ConfigMap", "PrometheusRule", "ServiceMonitor"]);
    for kind in more {
        let labels = &of_kind(&with, &kind)["metadata"]["labels"];
        assert_eq!(labels["release"], "prometheus", "{kind}");
        assert_eq!(labels["app.kubernetes.io/name"], "his-operator", "{kind}");
    }
    let endpoint = &of_kind(&with, "ServiceMonitor")["spec"]["endpoints"][0];
    let service = of_kind(&with, "Service");
    assert_eq!(service["spec"]["ports"][0]["name"], endpoint["port"]);
    let found = of_kind(&with, "ServiceMonitor")["spec"]["selector"]["matchLabels"].as_object().unwrap();
    assert!(found.iter().all(|(key, value)| service["metadata"]["labels"][key] == *value));
}

/// Names under which Prometheus stores what the operator exposes.
fn series() -> BTreeSet<String> {
    let metrics = Metrics::default();
    // A family shows itself with its first sample.
    metrics.wrote("apply", "Deployment", "ok");
    metrics.watch_restarted("Deployment", "gone");
    metrics.ready_changed(None, Some("True"));
    metrics.release_ended(ReleaseOutcome::Completed, None);
    metrics.release_watched(&ReleaseEvidence::default());
    metrics.gap_closed("st-elsewhere", &NetworkGap::default());
    drop(metrics.reconcile());
    let text = metrics.text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .flat_map(|(name, kind)| {
            let endings: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                _ => &[""],
            };
            endings.iter().map(|ending| format!("{name}{ending}")).collect::<Vec<_>>()
        })
        .collect()
}

/// Names of ours in an expression.
fn named(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("his_operator_")).map(ToOwned::to_owned).collect()
}

#[test]
fn alerts_and_panels_ask_only_for_metrics_that_exist() {
    let series = series();
    assert!(series.contains("his_operator_leader") && series.contains("his_operator_reconciles_total"), "{series:?}");
    let objects = watched();
    let rules = of_kind(&objects, "PrometheusRule")["spec"]["groups"][0]["rules"].as_array().unwrap();
    let of_rules = rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let dashboard: Value =
        serde_json::from_str(of_kind(&objects, "ConfigMap")["data"]["his-operator.json"].as_str().unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let of_panels = panels.iter().map(|panel| panel["targets"][0]["expr"].as_str().unwrap().to_owned());
    let expressions: Vec<_> = of_rules.chain(of_panels).collect();
    assert!(rules.len() >= 8 && panels.len() >= 8);
    for expression in expressions {
        let names = named(&expression);
        assert!(!names.is_empty(), "{expression} asks for nothing of ours");
        for name in names {
            assert!(series.contains(&name), "{expression}: there is no {name}");
        }
    }
    assert_eq!(named("rate(his_operator_no_such_total[5m])"), ["his_operator_no_such_total"]);
    // What Grafana fills in reached it as text.
    assert!(panels.iter().any(|panel| panel["targets"][0]["legendFormat"] == "{{kind}}"));
}

#[test]
fn every_alert_has_its_runbook_where_it_says() {
    let readme = fs::read_to_string(root().join(CHART).join("README.md")).unwrap();
    let objects = watched();
    let rules = of_kind(&objects, "PrometheusRule")["spec"]["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), ALERTS.len());
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        let url = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert!(url.ends_with(&format!("charts/his-operator/README.md#{}", name.to_lowercase())), "{url}");
        assert!(readme.contains(&format!("\n### {name}\n")), "the README has no section {name}");
        assert!(readme.contains(rule["annotations"]["runbook"].as_str().unwrap()), "{name}: no runbook");
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()));
    }
}

/// The operator's policy lets nobody in, so the test brings its own door and takes it away again.
#[test]
fn helm_test_asks_the_service_and_may_reach_it() {
    let objects = render(CHART, "x", &[]);
    let hooks: Vec<_> =
        objects.values().filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "test").collect();
    assert_eq!(hooks.len(), 3);
    for hook in &hooks {
        let policy = hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"].as_str().unwrap();
        assert!(policy.contains("hook-succeeded"), "{policy}");
    }
    let job = of_kind(&objects, "Job");
    let arguments = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    let service = of_kind(&objects, "Service");
    // As the kubelet tells it: its links are on, and the name is that of the Service.
    let variable = service["metadata"]["name"].as_str().unwrap().to_uppercase().replace('-', "_");
    let address = format!("$({variable}_SERVICE_HOST):{}", service["spec"]["ports"][0]["port"]);
    assert_eq!(job["spec"]["template"]["spec"]["enableServiceLinks"], true);
    assert!(arguments.contains(&address.as_str().into()), "{arguments:?}");
    let door = &objects[&("NetworkPolicy".to_owned(), "x".to_owned(), "his-operator-test-in".to_owned())]["spec"];
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    assert_eq!(door["ingress"][0]["from"][0]["podSelector"]["matchLabels"], *labels);
    let operator = &of_kind(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
    let selected = door["podSelector"]["matchLabels"].as_object().unwrap();
    assert!(selected.iter().all(|(key, value)| operator[key] == *value));
}
