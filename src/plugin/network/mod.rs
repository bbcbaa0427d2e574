//! `kubectl his network`: who may connect to whom in a hospital, as the operator has written it into its status, or as files
//! would have it.
//!
//! Guarantees: only reads; with files it needs no cluster. Text and pictures are made by pure functions: the same graph gives
//! the same bytes.

mod draw;
mod explain;
mod model;

use clap::Args;
use kube::ResourceExt;

use super::{
    access::{self, Cluster},
    complete,
    look::Look,
    output::{Ended, Ending, Output, Said},
    plan,
};
use crate::{
    api::v1alpha1::NetworkStatus,
    ports::{Clock, SystemClock},
    render,
};

pub use draw::{mermaid, svg};
pub use explain::{Answer, explain};
pub use model::{Graph, table};

/// Which hospital, and how to show it.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    /// Name of one hospital, in the cluster or in the files. Absent: the only one in the files.
    #[arg(value_name = "TENANT", required_unless_present = "files", add = complete::hospitals())]
    tenant: Option<String>,
    /// File or directory with the hospital, its platform and its application; - reads standard input. Needs no cluster. May be
    /// repeated.
    #[arg(short, long = "filename", value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    files: Vec<String>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
    /// Say why one may connect to the other, or why not. Ends are components, peers of the table, or addresses.
    #[arg(long, num_args = 2..=3, value_names = ["FROM", "TO", "PORT"])]
    explain: Vec<String>,
    #[command(flatten)]
    cluster: Cluster,
}

/// How a graph is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// A flowchart for Markdown files (<https://mermaid.js.org>).
    Mermaid,
    /// A picture.
    Svg,
}

impl Form {
    /// As other commands print it, unless it is a picture.
    fn text(self) -> Option<Output> {
        match self {
            Self::Table => Some(Output::Table),
            Self::Json => Some(Output::Json),
            Self::Yaml => Some(Output::Yaml),
            Self::Mermaid | Self::Svg => None,
        }
    }
}

impl Arguments {
    pub(super) fn run(&self) -> Ended {
        let graph = if self.files.is_empty() { self.live()? } else { self.planned()? };
        let look = Look::of_terminal();
        let text = match (self.explain.as_slice(), self.output) {
            ([from, to, rest @ ..], form) => {
                let port = rest.first().map(|port| number(port)).transpose()?;
                let answer = explain(&graph, from, to, port).map_err(Ending::Usage)?;
                let form = form.text().ok_or_else(|| {
                    Ending::Usage("an explanation is no picture; choose --output table, json or yaml".to_owned())
                })?;
                form.print(&answer, Answer::text)?
            }
            (_, Form::Mermaid) => mermaid(&graph),
            (_, Form::Svg) => svg(&graph),
            (_, form) => form.text().unwrap_or(Output::Table).print(&graph, |graph| table(graph, look))?,
        };
        Ok(Said::well(text))
    }

    fn live(&self) -> Result<Graph, Ending> {
        let name = self.tenant.as_deref().unwrap_or_default();
        let tenant = access::run(async { access::tenant(&access::connect(&self.cluster).await?, name).await })?;
        let network = tenant.status.as_ref().map(|status| status.network.clone()).unwrap_or_default();
        if network.is_empty() {
            let why =
                "its status names no connection yet: the operator has not planned it, or is older than this plugin";
            let fix = format!("look at kubectl his status {name}, or name files with --filename");
            return Err(Ending::Unreachable(format!("HospitalTenant {name}: {why}; {fix}")));
        }
        Ok(Graph::new(&tenant.name_any(), network))
    }

    fn planned(&self) -> Result<Graph, Ending> {
        let mut standard_input = std::io::stdin().lock();
        let arguments = render::Arguments::whole(&self.files, self.tenant.as_deref());
        let outcomes =
            arguments.outcomes(&mut standard_input, SystemClock.now()).map_err(|error| plan::refused(&error))?;
        let names: Vec<_> = outcomes.iter().map(|outcome| outcome.tenant.name.clone()).collect();
        match outcomes.as_slice() {
            // Files prove nothing.
            [one] => Ok(Graph::new(&one.tenant.name, NetworkStatus { proof: None, ..one.status.network.clone() })),
            _ => Err(Ending::Usage(format!("the files hold several hospitals; name one of: {}", names.join(", ")))),
        }
    }
}

fn number(text: &str) -> Result<u16, Ending> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| Ending::Usage(format!("--explain: {text:?} is no port; write a number from 1 to 65535")))
}
