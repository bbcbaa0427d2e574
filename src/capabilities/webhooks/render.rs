//! Objects of the gate, one function each.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{Container as K8sContainer, HTTPGetAction, Probe},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{COMPONENT, CPU_LIMIT, MEMORY, PORT, REPLICAS, Webhooks};
use crate::{
    api::v1alpha1::Resources,
    capabilities::{
        Capability,
        isolation::metadata,
        pod::{Container, PRE_STOP_SECONDS, Pod, PreStop, selector},
        serving::{disruption_budget, rolling, service},
    },
    names,
    objects::{Object, kind},
    tenant::{Tenant, webhooks::hosts},
};

const PORT_NAME: &str = "proxy";
/// Seconds that tunnels have to end by themselves; the agent waits a little less.
const TERMINATION_SECONDS: i64 = 30;

/// Everything of the gate.
pub fn all(tenant: &Tenant) -> Vec<Object> {
    let selected = || selector(tenant, COMPONENT, None);
    vec![
        service(own(tenant), selected(), std::iter::once((PORT_NAME, PORT))),
        disruption_budget(own(tenant), selected()),
        deployment(tenant),
    ]
}

fn own(tenant: &Tenant) -> ObjectMeta {
    let mut metadata = metadata(tenant, Webhooks::NAME, COMPONENT);
    metadata.labels.get_or_insert_default().insert(names::COMPONENT.to_owned(), COMPONENT.to_owned());
    metadata
}

fn deployment(tenant: &Tenant) -> Object {
    let pod = Pod {
        tenant,
        capability: Webhooks::NAME,
        component: COMPONENT,
        colour: None,
        version: None,
        init: Vec::new(),
        main: container(tenant),
        beside: Vec::new(),
        volumes: Vec::new(),
        termination_seconds: TERMINATION_SECONDS,
        restart_policy: "Always",
        reports: false,
        annotations: BTreeMap::new(),
    };
    let deployment = Deployment {
        metadata: own(tenant),
        spec: Some(DeploymentSpec {
            replicas: Some(REPLICAS),
            selector: selector(tenant, COMPONENT, None),
            strategy: Some(rolling()),
            template: pod.template(),
            revision_history_limit: Some(2),
            progress_deadline_seconds: Some(600),
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    Object::new(kind::DEPLOYMENT, &deployment)
}

fn container(tenant: &Tenant) -> K8sContainer {
    let word = |flag: &str, value: &String| [flag.to_owned(), value.clone()];
    let listed = hosts(tenant).iter().flat_map(|host| word("--host", host));
    let own = tenant.platform.cluster.iter().flat_map(|cluster| &cluster.cidrs);
    let container = Container {
        name: COMPONENT.to_owned(),
        image: tenant.settings.agent_image.clone(),
        command: ["/usr/bin/his-agent", "egress"].map(ToOwned::to_owned).to_vec(),
        args: listed.chain(own.flat_map(|cidr| word("--deny", cidr))).collect(),
        ports: vec![(PORT_NAME.to_owned(), PORT)],
        probes: [probe("/livez", 1, 30), probe("/readyz", 5, 2), probe("/livez", 10, 3)].map(Some),
        resources: Resources {
            cpu_limit: Some(CPU_LIMIT.to_owned()),
            memory: Some(MEMORY.to_owned()),
            ..Resources::default()
        },
        pre_stop: PreStop::Wait(PRE_STOP_SECONDS),
        ..Container::default()
    };
    container.build()
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT_NAME.to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
