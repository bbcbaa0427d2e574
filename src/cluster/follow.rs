//! One watch that never gives up and never disturbs another.
//!
//! Guarantees: each watch has its own backoff with jitter. An expired resource version starts a new list, also when the API
//! server says so by HTTP status (`kube::runtime::watcher` would ask again with the same version for ever). Lists are
//! streamed, so that a list of any size needs memory for one object; API servers without streaming lists are paged.

use std::{fmt::Debug, sync::Arc};

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::watcher::{self, Config, Error, Event, InitialListStrategy, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::{Duration, sleep};

use crate::{metrics::Metrics, ports::jitter};

const PAGE: u32 = 100;

/// Takes what one watch sees.
pub(super) trait Sink: Send {
    type Object;

    /// An object, or the begin or end of a complete list.
    fn event(&mut self, event: Event<Self::Object>);

    /// The watch failed; it is tried again by itself.
    fn failed(&mut self, error: &Error);

    /// Whether only a complete list ends what a failure has begun. A watch that goes on where it was interrupted gives none.
    fn needs_list(&self) -> bool {
        false
    }
}

/// Exponential backoff with jitter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Short enough for rights that were granted a moment ago to arrive.
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);

    pub(super) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    pub(super) fn reset(&mut self) {
        self.next = Self::FIRST;
    }

    pub(super) fn wait(&mut self) -> Duration {
        let wait = jitter(self.next);
        self.next = (self.next * 2).min(Self::LONGEST);
        wait
    }
}

/// Watches for ever.
pub(super) async fn follow<K, S>(api: Api<K>, mut config: Config, mut sink: S, metrics: Arc<Metrics>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
    S: Sink<Object = K>,
{
    let name = K::kind(&K::DynamicType::default()).into_owned();
    follow_named(api, &mut config, &mut sink, &name, &metrics).await;
}

/// [`follow`] for kinds whose name is known only at run time.
pub(super) async fn follow_named<K, S>(api: Api<K>, config: &mut Config, sink: &mut S, name: &str, metrics: &Metrics)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    S: Sink<Object = K>,
{
    config.initial_list_strategy = InitialListStrategy::StreamingList;
    config.page_size = None;
    let mut backoff = Backoff::new();
    loop {
        let mut events = std::pin::pin!(watcher(api.clone(), config.clone()));
        while let Some(event) = events.next().await {
            let error = match event {
                Ok(event) => {
                    // The begin of a list proves nothing: the list may still be refused.
                    if !matches!(event, Event::Init) {
                        backoff.reset();
                    }
                    sink.event(event);
                    continue;
                }
                Err(error) => error,
            };
            metrics.watch_restarted(name, reason(&error));
            if is_refused(&error) && config.initial_list_strategy == InitialListStrategy::StreamingList {
                tracing::info!(kind = name, "the API server has no streaming lists; paging");
                config.initial_list_strategy = InitialListStrategy::ListWatch;
                config.page_size = Some(PAGE);
                break;
            }
            sink.failed(&error);
            let wait = backoff.wait();
            tracing::warn!(kind = name, %error, ?wait, "watch interrupted");
            sleep(wait).await;
            if code(&error) == Some(410) || sink.needs_list() {
                break;
            }
        }
    }
}

/// HTTP status of the API server's answer, if that was the failure.
pub(super) fn code(error: &Error) -> Option<u16> {
    match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// An API server without streaming lists calls the request invalid.
fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, Error::WatchStartFailed(_)) && matches!(code(error), Some(400 | 422))
}

fn reason(error: &Error) -> &'static str {
    match (code(error), error) {
        (Some(401 | 403), _) => "forbidden",
        (Some(404), _) => "not_found",
        (Some(410), _) => "gone",
        (Some(429), _) => "throttled",
        (Some(_), _) => "refused",
        (None, Error::NoResourceVersion) => "unwatchable",
        (None, _) => "interrupted",
    }
}
