//! `kubectl his diff`: what the operator would change in the cluster, object by object and field by field.
//!
//! Guarantees: the very pass, render and comparison that the operator runs, on live objects that are read with the person's
//! own rights; nothing is written. Values of Secrets are neither read nor shown. What could not be read is said, and never
//! counts as unchanged.

mod compare;
mod live;
mod owned;
mod text;
mod wanted;

use clap::Args;
use kube::ResourceExt;

use super::{
    access::{self, Cluster},
    complete,
    output::{Ended, Ending, Outcome, Output, Said},
    redact::Redaction,
};
use crate::{
    ports::{Clock, SystemClock},
    render::{documents, simulate},
    settings::Settings,
    tenant::Inputs,
};

pub use compare::{Action, Change, Changes, Field, changes};
pub(super) use live::{Live, live};
pub use text::text;
pub(super) use wanted::{Wanted, definitions, settings};

/// Which hospitals, and as which files want them.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    /// Name of one hospital, in the files or in the cluster. Absent: all in the files.
    #[arg(value_name = "TENANT", required_unless_present = "files", add = complete::hospitals())]
    tenant: Option<String>,
    /// File or directory with hospitals, platforms and applications as they are to be; - reads standard input. What they
    /// do not hold is read from the cluster. May be repeated.
    #[arg(short, long = "filename", value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    files: Vec<String>,
    /// Only what is written at once: nothing that waits for a database or a migration.
    #[arg(long)]
    first_step: bool,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    cluster: Cluster,
}

/// Where the operator runs, whose settings are part of every plan.
#[derive(Args, Clone, Debug)]
pub(super) struct Operator {
    /// Namespace of the operator.
    #[arg(long, value_name = "NAME", default_value_t = Settings::default().namespace)]
    pub(super) operator_namespace: String,
    /// Image of his-agent, by digest, if the operator's Deployment cannot be read.
    #[arg(long, value_name = "IMAGE")]
    pub(super) agent_image: Option<String>,
}

impl Arguments {
    pub(super) fn run(&self) -> Ended {
        let mut standard_input = std::io::stdin().lock();
        let documents =
            documents(&self.files, &mut standard_input).map_err(|error| Ending::Usage(error.to_string()))?;
        let files = definitions(&documents)?;
        access::run(async {
            let client = access::connect(&self.cluster).await?;
            let (settings, mut warnings) = settings(&client, &self.operator).await;
            let mut all = Vec::new();
            for wanted in Wanted::read(&client, files, self.tenant.as_deref()).await? {
                let live = live(&client, &wanted.tenant.name_any()).await;
                let one = self.one(&wanted, &live, settings.clone())?;
                warnings.extend(one.unread.iter().cloned());
                all.push(one);
            }
            let outcome = outcome(&all);
            let text = self.output.print(&all, |all| text(all))?;
            Ok(Said { text, warnings, outcome })
        })
    }

    fn one(&self, wanted: &Wanted, live: &Live, settings: Settings) -> Result<Changes, Ending> {
        let name = wanted.tenant.name_any();
        if wanted.tenant.metadata.deletion_timestamp.is_some() {
            let message = format!("HospitalTenant {name} is being deleted: its application ends and all data stays");
            return Err(Ending::Refused(message));
        }
        let observed = wanted.observe(live);
        let inputs = Inputs { tenant: wanted.tenant.clone(), settings, now: SystemClock.now() };
        let plan = simulate(&inputs, &observed, self.first_step).map_err(|rejection| {
            let next = rejection.reason.next();
            Ending::Refused(format!(
                "HospitalTenant {name}: {rejection} ({})\n  next: {next}",
                rejection.reason.as_str()
            ))
        })?;
        let mut changes = changes(&plan, &observed, &live.unread, &Redaction::default());
        changes.paused_until = wanted.paused_until(inputs.now);
        Ok(changes)
    }
}

/// Differences count first; then what nobody could look at.
fn outcome(all: &[Changes]) -> Outcome {
    if all.iter().any(|one| !one.changes.is_empty()) {
        Outcome::Differs
    } else if all.iter().any(|one| !one.unread.is_empty()) {
        Outcome::Unread
    } else {
        Outcome::Well
    }
}
