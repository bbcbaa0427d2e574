//! The control plane for tests: what its users rely on.

#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::control_plane::ControlPlane;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{Api, ListParams, PostParams};

#[tokio::test]
async fn serves_with_rbac_and_writes_down_every_request() {
    let started = Instant::now();
    let control_plane = ControlPlane::start().await.unwrap();
    eprintln!("control plane ready after {:?}", started.elapsed());

    let eve = control_plane.client_for("eve", &["staff"]).await.unwrap();
    let refused = Api::<Secret>::namespaced(eve, "default").list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");

    let maps = Api::<ConfigMap>::namespaced(control_plane.client(), "default");
    let map = ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some("a".into()), ..Default::default() },
        ..Default::default()
    };
    maps.create(&PostParams::default(), &map).await.unwrap();

    let deadline = Instant::now() + Duration::from_secs(5);
    let events = loop {
        let events = control_plane.requests_by("eve").unwrap();
        if !events.is_empty() || Instant::now() > deadline {
            break events;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let short: Vec<_> = events.iter().map(|event| (event.verb.as_str(), event.resource.as_str(), event.code)).collect();
    assert_eq!(short, [("list", "secrets", 403)]);

    let dir = control_plane.kubeconfig_path().parent().unwrap().to_path_buf();
    drop(control_plane);
    assert!(!dir.exists());
}

#[tokio::test]
async fn controllers_finish_the_deletion_of_a_namespace() {
    let control_plane = ControlPlane::builder().controller_manager(true).start().await.unwrap();
    let namespaces = Api::<Namespace>::all(control_plane.client());
    let namespace = Namespace {
        metadata: kube::api::ObjectMeta { name: Some("short-lived".into()), ..Default::default() },
        ..Default::default()
    };
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    namespaces.delete("short-lived", &kube::api::DeleteParams::default()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while namespaces.get_opt("short-lived").await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "the namespace is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs the other half of the next test: a process that holds a control plane until it is killed.
#[tokio::test]
async fn holder_of_a_control_plane() {
    let Some(file) = std::env::var_os("HOLD_CONTROL_PLANE") else { return };
    let control_plane = ControlPlane::start().await.unwrap();
    let dir = control_plane.kubeconfig_path().parent().unwrap().display().to_string();
    std::fs::write(Path::new(&file).with_extension("new"), dir).unwrap();
    std::fs::rename(Path::new(&file).with_extension("new"), &file).unwrap();
    std::future::pending::<()>().await;
}

#[test]
fn nothing_survives_when_the_harness_is_killed() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("dir");
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holder_of_a_control_plane"])
        .env("HOLD_CONTROL_PLANE", &file)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_mins(10);
    while !file.exists() {
        assert!(Instant::now() < deadline && holder.try_wait().unwrap().is_none(), "the holder did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    let dir = std::fs::read_to_string(&file).unwrap();
    let pids: Vec<String> = ["etcd", "kube-apiserver"]
        .iter()
        .map(|name| std::fs::read_to_string(format!("{dir}/run/{name}.pid")).unwrap().trim().to_owned())
        .collect();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let left = || Path::new(&dir).exists() || pids.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists());
    while left() {
        assert!(Instant::now() < deadline, "{dir} or one of {pids:?} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}
