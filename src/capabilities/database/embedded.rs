//! One PostgreSQL instance on the plain image. Not a cluster, and never will be one: for high availability there is
//! CloudNativePG.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy},
        core::v1::{
            ConfigMap, ConfigMapVolumeSource, EnvVar, ExecAction, KeyToPath, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Probe, SecretVolumeSource, Service,
            ServicePort, ServiceSpec, Volume, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::DatabaseCapability;
use crate::{
    api::v1alpha1::{EmbeddedDatabase, Resources},
    capabilities::{
        Capability, Input,
        credentials::secret,
        isolation::{metadata, quantities},
        pod::{Container, Pod, empty_dir, mount, selector},
    },
    conditions::{Reason, Verdict},
    objects::{Desired, Material, Object, digest, field, kind, number},
    tenant::{
        Tenant,
        database::{COMPONENT, Database, Login},
        merge,
    },
};

/// Name of the volume claim: never rendered under another name, or data would be left behind.
pub const VOLUME: &str = "database-data";
const SCRIPTS: &str = "/etc/his/postgres";
const SECRETS: &str = "/etc/his/secrets";
/// Seconds for a clean shutdown with open connections.
const SHUTDOWN_SECONDS: i64 = 60;

/// What the instance is started with; the contract is in `embedded/README.md`.
const FILES: &[(&str, &str)] = &[
    ("start.sh", include_str!("embedded/start.sh")),
    ("roles.sql", include_str!("embedded/roles.sql")),
    ("postgresql.conf", include_str!("embedded/postgresql.conf")),
    ("pg_hba.conf", include_str!("embedded/pg_hba.conf")),
    ("passwd", include_str!("embedded/passwd")),
    ("probe.sh", include_str!("embedded/probe.sh")),
];

/// Compute resources of the instance.
pub fn resources(spec: &EmbeddedDatabase) -> Resources {
    let default = Resources {
        cpu: Some("250m".to_owned()),
        cpu_limit: Some("1".to_owned()),
        memory: Some("512Mi".to_owned()),
        ephemeral_storage: Some("256Mi".to_owned()),
    };
    merge(spec.resources.clone().unwrap_or_default(), default)
}

/// All objects, data before the workload that uses it.
pub fn render(input: Input<'_>, database: &Database, spec: &EmbeddedDatabase, image: &str) -> Vec<Desired> {
    let tenant = input.tenant;
    let mut objects = vec![
        Desired::Generate(certificate(tenant, database)),
        Desired::Apply(files(tenant)),
        Desired::Apply(volume(tenant, spec)),
        Desired::Apply(service(tenant, database)),
    ];
    objects.push(Desired::Apply(instance(input, database, spec, image)));
    objects
}

/// Whether the instance is ready in its newest form.
pub fn assess(input: Input<'_>) -> Verdict {
    let namespace = &input.tenant.namespace;
    let Some(set) = input.observed.get(kind::STATEFUL_SET, namespace, COMPONENT) else {
        return Verdict::unknown(Reason::Progressing, "StatefulSet database was not seen yet");
    };
    let current = number(set, "/status/observedGeneration") >= set.metadata.generation.unwrap_or_default();
    let newest = field(set, "/status/currentRevision") == field(set, "/status/updateRevision");
    let ready = number(set, "/status/readyReplicas") == 1;
    if current && newest && ready {
        return Verdict::proved(
            "one embedded PostgreSQL instance is ready; it is a single instance: its node is a single point of failure",
        );
    }
    match input.observed.problem_of(COMPONENT) {
        Some(problem) => Verdict::failed(
            Reason::DatabaseNotReady,
            format!("pod {}: {}: {}", problem.pod, problem.reason, problem.message),
        ),
        None => Verdict::failed(Reason::DatabaseNotReady, "pod database-0 is not ready yet"),
    }
}

fn own(tenant: &Tenant, name: &str) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    let mut metadata = metadata(tenant, DatabaseCapability::NAME, name);
    metadata.labels.get_or_insert_default().insert(crate::names::COMPONENT.to_owned(), COMPONENT.to_owned());
    metadata
}

fn certificate(tenant: &Tenant, database: &Database) -> crate::objects::Generated {
    let hosts = vec![
        database.host.clone(),
        format!("{}.cluster.local", database.host),
        COMPONENT.to_owned(),
        format!("{COMPONENT}.{}", tenant.namespace),
    ];
    // The keys `ca.crt` and `tls.key` come with the certificate.
    let values = BTreeMap::from([("tls.crt".to_owned(), Material::ServerCertificate(hosts))]);
    secret(tenant, DatabaseCapability::NAME, &database.ca_secret(), values)
}

fn files(tenant: &Tenant) -> Object {
    let data = FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let config = ConfigMap { metadata: own(tenant, "database-files"), data: Some(data), ..ConfigMap::default() };
    Object::new(kind::CONFIG_MAP, &config)
}

fn volume(tenant: &Tenant, spec: &EmbeddedDatabase) -> Object {
    let size = spec.storage.clone().unwrap_or_else(|| "10Gi".to_owned());
    let claim = PersistentVolumeClaim {
        metadata: own(tenant, VOLUME),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: tenant.platform.storage.as_ref().map(|storage| storage.storage_class.clone()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(quantities([("storage", size)])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    };
    Object::new(kind::PERSISTENT_VOLUME_CLAIM, &claim)
}

fn service(tenant: &Tenant, database: &Database) -> Object {
    let service = Service {
        metadata: own(tenant, COMPONENT),
        spec: Some(ServiceSpec {
            selector: selector(tenant, COMPONENT, None).match_labels,
            ports: Some(vec![ServicePort {
                name: Some("postgresql".to_owned()),
                port: database.port,
                target_port: Some(IntOrString::String("postgresql".to_owned())),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    Object::new(kind::SERVICE, &service)
}

fn instance(input: Input<'_>, database: &Database, spec: &EmbeddedDatabase, image: &str) -> Object {
    let tenant = input.tenant;
    let pod = Pod {
        colour: None,
        tenant,
        capability: DatabaseCapability::NAME,
        component: COMPONENT,
        version: None,
        init: Vec::new(),
        main: container(database, spec, image).build(),
        beside: Vec::new(),
        volumes: volumes(database),
        termination_seconds: SHUTDOWN_SECONDS,
        restart_policy: "Always",
        reports: false,
        annotations: BTreeMap::from([("his-operator.io/files".to_owned(), digest(&FILES))]),
    };
    let set = StatefulSet {
        metadata: own(tenant, COMPONENT),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(COMPONENT.to_owned()),
            selector: selector(tenant, COMPONENT, None),
            template: pod.template(),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            ..StatefulSetSpec::default()
        }),
        status: None,
    };
    Object::new(kind::STATEFUL_SET, &set)
}

fn container(database: &Database, spec: &EmbeddedDatabase, image: &str) -> Container {
    let script = |name: &str| vec!["/bin/sh".to_owned(), format!("{SCRIPTS}/{name}")];
    let probe = |question: &str, period: i32, failures: i32| {
        let mut command = script("probe.sh");
        command.push(question.to_owned());
        Some(Probe {
            exec: Some(ExecAction { command: Some(command) }),
            period_seconds: Some(period),
            timeout_seconds: Some(5),
            failure_threshold: Some(failures),
            ..Probe::default()
        })
    };
    let env = EnvVar { name: "PGDATABASE_NAME".to_owned(), value: Some(database.name.clone()), value_from: None };
    Container {
        name: COMPONENT.to_owned(),
        image: image.to_owned(),
        command: script("start.sh"),
        env: vec![env],
        ports: vec![("postgresql".to_owned(), database.port)],
        mounts: mounts(),
        probes: [probe("started", 2, 300), probe("ready", 5, 3), probe("alive", 10, 6)],
        resources: resources(spec),
        ..Container::default()
    }
}

fn mounts() -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount("data", "/var/lib/postgresql/data", None, false),
        mount("run", "/run/postgresql", None, false),
        mount("files", SCRIPTS, None, true),
        mount("files", "/etc/passwd", Some("passwd"), true),
        mount("tls", &format!("{SECRETS}/tls"), None, true),
    ];
    mounts.extend(Login::ALL.map(|login| mount(login.role(), &format!("{SECRETS}/{}", login.role()), None, true)));
    mounts
}

fn volumes(database: &Database) -> Vec<Volume> {
    let mut volumes = vec![
        Volume {
            name: "data".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: VOLUME.to_owned(),
                read_only: None,
            }),
            ..Volume::default()
        },
        empty_dir("run", "16Mi", true),
        Volume {
            name: "files".to_owned(),
            config_map: Some(ConfigMapVolumeSource { name: "database-files".to_owned(), ..Default::default() }),
            ..Volume::default()
        },
        secret_volume("tls", &database.ca_secret(), &["ca.crt", "tls.crt", "tls.key"]),
    ];
    volumes.extend(
        Login::ALL.map(|login| secret_volume(login.role(), &database.secret(login), &["username", "password"])),
    );
    volumes
}

/// Some keys of a Secret as files that only the pod's group may read.
pub fn secret_volume(name: &str, secret: &str, keys: &[&str]) -> Volume {
    let item = |key: &&str| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned(), mode: None };
    let source = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        default_mode: Some(0o440),
        items: Some(keys.iter().map(item).collect()),
        ..SecretVolumeSource::default()
    };
    Volume { name: name.to_owned(), secret: Some(source), ..Volume::default() }
}
