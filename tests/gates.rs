//! Manifest gates, our own part: exact rules over everything that the operator can render for the shipped applications,
//! with every kind of database and in every stage; and the files that the tools of `cargo e2e gates` judge.

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

#[path = "gates/everything.rs"]
mod everything;
#[path = "gates/rules.rs"]
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use everything::{Set, all};
use his_operator::capabilities::kinds;
use serde_json::Value;

type Rule = fn(&Set) -> Result<(), String>;

const RULES: &[(&str, Rule)] = &[
    ("disk_covers_directories", rules::disk_covers_directories),
    ("probes", rules::probes),
    ("spread", rules::spread),
    ("grace_covers_drain", rules::grace_covers_drain),
    ("namespace_is_fenced", rules::namespace_is_fenced),
    ("secret_files", rules::secret_files),
    ("jobs_end", rules::jobs_end),
    ("policies_have_pods", rules::policies_have_pods),
    ("nothing_from_outside", rules::nothing_from_outside),
    ("high_user", rules::high_user),
];

#[test]
fn everything_keeps_every_rule() {
    for set in all() {
        for (name, rule) in RULES {
            assert_eq!(rule(&set), Ok(()), "{}: {name}", set.name);
        }
    }
}

/// What `cargo e2e gates` gives to other tools; without its variable, to nobody.
#[test]
fn everything_that_can_be_rendered_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("HIS_GATES_DIR").map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    let mut written = BTreeSet::new();
    for set in all() {
        let documents: Vec<_> = set.objects.iter().map(|object| serde_yaml_ng::to_string(object).unwrap()).collect();
        let file = folder.join(format!("{}.yaml", set.name));
        fs::write(&file, documents.join("---\n")).unwrap();
        let back = support::documents_of(&fs::read_to_string(&file).unwrap(), &set.name);
        assert_eq!(back, set.objects, "{}: what is written is not what was rendered", set.name);
        written.extend(back.iter().map(|object| object["kind"].as_str().unwrap().to_owned()));
    }
    let known: BTreeSet<_> = kinds().iter().map(|kind| kind.kind.to_owned()).collect();
    assert_eq!(written, known, "a kind that the operator writes is in no file, or the other way round");
}

#[test]
fn every_application_database_and_stage_is_among_them() {
    let names: BTreeSet<_> = all().into_iter().map(|set| set.name).collect();
    let shipped = support::files(&support::root().join("manifests/applications"), "yaml");
    for application in shipped.iter().map(|path| support::stem(path)) {
        for database in ["embedded", "cloudnativepg", "external"] {
            for stage in ["new", "serving", "migrating", "releasing"] {
                let name = format!("{application}-{database}-{stage}");
                assert!(names.contains(&name), "{name} is missing");
            }
        }
    }
}

/// Damage that each rule must notice, at any place of the objects.
#[test]
fn every_rule_notices_its_mutant() {
    let sets: BTreeMap<_, _> = all().into_iter().map(|set| (set.name.clone(), set)).collect();
    let serving = &sets["care-embedded-serving"];
    let new = &sets["care-embedded-migrating"];
    let pod = "/spec/template/spec";
    let mutants: Vec<(&str, &Set, &str, String, Value)> = vec![
        ("disk_covers_directories", serving, "Deployment", format!("{pod}/volumes/0/emptyDir/sizeLimit"), "9Gi".into()),
        ("probes", serving, "Deployment", format!("{pod}/containers/0/startupProbe"), Value::Null),
        ("probes", serving, "Deployment", format!("{pod}/containers/0/livenessProbe"), Value::Null),
        ("spread", serving, "Deployment", format!("{pod}/topologySpreadConstraints"), Value::Null),
        ("grace_covers_drain", serving, "Deployment", format!("{pod}/terminationGracePeriodSeconds"), 1.into()),
        ("namespace_is_fenced", serving, "Namespace", "/metadata/labels".to_owned(), Value::Null),
        ("secret_files", serving, "StatefulSet", format!("{pod}/volumes/4/secret/defaultMode"), 420.into()),
        ("jobs_end", new, "Job", "/spec/ttlSecondsAfterFinished".to_owned(), Value::Null),
        ("policies_have_pods", serving, "StatefulSet", "/spec/template/metadata/labels".to_owned(), Value::Null),
        ("nothing_from_outside", serving, "Service", "/spec/type".to_owned(), "NodePort".into()),
        ("high_user", serving, "Deployment", format!("{pod}/containers/0/securityContext/runAsUser"), 999.into()),
    ];
    for (name, set, kind, pointer, damage) in &mutants {
        let rule = RULES.iter().find(|(known, _)| known == name).unwrap().1;
        let mut mutant = (*set).clone();
        let mut hurt = mutant.objects.iter_mut().filter(|object| object["kind"] == *kind);
        let place = hurt.find_map(|object| object.pointer_mut(pointer));
        *place.unwrap_or_else(|| panic!("{name}: no {kind} with {pointer} in {}", set.name)) = damage.clone();
        assert_eq!(rule(set), Ok(()), "{name}: the undamaged set is refused");
        assert!(rule(&mutant).is_err(), "{name}: {pointer} = {damage} is not noticed");
    }
    let tested: BTreeSet<_> = mutants.iter().map(|(name, ..)| *name).collect();
    assert_eq!(tested, RULES.iter().map(|(name, _)| *name).collect(), "a rule without a mutant");
}
