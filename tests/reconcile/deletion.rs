//! Deleting a hospital ends its workload and keeps its data.

use his_operator::{
    capabilities::kinds,
    objects::{
        Kind,
        kind::{CONFIG_MAP, DEPLOYMENT, JOB, NAMESPACE, PERSISTENT_VOLUME_CLAIM, Retention, SECRET, STATEFUL_SET},
    },
};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;

use super::{
    hospital::{DEADLINE, Hospital, eventually, quiet, words},
    world::run,
};

const DATA: [Kind; 3] = [NAMESPACE, PERSISTENT_VOLUME_CLAIM, SECRET];

#[test]
fn deleting_a_hospital_keeps_its_data_and_only_stated_consent_adopts_it() {
    run(async |world| {
        let hospital = Hospital::open(world, "deceased").await;
        let uid = hospital.resource().await.uid().unwrap();
        let (data, secrets) = (data_of(&hospital).await, hospital.secrets().await);
        hospital.delete().await;
        gone(&hospital).await;

        for kind in kinds().into_iter().filter(|kind| kind.retention == Retention::Workload) {
            let left: Vec<_> = hospital.all(kind).await;
            let left: Vec<_> =
                left.iter().filter(|object| !object.labels().contains_key("his-operator.io/retain")).collect();
            assert!(left.is_empty(), "{kind}: {:?}", left.iter().map(|object| object.name_any()).collect::<Vec<_>>());
        }
        assert_eq!(data_of(&hospital).await, data);
        receipt_and_event(&hospital, &uid, &secrets.keys().cloned().collect::<Vec<_>>()).await;

        let seen = hospital.requests().len();
        hospital.create(json!({})).await;
        let message = hospital.shows("Ready", "False", "RetainedDataFound").await;
        assert!(message.contains(&uid) && message.contains("spec.adopt"), "{message}");
        quiet().await;
        let writes: Vec<_> =
            hospital.requests().split_off(seen).iter().filter(|event| event.is_write()).map(words).collect();
        assert!(writes.iter().all(|write| write.contains("hospitaltenants")), "{writes:?}");

        hospital.patch(json!({ "spec": { "adopt": { "tenantUid": uid } } })).await;
        hospital.ready().await;
        assert_eq!(data_of(&hospital).await, data);
        assert_eq!(hospital.secrets().await, secrets);
        let is_step = |name: &String| !name.starts_with("gate-") && !name.starts_with("network-probe-");
        let steps: Vec<_> = hospital.all(JOB).await.iter().map(ResourceExt::name_any).filter(is_step).collect();
        assert_eq!(steps, Vec::<String>::new(), "init must not run on data that is there");
        let created = hospital.requests().split_off(seen).into_iter();
        assert_eq!(created.filter(|event| event.resource == "jobs" && is_step(&event.name)).count(), 0);
        let adopted = hospital.resource().await;
        let namespace = hospital.get(NAMESPACE, &hospital.namespace()).await.unwrap();
        assert_eq!(namespace.annotations().get("his-operator.io/tenant-uid"), adopted.metadata.uid.as_ref());

        // Deleted again, everything is still there for whoever comes next, and written down.
        let uid = adopted.uid().unwrap();
        hospital.delete().await;
        gone(&hospital).await;
        assert_eq!(data_of(&hospital).await, data);
        receipt_and_event(&hospital, &uid, &secrets.keys().cloned().collect::<Vec<_>>()).await;
        assert!(hospital.all(STATEFUL_SET).await.is_empty() && hospital.all(DEPLOYMENT).await.is_empty());
    });
}

/// Address and UID of everything that holds data.
async fn data_of(hospital: &Hospital) -> Vec<(String, String)> {
    let mut data = Vec::new();
    for kind in DATA {
        let all = hospital.all(kind).await;
        data.extend(all.iter().map(|object| (format!("{kind}/{}", object.name_any()), object.uid().unwrap())));
    }
    data
}

async fn gone(hospital: &Hospital) {
    eventually(&format!("{} goes", hospital.name), DEADLINE, async || {
        let left = hospital.tenants().get_opt(&hospital.name).await.unwrap();
        left.map_or(Ok(()), |left| Err(format!("held by {:?}", left.finalizers())))
    })
    .await;
}

async fn receipt_and_event(hospital: &Hospital, uid: &str, secrets: &[String]) {
    let namespace = hospital.namespace();
    let receipt = hospital.get(CONFIG_MAP, "retained-data").await.expect("no receipt");
    assert_eq!(receipt.data["data"]["tenantUid"], uid);
    let kept = receipt.data["data"]["kept"].as_str().unwrap().lines().map(ToOwned::to_owned).collect::<Vec<_>>();
    let mut expected =
        vec![format!("Namespace/{namespace}"), format!("PersistentVolumeClaim/{namespace}/database-data")];
    expected.extend(secrets.iter().map(|name| format!("Secret/{namespace}/{name}")));
    for object in &expected {
        assert!(kept.contains(object), "{object} is not in the receipt: {kept:?}");
    }
    let events =
        Api::<Event>::namespaced(hospital.world.admin.clone(), "default").list(&ListParams::default()).await.unwrap();
    let about = |event: &Event| event.regarding.as_ref().is_some_and(|regarding| regarding.uid.as_deref() == Some(uid));
    let notes: Vec<_> = events.items.into_iter().filter(about).filter_map(|event| event.note).collect();
    let told = notes.iter().find(|note| note.contains("kept")).unwrap_or_else(|| panic!("{notes:?}"));
    assert!(expected.iter().all(|object| told.contains(object)), "{told}");
}
