//! A log whose lines hold together: each carries the digest of the line before it.
//!
//! Guarantees: a line between the first and the last that was changed, added, moved or taken out is noticed. What is cut off at
//! either end is not, and neither is a log that somebody wrote anew from its beginning: for that, lines must leave for a place
//! where nobody can change them, as fast as they are written.

use std::{
    io::{self, BufRead, Write},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The end of a chain, to which lines are added.
#[derive(Debug, Default)]
pub struct Chain(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    number: u64,
    digest: String,
}

/// One line: where it stands in the chain, and what it says.
#[derive(Debug, Serialize)]
struct Stamped<'a, T> {
    /// Counts from 0.
    number: u64,
    /// SHA-256 of the line before it, without its end, in hexadecimal; empty on the first.
    previous: &'a str,
    /// RFC 3339.
    at: String,
    #[serde(flatten)]
    line: &'a T,
}

impl Chain {
    /// The next line, ended, and handed on before anybody else's.
    pub fn add<T: Serialize>(&self, line: &T, now: DateTime<Utc>, write: impl FnOnce(&str)) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        // Plain strings and numbers always have a JSON form.
        let text = serde_json::to_string(&Stamped { number: last.number, previous: &last.digest, at, line });
        let text = text.unwrap_or_default();
        *last = Last { number: last.number + 1, digest: digest(&text) };
        write(&format!("{text}\n"));
    }
}

fn digest(line: &str) -> String {
    format!("{:x}", Sha256::digest(line))
}

/// What is read of a line.
#[derive(Deserialize)]
struct Link {
    number: u64,
    previous: String,
}

/// What is known of a chain whose lines hold together.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Intact {
    /// Lines.
    lines: u64,
    /// Number of the first; not 0 where the beginning was rotated away.
    first: u64,
    /// Number of the last.
    last: u64,
}

/// Why a log proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It cannot be read.
    #[error("the log cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It has no line.
    #[error("the log is empty")]
    Empty,
    /// Something else than a line of a chain.
    #[error("line {0} is no line of a chained log")]
    NoLink(u64),
    /// The line before it is not the one after which it was written.
    #[error(
        "line {0} was written after another line than the one before it: a line was changed, added, moved or taken out there"
    )]
    Link(u64),
}

/// Reads a whole log, the oldest line first; lines are counted from 1.
pub fn verify(log: impl BufRead) -> Result<Intact, Broken> {
    let mut before: Option<(u64, String)> = None;
    let (mut lines, mut first) = (0, 0);
    for text in log.lines() {
        let text = text?;
        lines += 1;
        let link: Link = serde_json::from_str(&text).map_err(|_| Broken::NoLink(lines))?;
        match &before {
            Some((number, digest)) if link.number == number + 1 && link.previous == *digest => {}
            Some(_) => return Err(Broken::Link(lines)),
            None if (link.number == 0) != link.previous.is_empty() => return Err(Broken::NoLink(lines)),
            None => first = link.number,
        }
        before = Some((link.number, digest(&text)));
    }
    let (last, _) = before.ok_or(Broken::Empty)?;
    Ok(Intact { lines, first, last })
}

/// Reads standard input and says what it is.
pub(super) fn run() -> Result<(), Broken> {
    let intact = verify(io::stdin().lock())?;
    // Numbers always have a JSON form; nobody is left to tell if standard output is closed.
    let _ = writeln!(io::stdout(), "{}", serde_json::to_string(&intact).unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Serialize)]
    struct Said {
        what: String,
    }

    fn log(words: &[String]) -> Vec<String> {
        let (chain, lines) = (Chain::default(), Mutex::new(Vec::new()));
        for what in words {
            chain.add(&Said { what: what.clone() }, DateTime::UNIX_EPOCH, |line| {
                lines.lock().unwrap().push(line.to_owned());
            });
        }
        lines.into_inner().unwrap()
    }

    fn verified(lines: &[String]) -> Result<Intact, Broken> {
        verify(lines.concat().as_bytes())
    }

    #[test]
    fn a_log_is_intact_from_wherever_it_begins() {
        let lines = log(&["a", "b", "c"].map(ToOwned::to_owned));
        assert_eq!(verified(&lines).unwrap(), Intact { lines: 3, first: 0, last: 2 });
        assert_eq!(verified(&lines[1..]).unwrap(), Intact { lines: 2, first: 1, last: 2 });
        assert!(matches!(verified(&[]), Err(Broken::Empty)));
        assert!(matches!(verified(&["his-agent: the gate cannot start\n".to_owned()]), Err(Broken::NoLink(1))));
        assert!(lines[0].starts_with(r#"{"number":0,"previous":"","at":"1970-01-01T00:00:00.000Z","what":"a"}"#));
    }

    proptest! {
        #[test]
        fn whatever_is_done_to_a_line_between_two_others_is_noticed(
            words in prop::collection::vec("[a-z]{1,4}", 3..9),
            at in any::<prop::sample::Index>(),
            other in "[A-Z]{5}",
        ) {
            let lines = log(&words);
            let at = 1 + at.index(lines.len() - 2);
            let changed = |change: &dyn Fn(&mut Vec<String>)| {
                let mut lines = lines.clone();
                change(&mut lines);
                verified(&lines)
            };
            let word = format!("\"{}\"", words[at]);
            let another = lines[at].replace(&word, &format!("\"{other}\""));
            let foreign = log(&[other])[0].clone();
            let missing = changed(&|lines| drop(lines.remove(at)));
            let moved = changed(&|lines| lines.swap(at, at + 1));
            let twice = changed(&|lines| lines.insert(at, lines[at].clone()));
            let edited = changed(&|lines| lines[at].clone_from(&another));
            let replaced = changed(&|lines| lines[at].clone_from(&foreign));
            prop_assert!(verified(&lines).is_ok());
            for noticed in [missing, moved, twice, edited, replaced] {
                prop_assert!(noticed.is_err());
            }
        }
    }
}
