//! Watches that go silent, are refused, or end in the middle of an event.

use std::{collections::BTreeMap, io};

use axum::{body::Body, http::request::Parts};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use tokio::sync::watch;

/// What is wrong with the watches of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFault {
    /// They are open and nothing comes.
    Silent,
    /// Open ones end; new ones, and lists, are answered with this HTTP status.
    Refused(u16),
    /// Each ends in the middle of its next event.
    Torn,
}

/// The resource of a request that lists or watches one.
pub fn collection(parts: &Parts) -> Option<String> {
    let mut path: Vec<&str> = parts.uri.path().split('/').filter(|part| !part.is_empty()).collect();
    path.drain(..if path.first() == Some(&"api") { 2.min(path.len()) } else { 3.min(path.len()) });
    if path.first() == Some(&"namespaces") && path.len() > 2 {
        path.drain(..2);
    }
    (parts.method == "GET" && path.len() == 1).then(|| path[0].to_owned())
}

pub fn is_watch(query: &str) -> bool {
    query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1")
}

pub fn broken() -> io::Error {
    io::Error::other("broken on purpose")
}

/// A watch that goes wrong when its resource does.
pub fn tapped(
    resource: String,
    body: kube::client::Body,
    faults: watch::Receiver<BTreeMap<String, WatchFault>>,
) -> Body {
    let frames = Box::pin(body.into_data_stream());
    let start = (frames, faults, resource, false);
    Body::from_stream(stream::unfold(start, |(mut frames, mut faults, resource, torn)| async move {
        if torn {
            return Some((Err(broken()), (frames, faults, resource, true)));
        }
        loop {
            let fault = faults.borrow_and_update().get(&resource).copied();
            match fault {
                Some(WatchFault::Silent) => {
                    faults.changed().await.ok()?;
                    continue;
                }
                Some(WatchFault::Refused(_)) => return None,
                Some(WatchFault::Torn) | None => {}
            }
            let frame = tokio::select! {
                frame = frames.next() => frame?,
                changed = faults.changed() => {
                    changed.ok()?;
                    continue;
                }
            };
            let frame = frame.map_err(io::Error::other);
            return match frame {
                Ok(bytes) if faults.borrow().get(&resource) == Some(&WatchFault::Torn) => {
                    Some((Ok(bytes.slice(..bytes.len() / 2)), (frames, faults, resource, true)))
                }
                other => Some((other, (frames, faults, resource, false))),
            };
        }
    }))
}
