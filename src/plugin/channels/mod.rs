//! `kubectl his channels`: how far the versions have come that channels bring to their hospitals.
//!
//! Guarantees: `read` is the only part that talks to the cluster, and only reads; the model and the text are pure, and
//! decide by the operator's own rule.

mod model;
mod text;

use clap::Args;
use kube::{Api, Client, api::ListParams, core::PartialObjectMeta, runtime::watcher::Config};

use super::{
    access::{self, Cluster, refused},
    look::Look,
    output::{Ended, Ending, Outcome, Output, Said},
    watch::{Bell, Frame, Manner, follow},
};
use crate::api::v1alpha1::{HospitalPlatform, HospitalTenant};

pub use model::{Hospital, View, views};
pub use text::text;

/// Which channels.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    /// Name of a channel: its hospitals are shown too. Absent: all channels.
    #[arg(value_name = "CHANNEL")]
    channel: Option<String>,
    /// How to print them.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Go on, and show them again whenever something changes, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    cluster: Cluster,
}

impl Arguments {
    pub(super) fn run(&self) -> Ended {
        access::run(async { if self.watch { self.follow().await } else { self.once().await } })
    }

    async fn once(&self) -> Ended {
        let client = access::connect(&self.cluster).await?;
        let frame = self.look(&client).await?;
        Ok(Said { text: frame.text, outcome: frame.outcome, ..Said::default() })
    }

    async fn follow(&self) -> Ended {
        let client = access::connect_to_watch(&self.cluster).await?;
        let mut bell = Bell::default();
        bell.on(Api::<PartialObjectMeta<HospitalTenant>>::all(client.clone()), Config::default());
        bell.on(Api::<PartialObjectMeta<HospitalPlatform>>::all(client.clone()), Config::default());
        let redraw = self.output == Output::Table && std::io::IsTerminal::is_terminal(&std::io::stdout());
        follow(&bell, Manner { redraw, patience: None }, async || self.look(&client).await).await
    }

    async fn look(&self, client: &Client) -> Result<Frame, Ending> {
        let views = read(client, self.channel.as_deref()).await?;
        let hospitals = self.channel.is_some();
        let text = self.output.print(&views, |views| text(views, hospitals, Look::of_terminal()))?;
        let outcome = Outcome::ready(views.iter().all(|view| view.stopped_by.is_none()));
        let printed = if self.watch { self.output.one_of_many(text.clone()) } else { text.clone() };
        Ok(Frame { text: printed, substance: text, outcome, done: false })
    }
}

async fn read(client: &Client, only: Option<&str>) -> Result<Vec<View>, Ending> {
    let api: Api<HospitalPlatform> = Api::all(client.clone());
    let platforms = api.list(&ListParams::default()).await.map_err(|error| refused(&error))?;
    let tenants = access::tenants(client).await?;
    Ok(views(&platforms.items, &tenants, only))
}
