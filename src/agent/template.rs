//! Places for secrets in templates: `${secret:NAME/KEY}`.
//!
//! Guarantees: what is not such a place is left as it is, byte by byte; a value is never read again for places.

/// Opens a place.
const OPEN: &[u8] = b"${secret:";

/// The template with each place replaced by what `value` says of its Secret and key.
pub(super) fn fill<E>(template: &[u8], mut value: impl FnMut(&str, &str) -> Result<Vec<u8>, E>) -> Result<Vec<u8>, E> {
    let mut filled = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = find(rest, OPEN) {
        let (before, from_open) = rest.split_at(start);
        filled.extend_from_slice(before);
        let after_open = from_open.get(OPEN.len()..).unwrap_or_default();
        if let Some((name, key, after)) = place(after_open) {
            filled.append(&mut value(name, key)?);
            rest = after;
        } else {
            filled.extend_from_slice(OPEN);
            rest = after_open;
        }
    }
    filled.extend_from_slice(rest);
    Ok(filled)
}

/// Position of a text.
pub(super) fn find(within: &[u8], text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return Some(0);
    }
    within.windows(text.len()).position(|window| window == text)
}

/// Name, key and what follows the closing brace.
fn place(text: &[u8]) -> Option<(&str, &str, &[u8])> {
    let end = find(text, b"}")?;
    let (inside, after) = text.split_at(end);
    let (name, key) = std::str::from_utf8(inside).ok()?.split_once('/')?;
    (is_name(name) && is_key(key)).then_some((name, key, after.get(1..).unwrap_or_default()))
}

/// A DNS subdomain: never a way up in the tree of directories.
fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    !name.is_empty() && name.len() <= 253 && !name.starts_with('.') && name.chars().all(legal)
}

/// As the API server allows it, and never hidden, as the directories of the kubelet are.
fn is_key(key: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !key.is_empty() && key.len() <= 253 && key != "." && !key.starts_with("..") && key.chars().all(legal)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::fill;

    fn filled(template: &str) -> String {
        let value = |name: &str, key: &str| Ok::<_, Infallible>(format!("<{name}|{key}>").into_bytes());
        let Ok(bytes) = fill(template.as_bytes(), value);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn places_are_filled_and_everything_else_stays() {
        assert_eq!(filled("a ${secret:app-x/value} b ${secret:d.e/k_1.pem}\n"), "a <app-x|value> b <d.e|k_1.pem>\n");
        for unknown in
            ["$", "${secret", "${secret:", "${secret:a}", "${secret:a/b", "${SECRET:a/b}", "${HOME}", "$${x}"]
        {
            assert_eq!(filled(unknown), unknown);
        }
    }

    #[test]
    fn no_place_leads_out_of_the_secrets() {
        for outside in
            ["${secret:../x}", "${secret:a/../b}", "${secret:./b}", "${secret:a/..data}", "${secret:/etc/passwd}"]
        {
            assert_eq!(filled(outside), outside);
        }
    }

    #[test]
    fn a_value_is_not_read_again() {
        let value = |_: &str, _: &str| Ok::<_, Infallible>(b"${secret:a/b}".to_vec());
        let Ok(bytes) = fill(b"${secret:a/b}", value);
        assert_eq!(bytes, b"${secret:a/b}");
    }

    #[test]
    fn a_place_may_follow_what_only_looks_like_one() {
        assert_eq!(filled("${secret:${secret:a/b}"), "${secret:<a|b>");
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let value = |_: &str, _: &str| Ok::<_, Infallible>(vec![0xff]);
        let Ok(bytes) = fill(b"\xfe${secret:a/b}\x00", value);
        assert_eq!(bytes, [0xfe, 0xff, 0x00]);
    }
}
