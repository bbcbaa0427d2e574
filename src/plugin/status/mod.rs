//! `kubectl his status`: all hospitals, or one hospital on one screen.
//!
//! Guarantees: `read` is the only part that talks to the cluster, and only reads; `text` is pure.

mod model;
mod read;
mod release;
mod text;

use std::{io::IsTerminal, time::Duration};

use chrono::DateTime;
use clap::Args;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Event,
};
use kube::{Api, Client, core::PartialObjectMeta, runtime::watcher::Config};

use super::{
    access::{self, Cluster},
    complete,
    output::{Ended, Ending, Outcome, Output, Said},
    time,
    watch::{Bell, Frame, Manner, follow},
};
use crate::{
    api::v1alpha1::HospitalTenant,
    names,
    ports::{Clock, SystemClock},
};

pub use super::look::Look;
pub use model::{Hospital, Row, Warning, Workload, is_ready, rows};
pub(super) use model::{condition, last_seen, utc};
pub(super) use read::{about, hospital, known};
pub use text::{list, screen};

/// Which hospitals, from which cluster.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    /// Name of one hospital. Absent: all.
    #[arg(value_name = "TENANT", add = complete::hospitals())]
    tenant: Option<String>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Go on, and show it again whenever something changes, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    /// End with 0 as soon as what is shown is Ready.
    #[arg(long, requires = "watch")]
    until_ready: bool,
    /// End with 2 if it is not Ready by then, for example 5m.
    #[arg(long, value_name = "DURATION", value_parser = time::duration, requires = "until_ready")]
    timeout: Option<Duration>,
    #[command(flatten)]
    cluster: Cluster,
}

impl Arguments {
    pub(super) fn run(&self) -> Ended {
        access::run(async { if self.watch { self.follow().await } else { self.once().await } })
    }

    async fn once(&self) -> Ended {
        let client = access::connect(&self.cluster).await?;
        let frame = self.look(&client, Look::of_terminal()).await?;
        Ok(Said { text: frame.text, outcome: frame.outcome, ..Said::default() })
    }

    async fn follow(&self) -> Ended {
        let client = access::connect_to_watch(&self.cluster).await?;
        let redraw = self.output == Output::Table && std::io::stdout().is_terminal();
        let manner = Manner { redraw, patience: self.timeout };
        follow(&self.bell(&client), manner, async || self.look(&client, Look::of_terminal()).await).await
    }

    fn bell(&self, client: &Client) -> Bell {
        let mut bell = Bell::default();
        let tenants: Api<PartialObjectMeta<HospitalTenant>> = Api::all(client.clone());
        let Some(name) = &self.tenant else {
            bell.on(tenants, Config::default());
            return bell;
        };
        let namespace = names::namespace(name);
        let mine = || Config::default().labels(&format!("{}={name}", names::TENANT));
        bell.on(tenants, Config::default().fields(&format!("metadata.name={name}")));
        bell.on(Api::<PartialObjectMeta<Deployment>>::namespaced(client.clone(), &namespace), mine());
        bell.on(Api::<PartialObjectMeta<StatefulSet>>::namespaced(client.clone(), &namespace), mine());
        bell.on(
            Api::<PartialObjectMeta<Event>>::namespaced(client.clone(), "default"),
            Config::default().fields(&about(name)),
        );
        bell
    }

    async fn look(&self, client: &Client, look: Look) -> Result<Frame, Ending> {
        let now = SystemClock.now();
        // Ages grow by themselves; that is nothing new.
        let ageless = DateTime::UNIX_EPOCH;
        if let Some(name) = &self.tenant {
            let hospital = hospital(client, name).await?;
            let print = |at| self.output.print(&hospital, |hospital| screen(hospital, at, look));
            let ready = is_ready(&hospital.tenant);
            return Ok(self.frame([print(now)?, print(ageless)?], Outcome::ready(ready), ready));
        }
        let tenants = access::tenants(client).await?;
        let rows = rows(&tenants);
        let print = |at| self.output.print(&rows, |rows| list(rows, at, look));
        let ready = tenants.iter().all(is_ready);
        Ok(self.frame([print(now)?, print(ageless)?], Outcome::ready(ready), ready && !tenants.is_empty()))
    }

    fn frame(&self, [text, substance]: [String; 2], outcome: Outcome, ready: bool) -> Frame {
        let text = if self.watch { self.output.one_of_many(text) } else { text };
        Frame { text, substance, outcome, done: ready && self.until_ready }
    }
}
