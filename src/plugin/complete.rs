//! Shell completion: scripts for shells, and the words that kubectl asks its plugins for.
//!
//! Guarantees: a cluster that does not answer within two seconds only means that names of hospitals are not offered; nothing
//! is ever printed but words.

use std::{ffi::OsString, io, time::Duration};

use clap::{Args, Command, CommandFactory};
use clap_complete::{ArgValueCandidates, CompletionCandidate, Shell, engine};
use kube::ResourceExt;

use super::{
    Cli,
    access::{self, Cluster},
    output::{Ended, Ending, Said},
};

/// A person waits for a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// What kubectl runs to complete `kubectl his`: a program of this name on the PATH.
const FOR_KUBECTL: &str = "\
#!/bin/sh
# kubectl_complete-his: put it on the PATH, executable, and kubectl completes its plugin his.
exec kubectl-his complete -- \"$@\"
";

/// For which shell.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    /// `kubectl` prints the program kubectl_complete-his, with which kubectl itself completes `kubectl his`.
    #[arg(value_enum)]
    target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    Bash,
    Zsh,
    Fish,
    Kubectl,
}

impl Arguments {
    pub(super) fn run(&self) -> Ended {
        let shell = match self.target {
            Target::Bash => Shell::Bash,
            Target::Zsh => Shell::Zsh,
            Target::Fish => Shell::Fish,
            Target::Kubectl => return Ok(Said::well(FOR_KUBECTL.to_owned())),
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "kubectl-his", &mut script);
        let text = String::from_utf8(script).map_err(|_| Ending::Usage("the script is not text".to_owned()))?;
        Ok(Said::well(text))
    }
}

/// Words so far, the last one unfinished.
#[derive(Args, Clone, Debug)]
pub(super) struct Words {
    #[arg(last = true)]
    words: Vec<OsString>,
}

impl Words {
    /// As cobra, which kubectl is made with: one word a line with its description, then a directive
    /// (<https://github.com/spf13/cobra/blob/main/site/content/completions/_index.md>).
    pub(super) fn run(&self) -> Said {
        Said::well(candidates(Cli::command(), &self.words).unwrap_or_default())
    }
}

/// Complete file names, if nothing is offered.
const FILES: u8 = 0;
/// Offer nothing else.
const NO_FILES: u8 = 4;

fn candidates(mut command: Command, words: &[OsString]) -> io::Result<String> {
    let all: Vec<OsString> = std::iter::once("kubectl-his".into()).chain(words.iter().cloned()).collect();
    let last = all.len().saturating_sub(1);
    let found = engine::complete(&mut command, all, last, None)?;
    let line = |candidate: &CompletionCandidate| {
        let word = candidate.get_value().to_string_lossy().into_owned();
        match candidate.get_help() {
            Some(help) => format!("{word}\t{}\n", help.to_string().lines().next().unwrap_or_default()),
            None => format!("{word}\n"),
        }
    };
    let visible = found.iter().filter(|candidate| !candidate.is_hide_set());
    let text: String = visible.map(line).collect();
    let directive = if text.is_empty() { FILES } else { NO_FILES };
    Ok(format!("{text}:{directive}\n"))
}

/// Names of the hospitals in the current cluster.
pub(super) fn hospitals() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = access::run(async {
            let names = async {
                let client = access::connect(&Cluster::default()).await?;
                access::tenants(&client).await
            };
            let tenants = tokio::time::timeout(PATIENCE, names).await;
            let tenants = tenants.map_err(|_| Ending::Unreachable("no answer".to_owned()))??;
            Ok(Said::well(tenants.iter().map(|tenant| tenant.name_any() + "\n").collect()))
        });
        names.map(|said| said.text).unwrap_or_default().lines().map(CompletionCandidate::new).collect()
    })
}
