//! What an operator writes of its own accord is never called a gap, and what somebody else did always is.

use std::sync::Arc;

use his_operator::{
    api::v1alpha1::{GapKind, NetworkGap},
    capabilities::network::Repair,
    names,
    objects::{Desired, Disturbance, Object, Observed, Ref, covers, kind},
    reconcile::{pass::Pass, report},
    settings::Settings,
};
use kube::core::{DynamicObject, ObjectMeta};
use serde_json::json;

use super::{Hospital, operator, serving};
use crate::support::cluster::{Jobs, apply};

/// When the API server makes something.
const SECOND: &str = "2026-01-02T10:00:00Z";

fn policies(pass: &Pass) -> Vec<(&Desired, &Object)> {
    let objects = pass.desired.iter().filter_map(|desired| match desired {
        Desired::Apply(object) => Some((desired, object)),
        _ => None,
    });
    objects.filter(|(_, object)| object.at.kind == kind::NETWORK_POLICY).collect()
}

/// What this pass would say of the policies that it writes.
fn said(hospital: &Hospital, pass: &Pass, before: &Observed) -> Vec<NetworkGap> {
    let mut gaps = Vec::new();
    for (desired, object) in policies(pass) {
        let was = before.objects.get(&object.at).map(AsRef::as_ref);
        if was.is_some_and(|was| covers::covers(was, object)) {
            continue;
        }
        let mut answer: DynamicObject = serde_json::from_value(object.body.clone()).unwrap();
        let made = json!({
            "creationTimestamp": SECOND, "uid": "new", "generation": 1,
            "managedFields": [{"manager": names::FIELD_MANAGER, "time": SECOND}],
        });
        let made: ObjectMeta = serde_json::from_value(made).unwrap();
        answer.metadata =
            ObjectMeta { labels: answer.metadata.labels, annotations: answer.metadata.annotations, ..made };
        let repair = Repair { wanted: desired, before: was, answer: &answer, ended: hospital.now };
        gaps.extend(repair.gap(&pass.tenant, &pass.desired, before));
    }
    gaps
}

/// Lets that operator work, and collects every gap that it names meanwhile.
fn gaps_while_settling(hospital: &mut Hospital, settings: &Settings) -> (usize, Vec<NetworkGap>) {
    let (mut written, mut gaps) = (0, Vec::new());
    for _ in 0..24 {
        hospital.now += chrono::TimeDelta::minutes(1);
        let pass = hospital.plan(settings);
        written += policies(&pass)
            .iter()
            .filter(|(_, object)| {
                hospital.observed.objects.get(&object.at).is_none_or(|was| !covers::covers(was, object))
            })
            .count();
        gaps.extend(said(hospital, &pass, &hospital.observed));
        apply(&pass.desired, &mut hospital.observed, Jobs::Succeeded, hospital.now);
        let status = report::planned(&hospital.tenant, &pass, &hospital.observed, None, None);
        if hospital.changes(settings).is_empty() && hospital.tenant.status.as_ref() == Some(&status) {
            return (written, gaps);
        }
        hospital.tenant.status = Some(status);
    }
    panic!("does not settle: {:?}", hospital.tenant.status);
}

/// What changes, whether it changes policies, and how it is done.
type Change<'a> = (&'a str, bool, &'a dyn Fn(&mut Hospital));

#[test]
fn releases_flows_and_other_operators_are_no_gaps() {
    let mut hospital = Hospital::new();
    hospital.observed.policies_listed = true;
    let (written, gaps) = gaps_while_settling(&mut hospital, &operator('a'));
    assert!(written > 5 && gaps.is_empty(), "{written}, {gaps:?}");
    let egress = |cidr: &str| {
        serde_json::from_value(json!({"egress": [{"component": "web", "cidrs": [cidr], "port": 2575, "reason": "results for the laboratory"}]})).unwrap()
    };
    let off = json!({"off": {"reason": "move of the laboratory", "until": "2999-01-01T00:00:00Z"}});
    let changes: [Change<'_>; 7] = [
        ("a release", true, &|hospital| hospital.ask_for("2.0.0")),
        ("a flow", true, &|hospital| hospital.tenant.spec.network = Some(egress("192.0.2.40/32"))),
        ("another flow", true, &|hospital| hospital.tenant.spec.network = Some(egress("192.0.2.0/24"))),
        ("the platform", true, &|hospital| {
            let mut platform = hospital.observed.platform.as_ref().unwrap().as_ref().clone();
            let dns = json!({"namespace": "kube-system", "podLabels": {"k8s-app": "another"}});
            platform.spec.dns = Some(serde_json::from_value(dns).unwrap());
            hospital.observed.platform = Some(Arc::new(platform));
        }),
        ("no flow", false, &|hospital| hospital.tenant.spec.network = None),
        ("nothing denied", true, &|hospital| {
            hospital.tenant.spec.network = Some(serde_json::from_value(off.clone()).unwrap());
        }),
        ("denied again", true, &|hospital| hospital.tenant.spec.network = None),
    ];
    for (what, writes, change) in changes {
        change(&mut hospital);
        for settings in [operator('b'), operator('a')] {
            let (written, gaps) = gaps_while_settling(&mut hospital, &settings);
            assert_eq!(gaps, [], "{what}");
            assert!(
                !writes || settings != operator('b') || written > 0,
                "{what} writes no policy: this proves nothing"
            );
        }
    }
}

/// The policies of the same hospital as somebody else left them.
fn damaged(hospital: &Hospital, at: &Ref, policy: Option<DynamicObject>) -> Observed {
    let mut observed = hospital.observed.clone();
    observed.policies_listed = true;
    observed.objects.remove(at);
    observed.objects.extend(policy.map(|policy| (at.clone(), Arc::new(policy))));
    observed
}

#[test]
fn each_policy_that_somebody_changed_or_deleted_is_a_gap_also_after_a_restart() {
    let hospital = serving(&operator('a'));
    // Another operator finds it.
    let pass = hospital.plan(&operator('b'));
    assert!(policies(&pass).len() > 5);
    for (_, object) in policies(&pass) {
        let mut policy = hospital.observed.objects[&object.at].as_ref().clone();
        policy.data["spec"]["egress"] = json!([{}]);
        policy.metadata.managed_fields =
            Some(serde_json::from_value(json!([{"manager": "edit", "time": SECOND}])).unwrap());
        let [changed] = &said(&hospital, &pass, &damaged(&hospital, &object.at, Some(policy)))[..] else {
            panic!("{} was changed, and that is no gap", object.at)
        };
        assert_eq!(
            (&changed.policy, changed.what, changed.who.as_deref()),
            (&object.at.name, GapKind::Changed, Some("edit"))
        );
        let [deleted] = &said(&hospital, &pass, &damaged(&hospital, &object.at, None))[..] else {
            panic!("{} was deleted, and that is no gap", object.at)
        };
        assert_eq!((&deleted.policy, deleted.what, deleted.at_least), (&object.at.name, GapKind::Deleted, true));
    }
}

#[test]
fn a_policy_that_may_never_have_been_there_is_a_gap_only_if_it_was_seen_to_go() {
    let mut hospital = serving(&operator('a'));
    let at =
        Ref { kind: kind::NETWORK_POLICY, namespace: "his-st-elsewhere".to_owned(), name: "default-deny".to_owned() };
    assert!(hospital.observed.objects.contains_key(&at));
    let status = hospital.tenant.status.as_mut().unwrap();
    // As while the network waits for its trial.
    status.conditions.iter_mut().filter(|c| c.type_ == "NetworkIsolated").for_each(|c| c.status = "Unknown".to_owned());
    let pass = hospital.plan(&operator('a'));
    let mut gone = damaged(&hospital, &at, None);
    assert_eq!(said(&hospital, &pass, &gone), []);
    gone.disturbed.insert(
        at.name.clone(),
        Disturbance::Gone { seen: hospital.now, watched: true, uid: Some("old".to_owned()), generation: Some(1) },
    );
    assert_eq!(said(&hospital, &pass, &gone).len(), 1);
    // One that nobody has planned before has no gaps, whatever was seen.
    hospital.tenant.status = None;
    assert_eq!(said(&hospital, &hospital.plan(&operator('a')), &gone), []);
}
