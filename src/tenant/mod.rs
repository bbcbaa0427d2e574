//! One hospital, validated: everything that a capability may rely on.
//!
//! Guarantees: a [`Tenant`] has a platform, an application, an existing version, hosts of its own and a namespace that is
//! its own. It imports no client.

pub mod cidr;
mod count;
pub mod database;
pub mod fleet;
pub mod hostname;
mod platform;
pub mod secrets;
pub mod special;
pub mod template;
mod validate;
pub mod webhooks;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    api::v1alpha1::{
        ApplicationVersion, Component, HospitalApplicationSpec, HospitalPlatformSpec, HospitalTenantSpec,
        HospitalTenantStatus, Off, Resources, SecurityRule, Step,
    },
    conditions::{Reason, Rejection},
    names,
    objects::Turn,
    settings::Settings,
};

pub use count::{Bounds, Count};
pub use database::Database;

/// One hospital, ready to be planned for.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Name of the custom resource.
    pub name: String,
    /// UID of the custom resource.
    pub uid: String,
    /// Namespace that holds the hospital.
    pub namespace: String,
    /// Spec as written.
    pub spec: HospitalTenantSpec,
    /// Status as last written; carries what must survive a restart.
    pub status: HospitalTenantStatus,
    /// The platform.
    pub platform: HospitalPlatformSpec,
    /// The application.
    pub application: HospitalApplicationSpec,
    /// The version that the spec asks for.
    pub version: ApplicationVersion,
    /// Values of all declared parameters.
    pub parameters: BTreeMap<String, String>,
    /// Where the database is and who may use it how; absent when the application needs none.
    pub database: Option<Database>,
    /// Whether it may begin with its channel's version. Absent: it follows none, or nobody else is known.
    pub turn: Option<Turn>,
    /// The field manager that changed the spec last; absent where nobody is known, as in files.
    pub changed_by: Option<String>,
    /// Settings of the operator.
    pub settings: Settings,
    /// The time of this pass.
    pub now: DateTime<Utc>,
}

impl Tenant {
    /// All hosts, the main one first.
    pub fn hosts(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.spec.host).chain(&self.spec.additional_hosts)
    }

    /// Image of a component or step in the wanted version.
    pub fn image(&self, field: &str, name: &str) -> Result<String, Rejection> {
        self.version.images.get(name).cloned().ok_or_else(|| {
            let known = self.version.images.keys().cloned().collect::<Vec<_>>().join(", ");
            Rejection::terminal(
                field,
                Reason::ImageNotFound,
                format!("version {} has no image named {name}; it has: {known}", self.version.version),
            )
        })
    }

    /// Number of pods of a component that nobody moves, within the application's and the platform's bounds.
    fn replicas(&self, component: &Component) -> Result<i32, Rejection> {
        let wanted = self.size(component).and_then(|size| size.replicas);
        if component.singleton == Some(true) {
            return match wanted {
                None | Some(1) => Ok(1),
                Some(n) => Err(out_of_bounds(component, format!("{n} replicas of a component that runs exactly once"))),
            };
        }
        let floor = self.platform.floors.as_ref().and_then(|floors| floors.replicas).unwrap_or(2);
        let min = component.replicas.as_ref().map_or(floor, |replicas| replicas.min.max(floor));
        let max = max_replicas(component);
        match wanted {
            None => Ok(min),
            Some(n) if n < floor => {
                Err(out_of_bounds(component, format!("{n} replicas, but the platform's floor is {floor}")))
            }
            Some(n) if n > max => {
                Err(out_of_bounds(component, format!("{n} replicas, but the application allows at most {max}")))
            }
            Some(n) => Ok(n),
        }
    }

    /// Compute resources of a component.
    pub fn resources(&self, component: &Component) -> Resources {
        let size = self.size(component).and_then(|size| size.resources.clone()).unwrap_or_default();
        merge(merge(size, component.resources.clone().unwrap_or_default()), default_resources("256Mi"))
    }

    /// Compute resources of a step.
    pub fn step_resources(&self, step: &Step) -> Resources {
        merge(step.resources.clone().unwrap_or_default(), default_resources("512Mi"))
    }

    /// Whether an `off` block holds now; its time must be valid.
    pub fn is_off(&self, field: &str, off: Option<&Off>) -> Result<bool, Rejection> {
        let Some(off) = off else { return Ok(false) };
        let until = DateTime::parse_from_rfc3339(&off.until).map_err(|_| {
            Rejection::terminal(
                format!("{field}.until"),
                Reason::TimeInvalid,
                format!("{:?} is not an RFC 3339 time; write for example 2030-01-31T18:00:00Z", off.until),
            )
        })?;
        Ok(self.now < until)
    }

    /// Labels of everything that belongs to this hospital.
    pub fn labels(&self, capability: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (names::MANAGED_BY.to_owned(), names::PRODUCT.to_owned()),
            (names::TENANT.to_owned(), self.name.clone()),
            (names::CAPABILITY.to_owned(), capability.to_owned()),
        ])
    }

    fn size(&self, component: &Component) -> Option<&crate::api::v1alpha1::ComponentSize> {
        self.spec.components.iter().find(|size| size.name == component.name)
    }
}

fn max_replicas(component: &Component) -> i32 {
    component.replicas.as_ref().and_then(|replicas| replicas.max).unwrap_or(100)
}

fn out_of_bounds(component: &Component, what: String) -> Rejection {
    Rejection::terminal(format!("spec.components[{}].replicas", component.name), Reason::OutOfBounds, what)
}

/// The smallest resources that an object of this operator ever has.
pub fn default_resources(memory: &str) -> Resources {
    Resources {
        cpu: Some("100m".to_owned()),
        cpu_limit: Some("1".to_owned()),
        memory: Some(memory.to_owned()),
        ephemeral_storage: Some("256Mi".to_owned()),
    }
}

/// Fills what the first leaves open from the second.
pub fn merge(first: Resources, second: Resources) -> Resources {
    Resources {
        cpu: first.cpu.or(second.cpu),
        cpu_limit: first.cpu_limit.or(second.cpu_limit),
        memory: first.memory.or(second.memory),
        ephemeral_storage: first.ephemeral_storage.or(second.ephemeral_storage),
    }
}

/// Whether a component or step states an exception from a rule.
pub fn excepted(exceptions: &[crate::api::v1alpha1::Exception], rule: SecurityRule) -> bool {
    exceptions.iter().any(|exception| exception.rule == rule)
}

/// A tenant's inputs, before validation.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The custom resource.
    pub tenant: Arc<crate::api::v1alpha1::HospitalTenant>,
    /// Settings of the operator.
    pub settings: Settings,
    /// The time of this pass.
    pub now: DateTime<Utc>,
}
