//! A pause has an end, and holds until then.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use his_operator::{
    names,
    objects::kind::{CONFIG_MAP, SERVICE},
};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{
    hospital::{DEADLINE, Hospital, eventually, quiet, words},
    world::run,
};

#[test]
fn a_paused_hospital_is_left_alone_and_repaired_when_the_pause_is_taken_away() {
    run(async |world| {
        let hospital = Hospital::open(world, "paused").await;
        hospital.patch(until(json!("2099-01-01T00:00:00Z"))).await;
        hospital.shows("Reconciling", "False", "Paused").await;
        assert_eq!(
            hospital.resource().await.status.unwrap().paused_until.as_deref(),
            Some("2099-01-01T00:00:00+00:00")
        );
        let before = hospital.settles().await;
        hospital.api(SERVICE).delete("web", &DeleteParams::default()).await.unwrap();
        hospital.api(CONFIG_MAP).delete("database-files", &DeleteParams::default()).await.unwrap();
        quiet().await;
        let writes: Vec<_> =
            hospital.requests().split_off(before).iter().filter(|event| event.is_write()).map(words).collect();
        let own_status = format!("patch hospitaltenants/status /{} -> 200", hospital.name);
        assert!(writes.iter().all(|write| *write == own_status), "{writes:?}");
        assert!(hospital.get(SERVICE, "web").await.is_none());

        hospital.patch(until(Value::Null)).await;
        hospital.sees(SERVICE, "web").await;
        hospital.sees(CONFIG_MAP, "database-files").await;
        hospital.ready().await;
    });
}

#[test]
fn a_pause_ends_by_itself_and_one_without_a_time_is_refused() {
    run(async |world| {
        let hospital = Hospital::open(world, "napping").await;
        hospital.patch(until(json!("after lunch"))).await;
        let message = hospital.shows("Ready", "False", "TimeInvalid").await;
        assert!(message.contains("after lunch") && message.contains("RFC 3339"), "{message}");

        let end: DateTime<Utc> = Utc::now() + TimeDelta::seconds(8);
        hospital.patch(until(json!(end.to_rfc3339_opts(SecondsFormat::Secs, true)))).await;
        hospital.shows("Reconciling", "False", "Paused").await;
        hospital.api(SERVICE).delete("web", &DeleteParams::default()).await.unwrap();
        eventually("the Service comes back", DEADLINE, async || {
            let back = hospital.get(SERVICE, "web").await.is_some();
            assert!(!back || Utc::now() >= end - TimeDelta::seconds(1), "repaired before the pause had ended");
            back.then_some(()).ok_or("it is not there".to_owned())
        })
        .await;
        hospital.ready().await;
        assert_eq!(hospital.resource().await.status.unwrap().paused_until, None);
    });
}

/// Asks for a pause until then, or for its end.
pub fn until(time: Value) -> Value {
    json!({ "metadata": { "annotations": { names::PAUSE_UNTIL: time } } })
}
