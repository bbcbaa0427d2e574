//! Two replicas and one lease, when the leader's way to the API server freezes.

use std::time::Duration;

use his_operator::operator::Error;
use serde_json::json;

use super::{
    hospital::{DEADLINE, Hospital, eventually},
    install::candidate,
    plan::Operation,
    trace::Entry,
    world::{Process, World, run_alone},
};

#[test]
fn a_leader_that_no_longer_gets_through_ends_before_anything_of_it_arrives_after_its_successors_first_write() {
    run_alone(Duration::from_secs(600), async |world| {
        world.suspend().await;
        let (a, b) = (replica(world, "a").await, replica(world, "b").await);
        let hospital = Hospital::open(world, "led").await;
        let led_by = |process: &Process| {
            world
                .trace
                .about(&hospital.name, 0)
                .iter()
                .any(|entry| entry.is_write() && entry.process == process.proxy.process)
        };
        let (mut leader, follower) = if led_by(&a) { (a, b) } else { (b, a) };
        assert!(!led_by(&follower), "a follower has written");

        // The edit is on its way when nothing gets through any more.
        let mark = world.trace.len();
        leader.proxy.frozen.send_replace(true);
        hospital.patch(json!({ "spec": { "parameters": { "language": "fr" } } })).await;
        eventually("the successor has made the edit", DEADLINE, async || Operation::Edit.done(&hospital).await).await;
        leader.proxy.frozen.send_replace(false);
        let old = leader.proxy.process;
        let ended = tokio::time::timeout(DEADLINE, &mut leader.ended).await.expect("the old leader goes on").unwrap();
        leader.kill();
        assert!(matches!(ended, Err(Error::LoseLease(_))), "{ended:?}");

        let done: Vec<Entry> = world.trace.about(&hospital.name, mark).into_iter().filter(Entry::is_done).collect();
        let first = done.iter().filter(|entry| entry.process != old).filter_map(|entry| entry.ended).min().unwrap();
        let late: Vec<_> = done.iter().filter(|entry| entry.process == old && entry.ended > Some(first)).collect();
        assert!(late.is_empty(), "{:?}", late.iter().map(|entry| entry.words()).collect::<Vec<_>>());
        follower.stop().await;
        world.resume().await;
        hospital.ready().await;
    });
}

async fn replica(world: &World, identity: &str) -> Process {
    world.spawn(Some(candidate(identity))).await
}
