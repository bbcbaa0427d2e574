//! Random hospitals that are valid: whatever an application team and a hospital may write.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use his_operator::{
    api::v1alpha1::{
        Autoscaling, BucketBinding, BucketDependency, CacheBinding, CacheDependency, CloudNativePgDatabase, Component,
        Connection, DatabaseDependency, DatabaseSpec, Dependencies, EgressFlow, EmbeddedDatabase, EnvVar, Exception,
        ExternalDatabase, File, Floors, GeneratedSecret, HospitalApplication, HospitalPlatform, HospitalTenant,
        Lifecycle, Off, PlatformCluster, PlatformNodes, Port, Probe, Probes, Replicas, Role, Route, RpcPostProbe,
        SecretKind, SecurityRule, Step, TcpProbe, WebhooksDependency, WebhooksSpec, WritablePath,
    },
    objects::Observed,
};
use proptest::prelude::*;

use crate::support::{crds, leads_to, patched, root};

/// A hospital with all that it refers to.
#[derive(Clone, Debug)]
pub struct Hospital {
    pub platform: HospitalPlatform,
    pub application: HospitalApplication,
    pub tenant: HospitalTenant,
}

impl Hospital {
    pub fn observed(&self) -> Observed {
        Observed {
            crds: crds(),
            platform: Some(Arc::new(self.platform.clone())),
            application: Some(Arc::new(self.application.clone())),
            resolved: BTreeMap::from([
                (NAMED.to_owned(), leads_to(LEADS_TO.map(|text| text.parse().unwrap()))),
                (PUBLIC.to_owned(), leads_to(["1.2.3.5".parse().unwrap()])),
            ]),
            ..Observed::default()
        }
    }

    /// One of the shipped applications, as its case has it.
    pub fn shipped(name: &str) -> Self {
        let fixture = |file: String| root().join("tests/cases/fixtures").join(file);
        Self {
            platform: patched(&fixture("platform.yaml".to_owned()), None, name),
            application: patched(&root().join(format!("manifests/applications/{name}.yaml")), None, name),
            tenant: patched(&fixture(format!("{name}-tenant.yaml")), None, name),
        }
    }

    /// The fixture: a small application that uses everything once.
    pub fn fixture() -> Self {
        let file = |name: &str| root().join("tests/cases/fixtures").join(name);
        Self {
            platform: patched(&file("platform.yaml"), None, "fixture"),
            application: patched(&file("application.yaml"), None, "fixture"),
            tenant: patched(&file("tenant.yaml"), None, "fixture"),
        }
    }

    /// One of its components calls servers outside.
    pub fn calling(mut self, caller: usize) -> Self {
        let spec = &mut self.application.spec;
        spec.dependencies.get_or_insert_default().webhooks = Some(WebhooksDependency::default());
        let value = "{{ webhooks.proxy }}".to_owned();
        spec.components[caller].env.push(EnvVar { name: "HTTPS_PROXY".to_owned(), value });
        self.tenant.spec.webhooks = Some(WebhooksSpec { hosts: vec!["*.example.org".to_owned()] });
        self
    }

    /// One of its components calls a server by its name, and two ranges of private addresses beside it.
    pub fn naming(mut self, component: usize) -> Self {
        let name = self.application.spec.components[component].name.clone();
        let named = egress_of(&name, RANGES.len(), 443);
        let private = EgressFlow { hosts: Vec::new(), cidrs: vec!["192.168.0.0/24".to_owned()], ..named.clone() };
        self.tenant.spec.network.get_or_insert_default().egress.extend([named, private]);
        self
    }

    /// The load of one of its components decides how many pods it has.
    pub fn growing(mut self, component: usize) -> Self {
        let component = &mut self.application.spec.components[component];
        component.replicas = Some(Replicas { min: 2, max: Some(6) });
        component.autoscaling = Some(Autoscaling { cpu_percent: 70 });
        self
    }

    /// Adds a component, with all that it may bring along.
    pub fn with_component(mut self, mut component: Component) -> Self {
        let images = self.application.spec.versions.first().map(|version| version.images.clone()).unwrap_or_default();
        component.image = images.keys().next().cloned().unwrap_or_default();
        component.connects_to.retain(|connection| connection.component == component.name);
        self.application.spec.components.retain(|known| known.name != component.name);
        self.application.spec.components.push(component);
        let ports: BTreeSet<_> = ends(&self.application.spec.components);
        for component in &mut self.application.spec.components {
            component
                .connects_to
                .retain(|connection| ports.contains(&(connection.component.clone(), connection.port.clone())));
        }
        self
    }
}

/// Whom others may connect to: component and name of a port.
fn ends(components: &[Component]) -> BTreeSet<(String, String)> {
    let of = |component: &Component| {
        let name = component.name.clone();
        component.ports.iter().map(move |port| (name.clone(), port.name.clone())).collect::<Vec<_>>()
    };
    components.iter().flat_map(of).collect()
}

const NAME: &str = "[a-z]([-a-z0-9]{0,28}[a-z0-9])?";
const TEMPLATES: [&str; 6] = [
    "",
    "host = {{ tenant.host }}\n",
    "{{ tenant.url }} costs $5 and $(MORE) ${secret:not/a-secret}",
    "key = {{ secrets.session_key }}",
    "{{ secrets.session_key }}{{ secrets.session_key }}",
    "version {{ tenant.version }} for {{ tenant.name }} in {{ tenant.namespace }}",
];

prop_compose! {
    fn port()(name in "[a-z]([-a-z0-9]{0,13}[a-z0-9])?", port in 1024..=65535_i32) -> Port {
        Port { name, port }
    }
}

prop_compose! {
    fn file()(name in "[a-z]{1,12}", template in prop::sample::select(&TEMPLATES[..])) -> File {
        File { path: format!("/etc/random/{name}.conf"), template: template.to_owned() }
    }
}

prop_compose! {
    fn variable()(name in "[A-GI-Z][A-Z0-9_]{0,20}", secret in any::<bool>(), plain in prop::sample::select(&TEMPLATES[..3])) -> (EnvVar, bool) {
        let value = if secret { "{{ secrets.session_key }}" } else { plain };
        (EnvVar { name, value: value.to_owned() }, secret)
    }
}

fn probes(port: Option<&Port>) -> Option<Probes> {
    let port = port?.name.clone();
    let rpc = RpcPostProbe { path: "/".to_owned(), port: port.clone(), body: "{}".to_owned(), expect: None };
    Some(Probes {
        startup: Some(Probe { rpc_post: Some(rpc), ..Probe::default() }),
        readiness: Some(Probe { tcp: Some(TcpProbe { port }), ..Probe::default() }),
        liveness: None,
    })
}

fn unique<T, K: Ord>(list: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    list.into_iter().map(|entry| (key(&entry), entry)).collect::<BTreeMap<_, _>>().into_values().collect()
}

prop_compose! {
    pub fn component()(
        name in NAME.prop_filter("the operator's own", |name| !["contract", "database", "gate", "init", "migrate", "prober"].contains(&name.as_str())),
        role in prop::sample::select(vec![Role::Web, Role::Worker, Role::Scheduler, Role::Frontend]),
        ports in prop::collection::vec(port(), 0..3),
        files in prop::collection::vec(file(), 0..3),
        env in prop::collection::vec(variable(), 0..4),
        writable in prop::collection::vec("/var/[a-z]{1,10}", 0..3),
        min in 1..4_i32,
        room in prop::option::weighted(0.3, 1..6_i32),
        with_probes in any::<bool>(),
        loose in any::<bool>(),
    ) -> Component {
        let singleton = role == Role::Scheduler;
        let ports = unique(ports, |port| port.name.clone());
        let ports = unique(ports, |port| port.port);
        let secret = env.iter().any(|(_, secret)| *secret);
        let rule = |rule| Exception { rule, reason: "a reason of some length".to_owned() };
        let mut exceptions: Vec<_> = secret.then(|| rule(SecurityRule::SecretInEnv)).into_iter().collect();
        if loose {
            exceptions.extend([rule(SecurityRule::WritableRoot), rule(SecurityRule::SchemaChangesAtRuntime)]);
        }
        Component {
            probes: probes(ports.first().filter(|_| with_probes)),
            routes: ports.first().map(|port| Route { path: format!("/{name}"), port: port.name.clone() }).into_iter().collect(),
            connects_to: ports.first().map(|port| Connection { component: name.clone(), port: port.name.clone() }).into_iter().collect(),
            name,
            role,
            image: "random".to_owned(),
            replicas: (!singleton).then_some(Replicas { min, max: room.map(|room| min + room) }),
            autoscaling: room.filter(|_| !singleton).map(|room| Autoscaling { cpu_percent: 10 * room }),
            singleton: singleton.then_some(true),
            ports,
            env: unique(env.into_iter().map(|(variable, _)| variable).collect(), |variable| variable.name.clone()),
            files: unique(files, |file| file.path.clone()),
            writable_paths: unique(writable, Clone::clone).into_iter().map(|path| WritablePath { path, size: None }).collect(),
            exceptions,
            ..Component::default()
        }
    }
}

fn step(command: &str) -> Step {
    Step { image: "random".to_owned(), command: vec![command.to_owned()], ..Step::default() }
}

prop_compose! {
    fn application()(
        components in prop::collection::vec(component(), 1..6),
        init in any::<bool>(),
        migrate in any::<bool>(),
        cache in any::<bool>(),
        buckets in prop::collection::vec("[a-z]([a-z0-9_]{0,10}[a-z0-9])?", 0..3),
        kind in prop::sample::select(vec![SecretKind::Random, SecretKind::Rsa, SecretKind::Jwks]),
        database in any::<bool>(),
        links in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..8),
    ) -> HospitalApplication {
        let mut application = HospitalApplication::default();
        application.metadata.name = Some("random".to_owned());
        let spec = &mut application.spec;
        "Random".clone_into(&mut spec.title);
        for (version, digit) in [("1", "1"), ("2", "2")] {
            let image = format!("registry.example.org/random@sha256:{}", digit.repeat(64));
            spec.versions.push(his_operator::api::v1alpha1::ApplicationVersion {
                version: version.to_owned(),
                images: BTreeMap::from([("random".to_owned(), image)]),
                schema: Some(1),
            });
        }
        spec.components = unique(components, |component| component.name.clone());
        let ports: Vec<_> = ends(&spec.components).into_iter().collect();
        for (from, to) in links.iter().filter(|_| !ports.is_empty()) {
            let (component, port) = to.get(&ports).clone();
            let (from, link) = (from.index(spec.components.len()), Connection { component, port });
            if !spec.components[from].connects_to.contains(&link) {
                spec.components[from].connects_to.push(link);
            }
        }
        spec.secrets = vec![GeneratedSecret { name: "session_key".to_owned(), kind }];
        spec.lifecycle = Some(Lifecycle { init: init.then(|| step("init")), migrate: migrate.then(|| step("migrate")), contract: migrate.then(|| step("contract")) });
        spec.dependencies = Some(Dependencies {
            database: database.then(DatabaseDependency::default),
            cache: cache.then(CacheDependency::default),
            buckets: unique(buckets, Clone::clone).into_iter().map(|name| BucketDependency { name }).collect(),
            webhooks: None,
        });
        application
    }
}

/// Bindings for everything that the application asks for, in Secrets with names that people may choose.
fn bind(tenant: &mut HospitalTenant, application: &HospitalApplication, secret: &str) {
    let dependencies = application.spec.dependencies.clone().unwrap_or_default();
    let bindings = tenant.spec.bindings.get_or_insert_default();
    let cidrs = vec!["192.0.2.10/32".to_owned()];
    bindings.cache = dependencies.cache.map(|_| CacheBinding {
        host: "cache.example.org".to_owned(),
        port: None,
        cidrs: cidrs.clone(),
        secret: secret.to_owned(),
    });
    for bucket in dependencies.buckets {
        let binding = BucketBinding {
            endpoint: "https://s3.example.org".to_owned(),
            name: "files".to_owned(),
            region: None,
            cidrs: cidrs.clone(),
            secret: secret.to_owned(),
        };
        bindings.buckets.insert(bucket.name, binding);
    }
}

fn database(mode: u8, secret: &str) -> DatabaseSpec {
    match mode {
        0 => DatabaseSpec { embedded: Some(EmbeddedDatabase::default()), ..DatabaseSpec::default() },
        1 => DatabaseSpec { cloud_native_pg: Some(CloudNativePgDatabase::default()), ..DatabaseSpec::default() },
        _ => DatabaseSpec {
            external: Some(ExternalDatabase {
                host: "db.example.org".to_owned(),
                name: "his".to_owned(),
                cidrs: vec!["192.0.2.20/32".to_owned(), "192.0.2.21/32".to_owned()],
                app_secret: secret.to_owned(),
                ..ExternalDatabase::default()
            }),
            ..DatabaseSpec::default()
        },
    }
}

fn base() -> impl Strategy<Value = Hospital> {
    prop_oneof![
        1 => Just(Hospital::shipped("gnu-health")),
        1 => Just(Hospital::shipped("care")),
        4 => application().prop_map(|application| {
            let mut hospital = Hospital { application, ..Hospital::fixture() };
            "random".clone_into(&mut hospital.tenant.spec.application.name);
            hospital.tenant.spec.application.version = Some("1".to_owned());
            hospital
        }),
    ]
}

prop_compose! {
    pub fn hospital()(
        mut hospital in base(),
        name in "[a-z]([-a-z0-9]{0,38}[a-z0-9])?",
        hosts in prop::collection::vec("[a-z]{1,20}\\.example\\.org", 0..4),
        extra in prop::option::of(component()),
        mode in 0..3_u8,
        secret in "[a-z]([-a-z0-9]{0,40}[a-z0-9])?",
        floor in prop::option::of(1..4_i32),
        user_namespaces in any::<bool>(),
        gateway in prop::bool::weighted(0.9),
        off in prop::bool::weighted(0.1),
        egress in prop::collection::vec((any::<prop::sample::Index>(), 0..9_usize, 440..444_i32), 0..4),
        cluster in any::<bool>(),
        caller in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) -> Hospital {
        if let Some(extra) = extra.filter(|extra| !uses_secret(extra) || hospital.application.metadata.name.as_deref() == Some("random")) {
            hospital = hospital.with_component(extra);
        }
        let Hospital { platform, application, tenant } = &mut hospital;
        tenant.metadata.name = Some(name);
        tenant.spec.additional_hosts = unique(hosts, Clone::clone);
        tenant.spec.database = Some(database(mode, &secret));
        bind(tenant, application, &secret);
        platform.spec.floors = Some(Floors { replicas: floor, database_modes: Vec::new() });
        platform.spec.nodes = Some(PlatformNodes { user_namespaces: Some(user_namespaces) });
        if !gateway {
            platform.spec.gateway = None;
        }
        platform.spec.cluster = cluster.then(|| PlatformCluster { cidrs: vec!["10.0.0.0/25".to_owned()] });
        let components = &application.spec.components;
        for (component, addresses, port) in unique(egress, |(component, _, port)| (component.index(components.len()), *port)) {
            let flow = |addresses| egress_of(&component.get(components).name, addresses, port);
            // Names by themselves, and beside ranges for the same port.
            let beside = addresses.checked_sub(RANGES.len() + 1).map(flow);
            tenant.spec.network.get_or_insert_default().egress.extend(std::iter::once(flow(addresses)).chain(beside));
        }
        if off {
            let off = Off { reason: "a reason of some length".to_owned(), until: "2031-01-01T00:00:00Z".to_owned() };
            tenant.spec.network.get_or_insert_default().off = Some(off);
        }
        match caller {
            Some(caller) => {
                let caller = caller.index(hospital.application.spec.components.len());
                hospital.calling(caller)
            }
            None => hospital,
        }
    }
}

/// The name of a server outside, and where it leads: out, and in, which no policy may follow.
const NAMED: &str = "results.example.org";
const LEADS_TO: [&str; 4] = ["1.2.3.4", "2606:4700::1111", "10.0.0.3", "169.254.169.254"];

/// Another, which leads out only.
const PUBLIC: &str = "lab.example.org";

/// Ranges of every size; the last two hold the metadata service, and the last one holds the pods of the test too.
const RANGES: [&[&str]; 4] = [
    &["192.0.2.40/32", "198.51.100.0/25"],
    &["203.0.113.64/26", "2001:db8:2::/64"],
    &["169.254.0.0/16"],
    &["0.0.0.0/0"],
];

/// To some of these ranges, or else to names.
fn egress_of(component: &str, addresses: usize, port: i32) -> EgressFlow {
    let (component, reason) = (component.to_owned(), "a reason of some length".to_owned());
    let Some(ranges) = RANGES.get(addresses) else {
        let hosts = [NAMED, PUBLIC].map(ToOwned::to_owned).to_vec();
        return EgressFlow { component, port, reason, hosts, ..EgressFlow::default() };
    };
    let broad = addresses == 3;
    EgressFlow {
        component,
        cidrs: ranges.iter().map(|text| (*text).to_owned()).collect(),
        port,
        reason,
        hosts: Vec::new(),
        whole_internet_reason: broad.then(|| "a reason of some length".to_owned()),
    }
}

fn uses_secret(component: &Component) -> bool {
    let texts =
        component.files.iter().map(|file| &file.template).chain(component.env.iter().map(|variable| &variable.value));
    texts.into_iter().any(|text| text.contains("secrets."))
}
