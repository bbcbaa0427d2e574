//! Hospitals as text. Pure: the same model at the same time gives the same text.

use chrono::{DateTime, Utc};
use comfy_table::Cell;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{
    model::{Hospital, Row, condition, utc},
    release,
};
use crate::{
    api::v1alpha1::{HospitalTenant, HospitalTenantStatus},
    conditions::{READY, RECONCILING, STALLED},
    names,
    plugin::{
        look::{Look, age, filled, or_nothing, table, truth},
        output::plain,
    },
    render::grid::grid,
};

/// All hospitals, one line each.
pub fn list(rows: &[Row], now: DateTime<Utc>, look: Look) -> String {
    if rows.is_empty() {
        return "There is no hospital yet. Apply a HospitalTenant to make one.\n".to_owned();
    }
    let mut table = table(look, &["NAME", "READY", "VERSION", "HOST", "REASON", "AGE", "BLOCKING"]);
    for row in rows {
        table.add_row([
            Cell::new(plain(&row.name)),
            truth(&row.ready, good(READY, &row.ready)),
            Cell::new(or_nothing(row.version.as_deref())),
            Cell::new(plain(&row.host)),
            Cell::new(or_nothing(row.reason.as_deref())),
            Cell::new(age(row.created, now)),
            Cell::new(or_nothing(row.blocking.as_deref())),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

/// One hospital.
pub fn screen(hospital: &Hospital, now: DateTime<Utc>, look: Look) -> String {
    let tenant = &hospital.tenant;
    let status = tenant.status.clone().unwrap_or_default();
    let mut parts = vec![header(tenant, &status, now)];
    parts.extend(notes(tenant, hospital));
    if let Some(blocking) = &status.blocking {
        let what = format!("{} ({}): {}", blocking.condition, blocking.reason, blocking.message);
        let mut advice = grid(look.width, ["Blocking:".to_owned(), plain(&what)]);
        advice.add_row(["Next:".to_owned(), plain(&blocking.next)]);
        parts.push(advice.trim_fmt());
    }
    parts.extend(conditions(&status.conditions, now, look));
    parts.extend(gap(&status, now, look));
    parts.extend(workloads(hospital, look));
    parts.extend(jobs(&status, look));
    parts.extend(release::under_way(&status.release, now));
    parts.extend(release::history(&status.release, now, look));
    parts.extend(relaxations(&status, look));
    parts.extend(warnings(hospital, now, look));
    parts.join("\n\n") + "\n"
}

fn header(tenant: &HospitalTenant, status: &HospitalTenantStatus, now: DateTime<Utc>) -> String {
    let created = tenant.metadata.creation_timestamp.as_ref().and_then(|time| utc(time.0));
    let wanted = &tenant.spec.application;
    let serving = match &status.version {
        Some(version) if Some(version) == wanted.version.as_ref() => "and serving".to_owned(),
        Some(version) => format!("wanted, {version} is serving"),
        None => "wanted, none is serving".to_owned(),
    };
    let channel = || wanted.channel.as_ref().map(|channel| format!("as channel {channel} brings it"));
    let which = wanted.version.clone().or_else(channel).unwrap_or_default();
    let since = condition(tenant, READY).map(|ready| (ready.status.as_str(), utc(ready.last_transition_time.0)));
    let ready = since.map_or("Unknown".to_owned(), |(ready, at)| format!("{ready} for {}", age(at, now)));
    let mut lines = vec![
        ("Hospital", format!("{}, created {} ago", tenant.name_any(), age(created, now))),
        ("Ready", ready),
        ("Application", format!("{} {which} {serving}", wanted.name)),
        ("Namespace", status.namespace.clone().unwrap_or_else(|| names::namespace(&tenant.name_any()))),
        ("Address", status.url.clone().unwrap_or_else(|| format!("not known yet, host {}", tenant.spec.host))),
    ];
    if let Some(until) = &status.paused_until {
        let reason =
            tenant.annotations().get(names::PAUSE_REASON).cloned().unwrap_or_else(|| "no reason is given".to_owned());
        lines.push(("Paused", format!("until {until}: {reason}")));
    }
    if tenant.metadata.deletion_timestamp.is_some() {
        lines.push(("Deleting", "the workload goes, all data stays".to_owned()));
    }
    lines
        .iter()
        .map(|(name, value)| format!("{:<13}{}", format!("{name}:"), plain(value)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What makes the rest of the screen less than the whole truth.
fn notes(tenant: &HospitalTenant, hospital: &Hospital) -> Option<String> {
    let observed = tenant.status.as_ref().and_then(|status| status.observed_generation);
    let stale = match (observed, tenant.metadata.generation) {
        (None, _) => Some("The operator has not looked at this hospital yet. Is it running?".to_owned()),
        (Some(seen), Some(newest)) if seen < newest => {
            let paused = tenant.status.as_ref().is_some_and(|status| status.paused_until.is_some());
            let why = if paused { "It counts when the pause ends." } else { "Is the operator running?" };
            Some(format!("All of this is about generation {seen} of the spec; the newest is {newest}. {why}"))
        }
        _ => None,
    };
    let notes: Vec<_> = stale.into_iter().chain(hospital.unread.iter().map(|note| plain(note))).collect();
    (!notes.is_empty()).then(|| notes.join("\n"))
}

fn conditions(all: &[Condition], now: DateTime<Utc>, look: Look) -> Option<String> {
    let mut table = table(look, &["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in all {
        table.add_row([
            Cell::new(plain(&condition.type_)),
            truth(&condition.status, good(&condition.type_, &condition.status)),
            Cell::new(plain(&condition.reason)),
            Cell::new(age(utc(condition.last_transition_time.0), now)),
            Cell::new(plain(&condition.message)),
        ]);
    }
    filled(&table)
}

/// The last time at which a policy was not as the operator had written it.
fn gap(status: &HospitalTenantStatus, now: DateTime<Utc>, look: Look) -> Option<String> {
    let gap = status.network.gaps.first()?;
    let ended = DateTime::parse_from_rfc3339(&gap.until).ok().map(|at| at.to_utc());
    let line = grid(look.width, ["Last gap:".to_owned(), plain(&format!("{gap}; it ended {} ago", age(ended, now)))]);
    Some(line.trim_fmt())
}

fn workloads(hospital: &Hospital, look: Look) -> Option<String> {
    let mut table = table(look, &["WORKLOAD", "READY", "VERSION"]);
    for workload in &hospital.workloads {
        let ready = format!("{}/{}", workload.ready, workload.wanted);
        table.add_row([
            Cell::new(format!("{}/{}", workload.kind, plain(&workload.name))),
            truth(&ready, Some(workload.ready >= workload.wanted)),
            Cell::new(or_nothing(workload.version.as_deref())),
        ]);
    }
    filled(&table)
}

fn jobs(status: &HospitalTenantStatus, look: Look) -> Option<String> {
    let mut table = table(look, &["LIFECYCLE JOB", "RESULT", "VERSION"]);
    for job in &status.jobs {
        let result = format!("{:?}", job.result);
        let well = result == "Succeeded";
        table.add_row([Cell::new(plain(&job.name)), truth(&result, Some(well)), Cell::new(plain(&job.version))]);
    }
    filled(&table)
}

fn relaxations(status: &HospitalTenantStatus, look: Look) -> Option<String> {
    let mut table = table(look, &["RELAXED", "UNTIL", "REASON"]);
    for relaxation in &status.relaxations {
        let until = or_nothing(relaxation.until.as_deref());
        table.add_row([plain(&relaxation.what), until, plain(&relaxation.reason)]);
    }
    filled(&table)
}

fn warnings(hospital: &Hospital, now: DateTime<Utc>, look: Look) -> Option<String> {
    let mut table = table(look, &["WARNING", "AGE", "MESSAGE"]);
    for warning in &hospital.warnings {
        table.add_row([plain(&warning.reason), age(warning.at, now), plain(&warning.message)]);
    }
    filled(&table)
}

/// Two conditions are well when they are False.
fn good(kind: &str, status: &str) -> Option<bool> {
    let inverted = matches!(kind, RECONCILING | STALLED);
    match status {
        "True" => Some(!inverted),
        "False" => Some(inverted),
        _ => None,
    }
}
