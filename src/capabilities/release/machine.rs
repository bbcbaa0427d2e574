//! How a release moves: one pure, total function from what is written down and what is seen to what is written down next.
//!
//! Guarantees: a step is written down before anything is done for it, so a crash at any point is followed by the same
//! step again. Users are led to pods only after these have passed the gate; back only to pods that are all ready. Without a
//! release that could take over, nothing is rolled back.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::{assess, gate::Gate};
use crate::{
    api::v1alpha1::{
        Colour, LiveRelease, RefusedRelease, ReleaseEvidence, ReleaseFailure, ReleaseIdentity, ReleaseOutcome,
        ReleaseRecord, ReleaseStatus, ReleaseStep, Rollout, StepDuration,
    },
    conditions::Reason,
};

pub use crate::capabilities::serving::Pods;

const HISTORY: usize = 10;
/// More than there are steps.
const TURNS: usize = 16;
/// Seconds that the Gateway may take to follow a change.
const FOLLOW_SECONDS: i64 = 300;

/// What the application's own checks say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Every check has passed as often as it must.
    Passed,
    /// Under way.
    Running,
    /// One did not pass.
    Failed(String),
}

/// Who watches the front door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Nobody can, or nothing serves yet.
    Nobody,
    /// The prober is on its way.
    Coming,
    /// The prober asks.
    Asking,
    /// The prober has ended; what it has seen, if that is known.
    Ended(Option<ReleaseEvidence>),
}

impl Watch {
    fn breached(&self) -> Option<String> {
        let Self::Ended(Some(evidence)) = self else { return None };
        let ReleaseEvidence { requests, failed, .. } = evidence;
        evidence.breached.then(|| format!("{failed} of {requests} requests through the front door failed"))
    }
}

/// What is seen of the world.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The release that the spec asks for.
    pub wanted: ReleaseIdentity,
    /// Who asks for it.
    pub asked_by: Option<String>,
    /// Why no release may begin now.
    pub closed: Option<String>,
    /// What the quota lacks for the new pods.
    pub shortage: Option<String>,
    /// Whether init and migration of the wanted release are through.
    pub expand: Gate,
    /// What the step that has failed said last, where it may be told.
    pub last_words: String,
    /// Pods of the release that is coming in, that users will be led to.
    pub new: Pods,
    /// Pods of the release that serves, that users are led to.
    pub old: Pods,
    /// The gate.
    pub check: Check,
    /// The colour that users are led to, once everybody who leads them follows.
    pub traffic: Option<Colour>,
    /// Workers, schedulers and what is replaced in place, of the release that is coming in.
    pub background: Pods,
    /// Who watches while users are led to the new pods.
    pub watch: Watch,
    /// What was seen during the last release that has ended, with its number.
    pub last: Option<(i64, ReleaseEvidence)>,
    /// How long surge and gate may take.
    pub deadline: TimeDelta,
    /// How long the old pods stay.
    pub soak: TimeDelta,
}

impl Seen {
    /// What the surge waits for. A first release comes up as a whole: there is no other that its workers could meet.
    pub fn coming(&self, state: &ReleaseStatus) -> &Pods {
        if state.live.is_none() && self.new == Pods::Complete { &self.background } else { &self.new }
    }
}

/// The colour that the next release comes up in.
pub fn idle_colour(state: &ReleaseStatus) -> Colour {
    match (&state.rollout, &state.live) {
        (Some(rollout), _) => rollout.colour,
        (None, Some(live)) => live.colour.other(),
        (None, None) => Colour::default(),
    }
}

/// What is written down next. The same for the same input, however often it is asked.
pub fn next(before: &ReleaseStatus, seen: &Seen, now: DateTime<Utc>) -> ReleaseStatus {
    let mut state = before.clone();
    for _ in 0..TURNS {
        let after = with_evidence(turn(&state, seen, now), seen.last.as_ref());
        if after == state {
            break;
        }
        state = after;
    }
    state
}

/// What the prober has seen is often known only after the release has ended.
fn with_evidence(mut state: ReleaseStatus, seen: Option<&(i64, ReleaseEvidence)>) -> ReleaseStatus {
    if let (Some(last), Some((number, evidence))) = (state.history.first_mut(), seen)
        && last.number == *number
    {
        last.evidence.get_or_insert_with(|| evidence.clone());
    }
    state
}

/// When time alone moves the release on.
pub fn due(state: &ReleaseStatus, deadline: TimeDelta, soak: TimeDelta) -> Option<DateTime<Utc>> {
    let rollout = state.rollout.as_ref()?;
    Some(parse(&rollout.since) + limit(rollout.step, deadline, soak)?)
}

fn limit(step: ReleaseStep, deadline: TimeDelta, soak: TimeDelta) -> Option<TimeDelta> {
    match step {
        ReleaseStep::Preflight | ReleaseStep::Expand | ReleaseStep::Rollback => None,
        ReleaseStep::Surge | ReleaseStep::Gate | ReleaseStep::Drain => Some(deadline),
        ReleaseStep::Cutover => Some(TimeDelta::seconds(FOLLOW_SECONDS)),
        ReleaseStep::Soak => Some(soak),
    }
}

fn turn(state: &ReleaseStatus, seen: &Seen, now: DateTime<Utc>) -> ReleaseStatus {
    let Some(rollout) = &state.rollout else { return begin(state, seen, now) };
    if rollout.release.digest != seen.wanted.digest
        && let Some(next) = superseded(state, rollout, seen, now)
    {
        return next;
    }
    if let Some(what) = seen.watch.breached().filter(|_| may_go_back(state, rollout, seen)) {
        return fail(state, Reason::RequestsFailing, &what, now);
    }
    let overdue =
        limit(rollout.step, seen.deadline, seen.soak).is_some_and(|limit| now >= parse(&rollout.since) + limit);
    match rollout.step {
        ReleaseStep::Preflight if seen.shortage.is_none() => at(state, ReleaseStep::Expand, now),
        ReleaseStep::Expand => expand(state, seen, now),
        ReleaseStep::Surge => surge(state, seen, overdue, now),
        ReleaseStep::Gate => gate(state, seen, overdue, now),
        ReleaseStep::Cutover if seen.traffic == Some(rollout.colour) => at(state, ReleaseStep::Drain, now),
        ReleaseStep::Cutover if overdue && state.live.is_some() => {
            fail(state, Reason::RouteNotAccepted, "nobody leads users to the new pods", now)
        }
        ReleaseStep::Preflight | ReleaseStep::Cutover => state.clone(),
        ReleaseStep::Drain | ReleaseStep::Soak => settle(state, rollout, seen, overdue, now),
        ReleaseStep::Rollback => rolled_back(state, rollout, seen, now),
    }
}

fn begin(state: &ReleaseStatus, seen: &Seen, now: DateTime<Utc>) -> ReleaseStatus {
    let wanted = &seen.wanted.digest;
    let serves = state.live.as_ref().is_some_and(|live| live.release.digest == *wanted);
    if serves {
        return ReleaseStatus { refused: None, ..state.clone() };
    }
    if state.refused.as_ref().is_some_and(|refused| refused.release.digest == *wanted) {
        return state.clone();
    }
    if seen.closed.is_some() && state.live.is_some() {
        // What had failed is not asked for any more.
        return ReleaseStatus { refused: None, ..state.clone() };
    }
    let rollout = Rollout {
        colour: idle_colour(state),
        release: seen.wanted.clone(),
        number: state.count.saturating_add(1),
        since: text(now),
        started: text(now),
        asked_by: seen.asked_by.clone(),
        ..Rollout::default()
    };
    ReleaseStatus { count: rollout.number, rollout: Some(rollout), refused: None, ..state.clone() }
}

/// The spec asks for something else in the midst of a release.
fn superseded(state: &ReleaseStatus, rollout: &Rollout, seen: &Seen, now: DateTime<Utc>) -> Option<ReleaseStatus> {
    let back = state.live.as_ref().is_some_and(|live| live.release.digest == seen.wanted.digest);
    match rollout.step {
        // No user has seen anything of it.
        ReleaseStep::Preflight | ReleaseStep::Expand | ReleaseStep::Surge | ReleaseStep::Gate => {
            Some(ReleaseStatus { rollout: None, ..state.clone() })
        }
        ReleaseStep::Cutover | ReleaseStep::Drain | ReleaseStep::Soak if back => {
            Some(fail(state, Reason::RolledBack, "the spec asks for the old release again", now))
        }
        // It serves already; the next one begins from there.
        ReleaseStep::Drain | ReleaseStep::Soak => Some(complete(state, rollout, now)),
        ReleaseStep::Cutover | ReleaseStep::Rollback => None,
    }
}

fn expand(state: &ReleaseStatus, seen: &Seen, now: DateTime<Utc>) -> ReleaseStatus {
    match &seen.expand {
        Gate::Open => at(state, ReleaseStep::Surge, now),
        Gate::Run(_) | Gate::Busy(_) => state.clone(),
        Gate::Failed(wanted) => {
            let reason = assess::reason(wanted.kind, true);
            end(
                state,
                ReleaseOutcome::RolledBack,
                Some(failure(state, reason, format!("Job {} has failed{}", wanted.job, seen.last_words))),
                now,
            )
        }
    }
}

fn surge(state: &ReleaseStatus, seen: &Seen, overdue: bool, now: DateTime<Utc>) -> ReleaseStatus {
    match seen.coming(state) {
        Pods::Complete => at(state, ReleaseStep::Gate, now),
        Pods::Coming(what) | Pods::Broken(what) if overdue && state.live.is_some() => {
            fail(state, Reason::RolledBack, what, now)
        }
        Pods::Coming(_) | Pods::Broken(_) => state.clone(),
    }
}

fn gate(state: &ReleaseStatus, seen: &Seen, overdue: bool, now: DateTime<Utc>) -> ReleaseStatus {
    match (&seen.check, &seen.new) {
        (Check::Passed, Pods::Complete) if seen.watch != Watch::Coming => at(state, ReleaseStep::Cutover, now),
        (Check::Passed, Pods::Complete) if overdue && state.live.is_some() => {
            fail(state, Reason::GateFailed, "the prober that watches the front door did not start", now)
        }
        (Check::Failed(what), _) if state.live.is_some() => fail(state, Reason::GateFailed, what, now),
        // Nothing serves that could go on: what failed is told, and tried again by the next attempt.
        (Check::Failed(what), _) => {
            end(state, ReleaseOutcome::RolledBack, Some(failure(state, Reason::GateFailed, what.clone())), now)
        }
        (Check::Passed | Check::Running, Pods::Coming(what) | Pods::Broken(what))
            if overdue && state.live.is_some() =>
        {
            fail(state, Reason::RolledBack, what, now)
        }
        (Check::Running, _) if overdue && state.live.is_some() => {
            fail(state, Reason::GateFailed, "the checks did not end in time", now)
        }
        (Check::Passed | Check::Running, _) => state.clone(),
    }
}

/// After the cutover: users are on the new pods, the old ones can take over again.
fn settle(state: &ReleaseStatus, rollout: &Rollout, seen: &Seen, overdue: bool, now: DateTime<Utc>) -> ReleaseStatus {
    let can_go_back = state.live.is_some() && seen.old == Pods::Complete;
    match (&seen.new, &seen.background) {
        (Pods::Broken(what), _) if can_go_back => fail(state, Reason::RolledBack, what, now),
        (_, Pods::Coming(what) | Pods::Broken(what))
            if rollout.step == ReleaseStep::Drain && overdue && can_go_back =>
        {
            fail(state, Reason::RolledBack, what, now)
        }
        (_, Pods::Complete) if rollout.step == ReleaseStep::Drain => at(state, ReleaseStep::Soak, now),
        (Pods::Complete, _) if rollout.step == ReleaseStep::Soak && (overdue || state.live.is_none()) => {
            complete(state, rollout, now)
        }
        _ => state.clone(),
    }
}

/// Whether failing requests are a reason to lead users back, and there is somewhere to lead them.
fn may_go_back(state: &ReleaseStatus, rollout: &Rollout, seen: &Seen) -> bool {
    let watched =
        matches!(rollout.step, ReleaseStep::Gate | ReleaseStep::Cutover | ReleaseStep::Drain | ReleaseStep::Soak);
    watched && state.live.is_some() && seen.old == Pods::Complete
}

fn rolled_back(state: &ReleaseStatus, rollout: &Rollout, seen: &Seen, now: DateTime<Utc>) -> ReleaseStatus {
    let Some(live) = &state.live else { return end(state, ReleaseOutcome::RolledBack, rollout.failure.clone(), now) };
    if seen.traffic == Some(live.colour) {
        end(state, ReleaseOutcome::RolledBack, rollout.failure.clone(), now)
    } else {
        state.clone()
    }
}

fn complete(state: &ReleaseStatus, rollout: &Rollout, now: DateTime<Utc>) -> ReleaseStatus {
    let ended = end(state, ReleaseOutcome::Completed, None, now);
    let live = LiveRelease { colour: rollout.colour, release: rollout.release.clone() };
    ReleaseStatus { live: Some(live), ..ended }
}

/// Takes the release off the table and into the history.
fn end(
    state: &ReleaseStatus,
    outcome: ReleaseOutcome,
    failure: Option<ReleaseFailure>,
    now: DateTime<Utc>,
) -> ReleaseStatus {
    let Some(rollout) = state.rollout.clone() else { return state.clone() };
    let refused = failure.clone().map(|failure| RefusedRelease { release: rollout.release.clone(), failure });
    let record = ReleaseRecord {
        steps: with_duration(&rollout, now),
        release: rollout.release,
        number: rollout.number,
        outcome,
        started: rollout.started,
        ended: text(now),
        asked_by: rollout.asked_by,
        restore_point: rollout.restore_point,
        failure,
        evidence: None,
    };
    let history = std::iter::once(record).chain(state.history.iter().cloned()).take(HISTORY).collect();
    ReleaseStatus { rollout: None, refused, history, ..state.clone() }
}

fn at(state: &ReleaseStatus, step: ReleaseStep, now: DateTime<Utc>) -> ReleaseStatus {
    let rollout = state.rollout.clone().map(|rollout| Rollout {
        steps: with_duration(&rollout, now),
        step,
        since: text(now),
        ..rollout
    });
    ReleaseStatus { rollout, ..state.clone() }
}

fn fail(state: &ReleaseStatus, reason: Reason, message: &str, now: DateTime<Utc>) -> ReleaseStatus {
    let failure = failure(state, reason, message.to_owned());
    let back = at(state, ReleaseStep::Rollback, now);
    let rollout = back.rollout.map(|rollout| Rollout { failure: Some(failure), ..rollout });
    ReleaseStatus { rollout, ..back }
}

fn failure(state: &ReleaseStatus, reason: Reason, message: String) -> ReleaseFailure {
    let step = state.rollout.as_ref().map(|rollout| rollout.step).unwrap_or_default();
    ReleaseFailure { step, reason: reason.as_str().to_owned(), message }
}

fn with_duration(rollout: &Rollout, now: DateTime<Utc>) -> Vec<StepDuration> {
    let seconds = (now - parse(&rollout.since)).num_seconds().max(0);
    let ended = StepDuration { step: rollout.step, seconds };
    rollout.steps.iter().cloned().chain(std::iter::once(ended)).collect()
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What cannot be read was long ago: a deadline that nobody can compute has passed.
fn parse(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
