//! `kubectl his explain`: cause, fix and runbook of every reason and every condition, from the lists that the operator itself
//! uses; for a named hospital also what is so right now.
//!
//! Guarantees: needs a cluster only when a hospital is named; `text` is pure.

mod runbook;
mod text;

use clap::Args;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    access::{self, Cluster},
    complete,
    look::{Look, age},
    output::{Ended, Ending, Outcome, Output, Said},
    status::{Hospital, condition, hospital, utc},
};
use crate::{
    api::v1alpha1::HospitalTenant,
    capabilities::{Registered, registry},
    conditions::{READY, RECONCILING, Reason, STALLED},
    names,
    ports::{Clock, SystemClock},
};

/// What to explain.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    /// A reason or a condition, as status shows it, in any case. Absent: all.
    #[arg(value_name = "REASON|CONDITION", add = words())]
    word: Option<String>,
    /// A hospital: what is so there right now. Needs a cluster.
    #[arg(value_name = "TENANT", add = complete::hospitals())]
    tenant: Option<String>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    cluster: Cluster,
}

/// A reason or a condition, explained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    /// As status shows it.
    name: String,
    /// Reason or Condition.
    kind: &'static str,
    /// What it means, in paragraphs with a title.
    meaning: Vec<(String, String)>,
    /// What a person should do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    /// What to run, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runbook: Vec<String>,
    /// What is so right now.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Now>,
}

/// A condition of one hospital.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Now {
    tenant: String,
    status: String,
    reason: String,
    message: String,
    /// For how long.
    age: String,
    /// What the reason means.
    cause: String,
    /// Of an older generation of the spec than the newest.
    stale: bool,
}

/// Conditions that are about the hospital as a whole.
const OVERALL: &[(&str, &str)] = &[
    (READY, "True when every capability is proved; otherwise it repeats the first that is not"),
    (RECONCILING, "True while the operator is at work on the hospital or waits for something"),
    (STALLED, "True when nothing moves until a person acts"),
];

impl Arguments {
    pub(super) fn run(&self) -> Ended {
        let Some(word) = &self.word else {
            let all: Vec<Explanation> = all();
            return Ok(Said::well(self.output.print(&all, |_| text::all(Look::of_terminal().width.min(120)))?));
        };
        let explanation = explanation(word).ok_or_else(|| Ending::Usage(unknown(word)))?;
        match &self.tenant {
            None => Ok(Said::well(self.print(&explanation)?)),
            Some(tenant) => self.live(explanation, tenant),
        }
    }

    fn live(&self, explanation: Explanation, tenant: &str) -> Ended {
        access::run(async {
            let client = access::connect(&self.cluster).await?;
            let hospital = hospital(&client, tenant).await?;
            let (explanation, well) = now(explanation, &hospital).map_err(Ending::Usage)?;
            let warnings = hospital.unread.clone();
            Ok(Said { text: self.print(&explanation)?, warnings, outcome: Outcome::ready(well) })
        })
    }

    fn print(&self, explanation: &Explanation) -> Result<String, Ending> {
        self.output.print(explanation, |explanation| text::one(explanation, Look::of_terminal().width.min(120)))
    }
}

fn all() -> Vec<Explanation> {
    let overall = OVERALL.iter().map(|(name, _)| *name);
    let conditions = registry().iter().map(|capability| capability.condition);
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    overall.chain(conditions).chain(reasons).filter_map(explanation).collect()
}

fn explanation(word: &str) -> Option<Explanation> {
    let is = |name: &str| name.eq_ignore_ascii_case(word);
    let condition = |name: &str, meaning| Explanation {
        name: name.to_owned(),
        kind: "Condition",
        meaning,
        runbook: vec![format!(
            "kubectl his explain {name} NAME      # cause, fix and runbook of what is so in that hospital"
        )],
        ..Explanation::default()
    };
    if let Some(reason) = Reason::ALL.iter().find(|reason| is(reason.as_str())) {
        return Some(Explanation {
            name: reason.as_str().to_owned(),
            kind: "Reason",
            meaning: vec![("Cause".to_owned(), reason.cause().to_owned())],
            fix: Some(reason.next().to_owned()),
            runbook: runbook::commands(*reason, "NAME"),
            now: None,
        });
    }
    if let Some((name, meaning)) = OVERALL.iter().find(|(name, _)| is(name)) {
        return Some(condition(name, vec![("Meaning".to_owned(), (*meaning).to_owned())]));
    }
    let capability = registry().iter().find(|capability| is(capability.condition) || is(capability.name))?;
    Some(condition(capability.condition, text::capability(capability)))
}

/// Adds what is so in this hospital; says whether the condition is as it should be.
fn now(mut explanation: Explanation, hospital: &Hospital) -> Result<(Explanation, bool), String> {
    let tenant = &hospital.tenant;
    let name = tenant.name_any();
    let found = if explanation.kind == "Condition" {
        condition(tenant, &explanation.name)
    } else {
        with_reason(tenant, &explanation.name)
    };
    let Some(found) = found else {
        return Err(format!(
            "HospitalTenant {name} has no condition with {} {}; see kubectl his status {name}",
            explanation.kind.to_lowercase(),
            explanation.name
        ));
    };
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == found.reason).copied();
    explanation.fix = reason.map(|reason| reason.next().to_owned());
    explanation.runbook = reason.map(|reason| runbook::commands(reason, &name)).unwrap_or_default();
    explanation.now = Some(Now {
        tenant: format!("{name} ({})", names::namespace(&name)),
        status: found.status.clone(),
        reason: found.reason.clone(),
        message: found.message.clone(),
        age: age(utc(found.last_transition_time.0), SystemClock.now()),
        cause: reason.map(|reason| reason.cause().to_owned()).unwrap_or_default(),
        stale: found.observed_generation < tenant.metadata.generation,
    });
    let wanted = if matches!(found.type_.as_str(), RECONCILING | STALLED) { "False" } else { "True" };
    let well = found.status == wanted;
    Ok((explanation, well))
}

/// A condition that has this reason, Ready last because it repeats others.
fn with_reason<'a>(
    tenant: &'a HospitalTenant,
    reason: &str,
) -> Option<&'a k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let all = tenant.status.iter().flat_map(|status| &status.conditions);
    let overall = |name: &str| OVERALL.iter().any(|(known, _)| *known == name);
    all.filter(|condition| condition.reason == reason).min_by_key(|condition| overall(&condition.type_))
}

fn unknown(word: &str) -> String {
    format!("{word:?} is neither a reason nor a condition; run kubectl his explain without arguments to see all")
}

fn words() -> clap_complete::ArgValueCandidates {
    let candidate = |explanation: Explanation| {
        let help = explanation.meaning.first().map(|(_, text)| text.clone().into());
        clap_complete::CompletionCandidate::new(explanation.name).help(help)
    };
    clap_complete::ArgValueCandidates::new(move || all().into_iter().map(candidate).collect())
}

fn proves(capability: &Registered) -> String {
    format!("True when what the capability {} wants was observed to hold", capability.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_cause_a_fix_and_something_to_run() {
        for reason in Reason::ALL {
            let found = explanation(reason.as_str()).unwrap();
            assert!(found.fix.is_some_and(|fix| !fix.is_empty()), "{reason:?}");
            assert!(!found.meaning[0].1.is_empty(), "{reason:?}");
            assert!(!found.runbook.is_empty(), "{reason:?}");
        }
    }

    #[test]
    fn every_capability_is_explained_by_its_own_readme() {
        for capability in registry() {
            let found = explanation(capability.condition).unwrap();
            let titles: Vec<_> = found.meaning.iter().map(|(title, _)| title.as_str()).collect();
            assert_eq!(
                titles,
                ["Meaning", "Threat", "Control", "Evidence", "Relaxing it", "Writes"],
                "{}",
                capability.name
            );
        }
    }
}
