//! When a release may begin: maintenance windows, a hold with its end, and the hospital's turn in its channel. Pure.
//!
//! Guarantees: a first installation is never kept waiting, and what has begun is never stopped, least of all a way back.

use chrono::{DateTime, TimeDelta, Utc};
use jiff::{
    Timestamp, ToSpan,
    civil::{Time, Weekday},
    tz::TimeZone,
};

use crate::{
    api::v1alpha1::{Day, MaintenanceWindow},
    conditions::{Reason, Rejection},
    objects::Turn,
    tenant::Tenant,
};

/// Why no release may begin now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// For a person.
    pub why: String,
    /// When one may. Absent: when others have made room, which wakes the hospital.
    pub opens: Option<DateTime<Utc>>,
}

/// Whether a release may begin.
pub fn closed(tenant: &Tenant) -> Result<Option<Closed>, Rejection> {
    let release = tenant.spec.release.clone().unwrap_or_default();
    let windows = opens(&release.windows, tenant.now)?;
    if let Some(hold) = &release.hold
        && tenant.is_off("spec.release.hold", Some(hold))?
    {
        let opens = DateTime::parse_from_rfc3339(&hold.until).map_or(tenant.now, |until| until.to_utc());
        let why = format!("is held until {}: {}", hold.until, hold.reason);
        return Ok(Some(Closed { why, opens: Some(opens) }));
    }
    let window = windows.map(|opens| Closed {
        why: format!("waits for its maintenance window at {}", opens.to_rfc3339()),
        opens: Some(opens),
    });
    Ok(window.or_else(|| turn(tenant)))
}

/// A hospital that follows a channel waits for its turn.
fn turn(tenant: &Tenant) -> Option<Closed> {
    let channel = tenant.spec.application.channel.as_deref()?;
    let why = match tenant.turn.as_ref()? {
        Turn::Come => return None,
        Turn::Waits => format!("waits for its turn in channel {channel}"),
        Turn::Stopped { by } => format!(
            "does not begin: channel {channel} has stopped, because hospital {by} refused this version; see there, and name another version in the channel, have {by} try again, or let {by} name its version itself"
        ),
    };
    Some(Closed { why, opens: None })
}

/// Beginning of the next window; absent inside of one, and where there is none.
fn opens(windows: &[MaintenanceWindow], now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Rejection> {
    let mut next: Option<DateTime<Utc>> = None;
    for (index, window) in windows.iter().enumerate() {
        for begins in beginnings(index, window, now)? {
            if (begins..begins + TimeDelta::minutes(i64::from(window.minutes))).contains(&now) {
                return Ok(None);
            }
            if begins > now {
                next = Some(next.map_or(begins, |next| next.min(begins)));
            }
        }
    }
    Ok(next)
}

/// From yesterday, whose window may reach over midnight, to the same day of next week.
fn beginnings(index: usize, window: &MaintenanceWindow, now: DateTime<Utc>) -> Result<Vec<DateTime<Utc>>, Rejection> {
    let field = |name: &str| format!("spec.release.windows[{index}].{name}");
    let invalid = |name: &str, message: String| Rejection::terminal(field(name), Reason::TimeInvalid, message);
    let zone = TimeZone::get(&window.time_zone).map_err(|_| {
        let message =
            format!("{:?} is no time zone; write one of the IANA names, for example Europe/Paris", window.time_zone);
        invalid("timeZone", message)
    })?;
    let start: Time = Time::strptime("%H:%M", &window.start)
        .map_err(|_| invalid("start", format!("{:?} is no time of day; write for example 02:30", window.start)))?;
    let today = Timestamp::from_second(now.timestamp()).unwrap_or_default().to_zoned(zone.clone()).date();
    let dates = (-1..=7).filter_map(|days| today.checked_add(i64::from(days).days()).ok());
    let meant =
        dates.filter(|date| window.days.is_empty() || window.days.iter().any(|day| weekday(*day) == date.weekday()));
    let begins = meant.filter_map(|date| date.to_datetime(start).to_zoned(zone.clone()).ok());
    Ok(begins.filter_map(|at| DateTime::from_timestamp(at.timestamp().as_second(), 0)).collect())
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Monday => Weekday::Monday,
        Day::Tuesday => Weekday::Tuesday,
        Day::Wednesday => Weekday::Wednesday,
        Day::Thursday => Weekday::Thursday,
        Day::Friday => Weekday::Friday,
        Day::Saturday => Weekday::Saturday,
        Day::Sunday => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn window(days: &[Day], start: &str, minutes: i32, zone: &str) -> MaintenanceWindow {
        MaintenanceWindow { days: days.to_vec(), start: start.to_owned(), minutes, time_zone: zone.to_owned() }
    }

    #[test]
    fn inside_of_a_window_a_release_may_begin_and_outside_the_next_one_is_known() {
        // 2030-01-31 is a Thursday.
        let nights = [window(&[], "02:00", 120, "UTC")];
        assert_eq!(opens(&nights, at("2030-01-31T02:00:00Z")).unwrap(), None);
        assert_eq!(opens(&nights, at("2030-01-31T03:59:59Z")).unwrap(), None);
        assert_eq!(opens(&nights, at("2030-01-31T04:00:00Z")).unwrap(), Some(at("2030-02-01T02:00:00Z")));
        let sundays = [window(&[Day::Sunday], "02:00", 120, "UTC")];
        assert_eq!(opens(&sundays, at("2030-01-31T02:30:00Z")).unwrap(), Some(at("2030-02-03T02:00:00Z")));
        assert_eq!(opens(&[], at("2030-01-31T02:30:00Z")).unwrap(), None);
    }

    #[test]
    fn a_window_reaches_over_midnight() {
        let late = [window(&[Day::Wednesday], "23:00", 180, "UTC")];
        assert_eq!(opens(&late, at("2030-01-31T01:59:00Z")).unwrap(), None);
        assert_eq!(opens(&late, at("2030-01-31T02:00:00Z")).unwrap(), Some(at("2030-02-06T23:00:00Z")));
    }

    #[test]
    fn the_clock_of_the_hospital_counts_also_when_it_is_put_forward() {
        let paris = [window(&[], "02:30", 60, "Europe/Paris")];
        assert_eq!(opens(&paris, at("2030-01-31T00:00:00Z")).unwrap(), Some(at("2030-01-31T01:30:00Z")));
        assert_eq!(opens(&paris, at("2030-07-31T00:00:00Z")).unwrap(), Some(at("2030-07-31T00:30:00Z")));
        // 02:30 does not exist on this day: it begins an hour later by the clock.
        assert_eq!(opens(&paris, at("2030-03-31T00:00:00Z")).unwrap(), Some(at("2030-03-31T01:30:00Z")));
    }

    #[test]
    fn of_several_windows_the_next_one_counts() {
        let two = [window(&[Day::Sunday], "02:00", 60, "UTC"), window(&[Day::Friday], "22:00", 60, "UTC")];
        assert_eq!(opens(&two, at("2030-01-31T12:00:00Z")).unwrap(), Some(at("2030-02-01T22:00:00Z")));
    }

    #[test]
    fn what_is_no_time_or_zone_is_refused_with_its_field() {
        let now = at("2030-01-31T12:00:00Z");
        let zone = opens(&[window(&[], "02:00", 60, "Europe/Atlantis")], now).unwrap_err();
        assert_eq!(zone.field, "spec.release.windows[0].timeZone");
        let start = opens(&[window(&[], "25:00", 60, "UTC")], now).unwrap_err();
        assert_eq!(start.field, "spec.release.windows[0].start");
    }
}
