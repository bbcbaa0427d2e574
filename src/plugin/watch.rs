//! Looks again whenever something changes.
//!
//! Guarantees: watches tell that something changed, and nothing is polled; what has not changed is not printed again; a
//! cluster that goes away for a while is said once and waited for.

use std::{fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Resource,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{Config, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    access::PATIENCE,
    output::{Ended, Ending, Outcome, Said, complain, print},
};

/// Changes come in bursts; one look is enough for all of one.
const BURST: Duration = Duration::from_millis(100);
/// Before a look that failed is repeated without a ring.
const AGAIN: Duration = Duration::from_secs(3);
/// Cursor to the upper left corner, and everything below it is cleared.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Rings when something may have changed. Its watches end with it.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Arc<Notify>,
    watches: JoinSet<()>,
}

impl Bell {
    /// Rings for objects of this kind, and once when all of them have been listed.
    pub(super) fn on<K>(&mut self, api: Api<PartialObjectMeta<K>>, config: Config)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let rung = Arc::clone(&self.rung);
        self.watches.spawn(async move {
            let mut events = pin!(watcher(api, config).default_backoff());
            while let Some(event) = events.next().await {
                if matches!(event, Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone)) {
                    rung.notify_one();
                }
            }
        });
    }

    async fn rings(&self) {
        self.rung.notified().await;
        sleep(BURST).await;
    }
}

/// What one look has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// For standard output.
    pub text: String,
    /// Differs from that of the last look if and only if there is something new to see.
    pub substance: String,
    /// How the command would end now.
    pub outcome: Outcome,
    /// What was waited for has come.
    pub done: bool,
}

/// How to follow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// Each frame takes the place of the last one, as on a terminal.
    pub redraw: bool,
    /// How long to wait for what is waited for.
    pub patience: Option<Duration>,
}

/// Looks at once and after each ring, until what is waited for has come, nobody reads on, or Ctrl-C.
pub(super) async fn follow(bell: &Bell, manner: Manner, mut look: impl AsyncFnMut() -> Result<Frame, Ending>) -> Ended {
    let mut end = pin!(tokio::signal::ctrl_c());
    let mut late = pin!(late(manner.patience));
    let mut last: Option<Frame> = None;
    let mut complained = false;
    loop {
        let seen = timeout(PATIENCE, look()).await;
        let failed = match seen.unwrap_or_else(|_| Err(silent())) {
            Ok(frame) => {
                complained = false;
                let ended = frame.done || !show(&frame, last.as_ref(), manner)?;
                if ended {
                    return Ok(Said { outcome: frame.outcome, ..Said::default() });
                }
                last = Some(frame);
                false
            }
            Err(Ending::Unreachable(message)) if last.is_some() => {
                if !complained {
                    complain(&format!("warning: {message}; waiting for it"));
                }
                complained = true;
                true
            }
            Err(ending) => return Err(ending),
        };
        let outcome = last.as_ref().map(|frame| frame.outcome).unwrap_or_default();
        tokio::select! {
            () = bell.rings() => {}
            () = sleep(AGAIN), if failed => {}
            _ctrl_c = &mut end => return Ok(Said { outcome, ..Said::default() }),
            () = &mut late => {
                let waited = super::time::words(manner.patience.unwrap_or_default());
                let warnings = vec![format!("not Ready after {waited}; the last look says what blocks")];
                return Ok(Said { warnings, outcome: Outcome::NotReady, ..Said::default() });
            }
        }
    }
}

async fn late(patience: Option<Duration>) {
    match patience {
        Some(patience) => sleep(patience).await,
        None => std::future::pending().await,
    }
}

fn silent() -> Ending {
    Ending::Unreachable(format!("the cluster has not answered for {}s", PATIENCE.as_secs()))
}

/// Says whether anybody reads on.
fn show(frame: &Frame, last: Option<&Frame>, manner: Manner) -> Result<bool, Ending> {
    if last.is_some_and(|last| last.substance == frame.substance) {
        return Ok(true);
    }
    let text = if manner.redraw { format!("{CLEAR}{}", frame.text) } else { frame.text.clone() };
    print(&text).map_err(|error| Ending::Usage(format!("standard output cannot be written: {error}")))
}
