//! What all tables and screens share. Pure, but for the one question how wide the terminal is.

use std::io::IsTerminal;

use chrono::{DateTime, TimeDelta, Utc};
use comfy_table::{Attribute, Cell, Color, Table};

use super::output::plain;
use crate::render::grid::grid;

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns.
    pub width: u16,
    /// ANSI colours.
    pub colour: bool,
}

impl Look {
    /// As wide as the terminal; a pipe gets wide lines and no colours (<https://no-color.org>).
    pub(super) fn of_terminal() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let width = comfy_table::Table::new().width().filter(|_| terminal).unwrap_or(160);
        Self {
            width: width.max(60),
            colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

const NOTHING: &str = "-";

pub(super) fn table(look: Look, header: &[&str]) -> Table {
    let bold = |name: &&str| if look.colour { Cell::new(name).add_attribute(Attribute::Bold) } else { Cell::new(name) };
    let mut table = grid(look.width, header.iter().map(bold).collect::<Vec<_>>());
    if look.colour {
        table.enforce_styling();
    }
    table
}

pub(super) fn filled(table: &Table) -> Option<String> {
    (!table.is_empty()).then(|| table.trim_fmt())
}

/// Green, red, or yellow for what is not known. Without colours, the word alone.
pub(super) fn truth(text: &str, good: Option<bool>) -> Cell {
    let colour = match good {
        Some(true) => Color::Green,
        Some(false) => Color::Red,
        None => Color::Yellow,
    };
    Cell::new(plain(text)).fg(colour)
}

pub(super) fn or_nothing(text: Option<&str>) -> String {
    text.map(plain).filter(|text| !text.is_empty()).unwrap_or_else(|| NOTHING.to_owned())
}

/// Two units at most, as kubectl does.
pub(super) fn age(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let Some(at) = at else { return NOTHING.to_owned() };
    let age = (now - at).max(TimeDelta::zero());
    let (days, hours, minutes, seconds) =
        (age.num_days(), age.num_hours() % 24, age.num_minutes() % 60, age.num_seconds() % 60);
    let two = |big: i64, unit: &str, small: i64, part: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{part}") }
    };
    match (days, age.num_hours(), age.num_minutes()) {
        (10.., ..) => format!("{days}d"),
        (1.., ..) => two(days, "d", hours, "h"),
        (_, 1.., _) => two(hours, "h", minutes, "m"),
        (.., 10..) => format!("{minutes}m"),
        (.., 1..) => two(minutes, "m", seconds, "s"),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_at_most_two_units() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(100);
        let of = |seconds: i64| age(Some(now - TimeDelta::seconds(seconds)), now);
        assert_eq!(
            [0, 59, 60, 61, 600, 3_600, 3_660, 86_400, 90_000, 864_000].map(of),
            ["0s", "59s", "1m", "1m1s", "10m", "1h", "1h1m", "1d", "1d1h", "10d"]
        );
        assert_eq!(of(-5), "0s");
        assert_eq!(age(None, now), "-");
    }
}
