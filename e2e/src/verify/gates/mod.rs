//! Manifest gates: everything that the operator can render for the shipped applications, the charts and the plain bundle, in
//! the eyes of tools that are not ours.
//!
//! Guarantees: whatever a tool finds fails, unless `accepted.yaml` names it with a reason, and then it is counted; a line
//! there that no finding needs fails too. A tool that looked at nothing has failed. Nothing is fetched that is not pinned.

mod manifests;
mod tools;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Count;
use crate::parts::{self, Part};
use crate::{paths, progress};

const ACCEPTED: &str = include_str!("accepted.yaml");

/// What a tool dislikes about an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    tool: &'static str,
    rule: String,
    /// `FILE KIND/NAME`.
    object: String,
    says: String,
}

/// What a tool has looked at.
#[derive(Debug, Default)]
struct Judgement {
    passed: u64,
    findings: Vec<Finding>,
}

/// A line of `accepted.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    tool: String,
    rule: String,
    objects: Vec<String>,
    reason: String,
}

impl Accepted {
    fn covers(&self, finding: &Finding) -> bool {
        let object = self.objects.iter().any(|start| finding.object.starts_with(start));
        self.tool == finding.tool && self.rule == finding.rule && object
    }
}

/// Renders, runs every tool, and prints what each has said.
pub fn run() -> Result<Count> {
    parts::ensure_all(&Part::GATES)?;
    let home = paths::cache_dir()?.join("gates");
    let folder = home.join("manifests");
    progress::step("rendering everything that the operator can render").run(|_| manifests::write(&folder))?;
    let mut judgements: Vec<(&str, Judgement)> = Vec::new();
    for (name, judge) in tools::ALL {
        let judgement = progress::step(format!("judging with {name}")).run(|step| judge(&folder, &home, step))?;
        if judgement.passed == 0 {
            bail!("{name} has looked at nothing");
        }
        judgements.push((name, judgement));
    }
    settle(&judgements, &accepted(ACCEPTED)?)
}

fn accepted(text: &str) -> Result<Vec<Accepted>> {
    let lines: Vec<Accepted> = serde_yaml_ng::from_str(text).context("accepted.yaml of the manifest gates")?;
    if let Some(line) = lines.iter().find(|line| line.reason.trim().len() < 20 || line.objects.is_empty()) {
        bail!("accepted.yaml: {} {} needs a reason and objects", line.tool, line.rule);
    }
    Ok(lines)
}

fn settle(judgements: &[(&str, Judgement)], accepted: &[Accepted]) -> Result<Count> {
    let all = || judgements.iter().flat_map(|(_, judgement)| &judgement.findings);
    let open: Vec<_> = all().filter(|finding| !accepted.iter().any(|line| line.covers(finding))).collect();
    for (name, judgement) in judgements {
        let failed = open.iter().filter(|finding| finding.tool == *name).count();
        let stand = judgement.findings.len() - failed;
        println!("{name}: {} passed, {failed} failed, {stand} accepted with a reason", judgement.passed);
    }
    let mut by_rule: BTreeMap<(&str, &str), Vec<&Finding>> = BTreeMap::new();
    for finding in &open {
        by_rule.entry((finding.tool, &finding.rule)).or_default().push(finding);
    }
    for ((tool, rule), findings) in by_rule {
        println!("{tool} {rule}: {}", findings.first().map(|finding| finding.says.as_str()).unwrap_or_default());
        findings.iter().for_each(|finding| println!("  {}", finding.object));
    }
    let idle = accepted.iter().filter(|line| !all().any(|finding| line.covers(finding)));
    let idle: Vec<_> = idle.map(|line| format!("{} {}", line.tool, line.rule)).collect();
    if !idle.is_empty() {
        bail!("accepted.yaml: no finding needs these lines, remove them: {}", idle.join(", "));
    }
    let passed = judgements.iter().map(|(_, judgement)| judgement.passed).sum();
    Ok(Count { passed, failed: u64::try_from(open.len())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(object: &str) -> Finding {
        Finding { tool: "checkov", rule: "R".to_owned(), object: object.to_owned(), says: String::new() }
    }

    fn judged(objects: &[&str]) -> Vec<(&'static str, Judgement)> {
        vec![("checkov", Judgement { passed: 3, findings: objects.iter().map(|object| finding(object)).collect() })]
    }

    const LINE: &str = "- {tool: checkov, rule: R, objects: [care-], reason: a reason that is long enough}";

    #[test]
    fn a_finding_fails_unless_a_line_with_a_reason_names_its_rule_and_object() {
        let lines = accepted(LINE).unwrap();
        let settled = |objects: &[&str]| settle(&judged(objects), &lines).unwrap();
        assert_eq!(settled(&["care-new Job/init"]), Count { passed: 3, failed: 0 });
        assert_eq!(settled(&["care-new Job/init", "chart Deployment/x"]), Count { passed: 3, failed: 1 });
    }

    #[test]
    fn a_line_that_nothing_needs_or_without_a_reason_is_refused() {
        let lines = accepted(LINE).unwrap();
        assert!(settle(&judged(&["chart Deployment/x"]), &lines).unwrap_err().to_string().contains("checkov R"));
        assert!(accepted("- {tool: checkov, rule: R, objects: [care-], reason: no}").is_err());
    }

    #[test]
    fn the_accepted_findings_can_be_read() {
        assert!(!accepted(ACCEPTED).unwrap().is_empty());
    }
}
