//! What an upgrade of the operator, and the way back, may change: nothing that runs, and nothing that is stored.

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

#[path = "upgrade/definitions.rs"]
mod definitions;
#[path = "upgrade/gaps.rs"]
mod gaps;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use his_operator::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant},
    objects::{Desired, Observed, kind},
    reconcile::{
        pass::{self, Pass, difference},
        report,
    },
    settings::Settings,
    tenant::Inputs,
};
use serde_json::Value;
use support::{
    cluster::{Jobs, apply},
    crds, now, patched, root,
};

/// The operator with the agent of that letter.
fn operator(agent: char) -> Settings {
    let agent_image = format!("registry.example.org/his-operator@sha256:{}", agent.to_string().repeat(64));
    Settings { agent_image, ..Settings::default() }
}

/// A hospital on paper, and the operators that come and go.
#[derive(Clone)]
struct Hospital {
    tenant: HospitalTenant,
    observed: Observed,
    now: DateTime<Utc>,
}

impl Hospital {
    fn new() -> Self {
        let fixture = |name: &str| root().join("tests/cases/fixtures").join(name);
        let platform: HospitalPlatform = patched(&fixture("platform.yaml"), None, "upgrade");
        let application: HospitalApplication = patched(&fixture("application.yaml"), None, "upgrade");
        let observed = Observed {
            crds: crds(),
            platform: Some(Arc::new(platform)),
            application: Some(Arc::new(application)),
            ..Observed::default()
        };
        Self { tenant: patched(&fixture("tenant.yaml"), None, "upgrade"), observed, now: now() }
    }

    fn plan(&self, settings: &Settings) -> Pass {
        let inputs = Inputs { tenant: Arc::new(self.tenant.clone()), settings: settings.clone(), now: self.now };
        pass::plan(&inputs, &self.observed).unwrap()
    }

    /// What that operator would write now.
    fn changes(&self, settings: &Settings) -> Vec<String> {
        let pass = self.plan(settings);
        let wanted = |desired: &&Desired| difference(desired, &self.observed).is_some();
        pass.desired.iter().filter(wanted).map(|desired| desired.at().to_string()).collect()
    }

    /// Lets that operator work until it has nothing to do any more.
    fn settle(&mut self, settings: &Settings, jobs: Jobs) {
        for number in 0..24 {
            self.now = now() + TimeDelta::minutes(number);
            let pass = self.plan(settings);
            apply(&pass.desired, &mut self.observed, jobs, self.now);
            let status = report::planned(&self.tenant, &pass, &self.observed, None, None);
            let quiet = self.changes(settings).is_empty();
            if quiet && self.tenant.status.as_ref() == Some(&status) {
                return;
            }
            self.tenant.status = Some(status);
        }
        panic!("does not settle: {:?}", self.tenant.status);
    }

    fn ask_for(&mut self, version: &str) {
        self.tenant.spec.application.version = Some(version.to_owned());
    }

    /// Images of `prepare` in everything of that kind.
    fn agents(&self, kind: his_operator::objects::Kind) -> Vec<String> {
        let of = |live: &Value| {
            let init = live["spec"]["template"]["spec"]["initContainers"].as_array().cloned().unwrap_or_default();
            init.iter().map(|container| container["image"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let live = self.observed.objects.iter().filter(|(at, _)| at.kind == kind);
        live.flat_map(|(_, live)| of(&serde_json::to_value(live.as_ref()).unwrap())).collect()
    }
}

fn serving(settings: &Settings) -> Hospital {
    let mut hospital = Hospital::new();
    hospital.settle(settings, Jobs::Succeeded);
    assert!(!hospital.agents(kind::DEPLOYMENT).is_empty(), "no pod has an agent: this would prove nothing");
    hospital
}

#[test]
fn a_new_operator_changes_no_object_of_a_hospital_and_neither_does_the_way_back() {
    let (old, new) = (operator('a'), operator('b'));
    let mut hospital = serving(&old);
    assert_eq!(hospital.changes(&new), Vec::<String>::new());
    hospital.settle(&new, Jobs::Succeeded);
    assert_eq!(hospital.changes(&old), Vec::<String>::new());
    assert!(hospital.agents(kind::DEPLOYMENT).iter().all(|image| *image == old.agent_image));
}

#[test]
fn the_next_version_takes_the_new_agent_for_its_jobs_at_once_and_for_its_pods_when_they_come() {
    let (old, new) = (operator('a'), operator('b'));
    let mut hospital = serving(&old);
    hospital.ask_for("2.0.0");
    hospital.settle(&new, Jobs::Running);
    assert!(hospital.agents(kind::JOB).contains(&new.agent_image), "the migration runs with the old agent");
    assert!(hospital.agents(kind::DEPLOYMENT).iter().all(|image| *image == old.agent_image));
    // It runs again from here, and ends.
    hospital.observed.objects.retain(|at, _| at.kind != kind::JOB);
    hospital.settle(&new, Jobs::Succeeded);
    assert!(hospital.agents(kind::DEPLOYMENT).iter().all(|image| *image == new.agent_image));
    assert_eq!(hospital.changes(&old), Vec::<String>::new(), "a rollback of the operator changes a hospital");
}

#[test]
fn a_version_that_fails_to_come_in_leaves_the_pods_with_their_agent_when_it_is_taken_back() {
    let (old, new) = (operator('a'), operator('b'));
    let mut hospital = serving(&old);
    hospital.ask_for("2.0.0");
    hospital.settle(&new, Jobs::Failed);
    hospital.ask_for("1.0.0");
    hospital.settle(&new, Jobs::Failed);
    assert!(hospital.agents(kind::DEPLOYMENT).iter().all(|image| *image == old.agent_image));
}

/// What somebody writes into a Deployment is drift, never a record.
#[test]
fn another_agent_in_a_deployment_is_taken_out_again() {
    let old = operator('a');
    let mut hospital = serving(&old);
    let (at, live) = hospital
        .observed
        .objects
        .iter()
        .find(|(at, live)| at.kind == kind::DEPLOYMENT && live.data.to_string().contains(&old.agent_image))
        .unwrap();
    let mut live = serde_json::to_value(live.as_ref()).unwrap();
    live["spec"]["template"]["spec"]["initContainers"][0]["image"] = "attacker.example.org/agent".into();
    let at = at.clone();
    hospital.observed.objects.insert(at.clone(), Arc::new(serde_json::from_value(live).unwrap()));
    assert_eq!(hospital.changes(&operator('b')), [at.to_string()]);
    hospital.settle(&operator('b'), Jobs::Succeeded);
    assert!(hospital.agents(kind::DEPLOYMENT).iter().all(|image| *image == old.agent_image));
}

/// Raising the attempt is how a hospital gets the new agent without another version.
#[test]
fn a_new_attempt_takes_the_new_agent() {
    let (old, new) = (operator('a'), operator('b'));
    let mut hospital = serving(&old);
    hospital.tenant.spec.release = Some(serde_json::from_str(r#"{"attempt": 1}"#).unwrap());
    hospital.settle(&new, Jobs::Succeeded);
    assert!(hospital.agents(kind::DEPLOYMENT).iter().all(|image| *image == new.agent_image));
}
