//! Objects of a release, one function each. While the gate is closed, what runs stays exactly as it is.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        batch::v1::{Job, JobSpec},
        core::v1::{ConfigMap, Service, ServicePort, ServiceSpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    Gate, Part, Plan, Release, agent, container,
    history::{LEDGER, entry},
    program::Program,
};
use crate::{
    api::v1alpha1::FinishedJob,
    capabilities::{
        Capability, Input,
        isolation::metadata,
        pod::{Pod, selector},
    },
    names,
    objects::{Desired, Kind, Object, Ref, kind},
    tenant::Tenant,
};

/// A finished Job stays that long, for its log.
const JOB_TTL_SECONDS: i32 = 86_400;

/// All objects of a release.
pub fn all(plan: &Plan, input: Input<'_>) -> Vec<Desired> {
    let tenant = input.tenant;
    let mut desired = vec![Desired::Apply(ledger(tenant, &plan.finished))];
    desired.extend(kept(input, kind::JOB));
    if let (Gate::Run(wanted), Some((program, timeout)), None) = (&plan.gate, &plan.step, &plan.waits_for) {
        desired.extend(files(tenant, program).map(Desired::Apply));
        // The template of a Job cannot change: one that is there stays as it is.
        if input.observed.get(kind::JOB, &tenant.namespace, &wanted.job).is_none() {
            desired.push(Desired::Apply(job(tenant, &wanted.job, program, *timeout)));
        }
    }
    if plan.gate != Gate::Open {
        desired.extend(
            [kind::CONFIG_MAP, kind::SERVICE, kind::DEPLOYMENT, kind::POD_DISRUPTION_BUDGET]
                .map(|kind| kept(input, kind))
                .concat(),
        );
        return desired;
    }
    if !super::serves(input) {
        // Pods of the version before still name these files.
        desired.extend(kept(input, kind::CONFIG_MAP));
    }
    for part in &plan.parts {
        desired.extend(component(tenant, part).into_iter().map(Desired::Apply));
    }
    desired
}

/// Everything of that kind that this capability has rendered before.
fn kept(input: Input<'_>, kind: Kind) -> Vec<Desired> {
    let mine = |at: &Ref, live: &kube::core::DynamicObject| {
        let capability = live.metadata.labels.as_ref().and_then(|labels| labels.get(names::CAPABILITY));
        at.kind == kind && at.name != LEDGER && capability.is_some_and(|name| name == Release::NAME)
    };
    input.observed.objects.iter().filter(|(at, live)| mine(at, live)).map(|(at, _)| Desired::Keep(at.clone())).collect()
}

fn component(tenant: &Tenant, part: &Part) -> Vec<Object> {
    let mut objects: Vec<Object> = files(tenant, &part.program).into_iter().collect();
    if !part.component.ports.is_empty() {
        objects.push(service(tenant, part));
    }
    if part.replicas > 1 {
        objects.push(disruption_budget(tenant, part));
    }
    objects.push(deployment(tenant, part));
    objects
}

fn own(tenant: &Tenant, component: &str, name: &str) -> ObjectMeta {
    let mut metadata = metadata(tenant, Release::NAME, name);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(names::COMPONENT.to_owned(), component.to_owned());
    metadata
}

fn versioned(tenant: &Tenant, component: &str, name: &str) -> ObjectMeta {
    let mut metadata = own(tenant, component, name);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(names::APP_VERSION.to_owned(), tenant.version.version.clone());
    metadata
}

fn ledger(tenant: &Tenant, finished: &[FinishedJob]) -> Object {
    let data = finished.iter().map(|job| (job.name.clone(), entry(job))).collect();
    let metadata = metadata(tenant, Release::NAME, LEDGER);
    Object::new(kind::LEDGER, &ConfigMap { metadata, data: Some(data), ..ConfigMap::default() })
}

fn files(tenant: &Tenant, program: &Program) -> Option<Object> {
    let data = container::templates(program);
    let config = ConfigMap {
        metadata: own(tenant, &program.name, &container::templates_name(program)),
        immutable: Some(true),
        data: Some(data),
        ..ConfigMap::default()
    };
    (!program.files.is_empty()).then(|| Object::new(kind::CONFIG_MAP, &config))
}

fn service(tenant: &Tenant, part: &Part) -> Object {
    let name = &part.component.name;
    let port = |port: &crate::api::v1alpha1::Port| ServicePort {
        name: Some(port.name.clone()),
        port: port.port,
        target_port: Some(IntOrString::String(port.name.clone())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let service = Service {
        metadata: own(tenant, name, name),
        spec: Some(ServiceSpec {
            selector: selector(tenant, name).match_labels,
            ports: Some(part.component.ports.iter().map(port).collect()),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    Object::new(kind::SERVICE, &service)
}

/// One pod at a time may be evicted, and a pod that is not ready never blocks an eviction.
fn disruption_budget(tenant: &Tenant, part: &Part) -> Object {
    let name = &part.component.name;
    let budget = PodDisruptionBudget {
        metadata: own(tenant, name, name),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            selector: Some(selector(tenant, name)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    };
    Object::new(kind::POD_DISRUPTION_BUDGET, &budget)
}

fn deployment(tenant: &Tenant, part: &Part) -> Object {
    let name = &part.component.name;
    let singleton = part.component.singleton == Some(true);
    let surge =
        RollingUpdateDeployment { max_surge: Some(IntOrString::Int(1)), max_unavailable: Some(IntOrString::Int(0)) };
    let strategy = if singleton {
        DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }
    } else {
        DeploymentStrategy { type_: Some("RollingUpdate".to_owned()), rolling_update: Some(surge) }
    };
    let agent = agent::of_release(tenant);
    let contents = container::contents(&agent.image, &part.program, !part.component.ports.is_empty());
    let pod = Pod {
        tenant,
        capability: Release::NAME,
        component: name,
        version: Some(&tenant.version.version),
        init: contents.init,
        main: contents.main,
        volumes: contents.volumes,
        termination_seconds: part.component.termination_seconds.unwrap_or(30),
        restart_policy: "Always",
        annotations: std::collections::BTreeMap::new(),
    };
    let deployment = Deployment {
        metadata: versioned(tenant, name, name),
        spec: Some(DeploymentSpec {
            replicas: Some(part.replicas),
            selector: selector(tenant, name),
            strategy: Some(strategy),
            template: pod.template(),
            revision_history_limit: Some(2),
            progress_deadline_seconds: Some(600),
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    Object::new(kind::DEPLOYMENT, &deployment)
}

/// Runs once: no retry, no second pod. Its exit code is the verdict.
fn job(tenant: &Tenant, name: &str, program: &Program, timeout: i64) -> Object {
    let contents = container::contents(&tenant.settings.agent_image, program, false);
    let pod = Pod {
        tenant,
        capability: Release::NAME,
        component: &program.name,
        version: Some(&tenant.version.version),
        init: contents.init,
        main: contents.main,
        volumes: contents.volumes,
        termination_seconds: 30,
        restart_policy: "Never",
        annotations: std::collections::BTreeMap::new(),
    };
    let job = Job {
        metadata: versioned(tenant, &program.name, name),
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            active_deadline_seconds: Some(timeout),
            ttl_seconds_after_finished: Some(JOB_TTL_SECONDS),
            template: pod.template(),
            ..JobSpec::default()
        }),
        status: None,
    };
    Object::new(kind::JOB, &job)
}
