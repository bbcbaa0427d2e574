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
    /// How it ended.
    pub outcome: Outcome,
}

/// What a command that could answer has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything that was asked about is well.
    #[default]
    Well,
    /// A hospital is not Ready.
    NotReady,
    /// The cluster is not as the files or the hospital want it.
    Differs,
    /// What could be read is well; something could not be read.
    Unread,
}

impl Outcome {
    /// Of hospitals.
    pub(super) fn ready(ready: bool) -> Self {
        if ready { Self::Well } else { Self::NotReady }
    }

    fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::NotReady => 2,
            Self::Unread => 3,
            Self::Differs => 4,
        }
    }
}

impl Said {
    /// Text, and nothing that is not well.
    pub(super) fn well(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// How a model is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

impl Output {
    /// The model itself, or the table made of it.
    pub(super) fn print<T: serde::Serialize>(
        self,
        model: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<String, Ending> {
        let failed =
            |what: &str| Ending::Usage(format!("what was read cannot be written as {what}; choose --output table"));
        match self {
            Self::Table => Ok(table(model)),
            Self::Json => serde_json::to_string_pretty(model).map(|text| text + "\n").map_err(|_| failed("JSON")),
            Self::Yaml => serde_yaml_ng::to_string(model).map_err(|_| failed("YAML")),
        }
    }

    /// What is printed, told apart from what is printed before and after it.
    pub(super) fn one_of_many(self, text: String) -> String {
        match self {
            Self::Table => text + "\n",
            Self::Json => text,
            Self::Yaml => format!("---\n{text}"),
        }
    }
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
                Ok(_) => ExitCode::from(said.outcome.code()),
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

/// Says whether anybody reads on.
pub(super) fn print(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// On standard error.
pub(super) fn complain(text: &str) {
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
