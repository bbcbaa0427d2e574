//! What people get wrong, case by case: each mistake is refused or reported, naming the field, the reason and the fix.

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

use std::collections::BTreeSet;

use his_operator::{
    conditions::{Reason, Rejection},
    error::{Error, ErrorClass},
    reconcile::report,
};
use kube::core::cel::ValidationErrors;
use serde::Deserialize;
use support::{Case, files, root, stem};

/// What a case expects.
#[derive(Debug, Deserialize)]
#[serde(tag = "by", rename_all = "camelCase", deny_unknown_fields)]
enum Expected {
    /// The plan is refused.
    Rejection { field: String, reason: String, waiting: bool, says: Vec<String> },
    /// A condition names it.
    Verdict { condition: String, status: String, reason: String, says: Vec<String> },
    /// The API server refuses it at admission.
    Cel { kind: String, field: String, says: Vec<String> },
}

#[test]
fn every_mistake_is_answered_with_field_reason_and_fix() {
    let mut wrong = Vec::new();
    for path in files(&root().join("tests/cases/bad-input"), "yaml") {
        let case = Case::read(&path);
        let expected = case.seen.expect.clone().unwrap_or_else(|| panic!("{}: expects nothing", path.display()));
        let expected: Expected =
            serde_json::from_value(expected).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if let Err(difference) = check(&case, &expected) {
            wrong.push(format!("{}: {difference}", stem(&path)));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn check(case: &Case, expected: &Expected) -> Result<(), String> {
    match expected {
        Expected::Rejection { field, reason, waiting, says } => {
            let rejection = case.plan().err().ok_or("it is planned")?;
            refused(&rejection, (field, reason, *waiting), says)?;
            blocks(case, &rejection)
        }
        Expected::Verdict { condition, status, reason, says } => {
            let pass = case.plan().map_err(|rejection| format!("it is refused: {rejection}"))?;
            let verdicts = pass.assess(&case.observed);
            let (_, verdict) = verdicts.iter().find(|(kind, _)| kind == condition).ok_or("no such condition")?;
            let seen = (verdict.proof.as_str(), verdict.reason.as_str());
            same("status and reason", &(status.as_str(), reason.as_str()), &seen)?;
            contains(&verdict.message, says)
        }
        Expected::Cel { kind, field, says } => {
            let errors = cel_errors(case, kind)?;
            let found = errors.iter().find(|error| error.field_path.trim_start_matches('.') == field);
            let found = found.ok_or_else(|| format!("no error for {field}, but: {errors:?}"))?;
            contains(&found.message, says)
        }
    }
}

fn refused(rejection: &Rejection, expected: (&str, &str, bool), says: &[String]) -> Result<(), String> {
    let seen = (rejection.field.as_str(), rejection.reason.as_str(), rejection.waiting);
    same("field, reason and waiting", &expected, &seen)?;
    contains(&rejection.message, says)?;
    let class = Error::from(rejection.clone()).class();
    same("class", &(if rejection.waiting { ErrorClass::Waiting } else { ErrorClass::Terminal }), &class)
}

/// The status must show the very same to somebody who only looks at `kubectl describe`.
fn blocks(case: &Case, rejection: &Rejection) -> Result<(), String> {
    let status = report::rejected(&case.inputs.tenant, rejection, case.inputs.now);
    let blocking = status.blocking.ok_or("status.blocking is empty")?;
    same("blocking reason", &rejection.reason.as_str(), &blocking.reason.as_str())?;
    contains(&blocking.message, &[rejection.field.clone(), rejection.message.clone()])?;
    same("advice", &rejection.reason.next(), &blocking.next.as_str())?;
    let of = |kind: &str| status.conditions.iter().find(|c| c.type_ == kind).map(|c| c.status.clone());
    same("Ready", &Some("False".to_owned()), &of("Ready"))?;
    let person = if rejection.waiting { "False" } else { "True" };
    same("Stalled", &Some(person.to_owned()), &of("Stalled"))
}

fn cel_errors(case: &Case, kind: &str) -> Result<ValidationErrors, String> {
    let result = match kind {
        "HospitalPlatform" => case.observed.platform.as_ref().ok_or("no platform")?.validate_cel(),
        "HospitalApplication" => case.observed.application.as_ref().ok_or("no application")?.validate_cel(),
        "HospitalTenant" => case.inputs.tenant.validate_cel(),
        other => return Err(format!("unknown kind {other}")),
    };
    result.err().ok_or_else(|| "no rule refuses it".to_owned())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, seen: &T) -> Result<(), String> {
    if expected == seen { Ok(()) } else { Err(format!("{what}: expected {expected:?}, but it is {seen:?}")) }
}

fn contains(message: &str, parts: &[String]) -> Result<(), String> {
    parts
        .iter()
        .find(|part| !message.contains(part.as_str()))
        .map_or(Ok(()), |part| Err(format!("the message does not say {part:?}: {message}")))
}

/// Each reason for which a plan is refused has a case; the others belong to conditions and are listed here.
#[test]
fn every_reason_to_refuse_has_a_case() {
    let conditions = BTreeSet::from([
        Reason::Proved,
        Reason::Progressing,
        Reason::DatabaseNotReady,
        Reason::InitRunning,
        Reason::InitFailed,
        Reason::MigrationRunning,
        Reason::MigrationFailed,
        Reason::QuotaTooSmall,
        Reason::GateFailed,
        Reason::ContractRunning,
        Reason::ContractFailed,
        Reason::RequestsFailing,
        Reason::RolledBack,
        Reason::PodsFailing,
        Reason::RouteNotAccepted,
        Reason::NetworkOpen,
        Reason::NotTried,
        Reason::SwitchedOff,
        Reason::Paused,
        Reason::ApiError,
        Reason::Deleting,
        Reason::NotObserved,
    ]);
    let text: String = files(&root().join("tests/cases/bad-input"), "yaml")
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    for reason in Reason::ALL.iter().filter(|reason| !conditions.contains(reason)) {
        assert!(text.contains(&format!("reason: {}", reason.as_str())), "no case of bad input for {}", reason.as_str());
    }
}

/// Files that are wrong in one way each: refused by a plan, told by a condition, or refused by the API server (those of
/// `tests/cases/cel`, whose messages `tests/cel.rs` reads).
#[test]
fn there_are_more_than_a_hundred_mistakes() {
    let here = files(&root().join("tests/cases/bad-input"), "yaml").len();
    let refused = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().next().is_some_and(|line| line.starts_with("# expect: ") && line != "# expect: accepted")
    };
    let by_rules: usize = ["platform", "application", "tenant"]
        .iter()
        .map(|kind| files(&root().join("tests/cases/cel").join(kind), "yaml").iter().filter(|p| refused(p)).count())
        .sum();
    assert!(here + by_rules >= 100, "{here} and {by_rules} mistakes");
}

/// The oracle itself: a wrong expectation must not pass.
#[test]
fn a_wrong_expectation_is_noticed() {
    let path = root().join("tests/cases/bad-input/host-taken.yaml");
    let case = Case::read(&path);
    let expected = |field: &str, reason: &str, says: &str| Expected::Rejection {
        field: field.to_owned(),
        reason: reason.to_owned(),
        waiting: false,
        says: vec![says.to_owned()],
    };
    assert_eq!(check(&case, &expected("spec.host", "HostTaken", "st-eligius")), Ok(()));
    assert!(check(&case, &expected("spec.hosts", "HostTaken", "st-eligius")).is_err());
    assert!(check(&case, &expected("spec.host", "TemplateInvalid", "st-eligius")).is_err());
    assert!(check(&case, &expected("spec.host", "HostTaken", "st-mungo")).is_err());
}
