//! Names of servers (RFC 1123, RFC 5890), and patterns of them.
//!
//! Guarantees: a [`Name`] is no address in whatever notation (WHATWG URL, 3.5: a host that ends in a number is an IPv4
//! address), is in lower case and has no dot at its end. Names in other scripts are in their A-label form (`xn--…`).

use std::{fmt, str::FromStr};

use serde::Serialize;

/// A DNS name with at least two labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Name(String);

/// The text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no DNS name such as hooks.example.org")]
pub struct NotName;

impl Name {
    /// Without a dot at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With a dot at its end: a resolver appends no search domain to it (resolv.conf(5)).
    pub fn absolute(&self) -> String {
        format!("{}.", self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NotName;

    /// In any case, and with or without the dot at its end.
    fn from_str(text: &str) -> Result<Self, NotName> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let labels: Vec<&str> = text.split('.').collect();
        let named = labels.last().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_lowercase()));
        let whole = labels.len() > 1 && text.len() <= 253 && labels.iter().all(|label| is_label(label));
        if whole && named { Ok(Self(text)) } else { Err(NotName) }
    }
}

fn is_label(text: &str) -> bool {
    let inside = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (1..=63).contains(&text.len()) && inside && !text.starts_with('-') && !text.ends_with('-')
}

/// A name, or every name below one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// This name.
    Exactly(Name),
    /// Names with one or more labels before this one, which itself is not meant.
    Below(Name),
}

/// The text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither a DNS name such as hooks.example.org nor *.example.org; write it in lower case, without scheme, port, path or address"
)]
pub struct NotPattern;

impl Pattern {
    /// Whether a name is meant.
    pub fn matches(&self, name: &Name) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == name,
            Self::Below(parent) => name.0.strip_suffix(&parent.0).is_some_and(|before| before.ends_with('.')),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => name.fmt(f),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

impl FromStr for Pattern {
    type Err = NotPattern;

    /// One spelling of each: what people list is compared and shown as they wrote it.
    fn from_str(text: &str) -> Result<Self, NotPattern> {
        let name = |text: &str| text.parse::<Name>().ok().filter(|name| name.0 == text).ok_or(NotPattern);
        text.strip_prefix("*.").map_or_else(|| name(text).map(Self::Exactly), |parent| name(parent).map(Self::Below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn case_and_a_dot_at_the_end_make_no_difference_to_a_name() {
        for text in ["hooks.example.org", "Hooks.EXAMPLE.org", "hooks.example.org."] {
            assert_eq!(name(text).as_str(), "hooks.example.org");
        }
        assert_eq!(name("example.org").absolute(), "example.org.");
        assert_eq!(name("xn--bcher-kva.example").as_str(), "xn--bcher-kva.example");
        assert_eq!(name("1.2.3.4.example").as_str(), "1.2.3.4.example");
    }

    /// What some program somewhere takes for an address (inet_aton(3)), and what is no name at all.
    #[test]
    fn addresses_in_any_notation_are_no_names() {
        for text in [
            "127.0.0.1",
            "2130706433",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "0x7f.1",
            "0x7f000001",
            "127.1",
            "127.0.1",
            "1.0x1",
            "10.0.0.08",
            "127.0.0.1.",
            "1.2.3.4.5",
            "a.0x",
            "169.254.43518",
            "017700000001",
            "[::1]",
            "::1",
            "::ffff:127.0.0.1",
            "[::ffff:7f00:1]",
            "fe80::1%eth0",
            "[fd00:ec2::254]",
        ] {
            assert_eq!(text.parse::<Name>(), Err(NotName), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_dns_name_is_refused() {
        let long = format!("{}.example.org", "a".repeat(64));
        let longer = format!("{}example.org", "a.".repeat(122));
        for text in [
            "",
            ".",
            "..",
            "localhost",
            "example",
            "example.org..",
            ".example.org",
            "a..example.org",
            "a_b.example.org",
            "-a.example.org",
            "a-.example.org",
            "b\u{fc}cher.example",
            "\u{ff11}27.0.0.1",
            "a\u{3002}example.org",
            "example.org:443",
            "user@example.org",
            "example.org/",
            "exa mple.org",
            "example.org\0",
            "example.org%2e",
            "*.example.org",
            &long,
            &longer,
        ] {
            assert_eq!(text.parse::<Name>(), Err(NotName), "{text:?}");
        }
    }

    #[test]
    fn a_star_stands_for_one_label_or_more_and_never_for_a_part_of_one() {
        let below: Pattern = "*.example.org".parse().unwrap();
        assert!(below.matches(&name("a.example.org")) && below.matches(&name("a.b.example.org.")));
        for other in ["example.org", "aexample.org", "example.org.evil.net", "a.example.org.evil.net", "a.example.com"]
        {
            assert!(!below.matches(&name(other)), "{other}");
        }
        let exactly: Pattern = "example.org".parse().unwrap();
        assert!(exactly.matches(&name("EXAMPLE.org")) && !exactly.matches(&name("a.example.org")));
        assert_eq!((below.to_string().as_str(), exactly.to_string().as_str()), ("*.example.org", "example.org"));
    }

    #[test]
    fn patterns_have_one_spelling() {
        for text in [
            "*",
            "*.",
            "*.org",
            "*.*.example.org",
            "a.*.example.org",
            "*a.example.org",
            "**.example.org",
            "Example.org",
            "example.org.",
            "https://example.org",
            "example.org:443",
            "127.0.0.1",
            "*.0.0.1",
            "a_b.example.org",
            "",
        ] {
            assert_eq!(text.parse::<Pattern>(), Err(NotPattern), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_a_name_is_no_address_and_names_itself(text in "[a-zA-Z0-9.x:_-]{1,40}") {
            if let Ok(name) = text.parse::<Name>() {
                proptest::prop_assert!(name.as_str().parse::<std::net::IpAddr>().is_err());
                proptest::prop_assert_eq!(name.as_str().parse::<Name>(), Ok(name.clone()));
                proptest::prop_assert!(name.as_str().parse::<Pattern>().is_ok_and(|pattern| pattern.matches(&name)));
            }
        }
    }
}
