//! Every state that a protecting object was ever in: NetworkPolicies, RBAC and the labels of namespaces.
//!
//! Seen through a watch of its own, so that a state which lasts a moment is seen too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures::StreamExt;
use his_operator::{
    names,
    objects::{
        Kind,
        kind::{NAMESPACE, NETWORK_POLICY, ROLE_BINDING},
    },
};
use kube::{
    Api, Client, ResourceExt,
    core::DynamicObject,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};

use super::shape::anonymous_value;

/// The kinds that protect.
pub const KINDS: [Kind; 3] = [NAMESPACE, NETWORK_POLICY, ROLE_BINDING];
/// Stands for an object that has gone.
const GONE: &str = "gone";

/// States of each protecting object of one hospital, without what is the hospital's own.
pub type Protection = BTreeMap<String, BTreeSet<String>>;

/// See the module. Clones share what was seen.
#[derive(Clone, Debug, Default)]
pub struct States(Arc<Mutex<BTreeMap<String, Protection>>>);

impl States {
    pub fn start(admin: &Client) -> Self {
        let states = Self::default();
        for kind in KINDS {
            let api = Api::<DynamicObject>::all_with(admin.clone(), &kind.api_resource());
            tokio::spawn(states.clone().follow(kind, api));
        }
        states
    }

    async fn follow(self, kind: Kind, api: Api<DynamicObject>) {
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
        while let Some(event) = events.next().await {
            let (object, gone) = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
                Ok(Event::Delete(object)) => (object, true),
                Ok(Event::Init | Event::InitDone) => continue,
                Err(error) => panic!("states of {kind} are no longer seen: {error}"),
            };
            let namespace = if kind == NAMESPACE { object.name_any() } else { object.namespace().unwrap() };
            let Some(tenant) = namespace.strip_prefix("his-").map(ToOwned::to_owned) else { continue };
            let address = format!("{}/{}", kind.plural, object.name_any());
            // What is kept may never go, not even for a moment.
            let kept = object.labels().contains_key(names::RETAIN) || kind == NAMESPACE;
            let state = if !gone {
                protection(kind, &serde_json::to_value(&object).unwrap(), &tenant)
            } else if kept {
                "kept and gone".to_owned()
            } else {
                GONE.to_owned()
            };
            let mut all = self.0.lock().unwrap();
            let own = all.entry(tenant.clone()).or_default();
            own.entry(address.replace(&tenant, "NAME")).or_default().insert(state);
        }
    }

    /// Everything that was seen of one hospital.
    pub fn of(&self, tenant: &str) -> Protection {
        self.0.lock().unwrap().get(tenant).cloned().unwrap_or_default()
    }
}

/// What an object protects with: no bookkeeping, nothing of the hospital's own.
pub fn protection(kind: Kind, object: &Value, tenant: &str) -> String {
    let what = match kind {
        kind if kind == NAMESPACE => json!(object["metadata"]["labels"]),
        kind if kind == NETWORK_POLICY => object["spec"].clone(),
        _ => json!({ "rules": object["rules"], "roleRef": object["roleRef"], "subjects": object["subjects"] }),
    };
    anonymous_value(what, &[(tenant, "NAME")]).to_string()
}

/// The first state that was never declared. An object that may go may also be gone earlier than elsewhere.
pub fn undeclared(seen: &Protection, declared: &Protection) -> Option<String> {
    seen.iter().find_map(|(address, states)| {
        let known = declared.get(address);
        let strange =
            states.iter().find(|state| *state != GONE && !known.is_some_and(|known| known.contains(*state)))?;
        Some(format!("{address} was {strange}, declared is {known:?}"))
    })
}

#[test]
fn a_state_that_was_never_declared_is_found() {
    let states =
        |of: &[&str]| -> Protection { [("a".to_owned(), of.iter().map(|state| (*state).to_owned()).collect())].into() };
    assert_eq!(undeclared(&states(&["x", GONE]), &states(&["x", "y"])), None);
    assert!(undeclared(&states(&["x", "z"]), &states(&["x", "y"])).is_some());
    assert!(undeclared(&states(&["kept and gone"]), &states(&["x"])).is_some());
    assert!(undeclared(&states(&["x"]), &Protection::default()).is_some());
}
