//! Caches, writer and lease against a real kube-apiserver.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::default_trait_access,
    clippy::needless_pass_by_value,
    reason = "a test may stop at once"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use e2e::control_plane::ControlPlane;
use futures::StreamExt;
use his_operator::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant, HospitalTenantStatus},
    capabilities,
    cluster::{Caches, Candidate, Connections, Election, Error, Fence, Timing, Writer, needs_rescue, twin_of},
    metrics::Metrics,
    names,
    objects::{
        Generated, Kind, Material, Object, Ref,
        kind::{CONFIG_MAP, HTTP_ROUTE, NAMESPACE, NETWORK_POLICY, SECRET},
    },
    ports::{SystemClock, SystemEntropy},
};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResourceExt, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// Polls a condition until it holds.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn put(client: &Client, kind: Kind, body: Value) -> DynamicObject {
    let object = Object::new(kind, &body);
    let api: Api<DynamicObject> = if object.at.namespace.is_empty() {
        Api::all_with(client.clone(), &kind.api_resource())
    } else {
        Api::namespaced_with(client.clone(), &object.at.namespace, &kind.api_resource())
    };
    api.patch(&object.at.name, &PatchParams::apply("test").force(), &Patch::Apply(&object.body)).await.unwrap()
}

async fn establish(client: &Client, crd: CustomResourceDefinition) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    api.create(&PostParams::default(), &crd).await.unwrap();
    eventually("CRD established", async || {
        let crd = api.get_status(&crd.name_any()).await.unwrap();
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
    })
    .await;
}

async fn own_crds(client: &Client) {
    establish(client, HospitalTenant::crd()).await;
    establish(client, HospitalPlatform::crd()).await;
    establish(client, HospitalApplication::crd()).await;
}

fn route_crd() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "metadata": {"name": HTTP_ROUTE.crd, "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
        "spec": {
            "group": HTTP_ROUTE.group, "scope": "Namespaced",
            "names": {"kind": HTTP_ROUTE.kind, "plural": HTTP_ROUTE.plural},
            "versions": [{"name": HTTP_ROUTE.version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]
        }
    }))
    .unwrap()
}

async fn tenant(client: &Client, name: &str) -> HospitalTenant {
    let tenant: HospitalTenant = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"application": {"name": "emr", "version": "1"}, "host": format!("{name}.example.org")}
    }))
    .unwrap();
    Api::<HospitalTenant>::all(client.clone()).create(&PostParams::default(), &tenant).await.unwrap()
}

fn labelled(name: &str, namespace: &str, tenant: &str) -> Value {
    json!({"name": name, "namespace": namespace, "labels": {names::MANAGED_BY: names::PRODUCT, names::TENANT: tenant}})
}

async fn namespace(client: &Client, name: &str) {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
}

fn writer(client: Client, fence: Fence) -> (Writer, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    (Writer::new(client, fence, Arc::clone(&metrics), Arc::new(SystemClock), Arc::new(SystemEntropy)), metrics)
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_follow_the_cluster_and_observing_costs_no_request() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client();
    own_crds(&client).await;
    let hospital = tenant(&client, "st-elsewhere").await;
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig_for("operator", &["system:masters"]).unwrap()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let (caches, mut woken) =
        Caches::start(Connections::to(config).unwrap(), capabilities::kinds(), Arc::default(), Arc::new(SystemClock));
    timeout(PATIENCE, caches.synced()).await.unwrap();
    assert_eq!(timeout(PATIENCE, woken.next()).await.unwrap().unwrap().name, "st-elsewhere");

    // A namespace that somebody else made is seen by its name.
    namespace(&client, "his-st-elsewhere").await;
    eventually("namespace seen", async || caches.observe(&hospital).get(NAMESPACE, "", "his-st-elsewhere").is_some())
        .await;
    assert_eq!(timeout(PATIENCE, woken.next()).await.unwrap().unwrap().name, "st-elsewhere");

    let at = labelled("web", "his-st-elsewhere", "st-elsewhere");
    put(&client, CONFIG_MAP, json!({"metadata": at, "data": {"a": "b"}})).await;
    eventually("child seen", async || caches.observe(&hospital).get(CONFIG_MAP, "his-st-elsewhere", "web").is_some())
        .await;
    let seen = caches.observe(&hospital);
    let map = seen.get(CONFIG_MAP, "his-st-elsewhere", "web").unwrap();
    assert_eq!((map.data["data"]["a"].as_str(), &map.metadata.managed_fields), (Some("b"), &None));

    secrets_are_seen_once_the_namespace_lets_the_operator_in(&client, &caches, &hospital).await;
    kinds_come_and_go_with_their_crd(&client, &caches, &hospital).await;

    let requests = async || plane.requests_by("operator").unwrap().len();
    let mut before = requests().await;
    eventually("quiet", async || {
        sleep(Duration::from_millis(300)).await;
        let now = requests().await;
        std::mem::replace(&mut before, now) == now
    })
    .await;
    for _ in 0..100 {
        assert!(!caches.observe(&hospital).objects.is_empty());
    }
    sleep(Duration::from_millis(300)).await;
    assert_eq!(requests().await, before);
}

async fn secrets_are_seen_once_the_namespace_lets_the_operator_in(
    client: &Client,
    caches: &Caches,
    hospital: &HospitalTenant,
) {
    let secret = json!({"metadata": {"name": "cache-password", "namespace": "his-st-elsewhere"}, "stringData": {"password": "hunter2"}});
    put(client, SECRET, secret).await;
    assert!(caches.observe(hospital).get(SECRET, "his-st-elsewhere", "cache-password").is_none());
    let binding = json!({
        "metadata": labelled("his-operator", "his-st-elsewhere", "st-elsewhere"),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": names::TENANT_ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": "his-operator", "namespace": "his-operator-system"}],
    });
    put(client, his_operator::objects::kind::ROLE_BINDING, binding).await;
    let seen = async || caches.observe(hospital).get(SECRET, "his-st-elsewhere", "cache-password").cloned();
    eventually("secret seen", async || seen().await.is_some()).await;
    let secret = serde_json::to_string(&seen().await.unwrap()).unwrap();
    assert!(!secret.contains("hunter2") && !secret.contains("aHVudGVyMg"), "only metadata may be cached");
    assert!(caches.is_settled(hospital));
}

/// Lets a user see everything but Secrets, and these only where `names::TENANT_ROLE` is bound.
async fn grant(client: &Client, user: &str, secrets: bool) {
    use his_operator::objects::kind::ROLE_BINDING;
    use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
    let look = json!(["get", "list", "watch"]);
    let core = [
        "namespaces",
        "serviceaccounts",
        "configmaps",
        "services",
        "resourcequotas",
        "limitranges",
        "pods",
        "persistentvolumeclaims",
    ];
    let groups = [
        "apps",
        "batch",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "apiextensions.k8s.io",
        names::GROUP,
        HTTP_ROUTE.group,
    ];
    let all: ClusterRole = serde_json::from_value(json!({"metadata": {"name": "all"}, "rules": [
        {"apiGroups": [""], "resources": core, "verbs": look}, {"apiGroups": groups, "resources": ["*"], "verbs": look},
    ]}))
    .unwrap();
    let rules = if secrets { json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": look}]) } else { json!([]) };
    let inside: ClusterRole =
        serde_json::from_value(json!({"metadata": {"name": names::TENANT_ROLE}, "rules": rules})).unwrap();
    let subjects = json!([{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]);
    let bound: ClusterRoleBinding = serde_json::from_value(json!({"metadata": {"name": "all"}, "subjects": subjects,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "all"}}))
    .unwrap();
    let by = PatchParams::apply("test").force();
    let roles: Api<ClusterRole> = Api::all(client.clone());
    roles.patch("all", &by, &Patch::Apply(&all)).await.unwrap();
    roles.patch(names::TENANT_ROLE, &by, &Patch::Apply(&inside)).await.unwrap();
    Api::<ClusterRoleBinding>::all(client.clone()).patch("all", &by, &Patch::Apply(&bound)).await.unwrap();
    put(
        client,
        ROLE_BINDING,
        json!({
            "metadata": labelled("his-operator", "his-st-elsewhere", "st-elsewhere"), "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": names::TENANT_ROLE},
        }),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_may_not_be_seen_are_unknown_and_not_absent() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client();
    own_crds(&client).await;
    let hospital = tenant(&client, "st-elsewhere").await;
    namespace(&client, "his-st-elsewhere").await;
    put(&client, SECRET, json!({"metadata": labelled("app", "his-st-elsewhere", "st-elsewhere")})).await;
    let limited = plane.client_for("limited", &[]).await.unwrap();

    // As after a restart with rights that somebody took away.
    grant(&client, "limited", false).await;
    let (caches, _woken) = Caches::start(limited, capabilities::kinds(), Arc::default(), Arc::new(SystemClock));
    timeout(PATIENCE, caches.synced()).await.unwrap();
    eventually("the refusal is told", async || caches.refusal(&hospital).is_some()).await;
    assert!(!caches.is_known(&hospital) && !caches.is_settled(&hospital));
    let why = caches.refusal(&hospital).unwrap();
    assert!(why.contains("watch of Secret") && why.contains("forbidden"), "{why}");

    grant(&client, "limited", true).await;
    eventually("the namespace is known", async || caches.is_known(&hospital)).await;
    assert!(caches.observe(&hospital).get(SECRET, "his-st-elsewhere", "app").is_some());
    assert_eq!(caches.refusal(&hospital), None);
}

async fn kinds_come_and_go_with_their_crd(client: &Client, caches: &Caches, hospital: &HospitalTenant) {
    assert!(!caches.observe(hospital).serves(HTTP_ROUTE));
    establish(client, route_crd()).await;
    eventually("kind served", async || caches.observe(hospital).serves(HTTP_ROUTE)).await;
    put(client, HTTP_ROUTE, json!({"metadata": labelled("public", "his-st-elsewhere", "st-elsewhere")})).await;
    let seen = async || caches.observe(hospital).get(HTTP_ROUTE, "his-st-elsewhere", "public").is_some();
    eventually("route seen", seen).await;
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.delete(HTTP_ROUTE.crd.unwrap(), &DeleteParams::default()).await.unwrap();
    eventually("kind gone", async || !caches.observe(hospital).serves(HTTP_ROUTE) && !seen().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_refused_holds_up_no_other() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client();
    own_crds(&client).await;
    let hospital = tenant(&client, "st-elsewhere").await;
    let rules = json!([
        {"apiGroups": [names::GROUP, "apiextensions.k8s.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["configmaps", "namespaces"], "verbs": ["list", "watch"]},
    ]);
    for (kind, body) in [
        ("ClusterRole", json!({"rules": rules})),
        (
            "ClusterRoleBinding",
            json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "narrow"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "narrow"}],
            }),
        ),
    ] {
        let gvk = kube::api::GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", kind);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kube::api::ApiResource::from_gvk(&gvk));
        let mut object =
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "narrow"}});
        object.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }
    let metrics = Arc::new(Metrics::default());
    let narrow = plane.client_for("narrow", &[]).await.unwrap();
    let (caches, _woken) = Caches::start(narrow, capabilities::kinds(), Arc::clone(&metrics), Arc::new(SystemClock));
    timeout(PATIENCE, caches.synced()).await.unwrap();
    assert!(metrics.text().contains(r#"kind="Deployment",reason="forbidden""#));
    namespace(&client, "his-st-elsewhere").await;
    let at = labelled("web", "his-st-elsewhere", "st-elsewhere");
    put(&client, CONFIG_MAP, json!({"metadata": at})).await;
    eventually("child seen", async || caches.observe(&hospital).get(CONFIG_MAP, "his-st-elsewhere", "web").is_some())
        .await;
}

fn generated(name: &str) -> Generated {
    let metadata = labelled(name, "his-st-elsewhere", "st-elsewhere");
    let values =
        [("password".to_owned(), Material::Password(24)), ("user".to_owned(), Material::Literal("app".to_owned()))];
    Generated { object: Object::new(SECRET, &json!({"metadata": metadata})), values: values.into() }
}

fn content(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.clone().unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_made_once_and_comes_back_with_its_value_when_deleted() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client();
    namespace(&client, "his-st-elsewhere").await;
    let (writer, metrics) = writer(client.clone(), Fence::open());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "his-st-elsewhere");
    let wanted = generated("database");
    let at = wanted.object.at.clone();

    writer.generate(&wanted, false).await.unwrap();
    let first = secrets.get("database").await.unwrap();
    assert_eq!((content(&first)["password"].len(), content(&first)["user"].as_slice()), (24, b"app".as_slice()));
    assert_eq!((first.immutable, first.finalizers()), (Some(true), [names::KEEP_FINALIZER.to_owned()].as_slice()));
    writer.generate(&wanted, false).await.unwrap();
    assert_eq!(content(&secrets.get("database").await.unwrap()), content(&first));
    assert_eq!(metrics.writes("delete", "Secret", "ok"), 0);

    // Deleted by somebody: restored, under a new UID, with the old value, and nothing left behind.
    secrets.delete("database", &DeleteParams::default()).await.unwrap();
    assert!(secrets.get("database").await.unwrap().metadata.deletion_timestamp.is_some());
    assert!(writer.restore_secret(&at).await.unwrap());
    let second = secrets.get("database").await.unwrap();
    assert_eq!((content(&second), second.metadata.deletion_timestamp.is_some()), (content(&first), false));
    assert_ne!(second.uid(), first.uid());
    assert_eq!(second.labels(), first.labels());
    assert!(secrets.get_opt(&twin_of(&at).name).await.unwrap().is_none());

    // The operator died after it had let the original go: generating must not invent a new password.
    let mut twin = second.clone();
    twin.metadata = kube::core::ObjectMeta {
        name: Some(twin_of(&at).name),
        finalizers: second.metadata.finalizers.clone(),
        ..Default::default()
    };
    secrets.create(&PostParams::default(), &twin).await.unwrap();
    secrets.delete("database", &DeleteParams::default()).await.unwrap();
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    secrets.patch("database", &PatchParams::default(), &free).await.unwrap();
    assert!(secrets.get_opt("database").await.unwrap().is_none());
    writer.generate(&wanted, false).await.unwrap();
    assert_eq!(content(&secrets.get("database").await.unwrap()), content(&first));
    assert!(secrets.get_opt(&twin_of(&at).name).await.unwrap().is_none());
    assert!(!needs_rescue(&his_operator::objects::Observed::default(), &at));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_sends_only_what_is_needed_permitted_and_harmless() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client();
    own_crds(&client).await;
    namespace(&client, "his-st-elsewhere").await;
    let (writer, metrics) = writer(client.clone(), Fence::open());

    let map = Object::new(
        CONFIG_MAP,
        &json!({"metadata": labelled("web", "his-st-elsewhere", "st-elsewhere"), "data": {"a": "1"}}),
    )
    .stamped();
    let live = writer.ensure(&map, None).await.unwrap().unwrap();
    assert!(writer.ensure(&map, Some(&live)).await.unwrap().is_none());
    let mut drifted = live.clone();
    drifted.data["data"]["a"] = json!("2");
    assert!(writer.ensure(&map, Some(&drifted)).await.unwrap().is_some());
    assert_eq!(metrics.writes("apply", "ConfigMap", "ok"), 2);

    // A rule that another manager adds beside ours opens what is closed: it is removed, or said aloud.
    let deny = json!({"metadata": labelled("deny", "his-st-elsewhere", "st-elsewhere"), "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}});
    let deny = Object::new(NETWORK_POLICY, &deny).stamped();
    let live = writer.ensure(&deny, None).await.unwrap().unwrap();
    assert!(writer.ensure(&deny, Some(&live)).await.unwrap().is_none());
    let hole = json!({"metadata": {"name": "deny", "namespace": "his-st-elsewhere"}, "spec": {"podSelector": {}, "egress": [{}]}});
    let open = put(&client, NETWORK_POLICY, hole).await;
    let contested = writer.ensure(&deny, Some(&open)).await.unwrap_err();
    assert!(matches!(&contested, Error::Contested { path, .. } if path == ".spec.egress"), "{contested}");

    let data = Ref { kind: SECRET, namespace: "his-st-elsewhere".to_owned(), name: "database".to_owned() };
    assert!(matches!(writer.delete(&data, "uid").await, Err(Error::DeleteData(_))));
    assert_eq!(writer.delete(&map.at, "another-uid").await.unwrap_err().code(), Some(409));
    let uid = Api::<DynamicObject>::namespaced_with(client.clone(), "his-st-elsewhere", &CONFIG_MAP.api_resource())
        .get("web")
        .await
        .unwrap()
        .uid()
        .unwrap();
    writer.delete(&map.at, &uid).await.unwrap();
    writer.delete(&map.at, &uid).await.unwrap();

    let hospital = tenant(&client, "st-elsewhere").await;
    Box::pin(status_and_finalizer_are_written_only_when_they_differ(&client, &writer, hospital)).await;

    let (fenced, metrics) = self::writer(client.clone(), Fence::closed());
    assert!(matches!(fenced.apply(&map).await, Err(Error::Fenced { .. })));
    assert_eq!(metrics.writes("apply", "ConfigMap", "fenced"), 1);
}

async fn status_and_finalizer_are_written_only_when_they_differ(
    client: &Client,
    writer: &Writer,
    hospital: HospitalTenant,
) {
    let tenants: Api<HospitalTenant> = Api::all(client.clone());
    let full =
        HospitalTenantStatus { url: Some("https://x".to_owned()), observed_generation: Some(1), ..Default::default() };
    assert!(writer.write_status(&hospital, &full).await.unwrap());
    let hospital = tenants.get("st-elsewhere").await.unwrap();
    assert_eq!(hospital.status.as_ref(), Some(&full));
    assert!(!writer.write_status(&hospital, &full).await.unwrap());
    let less = HospitalTenantStatus { observed_generation: Some(1), ..Default::default() };
    assert!(writer.write_status(&hospital, &less).await.unwrap());
    // Seen before the last write, it looks as if nothing had to be written.
    let seen = || writer.with_last_status(Arc::new(hospital.clone()));
    assert!(writer.write_status(&seen(), &full).await.unwrap());
    assert!(writer.write_status(&seen(), &less).await.unwrap());
    let hospital = tenants.get("st-elsewhere").await.unwrap();
    assert_eq!(hospital.status.as_ref().unwrap().url, None, "a field that is no longer said must go");

    assert!(writer.finalizer(&hospital, true).await.unwrap());
    let hospital = tenants.get("st-elsewhere").await.unwrap();
    assert!(!writer.finalizer(&hospital, true).await.unwrap());
    assert!(writer.finalizer(&hospital, false).await.unwrap());
    assert_eq!(tenants.get("st-elsewhere").await.unwrap().finalizers(), &[] as &[String]);
    writer.event(&hospital, false, "DatabaseNotReady", "the database is not ready").await.unwrap();
    writer.event(&hospital, false, "DatabaseNotReady", "the database is not ready").await.unwrap();
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(client.clone(), "default");
    let about = events.list(&Default::default()).await.unwrap().items;
    let ours = |event: &&k8s_openapi::api::events::v1::Event| {
        event.regarding.as_ref().is_some_and(|it| it.uid == hospital.uid())
    };
    assert_eq!(about.iter().filter(ours).count(), 1, "{about:#?}");
}

fn election(client: Client, identity: &str) -> Election {
    let timing = Timing {
        duration: Duration::from_secs(4),
        renew: Duration::from_millis(500),
        retry: Duration::from_millis(200),
        margin: Duration::from_secs(1),
    };
    let candidate = Candidate {
        namespace: "default".to_owned(),
        name: "his-operator".to_owned(),
        identity: identity.to_owned(),
        timing,
    };
    Election::new(client, candidate, Arc::new(SystemClock), Arc::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stops_renewing_stops_writing_before_the_next_one_leads() {
    let plane = ControlPlane::start().await.unwrap();
    let (mut first, mut second) = (election(plane.client(), "first"), election(plane.client(), "second"));
    first.acquire().await;
    let fence = first.fence();
    assert!(fence.permit(PATIENCE).is_some());
    // While the first one renews, the second one waits.
    tokio::select! {
        lost = first.hold() => panic!("{lost}"),
        () = second.acquire() => panic!("two leaders"),
        () = sleep(Duration::from_secs(6)) => {}
    }
    // The first one hangs: nothing renews any more, and nobody tells it.
    let next = second.fence();
    let taken = tokio::spawn(async move {
        second.acquire().await;
        second
    });
    let mut both = false;
    eventually("the second leads", async || {
        both |= fence.permit(PATIENCE).is_some() && next.permit(PATIENCE).is_some();
        next.permit(PATIENCE).is_some()
    })
    .await;
    assert!(!both, "two replicas could write at the same time");
    // The first one wakes up and must notice.
    assert!(!timeout(PATIENCE, first.hold()).await.unwrap().is_empty());

    // A lease that is given back is taken at once.
    let mut second = taken.await.unwrap();
    second.release().await;
    let started = Instant::now();
    let mut third = election(plane.client(), "third");
    timeout(PATIENCE, third.acquire()).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// A free port on loopback, as free as it can be known.
fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Sends one request and returns the whole answer; empty while nobody listens.
async fn http(port: u16, head: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return String::new() };
    let request =
        format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A collector of traces that keeps what it is sent.
async fn collector() -> (u16, Arc<std::sync::Mutex<Vec<u8>>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        }
    });
    (port, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_leads_serves_changes_its_log_level_and_gives_the_lease_back() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client();
    own_crds(&client).await;
    namespace(&client, "his-operator-system").await;
    tenant(&client, "st-elsewhere").await;
    let (public, admin) = (free_port(), free_port());
    let (traces, sent) = collector().await;
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_his-operator"))
        .args([
            "run",
            "--listen",
            &format!("127.0.0.1:{public}"),
            "--admin-port",
            &admin.to_string(),
            "--replica",
            "one",
        ])
        .env("KUBECONFIG", plane.kubeconfig_path())
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env_remove("RUST_LOG")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{traces}"))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("leads", async || http(public, "GET /metrics", "").await.contains("\nhis_operator_leader 1\n")).await;
    eventually("ready", async || http(public, "GET /readyz", "").await.starts_with("HTTP/1.1 200")).await;
    assert!(http(public, "GET /livez", "").await.starts_with("HTTP/1.1 200"));
    let reconciled = async || http(public, "GET /metrics", "").await.contains("his_operator_reconciles_total{");
    eventually("reconciled", reconciled).await;
    assert!(http(admin, "GET /log-level", "").await.ends_with("info\n"));
    assert!(http(admin, "PUT /log-level", "his_operator=debug,warn").await.starts_with("HTTP/1.1 200"));
    assert!(http(admin, "GET /log-level", "").await.contains("his_operator=debug"));
    assert!(http(admin, "PUT /log-level", "his_operator=loud").await.starts_with("HTTP/1.1 400"));
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::namespaced(client.clone(), "his-operator-system");
    let holder = async || leases.get("his-operator").await.unwrap().spec.unwrap().holder_identity;
    assert!(holder().await.unwrap().starts_with("one-"));

    let id = process.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let ended = timeout(PATIENCE, process.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
    assert_eq!(holder().await, None);
    let sent = String::from_utf8_lossy(&sent.lock().unwrap()).into_owned();
    assert!(sent.contains("POST /v1/traces") && sent.contains("reconcile") && sent.contains("st-elsewhere"), "{sent}");
    let mut log = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut process.stdout.take().unwrap(), &mut log).await.unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
}
