//! Two replicas, one lease: only the leader writes, and the next one takes over.

use super::{
    hospital::Hospital,
    install::candidate,
    world::{Process, World, run_alone},
};

#[test]
fn only_the_leader_writes_and_the_next_replica_takes_over_after_its_end_or_its_crash() {
    run_alone(async |world| {
        world.suspend().await;
        let (a, b) = (replica(world, "a"), replica(world, "b"));
        Hospital::open(world, "led-first").await;
        let (leader, follower) = if a.gate.writes("led-first") > 0 { (a, b) } else { (b, a) };
        assert!(leader.gate.writes("led-first") > 0);
        assert_eq!(follower.gate.all_writes(), 0, "a follower has written");

        // Told to end, it gives the lease away.
        leader.stop().await;
        Hospital::open(world, "led-second").await;
        assert!(follower.gate.writes("led-second") > 0);
        let third = replica(world, "c");

        // A crash gives nothing away: the lease has to run out first.
        let crashed = follower.gate.clone();
        follower.kill();
        let before = crashed.all_writes();
        Hospital::open(world, "led-third").await;
        assert!(third.gate.writes("led-third") > 0);
        assert_eq!(crashed.all_writes(), before);
        third.stop().await;
        world.resume().await;
        Hospital::named(world, "led-third").settles().await;
    });
}

fn replica(world: &World, identity: &str) -> Process {
    world.spawn(Some(candidate(identity)))
}
