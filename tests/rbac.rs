//! The operator's rights on a real kube-apiserver: what `manifests/install.yaml` lets it do, and what it refuses.
//!
//! All tests share one control plane; each has names of its own. The operator itself does not run: its user is played.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a test may stop at once, and plays the part of everybody in the cluster"
)]

#[path = "rbac/hospitals.rs"]
mod hospitals;

use std::{
    path::Path,
    process::Command,
    sync::LazyLock,
    time::{Duration, Instant},
};

use e2e::control_plane::ControlPlane;
use his_operator::api::v1alpha1::HospitalTenant;
use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingAdmissionPolicy,
        core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, Secret},
        rbac::v1::RoleBinding,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

const USER: &str = "system:serviceaccount:his-operator-system:his-operator";
const GROUPS: [&str; 3] =
    ["system:serviceaccounts", "system:serviceaccounts:his-operator-system", "system:authenticated"];
const DEADLINE: Duration = Duration::from_mins(1);
const LABEL: &str = "his-operator.io/tenant";
const RETAIN: &str = "his-operator.io/retain";

static WORLD: LazyLock<World> = LazyLock::new(World::start);

struct World {
    runtime: Runtime,
    plane: ControlPlane,
    admin: Client,
    operator: Client,
}

impl World {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let (plane, operator) = runtime.block_on(async {
            let plane = ControlPlane::builder().controller_manager(true).start().await.unwrap();
            let operator = plane.client_for(USER, &GROUPS).await.unwrap();
            (plane, operator)
        });
        let world = Self { admin: plane.client(), runtime, plane, operator };
        world.kubectl(&["apply", "--server-side", "--filename", "manifests/install.yaml"]);
        world.runtime.block_on(enforced(&world.admin));
        world
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|complaint| panic!("kubectl {arguments:?}: {complaint}"))
    }

    fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(ControlPlane::kubectl().unwrap())
            .args(arguments)
            .env("KUBECONFIG", self.plane.kubeconfig_path())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

fn run(test: impl AsyncFnOnce(&'static World)) {
    let world = &*WORLD;
    world.runtime.block_on(test(world));
}

/// Polls until there is no complaint.
async fn eventually(what: &str, mut complaint: impl AsyncFnMut() -> Option<String>) {
    let deadline = Instant::now() + DEADLINE;
    while let Some(complaint) = complaint().await {
        assert!(Instant::now() < deadline, "never happened: {what}: {complaint}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until every policy is seen to refuse: each arrives in the API server on its own.
async fn enforced(admin: &Client) {
    let forged = json!({ "metadata": { "name": "his-forged", "labels": { LABEL: "forged" } } });
    eventually("policies are enforced", async || {
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        match Api::<Namespace>::all(admin.clone()).create(&dry, &read(&forged)).await {
            Ok(_) => Some("a forged namespace is accepted".to_owned()),
            Err(error) => (!error.to_string().contains("only the operator may")).then(|| error.to_string()),
        }
    })
    .await;
}

fn read<K: DeserializeOwned>(value: &Value) -> K {
    serde_json::from_value(value.clone()).unwrap()
}

fn force() -> PatchParams {
    PatchParams::apply("his-operator").force()
}

fn namespace(name: &str, tenant: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { LABEL: tenant } } })
}

fn binding(namespace: &str, role: &str, account: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "his-operator", "namespace": namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": "his-operator-system" }],
    })
}

async fn apply_namespace(client: &Client, value: &Value) -> kube::Result<Namespace> {
    let name = value["metadata"]["name"].as_str().unwrap();
    Api::<Namespace>::all(client.clone()).patch(name, &force(), &Patch::Apply(value)).await
}

async fn apply_binding(client: &Client, value: &Value) -> kube::Result<RoleBinding> {
    let api = Api::<RoleBinding>::namespaced(client.clone(), value["metadata"]["namespace"].as_str().unwrap());
    api.patch("his-operator", &force(), &Patch::Apply(value)).await
}

/// A hospital's namespace as the operator makes it, with its entry.
async fn hospital(world: &World, tenant: &str) -> String {
    let name = format!("his-{tenant}");
    apply_namespace(&world.operator, &namespace(&name, tenant)).await.unwrap();
    apply_binding(&world.operator, &binding(&name, "his-operator-tenant", "his-operator")).await.unwrap();
    let secrets = Api::<Secret>::namespaced(world.operator.clone(), &name);
    eventually("the binding is in force", async || {
        secrets.list(&ListParams::default()).await.err().map(|error| error.to_string())
    })
    .await;
    name
}

async fn create<K>(client: &Client, namespace: &str, name: &str, retained: bool)
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + DeserializeOwned
        + Clone
        + std::fmt::Debug
        + serde::Serialize,
{
    let labels = if retained { json!({ RETAIN: "true" }) } else { json!({}) };
    let api = Api::<K>::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &read(&json!({ "metadata": { "name": name, "labels": labels } })))
        .await
        .unwrap();
}

/// Refused with 403, and the message holds these words.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: kube::Result<T>, words: &str) {
    match result {
        Err(Error::Api(status)) if status.code == 403 && status.message.contains(words) => {}
        other => panic!("expected a refusal with {words:?}, got {other:?}"),
    }
}

#[test]
fn crds_are_established_and_explain_themselves() {
    run(async |world| {
        let crds = Api::<CustomResourceDefinition>::all(world.admin.clone());
        for name in ["hospitalplatforms", "hospitalapplications", "hospitaltenants"] {
            eventually("the CRD is established", async || {
                let crd = crds.get(&format!("{name}.his-operator.io")).await.unwrap();
                let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
                let bad = |c: &&k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionCondition| {
                    (c.type_ == "NonStructuralSchema" && c.status == "True") || (c.type_ == "NamesAccepted" && c.status == "False")
                };
                assert_eq!(conditions.iter().find(bad), None, "{name}");
                let established = conditions.iter().any(|c| c.type_ == "Established" && c.status == "True");
                (!established).then(|| format!("{conditions:?}"))
            })
            .await;
        }
        for (path, words) in [
            ("hospitaltenant.spec", &["DNS name of the hospital", "host\t<string> -required-"][..]),
            ("ht.spec.database.embedded.storage", &["Size of its volume"]),
        ] {
            // What the API server tells of its kinds follows their establishment a little later.
            eventually("kubectl explains it", async || match world.try_kubectl(&["explain", path]) {
                Ok(explained) => (!words.iter().all(|words| explained.contains(words))).then_some(explained),
                Err(complaint) => Some(complaint),
            })
            .await;
        }
    });
}

/// Warnings of the API server's type checker, once it has looked.
async fn warnings(policies: &Api<ValidatingAdmissionPolicy>, name: &str) -> String {
    let mut found = String::new();
    eventually("the policy is type-checked", async || {
        let policy = policies.get(name).await.unwrap();
        let status = policy.status.unwrap_or_default();
        let warnings = status.type_checking.and_then(|checking| checking.expression_warnings).unwrap_or_default();
        found = warnings.iter().map(|warning| warning.warning.as_str()).collect();
        (status.observed_generation != policy.metadata.generation).then(|| "not observed yet".to_owned())
    })
    .await;
    found
}

#[test]
fn admission_policies_compile_without_a_warning() {
    run(async |world| {
        let policies = Api::<ValidatingAdmissionPolicy>::all(world.admin.clone());
        for name in [
            "his-operator-tenant-bindings",
            "his-operator-tenant-namespaces",
            "his-operator-retained-data",
            "his-operator-tenant-services",
            "his-operator-tenant-pods",
            "his-operator-tenant-flows",
            "his-operator-tenant-named-flows",
        ] {
            assert_eq!(warnings(&policies, name).await, "", "{name}");
        }
        // The same check notices a field that does not exist.
        let mut mutant = policies.get("his-operator-tenant-bindings").await.unwrap();
        mutant.metadata = kube::api::ObjectMeta { name: Some("mutant".to_owned()), ..Default::default() };
        mutant.status = None;
        mutant.spec.as_mut().unwrap().validations.as_mut().unwrap()[0].expression =
            "object.roleReference.kind == 'x'".to_owned();
        policies.create(&PostParams::default(), &mutant).await.unwrap();
        let found = warnings(&policies, "mutant").await;
        assert!(found.contains("roleReference"), "{found}");
    });
}

#[test]
fn the_operators_own_pods_keep_the_restricted_standard() {
    run(async |world| {
        let pods = Api::<Pod>::namespaced(world.admin.clone(), "his-operator-system");
        eventually("two pods are admitted", async || {
            let found = pods.list(&ListParams::default()).await.unwrap().items.len();
            (found != 2).then(|| {
                format!("{found} pods; {}", world.kubectl(&["get", "events", "--namespace", "his-operator-system"]))
            })
        })
        .await;
    });
}

#[test]
fn the_operator_enters_a_hospital_and_reads_secrets_there_and_nowhere_else() {
    run(async |world| {
        let all = Api::<Secret>::all(world.operator.clone());
        let name = hospital(world, "enters").await;
        create::<Secret>(&world.operator, &name, "password", true).await;
        refused(all.list(&ListParams::default()).await, "cannot list resource \"secrets\"");
        for elsewhere in ["default", "his-operator-system", "kube-system"] {
            let secrets = Api::<Secret>::namespaced(world.operator.clone(), elsewhere);
            refused(secrets.list(&ListParams::default()).await, "cannot list resource \"secrets\"");
        }
    });
}

#[test]
fn the_operator_binds_no_other_role_nobody_else_and_nowhere_else() {
    run(async |world| {
        let operator = &world.operator;
        let name = hospital(world, "binds").await;
        for other in ["default", "kube-system", "his-operator-system"] {
            let mut entry = binding(other, "his-operator-tenant", "his-operator");
            entry["metadata"]["name"] = "entry".into();
            let bindings = Api::<RoleBinding>::namespaced(operator.clone(), other);
            refused(bindings.create(&PostParams::default(), &read(&entry)).await, "only in a hospital's namespace");
        }
        let mut second = binding(&name, "his-operator-tenant", "default");
        refused(apply_binding(operator, &second).await, "to itself only");
        second["subjects"] =
            json!([{ "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated" }]);
        refused(apply_binding(operator, &second).await, "to itself only");
        let mut admin = binding(&name, "cluster-admin", "his-operator");
        admin["metadata"]["name"] = "more".into();
        let bindings = Api::<RoleBinding>::namespaced(operator.clone(), &name);
        // Both RBAC and the policy stand against this one; RBAC speaks first.
        refused(bindings.create(&PostParams::default(), &read(&admin)).await, "");
        refused(bindings.delete("his-operator", &DeleteParams::default()).await, "cannot delete resource");
    });
}

#[test]
fn nobody_but_the_operator_opens_or_closes_a_namespace() {
    run(async |world| {
        let admin = &world.admin;
        let only = "only the operator may set, change or remove label";
        refused(apply_namespace(admin, &namespace("his-opened", "opened")).await, only);
        let namespaces = Api::<Namespace>::all(admin.clone());
        let plain = json!({ "metadata": { "name": "plain" } });
        namespaces.create(&PostParams::default(), &read(&plain)).await.unwrap();
        let label = |value: Value| Patch::Merge(json!({ "metadata": { "labels": { LABEL: value } } }));
        let parameters = PatchParams::default();
        refused(namespaces.patch("plain", &parameters, &label(json!("plain"))).await, only);
        refused(namespaces.patch_status("plain", &parameters, &label(json!("plain"))).await, only);
        let finalized = json!({ "metadata": { "name": "plain", "labels": { LABEL: "plain" } } });
        let put = namespaces
            .replace_subresource("finalize", "plain", &PostParams::default(), &read::<Namespace>(&finalized))
            .await;
        refused(put, only);

        let name = hospital(world, "closed").await;
        refused(namespaces.patch(&name, &parameters, &label(json!("other"))).await, only);
        refused(namespaces.patch(&name, &parameters, &label(Value::Null)).await, only);
        let harmless = Patch::Merge(json!({ "metadata": { "labels": { "team": "wards" } } }));
        namespaces.patch(&name, &parameters, &harmless).await.unwrap();
        // An administrator can still remove the hospital's namespace.
        namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
        eventually("the namespace goes", async || {
            namespaces.get_opt(&name).await.unwrap().map(|left| format!("{:?}", left.status))
        })
        .await;
    });
}

#[test]
fn the_operator_takes_over_no_namespace_and_leaves_its_names_to_none() {
    run(async |world| {
        let named = "only namespaces named his-NAME";
        refused(apply_namespace(&world.operator, &namespace("elsewhere", "elsewhere")).await, named);
        refused(apply_namespace(&world.operator, &namespace("his-mine", "yours")).await, named);
        let mut unlabelled = namespace("his-unlabelled", "x");
        unlabelled["metadata"]["labels"] = json!({});
        refused(apply_namespace(&world.operator, &unlabelled).await, named);

        let theirs = json!({ "metadata": { "name": "his-theirs" } });
        Api::<Namespace>::all(world.admin.clone()).create(&PostParams::default(), &read(&theirs)).await.unwrap();
        refused(apply_namespace(&world.operator, &namespace("his-theirs", "theirs")).await, "may not take over");
        // Its own namespace looks like a hospital's name, but is none.
        refused(
            apply_namespace(&world.operator, &namespace("his-operator-system", "operator-system")).await,
            "may not take over",
        );
        let namespaces = Api::<Namespace>::all(world.operator.clone());
        refused(namespaces.delete("his-theirs", &DeleteParams::default()).await, "cannot delete resource");
    });
}

#[test]
fn the_operator_deletes_nothing_that_is_retained() {
    run(async |world| {
        let name = hospital(world, "retained").await;
        let (operator, now) = (&world.operator, DeleteParams::default());
        create::<ConfigMap>(operator, &name, "ledger", true).await;
        create::<ConfigMap>(operator, &name, "settings", false).await;
        let maps = Api::<ConfigMap>::namespaced(operator.clone(), &name);
        refused(maps.delete("ledger", &now).await, "may not delete what carries label");
        let unlabel = Patch::Merge(json!({ "metadata": { "labels": { RETAIN: null } } }));
        refused(maps.patch("ledger", &PatchParams::default(), &unlabel).await, "may not take label");
        maps.delete("settings", &now).await.unwrap();

        let secrets = Api::<Secret>::namespaced(operator.clone(), &name);
        create::<Secret>(operator, &name, "database-app", true).await;
        create::<Secret>(operator, &name, "database-app.rescue", true).await;
        refused(secrets.delete("database-app", &now).await, "may not delete what carries label");
        secrets.delete("database-app.rescue", &now).await.unwrap();
        refused(secrets.delete_collection(&now, &ListParams::default()).await, "cannot deletecollection resource");

        let claims = Api::<PersistentVolumeClaim>::namespaced(operator.clone(), &name);
        refused(claims.delete("database", &now).await, "cannot delete resource");
        // An administrator is not held by it.
        Api::<ConfigMap>::namespaced(world.admin.clone(), &name).delete("ledger", &now).await.unwrap();
    });
}

#[test]
fn the_operator_has_no_other_power() {
    run(async |world| {
        let operator = &world.operator;
        let tenants = Api::<HospitalTenant>::all(operator.clone());
        let tenant = json!({ "apiVersion": "his-operator.io/v1alpha1", "kind": "HospitalTenant", "metadata": { "name": "x" }, "spec": { "host": "x.example.org", "application": { "name": "a", "version": "1" } } });
        refused(tenants.create(&PostParams::default(), &read(&tenant)).await, "cannot create resource");
        refused(tenants.delete("x", &DeleteParams::default()).await, "cannot delete resource");
        let policies = Api::<ValidatingAdmissionPolicy>::all(operator.clone());
        refused(
            policies.delete("his-operator-retained-data", &DeleteParams::default()).await,
            "cannot delete resource",
        );
        let pods = Api::<Pod>::namespaced(operator.clone(), "his-operator-system");
        refused(pods.delete("x", &DeleteParams::default()).await, "cannot delete resource");
    });
}

#[test]
fn samples_and_applications_are_accepted_as_they_are() {
    run(async |world| {
        for dir in ["manifests/applications", "manifests/samples"] {
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(dir).is_dir());
            world.kubectl(&["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", dir]);
        }
    });
}
