//! How a command ends: text, warnings and one exit code.
//!
//! Guarantees: a reader that goes away (`| head`) is no error; what came from the cluster cannot steer the terminal.

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// What a command has to say when it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// For standard output.
    pub text: String,
    /// For standard error.
    pub warnings: Vec<String>,
    /// Everything that was asked about is well.
    pub well: bool,
}

/// Why a command has nothing to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Wrong usage, or unreadable files.
    Usage(String),
    /// What the files ask for is refused.
    Refused(String),
    /// No answer from the cluster.
    Unreachable(String),
}

/// Outcome of a command.
pub(super) type Ended = Result<Said, Ending>;

/// Prints and chooses the exit code.
pub(super) fn end(ended: Ended) -> ExitCode {
    match ended {
        Ok(said) => {
            for warning in &said.warnings {
                complain(&format!("warning: {warning}"));
            }
            match print(&said.text) {
                Ok(()) => ExitCode::from(if said.well { 0 } else { 2 }),
                Err(error) => {
                    complain(&format!("error: standard output cannot be written: {error}"));
                    ExitCode::from(1)
                }
            }
        }
        Err(ending) => {
            let (message, code) = match ending {
                Ending::Usage(message) => (message, 1),
                Ending::Refused(message) => (message, 2),
                Ending::Unreachable(message) => (message, 3),
            };
            complain(&format!("error: {message}"));
            ExitCode::from(code)
        }
    }
}

/// Help and version are no errors; every other way of not being understood is wrong usage.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell if the stream is closed.
    let _ = error.print();
    ExitCode::from(u8::from(error.use_stderr()))
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// On one line and without control characters, which could steer the terminal.
pub(super) fn plain(text: &str) -> String {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    visible.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn words_from_the_cluster_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\n\tc\u{9b}d"), "a [2Jb c d");
    }
}
