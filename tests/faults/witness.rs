//! A hospital with which nothing is wrong, edited again and again while others suffer.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinHandle;

use super::{
    hospital::{DEADLINE, Hospital},
    world::World,
};

/// Between two edits.
const PAUSE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(10);

/// See the module.
pub struct Witness {
    hospital: Hospital,
    edits: usize,
}

impl Witness {
    pub async fn open(world: &'static World, name: &str) -> Self {
        Self { hospital: Hospital::open(world, name).await, edits: 0 }
    }

    /// From an edit to the answer of the first write that it leads to.
    async fn edit(&mut self) -> Result<Duration, String> {
        let world = self.hospital.world;
        self.edits += 1;
        let (mark, started) = (world.trace.len(), Instant::now());
        self.hospital.patch(json!({ "spec": { "parameters": { "language": format!("l{}", self.edits) } } })).await;
        let until = started + DEADLINE;
        while Instant::now() < until {
            let writes = world.trace.about(&self.hospital.name, mark);
            let first = writes.iter().find(|entry| entry.is_done() && entry.address().0 != "hospitaltenants");
            if let Some(ended) = first.and_then(|entry| entry.ended) {
                return Ok(ended.saturating_duration_since(started));
            }
            tokio::time::sleep(POLL).await;
        }
        Err(format!("edit {} of the witness has no effect after {DEADLINE:?}", self.edits))
    }

    /// Several edits, one after the other.
    pub async fn edits(&mut self, count: usize) -> Vec<Duration> {
        let mut took = Vec::new();
        for _ in 0..count {
            took.push(self.edit().await.unwrap());
            tokio::time::sleep(PAUSE).await;
        }
        took
    }

    /// Edits until it is stopped.
    pub fn watch(mut self) -> Watching {
        let took: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let all = Arc::clone(&took);
        let task = tokio::spawn(async move {
            loop {
                // An edit that never has its effect counts as the deadline.
                let one = self.edit().await.unwrap_or(DEADLINE);
                all.lock().unwrap().push(one);
                tokio::time::sleep(PAUSE).await;
            }
        });
        Watching { task, took }
    }
}

/// A witness at work.
pub struct Watching {
    task: JoinHandle<()>,
    took: Arc<Mutex<Vec<Duration>>>,
}

impl Watching {
    pub fn stop(self) -> Vec<Duration> {
        self.task.abort();
        self.took.lock().unwrap().clone()
    }
}

/// Median and worst.
pub fn summary(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() - 1])
}
