//! Servers outside with names, where the cluster has Cilium's own definition of its policies. No Cilium runs: what is shown is
//! that its definition takes what is written, that it goes when it is not wanted, and that nobody needs it.

use his_operator::{
    api::v1alpha1::{Follower, NamedHost},
    objects::kind::{CILIUM_NETWORK_POLICY, NETWORK_POLICY},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, ValidationDirective},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{
    hospital::{DEADLINE, Hospital, eventually},
    install::{CILIUM, apply_cilium_crd, remove_crd},
    world::run_alone,
};
use crate::support::{Case, root};

/// Nobody ever has a name of this domain (RFC 6761), so the operator finds no address.
const NAME: &str = "results.example.invalid";

fn flow() -> Value {
    let flow = json!({ "component": "web", "hosts": [NAME], "port": 443, "reason": "results for the laboratory" });
    json!({ "spec": { "network": { "egress": [flow] } } })
}

async fn policies(hospital: &Hospital) -> Vec<DynamicObject> {
    hospital.all(CILIUM_NETWORK_POLICY).await
}

/// Waits for the one policy, as it must be.
async fn right(hospital: &Hospital, what: &str) -> DynamicObject {
    eventually(what, DEADLINE, async || match policies(hospital).await.as_slice() {
        [one] => {
            let spec = &one.data["spec"];
            let named = spec["egress"][0]["toFQDNs"] == json!([{ "matchName": NAME }]);
            let asks = spec["egress"][1]["toPorts"][0]["rules"]["dns"] == json!([{ "matchPattern": "*" }]);
            let denies = spec["egressDeny"][0]["toCIDRSet"].as_array().is_some_and(|ranges| ranges.len() > 40);
            let alone = one.data["specs"].as_array().is_none_or(Vec::is_empty);
            (named && asks && denies && alone).then(|| one.clone()).ok_or(format!("{:#}", one.data))
        }
        other => Err(format!("{} policies", other.len())),
    })
    .await
}

async fn none_left(hospital: &Hospital) {
    eventually("no policy is left", DEADLINE, async || {
        let left = policies(hospital).await;
        left.is_empty().then_some(()).ok_or(format!("{left:?}"))
    })
    .await;
}

async fn followed_by(hospital: &Hospital, follower: Follower) {
    eventually(&format!("names are followed by {follower:?}"), DEADLINE, async || {
        let hosts = hospital.resource().await.status.unwrap_or_default().network.hosts;
        let is = |known: &NamedHost| known.host == NAME && known.followed_by == follower;
        matches!(hosts.as_slice(), [one] if is(one)).then_some(()).ok_or(format!("{hosts:?}"))
    })
    .await;
    // Nothing is missing, with Cilium or without.
    hospital.shows("NetworkIsolated", "Unknown", "HostUnresolved").await;
}

/// What the golden case renders, with every field that there is.
async fn takes_every_field(hospital: &Hospital) {
    let case = Case::read(&root().join("src/capabilities/network/cases/egress-by-name-with-cilium.yaml"));
    let pass = case.plan().unwrap();
    let bodies = pass.desired.iter().filter(|desired| desired.at().kind == CILIUM_NETWORK_POLICY);
    let bodies: Vec<Value> = bodies.filter_map(|desired| desired.body().cloned()).collect();
    assert_eq!(bodies.len(), 2);
    let strict = PatchParams {
        dry_run: true,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("somebody-strict").force()
    };
    let api = hospital.api(CILIUM_NETWORK_POLICY);
    for mut body in bodies {
        body["metadata"]["namespace"] = hospital.namespace().into();
        let name = body["metadata"]["name"].as_str().unwrap().to_owned();
        api.patch(&name, &strict, &Patch::Apply(&body)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        body["spec"]["egress"][0]["toNames"] = json!([]);
        let error = api.patch(&name, &strict, &Patch::Apply(&body)).await.unwrap_err();
        assert!(error.to_string().contains("toNames"), "{error}");
    }
}

async fn is_put_right(hospital: &Hospital) {
    let name = right(hospital, "the policy is written").await.name_any();
    let api: Api<DynamicObject> = hospital.api(CILIUM_NETWORK_POLICY);
    let everybody = json!({ "endpointSelector": {}, "egress": [{ "toEntities": ["all"] }] });
    let more = json!({ "matchName": "elsewhere.example.org" });
    for patch in [
        json!({ "spec": { "egressDeny": [] } }),
        json!({ "spec": { "egress": [{ "toFQDNs": [more] }] } }),
        json!({ "spec": { "ingress": [{}] } }),
        json!({ "specs": [everybody] }),
    ] {
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        right(hospital, &format!("{patch} is undone")).await;
    }
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    right(hospital, "it comes back").await;
}

#[test]
fn cilium_follows_names_where_it_is_installed_and_nobody_misses_it_where_it_is_not() {
    run_alone(async |world| {
        let hospital = Hospital::open(world, "named").await;
        hospital.patch(flow()).await;
        followed_by(&hospital, Follower::Operator).await;
        assert!(policies(&hospital).await.is_empty());

        apply_cilium_crd(&world.admin).await;
        followed_by(&hospital, Follower::Cilium).await;
        let name = right(&hospital, "the policy comes with its kind").await.name_any();
        assert!(hospital.get(NETWORK_POLICY, &name).await.is_none(), "nobody knows an address that it could allow");
        takes_every_field(&hospital).await;
        is_put_right(&hospital).await;

        hospital.patch(json!({ "spec": { "network": null } })).await;
        none_left(&hospital).await;
        hospital.ready().await;

        hospital.patch(flow()).await;
        right(&hospital, "the policy comes with its flow").await;
        let off = json!({ "reason": "move of the laboratory", "until": "2099-01-01T00:00:00Z" });
        hospital.patch(json!({ "spec": { "network": { "off": off } } })).await;
        none_left(&hospital).await;
        hospital.patch(json!({ "spec": { "network": { "off": null } } })).await;
        right(&hospital, "the policy comes when the control is on again").await;

        remove_crd(&world.admin, CILIUM).await;
        followed_by(&hospital, Follower::Operator).await;
        hospital.patch(json!({ "spec": { "network": null } })).await;
        hospital.ready().await;
    });
}
