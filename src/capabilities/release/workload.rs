//! Objects of a release, one function each.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
        batch::v1::{PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule},
        core::v1::{ConfigMap, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::{
    Release, autoscale,
    candidate::{Candidate, Part},
    check::service as coloured_name,
    container,
    history::{LEDGER, entry},
    program::Program,
};
use crate::{
    api::v1alpha1::{Colour, FinishedJob, Strategy},
    capabilities::{
        Capability,
        isolation::metadata,
        job::job,
        pod::{Pod, selector},
        serving,
    },
    names,
    objects::{Object, kind},
    tenant::{Count, Tenant},
};

/// A finished Job stays that long, for its log.
const JOB_TTL_SECONDS: i32 = 86_400;

/// Everything of one component, in one colour if it has colours.
pub fn component(
    tenant: &Tenant,
    candidate: &Candidate,
    part: &Part,
    colour: Option<Colour>,
    replicas: i32,
) -> Vec<Object> {
    let at = Place { tenant, part, colour };
    let mut objects: Vec<Object> = files(tenant, &part.program).into_iter().collect();
    if !part.component.ports.is_empty() {
        objects.push(at.service(&at.name(), colour));
    }
    // It stays when the last but one of them goes: one pod may always be evicted.
    if replicas.max(part.count.most()) > 1 {
        objects.push(at.disruption_budget());
    }
    objects.push(at.deployment(candidate, replicas));
    objects
}

/// The autoscaler of a component, for the Deployment of this colour if it has colours; none for one whose number of pods
/// nobody moves. It has the component's name, so that there is never a second one.
pub fn autoscaler(tenant: &Tenant, part: &Part, colour: Option<Colour>) -> Option<Object> {
    let deployment = Place { tenant, part, colour }.name();
    let name = &part.component.name;
    let bounds = part.count.bounds()?;
    Some(autoscale::autoscaler(own(tenant, name, name), deployment, bounds))
}

/// What makes the pods of a component what they are: a release is another one if and only if this is.
pub fn pods(tenant: &Tenant, part: &Part, agent: &str) -> PodTemplateSpec {
    Place { tenant, part, colour: None }.pods(agent)
}

/// The Service under a component's own name.
pub fn leading_service(tenant: &Tenant, part: &Part, colour: Colour) -> Object {
    Place { tenant, part, colour: None }.service(&part.component.name, Some(colour))
}

/// One component in one colour.
struct Place<'a> {
    tenant: &'a Tenant,
    part: &'a Part,
    colour: Option<Colour>,
}

impl Place<'_> {
    fn name(&self) -> String {
        let name = &self.part.component.name;
        self.colour.map_or_else(|| name.clone(), |colour| coloured_name(name, colour))
    }

    fn metadata(&self, name: &str) -> ObjectMeta {
        let mut metadata = own(self.tenant, &self.part.component.name, name);
        if let Some(colour) = self.colour {
            metadata.labels.get_or_insert_default().insert(names::COLOUR.to_owned(), colour.as_str().to_owned());
        }
        metadata
    }

    fn selector(&self, colour: Option<Colour>) -> LabelSelector {
        selector(self.tenant, &self.part.component.name, colour)
    }

    fn service(&self, name: &str, colour: Option<Colour>) -> Object {
        let ports = self.part.component.ports.iter().map(|port| (port.name.as_str(), port.port));
        serving::service(self.metadata(name), self.selector(colour), ports)
    }

    fn disruption_budget(&self) -> Object {
        serving::disruption_budget(self.metadata(&self.name()), self.selector(self.colour))
    }

    fn deployment(&self, candidate: &Candidate, replicas: i32) -> Object {
        let mut metadata = self.metadata(&self.name());
        let labels = metadata.labels.get_or_insert_default();
        labels.insert(names::APP_VERSION.to_owned(), candidate.identity.version.clone());
        labels.insert(names::RELEASE.to_owned(), candidate.identity.digest.clone());
        let deployment = Deployment {
            metadata,
            spec: Some(DeploymentSpec {
                replicas: Some(replicas),
                selector: self.selector(self.colour),
                strategy: Some(strategy(self.part.strategy())),
                template: self.pods_of(&candidate.identity.agent, &candidate.identity.version),
                revision_history_limit: Some(2),
                progress_deadline_seconds: Some(600),
                ..DeploymentSpec::default()
            }),
            status: None,
        };
        let object = Object::new(kind::DEPLOYMENT, &deployment);
        match self.part.count {
            Count::Fixed(_) => object,
            Count::Within(_) => object.moved_by_others("/spec/replicas"),
        }
    }

    fn pods(&self, agent: &str) -> PodTemplateSpec {
        self.pods_of(agent, &self.tenant.version.version)
    }

    fn pods_of(&self, agent: &str, version: &str) -> PodTemplateSpec {
        let component = &self.part.component;
        let contents = container::contents(agent, &self.part.program);
        let pod = Pod {
            tenant: self.tenant,
            capability: Release::NAME,
            component: &component.name,
            colour: self.colour,
            version: Some(version),
            init: contents.init,
            main: contents.main,
            beside: contents.beside,
            volumes: contents.volumes,
            termination_seconds: component.termination_seconds.unwrap_or(30),
            restart_policy: "Always",
            reports: false,
            annotations: std::collections::BTreeMap::new(),
        };
        pod.template()
    }
}

fn strategy(strategy: Strategy) -> DeploymentStrategy {
    match strategy {
        Strategy::Recreate => DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None },
        Strategy::Atomic | Strategy::Rolling => serving::rolling(),
    }
}

fn own(tenant: &Tenant, component: &str, name: &str) -> ObjectMeta {
    let mut metadata = metadata(tenant, Release::NAME, name);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(names::COMPONENT.to_owned(), component.to_owned());
    metadata
}

/// Ended lifecycle jobs.
pub fn ledger(tenant: &Tenant, finished: &[FinishedJob]) -> Object {
    let data = finished.iter().map(|job| (job.name.clone(), entry(job))).collect();
    let metadata = metadata(tenant, Release::NAME, LEDGER);
    Object::new(kind::LEDGER, &ConfigMap { metadata, data: Some(data), ..ConfigMap::default() })
}

/// Files of a program before their secrets are filled in.
pub fn files(tenant: &Tenant, program: &Program) -> Option<Object> {
    let data = container::templates(program);
    let config = ConfigMap {
        metadata: own(tenant, &program.name, &container::templates_name(program)),
        immutable: Some(true),
        data: Some(data),
        ..ConfigMap::default()
    };
    (!program.files.is_empty()).then(|| Object::new(kind::CONFIG_MAP, &config))
}

/// Runs once: no retry, no second pod. Its exit code is the verdict.
pub fn step(tenant: &Tenant, name: &str, program: &Program, timeout: i64) -> Object {
    let mut contents = container::contents(&tenant.settings.agent_image, program);
    let tells = program.tell_last_lines;
    if tells {
        contents.main.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    }
    Errand { name, component: &program.name, contents, seconds: timeout, reports: tells, harmless: false }.job(tenant)
}

/// A pod that the node's drain or an eviction took is no failure (KEP-3329).
fn again_after_eviction() -> PodFailurePolicy {
    let evicted = PodFailurePolicyOnPodConditionsPattern {
        type_: "DisruptionTarget".to_owned(),
        status: Some("True".to_owned()),
    };
    let rule = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_pod_conditions: Some(vec![evicted]),
        ..PodFailurePolicyRule::default()
    };
    PodFailurePolicy { rules: vec![rule] }
}

/// A program that runs to its end, once.
pub struct Errand<'a> {
    /// Name of the Job.
    pub name: &'a str,
    /// Component: label and ServiceAccount.
    pub component: &'a str,
    /// What runs.
    pub contents: container::Contents,
    /// Seconds that it may take.
    pub seconds: i64,
    /// Its termination message is a report.
    pub reports: bool,
    /// Runs again when its pod was evicted: it changes nothing.
    pub harmless: bool,
}

impl Errand<'_> {
    /// The Job.
    pub fn job(self, tenant: &Tenant) -> Object {
        let pod = Pod {
            tenant,
            capability: Release::NAME,
            component: self.component,
            colour: None,
            version: Some(&tenant.version.version),
            init: self.contents.init,
            main: self.contents.main,
            beside: self.contents.beside,
            volumes: self.contents.volumes,
            termination_seconds: 30,
            restart_policy: "Never",
            reports: self.reports,
            annotations: std::collections::BTreeMap::new(),
        };
        let mut job = job(pod, self.name, self.seconds, JOB_TTL_SECONDS);
        if let Some(spec) = job.spec.as_mut().filter(|_| self.harmless) {
            spec.pod_failure_policy = Some(again_after_eviction());
        }
        Object::new(kind::JOB, &job)
    }
}
