//! Where a hospital's database is, and under which roles it is used. The same for all modes, so that everything else
//! sees only one kind of database.

use super::Tenant;
use crate::{
    api::v1alpha1::{CloudNativePgDatabase, DatabaseMode, EmbeddedDatabase, ExternalDatabase},
    conditions::{Reason, Rejection},
};

/// Name of the database's Service, StatefulSet or Cluster, and of its pods' component label.
pub const COMPONENT: &str = "database";
/// Directory in containers that holds `ca.crt` of the database.
pub const CA_DIRECTORY: &str = "/etc/his/database";

/// Who uses the database, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Login {
    /// Owns the schema; used by init and migrations.
    Owner,
    /// Reads and writes rows; used by the running application.
    App,
    /// Reads everything; used by backups.
    Backup,
}

impl Login {
    /// All logins.
    pub const ALL: [Self; 3] = [Self::Owner, Self::App, Self::Backup];

    /// Name of the role in PostgreSQL.
    pub fn role(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::App => "app",
            Self::Backup => "backup",
        }
    }
}

/// How the database is run.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// By this operator, with that image.
    Embedded(EmbeddedDatabase, String),
    /// By CloudNativePG.
    CloudNativePG(CloudNativePgDatabase),
    /// By somebody else.
    External(ExternalDatabase),
}

/// The database of one hospital.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// How it is run.
    pub mode: Mode,
    /// Name of the database inside the server.
    pub name: String,
    /// DNS name that applications connect to, and that the server's certificate is valid for.
    pub host: String,
    /// TCP port.
    pub port: i32,
    /// URL scheme that the application expects.
    pub scheme: String,
}

impl Database {
    /// Chooses and checks the mode; `None` when the application declares no database.
    pub fn choose(tenant: &Tenant) -> Result<Option<Self>, Rejection> {
        let dependencies = tenant.application.dependencies.clone().unwrap_or_default();
        let Some(dependency) = dependencies.database else { return Ok(None) };
        let spec = tenant.spec.database.clone().unwrap_or_default();
        let mode = match (spec.embedded, spec.external) {
            (Some(embedded), _) => Mode::Embedded(embedded, embedded_image(tenant)?),
            (_, Some(external)) => Mode::External(external),
            _ => Mode::CloudNativePG(spec.cloud_native_pg.unwrap_or_default()),
        };
        allowed(tenant, &mode)?;
        reaches_api_server(tenant, &mode)?;
        let inside = |service: &str| format!("{service}.{}.svc", tenant.namespace);
        let (name, host, port) = match &mode {
            Mode::Embedded(..) => (None, inside(COMPONENT), 5432),
            Mode::CloudNativePG(_) => (None, inside(&format!("{COMPONENT}-rw")), 5432),
            Mode::External(external) => {
                (Some(external.name.clone()), external.host.clone(), external.port.unwrap_or(5432))
            }
        };
        let name = name.or(dependency.name).unwrap_or_else(|| "his".to_owned());
        let scheme = dependency.scheme.unwrap_or_else(|| "postgresql".to_owned());
        Ok(Some(Self { mode, name, host, port, scheme }))
    }

    /// Secret with `username` and `password` of a login.
    pub fn secret(&self, login: Login) -> String {
        match &self.mode {
            Mode::Embedded(..) | Mode::CloudNativePG(_) => format!("{COMPONENT}-{}", login.role()),
            Mode::External(external) => match login {
                Login::Owner => external.owner_secret.clone().unwrap_or_else(|| external.app_secret.clone()),
                Login::App | Login::Backup => external.app_secret.clone(),
            },
        }
    }

    /// Secret with `ca.crt`.
    pub fn ca_secret(&self) -> String {
        match &self.mode {
            Mode::Embedded(..) => format!("{COMPONENT}-tls"),
            Mode::CloudNativePG(_) => format!("{COMPONENT}-ca"),
            Mode::External(external) => external.app_secret.clone(),
        }
    }

    /// Secrets that a person or another operator provides.
    pub fn foreign_secrets(&self) -> Vec<String> {
        match &self.mode {
            Mode::External(external) => {
                let mut secrets = vec![external.app_secret.clone()];
                secrets.extend(external.owner_secret.clone().filter(|owner| *owner != external.app_secret));
                secrets
            }
            Mode::Embedded(..) | Mode::CloudNativePG(_) => Vec::new(),
        }
    }
}

fn embedded_image(tenant: &Tenant) -> Result<String, Rejection> {
    tenant.platform.database.as_ref().and_then(|database| database.embedded_image.clone()).ok_or_else(|| {
        Rejection::terminal(
            "spec.database.embedded",
            Reason::DatabaseModeRefused,
            "the platform offers no embedded database; set spec.database.embeddedImage on the HospitalPlatform, or choose another mode",
        )
    })
}

fn reaches_api_server(tenant: &Tenant, mode: &Mode) -> Result<(), Rejection> {
    let known = tenant.platform.database.as_ref().is_some_and(|database| !database.api_server_cidrs.is_empty());
    if known || !matches!(mode, Mode::CloudNativePG(_)) {
        return Ok(());
    }
    Err(Rejection::terminal(
        "spec.database.cloudNativePG",
        Reason::DatabaseModeRefused,
        "CloudNativePG's instances talk to the API server, which is denied unless known; set spec.database.apiServerCidrs on the HospitalPlatform, or choose another mode",
    ))
}

fn allowed(tenant: &Tenant, mode: &Mode) -> Result<(), Rejection> {
    let mode = match mode {
        Mode::Embedded(..) => DatabaseMode::Embedded,
        Mode::CloudNativePG(_) => DatabaseMode::CloudNativePG,
        Mode::External(_) => DatabaseMode::External,
    };
    let floor = tenant.platform.floors.as_ref().map(|floors| floors.database_modes.as_slice()).unwrap_or_default();
    if floor.is_empty() || floor.contains(&mode) {
        return Ok(());
    }
    Err(Rejection::terminal(
        "spec.database",
        Reason::DatabaseModeRefused,
        format!("the platform does not allow the mode {mode:?}; it allows: {floor:?}"),
    ))
}
