//! What nobody may make in a hospital's namespace, and what everybody still may.

use his_operator::objects::kind::CILIUM_NETWORK_POLICY;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Pod, Service},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{World, eventually, hospital, read, refused, run};

const ONLY: &str = "only the operator may write NetworkPolicies of a hospital";

fn service(name: &str, more: &Value) -> Service {
    let mut spec = json!({ "ports": [{ "port": 80 }], "selector": { "app": "x" } });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    read(&json!({ "metadata": { "name": name }, "spec": spec }))
}

fn pod(name: &str, host_network: Option<bool>) -> Pod {
    let container = json!({ "name": "x", "image": "registry.example.org/x:1" });
    let spec = json!({ "hostNetwork": host_network, "containers": [container] });
    read(&json!({ "metadata": { "name": name }, "spec": spec }))
}

fn policy(name: &str) -> NetworkPolicy {
    read(&json!({ "metadata": { "name": name }, "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } }))
}

/// A policy that is created on its own arrives in the API server on its own.
async fn enforced(world: &World, namespace: &str) {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    eventually("hospitals are fenced", async || {
        let admin = || world.admin.clone();
        let open = service("probe", &json!({ "type": "NodePort" }));
        let tries = [
            Api::namespaced(admin(), namespace).create(&dry, &open).await.err(),
            Api::namespaced(admin(), namespace).create(&dry, &pod("probe", Some(true))).await.err(),
            Api::namespaced(admin(), namespace).create(&dry, &policy("probe")).await.err(),
        ];
        let fenced =
            |error: &Option<kube::Error>| error.as_ref().is_some_and(|e| e.to_string().contains("of a hospital"));
        (!tries.iter().all(fenced)).then(|| format!("{tries:?}"))
    })
    .await;
}

#[test]
fn a_hospital_has_no_way_in_beside_the_gateway() {
    run(async |world| {
        let name = hospital(world, "ways").await;
        enforced(world, &name).await;
        let now = PostParams::default();
        for client in [&world.admin, &world.operator] {
            let services = Api::<Service>::namespaced(client.clone(), &name);
            for kind in ["NodePort", "LoadBalancer"] {
                refused(
                    services.create(&now, &service("open", &json!({ "type": kind }))).await,
                    "may not be a NodePort",
                );
            }
            let addresses = json!({ "externalIPs": ["192.0.2.1"] });
            refused(services.create(&now, &service("open", &addresses)).await, "may not have externalIPs");
        }
        let services = Api::<Service>::namespaced(world.admin.clone(), &name);
        services.create(&now, &service("inside", &json!({}))).await.unwrap();
        services
            .create(&now, &service("headless", &json!({ "clusterIP": "None", "type": "ClusterIP" })))
            .await
            .unwrap();
        let open = |spec: Value| Patch::Merge(json!({ "spec": spec }));
        let parameters = PatchParams::default();
        refused(
            services.patch("inside", &parameters, &open(json!({ "type": "NodePort" }))).await,
            "may not be a NodePort",
        );
        let addresses = open(json!({ "externalIPs": ["192.0.2.1"] }));
        refused(services.patch("inside", &parameters, &addresses).await, "may not have externalIPs");
        services.patch("inside", &parameters, &open(json!({ "selector": { "app": "y" } }))).await.unwrap();
        // Elsewhere it is nobody's business.
        let others = Api::<Service>::namespaced(world.admin.clone(), "default");
        others
            .create(&now, &service("open", &json!({ "type": "NodePort", "externalIPs": ["192.0.2.1"] })))
            .await
            .unwrap();
    });
}

#[test]
fn a_hospital_has_no_pod_on_the_network_of_the_node() {
    run(async |world| {
        let name = hospital(world, "nodes").await;
        enforced(world, &name).await;
        eventually("pods have an account", async || {
            let accounts = Api::<k8s_openapi::api::core::v1::ServiceAccount>::namespaced(world.admin.clone(), &name);
            accounts.get("default").await.err().map(|error| error.to_string())
        })
        .await;
        let pods = Api::<Pod>::namespaced(world.admin.clone(), &name);
        let now = PostParams::default();
        refused(pods.create(&now, &pod("on-the-node", Some(true))).await, "may not use hostNetwork");
        pods.create(&now, &pod("not-on-the-node", Some(false))).await.unwrap();
        pods.create(&now, &pod("silent", None)).await.unwrap();
        Api::<Pod>::namespaced(world.admin.clone(), "default")
            .create(&now, &pod("on-the-node", Some(true)))
            .await
            .unwrap();
    });
}

#[test]
fn nobody_but_the_operator_writes_a_hospitals_policies() {
    run(async |world| {
        let name = hospital(world, "flows").await;
        enforced(world, &name).await;
        let of = |client: &Client| Api::<NetworkPolicy>::namespaced(client.clone(), &name);
        let (admin, operator) = (of(&world.admin), of(&world.operator));
        let (now, later) = (PostParams::default(), DeleteParams::default());
        refused(admin.create(&now, &policy("hole")).await, ONLY);
        operator.create(&now, &policy("deny")).await.unwrap();
        let widened = Patch::Merge(json!({ "spec": { "ingress": [{}] } }));
        refused(admin.patch("deny", &PatchParams::default(), &widened).await, ONLY);
        let labelled = Patch::Merge(json!({ "metadata": { "labels": { "team": "wards" } } }));
        refused(admin.patch("deny", &PatchParams::default(), &labelled).await, ONLY);
        refused(admin.delete("deny", &later).await, ONLY);
        operator.patch("deny", &PatchParams::default(), &widened).await.unwrap();
        operator.delete("deny", &later).await.unwrap();
        // Elsewhere it is nobody's business.
        let others = Api::<NetworkPolicy>::namespaced(world.admin.clone(), "default");
        others.create(&now, &policy("theirs")).await.unwrap();
    });
}

#[test]
fn nobody_but_the_operator_tells_cilium_what_a_hospital_may_reach() {
    run(async |world| {
        let name = hospital(world, "named-flows").await;
        let crd = tokio::task::spawn_blocking(e2e::parts::cilium_crd).await.unwrap().unwrap();
        world.kubectl(&["apply", "--server-side", "--filename", &crd.display().to_string()]);
        let of = |client: &Client, namespace: &str| {
            Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &CILIUM_NETWORK_POLICY.api_resource())
        };
        let rule = json!({ "endpointSelector": {}, "egress": [{ "toFQDNs": [{ "matchName": "a.example.org" }] }] });
        let policy = |name: &str| -> DynamicObject {
            read(
                &json!({ "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": { "name": name }, "spec": rule }),
            )
        };
        let (admin, operator) = (of(&world.admin, &name), of(&world.operator, &name));
        let (now, dry) = (PostParams::default(), PostParams { dry_run: true, ..PostParams::default() });
        let only = "only the operator may write CiliumNetworkPolicies of a hospital";
        eventually("the kind is served and fenced", async || {
            let error = admin.create(&dry, &policy("hole")).await.err().map(|error| error.to_string());
            (!error.as_ref().is_some_and(|error| error.contains(only))).then(|| format!("{error:?}"))
        })
        .await;
        operator.create(&now, &policy("named")).await.unwrap();
        let wider = [json!({ "spec": { "egressDeny": null, "ingress": [{}] } }), json!({ "specs": [rule] })];
        let remover = "system:serviceaccount:kube-system:namespace-controller";
        let remover = of(&world.plane.client_for(remover, &["system:masters"]).await.unwrap(), &name);
        let change = PatchParams::default();
        for patch in wider.map(Patch::Merge) {
            refused(admin.patch("named", &change, &patch).await, only);
            refused(remover.patch("named", &change, &patch).await, only);
        }
        refused(admin.delete("named", &DeleteParams::default()).await, only);
        let marked = Patch::Merge(json!({ "metadata": { "labels": { "left": "over" } } }));
        remover.patch("named", &change, &marked).await.unwrap();
        remover.delete("named", &DeleteParams::default()).await.unwrap();
        operator.create(&now, &policy("again")).await.unwrap();
        operator.delete("again", &DeleteParams::default()).await.unwrap();
        // Elsewhere it is nobody's business.
        of(&world.admin, "default").create(&now, &policy("theirs")).await.unwrap();
    });
}

#[test]
fn whoever_removes_garbage_removes_policies_and_widens_none() {
    run(async |world| {
        let name = hospital(world, "garbage").await;
        enforced(world, &name).await;
        let policies = Api::<NetworkPolicy>::namespaced(world.operator.clone(), &name);
        let maps = Api::<ConfigMap>::namespaced(world.admin.clone(), &name);
        let now = PostParams::default();
        let owner = maps.create(&now, &read(&json!({ "metadata": { "name": "owner" } }))).await.unwrap();
        let mut owned = policy("owned");
        let reference = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid().unwrap(), "blockOwnerDeletion": false });
        owned.metadata.owner_references = Some(vec![read(&reference)]);
        policies.create(&now, &owned).await.unwrap();
        policies.create(&now, &policy("kept")).await.unwrap();
        maps.delete("owner", &DeleteParams::background()).await.unwrap();
        let all = Api::<NetworkPolicy>::namespaced(world.admin.clone(), &name);
        eventually("the owned policy is collected", async || {
            all.get_opt("owned").await.unwrap().map(|left| format!("{:?}", left.metadata))
        })
        .await;
        assert!(all.get_opt("kept").await.unwrap().is_some());

        let remover = "system:serviceaccount:kube-system:namespace-controller";
        let remover = world.plane.client_for(remover, &["system:masters"]).await.unwrap();
        let remover = Api::<NetworkPolicy>::namespaced(remover, &name);
        let widened = Patch::Merge(json!({ "spec": { "ingress": [{}] } }));
        refused(remover.patch("kept", &PatchParams::default(), &widened).await, ONLY);
        refused(remover.create(&now, &policy("hole")).await, ONLY);
        let marked = Patch::Merge(json!({ "metadata": { "finalizers": ["example.org/x"] } }));
        remover.patch("kept", &PatchParams::default(), &marked).await.unwrap();
        let unmarked = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        remover.patch("kept", &PatchParams::default(), &unmarked).await.unwrap();

        let namespaces = Api::<Namespace>::all(world.admin.clone());
        namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
        eventually("the namespace goes with its policies", async || {
            namespaces.get_opt(&name).await.unwrap().map(|left| format!("{:?}", left.status))
        })
        .await;
    });
}
