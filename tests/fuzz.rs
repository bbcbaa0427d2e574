//! Random resources, made from the CRDs' own schemas and full of what nobody should write: nothing panics, nothing is tried
//! again and again, and what this process thinks of a resource is what the API server thinks of it.
//!
//! `HIS_FUZZ_SEED` and `HIS_FUZZ_OBJECTS` choose another run; every failure names the seed of its object.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a test may stop at once, and reads and writes raw objects"
)]

mod support;

#[path = "fuzz/generate.rs"]
mod generate;
#[path = "fuzz/judge.rs"]
mod judge;

use std::collections::BTreeMap;

use e2e::control_plane::ControlPlane;
use generate::{Generator, KINDS};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde_json::Value;
use support::served;

const SEED: u64 = 20_300_131;
const OBJECTS: u64 = 2_000;
/// Of the planned hospitals, so many have their objects shown to the API server.
const SHOWN: usize = 150;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn objects() -> Vec<(u64, &'static str, Value)> {
    let generators: BTreeMap<_, _> = KINDS.iter().map(|kind| (*kind, Generator::of(kind))).collect();
    let seed = number("HIS_FUZZ_SEED", SEED);
    let one = |n: u64| {
        let seed = seed.wrapping_add(n);
        let kind = KINDS[usize::try_from(seed).unwrap() % KINDS.len()];
        (seed, kind, generators[kind].object(seed))
    };
    (0..number("HIS_FUZZ_OBJECTS", OBJECTS)).map(one).collect()
}

fn report(wrong: &[String]) {
    let first: Vec<_> = wrong.iter().take(12).cloned().collect();
    assert!(wrong.is_empty(), "{} objects are judged wrongly, for example:\n{}", wrong.len(), first.join("\n"));
}

#[test]
fn the_same_seed_makes_the_same_objects() {
    let generator = Generator::of("HospitalTenant");
    assert_eq!(generator.object(7), generator.object(7));
    assert_ne!(generator.object(7), generator.object(8));
}

#[test]
fn nothing_panics_and_nothing_that_is_refused_is_tried_again_by_itself() {
    let mut wrong = Vec::new();
    let (mut planned, mut refused) = (0, 0);
    for (seed, kind, object) in objects() {
        match judge::operate(kind, &object) {
            Ok(judge::Outcome::Planned(_)) => planned += 1,
            Ok(judge::Outcome::Refused) => refused += 1,
            Ok(judge::Outcome::Unreadable) => {}
            Err(finding) => wrong.push(format!("seed {seed}: {kind}: {finding}")),
        }
    }
    report(&wrong);
    assert!(planned > 100 && refused > 100, "too one-sided: {planned} planned, {refused} refused");
}

#[tokio::test]
async fn the_api_server_thinks_the_same_of_every_object() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client();
    for crd in served::shipped() {
        served::install(&client, crd).await;
    }
    let trial = PostParams { dry_run: true, ..PostParams::default() };
    let mut wrong = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    for (seed, kind, object) in objects() {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &served::resource(kind));
        let answer = match serde_json::from_value::<DynamicObject>(object.clone()) {
            Ok(object) => api.create(&trial, &object).await.map(drop).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if answer.is_ok() {
            accepted += 1;
        } else {
            refused += 1;
        }
        if let Err(difference) = judge::agree(kind, &object, &answer) {
            wrong.push(format!("seed {seed}: {kind}: {difference}"));
        }
    }
    report(&wrong);
    assert!(accepted > 100 && refused > 100, "too one-sided: {accepted} accepted, {refused} refused");
}

/// A resource that is accepted, and whose objects are refused, would be tried for ever.
#[tokio::test]
async fn the_api_server_takes_the_objects_of_every_resource_that_it_has_taken() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client();
    let mut wrong = Vec::new();
    let mut shown = 0;
    for (seed, kind, object) in objects() {
        if shown == SHOWN {
            break;
        }
        let Ok(judge::Outcome::Planned(pass)) = judge::operate(kind, &object) else { continue };
        if judge::problems(&object).is_some() {
            continue;
        }
        shown += 1;
        for refusal in judge::shown(&client, &pass).await {
            wrong.push(format!("seed {seed}: {kind}: {refusal}"));
        }
    }
    report(&wrong);
    assert_eq!(shown, SHOWN, "too few objects are planned");
}
