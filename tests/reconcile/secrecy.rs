//! No generated value ever appears outside of its Secret.

use std::collections::BTreeMap;

use his_operator::{api::v1alpha1::HospitalTenant, objects::kind::SECRET};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

use super::{
    actor::{Fate, Jobs},
    hospital::{DEADLINE, Hospital, eventually},
    leaks::{leaks, pieces},
    world::run_alone,
};

#[test]
fn no_secret_value_is_in_a_status_an_event_or_the_log() {
    run_alone(async |world| {
        // What goes wrong says the most.
        let hospital = Hospital::named(world, "discreet");
        world.actor.decide(&hospital.name, Fate { jobs: Jobs::Fail, ..Fate::default() }).await;
        hospital.create(json!({})).await;
        hospital.shows("ReleaseReady", "False", "InitFailed").await;
        let secrets = hospital.secrets().await;
        for name in secrets.keys() {
            hospital.api(SECRET).delete(name, &DeleteParams::default()).await.unwrap();
        }
        eventually("credentials come back", DEADLINE, async || {
            let now = hospital.secrets().await;
            (now == secrets).then_some(()).ok_or(format!("{:?}", now.keys()))
        })
        .await;

        let pieces = pieces(&world.admin).await;
        assert!(pieces.len() >= 8, "{} pieces of secret values", pieces.len());
        let mut texts = BTreeMap::new();
        let everything = ListParams::default();
        let tenants = Api::<HospitalTenant>::all(world.admin.clone()).list(&everything).await.unwrap();
        texts.insert("status", serde_json::to_string(&tenants.items).unwrap());
        let events = Api::<Event>::all(world.admin.clone()).list(&everything).await.unwrap();
        texts.insert("event", serde_json::to_string(&events.items).unwrap());
        texts.insert("log", world.log.after(0));
        for (what, text) in &texts {
            assert!(text.len() > 1000, "there is hardly any {what}");
            assert!(!leaks(text, &pieces), "a secret value is in a {what}");
        }
        // The oracle itself: a value among other words is found.
        let leak = pieces.iter().next().unwrap();
        assert!(leaks(&format!("password={leak}xyz rest"), &pieces));
    });
}
