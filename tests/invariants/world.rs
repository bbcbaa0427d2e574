//! What is checked: everything that one pass over one hospital renders.

use std::collections::BTreeSet;

use his_operator::{
    api::v1alpha1::{
        Component, Exception, HospitalApplicationSpec, HospitalTenantSpec, HospitalTenantStatus, NetworkStatus,
        SecurityRule,
    },
    capabilities::registry,
    names,
    objects::{Desired, Kind, Observed, kind},
    reconcile::pass::Pass,
};
use serde_json::Value;

use crate::support::label;

/// One rendered object.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub kind: Kind,
    pub name: String,
    pub namespace: String,
    pub body: Value,
    /// Filled with random values when it is created.
    pub generated: bool,
}

impl Rendered {
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.body["metadata"]["labels"][key].as_str()
    }

    pub fn capability(&self) -> &str {
        self.label(names::CAPABILITY).unwrap_or_default()
    }

    pub fn at(&self) -> String {
        format!("{}/{}/{}", self.kind, self.namespace, self.name)
    }

    pub fn runs_pods(&self) -> bool {
        [kind::DEPLOYMENT, kind::STATEFUL_SET, kind::JOB, kind::CNPG_CLUSTER].contains(&self.kind)
    }
}

/// Everything of one pass, in order.
#[derive(Clone, Debug)]
pub struct World {
    pub tenant: HospitalTenantSpec,
    pub tenant_name: String,
    pub tenant_uid: String,
    pub application: HospitalApplicationSpec,
    pub objects: Vec<Rendered>,
    /// Objects that stay as they are: capability and address.
    pub kept: BTreeSet<(String, String)>,
    /// Secrets that people or other operators provide.
    pub provided: BTreeSet<String>,
    pub network_off: bool,
    /// As status shows it.
    pub network: NetworkStatus,
}

impl World {
    pub fn of(pass: &Pass, observed: &Observed) -> Self {
        let tenant = &pass.tenant;
        let mut world = Self {
            tenant: tenant.spec.clone(),
            tenant_name: tenant.name.clone(),
            tenant_uid: tenant.uid.clone(),
            application: tenant.application.clone(),
            objects: Vec::new(),
            kept: BTreeSet::new(),
            provided: provided(&tenant.spec),
            network: recorded(pass, observed).network,
            network_off: tenant.spec.network.as_ref().is_some_and(|network| network.off.is_some()),
        };
        for desired in &pass.desired {
            let (body, generated) = match desired {
                Desired::Apply(object) => (object.body.clone(), false),
                Desired::Generate(generated) => (generated.object.body.clone(), true),
                Desired::Keep(at) => {
                    let capability = label(&observed.objects[at], names::CAPABILITY).unwrap_or_default().to_owned();
                    world.kept.insert((capability, at.to_string()));
                    continue;
                }
            };
            let at = desired.at();
            world.objects.push(Rendered {
                kind: at.kind,
                name: at.name.clone(),
                namespace: at.namespace.clone(),
                body,
                generated,
            });
        }
        world
    }

    /// Pod templates with the object they belong to.
    pub fn pods(&self) -> impl Iterator<Item = (&Rendered, &Value)> {
        self.objects.iter().filter_map(|object| {
            let template = &object.body["spec"]["template"];
            (object.runs_pods() && template.is_object()).then_some((object, template))
        })
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Rendered> {
        self.objects.iter().filter(move |object| object.is(kind))
    }

    /// The autoscaler of a workload.
    pub fn autoscaler_of(&self, workload: &Rendered) -> Option<&Rendered> {
        let target = |object: &&Rendered| object.body["spec"]["scaleTargetRef"]["name"] == workload.name.as_str();
        self.of_kind(kind::HORIZONTAL_POD_AUTOSCALER).find(target).filter(|_| workload.is(kind::DEPLOYMENT))
    }

    /// Addresses that exist after the pass, with their capability.
    pub fn existing(&self) -> BTreeSet<(String, String)> {
        let rendered = self.objects.iter().map(|object| (object.capability().to_owned(), address(object)));
        rendered.chain(self.kept.iter().cloned()).collect()
    }

    /// Exceptions of the component or step that runs under that name.
    pub fn excepted(&self, name: &str, rule: SecurityRule) -> bool {
        let lifecycle = self.application.lifecycle.clone().unwrap_or_default();
        let of = |exceptions: &[Exception]| exceptions.iter().any(|exception| exception.rule == rule);
        match lifecycle.steps().find(|(step, _)| *step == name) {
            Some((_, step)) => of(&step.exceptions),
            None => self.component(name).is_some_and(|component| of(&component.exceptions)),
        }
    }

    pub fn component(&self, name: &str) -> Option<&Component> {
        let name = ["-blue", "-green"].iter().find_map(|colour| name.strip_suffix(colour)).unwrap_or(name);
        self.application.components.iter().find(|component| component.name == name)
    }
}

fn recorded(pass: &Pass, observed: &Observed) -> HospitalTenantStatus {
    let mut status = HospitalTenantStatus::default();
    pass.record(observed, &mut status);
    status
}

fn address(object: &Rendered) -> String {
    if object.namespace.is_empty() { format!("{}/{}", object.kind, object.name) } else { object.at() }
}

/// All containers of a pod, of every sort.
pub fn containers(template: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    lists.into_iter().flat_map(|list| template["spec"][list].as_array().into_iter().flatten())
}

/// Kinds that a capability says it writes.
pub fn kinds_of(capability: &str) -> &'static [Kind] {
    registry().iter().find(|known| known.name == capability).map(|known| known.kinds).unwrap_or_default()
}

fn provided(spec: &HospitalTenantSpec) -> BTreeSet<String> {
    let mut secrets = BTreeSet::new();
    let database = spec.database.clone().unwrap_or_default();
    match database.external {
        Some(external) => {
            secrets.insert(external.app_secret);
            secrets.extend(external.owner_secret);
        }
        None if database.embedded.is_none() => {
            secrets.insert("database-ca".to_owned());
        }
        None => {}
    }
    let bindings = spec.bindings.clone().unwrap_or_default();
    secrets.extend(bindings.cache.map(|cache| cache.secret));
    secrets.extend(bindings.buckets.into_values().map(|bucket| bucket.secret));
    secrets
}
