//! Channels as text. Pure.

use comfy_table::Cell;

use super::model::{Hospital, View};
use crate::{
    plugin::{
        look::{Look, or_nothing, table, truth},
        output::plain,
    },
    tenant::fleet::Stage,
};

/// One line for each channel, and one for each hospital of it if `hospitals` are asked for.
pub fn text(views: &[View], hospitals: bool, look: Look) -> String {
    if views.is_empty() {
        return "There is no such channel. A HospitalPlatform names them in spec.channels.\n".to_owned();
    }
    let header =
        ["PLATFORM", "APPLICATION", "CHANNEL", "VERSION", "SERVING", "MOVING", "WAITING", "POSTPONED", "STATE"];
    let mut all = table(look, &header);
    for view in views {
        let (state, good) = state(view);
        all.add_row([
            Cell::new(plain(&view.platform)),
            Cell::new(plain(&view.application)),
            Cell::new(plain(&view.channel)),
            Cell::new(plain(&view.version)),
            Cell::new(format!("{} of {}", view.count(Stage::Serving), view.hospitals.len())),
            Cell::new(view.count(Stage::Moving)),
            Cell::new(view.count(Stage::Waiting)),
            Cell::new(view.count(Stage::Postponed)),
            truth(&state, good),
        ]);
    }
    let mut parts = vec![all.trim_fmt()];
    if hospitals {
        parts.extend(views.iter().map(|view| followers(view, look)));
    }
    parts.join("\n\n") + "\n"
}

/// What a person has to know first.
fn state(view: &View) -> (String, Option<bool>) {
    let named = |stage| {
        let at = view.hospitals.iter().filter(|hospital| hospital.stage == stage);
        at.map(|hospital| hospital.name.clone()).collect::<Vec<_>>().join(", ")
    };
    let (refused, unwell) = (named(Stage::Refused), named(Stage::Unwell));
    if !refused.is_empty() {
        return (format!("stopped: refused by {refused}"), Some(false));
    }
    if !unwell.is_empty() {
        return (format!("waits until Ready: {unwell}"), Some(false));
    }
    if view.count(Stage::Serving) + view.count(Stage::Installing) == view.hospitals.len() {
        ("every hospital has it".to_owned(), Some(true))
    } else {
        ("under way".to_owned(), None)
    }
}

fn followers(view: &View, look: Look) -> String {
    let mut table = table(look, &["HOSPITAL", "STAGE", "SERVES", "MAY BEGIN"]);
    for hospital in &view.hospitals {
        let good = match hospital.stage {
            Stage::Serving => Some(true),
            Stage::Unwell | Stage::Refused => Some(false),
            Stage::Moving | Stage::Postponed | Stage::Waiting | Stage::Installing => None,
        };
        table.add_row([
            Cell::new(plain(&hospital.name)),
            truth(&format!("{:?}", hospital.stage), good),
            Cell::new(or_nothing(hospital.serves.as_deref())),
            Cell::new(plain(&may_begin(hospital))),
        ]);
    }
    table.trim_fmt()
}

fn may_begin(hospital: &Hospital) -> String {
    match (&hospital.not_before, hospital.stage) {
        (Some(at), _) => format!("at {at}"),
        (None, Stage::Waiting | Stage::Postponed) if hospital.turn => "now".to_owned(),
        (None, Stage::Waiting | Stage::Postponed) => "later".to_owned(),
        (None, _) => "-".to_owned(),
    }
}
