//! `kubectl his` as people run it: plans of YAML files, explanations, and the status of hospitals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    reason = "fixtures and helpers of tests; answers of a server are raw JSON"
)]

#[path = "plugin/bundle.rs"]
mod bundle;
#[path = "plugin/channels.rs"]
mod channels;
#[path = "plugin/cluster.rs"]
mod cluster;
#[path = "plugin/diff.rs"]
mod diff;
#[path = "plugin/events.rs"]
mod events;
#[path = "plugin/explain.rs"]
mod explain;
#[path = "plugin/health.rs"]
mod health;
#[path = "plugin/live.rs"]
mod live;
#[path = "plugin/network.rs"]
mod network;
#[path = "plugin/plan.rs"]
mod plan;
#[path = "plugin/server.rs"]
mod server;
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

/// Objects of a file of the cases.
fn documents_of(name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(case(name)).unwrap();
    serde_yaml_ng::Deserializer::from_str(&text).map(|yaml| serde::Deserialize::deserialize(yaml).unwrap()).collect()
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
fn help_is_no_error_and_wrong_usage_is() {
    let help = plugin(&["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("kubectl his") && help.out.contains("Exit codes:"), "{}", help.out);
    assert_eq!(plugin(&[]).code, Some(1));
    assert_eq!(plugin(&["plan"]).code, Some(1));
    assert_eq!(plugin(&["plan", "-f", "x", "-o", "html"]).code, Some(1));
}

#[test]
fn every_command_states_its_exit_codes_in_the_readme_too() {
    let help = plugin(&["--help"]).out;
    let readme = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for code in 0..=4 {
        let in_help = help.lines().any(|line| line.trim_start().starts_with(&format!("{code}  ")));
        assert!(in_help, "--help does not state exit code {code}: {help}");
        assert!(readme.contains(&format!("| {code} |")), "README.md does not state exit code {code}");
    }
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    // A description that goes on in the next line begins further to the right.
    let commands = commands.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    for command in commands.filter_map(|line| line.split_whitespace().next()) {
        assert!(command == "help" || readme.contains(&format!("kubectl his {command}")), "README.md lacks {command}");
    }
}

#[test]
fn scripts_for_shells_and_words_for_kubectl_need_no_cluster() {
    for (shell, words) in
        [("bash", "complete -F"), ("zsh", "#compdef kubectl-his"), ("fish", "complete -c kubectl-his")]
    {
        let script = plugin(&["completion", shell]);
        assert_eq!((script.code, script.err.as_str()), (Some(0), ""));
        assert!(script.out.contains(words) && script.out.contains("support-bundle"), "{shell}: {}", script.out);
    }
    assert!(plugin(&["completion", "kubectl"]).out.starts_with("#!/bin/sh\n"));
    let words = |line: &[&str]| plugin(&[&["complete", "--"], line].concat()).out;
    assert!(words(&["expl"]).starts_with("explain\t") && words(&["expl"]).ends_with(":4\n"), "{}", words(&["expl"]));
    assert!(words(&["explain", "Migration"]).contains("MigrationFailed\t"), "{}", words(&["explain", "Migration"]));
    assert!(words(&["plan", "-o", ""]).contains("yaml"), "{}", words(&["plan", "-o", ""]));
}

#[test]
fn kubectl_itself_gets_its_words_from_the_printed_program() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("kubectl_complete-his");
    std::fs::write(&program, plugin(&["completion", "kubectl"]).out).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubectl-his"), directory.path().join("kubectl-his")).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    // As kubectl calls it: without the plugin's own name, the unfinished word last.
    let ran = Command::new("sh").arg(&program).args(["paus"]).env("PATH", path).output().unwrap();
    let words = Ran::from(ran).out;
    assert!(words.starts_with("pause\t") && words.ends_with(":4\n"), "{words}");
}

#[test]
fn names_of_hospitals_are_offered_if_the_cluster_answers() {
    let server = server::Server::new(server::answers(&["ready", "migration-failed"]));
    let ran = command(&["complete", "--", "status", "st"]).env("KUBECONFIG", server.config()).output().unwrap();
    assert!(Ran::from(ran).out.starts_with("st-elsewhere\n"));
    let nobody = command(&["complete", "--", "status", "st"]).env("KUBECONFIG", "/nonexistent").output().unwrap();
    assert_eq!(Ran::from(nobody).out, ":0\n");
}
