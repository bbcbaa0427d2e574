//! `kubectl his status`: all hospitals, or one hospital on one screen.
//!
//! Guarantees: `read` is the only part that talks to the cluster, and only reads; `text` is pure.

mod model;
mod read;
mod text;

use std::{io::IsTerminal, path::PathBuf};

use clap::Args;

use super::output::{Ended, Ending, Said};
use crate::ports::{Clock, SystemClock};

pub use model::{Hospital, Row, Warning, Workload, is_ready, rows};
pub use text::{Look, list, screen};

/// Which hospitals, from which cluster.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    /// Name of one hospital. Absent: all.
    #[arg(value_name = "TENANT")]
    tenant: Option<String>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    cluster: Cluster,
}

/// Which cluster.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Cluster {
    /// File with clusters and logins. Absent: $KUBECONFIG, else ~/.kube/config, else the pod's own service account.
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Context in that file. Absent: the current one.
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
    Yaml,
}

impl Arguments {
    pub(super) fn run(&self) -> Ended {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Ending::Usage(format!("the plugin cannot start: {error}")))?;
        runtime.block_on(self.show())
    }

    async fn show(&self) -> Ended {
        let client = read::connect(&self.cluster).await?;
        let now = SystemClock.now();
        let look = Look::of_terminal();
        if let Some(name) = &self.tenant {
            let hospital = read::hospital(&client, name).await?;
            let text = self.output.print(&hospital, |hospital| screen(hospital, now, look))?;
            return Ok(Said { text, warnings: Vec::new(), well: is_ready(&hospital.tenant) });
        }
        let tenants = read::tenants(&client).await?;
        let text = self.output.print(&rows(&tenants), |rows| list(rows, now, look))?;
        Ok(Said { text, warnings: Vec::new(), well: tenants.iter().all(is_ready) })
    }
}

impl Output {
    fn print<T: serde::Serialize>(self, model: &T, table: impl FnOnce(&T) -> String) -> Result<String, Ending> {
        let failed =
            |what: &str| Ending::Usage(format!("what was read cannot be written as {what}; choose --output table"));
        match self {
            Self::Table => Ok(table(model)),
            Self::Json => serde_json::to_string_pretty(model).map(|text| text + "\n").map_err(|_| failed("JSON")),
            Self::Yaml => serde_yaml_ng::to_string(model).map_err(|_| failed("YAML")),
        }
    }
}

impl Look {
    /// As wide as the terminal; a pipe gets wide lines and no colours (<https://no-color.org>).
    fn of_terminal() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let width = comfy_table::Table::new().width().filter(|_| terminal).unwrap_or(160);
        Self {
            width: width.max(60),
            colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}
