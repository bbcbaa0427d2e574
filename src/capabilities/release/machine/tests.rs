use proptest::prelude::*;

use super::*;
use crate::capabilities::release::gate::{StepKind, Wanted};

fn release(version: &str) -> ReleaseIdentity {
    ReleaseIdentity { version: version.to_owned(), digest: format!("digest-{version}"), ..ReleaseIdentity::default() }
}

fn start() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2030-01-31T18:00:00Z").unwrap().to_utc()
}

fn serving(version: &str) -> ReleaseStatus {
    let live = LiveRelease { colour: Colour::Blue, release: release(version) };
    ReleaseStatus { live: Some(live), ..ReleaseStatus::default() }
}

/// Everything does well.
fn fine(wanted: &str) -> Seen {
    Seen {
        wanted: release(wanted),
        asked_by: Some("kubectl".to_owned()),
        closed: None,
        shortage: None,
        expand: Gate::Open,
        last_words: String::new(),
        new: Pods::Complete,
        old: Pods::Complete,
        check: Check::Passed,
        traffic: None,
        background: Pods::Complete,
        watch: Watch::Nobody,
        last: None,
        deadline: TimeDelta::minutes(30),
        soak: TimeDelta::minutes(1),
    }
}

fn step(state: &ReleaseStatus) -> Option<ReleaseStep> {
    state.rollout.as_ref().map(|rollout| rollout.step)
}

fn failed_because(state: &ReleaseStatus) -> Option<&str> {
    state.refused.as_ref().map(|refused| refused.failure.reason.as_str())
}

/// Users are led to the new pods.
fn led(state: &ReleaseStatus) -> bool {
    step(state).is_some_and(|step| (ReleaseStep::Cutover..=ReleaseStep::Soak).contains(&step))
}

/// Moves on minute by minute, in a world that follows at once.
fn play(mut state: ReleaseStatus, mut seen: Seen, minutes: i64) -> ReleaseStatus {
    for minute in 0..minutes {
        state = next(&state, &seen, start() + TimeDelta::minutes(minute));
        seen.traffic = match &state.rollout {
            Some(rollout) if led(&state) => Some(rollout.colour),
            _ => state.live.as_ref().map(|live| live.colour),
        };
    }
    state
}

#[test]
fn a_first_release_needs_no_soak_and_serves_in_the_first_colour() {
    let state = play(ReleaseStatus::default(), fine("1"), 3);
    assert_eq!(state.live, Some(LiveRelease { colour: Colour::Blue, release: release("1") }));
    assert_eq!((state.rollout, state.refused), (None, None));
    assert_eq!(state.history[0].outcome, ReleaseOutcome::Completed);
}

#[test]
fn a_release_goes_through_every_step_in_order_and_ends_in_the_other_colour() {
    let state = play(serving("1"), fine("2"), 5);
    assert_eq!(state.live, Some(LiveRelease { colour: Colour::Green, release: release("2") }));
    let steps: Vec<_> = state.history[0].steps.iter().map(|step| step.step.to_string()).collect();
    assert_eq!(steps, ["Preflight", "Expand", "Surge", "Gate", "Cutover", "Drain", "Soak"]);
    assert_eq!(state.history[0].steps.last().unwrap().seconds, 60);
}

#[test]
fn outside_of_a_window_nothing_begins_but_what_has_begun_goes_on() {
    let closed = Seen { closed: Some("at night".to_owned()), ..fine("2") };
    assert_eq!(play(serving("1"), closed.clone(), 9), serving("1"));
    assert_eq!(play(ReleaseStatus::default(), closed.clone(), 9).live.unwrap().release, release("2"));
    let begun = play(serving("1"), fine("2"), 2);
    assert_eq!(play(begun, closed, 9).live.unwrap().release, release("2"));
}

fn watched(breached: bool) -> Watch {
    Watch::Ended(Some(ReleaseEvidence { requests: 200, failed: 50, breached, ..ReleaseEvidence::default() }))
}

#[test]
fn users_are_led_to_the_new_pods_only_while_somebody_watches() {
    let mut seen = Seen { watch: Watch::Coming, ..fine("2") };
    let state = play(serving("1"), seen.clone(), 5);
    assert_eq!(step(&state), Some(ReleaseStep::Gate));
    let given_up = play(serving("1"), seen.clone(), 40);
    assert_eq!(failed_because(&given_up), Some("GateFailed"));
    seen.watch = Watch::Asking;
    assert_eq!(step(&next(&state, &seen, start() + TimeDelta::minutes(5))), Some(ReleaseStep::Cutover));
}

#[test]
fn failing_requests_lead_users_back_if_every_old_pod_is_ready() {
    let mut arrived = play(serving("1"), fine("2"), 2);
    assert_eq!(step(&arrived), Some(ReleaseStep::Soak));
    let back = next(&arrived, &Seen { watch: watched(true), ..fine("2") }, start() + TimeDelta::minutes(2));
    assert_eq!(step(&back), Some(ReleaseStep::Rollback));
    let failure = back.rollout.unwrap().failure.unwrap();
    assert_eq!(
        (failure.reason.as_str(), failure.message.as_str()),
        ("RequestsFailing", "50 of 200 requests through the front door failed")
    );
    for stays in [
        Seen { watch: watched(false), ..fine("2") },
        Seen { watch: Watch::Ended(None), ..fine("2") },
        Seen { watch: watched(true), old: Pods::Coming("one is missing".to_owned()), ..fine("2") },
    ] {
        arrived = next(&arrived, &stays, start() + TimeDelta::seconds(100));
        assert_eq!(step(&arrived), Some(ReleaseStep::Soak), "{stays:?}");
    }
}

#[test]
fn what_was_seen_of_the_last_release_is_kept_and_never_replaced() {
    let ended = play(serving("1"), fine("2"), 5);
    let known = ReleaseEvidence { requests: 7, ..ReleaseEvidence::default() };
    let kept = next(&ended, &Seen { last: Some((1, known.clone())), ..fine("2") }, start());
    assert_eq!(kept.history[0].evidence.as_ref(), Some(&known));
    let other = ReleaseEvidence { requests: 8, ..ReleaseEvidence::default() };
    assert_eq!(next(&kept, &Seen { last: Some((1, other)), ..fine("2") }, start()), kept);
}

#[test]
fn users_stay_where_they_are_until_the_gate_has_passed() {
    for (seen, stays) in [
        (Seen { shortage: Some("pods".to_owned()), ..fine("2") }, ReleaseStep::Preflight),
        (Seen { expand: Gate::Busy("other".to_owned()), ..fine("2") }, ReleaseStep::Expand),
        (Seen { new: Pods::Coming("1 of 2".to_owned()), ..fine("2") }, ReleaseStep::Surge),
        (Seen { check: Check::Running, ..fine("2") }, ReleaseStep::Gate),
    ] {
        assert_eq!(step(&next(&serving("1"), &seen, start())), Some(stays));
    }
}

#[test]
fn each_way_to_fail_ends_on_the_old_release_with_its_reason() {
    let job = Wanted::new(StepKind::Migrate, "image", &[], &[], 0);
    let coming = || Pods::Coming("0 of 2".to_owned());
    let broken = || Pods::Broken("ImagePullBackOff".to_owned());
    for (seen, reason) in [
        (Seen { expand: Gate::Failed(job), ..fine("2") }, Reason::MigrationFailed),
        (Seen { new: coming(), ..fine("2") }, Reason::RolledBack),
        (Seen { new: broken(), ..fine("2") }, Reason::RolledBack),
        (Seen { check: Check::Failed("500".to_owned()), ..fine("2") }, Reason::GateFailed),
        (Seen { check: Check::Running, ..fine("2") }, Reason::GateFailed),
        (Seen { background: coming(), ..fine("2") }, Reason::RolledBack),
    ] {
        let state = play(serving("1"), seen.clone(), 90);
        assert_eq!(state.live, serving("1").live, "{seen:?}");
        assert_eq!((failed_because(&state), step(&state)), (Some(reason.as_str()), None), "{seen:?}");
        assert_eq!(state.history[0].outcome, ReleaseOutcome::RolledBack);
        assert_eq!(play(state.clone(), fine("2"), 90), state, "it is not tried again by itself");
        assert_eq!(play(state, fine("3"), 9).live.unwrap().release, release("3"));
    }
}

#[test]
fn pods_that_break_after_the_cutover_lead_back_only_to_old_pods_that_are_all_ready() {
    let mut state = next(&serving("1"), &Seen { traffic: Some(Colour::Blue), ..fine("2") }, start());
    assert_eq!(step(&state), Some(ReleaseStep::Cutover));
    state = next(&state, &Seen { traffic: Some(Colour::Green), ..fine("2") }, start());
    assert_eq!(step(&state), Some(ReleaseStep::Soak));
    let broken = Pods::Broken("CrashLoopBackOff".to_owned());
    let alone = Seen { new: broken.clone(), old: Pods::Coming("1 of 2".to_owned()), ..fine("2") };
    assert_eq!(next(&state, &alone, start()), state);
    let back = Seen { new: broken, traffic: Some(Colour::Green), ..fine("2") };
    state = next(&state, &back, start());
    assert_eq!(step(&state), Some(ReleaseStep::Rollback));
    state = next(&state, &Seen { traffic: Some(Colour::Blue), ..back }, start());
    assert_eq!((&state.live, failed_because(&state)), (&serving("1").live, Some("RolledBack")));
}

#[test]
fn a_route_that_nobody_follows_is_taken_back() {
    let seen = Seen { traffic: Some(Colour::Blue), ..fine("2") };
    let state = next(&serving("1"), &seen, start());
    let state = next(&state, &seen, start() + TimeDelta::seconds(FOLLOW_SECONDS));
    assert_eq!((failed_because(&state), &state.live), (Some("RouteNotAccepted"), &serving("1").live));
}

#[test]
fn who_changes_the_spec_before_the_cutover_has_changed_nothing() {
    let seen = Seen { check: Check::Running, ..fine("2") };
    let state = next(&serving("1"), &seen, start());
    let back = next(&state, &Seen { wanted: release("1"), ..seen.clone() }, start());
    assert_eq!(back, ReleaseStatus { count: 1, ..serving("1") });
    let third = next(&state, &Seen { wanted: release("3"), ..seen }, start()).rollout.unwrap();
    assert_eq!((third.release, third.colour), (release("3"), Colour::Green));
}

#[test]
fn the_old_release_asked_for_again_while_the_new_one_soaks_is_a_rollback() {
    let state = play(serving("1"), fine("2"), 2);
    assert_eq!(step(&state), Some(ReleaseStep::Soak));
    let seen = Seen { traffic: Some(Colour::Green), ..fine("1") };
    let state = play(next(&state, &seen, start()), fine("1"), 3);
    assert_eq!((state.live, state.rollout, state.refused), (serving("1").live, None, None));
}

#[test]
fn the_history_ends_somewhere() {
    let mut state = ReleaseStatus::default();
    for version in 0..30 {
        state = play(state, fine(&version.to_string()), 4);
    }
    assert_eq!((state.history.len(), state.history[0].release.version.as_str()), (HISTORY, "29"));
}

fn pods() -> impl Strategy<Value = Pods> {
    prop_oneof![
        3 => Just(Pods::Complete),
        1 => Just(Pods::Coming("1 of 2".to_owned())),
        1 => Just(Pods::Broken("CrashLoopBackOff".to_owned())),
    ]
}

fn sight() -> impl Strategy<Value = Seen> {
    let job = Wanted::new(StepKind::Migrate, "image", &[], &[], 0);
    let expand = prop_oneof![3 => Just(Gate::Open), 1 => Just(Gate::Run(job.clone())), 1 => Just(Gate::Failed(job))];
    let check =
        prop_oneof![3 => Just(Check::Passed), 1 => Just(Check::Running), 1 => Just(Check::Failed("500".to_owned()))];
    let watch = prop_oneof![
        3 => Just(Watch::Nobody),
        1 => Just(Watch::Coming),
        1 => Just(Watch::Asking),
        1 => any::<bool>().prop_map(watched),
    ];
    let last = proptest::option::of((1..9_i64).prop_map(|number| (number, ReleaseEvidence::default())));
    let traffic = proptest::option::of(prop_oneof![Just(Colour::Blue), Just(Colour::Green)]);
    (1..4_i32, any::<bool>(), expand, pods(), pods(), check, traffic, pods(), watch, last).prop_map(
        |(wanted, room, expand, new, old, check, traffic, background, watch, last)| Seen {
            watch,
            last,
            shortage: (!room).then(|| "pods".to_owned()),
            expand,
            new,
            old,
            check,
            traffic,
            background,
            ..fine(&wanted.to_string())
        },
    )
}

proptest! {
    /// Whatever is seen, in whatever order: one answer to one question; users only where the gate was passed or where
    /// they were; and never without somebody who serves once somebody did.
    #[test]
    fn no_sequence_of_sights_leads_astray(sights in proptest::collection::vec((sight(), 0_i64..40), 1..40)) {
        let (mut state, mut now) = (ReleaseStatus::default(), start());
        for (seen, minutes) in sights {
            now += TimeDelta::minutes(minutes);
            let after = next(&state, &seen, now);
            prop_assert_eq!(&next(&after, &seen, now), &after);
            prop_assert!(state.live.is_none() || after.live.is_some());
            prop_assert!(after.history.len() <= HISTORY);
            if led(&after) && !led(&state) {
                prop_assert!(seen.check == Check::Passed && seen.new == Pods::Complete && seen.watch != Watch::Coming);
            }
            if let (Some(live), Some(rollout)) = (&after.live, &after.rollout) {
                prop_assert_ne!(live.colour, rollout.colour);
            }
            state = after;
        }
    }
}
