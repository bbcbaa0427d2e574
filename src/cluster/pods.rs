//! Pods reduced to what keeps them from running, and to what the agent reports.
//!
//! Guarantees: pure; never repeats what a container of the application wrote (its termination message may hold its last log
//! lines). The agent's own reports are taken only from pods of Jobs that the operator has marked.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::index::Key;
use crate::{
    names,
    objects::{Problem, Report},
};

const LONGEST: usize = 240;
/// What the kubelet keeps of a termination message.
const LONGEST_REPORT: usize = 4096;

/// What is kept of a pod.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    problems: Vec<Problem>,
    reports: Vec<Report>,
}

impl Sight {
    /// Of a pod that is there.
    pub(super) fn of(pod: &Pod) -> Self {
        Self { problems: problems(pod), reports: reports(pod) }
    }
}

/// Pods with something to tell, by tenant, namespace and name.
#[derive(Debug, Default)]
pub(super) struct Sights(BTreeMap<String, BTreeMap<Key, Sight>>);

impl Sights {
    /// Keeps what was seen; tells whether that is news.
    pub(super) fn see(&mut self, tenant: &str, pod: &Pod, sight: Sight) -> bool {
        let nothing = Sight::default();
        let at = (pod.namespace().unwrap_or_default(), pod.name_any());
        if *self.0.get(tenant).and_then(|pods| pods.get(&at)).unwrap_or(&nothing) == sight {
            return false;
        }
        let pods = self.0.entry(tenant.to_owned()).or_default();
        if sight == nothing {
            pods.remove(&at);
        } else {
            pods.insert(at, sight);
        }
        true
    }

    /// Forgets pods that a complete list did not contain; tells whose.
    pub(super) fn retain(&mut self, seen: &BTreeSet<Key>) -> BTreeSet<String> {
        let mut concerned = BTreeSet::new();
        self.0.retain(|tenant, pods| {
            let before = pods.len();
            pods.retain(|pod, _| seen.contains(pod));
            if pods.len() < before {
                concerned.insert(tenant.clone());
            }
            !pods.is_empty()
        });
        concerned
    }

    /// What keeps a tenant's pods from running.
    pub(super) fn problems(&self, tenant: &str) -> Vec<Problem> {
        self.0.get(tenant).into_iter().flatten().flat_map(|(_, sight)| sight.problems.clone()).collect()
    }

    /// What a tenant's agents report.
    pub(super) fn reports(&self, tenant: &str) -> Vec<Report> {
        self.0.get(tenant).into_iter().flatten().flat_map(|(_, sight)| sight.reports.clone()).collect()
    }
}

/// What agents report at their end: the termination messages of a Job's pod that is marked to report.
fn reports(pod: &Pod) -> Vec<Report> {
    let marked = pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(names::REPORTS));
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let Some(job) = owners.find(|owner| marked && owner.kind == "Job") else { return Vec::new() };
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.filter_map(|status| report(&job.name, status)).collect()
}

fn report(job: &str, status: &ContainerStatus) -> Option<Report> {
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    let text = ended.message.clone().filter(|text| text.len() <= LONGEST_REPORT)?;
    let at = DateTime::from_timestamp(ended.finished_at.as_ref()?.0.as_second(), 0)?;
    Some(Report { job: job.to_owned(), container: status.name.clone(), ended: at, text })
}

/// The tenant that a pod belongs to. A label outside the tenant's own namespace proves nothing, but where only the operator may
/// make Jobs.
pub(super) fn tenant_of(pod: &Pod) -> Option<&str> {
    let tenant = pod.metadata.labels.as_ref()?.get(names::TENANT)?;
    let namespace = pod.metadata.namespace.as_deref()?;
    (namespace == names::PROBES || namespace == names::namespace(tenant)).then_some(tenant)
}

/// What keeps this pod from running; empty when nothing does.
fn problems(pod: &Pod) -> Vec<Problem> {
    let label = |name| pod.metadata.labels.as_ref().and_then(|labels| labels.get(name)).cloned().unwrap_or_default();
    let component = label(names::COMPONENT);
    let name = pod.metadata.name.clone().unwrap_or_default();
    let Some(status) = &pod.status else { return Vec::new() };
    // A pod on its way out says nothing about those that replace it.
    if pod.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut add = |reason: &str, message: &str| {
        let message: String = message.chars().take(LONGEST).collect();
        found.push(Problem { component: component.clone(), pod: name.clone(), reason: reason.to_owned(), message });
    };
    if status.phase.as_deref() == Some("Failed") {
        add(
            status.reason.as_deref().unwrap_or("Failed"),
            status.message.as_deref().unwrap_or("the pod ended with an error"),
        );
    }
    for condition in status.conditions.iter().flatten() {
        if condition.type_ == "PodScheduled" && condition.status == "False" {
            let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
            add(reason, condition.message.as_deref().unwrap_or_default());
        }
    }
    for container in status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten()) {
        if let Some((reason, message)) = stuck(container) {
            add(&reason, &format!("container {}: {message}", container.name));
        }
    }
    found
}

/// Reason and message of a container that does not run as it should.
fn stuck(container: &ContainerStatus) -> Option<(String, String)> {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref());
    let before = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    // Out of memory explains a restart better than the back-off that follows it.
    let killed = [ended, before].into_iter().flatten().find(|ended| ended.reason.as_deref() == Some("OOMKilled"));
    if let Some(killed) = killed
        && !container.ready
    {
        return Some((
            "OOMKilled".to_owned(),
            format!("used more memory than its limit, exit code {}", killed.exit_code),
        ));
    }
    if let Some(ended) = ended
        && ended.exit_code != 0
    {
        return Some((
            ended.reason.clone().unwrap_or_else(|| "Error".to_owned()),
            format!("exit code {}", ended.exit_code),
        ));
    }
    let reason = waiting?.reason.as_deref()?;
    if matches!(reason, "ContainerCreating" | "PodInitializing") {
        return None;
    }
    let exit = before.map(|before| format!(", last exit code {}", before.exit_code)).unwrap_or_default();
    Some((reason.to_owned(), format!("{}{exit}", waiting?.message.as_deref().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Pod {
        let labels = json!({"his-operator.io/tenant": "st-elsewhere", "app.kubernetes.io/component": "web"});
        serde_json::from_value(
            json!({"metadata": {"name": "web-1", "namespace": "his-st-elsewhere", "labels": labels}, "status": status}),
        )
        .unwrap()
    }

    fn container(state: Value, last: Value) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{"name": "web", "image": "", "imageID": "", "ready": false, "restartCount": 1, "state": state, "lastState": last}]})
    }

    #[test]
    fn each_way_of_not_starting_has_its_reason() {
        let cases = [
            (
                container(
                    json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}),
                    json!({}),
                ),
                "ImagePullBackOff",
            ),
            (
                container(
                    json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"x\" not found"}}),
                    json!({}),
                ),
                "CreateContainerConfigError",
            ),
            (
                container(
                    json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                    json!({"terminated": {"exitCode": 1, "reason": "Error"}}),
                ),
                "CrashLoopBackOff",
            ),
            (
                container(
                    json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                    json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
                ),
                "OOMKilled",
            ),
            (container(json!({"terminated": {"exitCode": 3, "reason": "Error"}}), json!({})), "Error"),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
                "Unschedulable",
            ),
            (json!({"phase": "Failed", "reason": "Evicted", "message": "disk pressure"}), "Evicted"),
        ];
        for (status, reason) in cases {
            let found = problems(&pod(status));
            assert_eq!(found.iter().map(|problem| problem.reason.as_str()).collect::<Vec<_>>(), [reason]);
            assert_eq!((found[0].component.as_str(), found[0].pod.as_str()), ("web", "web-1"));
        }
    }

    #[test]
    fn a_pod_that_starts_or_runs_is_no_problem() {
        for status in [
            container(json!({"waiting": {"reason": "ContainerCreating"}}), json!({})),
            container(json!({"running": {}}), json!({})),
            container(json!({"terminated": {"exitCode": 0, "reason": "Completed"}}), json!({})),
            json!({"phase": "Succeeded"}),
        ] {
            assert_eq!(problems(&pod(status)), []);
        }
    }

    #[test]
    fn what_a_container_wrote_is_never_repeated() {
        let status = container(
            json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "patient Jane Doe"}}),
            json!({}),
        );
        assert!(!format!("{:?}", problems(&pod(status))).contains("Jane"));
    }

    fn agent(change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({
            "metadata": {
                "name": "asks-1", "namespace": "his-st-elsewhere",
                "labels": {"his-operator.io/tenant": "st-elsewhere", "his-operator.io/reports": "true"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "asks", "uid": "1"}],
            },
            "status": {"containerStatuses": [{
                "name": "asks", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 0, "finishedAt": "2030-01-31T18:00:00Z", "message": "{\"a\":1}"}},
            }]},
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn an_agent_of_a_job_reports_at_its_end() {
        let said = reports(&agent(|_| {})).pop().unwrap();
        assert_eq!((said.job.as_str(), said.container.as_str(), said.text.as_str()), ("asks", "asks", "{\"a\":1}"));
        assert_eq!(said.ended.to_rfc3339(), "2030-01-31T18:00:00+00:00");
    }

    #[test]
    fn one_container_reports_while_another_goes_on() {
        let pod = agent(|pod| {
            let mut running = pod["status"]["containerStatuses"][0].clone();
            (running["name"], running["state"]) = (json!("goes-on"), json!({"running": {}}));
            pod["status"]["containerStatuses"].as_array_mut().unwrap().push(running);
        });
        assert_eq!(reports(&pod).iter().map(|report| report.container.as_str()).collect::<Vec<_>>(), ["asks"]);
    }

    #[test]
    fn nobody_else_reports() {
        let changes: [fn(&mut Value); 4] = [
            |pod| pod["metadata"]["labels"] = json!({"his-operator.io/tenant": "st-elsewhere"}),
            |pod| pod["metadata"]["ownerReferences"][0]["kind"] = json!("ReplicaSet"),
            |pod| pod["status"]["containerStatuses"][0]["state"] = json!({"running": {}}),
            |pod| {
                pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = json!("x".repeat(4097));
            },
        ];
        for change in changes {
            assert_eq!(reports(&agent(change)), []);
        }
    }

    #[test]
    fn only_news_is_news_and_what_has_gone_is_forgotten() {
        let mut sights = Sights::default();
        let pod = agent(|_| {});
        assert!(sights.see("st-elsewhere", &pod, Sight::of(&pod)));
        assert!(!sights.see("st-elsewhere", &pod, Sight::of(&pod)));
        // One of the same name tells from another namespace.
        let elsewhere = agent(|pod| pod["metadata"]["namespace"] = json!(names::PROBES));
        assert!(sights.see("st-elsewhere", &elsewhere, Sight::of(&elsewhere)));
        assert_eq!(sights.reports("st-elsewhere").len(), 2);
        assert_eq!(sights.retain(&BTreeSet::new()), BTreeSet::from(["st-elsewhere".to_owned()]));
        assert_eq!(sights.reports("st-elsewhere"), []);
    }

    #[test]
    fn a_tenant_label_in_a_strange_namespace_is_ignored() {
        let mut stranger = pod(json!({}));
        assert_eq!(tenant_of(&stranger), Some("st-elsewhere"));
        stranger.metadata.namespace = Some("default".to_owned());
        assert_eq!(tenant_of(&stranger), None);
        stranger.metadata.namespace = Some(names::PROBES.to_owned());
        assert_eq!(tenant_of(&stranger), Some("st-elsewhere"));
    }
}
