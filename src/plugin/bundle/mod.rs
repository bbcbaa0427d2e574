//! `kubectl his support-bundle`: everything that somebody needs who helps with a hospital, in one file that may be sent.
//!
//! Guarantees: only reads. No value of a Secret and nothing that a container of the hospital wrote is in it; what was left out,
//! and why, is in its MANIFEST.md. The file is readable by its owner only and never replaces another one.

mod archive;
mod gather;
mod pods;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{
    access::{self, Cluster},
    complete,
    diff::Operator,
    output::{Ended, Ending, Output, Said, plain},
};
use crate::ports::{Clock, SystemClock};

/// Of which hospital, and where to.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    /// Name of the hospital.
    #[arg(value_name = "TENANT", add = complete::hospitals())]
    tenant: String,
    /// File to write. Absent: his-support-TENANT-TIME.tar.gz in the current directory.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    to: Option<PathBuf>,
    /// How to print what was done.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    cluster: Cluster,
}

/// One file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    /// Path in the bundle.
    path: String,
    /// What it is.
    about: String,
    /// Redacted.
    text: String,
}

/// Something that is not in the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct LeftOut {
    what: String,
    why: String,
}

/// Everything that goes into the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bundle {
    parts: Vec<Part>,
    left_out: Vec<LeftOut>,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    file: String,
    parts: Vec<String>,
    left_out: Vec<LeftOut>,
}

impl Bundle {
    fn add(&mut self, path: impl Into<String>, about: impl Into<String>, text: String) {
        self.parts.push(Part { path: path.into(), about: about.into(), text });
    }

    fn leave_out(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.left_out.push(LeftOut { what: what.into(), why: why.into() });
    }

    /// What is inside, what is not, and how secrets were taken out.
    fn manifest(&self, tenant: &str, at: &str) -> String {
        let mut text = format!("# Support bundle of HospitalTenant {tenant}, {at}\n\n## What is inside\n\n");
        for part in &self.parts {
            text += &format!("- `{}`: {}\n", part.path, part.about);
        }
        text += "\n## What was left out, and why\n\n";
        for left in &self.left_out {
            text += &format!("- {}: {}\n", plain(&left.what), plain(&left.why));
        }
        text + "\n`[redacted]` stands where a secret was, or something that looks like one.\n"
    }
}

impl Arguments {
    pub(super) fn run(&self) -> Ended {
        let now = SystemClock.now();
        let stem = format!("his-support-{}-{}", self.tenant, now.format("%Y%m%dT%H%M%SZ"));
        let file = self.to.clone().unwrap_or_else(|| PathBuf::from(format!("{stem}.tar.gz")));
        if file.exists() {
            return Err(Ending::Usage(format!("{} exists already; name another file with --to", file.display())));
        }
        let mut bundle = access::run(async {
            let client = access::connect(&self.cluster).await?;
            gather::gather(&client, &self.tenant, &self.operator, now).await
        })?;
        let manifest = bundle.manifest(&self.tenant, &now.to_rfc3339());
        bundle.parts.insert(0, Part { path: "MANIFEST.md".to_owned(), about: String::new(), text: manifest });
        archive::write(&file, &stem, &bundle.parts, now).map_err(|error| {
            Ending::Usage(format!("{} cannot be written: {error}; name another file with --to", file.display()))
        })?;
        let summary = Summary {
            file: file.display().to_string(),
            parts: bundle.parts.iter().map(|part| part.path.clone()).collect(),
            left_out: bundle.left_out,
        };
        Ok(Said::well(self.output.print(&summary, text)?))
    }
}

fn text(summary: &Summary) -> String {
    let left = summary.left_out.iter().map(|left| format!("  {}: {}\n", plain(&left.what), plain(&left.why)));
    format!(
        "{} holds {} files. Look through it before you send it: MANIFEST.md says what is inside.\nLeft out:\n{}",
        summary.file,
        summary.parts.len(),
        left.collect::<String>()
    )
}
