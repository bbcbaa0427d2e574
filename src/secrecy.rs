//! What a secret looks like, wherever it stands.
//!
//! Guarantees: pure. Keys, tokens, passwords in URLs and beside their names are taken out of any text; what looks like an
//! ordinary word stays, so this is the last net and not the first.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Stands where something was taken out.
pub const MARK: &str = "[redacted]";

/// What a secret looks like, and what is left of it.
static SHAPES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(-----END [A-Z ]*PRIVATE KEY-----|\z)", MARK),
        (r"([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*):[^\s/@]+@", "${1}:[redacted]@"),
        (r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", "${1} [redacted]"),
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?", MARK),
        (r"\b(AKIA|ASIA)[0-9A-Z]{16}\b", MARK),
        (
            r#"(?i)((?:password|passwd|passphrase|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|secret[-_]?key)["']?\s*[:=]\s*)(?:"[^"\n]*"|'[^'\n]*'|[^\s"',;&}]+)"#,
            "${1}[redacted]",
        ),
    ]
    .into_iter()
    .filter_map(|(pattern, rest)| Some((regex(pattern)?, rest)))
    .collect()
});

/// The patterns are constants, and a test compiles all of them.
pub fn regex(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

/// The text without what looks like a secret.
pub fn without_secrets(text: &str) -> String {
    let mut text = text.to_owned();
    for (shape, rest) in SHAPES.iter() {
        text = shape.replace_all(&text, |found: &Captures<'_>| expand(found, rest)).into_owned();
    }
    text
}

fn expand(found: &Captures<'_>, rest: &str) -> String {
    let mut text = String::new();
    found.expand(rest, &mut text);
    text
}

/// The last lines of a program's log in one, shortened from the front, without what looks like a secret.
pub fn last_words(log: &str, most: usize) -> String {
    let visible = |line: &str| line.chars().filter(|sign| !sign.is_control()).collect::<String>();
    let lines = without_secrets(log).lines().map(visible).collect::<Vec<_>>();
    let lines = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" | ");
    let excess = text.chars().count().saturating_sub(most);
    if excess == 0 { text } else { format!("…{}", text.chars().skip(excess + 1).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(SHAPES.len(), 6);
    }

    #[test]
    fn what_looks_like_a_secret_is_taken_out() {
        for (text, rest) in [
            ("postgres://app:s3cr3t@db:5432/x", "postgres://app:[redacted]@db:5432/x"),
            ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer [redacted]"),
            ("password=s3cr3t&x=1", "password=[redacted]&x=1"),
            ("{\"password\": \"two words\", \"a\": 1}", "{\"password\": [redacted], \"a\": 1}"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end", "jwt [redacted] end"),
            ("key AKIAIOSFODNN7EXAMPLE end", "key [redacted] end"),
            ("-----BEGIN RSA PRIVATE KEY-----\nabc\n", "[redacted]"),
        ] {
            assert_eq!(without_secrets(text), rest);
        }
    }

    #[test]
    fn ordinary_words_stay() {
        let text = "Secret app-session: not found; secretName app-session, tokens are checked, https://h.example.org/x";
        assert_eq!(without_secrets(text), text);
    }

    #[test]
    fn last_words_are_one_line_of_bounded_length_with_the_end_kept() {
        assert_eq!(last_words("step 1\n\n  no column x \u{7}\n", 100), "step 1 | no column x");
        assert_eq!(last_words("password=abc\nthe end", 20), "…redacted] | the end");
        assert_eq!(last_words("", 20), "");
    }
}
