//! Jobs: pods that run to their end, once.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::Container as K8sContainer,
};

use super::{
    Demand,
    isolation::metadata,
    pod::{Container, Pod},
};
use crate::{api::v1alpha1::Resources, names};

/// Limits of a container of our own agent.
const MILLICORES: i32 = 500;
const MEBIBYTES: i32 = 64;

/// No retry, no second pod; ends after so many seconds, and is kept for so many after that.
pub fn job(pod: Pod<'_>, name: &str, seconds: i64, kept_seconds: i32) -> Job {
    let mut metadata = metadata(pod.tenant, pod.capability, name);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(names::COMPONENT.to_owned(), pod.component.to_owned());
    if let Some(version) = pod.version {
        labels.insert(names::APP_VERSION.to_owned(), version.to_owned());
    }
    Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            active_deadline_seconds: Some(seconds),
            ttl_seconds_after_finished: Some(kept_seconds),
            template: pod.template(),
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// A container that runs a command of our own agent.
pub fn agent(name: &str, image: &str, command: &[&str], args: Vec<String>) -> K8sContainer {
    let program = std::iter::once(&"/usr/bin/his-agent").chain(command);
    let container = Container {
        name: name.to_owned(),
        image: image.to_owned(),
        command: program.map(|word| (*word).to_owned()).collect(),
        args,
        resources: Resources {
            cpu_limit: Some(format!("{MILLICORES}m")),
            memory: Some(format!("{MEBIBYTES}Mi")),
            ..Resources::default()
        },
        ..Container::default()
    };
    container.build()
}

/// What a pod with that many containers of our own agent needs of a quota.
pub fn agents(containers: i32) -> Demand {
    let (cpu, memory) = (MILLICORES.saturating_mul(containers), MEBIBYTES.saturating_mul(containers));
    Demand { cpu: format!("{cpu}m"), memory: format!("{memory}Mi"), pods: 1 }
}
