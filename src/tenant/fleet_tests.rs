use proptest::prelude::*;

use super::*;

fn channel(waves: &[i32]) -> Channel {
    Channel { name: "stable".into(), application: "emr".into(), version: "2".into(), waves: waves.to_vec() }
}

/// A hospital that serves the version before.
fn old() -> Member {
    Member { live: Some("1".into()), ready: true, ..Member::default() }
}

fn serving() -> Member {
    Member { live: Some("2".into()), ..old() }
}

fn moving() -> Member {
    Member { coming: Some("2".into()), ready: false, ..old() }
}

fn fleet(members: &[Member]) -> BTreeMap<String, Member> {
    members.iter().enumerate().map(|(n, member)| (format!("h{n:03}"), member.clone())).collect()
}

/// Numbers of the hospitals that do not have the version and may begin.
fn begin(waves: &[i32], members: &[Member]) -> Vec<usize> {
    let turns = turns(&channel(waves), &fleet(members));
    let may = |n: &usize| members[*n].stage("2") == Stage::Waiting && turns[&format!("h{n:03}")] == Turn::Come;
    (0..members.len()).filter(may).collect()
}

#[test]
fn a_wave_begins_when_all_of_the_one_before_are_ready() {
    let (old, unwell) = (old(), Member { ready: false, ..serving() });
    let cases = [
        (vec![old.clone(); 4], vec![0]),
        (vec![moving(), old.clone(), old.clone()], vec![]),
        (vec![unwell.clone(), old.clone(), old.clone()], vec![]),
        (vec![serving(), old.clone(), old.clone(), old.clone()], vec![1, 2]),
        (vec![serving(), moving(), old.clone(), old.clone()], vec![2]),
        (vec![serving(), serving(), unwell, old.clone()], vec![]),
        // The last number is repeated.
        (vec![serving(), serving(), serving(), old.clone(), old.clone(), old], vec![3, 4]),
    ];
    for (members, expected) in cases {
        assert_eq!(begin(&[1, 2], &members), expected, "{members:?}");
    }
}

#[test]
fn without_numbers_one_goes_first_then_five_then_twenty() {
    let of = |serving: usize| open(&[], serving);
    assert_eq!([0, 1, 5, 6, 25, 26, 46].map(of), [1, 6, 6, 26, 26, 46, 66]);
}

#[test]
fn a_refusal_stops_everybody_but_the_one_that_may_try_again() {
    let refused = Member { refused: Some("2".into()), ready: false, ..old() };
    let members = fleet(&[serving(), refused, old(), moving()]);
    let turns = turns(&channel(&[10]), &members);
    let stopped = Turn::Stopped { by: "h001".into() };
    assert_eq!(turns.into_values().collect::<Vec<_>>(), [Turn::Come, Turn::Come, stopped, Turn::Come]);
}

#[test]
fn another_version_that_was_refused_before_stops_nobody() {
    let refused = Member { refused: Some("1.5".into()), ..old() };
    assert_eq!(begin(&[2], &[refused, old(), old()]), [0, 1]);
}

#[test]
fn a_hospital_that_is_held_keeps_nobody_waiting() {
    let held = Member { postponed: true, ..old() };
    assert_eq!(begin(&[1], &[held.clone(), old(), old()]), [1]);
    assert_eq!(turns(&channel(&[1]), &fleet(&[held]))["h000"], Turn::Waits);
}

#[test]
fn a_new_hospital_takes_nobodys_turn() {
    let new = Member { coming: Some("2".into()), ..Member::default() };
    assert_eq!(begin(&[1], &[new.clone(), old(), old()]), [1]);
    assert_eq!(turns(&channel(&[1]), &fleet(&[new]))["h000"], Turn::Come);
}

#[test]
fn a_hospital_that_failed_to_begin_its_life_stops_nobody() {
    let failed = Member { refused: Some("2".into()), ..Member::default() };
    assert_eq!(begin(&[1], &[failed, old()]), [1]);
}

fn any_member() -> impl Strategy<Value = Member> {
    prop_oneof![
        4 => Just(old()),
        2 => Just(serving()),
        1 => Just(moving()),
        1 => Just(Member { postponed: true, ..old() }),
        1 => Just(Member { ready: false, ..serving() }),
        1 => Just(Member { refused: Some("2".into()), ..old() }),
        1 => Just(Member::default()),
    ]
}

proptest! {
    /// Whoever begins first, and in whatever order the others are asked, a wave never holds more than it may.
    #[test]
    fn no_more_begin_than_the_wave_has_room_for(
        members in prop::collection::vec(any_member(), 1..40),
        waves in prop::collection::vec(1..6, 0..4),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 40),
    ) {
        let mut members = members;
        let stages = |members: &[Member]| members.iter().map(|m| m.stage("2")).collect::<Vec<_>>();
        let unmoved = [Stage::Waiting, Stage::Postponed, Stage::Installing];
        let begun = |members: &[Member]| stages(members).iter().filter(|stage| !unmoved.contains(stage)).count();
        let done = stages(&members).iter().filter(|stage| **stage == Stage::Serving).count();
        let bound = open(&waves, done).max(begun(&members));
        for pick in picks {
            let due = begin(&waves, &members);
            if due.is_empty() {
                break;
            }
            members[due[pick.index(due.len())]] = moving();
            prop_assert!(begun(&members) <= bound);
        }
        // Nobody who may begin was forgotten.
        let stopped = stages(&members).contains(&Stage::Refused);
        let waiting = stages(&members).contains(&Stage::Waiting);
        prop_assert!(stopped || !waiting || begun(&members) >= open(&waves, done));
    }

    /// If everything goes well, everybody gets the version.
    #[test]
    fn every_hospital_has_its_turn(count in 1..60_usize, waves in prop::collection::vec(1..9, 0..4)) {
        let mut members = vec![old(); count];
        for _ in 0..count {
            for n in begin(&waves, &members) {
                members[n] = serving();
            }
        }
        prop_assert!(members.iter().all(|member| member.stage("2") == Stage::Serving));
    }
}
