//! Conditions: what was proved, what failed, what is not known; and the one thing to do next.
//!
//! Guarantees: a condition is True only by observation; every reason is a variant of [`Reason`] and has advice.

use chrono::{DateTime, Utc};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::api::v1alpha1::Blocking;

/// Roll-up of all capabilities (kstatus).
pub const READY: &str = "Ready";
/// Work is under way (kstatus).
pub const RECONCILING: &str = "Reconciling";
/// No progress without a person (kstatus).
pub const STALLED: &str = "Stalled";

/// Three-valued truth: what was not observed is unknown, never true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Seen to hold.
    Proved,
    /// Seen not to hold.
    Failed,
    /// Not seen.
    Unknown,
}

impl Proof {
    /// Value of a condition's `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proved => "True",
            Self::Failed => "False",
            Self::Unknown => "Unknown",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $next:literal,)+) => {
        /// Every reason that a condition can have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// All reasons, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Name in a condition.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// The reason with this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }

            /// What has happened.
            pub fn cause(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// What a person should do about it.
            pub fn next(self) -> &'static str {
                match self { $(Self::$name => $next,)+ }
            }
        }
    };
}

reasons! {
    /// Everything was observed to hold.
    Proved => "Nothing to do.",
    /// Objects are written, their controllers are still at work.
    Progressing => "Wait. If it lasts, look at the pods named in the message with kubectl describe.",
    /// The platform that the tenant names does not exist.
    PlatformNotFound => "Apply the HospitalPlatform, or correct spec.platform.",
    /// The application that the tenant names does not exist.
    ApplicationNotFound => "Apply the HospitalApplication, or correct spec.application.name.",
    /// The platform has no such channel of the application.
    ChannelNotFound => "Choose a channel that the HospitalPlatform has for this application, or have it added there; or name a version.",
    /// The application has no such version.
    VersionNotFound => "Choose a version that the HospitalApplication lists, or have it added there.",
    /// A component names an image that the version does not list.
    ImageNotFound => "Add the image to that version in the HospitalApplication.",
    /// Two tenants want the same host.
    HostTaken => "Choose another host, or remove it from the tenant that holds it.",
    /// The namespace exists and belongs to somebody else.
    NamespaceNotOurs => "Rename the tenant, or have the owner of the namespace remove it.",
    /// The namespace holds data of a deleted tenant.
    RetainedDataFound => "To take the data over, set spec.adopt.tenantUid to the UID in the message; otherwise rename the tenant.",
    /// A template does not compile or names an unknown variable.
    TemplateInvalid => "Correct the template in the HospitalApplication.",
    /// A required parameter is missing or an unknown one is given.
    ParameterInvalid => "Correct spec.parameters of the tenant.",
    /// Something in the spec names something that does not exist.
    ReferenceInvalid => "Correct the field named in the message.",
    /// An address range is none, overlaps another one, or holds addresses that are never allowed.
    CidrRefused => "Correct the address range in the field named in the message.",
    /// The application depends on a service that the tenant does not bind.
    BindingMissing => "Add the binding to spec.bindings of the tenant.",
    /// Servers that the application calls are not listed, or one that is listed is no DNS name.
    WebhooksInvalid => "Correct spec.webhooks.hosts of the tenant.",
    /// A security rule is broken without a stated exception.
    ExceptionMissing => "Use a file instead of an environment variable, or state the exception with its reason.",
    /// The tenant asks for less than the platform's floor, or more than the application's maximum.
    OutOfBounds => "Correct the number named in the message.",
    /// The platform does not allow or cannot serve that database mode.
    DatabaseModeRefused => "Choose another database mode, or have the platform offer this one.",
    /// The database mode differs from the one that holds the hospital's data.
    DatabaseModeChanged => "Set the database mode back; to move, restore a backup into a new tenant.",
    /// An annotation or an `off` block has no valid time.
    TimeInvalid => "Write the time as RFC 3339, for example 2030-01-31T18:00:00Z.",
    /// The CRD of a part that is needed is not installed.
    Unsupported => "Install the part named in the message; it is picked up as soon as its CRD is there.",
    /// A Secret that a person must provide is not there.
    SecretNotFound => "Create the Secret named in the message in the hospital's namespace.",
    /// A generation of a secret is asked for that would lose the one in use, or that nothing would use.
    RotationRefused => "Correct spec.credentials.rotations of the tenant: raise the generation in use by one.",
    /// The database is not ready.
    DatabaseNotReady => "Look at the database pod named in the message.",
    /// Init has not ended.
    InitRunning => "Wait. Follow it with kubectl logs on the Job named in the message.",
    /// Init has failed.
    InitFailed => "Read the Job's log, correct the cause, then raise spec.release.attempt.",
    /// A migration has not ended; the old version serves.
    MigrationRunning => "Wait. The old version serves. Follow it with kubectl logs on the Job named in the message.",
    /// A migration has failed; the old version serves.
    MigrationFailed => "The old version serves. Read the Job's log, correct the cause, then raise spec.release.attempt, or set the old version again.",
    /// The contract step of the version that serves has not ended.
    ContractRunning => "Wait. The version serves. Follow it with kubectl logs on the Job named in the message.",
    /// The contract step of the version that serves has failed.
    ContractFailed => "The version serves. Read the Job's log, correct the cause, then raise spec.release.attempt. Older versions may not run any more.",
    /// What older versions need was removed by a contract step.
    SchemaContracted => "Choose a version with that schema or a newer one. To go back further, restore a backup into a new tenant.",
    /// There is no room for a second set of pods.
    QuotaTooSmall => "Raise spec.isolation.quota of the tenant, or remove it.",
    /// New pods did not pass the application's own checks; the old version serves.
    GateFailed => "The old version serves. Read the log of the Job named in the message, correct the cause, then raise spec.release.attempt, or set the old version again.",
    /// Requests of the kind that users send failed while a release came in; the old version serves.
    RequestsFailing => "The old version serves. Read the log of the pods named in the message, correct the cause, then raise spec.release.attempt, or set the old version again.",
    /// A release was taken back; the old version serves.
    RolledBack => "The old version serves. Look at what the message names, correct the cause, then raise spec.release.attempt, or set the old version again.",
    /// A version stands for other images than before.
    ImagesChanged => "Restore the images of that version in the HospitalApplication, and list the new ones as a new version.",
    /// Pods do not start.
    PodsFailing => "Look at the pod named in the message with kubectl describe and kubectl logs.",
    /// The Gateway has not accepted the route.
    RouteNotAccepted => "Look at the status of the HTTPRoute and of the Gateway named in the platform.",
    /// The platform has no Gateway.
    GatewayMissing => "Add spec.gateway to the HospitalPlatform.",
    /// A connection that nobody declared was tried, and opened.
    NetworkOpen => "Have the network plug-in enforce NetworkPolicies, or install one that does. Until then the hospital is not isolated.",
    /// Whether policies are enforced was not tried, or too long ago, or in a way that proves nothing.
    NotTried => "Wait: Jobs named network-probe-… try it once the hospital runs, and every hour, in its namespace and in hospital-probes. If it lasts, look at the pods of these Jobs.",
    /// The name of a server outside leads to an address that is not allowed.
    HostRefused => "Correct the name in the field named in the message, or have its owner correct where it leads; addresses that are meant belong in cidrs.",
    /// The name of a server outside leads nowhere, or nobody could be asked.
    HostUnresolved => "Check the name in the field named in the message, and that the operator's pods reach the cluster's DNS. It is asked for again every minute.",
    /// Switched off by the spec until a given time.
    SwitchedOff => "Nothing, if intended. It comes back on by itself at the time in the message.",
    /// The tenant is paused until a given time.
    Paused => "Nothing, if intended. Remove the annotation his-operator.io/pause-until to resume earlier.",
    /// The API server refused or did not answer.
    ApiError => "Usually passes. If it lasts, read the message: it is the API server's.",
    /// The tenant is being deleted.
    Deleting => "Wait. All data is kept.",
    /// Nothing else depends on it yet.
    NotObserved => "Wait for the first observation.",
}

/// What one capability knows after a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Truth.
    pub proof: Proof,
    /// Reason.
    pub reason: Reason,
    /// Names and numbers; never secrets or patient data.
    pub message: String,
}

impl Verdict {
    /// Seen to hold.
    pub fn proved(message: impl Into<String>) -> Self {
        Self { proof: Proof::Proved, reason: Reason::Proved, message: message.into() }
    }

    /// Seen not to hold.
    pub fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Self { proof: Proof::Failed, reason, message: message.into() }
    }

    /// Not seen.
    pub fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self { proof: Proof::Unknown, reason, message: message.into() }
    }
}

/// Why a spec cannot be acted upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Rejection {
    /// Path of the field, for example `spec.host`, or the object.
    pub field: String,
    /// Reason.
    pub reason: Reason,
    /// What is wrong and how to correct it.
    pub message: String,
    /// Something else has to appear first; nobody has to edit this tenant.
    pub waiting: bool,
}

impl Rejection {
    /// The spec is wrong: wait for an edit.
    pub fn terminal(field: impl Into<String>, reason: Reason, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason, message: message.into(), waiting: false }
    }

    /// A dependency is not there yet: its watch wakes us.
    pub fn waiting(field: impl Into<String>, reason: Reason, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason, message: message.into(), waiting: true }
    }
}

/// Verdicts by condition type, in the order of the registry.
pub type Verdicts = Vec<(&'static str, Verdict)>;

/// Ready: the first verdict that is not proved decides.
pub fn ready(verdicts: &Verdicts) -> (Verdict, Option<Blocking>) {
    let worst = verdicts
        .iter()
        .find(|(_, verdict)| verdict.proof == Proof::Failed)
        .or_else(|| verdicts.iter().find(|(_, verdict)| verdict.proof == Proof::Unknown));
    let Some((condition, verdict)) = worst else {
        return (Verdict::proved(format!("all {} capabilities are proved", verdicts.len())), None);
    };
    let blocking = Blocking {
        condition: (*condition).to_owned(),
        reason: verdict.reason.as_str().to_owned(),
        message: verdict.message.clone(),
        next: verdict.reason.next().to_owned(),
    };
    let message = format!("{condition}: {}", verdict.message);
    (Verdict { proof: verdict.proof, reason: verdict.reason, message }, Some(blocking))
}

/// A condition; its transition time changes only with its status.
pub fn condition(
    kind: &str,
    verdict: &Verdict,
    generation: Option<i64>,
    before: &[Condition],
    now: DateTime<Utc>,
) -> Condition {
    let status = verdict.proof.as_str();
    let since = before.iter().find(|c| c.type_ == kind && c.status == status).map(|c| c.last_transition_time.clone());
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.as_str().to_owned(),
        message: verdict.message.clone(),
        observed_generation: generation,
        last_transition_time: since.unwrap_or_else(|| time(now)),
    }
}

/// Kubernetes time with whole seconds, as the API server stores it.
pub fn time(at: DateTime<Utc>) -> Time {
    Time(Timestamp::from_second(at.timestamp()).unwrap_or_default())
}
