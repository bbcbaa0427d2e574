//! Explanations as text. Pure.

use super::{Explanation, Now, OVERALL, proves};
use crate::{
    capabilities::{Registered, registry},
    conditions::Reason,
    plugin::output::plain,
    render::grid::grid,
};

/// Everything, one line each.
pub(super) fn all(width: u16) -> String {
    let mut conditions = grid(width, ["CONDITION", "MEANING"]);
    for (name, meaning) in OVERALL {
        conditions.add_row([*name, meaning]);
    }
    for capability in registry() {
        conditions.add_row([capability.condition, &proves(capability)]);
    }
    let mut reasons = grid(width, ["REASON", "CAUSE", "NEXT"]);
    for reason in Reason::ALL {
        reasons.add_row([reason.as_str(), reason.cause(), reason.next()]);
    }
    format!("{}\n\n{}\n", conditions.trim_fmt(), reasons.trim_fmt())
}

/// One reason or condition.
pub(super) fn one(explanation: &Explanation, width: u16) -> String {
    let mut parts = vec![explanation.name.clone()];
    if let Some(now) = &explanation.now {
        parts = vec![state(explanation, now), plain(&now.message)];
    }
    let mut about = grid(width, ["", ""]);
    if let Some(now) = &explanation.now
        && !now.cause.is_empty()
        && explanation.kind == "Condition"
    {
        about.add_row(["Cause:", &now.cause]);
    }
    if explanation.now.is_none() || explanation.kind == "Reason" {
        for (title, text) in &explanation.meaning {
            about.add_row([format!("{title}:"), text.clone()]);
        }
    }
    if let Some(fix) = &explanation.fix {
        about.add_row(["Fix:", fix]);
    }
    let about = about.trim_fmt();
    parts.push(about.trim_start_matches(['\n', ' ']).to_owned());
    if !explanation.runbook.is_empty() {
        parts.push(format!("Run:\n  {}", explanation.runbook.join("\n  ")));
    }
    parts.join("\n\n") + "\n"
}

fn state(explanation: &Explanation, now: &Now) -> String {
    let stale = if now.stale { "; the spec is newer than this" } else { "" };
    format!("{} of {}: {} for {} ({}{stale})", explanation.name, now.tenant, now.status, now.age, now.reason)
}

/// The README of a capability, in paragraphs with a title, and what it writes.
pub(super) fn capability(capability: &Registered) -> Vec<(String, String)> {
    let mut meaning = vec![("Meaning".to_owned(), proves(capability))];
    for paragraph in readme(capability.name).split("\n\n") {
        let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        let titled = text.strip_prefix("**").and_then(|text| text.split_once(".** "));
        if let Some((title, text)) = titled {
            meaning.push((title.to_owned(), text.replace(['`', '*'], "")));
        }
    }
    let kind = |kind: &crate::objects::Kind| {
        let needs = kind.crd.map_or(String::new(), |crd| format!(" (needs CRD {crd})"));
        format!("{}: {}{needs}", kind.kind, kind.reason)
    };
    let kinds = capability.kinds.iter().map(kind).collect::<Vec<_>>().join("; ");
    meaning.push(("Writes".to_owned(), kinds));
    meaning
}

/// Every capability has one (`tests/arch.rs`), and a test of this module sees that it is here.
fn readme(capability: &str) -> &'static str {
    match capability {
        "isolation" => include_str!("../../capabilities/isolation/README.md"),
        "network" => include_str!("../../capabilities/network/README.md"),
        "credentials" => include_str!("../../capabilities/credentials/README.md"),
        "database" => include_str!("../../capabilities/database/README.md"),
        "webhooks" => include_str!("../../capabilities/webhooks/README.md"),
        "release" => include_str!("../../capabilities/release/README.md"),
        "edge" => include_str!("../../capabilities/edge/README.md"),
        _ => "",
    }
}
