//! An API server that answers nobody for longer than anybody waits.

use std::time::Duration;

use futures::future::{join, join_all};

use super::{
    batch::{Lane, Tally, references, stage},
    plan::Operation,
    world::run_alone,
};

/// Longer than the operator waits for an answer.
const FROZEN: Duration = Duration::from_secs(12);
/// Long enough for an operation to begin, too short for it to end.
const BEGUN: Duration = Duration::from_millis(60);

#[test]
fn every_operation_survives_an_api_server_that_freezes_in_its_midst() {
    run_alone(Duration::from_secs(900), async |world| {
        let references = references(world).await;
        let mut before = Tally::default();
        let mut lanes: Vec<Lane> = Operation::ALL
            .iter()
            .map(|operation| Lane::until(world, &format!("frozen-{}", operation.name()), *operation))
            .collect();
        for operation in Operation::ALL {
            let at = lanes.iter().position(|lane| lane.last() > operation).unwrap_or(lanes.len());
            stage(world, operation, &mut lanes[at..], &references[&operation], &mut before).await;
        }
        assert!(before.is_clean(), "{}", before.table());

        let proxy = world.proxy().await;
        let freeze = async {
            tokio::time::sleep(BEGUN).await;
            proxy.frozen.send_replace(true);
            tokio::time::sleep(FROZEN).await;
            proxy.frozen.send_replace(false);
        };
        let all = lanes.iter_mut().map(async |lane| {
            let (operation, mut tally) = (lane.last(), Tally::default());
            stage(world, operation, std::slice::from_mut(lane), &references[&operation], &mut tally).await;
            tally
        });
        let ((), tallies) = join(freeze, join_all(all)).await;
        let wrong: Vec<String> = tallies.iter().filter(|tally| !tally.is_clean()).map(Tally::table).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}
