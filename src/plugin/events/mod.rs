//! `kubectl his events`: everything that was told about a hospital and in its namespace, in one table.
//!
//! Guarantees: `read` only reads; `text` is pure. The same words about the same object are one line.

mod model;
mod read;

use std::{collections::BTreeSet, io::IsTerminal};

use chrono::{DateTime, Utc};
use clap::Args;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, core::PartialObjectMeta, runtime::watcher::Config};

use super::{
    access::{self, Cluster},
    complete,
    look::{Look, age, or_nothing, table},
    output::{Ended, Outcome, Output, Said, plain},
    status::about,
    watch::{Bell, Frame, Manner, follow},
};
use crate::{
    names,
    ports::{Clock, SystemClock},
};

pub use model::{Line, Timeline};
pub(super) use read::timeline;

/// Of which hospital.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    /// Name of the hospital; one that was deleted still has a namespace.
    #[arg(value_name = "TENANT", add = complete::hospitals())]
    tenant: String,
    /// How to print them.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Go on, and show what comes, until Ctrl-C.
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
        let timeline = timeline(&client, &self.tenant).await?;
        let now = SystemClock.now();
        let text = self.output.print(&timeline, |timeline| text(timeline, now, Look::of_terminal()))?;
        Ok(Said { text, outcome: outcome(&timeline), ..Said::default() })
    }

    async fn follow(&self) -> Ended {
        let client = access::connect_to_watch(&self.cluster).await?;
        let mut bell = Bell::default();
        let own = Api::<PartialObjectMeta<Event>>::namespaced(client.clone(), "default");
        bell.on(own, Config::default().fields(&about(&self.tenant)));
        let namespace = names::namespace(&self.tenant);
        bell.on(Api::<PartialObjectMeta<Event>>::namespaced(client.clone(), &namespace), Config::default());
        let redraw = self.output == Output::Table && std::io::stdout().is_terminal();
        let mut told = BTreeSet::new();
        follow(&bell, Manner { redraw, patience: None }, async || {
            let mut seen = timeline(&client, &self.tenant).await?;
            let outcome = outcome(&seen);
            let substance = serde_json::to_string(&seen).unwrap_or_default();
            if !redraw {
                // What was printed stays; only what is new is added.
                seen.events.retain(|line| told.insert(line.clone()));
            }
            // Events that the API server has forgotten are nothing to show.
            let printed = if !redraw && seen.events.is_empty() && !told.is_empty() {
                String::new()
            } else {
                let now = SystemClock.now();
                let printed = self.output.print(&seen, |timeline| text(timeline, now, Look::of_terminal()))?;
                self.output.one_of_many(printed)
            };
            Ok(Frame { text: printed, substance, outcome, done: false })
        })
        .await
    }
}

fn outcome(timeline: &Timeline) -> Outcome {
    if timeline.unread.is_empty() { Outcome::Well } else { Outcome::Unread }
}

/// Events, oldest first, and what could not be read.
pub fn text(timeline: &Timeline, now: DateTime<Utc>, look: Look) -> String {
    let mut parts = Vec::new();
    if timeline.events.is_empty() {
        parts.push("There are no events. The API server keeps them for an hour unless told otherwise.".to_owned());
    } else {
        let mut table = table(look, &["LAST SEEN", "TYPE", "OBJECT", "REASON", "TIMES", "MESSAGE"]);
        for line in &timeline.events {
            table.add_row([
                age(line.last, now),
                or_nothing(Some(&line.kind)),
                plain(&line.about),
                plain(&line.reason),
                line.times.to_string(),
                plain(&line.message),
            ]);
        }
        parts.push(table.trim_fmt());
    }
    parts.extend(timeline.unread.iter().map(|note| plain(note)));
    parts.join("\n\n") + "\n"
}
