//! What watches the operator, each switched on by a value: ServiceMonitor, PrometheusRule, Grafana dashboard.
//!
//! Guarantees: every alert has a runbook in the chart's README, and asks only for metrics that [`crate::metrics`] has (a
//! test compares them).

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Serialize;

use super::{
    Error,
    operator::{labels, metadata, own},
    site::Site,
    yaml,
};

/// An alert with what to do about it.
#[derive(Debug)]
pub struct Alert {
    /// Name, and anchor of its runbook.
    pub name: &'static str,
    /// PromQL.
    pub expression: &'static str,
    /// How long it must hold.
    pub lasts: &'static str,
    /// `critical` wakes somebody, `warning` waits for the morning.
    pub severity: &'static str,
    /// What it means.
    pub summary: &'static str,
    /// What to do.
    pub runbook: &'static str,
}

/// All alerts.
pub const ALERTS: &[Alert] = &[
    Alert {
        name: "HisOperatorNoLeader",
        expression: "absent(his_operator_leader == 1)",
        lasts: "2m",
        severity: "critical",
        summary: "no replica of the operator holds the lease: hospitals run on, but nothing is repaired or released",
        runbook: "Look at the pods (`kubectl -n his-operator-system get pods`) and their logs, then at the lease (`kubectl -n his-operator-system get lease his-operator -o yaml`). A replica that cannot reach the API server says so in its log; check networkPolicy.apiServerCidrs.",
    },
    Alert {
        name: "HisOperatorTwoLeaders",
        expression: "sum(his_operator_leader) > 1",
        lasts: "1m",
        severity: "critical",
        summary: "more than one replica believes that it leads",
        runbook: "Writes are fenced, so only one of them can write. Compare the clocks of the nodes; delete the pod whose name is not the lease's holderIdentity.",
    },
    Alert {
        name: "HisHospitalNotReady",
        expression: "sum(his_operator_tenants{ready!=\"True\"}) > 0",
        lasts: "15m",
        severity: "warning",
        summary: "a hospital is not Ready",
        runbook: "`kubectl get hospitaltenants` shows which; `kubectl his status NAME` says what blocks it and what to do next.",
    },
    Alert {
        name: "HisHospitalNetworkGap",
        // A counter begins with its first gap: it has not increased then, but it is new.
        expression: "sum by (tenant) (increase(his_operator_network_gaps_total[1h])) > 0 or (sum by (tenant) (his_operator_network_gaps_total) unless sum by (tenant) (his_operator_network_gaps_total offset 1h))",
        lasts: "0m",
        severity: "critical",
        summary: "somebody has changed or deleted a NetworkPolicy of a hospital; it was put right",
        runbook: "`kubectl his network NAME` shows the last gap, `kubectl get hospitaltenant NAME -o jsonpath='{.status.network.gaps}'` the last five: which policy, which program and for how long. The audit log of the API server says who it was. An admission policy lets nobody but the operator write these objects: look whether `kubectl get validatingadmissionpolicybinding his-operator-tenant-flows` is in place, and take it for an attack until you know better. A namespace that was deleted and made again shows up here too.",
    },
    Alert {
        name: "HisOperatorReconcilesFail",
        expression: "sum(rate(his_operator_reconciles_total{result=\"transient\"}[10m])) > 0.1",
        lasts: "15m",
        severity: "warning",
        summary: "reconciles fail again and again for a reason that should pass",
        runbook: "The log has the API server's words (`kubectl -n his-operator-system logs deployment/his-operator`). Frequent causes: an admission webhook that refuses, a missing right after a manual change of RBAC (upgrade the release again), an overloaded API server.",
    },
    Alert {
        name: "HisOperatorWritesRefused",
        expression: "sum by (kind, result) (increase(his_operator_writes_total{result!=\"ok\"}[15m])) > 10",
        lasts: "15m",
        severity: "warning",
        summary: "the API server refuses writes",
        runbook: "The labels say which kind and how. `conflict`: somebody else writes the same fields. `forbidden`: a right or an admission policy; compare with the chart's rights above. `invalid`: report it as a defect, with the output of `kubectl his plan`.",
    },
    Alert {
        name: "HisOperatorQueueDoesNotDrain",
        expression: "min_over_time(his_operator_queue_depth[10m]) > 0",
        lasts: "10m",
        severity: "warning",
        summary: "hospitals wait for a reconcile",
        runbook: "Look at HisOperatorSlow and at the CPU of the leading pod; raise resources.limits.cpu if it is throttled.",
    },
    Alert {
        name: "HisOperatorSlow",
        expression: "histogram_quantile(0.99, sum by (le) (rate(his_operator_reconcile_duration_seconds_bucket[10m]))) > 5",
        lasts: "15m",
        severity: "warning",
        summary: "one reconcile in a hundred takes longer than five seconds",
        runbook: "Nearly always the API server or an admission webhook answers slowly: compare with apiserver_request_duration_seconds.",
    },
    Alert {
        name: "HisOperatorWatchesBreak",
        expression: "sum by (kind, reason) (rate(his_operator_watch_restarts_total[10m])) > 0.1",
        lasts: "15m",
        severity: "warning",
        summary: "watches end early and are opened again all the time",
        runbook: "The labels say which kind and why. Look at the load balancer before the API server (idle timeouts) and at the rights for that kind.",
    },
    Alert {
        name: "HisOperatorVersionsDiffer",
        expression: "count(count by (version) (his_operator_build_info)) > 1",
        lasts: "30m",
        severity: "warning",
        summary: "replicas of different versions run side by side",
        runbook: "An upgrade of the operator does not end: `kubectl -n his-operator-system rollout status deployment/his-operator`, then describe the pod that is not ready.",
    },
];

/// A panel of the dashboard: title, PromQL, legend.
const PANELS: &[(&str, &str, &str)] = &[
    ("Hospitals by Ready", "sum by (ready) (his_operator_tenants)", "{{ready}}"),
    ("Leader", "his_operator_leader", "{{pod}}"),
    ("Reconciles per second", "sum by (result) (rate(his_operator_reconciles_total[5m]))", "{{result}}"),
    (
        "Reconcile duration, 99th percentile",
        "histogram_quantile(0.99, sum by (le) (rate(his_operator_reconcile_duration_seconds_bucket[5m])))",
        "seconds",
    ),
    ("Writes per second", "sum by (verb, kind) (rate(his_operator_writes_total[5m]))", "{{verb}} {{kind}}"),
    (
        "Refused writes per second",
        "sum by (kind, result) (rate(his_operator_writes_total{result!=\"ok\"}[5m]))",
        "{{kind}} {{result}}",
    ),
    ("Releases per hour", "sum by (outcome) (increase(his_operator_releases_total[1h]))", "{{outcome}}"),
    (
        "Requests of users' kind while releases came in, per hour",
        "sum by (answer) (increase(his_operator_release_requests_total[1h]))",
        "{{answer}}",
    ),
    (
        "Gaps in NetworkPolicies per hour",
        "sum by (tenant, what) (increase(his_operator_network_gaps_total[1h]))",
        "{{tenant}} {{what}}",
    ),
    ("Hospitals that wait", "max(his_operator_queue_depth)", "waiting"),
    ("Watches opened again per second", "sum by (kind) (rate(his_operator_watch_restarts_total[5m]))", "{{kind}}"),
];

/// Condition of the chart, name of the template, and the object.
pub fn documents(site: &Site) -> Result<Vec<(&'static str, &'static str, String)>, Error> {
    let mut monitor = yaml::value("ServiceMonitor", &service_monitor(site))?;
    site.place(&mut monitor, "/spec/endpoints/0/interval", "toJson .Values.serviceMonitor.interval")?;
    site.place(&mut monitor, "/metadata/labels", &merged("serviceMonitor"))?;
    let mut rule = yaml::value("PrometheusRule", &rule(site))?;
    site.place(&mut rule, "/metadata/labels", &merged("prometheusRule"))?;
    let mut dashboard = yaml::value("ConfigMap", &dashboard(site)?)?;
    site.place(&mut dashboard, "/metadata/labels", &merged("dashboard"))?;
    Ok(vec![
        (".Values.serviceMonitor.enabled", "servicemonitor", yaml::document("ServiceMonitor", &monitor)?),
        (".Values.prometheusRule.enabled", "prometheusrule", yaml::document("PrometheusRule", &rule)?),
        (".Values.dashboard.enabled", "dashboard", yaml::document("ConfigMap", &dashboard)?),
    ])
}

/// Our labels, which nobody can take away, and those of the value.
fn merged(value: &str) -> String {
    let ours = labels().iter().map(|(key, value)| format!("\"{key}\" \"{value}\"")).collect::<Vec<_>>().join(" ");
    format!("merge (dict {ours}) .Values.{value}.labels | toJson")
}

/// For the chart's README.
pub fn runbooks() -> String {
    let text = |alert: &Alert| {
        format!(
            "### {}\n\n{}: {} (for {}, when `{}`).\n\n{}\n",
            alert.name,
            alert.severity,
            alert.summary,
            alert.lasts,
            alert.expression.replace('|', "\\|"),
            alert.runbook
        )
    };
    ALERTS.iter().map(text).collect::<Vec<_>>().join("\n")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Custom<S> {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: S,
}

#[derive(Serialize)]
struct MonitorSpec {
    endpoints: [Endpoint; 1],
    selector: Selector,
}

#[derive(Serialize)]
struct Endpoint {
    interval: String,
    path: &'static str,
    port: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    match_labels: BTreeMap<String, String>,
}

fn service_monitor(site: &Site) -> Custom<MonitorSpec> {
    Custom {
        api_version: "monitoring.coreos.com/v1",
        kind: "ServiceMonitor",
        metadata: metadata(site),
        spec: MonitorSpec {
            endpoints: [Endpoint { interval: "30s".to_owned(), path: "/metrics", port: "metrics" }],
            selector: Selector { match_labels: own() },
        },
    }
}

#[derive(Serialize)]
struct RuleSpec {
    groups: [Group; 1],
}

#[derive(Serialize)]
struct Group {
    name: &'static str,
    rules: Vec<AlertingRule>,
}

#[derive(Serialize)]
struct AlertingRule {
    alert: &'static str,
    expr: &'static str,
    r#for: &'static str,
    labels: BTreeMap<&'static str, &'static str>,
    annotations: BTreeMap<&'static str, String>,
}

fn rule(site: &Site) -> Custom<RuleSpec> {
    let runbooks = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/charts/his-operator/README.md");
    let rule = |alert: &Alert| AlertingRule {
        alert: alert.name,
        expr: alert.expression,
        r#for: alert.lasts,
        labels: BTreeMap::from([("severity", alert.severity)]),
        annotations: BTreeMap::from([
            ("summary", alert.summary.to_owned()),
            ("runbook", alert.runbook.to_owned()),
            ("runbook_url", format!("{runbooks}#{}", alert.name.to_lowercase())),
        ]),
    };
    Custom {
        api_version: "monitoring.coreos.com/v1",
        kind: "PrometheusRule",
        metadata: metadata(site),
        spec: RuleSpec { groups: [Group { name: "his-operator", rules: ALERTS.iter().map(rule).collect() }] },
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dashboard {
    title: &'static str,
    uid: &'static str,
    schema_version: u8,
    refresh: &'static str,
    time: Span,
    panels: Vec<Panel>,
}

#[derive(Serialize)]
struct Span {
    from: &'static str,
    to: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Panel {
    id: usize,
    title: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    grid_pos: Place,
    targets: [Target; 1],
}

#[derive(Serialize)]
struct Place {
    x: usize,
    y: usize,
    w: usize,
    h: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    expr: &'static str,
    legend_format: &'static str,
    ref_id: &'static str,
}

/// Read by the side-car that Grafana's chart brings.
fn dashboard(site: &Site) -> Result<ConfigMap, Error> {
    let panel = |(index, (title, expr, legend_format)): (usize, &(&'static str, &'static str, &'static str))| Panel {
        id: index + 1,
        title,
        kind: "timeseries",
        grid_pos: Place { x: index % 2 * 12, y: index / 2 * 8, w: 12, h: 8 },
        targets: [Target { expr, legend_format, ref_id: "A" }],
    };
    let dashboard = Dashboard {
        title: "his-operator",
        uid: "his-operator",
        schema_version: 39,
        refresh: "30s",
        time: Span { from: "now-6h", to: "now" },
        panels: PANELS.iter().enumerate().map(panel).collect(),
    };
    let text = serde_json::to_string_pretty(&dashboard)
        .map_err(|source| Error::WriteJson { what: "the dashboard".to_owned(), source })?;
    let mut metadata = metadata(site);
    metadata.name = Some("his-operator-dashboard".to_owned());
    let data = BTreeMap::from([("his-operator.json".to_owned(), text)]);
    Ok(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() })
}
