//! How a new version comes in, and how far it has come.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Off;

/// How a new version comes in.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct ReleaseSpec {
    /// Counts attempts. A release that failed is not repeated until this number is raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    #[x_kube(validation = Rule::new("self >= oldSelf").message("attempt can only be raised: each number stands for one run"))]
    pub attempt: Option<i32>,
    /// Seconds that the old pods stay, ready to take over again, after the new ones serve. Absent: 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub soak_seconds: Option<i64>,
    /// Seconds that the new pods may take to become ready and pass the gate; after that the release is rolled back. Absent: 1800.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400))]
    pub deadline_seconds: Option<i64>,
    /// Version whose contract step may run, once that version serves alone. Absent, or another version: it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub contract: Option<String>,
    /// When releases may begin. Absent: at any time. What has begun goes on, and a first installation never waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 14))]
    pub windows: Vec<MaintenanceWindow>,
    /// Keeps the release that serves until then, whatever the spec asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Off>,
}

/// A time of the week in which releases may begin.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct MaintenanceWindow {
    /// Days on which it begins. Absent: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Day>,
    /// Time of day at which it begins, for example `02:30`.
    #[schemars(length(min = 5, max = 5))]
    #[x_kube(validation = Rule::new("self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')").message("start must be a time of day such as 02:30"))]
    pub start: String,
    /// Minutes that it lasts.
    #[schemars(range(min = 15, max = 1440))]
    pub minutes: i32,
    /// Time zone of `start`, as in the IANA database, for example `Europe/Paris`.
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
}

/// Day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Day {
    /// Day 1 (ISO 8601).
    Monday,
    /// Day 2.
    Tuesday,
    /// Day 3.
    Wednesday,
    /// Day 4.
    Thursday,
    /// Day 5.
    Friday,
    /// Day 6.
    Saturday,
    /// Day 7.
    Sunday,
}

/// One of the two copies of a component during a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// The first.
    #[default]
    Blue,
    /// The other.
    Green,
}

impl Colour {
    /// Part of names, and value of a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }

    /// From the value of a label.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Blue, Self::Green].into_iter().find(|colour| colour.as_str() == text)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Steps of a release, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReleaseStep {
    /// Is there room for the new pods beside the old ones?
    #[default]
    Preflight,
    /// Init or the additive migration runs, with the new image. If it fails, nothing has changed for users.
    Expand,
    /// New pods come up beside the old ones; no user reaches them.
    Surge,
    /// The application's own checks against the new pods.
    Gate,
    /// Users are led to the new pods, all components at once.
    Cutover,
    /// Workers and schedulers are replaced: the old ones end before the new ones start.
    Drain,
    /// The old pods stay, ready to take over again.
    Soak,
    /// Users are led back to the old pods; the new ones are removed.
    Rollback,
}

impl fmt::Display for ReleaseStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What distinguishes one release from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseIdentity {
    /// Version of the application.
    pub version: String,
    /// `spec.release.attempt`.
    pub attempt: i32,
    /// Digest of everything that its pods are made from.
    pub digest: String,
    /// Digest of the version's images: a version whose images change is not the same version any more.
    pub images: String,
    /// Image of his-agent in its pods. They keep it, so that an upgrade of the operator restarts nobody.
    pub agent: String,
    /// Seconds that its pods go on serving after they were told to end: twice as long as the Gateway took to follow in the last
    /// releases. Absent: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linger_seconds: Option<i64>,
}

/// The release that serves, the one that is coming in, and what became of the last ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// The release that serves users; during a release the one that can take over again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveRelease>,
    /// The release that is coming in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The release that the spec asks for and that has failed; it is not tried again until the spec changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedRelease>,
    /// When the release that the spec asks for may begin (RFC 3339): its maintenance window, or the end of a hold. Absent:
    /// nothing is asked for that is not there, or neither keeps it waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// Releases that have begun so far.
    #[serde(default)]
    pub count: i64,
    /// Ended releases, newest first (at most 10).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<ReleaseRecord>,
}

impl ReleaseStatus {
    /// Nothing is known of any release.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The release that serves users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveRelease {
    /// Its pods.
    pub colour: Colour,
    /// Which one it is.
    pub release: ReleaseIdentity,
}

/// A release that is coming in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Its pods.
    pub colour: Colour,
    /// Which one it is.
    pub release: ReleaseIdentity,
    /// Number among the hospital's releases, from 1.
    pub number: i64,
    /// How far it has come. Written down before anything is done for the step.
    pub step: ReleaseStep,
    /// Since when (RFC 3339).
    pub since: String,
    /// When it began (RFC 3339).
    pub started: String,
    /// Who asked for it: the field manager that changed the spec last, such as `kubectl` or a GitOps controller. Absent: not
    /// known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// What the data can be set back to.
    #[serde(default)]
    pub restore_point: RestorePoint,
    /// Steps that have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepDuration>,
    /// Why it is rolled back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<ReleaseFailure>,
}

/// A backup from right before a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RestorePoint {
    /// This version of the operator makes none: take a backup by other means before a migration that cannot be undone.
    #[default]
    Unsupported,
}

/// How long a step took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepDuration {
    /// The step.
    pub step: ReleaseStep,
    /// Seconds.
    pub seconds: i64,
}

/// Why a release does not come in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseFailure {
    /// The step that failed.
    pub step: ReleaseStep,
    /// Reason, as in a condition.
    pub reason: String,
    /// What was wrong.
    pub message: String,
}

/// A release that has failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedRelease {
    /// Which one.
    pub release: ReleaseIdentity,
    /// Why.
    pub failure: ReleaseFailure,
}

/// An ended release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRecord {
    /// Which one.
    pub release: ReleaseIdentity,
    /// Number among the hospital's releases, from 1.
    pub number: i64,
    /// How it ended.
    pub outcome: ReleaseOutcome,
    /// When it began (RFC 3339).
    pub started: String,
    /// When it ended (RFC 3339).
    pub ended: String,
    /// Who asked for it: the field manager that had changed the spec last. Absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// What the data could be set back to.
    #[serde(default)]
    pub restore_point: RestorePoint,
    /// How long each step took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepDuration>,
    /// Why it did not come in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<ReleaseFailure>,
    /// What users met meanwhile. Absent: nobody watched, or it is not known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<ReleaseEvidence>,
}

/// What users met while they were led to other pods, by requests that went their way through the front door.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseEvidence {
    /// Requests sent.
    pub requests: i64,
    /// Requests that had no good answer.
    pub failed: i64,
    /// Good answers of the pods that served before.
    pub old: i64,
    /// Good answers of the new pods.
    pub new: i64,
    /// Milliseconds in which both answered, by the time at which requests were sent. 0: one instant divides them.
    pub mixed_milliseconds: i64,
    /// Milliseconds between two requests; nothing shorter is seen.
    pub interval_milliseconds: i64,
    /// So many failed in a row of time that the release had to be taken back.
    #[serde(default)]
    pub breached: bool,
    /// Milliseconds from then until the pods that served before answered everything again. Absent: nothing was taken back for
    /// this reason, or it was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_milliseconds: Option<i64>,
}

/// How a release ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReleaseOutcome {
    /// It serves.
    #[default]
    Completed,
    /// What served before still does, or does again.
    RolledBack,
}
