//! `kubectl his explain`: every reason and every condition, from the lists that the operator itself uses.

use clap::Args;

use super::output::Said;
use crate::{
    capabilities::{Registered, registry},
    conditions::{READY, RECONCILING, Reason, STALLED},
    render::grid::grid,
};

const WIDTH: u16 = 120;

/// What to explain.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    /// A reason or a condition, as status shows it, in any case. Absent: all.
    #[arg(value_name = "REASON|CONDITION")]
    word: Option<String>,
}

/// Conditions that are about the hospital as a whole.
const OVERALL: &[(&str, &str)] = &[
    (READY, "True when every capability is proved; otherwise it repeats the first that is not"),
    (RECONCILING, "True while the operator is at work on the hospital or waits for something"),
    (STALLED, "True when nothing moves until a person acts"),
];

impl Arguments {
    pub(super) fn run(&self) -> Result<Said, String> {
        let text = match &self.word {
            None => all(),
            Some(word) => one(word).ok_or_else(|| unknown(word))?,
        };
        Ok(Said { text, warnings: Vec::new(), well: true })
    }
}

fn all() -> String {
    let mut conditions = grid(WIDTH, ["CONDITION", "MEANING"]);
    for (name, meaning) in OVERALL {
        conditions.add_row([*name, meaning]);
    }
    for capability in registry() {
        conditions.add_row([capability.condition, &proves(capability)]);
    }
    let mut reasons = grid(WIDTH, ["REASON", "NEXT"]);
    for reason in Reason::ALL {
        reasons.add_row([reason.as_str(), reason.next()]);
    }
    format!("{}\n\n{}\n", conditions.trim_fmt(), reasons.trim_fmt())
}

fn one(word: &str) -> Option<String> {
    let is = |name: &str| name.eq_ignore_ascii_case(word);
    if let Some(reason) = Reason::ALL.iter().find(|reason| is(reason.as_str())) {
        return Some(format!("{}\n  next: {}\n", reason.as_str(), reason.next()));
    }
    if let Some((name, meaning)) = OVERALL.iter().find(|(name, _)| is(name)) {
        return Some(format!("{name}\n  {meaning}\n"));
    }
    let capability = registry().iter().find(|capability| is(capability.condition) || is(capability.name))?;
    let mut text = format!("{}\n  {}\n  it writes:\n", capability.condition, proves(capability));
    for kind in capability.kinds {
        let needs = kind.crd.map_or(String::new(), |crd| format!(" (needs CRD {crd})"));
        text.extend(["    ", kind.kind, ": ", kind.reason, &needs, "\n"]);
    }
    Some(text)
}

fn proves(capability: &Registered) -> String {
    format!("True when what the capability {} wants was observed to hold", capability.name)
}

fn unknown(word: &str) -> String {
    format!("{word:?} is neither a reason nor a condition; run kubectl his explain without arguments to see all")
}
