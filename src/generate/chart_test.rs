//! What `helm test` runs: a Job that asks the operator's Service whether it is ready, and the traffic that it needs, both
//! gone when the test has passed.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Capabilities, Container, PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements,
            SeccompProfile, SecurityContext,
        },
        networking::v1::{
            NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
            NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    Error,
    operator::{PORT, USER, metadata, own, selector},
    site::Site,
    yaml,
};
use crate::names;

const NAME: &str = "his-operator-test";

/// Both objects, of the chart only.
pub fn documents(site: &Site) -> Result<Vec<String>, Error> {
    let policies = [("his-operator-test-in", into_operator()), (NAME, out_of_test())];
    let mut documents = Vec::new();
    for (name, spec) in policies {
        let policy = NetworkPolicy { metadata: hook(site, name, "-1"), spec: Some(spec) };
        documents.push(yaml::document("NetworkPolicy", &yaml::value("NetworkPolicy", &policy)?)?);
    }
    documents.push(yaml::document("Job", &yaml::value("Job", &job(site))?)?);
    Ok(documents)
}

fn hook(site: &Site, name: &str, weight: &str) -> ObjectMeta {
    let annotations = [
        ("helm.sh/hook", "test"),
        ("helm.sh/hook-weight", weight),
        ("helm.sh/hook-delete-policy", "before-hook-creation,hook-succeeded"),
    ];
    ObjectMeta {
        name: Some(name.to_owned()),
        annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        ..metadata(site)
    }
}

fn labels() -> BTreeMap<String, String> {
    own().into_keys().map(|key| (key, NAME.to_owned())).collect()
}

fn test_pods() -> LabelSelector {
    LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() }
}

fn port(port: i32, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some(protocol.to_owned()),
        ..NetworkPolicyPort::default()
    }
}

/// The operator lets the test in.
fn into_operator() -> NetworkPolicySpec {
    let from = NetworkPolicyPeer { pod_selector: Some(test_pods()), ..NetworkPolicyPeer::default() };
    NetworkPolicySpec {
        pod_selector: Some(selector()),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![NetworkPolicyIngressRule { from: Some(vec![from]), ports: Some(vec![port(PORT, "TCP")]) }]),
        egress: None,
    }
}

/// The test reaches the operator, and nobody reaches the test.
fn out_of_test() -> NetworkPolicySpec {
    let operator = NetworkPolicyPeer { pod_selector: Some(selector()), ..NetworkPolicyPeer::default() };
    NetworkPolicySpec {
        pod_selector: Some(test_pods()),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: Some(Vec::new()),
        egress: Some(vec![NetworkPolicyEgressRule { to: Some(vec![operator]), ports: Some(vec![port(PORT, "TCP")]) }]),
    }
}

fn job(site: &Site) -> Job {
    Job {
        metadata: hook(site, NAME, "0"),
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            active_deadline_seconds: Some(120),
            ttl_seconds_after_finished: Some(3600),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
                spec: Some(pod(site)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn pod(site: &Site) -> PodSpec {
    PodSpec {
        service_account_name: Some(names::PRODUCT.to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(true),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(site)],
        ..PodSpec::default()
    }
}

fn container(site: &Site) -> Container {
    let amounts = || {
        let amounts = [("cpu", "100m"), ("memory", "32Mi"), ("ephemeral-storage", "16Mi")];
        Some(amounts.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).into())
    };
    // The kubelet knows the Service's address: where the resolver's pods listen differs between clusters.
    let host = format!("$({}_SERVICE_HOST)", names::PRODUCT.to_uppercase().replace('-', "_"));
    Container {
        name: "ready".to_owned(),
        image: Some(site.image.clone()),
        image_pull_policy: Some(site.pull_policy.clone()),
        command: Some(vec!["/usr/bin/his-operator".to_owned()]),
        args: Some(vec![
            "ask".to_owned(),
            "--address".to_owned(),
            format!("{host}:{PORT}"),
            "--path".to_owned(),
            "/readyz".to_owned(),
        ]),
        resources: Some(ResourceRequirements {
            requests: amounts(),
            limits: amounts(),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            privileged: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}
