//! What holds for every hospital that anybody may write: random specs against independent oracles, and for each oracle
//! one damaged rendering that it must notice.

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

#[path = "invariants/amounts.rs"]
mod amounts;
#[path = "invariants/mutants.rs"]
mod mutants;
#[path = "invariants/objects.rs"]
mod objects;
#[path = "invariants/outside.rs"]
mod outside;
#[path = "invariants/pods.rs"]
mod pods;
#[path = "invariants/random.rs"]
mod random;
#[path = "invariants/reach.rs"]
mod reach;
#[path = "invariants/world.rs"]
mod world;

use std::{collections::BTreeSet, sync::Arc};

use his_operator::{
    api::v1alpha1::{Component, EgressFlow, HospitalTenant},
    conditions::{Proof, READY, Reason},
    names,
    objects::{Desired, Observed, Report},
    reconcile::{pass, report},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};
use random::Hospital;
use support::{
    cluster::{Jobs, settle},
    inputs,
};
use world::World;

type Oracle = fn(&World) -> Result<(), String>;

const ORACLES: &[(&str, Oracle)] = &[
    ("restricted", pods::restricted),
    ("hardened", pods::hardened),
    ("images_by_digest", pods::images_by_digest),
    ("resources", pods::resources),
    ("secrets_as_files", pods::secrets_as_files),
    ("references", pods::references),
    ("no_open_peer", objects::no_open_peer),
    ("reach_as_declared", reach::as_declared),
    ("tried_as_allowed", reach::tried_as_allowed),
    ("gate_stays_outside", outside::gate_stays_outside),
    ("names_as_declared", outside::names_as_declared),
    ("deny_before_workload", objects::deny_before_workload),
    ("no_wildcard", objects::no_wildcard),
    ("no_secret_value", objects::no_secret_value),
    ("owned_by_label_only", objects::owned_by_label_only),
    ("named_once", objects::named_once),
    ("valid_names", objects::valid_names),
    ("quota_fits_a_surge", objects::quota_fits_a_surge),
    ("safe_rollouts", objects::safe_rollouts),
    ("autoscalers_follow_users", objects::autoscalers_follow_users),
];

/// Small enough to take seconds; the seed is fixed, so that a failure is the same everywhere.
fn config() -> Config {
    Config { cases: 96, failure_persistence: None, rng_seed: RngSeed::Fixed(42), ..Config::default() }
}

/// The hospital's objects when it is new, once it serves, while its network is tried, and while its next version migrates.
fn states(hospital: &Hospital) -> Vec<World> {
    let mut observed = hospital.observed();
    let new = plan(hospital, &observed);
    let settled = settle(&hospital.tenant, &mut observed, Jobs::Succeeded).unwrap();
    let mut worlds = vec![new];
    let now = Hospital { tenant: settled, ..hospital.clone() };
    worlds.push(plan(&now, &observed));
    let mut untried = now.clone();
    untried.tenant.status.as_mut().unwrap().network.proof = None;
    worlds.push(plan(&untried, &Observed { reports: Vec::new(), ..observed.clone() }));
    if let [_, next, ..] = hospital.application.spec.versions.as_slice() {
        let mut upgrade = now;
        upgrade.tenant.spec.application.version = Some(next.version.clone());
        worlds.push(plan(&upgrade, &observed));
    }
    worlds
}

fn plan(hospital: &Hospital, observed: &Observed) -> World {
    let pass = pass::plan(&inputs(hospital.tenant.clone()), observed).unwrap_or_else(|rejection| panic!("{rejection}"));
    World::of(&pass, observed)
}

fn judge(world: &World) -> Result<(), String> {
    ORACLES.iter().try_for_each(|(name, oracle)| oracle(world).map_err(|finding| format!("{name}: {finding}")))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_hospital_keeps_every_rule(hospital in random::hospital()) {
        for world in states(&hospital) {
            prop_assert_eq!(judge(&world), Ok(()));
        }
    }

    #[test]
    fn the_same_hospital_is_rendered_to_the_same_bytes(hospital in random::hospital()) {
        let observed = hospital.observed();
        let render = || {
            let pass = pass::plan(&inputs(hospital.tenant.clone()), &observed).unwrap();
            format!("{:?}", pass.desired)
        };
        prop_assert_eq!(render(), render());
    }

    #[test]
    fn adding_a_component_removes_nothing(hospital in random::hospital(), more in random::component()) {
        let shared = hospital.application.spec.secrets.iter().any(|secret| secret.name == "session_key");
        prop_assume!(shared && hospital.application.spec.components.iter().all(|known| known.name != more.name));
        let before = states(&hospital);
        let after = states(&hospital.with_component(more));
        for (before, after) in before.iter().zip(&after) {
            // Another release is asked by another Job, and other policies are tried by others.
            let asks = |(_, at): &(String, String)| at.contains("/gate-") || at.contains("/network-probe-");
            let lost: BTreeSet<_> = before.existing().difference(&after.existing()).filter(|at| !asks(at)).cloned().collect();
            prop_assert_eq!(lost, BTreeSet::new());
        }
    }
}

#[test]
fn shipped_applications_keep_every_rule() {
    for name in ["gnu-health", "care"] {
        for world in states(&Hospital::shipped(name)) {
            assert_eq!(judge(&world), Ok(()), "{name}");
        }
    }
}

/// A network is called isolated only if the policies that are there are the very ones that were tried.
#[test]
fn isolation_is_claimed_only_for_the_policies_that_were_tried() {
    for hospital in [Hospital::shipped("gnu-health"), Hospital::fixture()] {
        let mut observed = hospital.observed();
        let tenant = settle(&hospital.tenant, &mut observed, Jobs::Succeeded).unwrap();
        let claimed = |observed: &Observed| {
            let pass = pass::plan(&inputs(tenant.clone()), observed).unwrap();
            let verdicts = pass.assess(observed);
            let found = verdicts.iter().find(|(condition, _)| *condition == "NetworkIsolated").unwrap();
            found.1.proof == Proof::Proved
        };
        assert!(claimed(&observed));
        let policies: Vec<_> = observed.objects.keys().filter(|at| at.kind.kind == "NetworkPolicy").cloned().collect();
        for at in policies {
            let mut without = observed.clone();
            let mut live = without.objects.remove(&at).unwrap().as_ref().clone();
            assert!(!claimed(&without), "without {at}");
            live.metadata.annotations.as_mut().unwrap().insert(names::DESIRED.to_owned(), "other".to_owned());
            without.objects.insert(at.clone(), Arc::new(live));
            assert!(!claimed(&without), "with another {at}");
        }
        // Everything is written as an edit wants it, and the trial was of what was there before.
        let cidrs = vec!["192.0.2.77/32".to_owned()];
        let edited = with_flow(&hospital, &tenant, EgressFlow { cidrs, ..EgressFlow::default() });
        assert_eq!(isolated_once_written(&edited, &observed), (Proof::Unknown, Reason::NotTried));
    }
}

/// With the status that this pass writes.
fn plan_and_record(tenant: &HospitalTenant, observed: &Observed) -> HospitalTenant {
    let pass = pass::plan(&inputs(tenant.clone()), observed).unwrap();
    let status = report::planned(tenant, &pass, observed, None, None);
    HospitalTenant { status: Some(status), ..tenant.clone() }
}

/// One place that is silent keeps the others from proving anything; one that finds something open is believed at once.
#[test]
fn isolation_is_claimed_only_when_every_place_has_reported() {
    let hospital = Hospital::shipped("gnu-health");
    let mut observed = hospital.observed();
    let mut tenant = settle(&hospital.tenant, &mut observed, Jobs::Succeeded).unwrap();
    tenant.status.as_mut().unwrap().network.proof = None;
    observed.reports.clear();
    let judge = |observed: &Observed| {
        let pass = pass::plan(&inputs(tenant.clone()), observed).unwrap();
        let found =
            pass.assess(observed).iter().find(|(condition, _)| *condition == "NetworkIsolated").unwrap().1.clone();
        (found.proof, found.reason)
    };
    let (proved, unknown) = ((Proof::Proved, Reason::Proved), (Proof::Unknown, Reason::NotTried));
    let pass = pass::plan(&inputs(tenant.clone()), &observed).unwrap();
    let jobs: Vec<_> = pass.desired.iter().filter(|desired| desired.at().name.starts_with("network-probe-")).collect();
    for job in &jobs {
        let live = serde_json::from_value(job.body().unwrap().clone()).unwrap();
        observed.objects.insert(job.at().clone(), Arc::new(live));
    }
    let report = |desired: &&Desired, text: &str| Report {
        job: desired.at().name.clone(),
        container: "network-probe".to_owned(),
        ended: support::inputs(tenant.clone()).now,
        text: text.to_owned(),
    };
    let closed = r#"{"refused":7,"opened":[],"unreached":[]}"#;
    let all: Vec<Report> = jobs.iter().map(|job| report(job, closed)).collect();
    assert!(all.len() > 3, "{} places", all.len());
    assert_eq!(judge(&Observed { reports: all.clone(), ..observed.clone() }), proved);
    for silent in 0..all.len() {
        let mut reports = all.clone();
        reports.remove(silent);
        assert_eq!(judge(&Observed { reports, ..observed.clone() }), unknown, "without {silent}");
        let open = report(&jobs[silent], r#"{"refused":6,"opened":["the API server"],"unreached":[]}"#);
        let alone = Observed { reports: vec![open.clone()], ..observed.clone() };
        assert_eq!(judge(&alone), (Proof::Failed, Reason::NetworkOpen));
        let told = plan_and_record(&tenant, &alone);
        let mut everybody = all.clone();
        everybody[silent] = open;
        let in_the_end = plan_and_record(&told, &Observed { reports: everybody, ..observed.clone() });
        let proof = |tenant: &HospitalTenant| tenant.status.as_ref().unwrap().network.proof.clone().unwrap();
        assert_eq!((proof(&told).from.len(), proof(&in_the_end).from.len()), (1, all.len()));
        assert_eq!(
            (proof(&in_the_end).opened.len(), proof(&in_the_end).refused),
            (1, 7 * i32::try_from(all.len()).unwrap() - 1)
        );
        let mut reports = all.clone();
        reports[silent] = report(&jobs[silent], r#"{"refused":7,"opened":[],"unreached":["database:5432"]}"#);
        assert_eq!(judge(&Observed { reports, ..observed.clone() }), unknown, "{silent} cannot reach what is declared");
    }
}

/// Names lead elsewhere all the time, and no trial depends on where.
#[test]
fn isolation_stays_proved_while_names_lead_elsewhere() {
    let hospital = Hospital::fixture();
    let hosts = vec!["results.example.org".to_owned()];
    let tenant = with_flow(&hospital, &hospital.tenant, EgressFlow { hosts, ..EgressFlow::default() });
    let mut observed = hospital.observed();
    let tenant = settle(&tenant, &mut observed, Jobs::Succeeded).unwrap();
    let (proved, refused) = ((Proof::Proved, Reason::Proved), (Proof::Failed, Reason::HostRefused));
    for (leads_to, expected) in [("9.9.9.9", proved), ("10.0.0.1", refused)] {
        let now = support::leads_to([leads_to.parse().unwrap()]);
        observed.resolved.insert("results.example.org".to_owned(), now);
        assert_eq!(isolated_once_written(&tenant, &observed), expected, "{leads_to}");
    }
    // Another name is another policy.
    let hosts = vec!["lab.example.org".to_owned()];
    let edited = with_flow(&hospital, &tenant, EgressFlow { hosts, ..EgressFlow::default() });
    let out = support::leads_to(["9.9.9.9".parse().unwrap()]);
    observed.resolved = [("results.example.org".to_owned(), out.clone()), ("lab.example.org".to_owned(), out)].into();
    assert_eq!(isolated_once_written(&edited, &observed), (Proof::Unknown, Reason::NotTried));
}

fn with_flow(hospital: &Hospital, tenant: &HospitalTenant, flow: EgressFlow) -> HospitalTenant {
    let component = hospital.application.spec.components[0].name.clone();
    let flow = EgressFlow { component, port: 443, reason: "where invoices go".to_owned(), ..flow };
    let mut edited = tenant.clone();
    edited.spec.network.get_or_insert_default().egress.push(flow);
    edited
}

/// What is said of the network as soon as its policies are what the hospital wants.
fn isolated_once_written(tenant: &HospitalTenant, observed: &Observed) -> (Proof, Reason) {
    let pass = pass::plan(&inputs(tenant.clone()), observed).unwrap();
    let mut observed = observed.clone();
    for desired in &pass.desired {
        if let (Desired::Apply(object), "NetworkPolicy" | "CiliumNetworkPolicy") = (desired, desired.at().kind.kind) {
            let live = serde_json::from_value(object.body.clone()).unwrap();
            observed.objects.insert(object.at.clone(), Arc::new(live));
        }
    }
    let verdicts = pass.assess(&observed);
    let found = verdicts.iter().find(|(condition, _)| *condition == "NetworkIsolated").unwrap();
    (found.1.proof, found.1.reason)
}

/// Whatever is missing, or is not as the spec has it: as long as it is not written, nobody says Ready.
#[test]
fn ready_is_not_claimed_while_anything_is_not_as_it_must_be() {
    for hospital in [Hospital::shipped("gnu-health"), Hospital::fixture()] {
        let mut observed = hospital.observed();
        let tenant = settle(&hospital.tenant, &mut observed, Jobs::Succeeded).unwrap();
        let ready = |observed: &Observed| {
            let Ok(pass) = pass::plan(&inputs(tenant.clone()), observed) else { return false };
            let status = report::planned(&tenant, &pass, observed, None, None);
            status.conditions.iter().any(|condition| condition.type_ == READY && condition.status == "True")
        };
        assert!(ready(&observed));
        let pass = pass::plan(&inputs(tenant.clone()), &observed).unwrap();
        for desired in pass.desired.iter().filter(|desired| matches!(desired, Desired::Apply(_))) {
            let mut other = observed.clone();
            let mut live = other.objects.remove(desired.at()).unwrap().as_ref().clone();
            assert!(!ready(&other), "without {}", desired.at());
            live.metadata.annotations.as_mut().unwrap().insert(names::DESIRED.to_owned(), "other".to_owned());
            other.objects.insert(desired.at().clone(), Arc::new(live));
            assert!(!ready(&other), "with another {}", desired.at());
        }
    }
}

/// The longest names that the CRDs let through.
#[test]
fn the_longest_names_are_still_valid() {
    let mut hospital = Hospital::fixture();
    hospital.tenant.metadata.name = Some("a".repeat(40));
    let component = Component {
        name: "b".repeat(30),
        files: hospital.application.spec.files.clone(),
        ports: vec![his_operator::api::v1alpha1::Port { name: "c".repeat(15), port: 65535 }],
        ..hospital.application.spec.components[0].clone()
    };
    let component = Component { routes: Vec::new(), probes: None, ..component };
    let mut hospital = hospital.with_component(component);
    hospital.application.spec.secrets[0].name = "d".repeat(40);
    let file = &mut hospital.application.spec.files[0];
    file.template = format!("{{{{ secrets.{} }}}}", "d".repeat(40));
    hospital.application.spec.components.iter_mut().for_each(|component| component.files.clear());
    for world in states(&hospital) {
        assert_eq!(judge(&world), Ok(()));
    }
}

/// People name Secrets as they like, up to 253 characters and with dots.
#[test]
fn secrets_of_any_name_can_be_bound() {
    let mut hospital = Hospital::shipped("care");
    let name = format!("{}.{}", "e".repeat(100), "f".repeat(152));
    let bindings = hospital.tenant.spec.bindings.as_mut().unwrap();
    bindings.cache.as_mut().unwrap().secret.clone_from(&name);
    bindings.buckets.values_mut().for_each(|bucket| bucket.secret.clone_from(&name));
    hospital.tenant.spec.database = Some(his_operator::api::v1alpha1::DatabaseSpec {
        external: Some(his_operator::api::v1alpha1::ExternalDatabase {
            host: "db.example.org".to_owned(),
            name: "care".to_owned(),
            cidrs: vec!["192.0.2.20/32".to_owned()],
            app_secret: name,
            ..Default::default()
        }),
        ..Default::default()
    });
    hospital.application.spec.files = vec![his_operator::api::v1alpha1::File {
        path: "/etc/care/database".to_owned(),
        template: "{{ database.url }} {{ cache.url }}".to_owned(),
    }];
    for world in states(&hospital) {
        assert_eq!(judge(&world), Ok(()));
    }
}

#[test]
fn every_oracle_notices_its_mutant() {
    let variants: [fn(Hospital) -> Hospital; 4] =
        [|plain| plain, |plain| plain.calling(0), |plain| plain.growing(0), |plain| plain.naming(0)];
    let worlds: Vec<World> = variants.iter().flat_map(|variant| states(&variant(Hospital::fixture()))).collect();
    for (name, oracle) in ORACLES {
        let damage = mutants::of(name);
        let mut damaged = 0;
        for world in &worlds {
            let mut mutant = world.clone();
            if damage(&mut mutant) {
                damaged += 1;
                assert_eq!(oracle(world), Ok(()), "{name}: the undamaged hospital is refused");
                assert!(oracle(&mutant).is_err(), "{name}: the mutant is not noticed");
            }
        }
        assert!(damaged > 0, "{name}: there was nothing to damage");
    }
}

#[test]
fn every_hole_in_a_policy_is_noticed() {
    let worlds = states(&Hospital::fixture());
    for (name, damage) in mutants::HOLES {
        let mut noticed = 0;
        for world in &worlds {
            let mut mutant = world.clone();
            if damage(&mut mutant) {
                noticed += 1;
                assert!(reach::as_declared(&mutant).is_err(), "{name}: the hole is not noticed");
            }
        }
        assert!(noticed > 0, "{name}: there was nothing to damage");
    }
}
