//! `kubectl his pause` and `kubectl his resume`.
//!
//! Guarantees: a pause has an end; without one, nothing is written. What a pause means is said each time.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use clap::Args;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    access::{self, Cluster},
    complete,
    output::{Ended, Ending, Output, Said, plain},
    time,
};
use crate::{
    api::v1alpha1::HospitalTenant,
    cluster, names,
    ports::{Clock, SystemClock},
};

/// Which hospital, and until when.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("end").required(true))]
pub(super) struct Pause {
    /// Name of the hospital.
    #[arg(value_name = "TENANT", add = complete::hospitals())]
    tenant: String,
    /// When the pause ends (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = time::time, group = "end")]
    until: Option<DateTime<Utc>>,
    /// How long the pause lasts, for example 2h.
    #[arg(long = "for", value_name = "DURATION", value_parser = time::duration, group = "end")]
    duration: Option<Duration>,
    /// Why; status shows it. No patient data.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    cluster: Cluster,
}

/// Which hospital.
#[derive(Args, Clone, Debug)]
pub(super) struct Resume {
    /// Name of the hospital.
    #[arg(value_name = "TENANT", add = complete::hospitals())]
    tenant: String,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    cluster: Cluster,
}

/// Whether a hospital is paused, after it was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct State {
    tenant: String,
    paused_until: Option<String>,
    reason: Option<String>,
    /// Whether anything was written.
    changed: bool,
}

const MEANING: &str = "\
Until then the operator changes nothing of this hospital: what people edit or delete is not repaired, a new version is not
rolled out, no step follows the one that runs, and what is switched off until a time stays off. What runs keeps running, and
status is still observed and written. Deleting the HospitalTenant works as always. The pause ends by itself";

impl Pause {
    pub(super) fn run(&self) -> Ended {
        // Kubernetes times have whole seconds.
        let now = SystemClock.now().trunc_subsecs(0);
        let until = self.end(now).map_err(Ending::Usage)?;
        access::run(async {
            let client = access::connect(&self.cluster).await?;
            let tenant = access::tenant(&client, &self.tenant).await?;
            let paused = cluster::pause(&client, &tenant, Some(until), self.reason.as_deref()).await;
            let paused = paused.map_err(|error| refused(&error))?;
            Ok(Said::well(self.output.print(&state(&paused, true), |state| paused_text(state, now))?))
        })
    }

    fn end(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
        let after =
            |duration: Duration| TimeDelta::from_std(duration).ok().and_then(|length| now.checked_add_signed(length));
        let until = self.until.or_else(|| self.duration.and_then(after));
        let until = until.ok_or("--for: that long a time has no end; give an earlier one")?;
        if until <= now {
            return Err(format!("--until {}: has passed already; give a later time", rfc3339(until)));
        }
        Ok(until)
    }
}

impl Resume {
    pub(super) fn run(&self) -> Ended {
        access::run(async {
            let client = access::connect(&self.cluster).await?;
            let tenant = access::tenant(&client, &self.tenant).await?;
            let annotated =
                [names::PAUSE_UNTIL, names::PAUSE_REASON].iter().any(|key| tenant.annotations().contains_key(*key));
            let state = if annotated {
                let resumed = cluster::pause(&client, &tenant, None, None).await;
                state(&resumed.map_err(|error| refused(&error))?, true)
            } else {
                state(&tenant, false)
            };
            Ok(Said::well(self.output.print(&state, resumed_text)?))
        })
    }
}

fn state(tenant: &HospitalTenant, changed: bool) -> State {
    let annotation = |key: &str| tenant.annotations().get(key).cloned();
    State {
        tenant: tenant.name_any(),
        paused_until: annotation(names::PAUSE_UNTIL),
        reason: annotation(names::PAUSE_REASON),
        changed,
    }
}

fn paused_text(state: &State, now: DateTime<Utc>) -> String {
    let until = state.paused_until.clone().unwrap_or_default();
    let left = time::time(&until).ok().and_then(|until| (until - now).to_std().ok()).unwrap_or_default();
    let reason = state.reason.as_deref().map_or_else(String::new, |reason| format!(": {}", plain(reason)));
    let name = &state.tenant;
    format!(
        "HospitalTenant {name} is paused until {until} (for {}){reason}\n\n{MEANING}; earlier with:\n  kubectl his resume {name}\n",
        time::words(left)
    )
}

fn resumed_text(state: &State) -> String {
    if state.changed {
        format!(
            "HospitalTenant {0} is no longer paused; the operator makes it as its spec says. Follow it with:\n  kubectl his status {0} --watch\n",
            state.tenant
        )
    } else {
        format!("HospitalTenant {} is not paused; nothing was changed\n", state.tenant)
    }
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn refused(error: &kube::Error) -> Ending {
    match error {
        kube::Error::Api(status) if status.code == 403 => Ending::Unreachable(format!(
            "{}; have somebody grant patch on hospitaltenants.his-operator.io",
            status.message
        )),
        kube::Error::Api(status) if status.code == 409 => {
            Ending::Unreachable(format!("{}; the hospital was made anew in between: look at it again", status.message))
        }
        other => access::refused(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pause_means_and_how_to_end_it_is_said() {
        let state = State {
            tenant: "st-elsewhere".to_owned(),
            paused_until: Some("2030-01-09T14:00:00Z".to_owned()),
            reason: Some("vendor\u{1b}[2J on site".to_owned()),
            changed: true,
        };
        let text = paused_text(&state, "2030-01-09T12:00:00Z".parse().unwrap());
        assert!(text.starts_with(
            "HospitalTenant st-elsewhere is paused until 2030-01-09T14:00:00Z (for 2h): vendor [2J on site\n"
        ));
        assert!(text.contains("is not repaired") && text.contains("kubectl his resume st-elsewhere"), "{text}");
    }
}
