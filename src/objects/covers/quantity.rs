//! Kubernetes quantities compared by value: the API server stores `1000m` as `1`.

use serde_json::Value;

/// The value in billionths, or `None` when this is no quantity or too fine or too large to compare.
pub(super) fn of(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => parse(&number.to_string()),
        Value::String(text) => parse(text),
        _ => None,
    }
}

/// Grammar of <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
fn parse(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (tens, twos) = scale(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let tens = 9_i32.checked_add(tens)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(1_i128.checked_shl(twos)?)?;
    let power = 10_i128.checked_pow(tens.unsigned_abs())?;
    if tens >= 0 { scaled.checked_mul(power) } else { (scaled.checked_rem(power)? == 0).then(|| scaled / power) }
}

/// Powers of ten and of two that a suffix stands for.
fn scale(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        exponent => (exponent.strip_prefix(['e', 'E'])?.parse().ok()?, 0),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn equal_amounts_compare_equal_however_they_are_written() {
        for (left, right) in [
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("0.5", "500m"),
            ("1e3", "1k"),
            ("1.5Gi", "1536Mi"),
            ("100M", "100000k"),
            ("+2", "2"),
        ] {
            assert_eq!(parse(left), parse(right), "{left} and {right}");
            assert!(parse(left).is_some(), "{left}");
        }
    }

    #[test]
    fn different_amounts_and_plain_words_are_not_equal() {
        assert_ne!(parse("1G"), parse("1Gi"));
        assert_ne!(parse("1"), parse("1m"));
        for word in ["", "abc", "1x", "1.2.3", "--1", "1e"] {
            assert_eq!(parse(word), None, "{word}");
        }
    }
}
