//! The tools, and what each of them says in our words.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::{Finding, Judgement};
use crate::parts::{self, Part};
use crate::progress::Step;
use crate::shell::{self, Command};

type Judge = fn(&Path, &Path, &Step) -> Result<Judgement>;

pub(super) const ALL: [(&str, Judge); 4] = [
    ("checkov", checkov),
    ("kube-score", kube_score),
    ("kubernetes-validate", kubernetes_validate),
    ("kubeconform", kubeconform),
];

/// Oldest minor of Kubernetes that is supported, as in the charts.
const OLDEST: u32 = 31;
/// Kinds of other projects, whose schemas are no part of Kubernetes. Their types are compiled in.
const FOREIGN: [&str; 5] = ["HTTPRoute", "Cluster", "CiliumNetworkPolicy", "ServiceMonitor", "PrometheusRule"];

/// A program of the wheels beside checkov.
fn python(program: &str) -> Result<Command> {
    let bin = parts::ensure(Part::Checkov)?.with_file_name(program);
    let site = site()?;
    Ok(shell::command("python3").arg(bin).env("PYTHONPATH", site))
}

fn site() -> Result<PathBuf> {
    let program = parts::ensure(Part::Checkov)?;
    let site = program.parent().and_then(Path::parent).context("checkov has no directory")?;
    Ok(site.to_path_buf())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn checkov(folder: &Path, _: &Path, _: &Step) -> Result<Judgement> {
    let output = python("checkov")?
        .args([
            "--framework",
            "kubernetes",
            "--skip-download",
            "--quiet",
            "--compact",
            "--output",
            "json",
            "--directory",
            ".",
        ])
        // It leaves out everything below a hidden directory, and the cache may be one.
        .dir(folder)
        .output_even_if_failed()?;
    read_checkov(&output)
}

fn read_checkov(output: &str) -> Result<Judgement> {
    let report: Value = serde_json::from_str(output).context("unexpected answer of checkov")?;
    let number = |name: &str| report.pointer(&format!("/summary/{name}")).and_then(Value::as_u64);
    let (Some(passed), Some(failed)) = (number("passed"), number("failed")) else {
        bail!("checkov gives no summary: {}", shell::last_lines(output, 10));
    };
    if number("parsing_errors") != Some(0) || number("skipped") != Some(0) {
        bail!("checkov could not read, or was told to skip, a part: {:?}", report.pointer("/summary"));
    }
    let list = report.pointer("/results/failed_checks").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |check: &Value, name: &str| check.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let findings: Vec<_> = list
        .iter()
        .map(|check| Finding {
            tool: "checkov",
            rule: text(check, "check_id"),
            object: format!("{} {}", stem(Path::new(&text(check, "file_path"))), text(check, "resource")),
            says: text(check, "check_name"),
        })
        .collect();
    if u64::try_from(findings.len())? != failed {
        bail!("checkov counts {failed} failures and lists {}", findings.len());
    }
    Ok(Judgement { passed, findings })
}

/// One object in the eyes of kube-score.
#[derive(Deserialize)]
struct Scored {
    object_name: String,
    checks: Vec<Score>,
}

#[derive(Deserialize)]
struct Score {
    check: ScoreCheck,
    grade: i64,
    skipped: bool,
}

#[derive(Deserialize)]
struct ScoreCheck {
    id: String,
    name: String,
}

fn kube_score(folder: &Path, _: &Path, _: &Step) -> Result<Judgement> {
    let program = parts::ensure(Part::KubeScore)?;
    let mut judgement = Judgement::default();
    // File by file: policies are judged together with the pods of their own stage.
    for file in files(folder)? {
        let output = shell::command(&program)
            .args([
                "score",
                "--kubernetes-version",
                "v1.35",
                "--disable-ignore-checks-annotations",
                "--output-format",
                "json",
            ])
            .arg(&file)
            .output_even_if_failed()?;
        let scored: Option<Vec<Scored>> = serde_json::from_str(&output).with_context(|| {
            format!("unexpected answer of kube-score on {}: {}", file.display(), shell::last_lines(&output, 5))
        })?;
        for object in scored.unwrap_or_default() {
            for score in object.checks.iter().filter(|score| !score.skipped) {
                // 1 is critical; 5 and 7 are advice; 10 is perfect.
                if score.grade > 1 {
                    judgement.passed += 1;
                    continue;
                }
                judgement.findings.push(Finding {
                    tool: "kube-score",
                    rule: score.check.id.clone(),
                    object: format!("{} {}", stem(&file), object.object_name),
                    says: score.check.name.clone(),
                });
            }
        }
    }
    Ok(judgement)
}

/// Where kubernetes-validate keeps its schemas.
fn schemas() -> Result<PathBuf> {
    Ok(site()?.join("kubernetes_validate/kubernetes-json-schema"))
}

/// Every supported minor of which there are schemas, as `1.31.0`.
fn versions() -> Result<Vec<String>> {
    let names = files(&schemas()?)?;
    let versions: Vec<_> = names.iter().filter_map(|dir| supported(&dir.file_name()?.to_string_lossy())).collect();
    if versions.is_empty() {
        bail!("kubernetes-validate brings no schemas of a supported Kubernetes");
    }
    Ok(versions)
}

fn supported(name: &str) -> Option<String> {
    let version = name.strip_prefix('v')?.strip_suffix("-local-strict")?;
    let minor: u32 = version.strip_prefix("1.")?.split('.').next()?.parse().ok()?;
    (minor >= OLDEST).then(|| version.to_owned())
}

fn kubernetes_validate(folder: &Path, _: &Path, step: &Step) -> Result<Judgement> {
    let files = files(folder)?;
    let mut judgement = Judgement::default();
    for version in versions()? {
        step.note(format!("Kubernetes {version}"));
        let minor = version.rsplit_once('.').map_or(version.as_str(), |(minor, _)| minor);
        let output =
            python("kubernetes-validate")?.args(["--strict", "-k", minor]).args(&files).output_even_if_failed()?;
        for line in output.lines().filter(|line| !line.trim().is_empty()) {
            if line.contains(" passed for resource ") {
                judgement.passed += 1;
            } else if !foreign(line) {
                judgement.findings.push(Finding {
                    tool: "kubernetes-validate",
                    rule: version.clone(),
                    object: line.to_owned(),
                    says: "is not valid in that version".to_owned(),
                });
            }
        }
    }
    Ok(judgement)
}

fn foreign(line: &str) -> bool {
    FOREIGN.iter().any(|kind| line.contains(&format!("Couldn't find schema for kind {kind} ")))
}

#[derive(Deserialize)]
struct Conformed {
    resources: Vec<Resource>,
    summary: Summary,
}

#[derive(Deserialize)]
struct Resource {
    filename: String,
    kind: String,
    name: String,
    status: String,
    msg: String,
}

#[derive(Deserialize)]
struct Summary {
    valid: u64,
}

fn kubeconform(folder: &Path, home: &Path, step: &Step) -> Result<Judgement> {
    let program = parts::ensure(Part::Kubeconform)?;
    let mut judgement = Judgement::default();
    for version in versions()? {
        step.note(format!("Kubernetes {version}"));
        let place = home.join("schemas");
        localise(&schemas()?.join(format!("v{version}-local-strict")), &place)?;
        let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", place.display());
        let output = shell::command(&program)
            .args([
                "-strict",
                "-summary",
                "-output",
                "json",
                "-kubernetes-version",
                &version,
                "-skip",
                &FOREIGN.join(","),
            ])
            .args(["-schema-location", &location])
            .args(files(folder)?)
            .output_even_if_failed()?;
        let conformed: Conformed = serde_json::from_str(&output)
            .with_context(|| format!("unexpected answer of kubeconform: {}", shell::last_lines(&output, 5)))?;
        judgement.passed += conformed.summary.valid;
        judgement.findings.extend(conformed.resources.into_iter().filter(|r| r.status != "statusSkipped").map(
            |resource| Finding {
                tool: "kubeconform",
                rule: version.clone(),
                object: format!("{} {}/{}", stem(Path::new(&resource.filename)), resource.kind, resource.name),
                says: resource.msg,
            },
        ));
    }
    Ok(judgement)
}

/// A copy whose references lead to the file beside them, not to a server.
fn localise(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    crate::paths::create_dir(to)?;
    for file in files(from)? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let local = to.join(file.file_name().unwrap_or_default());
        let text = text.replace("/api/_definitions.json", "_definitions.json").replace("\"$id\":", "\"$comment\":");
        fs::write(&local, text).with_context(|| format!("cannot write {}", local.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_skipped_something_or_lists_less_than_it_counts_is_refused() {
        let report = |skipped: u32, failed: u32| {
            format!(
                r#"{{"summary": {{"passed": 7, "failed": {failed}, "skipped": {skipped}, "parsing_errors": 0}}, "results": {{"failed_checks":
                [{{"check_id": "CKV_K8S_1", "check_name": "n", "file_path": "/care-new.yaml", "resource": "Job.x"}}]}}}}"#
            )
        };
        let read = read_checkov(&report(0, 1)).unwrap();
        assert_eq!((read.passed, read.findings[0].object.as_str()), (7, "care-new Job.x"));
        assert!(read_checkov(&report(1, 1)).is_err());
        assert!(read_checkov(&report(0, 2)).is_err());
    }

    #[test]
    fn only_supported_minors_are_asked() {
        assert_eq!(supported("v1.31.0-local-strict"), Some("1.31.0".to_owned()));
        assert_eq!(supported("v1.30.0-local-strict"), None);
        assert_eq!(supported("v1.31.0-local"), None);
    }
}
