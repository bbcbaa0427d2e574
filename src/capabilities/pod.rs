//! Hardened pods: the only way in which a capability makes one.
//!
//! Guarantees: the restricted Pod Security Standard and more (own identity, no token, read-only root, no capability, no
//! environment secrets unless excepted, requests and limits for CPU, memory and local disk). There is no setter that
//! loosens anything but [`Container::writable_root`], which a stated exception pays for.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, Container as K8sContainer, ContainerPort, EmptyDirVolumeSource, EnvVar, ExecAction,
        Lifecycle, LifecycleHandler, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec,
        Probe, ResourceRequirements, SeccompProfile, SecurityContext, SleepAction, TopologySpreadConstraint, Volume,
        VolumeMount, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
    },
};

use crate::{
    api::v1alpha1::{Colour, Resources},
    capabilities::isolation::{mebibytes, quantities},
    names,
    tenant::Tenant,
};

/// User and group of every container; no image of ours or others uses it for anything else.
pub const USER: i64 = 10_001;
/// Volume of `/tmp`, which every container may write; 64Mi unless a program brings its own.
pub const SCRATCH: &str = "tmp";
/// MiB of local disk for what a container logs, beside its directories.
const LOGS: i64 = 64;
const DISK: &str = "ephemeral-storage";
/// Least seconds between the order to stop and the signal: endpoints leave the proxies first.
pub const PRE_STOP_SECONDS: i64 = 5;

/// What differs between pods.
#[derive(Clone, Debug)]
pub struct Pod<'a> {
    /// The hospital.
    pub tenant: &'a Tenant,
    /// Capability that renders it.
    pub capability: &'static str,
    /// Component: label, ServiceAccount and name of the main container.
    pub component: &'a str,
    /// Which of the two copies of its component it is, where there are two.
    pub colour: Option<Colour>,
    /// Version label; absent on what is not part of a release.
    pub version: Option<&'a str>,
    /// Containers that run to their end first.
    pub init: Vec<K8sContainer>,
    /// The container.
    pub main: K8sContainer,
    /// Containers beside it.
    pub beside: Vec<K8sContainer>,
    /// Volumes; one named [`SCRATCH`] takes the place of the default.
    pub volumes: Vec<Volume>,
    /// Seconds that it may take to end.
    pub termination_seconds: i64,
    /// `Always`, or `Never` for Jobs.
    pub restart_policy: &'static str,
    /// An agent whose termination message is a report.
    pub reports: bool,
    /// Annotations of the pod.
    pub annotations: BTreeMap<String, String>,
}

impl Pod<'_> {
    /// The template for a workload.
    pub fn template(self) -> PodTemplateSpec {
        let mut labels = self.tenant.labels(self.capability);
        labels.insert(names::COMPONENT.to_owned(), self.component.to_owned());
        if let Some(colour) = self.colour {
            labels.insert(names::COLOUR.to_owned(), colour.as_str().to_owned());
        }
        if let Some(version) = self.version {
            labels.insert(names::APP_VERSION.to_owned(), version.to_owned());
        }
        if self.reports {
            labels.insert(names::REPORTS.to_owned(), "true".to_owned());
        }
        let annotations = (!self.annotations.is_empty()).then(|| self.annotations.clone());
        let metadata = ObjectMeta { labels: Some(labels), annotations, ..ObjectMeta::default() };
        PodTemplateSpec { metadata: Some(metadata), spec: Some(self.spec()) }
    }

    fn spec(self) -> PodSpec {
        let selector = selector(self.tenant, self.component, self.colour);
        let long_running = self.restart_policy == "Always";
        let sized = self.volumes.iter().any(|volume| volume.name == SCRATCH);
        let scratch = (!sized).then(|| empty_dir(SCRATCH, "64Mi", false));
        let volumes: Vec<_> = scratch.into_iter().chain(self.volumes).collect();
        PodSpec {
            service_account_name: Some(self.component.to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            host_users: self
                .tenant
                .platform
                .nodes
                .as_ref()
                .and_then(|nodes| nodes.user_namespaces)
                .filter(|on| *on)
                .map(|_| false),
            priority_class_name: Some(names::PRIORITY_CLASS.to_owned()),
            restart_policy: Some(self.restart_policy.to_owned()),
            termination_grace_period_seconds: Some(self.termination_seconds.saturating_add(wait_of(&self.main))),
            security_context: Some(pod_security()),
            topology_spread_constraints: long_running.then(|| spread(&selector)),
            affinity: long_running.then(|| apart(&selector)),
            init_containers: (!self.init.is_empty()).then_some(self.init),
            containers: std::iter::once(self.main).chain(self.beside).map(|one| with_disk_for(one, &volumes)).collect(),
            volumes: Some(volumes),
            ..PodSpec::default()
        }
    }
}

/// Seconds that its end is put off by; counted from the order to stop, so that the program has all of its own time.
fn wait_of(main: &K8sContainer) -> i64 {
    let handler = main.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    handler.and_then(|handler| handler.sleep.as_ref()).map_or(PRE_STOP_SECONDS, |sleep| sleep.seconds)
}

/// The kubelet evicts a pod that uses more local disk than its limit, and directories count: so the limit covers all of them
/// when they are full, and its logs.
fn with_disk_for(mut container: K8sContainer, volumes: &[Volume]) -> K8sContainer {
    let on_disk = volumes.iter().filter_map(|volume| volume.empty_dir.as_ref()).filter(|dir| dir.medium.is_none());
    let sizes = on_disk.filter_map(|dir| dir.size_limit.as_ref()).map(|size| mebibytes(&size.0));
    let needed = sizes.fold(LOGS, i64::saturating_add);
    let limits = container.resources.as_mut().and_then(|resources| resources.limits.as_mut());
    if let Some(limit) = limits.and_then(|limits| limits.get_mut(DISK))
        && mebibytes(&limit.0) < needed
    {
        *limit = Quantity(format!("{needed}Mi"));
    }
    container
}

/// What happens before a container is asked to end.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PreStop {
    /// Nothing.
    #[default]
    Nothing,
    /// It waits so many seconds, until proxies have noticed that nobody is to be led to it.
    Wait(i64),
    /// A program of its own returns.
    Run(Vec<String>),
}

impl PreStop {
    fn build(self) -> Option<Lifecycle> {
        let handler = match self {
            Self::Nothing => return None,
            Self::Wait(seconds) => {
                LifecycleHandler { sleep: Some(SleepAction { seconds }), ..LifecycleHandler::default() }
            }
            Self::Run(command) => {
                LifecycleHandler { exec: Some(ExecAction { command: Some(command) }), ..LifecycleHandler::default() }
            }
        };
        Some(Lifecycle { pre_stop: Some(handler), ..Lifecycle::default() })
    }
}

/// What differs between containers.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Image by digest.
    pub image: String,
    /// Command; empty means the image's.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<EnvVar>,
    /// Named TCP ports.
    pub ports: Vec<(String, i32)>,
    /// Mounts beside `/tmp`.
    pub mounts: Vec<VolumeMount>,
    /// Startup, readiness and liveness.
    pub probes: [Option<Probe>; 3],
    /// Resources; what is absent becomes the smallest.
    pub resources: Resources,
    /// What happens before it is asked to end.
    pub pre_stop: PreStop,
    /// Root file system is writable, by a stated exception.
    pub writable_root: bool,
}

impl Container {
    /// The container, hardened.
    pub fn build(self) -> K8sContainer {
        let [startup_probe, readiness_probe, liveness_probe] = self.probes;
        let port = |(name, port): (String, i32)| ContainerPort {
            name: Some(name),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        };
        let tmp = mount(SCRATCH, "/tmp", None, false);
        K8sContainer {
            name: self.name,
            image: Some(self.image),
            image_pull_policy: Some("IfNotPresent".to_owned()),
            command: some(self.command),
            args: some(self.args),
            env: some(self.env),
            ports: some(self.ports.into_iter().map(port).collect()),
            volume_mounts: Some(std::iter::once(tmp).chain(self.mounts).collect()),
            startup_probe,
            readiness_probe,
            liveness_probe,
            resources: Some(requirements(&self.resources)),
            lifecycle: self.pre_stop.build(),
            security_context: Some(container_security(self.writable_root)),
            ..K8sContainer::default()
        }
    }
}

/// Selector of a component's pods: tenant, component and colour, nothing that ever changes.
pub fn selector(tenant: &Tenant, component: &str, colour: Option<Colour>) -> LabelSelector {
    let mut labels = BTreeMap::from([
        (names::TENANT.to_owned(), tenant.name.clone()),
        (names::COMPONENT.to_owned(), component.to_owned()),
    ]);
    labels.extend(colour.map(|colour| (names::COLOUR.to_owned(), colour.as_str().to_owned())));
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// A scratch directory with an upper bound; in memory if it holds secrets.
pub fn empty_dir(name: &str, size: &str, in_memory: bool) -> Volume {
    let source = EmptyDirVolumeSource {
        size_limit: Some(Quantity(size.to_owned())),
        medium: in_memory.then(|| "Memory".to_owned()),
    };
    Volume { name: name.to_owned(), empty_dir: Some(source), ..Volume::default() }
}

/// A mount.
pub fn mount(volume: &str, path: &str, sub_path: Option<&str>, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        sub_path: sub_path.map(ToOwned::to_owned),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn requirements(resources: &Resources) -> ResourceRequirements {
    let or = |given: &Option<String>, smallest: &str| given.clone().unwrap_or_else(|| smallest.to_owned());
    let memory = or(&resources.memory, "64Mi");
    let disk = or(&resources.ephemeral_storage, "64Mi");
    let amounts = |cpu: String| Some(quantities([("cpu", cpu), ("memory", memory.clone()), (DISK, disk.clone())]));
    ResourceRequirements {
        requests: amounts(or(&resources.cpu, "50m")),
        limits: amounts(or(&resources.cpu_limit, "500m")),
        ..ResourceRequirements::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn container_security(writable_root: bool) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        privileged: Some(false),
        read_only_root_filesystem: Some(!writable_root),
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

fn spread(selector: &LabelSelector) -> Vec<TopologySpreadConstraint> {
    let over = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector.clone()),
        ..TopologySpreadConstraint::default()
    };
    vec![over("topology.kubernetes.io/zone"), over("kubernetes.io/hostname")]
}

fn apart(selector: &LabelSelector) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(selector.clone()),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: term,
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}
