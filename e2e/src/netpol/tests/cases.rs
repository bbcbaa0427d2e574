//! The table of cases, asked of the specification's reading and of the compiled rules.

use super::fixture::{Connection, cases, rules};

#[test]
fn every_case_gets_the_verdicts_of_the_specification() {
    for case in cases() {
        let world = case.world();
        for (text, expected) in case.questions() {
            let verdict = Connection::parse(&world, text).by_the_specification(&world);
            assert_eq!(verdict, expected, "case {:?}: {text}", case.name);
        }
    }
}

#[test]
fn compiled_rules_give_the_same_verdicts_whether_or_not_pods_are_announced() {
    for case in cases() {
        let world = case.world();
        for announced in [false, true] {
            let rules = rules(&world, announced);
            for (text, expected) in case.questions() {
                let verdict = Connection::parse(&world, text).by_the_rules(&rules);
                assert_eq!(verdict, expected, "case {:?}: {text}", case.name);
            }
        }
    }
}

#[test]
fn the_table_is_long_enough_and_no_case_is_empty() {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    assert!(cases.iter().all(|case| case.questions().next().is_some()));
}
