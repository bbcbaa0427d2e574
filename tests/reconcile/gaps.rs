//! A policy that somebody changed or deleted is put right and status says so, with its length; nothing else is called a gap.

use his_operator::{
    api::v1alpha1::{GapKind, NetworkGap},
    objects::kind::NETWORK_POLICY,
};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    hospital::{DEADLINE, Hospital, eventually, quiet, words},
    world::{run, run_alone},
};

/// Who changes policies here.
const SOMEBODY: &str = "somebody-with-kubectl";

async fn edit(hospital: &Hospital, policy: &str, patch: &Value) {
    let parameters = PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() };
    hospital.api(NETWORK_POLICY).patch(policy, &parameters, &Patch::Merge(patch)).await.unwrap();
}

fn wide() -> Value {
    json!({ "spec": { "egress": [{}] } })
}

async fn gaps(hospital: &Hospital) -> Vec<NetworkGap> {
    hospital.resource().await.status.unwrap().network.gaps
}

/// Waits for that many gaps; the newest first.
async fn named(hospital: &Hospital, count: usize) -> Vec<NetworkGap> {
    eventually(&format!("status names {count} gaps"), DEADLINE, async || {
        let gaps = gaps(hospital).await;
        (gaps.len() == count).then_some(gaps.clone()).ok_or(format!("{gaps:#?}"))
    })
    .await
}

async fn notes(hospital: &Hospital) -> Vec<String> {
    let uid = hospital.resource().await.metadata.uid;
    let all = Api::<Event>::namespaced(hospital.world.admin.clone(), "default").list(&ListParams::default()).await;
    let mine = |event: &Event| {
        event.reason.as_deref() == Some("NetworkGapClosed")
            && event.regarding.as_ref().is_some_and(|regarding| regarding.uid == uid)
    };
    all.unwrap().items.into_iter().filter(mine).filter_map(|event| event.note).collect()
}

/// Rewrites the policy that denies all, twice.
async fn off_and_on(hospital: &Hospital) {
    let off = json!({ "reason": "move of the laboratory", "until": "2099-01-01T00:00:00Z" });
    hospital.patch(json!({ "spec": { "network": { "off": off } } })).await;
    hospital.shows("NetworkIsolated", "False", "SwitchedOff").await;
    hospital.patch(json!({ "spec": { "network": { "off": null } } })).await;
    hospital.ready().await;
}

#[test]
fn a_widened_and_a_deleted_policy_are_named_with_their_lengths_and_then_nothing_more_is_written() {
    run(async |world| {
        let hospital = Hospital::open(world, "opened").await;
        hospital.settles().await;
        let right = hospital.get(NETWORK_POLICY, "default-deny").await.unwrap().data;
        let proof = async || hospital.resource().await.status.unwrap().network.proof.unwrap();
        let tried = proof().await;
        // Whole seconds are known of a trial: the next one must be able to differ.
        quiet().await;

        edit(&hospital, "default-deny", &wide()).await;
        let changed = named(&hospital, 1).await.remove(0);
        assert_eq!(hospital.get(NETWORK_POLICY, "default-deny").await.unwrap().data, right);
        let NetworkGap { policy, what, who, milliseconds, seconds, at_least, .. } = &changed;
        assert_eq!((policy.as_str(), *what, *at_least), ("default-deny", GapKind::Changed, false));
        assert_eq!((who.as_deref(), *milliseconds), (Some(SOMEBODY), None));
        assert!((0..=i64::try_from(DEADLINE.as_secs()).unwrap()).contains(&seconds.unwrap()), "{changed:?}");

        hospital.api(NETWORK_POLICY).delete("default-deny", &DeleteParams::default()).await.unwrap();
        let deleted = named(&hospital, 2).await.remove(0);
        let NetworkGap { policy, what, who, milliseconds, seconds, at_least, .. } = &deleted;
        assert_eq!((policy.as_str(), *what, *at_least), ("default-deny", GapKind::Deleted, false));
        assert_eq!((who, *seconds), (&None, None));
        assert!((0..=i64::try_from(DEADLINE.as_millis()).unwrap()).contains(&milliseconds.unwrap()), "{deleted:?}");
        eprintln!("{changed}; {deleted}");

        eventually("events tell both", DEADLINE, async || {
            let notes = notes(&hospital).await;
            let told = [&changed, &deleted].iter().all(|gap| notes.contains(&gap.to_string()));
            told.then_some(()).ok_or(format!("{notes:?}"))
        })
        .await;
        eventually("the network is tried again", DEADLINE, async || {
            let now = proof().await;
            (now.at > tried.at && now.of == tried.of).then_some(()).ok_or(format!("{now:?}"))
        })
        .await;
        hospital.ready().await;
        let before = hospital.settles().await;
        quiet().await;
        let more: Vec<_> = hospital.requests().split_off(before).iter().map(words).collect();
        assert!(more.is_empty(), "{more:?}");
        assert_eq!(gaps(&hospital).await, [deleted, changed]);
    });
}

#[test]
fn what_the_operator_changes_by_itself_is_no_gap() {
    run(async |world| {
        let hospital = Hospital::open(world, "unopened").await;
        let policies = async || {
            let all = hospital.all(NETWORK_POLICY).await;
            all.iter().map(|policy| policy.metadata.name.clone().unwrap()).collect::<Vec<_>>()
        };
        hospital.settles().await;
        let before = policies().await;
        // Policies for the Jobs of a release come and go, twice.
        for release in [json!({"application": {"version": "2.0.0"}}), json!({"release": {"attempt": 1}})] {
            hospital.patch(json!({ "spec": release })).await;
            hospital.ready().await;
        }
        let egress = json!([{"component": "web", "cidrs": ["192.0.2.40/32"], "port": 2575, "reason": "results for the laboratory"}]);
        for egress in [egress.clone(), Value::Null, egress] {
            hospital.patch(json!({ "spec": { "network": { "egress": egress } } })).await;
            hospital.ready().await;
            hospital.settles().await;
            assert_eq!(policies().await == before, egress.is_null());
        }
        off_and_on(&hospital).await;
        // A label is put right, and opens nothing.
        let label = json!({ "metadata": { "labels": { "his-operator.io/capability": "x" } } });
        edit(&hospital, "default-deny", &label).await;
        hospital.settles().await;
        assert_eq!((gaps(&hospital).await, notes(&hospital).await), (Vec::new(), Vec::new()));
    });
}

#[test]
fn while_no_operator_watches_gaps_are_found_and_a_restart_alone_is_none() {
    run_alone(async |world| {
        let hospital = Hospital::open(world, "unwatched").await;
        hospital.settles().await;
        let mark = world.log.len();
        world.crash_and_restart().await;
        hospital.is_looked_at(mark).await;
        assert_eq!(gaps(&hospital).await, []);

        world.suspend().await;
        let (widened, removed) = ("egress.web.database.5432", "attempts.network-probe");
        edit(&hospital, widened, &wide()).await;
        hospital.api(NETWORK_POLICY).delete(removed, &DeleteParams::default()).await.unwrap();
        // Changed and changed back.
        for egress in [json!([{}]), Value::Null] {
            edit(&hospital, "default-deny", &json!({ "spec": { "egress": egress } })).await;
        }
        world.resume().await;
        let mut found = named(&hospital, 2).await;
        found.sort_by_key(|gap| gap.what);
        let told = found.iter().map(|gap| (gap.policy.as_str(), gap.what, gap.who.as_deref(), gap.at_least));
        let told: Vec<_> = told.collect();
        let expected = [(widened, GapKind::Changed, Some(SOMEBODY), true), (removed, GapKind::Deleted, None, true)];
        assert_eq!(told, expected);
        hospital.ready().await;
        hospital.settles().await;
        // The policy that was changed and changed back is written anew, for a reason of its own.
        off_and_on(&hospital).await;
        assert_eq!(gaps(&hospital).await.len(), 2);
    });
}
