//! Changes as text. Pure.

use serde_json::Value;

use super::{Action, Change, Changes, Field};
use crate::plugin::output::plain;

/// Longer values are cut; JSON and YAML have all of them.
const LONGEST: usize = 160;
/// Lines of one text that are shown.
const LINES: usize = 20;

/// All hospitals, one after the other.
pub fn text(all: &[Changes]) -> String {
    all.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(changes: &Changes) -> String {
    let mut lines = vec![headline(changes)];
    if let Some(until) = &changes.paused_until {
        lines.push(format!("paused until {until}: nothing of this is written before then"));
    }
    let missing = changes.missing.iter();
    lines.extend(missing.map(|name| {
        format!("missing: Secret {name}, which a person must provide; the rest is shown as if it were there")
    }));
    lines.extend(changes.unread.iter().map(|note| plain(note)));
    for change in &changes.changes {
        lines.push(String::new());
        lines.push(title(change));
        lines.extend(change.fields.iter().flat_map(field));
    }
    lines.join("\n") + "\n"
}

fn headline(changes: &Changes) -> String {
    let count = |wanted: &[Action]| changes.changes.iter().filter(|change| wanted.contains(&change.action)).count();
    if changes.changes.is_empty() {
        return format!(
            "HospitalTenant {}: nothing to change; {} objects are as they must be",
            changes.tenant, changes.unchanged
        );
    }
    format!(
        "HospitalTenant {}: {} to create, {} to change, {} to remove; {} are as they must be",
        changes.tenant,
        count(&[Action::Create, Action::Restore]),
        count(&[Action::Change]),
        count(&[Action::Remove]),
        changes.unchanged,
    )
}

fn title(change: &Change) -> String {
    let sign = match change.action {
        Action::Create | Action::Restore => '+',
        Action::Change => '~',
        Action::Remove => '-',
    };
    let place = if change.namespace.is_empty() { String::new() } else { format!(" in {}", change.namespace) };
    let step = change.step.map_or_else(String::new, |step| format!(", step {step}"));
    let why =
        if change.action == Action::Restore { "somebody deleted it; it comes back as it was" } else { &change.why };
    format!(
        "{sign} {}/{}{place} ({}{step}): {}",
        change.kind,
        plain(&change.name),
        plain(&change.capability),
        plain(why)
    )
}

fn field(field: &Field) -> Vec<String> {
    let texts = [&field.live, &field.want].map(|value| value.as_ref().and_then(Value::as_str));
    if let [Some(live), Some(want)] = texts
        && (live.contains('\n') || want.contains('\n'))
    {
        let mut lines = vec![format!("    {}:", plain(&field.path))];
        lines.extend(changed_lines(live, want));
        return lines;
    }
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), short);
    vec![format!("    {}: {} -> {}", plain(&field.path), value(&field.live), value(&field.want))]
}

fn short(value: &Value) -> String {
    let text = plain(&value.to_string());
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// What is between the lines that both begin and both end with.
fn changed_lines(live: &str, want: &str) -> Vec<String> {
    let (live, want): (Vec<_>, Vec<_>) = (live.lines().collect(), want.lines().collect());
    let same = live.iter().zip(&want).take_while(|(live, want)| live == want).count();
    let least = live.len().min(want.len()) - same;
    let tail = live.iter().rev().zip(want.iter().rev()).take(least).take_while(|(live, want)| live == want).count();
    let middle = |lines: &[&str], sign: char| {
        let changed: Vec<_> = lines.get(same..lines.len() - tail).unwrap_or_default().to_vec();
        let mut shown: Vec<_> =
            changed.iter().take(LINES).map(|line| format!("      {sign} {}", plain(line))).collect();
        if changed.len() > LINES {
            shown.push(format!("      {sign} … {} more lines", changed.len() - LINES));
        }
        shown
    };
    [middle(&live, '-'), middle(&want, '+')].concat()
}
