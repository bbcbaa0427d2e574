#![doc = include_str!("README.md")]

mod cloud_native_pg;
mod embedded;

pub use embedded::secret_volume;

use std::collections::BTreeMap;

use crate::{
    capabilities::{
        Capability, Contributions, Demand, Input, Peer, amounts,
        credentials::secret,
        release::{self, users},
    },
    conditions::{Reason, Rejection, Verdict, Verdicts},
    objects::{Desired, Generated, Kind, Material, kind},
    tenant::{
        Tenant,
        database::{COMPONENT, Database, Login, Mode},
        template::DATABASE,
    },
};

/// See the module documentation.
#[derive(Debug)]
pub struct DatabaseCapability;

impl Capability for DatabaseCapability {
    const NAME: &'static str = "database";
    const CONDITION: &'static str = "DatabaseReady";
    const KINDS: &'static [Kind] = &[
        kind::SECRET,
        kind::CONFIG_MAP,
        kind::PERSISTENT_VOLUME_CLAIM,
        kind::SERVICE,
        kind::STATEFUL_SET,
        kind::CNPG_CLUSTER,
    ];
    type Plan = Option<Database>;

    fn plan(input: Input<'_>, shared: &mut Contributions, _: &Verdicts) -> Result<Self::Plan, Rejection> {
        let tenant = input.tenant;
        let Some(database) = tenant.database.clone() else { return Ok(None) };
        mode_is_unchanged(input, &database)?;
        let to = match &database.mode {
            Mode::Embedded(embedded, _) => {
                let resources = embedded::resources(embedded);
                amounts::check("spec.database.embedded.resources", &resources)?;
                shared.identity(COMPONENT);
                shared.demands.push(Demand {
                    cpu: resources.cpu_limit.unwrap_or_default(),
                    memory: resources.memory.unwrap_or_default(),
                    pods: 1,
                });
                Some(Peer::component(COMPONENT))
            }
            Mode::CloudNativePG(cluster) => {
                let pods = cloud_native_pg::instances(cluster);
                shared.demands.push(Demand {
                    cpu: cloud_native_pg::CPU.to_owned(),
                    memory: cloud_native_pg::MEMORY.to_owned(),
                    pods,
                });
                cloud_native_pg::flows(tenant, shared);
                Some(Peer::component(COMPONENT))
            }
            Mode::External(external) => Peer::addresses(&external.cidrs),
        };
        if let Some(to) = to {
            for user in users(tenant, DATABASE) {
                shared.flow(Peer::Component(user), to.clone(), database.port, "the application's database");
            }
        }
        Ok(Some(database))
    }

    fn render(plan: &Self::Plan, input: Input<'_>, _: &Contributions) -> Vec<Desired> {
        let Some(database) = plan else { return Vec::new() };
        let logins = Login::ALL.map(|login| Desired::Generate(login_secret(input.tenant, database, login)));
        match &database.mode {
            Mode::Embedded(embedded, image) => {
                logins.into_iter().chain(embedded::render(input, database, embedded, image)).collect()
            }
            Mode::CloudNativePG(cluster) => logins
                .into_iter()
                .chain([Desired::Apply(cloud_native_pg::cluster(input.tenant, database, cluster))])
                .collect(),
            Mode::External(_) => Vec::new(),
        }
    }

    fn assess(plan: &Self::Plan, input: Input<'_>) -> Verdict {
        let Some(database) = plan else { return Verdict::proved("the application needs no database") };
        match &database.mode {
            Mode::Embedded(..) => embedded::assess(input),
            Mode::CloudNativePG(cluster) => cloud_native_pg::assess(input, cluster),
            Mode::External(external) => {
                let namespace = &input.tenant.namespace;
                let missing = database
                    .foreign_secrets()
                    .into_iter()
                    .find(|name| input.observed.get(kind::SECRET, namespace, name).is_none());
                match missing {
                    Some(name) => Verdict::failed(
                        Reason::SecretNotFound,
                        format!(
                            "Secret {name} does not exist in namespace {namespace}; create it with username, password and ca.crt"
                        ),
                    ),
                    None if release::serves(input) => {
                        Verdict::proved(format!("components that use {} are ready", external.host))
                    }
                    None => Verdict::unknown(
                        Reason::NotObserved,
                        format!(
                            "nothing has used {} yet; its health is seen only through the application",
                            external.host
                        ),
                    ),
                }
            }
        }
    }
}

/// The mode that holds the data is written in the cluster; a spec that says otherwise would leave the data behind.
fn mode_is_unchanged(input: Input<'_>, database: &Database) -> Result<(), Rejection> {
    let namespace = &input.tenant.namespace;
    let embedded = input.observed.get(kind::PERSISTENT_VOLUME_CLAIM, namespace, embedded::VOLUME).is_some();
    let cluster = input.observed.get(kind::CNPG_CLUSTER, namespace, COMPONENT).is_some();
    let other = match database.mode {
        Mode::Embedded(..) => cluster.then_some("cloudNativePG"),
        Mode::CloudNativePG(_) => embedded.then_some("embedded"),
        Mode::External(_) => (embedded || cluster).then_some(if embedded { "embedded" } else { "cloudNativePG" }),
    };
    other.map_or(Ok(()), |mode| {
        Err(Rejection::terminal(
            "spec.database",
            Reason::DatabaseModeChanged,
            format!("this hospital's data is in the mode {mode}; set spec.database.{mode} again: nothing would move the data"),
        ))
    })
}

fn login_secret(tenant: &Tenant, database: &Database, login: Login) -> Generated {
    let values = BTreeMap::from([
        ("username".to_owned(), Material::Literal(login.role().to_owned())),
        ("password".to_owned(), Material::Password(40)),
    ]);
    let mut generated = secret(tenant, DatabaseCapability::NAME, &database.secret(login), values);
    if let (Mode::CloudNativePG(_), Some(body)) = (&database.mode, generated.object.body.as_object_mut()) {
        // CloudNativePG takes passwords of managed roles from this type only.
        body.insert("type".to_owned(), "kubernetes.io/basic-auth".into());
    }
    generated
}
