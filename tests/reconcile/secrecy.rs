//! No generated value ever appears outside of its Secret.

use std::collections::{BTreeMap, HashSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use his_operator::{api::v1alpha1::HospitalTenant, objects::kind::SECRET};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

use super::{
    actor::{Fate, Jobs},
    hospital::{DEADLINE, Hospital, eventually},
    world::{World, run_alone},
};

/// As much of a value as nothing else shares by chance.
const PIECE: usize = 16;
/// Keys whose values everybody may see.
const PUBLIC: [&str; 3] = ["username", "ca.crt", "tls.crt"];

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

        let pieces = pieces(world).await;
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

/// The begin of each secret value of all hospitals, as it is and as Kubernetes encodes it.
async fn pieces(world: &World) -> HashSet<String> {
    let secrets = Api::<Secret>::all(world.admin.clone()).list(&ListParams::default()).await.unwrap();
    let ours = secrets
        .items
        .into_iter()
        .filter(|secret| secret.namespace().is_some_and(|namespace| namespace.starts_with("his-")));
    let values =
        ours.flat_map(|secret| secret.data.unwrap_or_default()).filter(|(key, _)| !PUBLIC.contains(&key.as_str()));
    let mut pieces = HashSet::new();
    for (_, value) in values {
        let plain = String::from_utf8(value.0).unwrap();
        // Every key in PEM begins the same; what is its own comes later.
        let own = plain.split_once("KEY-----\n").map_or(plain.as_str(), |(_, key)| &key[64..]);
        pieces.insert(own[..PIECE].to_owned());
        // Without the part that depends on where the encoding began.
        pieces.insert(STANDARD.encode(own)[..PIECE].to_owned());
    }
    pieces
}

fn leaks(text: &str, pieces: &HashSet<String>) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c)));
    words
        .filter(|word| word.len() >= PIECE)
        .any(|word| (0..=word.len() - PIECE).any(|at| pieces.contains(&word[at..at + PIECE])))
}
