//! What to run when a condition has a reason. Pure; a reason without an entry does not compile.

use crate::{conditions::Reason, names};

/// Commands in the order in which they help, for a hospital of that name.
pub(super) fn commands(reason: Reason, tenant: &str) -> Vec<String> {
    let namespace = names::namespace(tenant);
    templates(reason).iter().map(|template| template.replace("{ns}", &namespace).replace("{name}", tenant)).collect()
}

const HOSTS: &str = "kubectl get ht {name} -o jsonpath='{.status.network.hosts}'";
const STATUS: &str = "kubectl his status {name}";
const EVENTS: &str = "kubectl his events {name}";
const PODS: &str = "kubectl -n {ns} get pods -o wide";
const DESCRIBE: &str = "kubectl -n {ns} describe pod POD      # the one named in the message";
const LOGS: &str = "kubectl -n {ns} logs POD --all-containers --previous";
const JOB: &str = "kubectl -n {ns} get jobs";
const JOB_LOG: &str = "kubectl -n {ns} logs job/JOB      # the one named in the message";
const AGAIN: &str =
    "kubectl patch ht {name} --type merge -p '{\"spec\":{\"release\":{\"attempt\":N}}}'      # one more than before";
const TRIALS: &str = "kubectl get jobs,pods -A -l his-operator.io/tenant={name},his-operator.io/capability=network";
const RETAINED: &str =
    "kubectl -n {ns} get configmap retained-data -o yaml      # what was kept, and of which hospital";
const EDIT: &str = "kubectl edit ht {name}      # or correct its file and apply it";
const CHECK: &str = "kubectl his plan -f FILES      # says the same of a file, before it is applied";
const PLATFORMS: &str = "kubectl get hplat";
const APPLICATIONS: &str = "kubectl get happ -o yaml";

fn templates(reason: Reason) -> &'static [&'static str] {
    match reason {
        Reason::Proved => &[STATUS],
        Reason::Progressing | Reason::NotObserved => &[STATUS, EVENTS, PODS],
        Reason::PlatformNotFound => &[PLATFORMS, EDIT],
        Reason::ApplicationNotFound | Reason::ChannelNotFound | Reason::VersionNotFound | Reason::ImageNotFound => {
            &[APPLICATIONS, EDIT, CHECK]
        }
        Reason::HostTaken => &["kubectl get ht -o wide", EDIT],
        Reason::NamespaceNotOurs => &["kubectl get namespace {ns} -o yaml", EDIT],
        Reason::RetainedDataFound => &[RETAINED, EDIT],
        Reason::TemplateInvalid | Reason::ExceptionMissing | Reason::ImagesChanged => &[APPLICATIONS, CHECK],
        Reason::ParameterInvalid
        | Reason::ReferenceInvalid
        | Reason::BindingMissing
        | Reason::CidrRefused
        | Reason::WebhooksInvalid
        | Reason::OutOfBounds
        | Reason::DatabaseModeRefused
        | Reason::DatabaseModeChanged
        | Reason::SchemaContracted
        | Reason::TimeInvalid => &[EDIT, CHECK],
        Reason::Unsupported => &["kubectl get crd", STATUS],
        Reason::SecretNotFound => &[
            "kubectl -n {ns} get secrets",
            "kubectl -n {ns} create secret generic SECRET --from-file=KEY=FILE      # as the message says",
        ],
        Reason::RotationRefused => &["kubectl -n {ns} get secrets -l his-operator.io/capability=credentials", EDIT],
        Reason::DatabaseNotReady => &[
            PODS,
            "kubectl -n {ns} describe pod database-0",
            "kubectl -n {ns} logs database-0 --all-containers --tail 100",
            "kubectl -n {ns} get persistentvolumeclaims",
        ],
        Reason::InitRunning | Reason::MigrationRunning | Reason::ContractRunning => &[JOB, JOB_LOG],
        Reason::InitFailed | Reason::MigrationFailed | Reason::ContractFailed => {
            &[JOB, JOB_LOG, AGAIN, "kubectl his status {name} --watch"]
        }
        Reason::GateFailed => &[JOB, JOB_LOG, PODS, AGAIN],
        Reason::RolledBack | Reason::RequestsFailing => &[STATUS, EVENTS, PODS, AGAIN],
        Reason::QuotaTooSmall => &["kubectl -n {ns} describe resourcequota hospital", EDIT],
        Reason::PodsFailing => &[PODS, DESCRIBE, LOGS, EVENTS],
        Reason::RouteNotAccepted => &["kubectl -n {ns} get httproutes -o yaml", "kubectl get gateways -A"],
        Reason::GatewayMissing => &["kubectl get gateways -A", "kubectl edit hplat PLATFORM      # spec.gateway"],
        Reason::NetworkOpen => &[
            "kubectl his network {name}",
            "kubectl -n {ns} get networkpolicies",
            "kubectl -n kube-system get pods      # is a network plug-in that enforces them among these?",
        ],
        Reason::NotTried => &[TRIALS, EVENTS],
        Reason::HostRefused | Reason::HostUnresolved => &[HOSTS, EDIT],
        Reason::SwitchedOff => &[STATUS, EDIT],
        Reason::Paused => &[STATUS, "kubectl his resume {name}      # before its end"],
        Reason::ApiError => &[
            STATUS,
            "kubectl -n his-operator-system logs deployment/his-operator --tail 100",
            "kubectl his support-bundle {name}",
        ],
        Reason::Deleting => &[EVENTS, "kubectl -n {ns} get all", RETAINED],
    }
}
