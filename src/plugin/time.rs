//! Times and durations as people write them.

use std::time::Duration;

pub(super) use crate::render::time;

/// `2h`, `1h30m`, `90s`, `2d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write for example 90s, 5m, 2h or 1h30m");
    let mut rest = text;
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0).ok_or_else(wrong)?;
        let (number, unit) = rest.split_at(digits);
        let unit = unit.chars().next().ok_or_else(wrong)?;
        let length: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 60 * 60,
            'd' => 24 * 60 * 60,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        seconds = number.checked_mul(length).and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
        rest = rest.get(digits + 1..).unwrap_or_default();
    }
    if seconds == 0 { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

/// The reverse of [`duration`].
pub(super) fn words(duration: Duration) -> String {
    let mut left = duration.as_secs();
    let mut words = String::new();
    for (unit, length) in [("d", 24 * 60 * 60), ("h", 60 * 60), ("m", 60), ("s", 1)] {
        if left >= length {
            words += &format!("{}{unit}", left / length);
            left %= length;
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        for text in ["90s", "5m", "2h", "1h30m", "2d", "1d2h3m4s"] {
            let read = duration(text).unwrap();
            assert_eq!(duration(&words(read)).unwrap(), read, "{text}");
        }
        assert_eq!(duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(words(Duration::from_secs(90)), "1m30s");
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "5", "m", "-5m", "5y", "0s", "5m3", "99999999999999999999s", "1.5h"] {
            assert!(duration(text).unwrap_err().contains("write for example"), "{text}");
        }
    }
}
