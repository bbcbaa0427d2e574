//! A highly available cluster, rendered for the CloudNativePG operator (`postgresql.cnpg.io/v1`).

use std::collections::BTreeMap;

use super::DatabaseCapability;
use crate::{
    api::v1alpha1::CloudNativePgDatabase,
    capabilities::{Capability, Contributions, Input, Peer, isolation::metadata},
    conditions::{Reason, Verdict},
    foreign::cnpg::{
        Affinity, Amounts, Bootstrap, Cluster, ClusterSpec, InitDb, Managed, ManagedRole, Postgresql, SecretName,
        Storage,
    },
    names,
    objects::{Object, field, kind, number},
    tenant::{
        Tenant,
        database::{COMPONENT, Database, Login},
    },
};

/// CPU of one instance.
pub const CPU: &str = "1";
/// Memory of one instance.
pub const MEMORY: &str = "1Gi";

/// Number of instances.
pub fn instances(spec: &CloudNativePgDatabase) -> i32 {
    spec.instances.unwrap_or(3)
}

/// Instances replicate among themselves, and CloudNativePG asks them for their state.
pub fn flows(tenant: &Tenant, shared: &mut Contributions) {
    let platform = tenant.platform.database.clone().unwrap_or_default();
    if let Some(api_server) = Peer::addresses(&platform.api_server_cidrs) {
        let port = platform.api_server_port.unwrap_or(6443);
        shared.flow(Peer::component(COMPONENT), api_server, port, "CloudNativePG's instances report to the API server");
    }
    shared.resolution(tenant, COMPONENT);
    let pods = || Peer::component(COMPONENT);
    shared.flow(pods(), pods(), 5432, "replication between instances");
    let operator =
        Peer::Elsewhere { name: "cloudnative-pg", namespace: "cnpg-system".to_owned(), labels: BTreeMap::new() };
    shared.flow(operator.clone(), pods(), 8000, "CloudNativePG asks for the instance's state");
    shared.flow(operator, pods(), 5432, "CloudNativePG manages roles");
}

/// The Cluster.
pub fn cluster(tenant: &Tenant, database: &Database, spec: &CloudNativePgDatabase) -> Object {
    // Enough for policies to find the pods; without `managed-by`, so that what CloudNativePG makes is never pruned here.
    let inherited = BTreeMap::from([
        (names::TENANT.to_owned(), tenant.name.clone()),
        (names::COMPONENT.to_owned(), COMPONENT.to_owned()),
    ]);
    let cluster = Cluster {
        metadata: metadata(tenant, DatabaseCapability::NAME, COMPONENT),
        spec: ClusterSpec {
            instances: instances(spec),
            image_name: tenant.platform.database.as_ref().and_then(|database| database.cloud_native_pg_image.clone()),
            storage: Storage {
                size: spec.storage.clone().unwrap_or_else(|| "10Gi".to_owned()),
                storage_class: tenant.platform.storage.as_ref().map(|storage| storage.storage_class.clone()),
            },
            bootstrap: Bootstrap { initdb: initdb(database) },
            managed: Managed {
                roles: vec![role(database, Login::App, &[]), role(database, Login::Backup, &["pg_read_all_data"])],
            },
            enable_superuser_access: false,
            postgresql: Postgresql {
                parameters: BTreeMap::from([
                    ("password_encryption".to_owned(), "scram-sha-256".to_owned()),
                    ("ssl_min_protocol_version".to_owned(), "TLSv1.2".to_owned()),
                ]),
                // Only connections under TLS; CloudNativePG appends its own last line for the rest.
                pg_hba: vec!["hostnossl all all all reject".to_owned()],
            },
            resources: Amounts { requests: amounts(), limits: amounts() },
            affinity: Affinity {
                pod_anti_affinity_type: "preferred".to_owned(),
                topology_key: "kubernetes.io/hostname".to_owned(),
            },
            inherited_metadata: crate::foreign::cnpg::Inherited { labels: inherited },
        },
    };
    Object::new(kind::CNPG_CLUSTER, &cluster)
}

fn amounts() -> BTreeMap<String, String> {
    BTreeMap::from([("cpu".to_owned(), CPU.to_owned()), ("memory".to_owned(), MEMORY.to_owned())])
}

/// Ready when as many instances as asked for are ready.
pub fn assess(input: Input<'_>, spec: &CloudNativePgDatabase) -> Verdict {
    let Some(cluster) = input.observed.get(kind::CNPG_CLUSTER, &input.tenant.namespace, COMPONENT) else {
        return Verdict::unknown(Reason::Progressing, "Cluster database was not seen yet");
    };
    let (ready, wanted) = (number(cluster, "/status/readyInstances"), i64::from(instances(spec)));
    if ready >= wanted {
        return Verdict::proved(format!("{ready} of {wanted} CloudNativePG instances are ready"));
    }
    let phase = field(cluster, "/status/phase").and_then(|phase| phase.as_str()).unwrap_or("no phase yet");
    Verdict::failed(Reason::DatabaseNotReady, format!("{ready} of {wanted} CloudNativePG instances are ready: {phase}"))
}

fn initdb(database: &Database) -> InitDb {
    let (owner, app) = (Login::Owner.role(), Login::App.role());
    let grant = |what: &str, rights: &str| {
        format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT {rights} ON {what} TO {app}")
    };
    InitDb {
        database: database.name.clone(),
        owner: owner.to_owned(),
        secret: SecretName { name: database.secret(Login::Owner) },
        data_checksums: true,
        post_init_sql: vec![format!("CREATE ROLE {app} NOLOGIN")],
        post_init_application_sql: vec![
            format!("GRANT CONNECT ON DATABASE {} TO {app}", database.name),
            format!("GRANT USAGE ON SCHEMA public TO {app}"),
            grant("TABLES", "SELECT, INSERT, UPDATE, DELETE"),
            grant("SEQUENCES", "USAGE, SELECT, UPDATE"),
            grant("FUNCTIONS", "EXECUTE"),
        ],
    }
}

fn role(database: &Database, login: Login, member_of: &[&str]) -> ManagedRole {
    ManagedRole {
        name: login.role().to_owned(),
        ensure: "present".to_owned(),
        login: true,
        password_secret: SecretName { name: database.secret(login) },
        in_roles: member_of.iter().map(|role| (*role).to_owned()).collect(),
    }
}
