//! One object that is refused does not keep the rest of a hospital from being repaired.

use his_operator::objects::kind::{DEPLOYMENT, NETWORK_POLICY, POD_DISRUPTION_BUDGET};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use super::{
    hospital::{DEADLINE, Hospital, eventually},
    install::{api_of, apply},
    world::run,
};

#[test]
fn what_comes_after_a_refused_object_is_repaired_and_the_refusal_is_told() {
    run(async |world| {
        let hospital = Hospital::open(world, "partial").await;
        hospital.settles().await;
        let refusal = refusal(&hospital.namespace());
        for object in &refusal {
            apply(&world.admin, object).await;
        }
        // Admission policies take effect a moment after they are made.
        eventually("budgets are refused", DEADLINE, async || {
            let _absent = hospital.api(POD_DISRUPTION_BUDGET).delete("web-blue", &DeleteParams::default()).await;
            let message = hospital.condition("Reconciling").await.map(|(.., message)| message).unwrap_or_default();
            message.contains("no budgets here").then_some(()).ok_or(message)
        })
        .await;
        for (kind, name) in [(NETWORK_POLICY, "default-deny"), (DEPLOYMENT, "web-blue")] {
            let old = hospital.get(kind, name).await.unwrap().uid();
            hospital.api(kind).delete(name, &DeleteParams::background()).await.unwrap();
            eventually(&format!("{name} comes back"), DEADLINE, async || {
                let now = hospital.get(kind, name).await.and_then(|live| live.uid());
                (now.is_some() && now != old).then_some(()).ok_or(format!("{now:?}"))
            })
            .await;
        }
        assert!(hospital.get(POD_DISRUPTION_BUDGET, "web-blue").await.is_none());
        for object in refusal.iter().rev() {
            let name = object["metadata"]["name"].as_str().unwrap();
            api_of(&world.admin, object).delete(name, &DeleteParams::default()).await.unwrap();
        }
        // Nothing tells the operator that a stranger's policy has gone, so a person does.
        eventually("the budget is made", DEADLINE, async || {
            hospital.patch(json!({ "metadata": { "labels": { "touched": other(&hospital).await } } })).await;
            hospital.get(POD_DISRUPTION_BUDGET, "web-blue").await.map(drop).ok_or("not yet".to_owned())
        })
        .await;
        hospital.ready().await;
    });
}

/// A label that was not there before.
async fn other(hospital: &Hospital) -> String {
    hospital.resource().await.metadata.resource_version.unwrap()
}

/// Somebody's own admission policy, which the operator knows nothing of.
fn refusal(namespace: &str) -> [Value; 2] {
    let (api, name) = ("admissionregistration.k8s.io/v1", "no-budgets");
    let rule = json!({
        "apiGroups": ["policy"], "apiVersions": ["v1"], "resources": ["poddisruptionbudgets"], "operations": ["CREATE"],
    });
    [
        json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name },
            "spec": {
                "matchConstraints": {
                    "resourceRules": [rule],
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                },
                "validations": [{ "expression": "false", "message": "no budgets here" }],
            },
        }),
        json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Deny"] },
        }),
    ]
}
