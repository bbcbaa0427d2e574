//! Which tenants' namespaces let the operator in, and whether what is in them is known.
//!
//! Guarantees: pure. A namespace is known only while every watch in it has been answered; one that is refused makes absence
//! unknown again, so that nobody takes a Secret that cannot be seen for one that is not there.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::DynamicObject;

use crate::{names, objects::Kind};

/// Whether a RoleBinding gives the operator its rights in a tenant's namespace.
pub(super) fn lets_in(binding: &DynamicObject) -> bool {
    binding.data.pointer("/roleRef/name").and_then(serde_json::Value::as_str) == Some(names::TENANT_ROLE)
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Doors {
    /// Tenants whose namespace lets the operator in.
    entered: BTreeSet<String>,
    /// Tenants whose namespace is watched.
    watched: BTreeSet<String>,
    /// Answers that are still out, by tenant; empty while it is not yet said which.
    pending: BTreeMap<String, BTreeSet<Kind>>,
    /// Why they stay out.
    refusals: BTreeMap<String, String>,
}

impl Doors {
    /// The binding that lets the operator in was seen.
    pub(super) fn open(&mut self, tenant: &str) {
        self.entered.insert(tenant.to_owned());
    }

    /// That binding has gone.
    pub(super) fn close(&mut self, tenant: &str) {
        self.entered.remove(tenant);
    }

    /// Whether this tenant's namespace has to be watched from now on, or no longer; `exists` is whether the tenant does.
    pub(super) fn turned(&mut self, tenant: &str, exists: bool) -> Option<bool> {
        let wanted = exists && self.entered.contains(tenant);
        let changed = if wanted { self.watched.insert(tenant.to_owned()) } else { self.watched.remove(tenant) };
        if changed && wanted {
            self.pending.insert(tenant.to_owned(), BTreeSet::new());
        }
        changed.then_some(wanted)
    }

    /// These kinds are asked for.
    pub(super) fn ask(&mut self, tenant: &str, kinds: impl IntoIterator<Item = Kind>) {
        self.pending.insert(tenant.to_owned(), kinds.into_iter().collect());
    }

    /// A kind was answered; true when it was the last one that was out.
    pub(super) fn answered(&mut self, tenant: &str, kind: Kind) -> bool {
        let Some(kinds) = self.pending.get_mut(tenant) else { return false };
        kinds.remove(&kind);
        if !kinds.is_empty() {
            return false;
        }
        self.pending.remove(tenant);
        self.refusals.remove(tenant);
        true
    }

    /// A kind is refused: what was seen of it may have gone.
    pub(super) fn refused(&mut self, tenant: &str, kind: Kind) {
        if self.watched.contains(tenant) {
            self.pending.entry(tenant.to_owned()).or_default().insert(kind);
        }
    }

    /// It stays refused; true when that is news.
    pub(super) fn stays_refused(&mut self, tenant: &str, why: &str) -> bool {
        self.pending.contains_key(tenant) && self.refusals.insert(tenant.to_owned(), why.to_owned()).is_none()
    }

    /// The namespace is no longer watched.
    pub(super) fn forget(&mut self, tenant: &str) {
        self.pending.remove(tenant);
        self.refusals.remove(tenant);
    }

    /// Whether no answer is out.
    pub(super) fn is_settled(&self, tenant: &str) -> bool {
        !self.pending.contains_key(tenant)
    }

    /// Whether the namespace is watched and every watch was answered: the operator's rights have arrived there, and what is
    /// absent is not there.
    pub(super) fn is_known(&self, tenant: &str) -> bool {
        self.watched.contains(tenant) && self.is_settled(tenant)
    }

    /// Why the namespace stays unknown.
    pub(super) fn refusal(&self, tenant: &str) -> Option<&str> {
        self.refusals.get(tenant).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::kind::SECRET;

    fn watched() -> Doors {
        let mut doors = Doors::default();
        doors.open("a");
        assert_eq!(doors.turned("a", true), Some(true));
        doors
    }

    #[test]
    fn a_namespace_is_known_from_its_first_answer_and_not_while_it_is_refused() {
        let mut doors = watched();
        assert!(!doors.is_known("a"), "before it is said what to ask for");
        doors.ask("a", [SECRET]);
        assert!(!doors.is_known("a"));
        assert!(doors.answered("a", SECRET) && doors.is_known("a"));
        doors.refused("a", SECRET);
        assert!(!doors.is_known("a"));
        assert!(doors.answered("a", SECRET) && doors.is_known("a"));
    }

    #[test]
    fn a_namespace_without_a_binding_is_settled_but_not_known() {
        let doors = Doors::default();
        assert!(doors.is_settled("a") && !doors.is_known("a"));
    }

    #[test]
    fn a_lasting_refusal_is_told_once_and_ends_with_an_answer() {
        let mut doors = watched();
        doors.refused("a", SECRET);
        assert!(doors.stays_refused("a", "forbidden") && !doors.stays_refused("a", "forbidden"));
        assert_eq!(doors.refusal("a"), Some("forbidden"));
        doors.answered("a", SECRET);
        assert_eq!(doors.refusal("a"), None);
    }

    #[test]
    fn a_watch_of_a_namespace_that_is_no_longer_watched_says_nothing() {
        let mut doors = watched();
        doors.close("a");
        assert_eq!(doors.turned("a", true), Some(false));
        doors.forget("a");
        doors.refused("a", SECRET);
        assert!(doors.is_settled("a") && !doors.stays_refused("a", "forbidden"));
    }
}
