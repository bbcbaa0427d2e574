//! The operator itself: Deployment, identity, disruption budget, traffic, priority of hospitals.
//!
//! Guarantees: the restricted Pod Security Standard; a short-lived token in the one pod that needs it and nowhere else.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Affinity, Capabilities, ConfigMapProjection, Container, ContainerPort, DownwardAPIProjection,
            DownwardAPIVolumeFile, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath, ObjectFieldSelector,
            PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
            ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecurityContext, Service, ServiceAccount,
            ServiceAccountTokenProjection, ServicePort, ServiceSpec, TopologySpreadConstraint, Volume, VolumeMount,
            VolumeProjection, WeightedPodAffinityTerm,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
        scheduling::v1::PriorityClass,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde_json::Value;

use super::{
    Error,
    site::{Site, VERSION},
    traffic::network_policy,
    values::Values,
    yaml,
};
use crate::names;

/// Where client libraries look for the credentials of a pod.
const CREDENTIALS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// `nonroot` of the usual minimal images.
pub const USER: i64 = 65_532;
/// Metrics and probes.
pub const PORT: i32 = 8080;
const NAME_LABEL: &str = "app.kubernetes.io/name";

/// Labels of everything that belongs to the operator itself. Not `managed-by`: that label marks what the operator writes.
pub fn labels() -> BTreeMap<String, String> {
    let mut labels = own();
    labels.insert("app.kubernetes.io/part-of".to_owned(), names::PRODUCT.to_owned());
    labels
}

/// What selects the operator.
pub fn own() -> BTreeMap<String, String> {
    BTreeMap::from([(NAME_LABEL.to_owned(), names::PRODUCT.to_owned())])
}

/// Selects the operator's pods.
pub fn selector() -> LabelSelector {
    LabelSelector { match_labels: Some(own()), ..LabelSelector::default() }
}

/// Name, namespace and labels.
pub fn metadata(site: &Site) -> ObjectMeta {
    ObjectMeta {
        name: Some(names::PRODUCT.to_owned()),
        namespace: Some(site.namespace.clone()),
        labels: Some(labels()),
        ..ObjectMeta::default()
    }
}

/// Name of the chart's template, and the object.
pub fn documents(site: &Site) -> Result<Vec<(&'static str, String)>, Error> {
    let values = Values::default();
    let objects = [
        ("priorityclass", "PriorityClass", yaml::value("PriorityClass", &priority_class())?),
        ("serviceaccount", "ServiceAccount", service_account(site, metadata(site))?),
        ("networkpolicy", "NetworkPolicy", network_policy(site, &values)?),
        ("service", "Service", yaml::value("Service", &service(site))?),
        ("poddisruptionbudget", "PodDisruptionBudget", yaml::value("PodDisruptionBudget", &disruption_budget(site))?),
        ("deployment", "Deployment", deployment(site, &values)?),
    ];
    objects.into_iter().map(|(file, kind, value)| Ok((file, yaml::document(kind, &value)?))).collect()
}

fn priority_class() -> PriorityClass {
    // Stays when the operator goes: without it the API server would refuse every new pod of every hospital.
    let keep = BTreeMap::from([("helm.sh/resource-policy".to_owned(), "keep".to_owned())]);
    PriorityClass {
        metadata: ObjectMeta {
            name: Some(names::PRIORITY_CLASS.to_owned()),
            labels: Some(labels()),
            annotations: Some(keep),
            ..ObjectMeta::default()
        },
        value: 1_000_000,
        global_default: Some(false),
        description: Some(
            "Hospitals and their operator: scheduled before, and evicted after, everything without a priority."
                .to_owned(),
        ),
        preemption_policy: Some("PreemptLowerPriority".to_owned()),
    }
}

/// An identity whose pods get no token by themselves.
pub fn service_account(site: &Site, metadata: ObjectMeta) -> Result<Value, Error> {
    let account = ServiceAccount {
        metadata,
        automount_service_account_token: Some(false),
        image_pull_secrets: Some(Vec::new()),
        ..ServiceAccount::default()
    };
    let mut value = yaml::value("ServiceAccount", &account)?;
    site.place(&mut value, "/imagePullSecrets", "toJson .Values.imagePullSecrets")?;
    Ok(value)
}

fn service(site: &Site) -> Service {
    let port = ServicePort {
        name: Some("metrics".to_owned()),
        port: PORT,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String("http".to_owned())),
        ..ServicePort::default()
    };
    let spec = ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(own()),
        ports: Some(vec![port]),
        ..ServiceSpec::default()
    };
    Service { metadata: metadata(site), spec: Some(spec), status: None }
}

fn disruption_budget(site: &Site) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(selector()),
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget { metadata: metadata(site), spec: Some(spec), status: None }
}

fn deployment(site: &Site, values: &Values) -> Result<Value, Error> {
    let one = |count: i32| Some(IntOrString::Int(count));
    let spec = DeploymentSpec {
        replicas: Some(values.replicas),
        revision_history_limit: Some(3),
        selector: selector(),
        strategy: Some(DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment { max_surge: one(1), max_unavailable: one(0) }),
        }),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
            spec: Some(pod(site, values)),
        },
        ..DeploymentSpec::default()
    };
    let mut metadata = metadata(site);
    metadata.labels.get_or_insert_default().insert("app.kubernetes.io/version".to_owned(), VERSION.to_owned());
    let mut value = yaml::value("Deployment", &Deployment { metadata, spec: Some(spec), status: None })?;
    for (pointer, expression) in [
        ("/spec/replicas", "toJson .Values.replicas"),
        ("/spec/template/spec/nodeSelector", "toJson .Values.nodeSelector"),
        ("/spec/template/spec/tolerations", "toJson .Values.tolerations"),
        ("/spec/template/spec/containers/0/resources", "toJson .Values.resources"),
    ] {
        site.place(&mut value, pointer, expression)?;
    }
    Ok(value)
}

fn pod(site: &Site, values: &Values) -> PodSpec {
    PodSpec {
        service_account_name: Some(names::PRODUCT.to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        priority_class_name: Some(names::PRIORITY_CLASS.to_owned()),
        // The last requests are answered and the lease is given back well before.
        termination_grace_period_seconds: Some(45),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        topology_spread_constraints: Some(vec![
            spread("topology.kubernetes.io/zone"),
            spread("kubernetes.io/hostname"),
        ]),
        affinity: Some(apart()),
        node_selector: Some(values.node_selector.clone()),
        tolerations: Some(Vec::new()),
        containers: vec![container(site, values)],
        volumes: Some(vec![credentials()]),
        ..PodSpec::default()
    }
}

fn spread(topology: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: topology.to_owned(),
        // One pod on the only node that is left is better than none.
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector()),
        ..TopologySpreadConstraint::default()
    }
}

fn apart() -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(selector()),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    let preferred = vec![WeightedPodAffinityTerm { pod_affinity_term: term, weight: 100 }];
    let anti = PodAntiAffinity {
        preferred_during_scheduling_ignored_during_execution: Some(preferred),
        ..PodAntiAffinity::default()
    };
    Affinity { pod_anti_affinity: Some(anti), ..Affinity::default() }
}

fn container(site: &Site, values: &Values) -> Container {
    let amounts = |kind: &str| {
        let amounts = values.resources.get(kind)?;
        let quantity = |amount: &Value| Quantity(amount.as_str().unwrap_or_default().to_owned());
        Some(amounts.iter().map(|(name, amount)| (name.clone(), quantity(amount))).collect())
    };
    Container {
        name: names::PRODUCT.to_owned(),
        image: Some(site.image.clone()),
        image_pull_policy: Some(site.pull_policy.clone()),
        command: Some(vec!["/usr/bin/his-operator".to_owned()]),
        args: Some(vec!["run".to_owned()]),
        env: Some(environment(site)),
        ports: Some(vec![ContainerPort {
            name: Some("http".to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        startup_probe: Some(probe("/livez", 1, 60)),
        readiness_probe: Some(probe("/readyz", 5, 2)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        resources: Some(ResourceRequirements {
            requests: amounts("requests"),
            limits: amounts("limits"),
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
        volume_mounts: Some(vec![VolumeMount {
            name: "credentials".to_owned(),
            mount_path: CREDENTIALS.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn environment(site: &Site) -> Vec<EnvVar> {
    let plain =
        |name: &str, value: &str| EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None };
    let pod_name = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "metadata.name".to_owned() };
    vec![
        plain("HIS_NAMESPACE", &site.namespace),
        plain("HIS_SERVICE_ACCOUNT", names::PRODUCT),
        plain("HIS_AGENT_IMAGE", &site.agent_image),
        plain("HIS_LEASE_NAME", names::PRODUCT),
        EnvVar {
            name: "POD_NAME".to_owned(),
            value: None,
            value_from: Some(EnvVarSource { field_ref: Some(pod_name), ..EnvVarSource::default() }),
        },
        // One heap for all threads, instead of one for each: a tenth less memory, and no more work.
        plain("MALLOC_ARENA_MAX", "1"),
        plain("RUST_LOG", &site.log_level),
        plain("OTEL_EXPORTER_OTLP_ENDPOINT", &site.tracing_endpoint),
    ]
}

fn probe(path: &str, every: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(every),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// What the kubelet would mount by itself, with a shorter life and a stricter mode.
fn credentials() -> Volume {
    let token = ServiceAccountTokenProjection {
        path: "token".to_owned(),
        expiration_seconds: Some(3600),
        ..ServiceAccountTokenProjection::default()
    };
    let authority = ConfigMapProjection {
        name: "kube-root-ca.crt".to_owned(),
        items: Some(vec![KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), mode: None }]),
        ..ConfigMapProjection::default()
    };
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "metadata.namespace".to_owned() };
    let namespace = DownwardAPIProjection {
        items: Some(vec![DownwardAPIVolumeFile {
            path: "namespace".to_owned(),
            field_ref: Some(field),
            ..DownwardAPIVolumeFile::default()
        }]),
    };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(authority), ..VolumeProjection::default() },
        VolumeProjection { downward_api: Some(namespace), ..VolumeProjection::default() },
    ];
    Volume {
        name: "credentials".to_owned(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(0o440), sources: Some(sources) }),
        ..Volume::default()
    }
}
