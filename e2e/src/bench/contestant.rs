//! Who is measured, under which name, and how each is started.

#![allow(clippy::disallowed_macros, reason = "raw objects are the subject here")]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::parts::{self, Part};
use crate::{demo, paths, progress, shell};

/// Hospitals that are worked on at the same time, for everybody who can be told.
pub(super) const CONCURRENCY: usize = 16;

/// See the module.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Contestant {
    /// This repository's operator, as it is released.
    HisOperator,
    /// A client that sends the same bytes and looks at nothing: the limit.
    Raw,
    /// A hand-written controller, `e2e/bench/controller`.
    ControllerRuntime,
    /// Kube Resource Orchestrator with one ResourceGraphDefinition.
    Kro,
    /// `helm upgrade --install` of one chart, once per hospital.
    Helm,
}

impl Contestant {
    pub(super) const ALL: [Self; 5] = [Self::HisOperator, Self::Raw, Self::ControllerRuntime, Self::Kro, Self::Helm];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HisOperator => "his-operator",
            Self::Raw => "raw",
            Self::ControllerRuntime => "controller-runtime",
            Self::Kro => "kro",
            Self::Helm => "helm",
        }
    }

    /// The user in its client certificate, and in the audit log.
    pub(super) fn user(self) -> &'static str {
        match self {
            // Its real rights and admission policies are those of its service account.
            Self::HisOperator => "system:serviceaccount:his-operator-system:his-operator",
            Self::Raw => "bench-raw",
            Self::ControllerRuntime => "bench-controller-runtime",
            Self::Kro => "bench-kro",
            Self::Helm => "bench-helm",
        }
    }

    pub(super) fn groups(self) -> &'static [&'static str] {
        match self {
            Self::HisOperator => {
                &["system:serviceaccounts", "system:serviceaccounts:his-operator-system", "system:authenticated"]
            }
            Self::Raw | Self::ControllerRuntime | Self::Kro | Self::Helm => &["system:authenticated"],
        }
    }

    /// Writes per hospital beside its objects that its kind of work cannot do without.
    pub(super) fn extra_writes(self) -> usize {
        match self {
            // A finalizer and a status.
            Self::HisOperator | Self::Kro => 2,
            // A status; its objects go by owner references.
            Self::ControllerRuntime => 1,
            Self::Raw | Self::Helm => 0,
        }
    }

    /// Environment that decides how much memory it takes, as it is installed with.
    pub(super) fn environment(self) -> Result<Vec<(String, String)>> {
        if self != Self::HisOperator {
            return Ok(Vec::new());
        }
        let file = paths::repo_root()?.join("manifests/install.yaml");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let documents = serde_yaml_ng::Deserializer::from_str(&text).map(Value::deserialize);
        let objects =
            documents.collect::<Result<Vec<_>, _>>().with_context(|| format!("{} is not YAML", file.display()))?;
        let deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
        let env = deployments.filter_map(|object| object.pointer("/spec/template/spec/containers/0/env")?.as_array());
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let pairs = env.flatten().filter_map(|one| Some((text(&one["name"])?, text(&one["value"])?)));
        Ok(pairs.filter(|(name, _)| name.starts_with("MALLOC_")).collect())
    }

    /// A hospital as this contestant's users write it; `own` is how the operator's do.
    pub(super) fn hospital(self, own: &Value, name: &str) -> Value {
        let host = format!("{name}.example.org");
        if self != Self::HisOperator {
            return json!({
                "apiVersion": "bench.his-operator.io/v1", "kind": "Hospital",
                "metadata": { "name": name }, "spec": { "host": host },
            });
        }
        let mut hospital = own.clone();
        if let Some(object) = hospital.as_object_mut() {
            object.insert("metadata".to_owned(), json!({ "name": name }));
        }
        if let Some(spec) = hospital.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("host".to_owned(), host.into());
        }
        hospital
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A contestant that is there.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub contestant: Contestant,
    pub path: PathBuf,
}

impl Program {
    /// Builds it if this machine does not have it yet.
    pub(super) fn ensure(contestant: Contestant, operator: &Path) -> Result<Self> {
        let path = match contestant {
            Contestant::HisOperator => operator.to_path_buf(),
            Contestant::Raw => shell::this_program(),
            Contestant::ControllerRuntime => parts::ensure(Part::BenchController)?,
            Contestant::Kro => parts::ensure(Part::Kro)?,
            Contestant::Helm => parts::ensure(Part::Helm)?,
        };
        Ok(Self { contestant, path })
    }

    pub(super) fn mib(&self) -> Result<f64> {
        let metadata = fs::metadata(&self.path).with_context(|| format!("cannot look at {}", self.path.display()))?;
        #[allow(clippy::cast_precision_loss, reason = "the size of a program")]
        Ok(metadata.len() as f64 / f64::from(1 << 20))
    }
}

/// The operator as it is released.
pub(super) fn build_operator() -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let messages = progress::step("building the operator as it is released").run(|_| {
        shell::command(cargo)
            .args(["build", "--quiet", "--release", "--package", "his-operator", "--bin", "his-operator"])
            .args(["--message-format", "json"])
            .dir(paths::repo_root()?)
            .output()
    })?;
    demo::install::executable(&messages, "his-operator").context("cargo built no program his-operator")
}
