//! `kubectl his` as people run it: plans of YAML files, explanations, and the status of hospitals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    reason = "fixtures and helpers of tests; answers of a server are raw JSON"
)]

#[path = "plugin/cluster.rs"]
mod cluster;
#[path = "plugin/plan.rs"]
mod plan;
#[path = "plugin/status.rs"]
mod status;

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// A file of the cases.
fn case(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/plugin/cases").join(name);
    path.display().to_string()
}

fn plugin(arguments: &[&str]) -> Ran {
    command(arguments).output().unwrap().into()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-his"));
    command.args(arguments).stdin(Stdio::null()).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
    command
}

/// What a command printed and how it ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

#[test]
fn every_reason_and_condition_is_explained_in_any_case() {
    let all = plugin(&["explain"]);
    assert_eq!((all.code, all.err.as_str()), (Some(0), ""));
    for word in ["MigrationFailed", "DatabaseReady", "Stalled"] {
        assert!(all.out.contains(word), "{}", all.out);
    }
    let reason = plugin(&["explain", "migrationfailed"]);
    assert!(reason.out.starts_with("MigrationFailed\n  next: The old version serves."), "{}", reason.out);
    let condition = plugin(&["explain", "edgeready"]);
    assert!(
        condition.out.contains("HTTPRoute") && condition.out.contains("httproutes.gateway.networking.k8s.io"),
        "{}",
        condition.out
    );
}

#[test]
fn a_word_that_nobody_knows_is_wrong_usage() {
    let ran = plugin(&["explain", "Sunshine"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("\"Sunshine\" is neither a reason nor a condition"), "{}", ran.err);
}

#[test]
fn help_is_no_error_and_wrong_usage_is() {
    let help = plugin(&["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("kubectl his") && help.out.contains("Exit codes:"), "{}", help.out);
    assert_eq!(plugin(&[]).code, Some(1));
    assert_eq!(plugin(&["plan"]).code, Some(1));
    assert_eq!(plugin(&["plan", "-f", "x", "-o", "html"]).code, Some(1));
}
