//! What a platform engineer installs: the install bundle, the Gateway API, a platform and applications.

use std::{
    fs,
    time::{Duration, Instant},
};

use e2e::{
    control_plane::ControlPlane,
    parts::{self, Part},
};
use his_operator::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant},
    cluster::{Candidate, Timing},
};
use k8s_openapi::{
    api::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use super::hospital::{DEADLINE, eventually};
use crate::support::{documents_of, root};

/// The operator's ServiceAccount, as the API server calls it.
pub const USER: &str = "system:serviceaccount:his-operator-system:his-operator";
/// Its groups.
pub const GROUPS: [&str; 3] =
    ["system:serviceaccounts", "system:serviceaccounts:his-operator-system", "system:authenticated"];
/// CRD of the Gateway API that the operator writes.
pub const ROUTES: &str = "httproutes.gateway.networking.k8s.io";
/// CRD of Cilium that the operator writes.
pub const CILIUM: &str = "ciliumnetworkpolicies.cilium.io";
const CLUSTER_SCOPED: [&str; 10] = [
    "CustomResourceDefinition",
    "Namespace",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "PriorityClass",
    "HospitalPlatform",
    "HospitalApplication",
    "HospitalTenant",
];

/// Applies all documents of a file. Our own CRDs come from the code that they are generated from.
pub async fn apply_file(client: &Client, file: &str) {
    let text = fs::read_to_string(root().join(file)).unwrap();
    for document in documents_of(&text, file) {
        if document["kind"] != "CustomResourceDefinition" {
            apply(client, &document).await;
        }
    }
}

/// Applies the CRDs of this very build.
pub async fn apply_own_crds(client: &Client) {
    for crd in [HospitalPlatform::crd(), HospitalApplication::crd(), HospitalTenant::crd()] {
        apply(client, &serde_json::to_value(&crd).unwrap()).await;
        established(client, crd.metadata.name.as_deref().unwrap()).await;
    }
}

/// Server-side apply of one object, as a GitOps pipeline does it.
pub async fn apply(client: &Client, object: &Value) {
    let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let api = api_of(client, object);
    let parameters = PatchParams::apply("gitops").force();
    api.patch(name, &parameters, &Patch::Apply(object)).await.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
}

/// The collection that an object belongs to.
pub fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    let kind = object["kind"].as_str().unwrap_or_else(|| panic!("no kind: {object}"));
    let version = object["apiVersion"].as_str().unwrap();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let plural = match kind {
        "NetworkPolicy" | "ValidatingAdmissionPolicy" => format!("{}ies", &kind.to_lowercase()[..kind.len() - 1]),
        "PriorityClass" => "priorityclasses".to_owned(),
        _ => format!("{}s", kind.to_lowercase()),
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
    if CLUSTER_SCOPED.contains(&kind) {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), object["metadata"]["namespace"].as_str().unwrap(), &resource)
    }
}

/// The Gateway API's own definition of its routes.
pub async fn apply_routes_crd(client: &Client) {
    let module = tokio::task::spawn_blocking(|| parts::module_dir(Part::EnvoyGateway, "sigs.k8s.io/gateway-api"));
    let file = module.await.unwrap().unwrap().join("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml");
    let text = fs::read_to_string(file).unwrap();
    for document in documents_of(&text, ROUTES) {
        apply(client, &document).await;
    }
    established(client, ROUTES).await;
}

/// Cilium's own definition of its policies.
pub async fn apply_cilium_crd(client: &Client) {
    let file = tokio::task::spawn_blocking(parts::cilium_crd).await.unwrap().unwrap();
    for document in documents_of(&fs::read_to_string(file).unwrap(), CILIUM) {
        apply(client, &document).await;
    }
    established(client, CILIUM).await;
}

/// Removes the routes' definition and with it every route.
pub async fn remove_routes_crd(client: &Client) {
    remove_crd(client, ROUTES).await;
}

/// Removes a definition and with it every object.
pub async fn remove_crd(client: &Client, name: &str) {
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    crds.delete(name, &DeleteParams::default()).await.unwrap();
    eventually(&format!("{name} goes"), DEADLINE, async || {
        let left = crds.get_opt(name).await.unwrap();
        left.map_or(Ok(()), |crd| Err(format!("{:?}", crd.status)))
    })
    .await;
}

async fn established(client: &Client, name: &str) {
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    eventually(&format!("{name} is established"), DEADLINE, async || {
        let crd = crds.get(name).await.unwrap();
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().any(|c| c.type_ == "Established" && c.status == "True");
        ready.then_some(()).ok_or(format!("{conditions:?}"))
    })
    .await;
}

/// Waits until admission policies are enforced: nobody but the operator may make a hospital's namespace.
pub async fn policies_enforced(client: &Client) {
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
    let forged = json!({ "metadata": { "name": "his-forged", "labels": { "his-operator.io/tenant": "forged" } } });
    let forged = serde_json::from_value(forged).unwrap();
    eventually("admission policies are enforced", DEADLINE, async || {
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        match namespaces.create(&parameters, &forged).await {
            Ok(_) => Err("a forged namespace is accepted".to_owned()),
            Err(error) => error.to_string().contains("only the operator may").then_some(()).ok_or(error.to_string()),
        }
    })
    .await;
}

/// Takes down the fences around hospitals' policies (`tests/rbac/hospitals.rs`): what the operator repairs must first be
/// broken by somebody.
async fn unfenced(client: &Client) {
    let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(client.clone());
    for fence in ["his-operator-tenant-flows", "his-operator-tenant-named-flows"] {
        bindings.delete(fence, &DeleteParams::default()).await.unwrap();
    }
}

/// A control plane with all of it.
pub async fn control_plane() -> ControlPlane {
    let started = Instant::now();
    let plane = ControlPlane::start().await.unwrap();
    let admin = plane.client();
    apply_own_crds(&admin).await;
    apply_file(&admin, "manifests/install.yaml").await;
    apply_routes_crd(&admin).await;
    for file in ["platform.yaml", "application.yaml"] {
        apply_file(&admin, &format!("tests/cases/fixtures/{file}")).await;
    }
    policies_enforced(&admin).await;
    unfenced(&admin).await;
    eprintln!("control plane with the install bundle after {:?}", started.elapsed());
    plane
}

/// One of several replicas, with a lease short enough for a test.
pub fn candidate(identity: &str) -> Candidate {
    Candidate {
        namespace: "his-operator-system".to_owned(),
        name: "his-operator".to_owned(),
        identity: identity.to_owned(),
        timing: Timing {
            duration: Duration::from_secs(6),
            renew: Duration::from_secs(1),
            retry: Duration::from_millis(300),
            margin: Duration::from_secs(2),
        },
    }
}
