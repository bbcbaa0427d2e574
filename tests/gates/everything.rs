//! Every shipped application × every kind of database × every stage of a hospital's life.

use std::sync::Arc;

use his_operator::{
    api::v1alpha1::{
        Autoscaling, CloudNativePgDatabase, Component, DatabaseSpec, EgressFlow, EmbeddedDatabase, EnvVar,
        ExternalDatabase, HospitalApplication, HospitalPlatform, HospitalTenant, InsideAddress, InsideListener,
        PlatformNodes, Replicas, WebhooksDependency, WebhooksSpec,
    },
    names,
    objects::{Desired, Observed, Ref, kind},
    reconcile::pass,
};
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::support::{
    cluster::{Jobs, settle},
    crds, files, inputs, leads_to, patched, root, stem,
};

/// Everything that exists of one hospital at one stage.
#[derive(Clone, Debug)]
pub struct Set {
    /// `APPLICATION-DATABASE-STAGE`.
    pub name: String,
    pub objects: Vec<Value>,
}

pub fn all() -> Vec<Set> {
    let applications = files(&root().join("manifests/applications"), "yaml");
    let databases = [("embedded", embedded()), ("cloudnativepg", cloud_native_pg()), ("external", external())];
    let mut sets = Vec::new();
    for application in applications.iter().map(|path| stem(path)) {
        for (database, spec) in &databases {
            sets.extend(stages(&application, database, spec));
        }
    }
    sets
}

fn embedded() -> DatabaseSpec {
    DatabaseSpec { embedded: Some(EmbeddedDatabase::default()), ..DatabaseSpec::default() }
}

fn cloud_native_pg() -> DatabaseSpec {
    DatabaseSpec { cloud_native_pg: Some(CloudNativePgDatabase::default()), ..DatabaseSpec::default() }
}

fn external() -> DatabaseSpec {
    DatabaseSpec {
        external: Some(ExternalDatabase {
            host: "db.example.org".to_owned(),
            name: "his".to_owned(),
            cidrs: vec!["192.0.2.40/32".to_owned()],
            app_secret: "database-login".to_owned(),
            ..ExternalDatabase::default()
        }),
        ..DatabaseSpec::default()
    }
}

/// New: nothing is there yet. Serving: every lifecycle job has succeeded. Migrating: the next version was asked for.
/// Releasing: both versions are there, the new one is asked, and so is the front door.
fn stages(name: &str, database: &str, spec: &DatabaseSpec) -> Vec<Set> {
    let fixture = |file: &str| root().join("tests/cases/fixtures").join(file);
    let mut platform: HospitalPlatform = patched(&fixture("platform.yaml"), None, name);
    platform.spec.nodes = Some(PlatformNodes { user_namespaces: Some(true) });
    platform.spec.gateway.as_mut().unwrap().inside = Some(inside());
    let shipped = root().join(format!("manifests/applications/{name}.yaml"));
    let mut application: HospitalApplication = patched(&shipped, None, name);
    let mut next = application.spec.versions[0].clone();
    next.version = format!("{}-next", next.version);
    next.images.values_mut().for_each(|image| *image = image.replace("@sha256:0", "@sha256:1"));
    application.spec.versions.push(next.clone());
    let mut tenant: HospitalTenant = patched(&fixture(&format!("{name}-tenant.yaml")), None, name);
    tenant.spec.database = Some(spec.clone());
    call(&mut application, &mut tenant);
    name_outside(&application, &mut tenant);
    grow(&mut application);
    let mut observed = Observed {
        crds: crds(),
        platform: Some(Arc::new(platform)),
        application: Some(Arc::new(application)),
        resolved: [("results.example.org".to_owned(), leads_to(["1.2.3.4".parse().unwrap()]))].into(),
        ..Observed::default()
    };
    provide(&tenant, &mut observed);
    let set = |stage: &str, tenant: &HospitalTenant, observed: &Observed| Set {
        name: format!("{name}-{database}-{stage}"),
        objects: rendered(tenant, observed),
    };
    // A step waits for its database: the first set has everything up to and with the Job of init.
    let mut fresh = observed.clone();
    let starting = settle(&tenant, &mut fresh, Jobs::Running).unwrap();
    let new = set("new", &starting, &without_jobs(&fresh));
    let serving = settle(&tenant, &mut observed, Jobs::Succeeded).unwrap();
    // With the Job that tries the network.
    let mut untried = serving.clone();
    untried.status.as_mut().unwrap().network.proof = None;
    let serves = set("serving", &untried, &observed);
    let is_trial = |object| is_job(object, "network-probe-");
    assert!(serves.objects.iter().any(is_trial), "no trial of the network is rendered");
    let mut upgrade = serving;
    upgrade.spec.application.version = Some(next.version);
    let migrating = set("migrating", &upgrade, &observed);
    let releasing = settle(&upgrade, &mut observed, Jobs::Asking).unwrap();
    let releases = set("releasing", &releasing, &without_jobs(&observed));
    for asks in ["gate-", "prober-"] {
        assert!(releases.objects.iter().any(|object| is_job(object, asks)), "no {asks} is rendered");
    }
    vec![new, serves, migrating, releases]
}

fn is_job(object: &Value, prefix: &str) -> bool {
    object["kind"] == "Job" && object["metadata"]["name"].as_str().unwrap().starts_with(prefix)
}

/// How pods reach the front door, through two listeners.
fn inside() -> InsideAddress {
    InsideAddress {
        service: "envoy".to_owned(),
        port: 443,
        pod_port: 10443,
        authorities: Some("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned()),
        listeners: vec![InsideListener { scheme: "http".to_owned(), port: 80, pod_port: 10080 }],
    }
}

/// Every component may call servers outside, so that the gate is among everything.
fn call(application: &mut HospitalApplication, tenant: &mut HospitalTenant) {
    let value = "{{ webhooks.proxy }}".to_owned();
    application.spec.env.push(EnvVar { name: "HTTPS_PROXY".to_owned(), value });
    application.spec.dependencies.get_or_insert_default().webhooks = Some(WebhooksDependency::default());
    tenant.spec.webhooks = Some(WebhooksSpec { hosts: vec!["hooks.example.org".to_owned()] });
}

/// A server outside by its name, so that the policies of those who follow names are among everything.
fn name_outside(application: &HospitalApplication, tenant: &mut HospitalTenant) {
    let flow = EgressFlow {
        component: application.spec.components[0].name.clone(),
        hosts: vec!["results.example.org".to_owned()],
        port: 443,
        reason: "results of the laboratory".to_owned(),
        ..EgressFlow::default()
    };
    tenant.spec.network.get_or_insert_default().egress.push(flow);
}

/// The load of what answers users decides how many pods it has, so that an autoscaler is among everything.
fn grow(application: &mut HospitalApplication) {
    let with_ports = |component: &&mut Component| !component.ports.is_empty() && component.singleton != Some(true);
    let component = application.spec.components.iter_mut().find(with_ports).unwrap();
    component.replicas = Some(Replicas { min: 2, max: Some(6) });
    component.autoscaling = Some(Autoscaling { cpu_percent: 70 });
}

/// Secrets that people make.
fn provide(tenant: &HospitalTenant, observed: &mut Observed) {
    let spec = &tenant.spec;
    let external = spec.database.iter().filter_map(|database| database.external.as_ref());
    let bindings = spec.bindings.clone().unwrap_or_default();
    let names = external
        .flat_map(|external| std::iter::once(external.app_secret.clone()).chain(external.owner_secret.clone()))
        .chain(bindings.cache.map(|cache| cache.secret))
        .chain(bindings.buckets.into_values().map(|bucket| bucket.secret));
    let namespace = names::namespace(&tenant.name_any());
    for name in names {
        let live = DynamicObject::new(&name, &kind::SECRET.api_resource()).within(&namespace);
        let at = Ref { kind: kind::SECRET, namespace: namespace.clone(), name };
        observed.objects.insert(at, Arc::new(live));
    }
}

/// A Job that is there is kept as it is; here it shall be rendered.
fn without_jobs(observed: &Observed) -> Observed {
    let mut observed = observed.clone();
    observed.objects.retain(|at, _| at.kind.kind != "Job");
    observed
}

/// What exists after the pass: what it renders, and what it leaves as it is.
fn rendered(tenant: &HospitalTenant, observed: &Observed) -> Vec<Value> {
    let pass = pass::plan(&inputs(tenant.clone()), observed).unwrap_or_else(|rejection| panic!("{rejection}"));
    pass.desired.iter().map(|desired| body(desired, observed)).collect()
}

fn body(desired: &Desired, observed: &Observed) -> Value {
    match desired {
        Desired::Apply(object) => object.body.clone(),
        Desired::Generate(generated) => generated.object.body.clone(),
        Desired::Keep(at) => {
            let mut live = serde_json::to_value(observed.objects[at].as_ref()).unwrap();
            let map = live.as_object_mut().unwrap();
            map.remove("status");
            for server_side in ["generation", "resourceVersion"] {
                map["metadata"].as_object_mut().unwrap().remove(server_side);
            }
            live
        }
    }
}
