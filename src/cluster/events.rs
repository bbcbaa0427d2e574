//! Events for people who look at a hospital with `kubectl describe`.
//!
//! Guarantees: the same words about the same hospital are sent at most once in [`SILENT`]; a failure to send is logged and
//! changes nothing else.

use std::collections::BTreeMap;

use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Duration, Instant};

use super::{Error, Verb, Writer, writer::tenant_ref};
use crate::{api::v1alpha1::HospitalTenant, names};

/// How long an event is not repeated.
const SILENT: Duration = Duration::from_secs(30 * 60);
/// Longest note that the API server accepts.
const LONGEST: usize = 1000;

/// What was said to whom, and when: UID, reason and digest of the note.
#[derive(Debug, Default)]
pub(super) struct Sent(BTreeMap<(String, String, String), Instant>);

impl Sent {
    /// Whether these words are news.
    fn is_news(&mut self, uid: &str, reason: &str, note: &str, now: Instant) -> bool {
        self.0.retain(|_, sent| now.saturating_duration_since(*sent) < SILENT);
        let words = (uid.to_owned(), reason.to_owned(), crate::objects::digest(&note));
        if self.0.contains_key(&words) {
            return false;
        }
        self.0.insert(words, now);
        true
    }
}

impl Writer {
    /// Tells about a hospital: normal, or a warning. `reason` is CamelCase; the note has names, never values. The only error is
    /// a lost lease: everything else is not worth failing for.
    pub async fn event(&self, tenant: &HospitalTenant, normal: bool, reason: &str, note: &str) -> Result<(), Error> {
        let uid = tenant.uid().unwrap_or_default();
        let news = |sent: &mut Sent| sent.is_news(&uid, reason, note, Instant::now());
        if !news(&mut self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner)) {
            return Ok(());
        }
        let now = Timestamp::from_microsecond(self.clock.now().timestamp_micros()).unwrap_or_default();
        let event = Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", tenant.name_any())),
                // Where events about cluster-scoped objects live.
                namespace: Some("default".to_owned()),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(note.chars().take(LONGEST).collect()),
            reason: Some(reason.to_owned()),
            regarding: Some(tenant.object_ref(&())),
            reporting_controller: Some(names::PRODUCT.to_owned()),
            reporting_instance: Some(names::PRODUCT.to_owned()),
            type_: Some(if normal { "Normal" } else { "Warning" }.to_owned()),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let parameters = PostParams::default();
        match self.send(Verb::Event, &tenant_ref(tenant), api.create(&parameters, &event)).await {
            Err(fenced @ Error::Fenced { .. }) => Err(fenced),
            Err(error) => {
                tracing::warn!(%error, reason, "event was not recorded");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_are_not_repeated_until_they_are_old() {
        let (mut sent, start) = (Sent::default(), Instant::now());
        let after = |minutes: u64| start + Duration::from_secs(60 * minutes);
        assert!(sent.is_news("u", "Failed", "a", start));
        assert!(!sent.is_news("u", "Failed", "a", after(20)));
        assert!(sent.is_news("v", "Failed", "a", after(20)));
        assert!(sent.is_news("u", "Failed", "a", after(31)));
        assert!(sent.is_news("u", "Failed", "b", after(32)));
    }
}
