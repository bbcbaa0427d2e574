//! Screens of `kubectl his status`, as golden files: the fixtures are what the API server gives.

use std::fs;

use chrono::{DateTime, Utc};
use his_operator::{
    api::v1alpha1::HospitalTenant,
    plugin::status::{Hospital, Look, list, rows, screen},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Event,
};
use serde::de::DeserializeOwned;
use serde_yaml_ng::Value;

use super::case;

pub fn documents(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(case(&format!("status/{name}.yaml"))).unwrap();
    serde_yaml_ng::Deserializer::from_str(&text).map(|yaml| serde::Deserialize::deserialize(yaml).unwrap()).collect()
}

fn of<K: DeserializeOwned>(documents: &[Value], kind: &str) -> Vec<K> {
    let mine = documents.iter().filter(|document| document["kind"] == kind);
    mine.map(|document| serde_yaml_ng::from_value(document.clone()).unwrap()).collect()
}

fn tenant(name: &str) -> HospitalTenant {
    of(&documents(name), "HospitalTenant").remove(0)
}

fn hospital(name: &str) -> Hospital {
    let documents = documents(name);
    let deployments = of::<Deployment>(&documents, "Deployment").into_iter().map(Into::into);
    let sets = of::<StatefulSet>(&documents, "StatefulSet").into_iter().map(Into::into);
    Hospital {
        tenant: tenant(name),
        workloads: deployments.chain(sets).collect(),
        warnings: of::<Event>(&documents, "Event").into_iter().take(1).map(Into::into).collect(),
        unread: Vec::new(),
    }
}

fn now() -> DateTime<Utc> {
    "2030-01-09T12:00:00Z".parse().unwrap()
}

pub fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

const PLAIN: Look = Look { width: 120, colour: false };

#[test]
fn a_failed_migration_is_told_on_one_screen() {
    golden("migration-failed", &screen(&hospital("migration-failed"), now(), PLAIN));
}

#[test]
fn a_release_under_way_shows_its_step_and_what_became_of_the_last_ones() {
    golden("releasing", &screen(&hospital("releasing"), now(), PLAIN));
}

#[test]
fn a_policy_that_somebody_changed_is_told_with_its_changer_and_length() {
    let text = screen(&hospital("opened"), now(), PLAIN);
    // The field manager's name is whatever its program chose.
    assert!(!text.contains('\u{1b}'), "{text}");
    golden("opened", &text);
}

#[test]
fn a_narrow_terminal_wraps_messages() {
    let text = screen(&hospital("migration-failed"), now(), Look { width: 80, colour: false });
    let table = text.lines().skip_while(|line| !line.starts_with("CONDITION")).take_while(|line| !line.is_empty());
    assert!(table.map(|line| line.chars().count()).max().unwrap() <= 80, "{text}");
    golden("narrow", &text);
}

#[test]
fn a_paused_hospital_with_a_newer_spec_says_both() {
    golden("paused", &screen(&hospital("paused"), now(), PLAIN));
}

#[test]
fn a_hospital_that_nobody_has_looked_at_says_so() {
    golden("never-observed", &screen(&hospital("never-observed"), now(), PLAIN));
}

#[test]
fn the_list_begins_with_those_that_need_a_look() {
    let tenants = ["ready", "migration-failed"].map(tenant);
    golden("list", &list(&rows(&tenants), now(), Look { width: 140, colour: false }));
    assert!(list(&[], now(), PLAIN).starts_with("There is no hospital yet."));
}

#[test]
fn what_could_not_be_read_is_said() {
    let mut hospital = hospital("ready");
    hospital.unread.push("events could not be read: forbidden".to_owned());
    assert!(screen(&hospital, now(), PLAIN).contains("events could not be read: forbidden"));
}

#[test]
fn colours_only_where_they_are_wanted() {
    let hospital = hospital("migration-failed");
    let escape = '\u{1b}';
    assert!(!screen(&hospital, now(), PLAIN).contains(escape));
    let coloured = screen(&hospital, now(), Look { width: 120, colour: true });
    assert!(coloured.contains(escape));
    // The event's words hold an escape sequence that clears the screen.
    assert!(!coloured.contains("\u{1b}[2J"), "{coloured}");
}
