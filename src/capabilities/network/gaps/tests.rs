use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Value, json};

use super::*;

/// A policy with these egress rules, stamped as the operator writes it.
fn wanted(egress: Value) -> Object {
    let body = json!({
        "metadata": {"name": "default-deny", "namespace": "his-st-elsewhere", "labels": {"a": "b"}},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": egress},
    });
    Object::new(kind::NETWORK_POLICY, &body).stamped()
}

fn live(object: &Object, patch: impl FnOnce(&mut Value)) -> DynamicObject {
    let mut body = object.body.clone();
    patch(&mut body);
    serde_json::from_value(body).unwrap()
}

fn by(manager: &str, time: &str, mut policy: DynamicObject) -> DynamicObject {
    let entry: ManagedFieldsEntry = serde_json::from_value(json!({"manager": manager, "time": time})).unwrap();
    policy.metadata.managed_fields = Some(vec![entry]);
    policy
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

const EDITED: &str = "2026-01-02T10:00:00Z";
const BEGAN: &str = "2026-01-02T10:00:03.250Z";
const ENDED: &str = "2026-01-02T10:00:03.290Z";

/// What was done, by whom, since when, and whether that is all.
type Told = Option<(GapKind, Option<String>, Since, bool)>;

fn told(gap: Option<Gap>) -> Told {
    gap.map(|Gap { what, who, since, at_least }| (what, who, since, at_least))
}

fn judged(wanted: &Object, before: &DynamicObject, disturbed: Option<Disturbance>) -> Told {
    told(changed(wanted, before, disturbed.as_ref(), at(BEGAN)))
}

fn open(body: &mut Value) {
    body["spec"]["egress"] = json!([{}]);
}

fn unstamped(body: &mut Value) {
    open(body);
    body["metadata"]["annotations"] = json!({});
}

#[test]
fn a_policy_that_somebody_changed_is_told_with_its_changer_and_the_time() {
    let wanted = wanted(json!([]));
    let edited = by("kubectl-edit", EDITED, live(&wanted, open));
    let who = Some("kubectl-edit".to_owned());
    let by_edit = |at_least| Some((GapKind::Changed, who.clone(), Since::Second(at(EDITED)), at_least));
    let written = |text| Some(Disturbance::Written { at: at(text) });
    assert_eq!(judged(&wanted, &edited, written(EDITED)), by_edit(false));
    // The first of several changes counts.
    let first = "2026-01-02T09:00:00Z";
    let expected = (GapKind::Changed, who.clone(), Since::Second(at(first)), false);
    assert_eq!(judged(&wanted, &edited, written(first)), Some(expected));
    // Nobody watched when it was changed.
    assert_eq!(judged(&wanted, &edited, None), by_edit(true));
    let replaced = by("kubectl-edit", EDITED, live(&wanted, unstamped));
    assert_eq!(judged(&wanted, &replaced, None), by_edit(true));
    // The API server names nobody who only takes a field away.
    let nameless = (GapKind::Changed, None, Since::Seen(at(BEGAN)), true);
    assert_eq!(judged(&wanted, &live(&wanted, open), None), Some(nameless));
}

#[test]
fn a_policy_that_came_back_by_another_hand_counts_from_when_it_went() {
    let wanted = wanted(json!([]));
    let gone = Disturbance::Gone { seen: at(EDITED), watched: true, uid: None, generation: None };
    let expected = (GapKind::Changed, None, Since::Seen(at(EDITED)), false);
    assert_eq!(judged(&wanted, &live(&wanted, unstamped), Some(gone)), Some(expected));
}

#[test]
fn what_the_operator_writes_for_another_reason_is_no_gap() {
    let (old, new) = (wanted(json!([])), wanted(json!([{"ports": [{"port": 443}]}])));
    let untouched = live(&old, |_| {});
    assert_eq!(judged(&new, &untouched, None), None, "a flow was declared");
    // Somebody changed it and changed it back long ago, and is still named.
    assert_eq!(judged(&new, &by("kubectl-edit", EDITED, untouched), None), None);
    let labelled = live(&old, |body| body["metadata"]["labels"] = json!({"a": "c"}));
    assert_eq!(judged(&old, &labelled, None), None, "only a label was changed");
    // Made by somebody else before a flow of that name was declared.
    assert_eq!(judged(&new, &live(&old, unstamped), None), None);
}

fn repair<'a>(wanted: &'a Desired, answer: &'a DynamicObject) -> Repair<'a> {
    Repair { wanted, before: None, answer, ended: at(ENDED) }
}

/// What the API server made of our write, with the policy's creation, UID and generation.
fn made(time: &str, uid: &str, generation: i64) -> DynamicObject {
    let mut policy = by(names::FIELD_MANAGER, "2026-01-02T10:00:03Z", live(&wanted(json!([])), |_| {}));
    policy.metadata.creation_timestamp = serde_json::from_value(time.into()).unwrap();
    (policy.metadata.uid, policy.metadata.generation) = (Some(uid.to_owned()), Some(generation));
    policy
}

fn gone(watched: bool) -> Disturbance {
    Disturbance::Gone { seen: at(EDITED), watched, uid: Some("old".to_owned()), generation: Some(3) }
}

fn judged_gone(answer: &DynamicObject, disturbed: Option<Disturbance>, was_in_place: bool) -> Told {
    let wanted = Desired::Apply(wanted(json!([])));
    told(repair(&wanted, answer).gone(disturbed.as_ref(), || was_in_place, at(BEGAN)))
}

#[test]
fn a_policy_that_went_is_told_if_it_was_seen_to_go_or_proved_to_have_been_there() {
    let new = made("2026-01-02T10:00:03Z", "new", 1);
    let deleted = |since, at_least| Some((GapKind::Deleted, None, Since::Seen(at(since)), at_least));
    for watched in [true, false] {
        assert_eq!(judged_gone(&new, Some(gone(watched)), false), deleted(EDITED, !watched));
    }
    assert_eq!(judged_gone(&new, None, true), deleted(BEGAN, true));
    assert_eq!(judged_gone(&new, None, false), None, "it may never have been there");
}

#[test]
fn a_policy_that_was_there_unseen_is_a_gap_only_if_its_spec_was_changed_meanwhile() {
    let old = |generation| made("2026-01-01T00:00:00Z", "old", generation);
    let changed = Some((GapKind::Changed, None, Since::Seen(at(EDITED)), true));
    assert_eq!(judged_gone(&old(4), Some(gone(true)), false), changed);
    assert_eq!(judged_gone(&old(3), Some(gone(true)), false), None);
    // It was there before this process began: what was made of it is not known.
    assert_eq!(judged_gone(&old(4), None, true), None);
}

#[test]
fn lengths_are_as_precise_as_the_clock_that_gave_them() {
    let (object, answer) = (wanted(json!([])), made(EDITED, "new", 1));
    let desired = Desired::Apply(object.clone());
    let measured = |since, who| {
        let gap = Gap { what: GapKind::Changed, who, since, at_least: false };
        repair(&desired, &answer).measured(&object, gap)
    };
    let changed = measured(Since::Second(at(EDITED)), Some("kubectl-edit".to_owned()));
    assert_eq!((changed.seconds, changed.milliseconds), (Some(3), None));
    assert_eq!((changed.since.as_str(), changed.until.as_str()), (EDITED, "2026-01-02T10:00:03Z"));
    assert_eq!(changed.length().as_millis(), 3000);
    assert_eq!(
        changed.to_string(),
        format!(
            "NetworkPolicy default-deny was changed by kubectl-edit and was put right after 3 s (give or take one), since {EDITED}"
        )
    );
    let seen = measured(Since::Seen(at(BEGAN)), None);
    assert_eq!((seen.seconds, seen.milliseconds), (None, Some(40)));
    assert_eq!((seen.since.as_str(), seen.until.as_str()), (BEGAN, ENDED));
    assert_eq!(seen.length().as_millis(), 40);
    // A clock that was set back makes no gap shorter than nothing.
    assert_eq!(measured(Since::Seen(at("2026-01-02T11:00:00Z")), None).milliseconds, Some(0));
}

#[test]
fn status_keeps_the_newest_five_and_names_none_twice() {
    let gap = |number: i64| NetworkGap { milliseconds: Some(number), ..NetworkGap::default() };
    let numbers = |gaps: Vec<NetworkGap>| gaps.iter().filter_map(|gap| gap.milliseconds).collect::<Vec<_>>();
    let before: Vec<_> = [3, 2, 1].map(gap).into();
    assert_eq!(numbers(listed(&before, &[])), [3, 2, 1]);
    assert_eq!(numbers(listed(&before, &[gap(4), gap(5), gap(6)])), [6, 5, 4, 3, 2]);
    // A status whose writing was believed to have failed had arrived.
    assert_eq!(numbers(listed(&before, &[gap(3), gap(4)])), [4, 3, 2, 1]);
}
