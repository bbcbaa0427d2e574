//! What must hold whatever goes wrong. Each function says what it found, and finds something in what is wrong on purpose.

use std::collections::{BTreeMap, BTreeSet};

use his_operator::names;
use kube::ResourceExt;
use serde_json::Value;

use super::{
    plan::{Fault, Operation, Plan, Side},
    proxy::OUTAGE,
    states::{KINDS, Protection, protection, undeclared},
    trace::{Entry, densest},
    world::Objects,
};

/// What an operation does when nothing goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Every body with which a protecting object was written so far.
    pub bodies: Protection,
    /// Every state of a protecting object so far.
    pub states: Protection,
    /// Requests of the operation.
    pub requests: usize,
    /// Resource and name of everything that was written.
    pub written: BTreeSet<(String, String)>,
}

/// One hospital after one operation.
pub struct Evidence<'a> {
    pub tenant: &'a str,
    pub operation: Operation,
    pub plan: Option<Plan>,
    /// Requests of this operation.
    pub entries: &'a [Entry],
    /// Requests of its whole life.
    pub life: &'a [Entry],
    pub states: Protection,
    pub declared: &'a Declared,
}

/// Requests beyond what the operation needs that a second may see: retries with backoff, and their reads.
const SLACK: usize = 40;
/// Attempts that fit into an outage with backoff, with what belongs to them.
const ATTEMPTS: usize = 25;

/// Everything that the trace of one hospital can be asked.
pub fn judge(evidence: &Evidence<'_>) -> Vec<String> {
    let found = [
        wider(evidence),
        bad_manners(evidence.entries),
        hot_loop(evidence),
        made_twice(evidence.life),
        workload_before_deny(evidence),
        ready_before_written(evidence),
        paused_and_changed(evidence),
        failure_untold(evidence),
        gap_of_nobody(evidence.entries),
    ];
    found.into_iter().flatten().collect()
}

/// Protecting bodies of a trace.
pub fn bodies(entries: &[Entry], tenant: &str) -> Protection {
    let mut bodies = Protection::new();
    for entry in entries.iter().filter(|entry| ["PATCH", "POST", "PUT"].contains(&entry.method.as_str())) {
        let (resource, name, _) = entry.address();
        if let Some(kind) = KINDS.into_iter().find(|kind| kind.plural == resource) {
            let address = format!("{resource}/{}", name.replace(tenant, "NAME"));
            bodies.entry(address).or_default().insert(protection(kind, &entry.body, tenant));
        }
    }
    bodies
}

/// A NetworkPolicy, RBAC object or Pod Security label was asked for, or was there for a moment, that nobody declared.
fn wider(evidence: &Evidence<'_>) -> Option<String> {
    let asked = undeclared(&bodies(evidence.entries, evidence.tenant), &evidence.declared.bodies);
    let was = undeclared(&evidence.states, &evidence.declared.states);
    asked.map(|asked| format!("asked for: {asked}")).or(was)
}

/// A deletion without UID, a status or finalizer without the object that it is about, a write without its manager.
fn bad_manners(entries: &[Entry]) -> Option<String> {
    entries.iter().filter(|entry| entry.is_write()).find_map(|entry| {
        let (resource, _, part) = entry.address();
        let (body, tenant) = (&entry.body, resource == "hospitaltenants");
        let uid = |at: &str| body.pointer(at).and_then(|uid| uid.as_str()).is_some_and(|uid| !uid.is_empty());
        let managed = entry.manager() == Some(names::FIELD_MANAGER);
        let wrong = match entry.method.as_str() {
            "DELETE" => (!uid("/preconditions/uid")).then_some("deletes whatever has this name"),
            "PATCH" if tenant && part == "status" => {
                (!uid("/metadata/uid") || !managed).then_some("tells whatever has this name its status")
            }
            "PATCH" if tenant => {
                (!uid("/metadata/resourceVersion")).then_some("replaces finalizers that it has not seen")
            }
            "PATCH" | "POST" if resource != "events" && !body["metadata"]["finalizers"].is_array() => {
                (!managed && resource != "secrets").then_some("has no field manager")
            }
            _ => None,
        };
        wrong.map(|wrong| format!("{wrong}: {}", entry.words()))
    })
}

/// A gap in the network was told, although nobody but the operator writes policies here.
fn gap_of_nobody(entries: &[Entry]) -> Option<String> {
    entries.iter().filter(|entry| entry.is_write()).find_map(|entry| {
        let gaps = entry.body.pointer("/status/network/gaps")?;
        gaps.as_array().is_some_and(|gaps| !gaps.is_empty()).then(|| format!("tells of gaps that nobody made: {gaps}"))
    })
}

/// More requests in a second than any backoff would send.
fn hot_loop(evidence: &Evidence<'_>) -> Option<String> {
    let most = densest(evidence.entries.iter().map(|entry| entry.began));
    let bound = evidence.declared.requests + SLACK;
    if most > bound {
        return Some(format!("{most} requests in a second, where {bound} are many"));
    }
    let outage = evidence.plan.filter(|plan| plan.fault == Fault::Outage)?;
    let start = evidence.entries.iter().find(|entry| entry.verdict.starts_with(&outage.fault.to_string()))?.began;
    let during = evidence.entries.iter().filter(|entry| entry.began >= start && entry.began < start + OUTAGE).count();
    (during > ATTEMPTS).then(|| format!("{during} requests in an outage of {OUTAGE:?}"))
}

/// A credential was generated again, or init ran again.
fn made_twice(life: &[Entry]) -> Option<String> {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for entry in life.iter().filter(|entry| entry.is_write() && entry.code == Some(201)) {
        let (resource, name, _) = entry.address();
        let once = match resource.as_str() {
            "secrets" => format!("Secret {name}"),
            "jobs" if name.starts_with("init-") => "the Job of init".to_owned(),
            "jobs" => format!("Job {name}"),
            _ => continue,
        };
        *made.entry(once).or_default() += 1;
    }
    made.into_iter().find(|(_, times)| *times > 1).map(|(what, times)| format!("{what} was made {times} times"))
}

/// Pods could have run before every policy of a new hospital was there.
fn workload_before_deny(evidence: &Evidence<'_>) -> Option<String> {
    if evidence.operation != Operation::Create {
        return None;
    }
    let runs = |entry: &Entry| ["statefulsets", "deployments", "jobs"].contains(&entry.address().0.as_str());
    let asks = |entry: &Entry| runs(entry) && entry.address().1.starts_with("gate-");
    // Who asks new pods may reach them from then on, and not before.
    let (of_gate, others): (Vec<&String>, Vec<&String>) = evidence
        .declared
        .written
        .iter()
        .filter(|(resource, _)| resource == "networkpolicies")
        .map(|(_, name)| name)
        .partition(|name| name.contains(".gate."));
    let after = |first: Option<&Entry>, policies: Vec<&String>| {
        let first = first?;
        let before: BTreeSet<String> = written_before(evidence.entries, first, "networkpolicies");
        let open: Vec<&String> = policies.into_iter().filter(|name| !before.contains(*name)).collect();
        (!open.is_empty()).then(|| format!("{} came before {open:?}", first.words()))
    };
    let mut done = evidence.entries.iter().filter(|entry| entry.is_done());
    let (first, asked) = (done.clone().find(|entry| runs(entry)), done.find(|entry| asks(entry)));
    after(first, others).or_else(|| after(asked, of_gate))
}

/// Ready was claimed for a spec before everything that follows from it was there.
fn ready_before_written(evidence: &Evidence<'_>) -> Option<String> {
    let deleted = evidence.plan.is_some_and(|plan| plan.fault == Fault::Deleted);
    let changes = [Operation::Create, Operation::Edit, Operation::Scale, Operation::Rotate, Operation::Upgrade];
    if deleted || !changes.contains(&evidence.operation) {
        return None;
    }
    let newest = statuses(evidence.entries).filter_map(|(_, status)| status["observedGeneration"].as_i64()).max();
    let mut ready = statuses(evidence.entries).filter(|(_, status)| {
        status["observedGeneration"].as_i64() == newest && shows(status, "Ready", "True", "Proved")
    });
    let Some((ready, _)) = ready.next() else { return Some("nobody was told that it is ready".to_owned()) };
    let missing = evidence
        .declared
        .written
        .iter()
        .find(|(resource, name)| !written_before(evidence.entries, ready, resource).contains(name));
    missing.map(|missing| format!("Ready=True was written before {missing:?}"))
}

/// Something other than the status of a paused hospital was written.
fn paused_and_changed(evidence: &Evidence<'_>) -> Option<String> {
    let own = |entry: &&Entry| ["hospitaltenants", "events"].contains(&entry.address().0.as_str());
    let mut changed = evidence.entries.iter().filter(|entry| entry.is_write() && !own(entry));
    let write = (evidence.operation == Operation::Pause).then(|| changed.next()).flatten()?;
    Some(format!("changed during a pause: {}", write.words()))
}

/// The API server refused a write and status never said so.
fn failure_untold(evidence: &Evidence<'_>) -> Option<String> {
    let plan = evidence.plan.filter(|plan| plan.side == Side::Before && plan.operation != Operation::Delete)?;
    let told = matches!(plan.fault, Fault::Status(409 | 410 | 500));
    let refused = evidence.entries.iter().position(|entry| entry.verdict != "passed").filter(|_| told)?;
    let of_child = !["hospitaltenants", "events"].contains(&evidence.entries[refused].address().0.as_str());
    let says =
        statuses(&evidence.entries[refused..]).any(|(_, status)| shows(status, "Reconciling", "True", "ApiError"));
    (of_child && !says).then(|| format!("status never told of {}", evidence.entries[refused].words()))
}

/// Statuses that were to be written.
fn statuses(entries: &[Entry]) -> impl Iterator<Item = (&Entry, &Value)> {
    let own = entries.iter().filter(|entry| entry.method == "PATCH" && entry.path.ends_with("/status"));
    own.map(|entry| (entry, &entry.body["status"]))
}

fn shows(status: &Value, kind: &str, truth: &str, reason: &str) -> bool {
    let conditions = status["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == kind && c["status"] == truth && c["reason"] == reason))
}

fn written_before(entries: &[Entry], moment: &Entry, resource: &str) -> BTreeSet<String> {
    let done = entries.iter().filter(|entry| entry.is_done() && entry.ended.is_some_and(|ended| ended <= moment.began));
    done.map(Entry::address).filter(|(of, ..)| of == resource).map(|(_, name, _)| neutral(&name)).collect()
}

/// Resource and name of everything that a trace has written.
pub fn written(entries: &[Entry]) -> BTreeSet<(String, String)> {
    let done = entries.iter().filter(|entry| entry.is_done() && entry.method != "DELETE").map(Entry::address);
    done.filter(|(resource, name, _)| {
        !["events", "hospitaltenants", "namespaces"].contains(&resource.as_str()) && !name.is_empty()
    })
    .map(|(resource, name, _)| (resource, neutral(&name)))
    .collect()
}

/// A name that follows from content differs between hospitals.
fn neutral(name: &str) -> String {
    let cut = |mark: &str| name.split_once(mark).map(|(before, _)| format!("{before}{mark}"));
    let asks = || ["gate-", "network-probe-"].into_iter().find(|asks| name.starts_with(asks)).map(ToOwned::to_owned);
    cut("-files-").or_else(asks).unwrap_or_else(|| name.to_owned())
}

/// An object that does not say whose it is.
pub fn ownerless(objects: &Objects, uid: &str) -> Option<String> {
    let strange = objects.iter().find(|(at, object)| {
        let made_by_us = object.labels().get(names::MANAGED_BY).is_some_and(|by| by == names::PRODUCT);
        // The record of an earlier deletion names the hospital of then.
        made_by_us
            && at.name != "retained-data"
            && object.annotations().get(names::TENANT_UID).map(String::as_str) != Some(uid)
    });
    strange
        .map(|(at, object)| format!("{at} belongs to {:?}, not to {uid}", object.annotations().get(names::TENANT_UID)))
}

/// Workload that a deleted hospital has left behind.
pub fn orphans(objects: &Objects) -> Option<String> {
    use his_operator::objects::kind::Retention;
    let left: Vec<String> = objects
        .iter()
        .filter(|(at, object)| {
            at.kind.retention == Retention::Workload
                && !object.labels().contains_key(names::RETAIN)
                && at.name != "retained-data"
        })
        .map(|(at, _)| at.to_string())
        .collect();
    (!left.is_empty()).then(|| format!("left behind: {left:?}"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn entry(method: &str, path: &str, body: Value, at: u64) -> Entry {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        let began = *START + Duration::from_millis(at);
        Entry {
            process: 1,
            tenant: Some("x".to_owned()),
            method: method.to_owned(),
            path: path.to_owned(),
            query: "fieldManager=his-operator".to_owned(),
            body,
            digest: String::new(),
            verdict: "passed".to_owned(),
            code: Some(201),
            began,
            ended: Some(began),
        }
    }

    fn judged(operation: Operation, entries: &[Entry], declared: &Declared) -> Vec<String> {
        let states = Protection::new();
        judge(&Evidence { tenant: "x", operation, plan: None, entries, life: entries, states, declared })
    }

    const POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/his-x/networkpolicies/default-deny";
    const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/his-x/deployments/web";
    const STATUS: &str = "/apis/his-operator.io/v1alpha1/hospitaltenants/x/status";

    #[test]
    fn each_oracle_finds_what_is_wrong_on_purpose_and_nothing_in_what_is_right() {
        let policy = entry("PATCH", POLICY, json!({ "spec": { "ingress": [] } }), 0);
        let web = entry("PATCH", DEPLOYMENT, json!({}), 1);
        let ready = json!({ "metadata": { "uid": "u" }, "status": {
            "observedGeneration": 1, "conditions": [{ "type": "Ready", "status": "True", "reason": "Proved" }],
        } });
        let status = entry("PATCH", STATUS, ready.clone(), 2);
        let right = [policy.clone(), web.clone(), status.clone()];
        let declared =
            Declared { bodies: bodies(&right, "x"), states: Protection::new(), requests: 3, written: written(&right) };
        assert_eq!(judged(Operation::Create, &right, &declared), Vec::<String>::new());

        let early = entry("PATCH", DEPLOYMENT, json!({}), 0);
        let late = entry("PATCH", POLICY, json!({ "spec": { "ingress": [] } }), 1);
        assert!(
            judged(Operation::Create, &[early, late.clone(), status.clone()], &declared)[0].contains("came before")
        );
        let open = entry("PATCH", POLICY, json!({ "spec": { "ingress": [{}] } }), 0);
        assert!(judged(Operation::Resume, &[open], &declared)[0].contains("asked for"));
        let soon = entry("PATCH", STATUS, ready, 0);
        assert!(
            judged(Operation::Create, &[soon, late, entry("PATCH", DEPLOYMENT, json!({}), 2)], &declared)[0]
                .contains("Ready=True")
        );
        let blind = entry("DELETE", DEPLOYMENT, json!({}), 0);
        assert!(judged(Operation::Resume, &[blind], &declared)[0].contains("whatever has this name"));
        let hot: Vec<Entry> = (0..50).map(|at| entry("GET", DEPLOYMENT, json!({}), at)).collect();
        assert!(judged(Operation::Resume, &hot, &declared)[0].contains("requests in a second"));
        let gap =
            json!({ "metadata": { "uid": "u" }, "status": { "network": { "gaps": [{ "policy": "default-deny" }] } } });
        let untrue = entry("PATCH", STATUS, gap, 0);
        assert!(judged(Operation::Resume, &[untrue], &declared)[0].contains("gaps that nobody made"));
        let init =
            |name: &str| entry("PATCH", &format!("/apis/batch/v1/namespaces/his-x/jobs/init-{name}"), json!({}), 0);
        assert!(judged(Operation::Resume, &[init("a"), init("b")], &declared)[0].contains("init was made 2 times"));
    }
}
