//! What a contestant does when nothing happens, when something changes, and after its death.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::arena::{Arena, namespace};
use super::clocked::Clocked;
use super::model::{Latency, Restart, Steady};
use super::options;
use super::trail::{now, seconds, time};
use crate::progress::Step;

/// Longest wait for an answer to one edit.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait after a death: a lease has to run out first.
const REVIVAL: Duration = Duration::from_secs(180);
/// Answers that may be missing before there is no use in going on.
const MISSES: usize = 3;

/// What is done to a hospital.
#[derive(Clone, Copy)]
enum Cause {
    Edit,
    Drift,
}

/// Measures idleness, edits, drift and restart, in this order; the process is dead afterwards.
pub(super) async fn measure(
    arena: &mut Arena,
    process: Clocked,
    names: &[String],
    plan: options::Steady,
    step: &Step,
) -> Result<Steady> {
    step.note(format!("counting idle requests for {} s", plan.idle.as_secs()));
    let mark = arena.trail.read()?;
    tokio::time::sleep(plan.idle).await;
    arena.trail.read()?;
    let idle = arena.trail.count(mark);
    step.note("edits");
    let edit = latency(arena, names, Cause::Edit, plan.samples).await?;
    step.note("drift");
    let drift = latency(arena, names, Cause::Drift, plan.samples).await?;
    step.note("kill -9 and start");
    let restart = restart(arena, process, names).await?;
    Ok(Steady { idle, edit, drift, restart })
}

async fn latency(arena: &mut Arena, names: &[String], cause: Cause, samples: usize) -> Result<Latency> {
    let mut times = Vec::new();
    let mut missed = 0;
    for (number, tenant) in names.iter().cycle().take(samples).enumerate() {
        // Each cause meets a contestant that rests.
        let mark = arena.trail.read()?;
        match cause {
            Cause::Edit => arena.edit(tenant, &format!("edit-{number}.{tenant}.example.org")).await?,
            Cause::Drift => arena.drift(tenant).await?,
        }
        match answered(arena, mark, tenant, PATIENCE).await? {
            Some(seconds) => times.push(1000.0 * seconds),
            None => missed += 1,
        }
        if missed >= MISSES {
            break;
        }
        let mark = arena.trail.read()?;
        arena.quiet(mark, Duration::from_millis(50), Duration::from_secs(2)).await?;
    }
    let samples = times.len() + missed;
    Ok(Latency { samples, missed, p50_ms: quantile(&mut times, 0.50), p99_ms: quantile(&mut times, 0.99) })
}

/// Seconds from when somebody's change came in until the contestant's write of the route was answered.
async fn answered(arena: &mut Arena, mark: usize, tenant: &str, patience: Duration) -> Result<Option<f64>> {
    let (user, place) = (arena.trail.user().to_owned(), namespace(tenant));
    let write = arena.trail.wait(mark, patience, |event| {
        event.user == user
            && event.is_write()
            && event.code < 300
            && event.resource == "httproutes"
            && event.namespace == place
    });
    let Some(write) = write.await? else { return Ok(None) };
    let changed = arena.trail.since(mark).iter().find(|event| event.user == "admin" && event.verb == "patch");
    let changed = changed.context("the change itself is not in the audit log")?;
    Ok(Some(seconds(time(&changed.received)?, time(&write.answered)?)))
}

async fn restart(arena: &mut Arena, process: Clocked, names: &[String]) -> Result<Restart> {
    let Some(tenant) = names.first() else { bail!("there is no hospital") };
    arena.quiet(0, Duration::from_secs(2), Duration::from_secs(60)).await?;
    let mark = arena.trail.read()?;
    process.kill()?;
    let killed = now();
    arena.edit(tenant, &format!("while-dead.{tenant}.example.org")).await?;
    let _successor = arena.again()?;
    let (user, place) = (arena.trail.user().to_owned(), namespace(tenant));
    let carried_out = arena.trail.wait(mark, REVIVAL, |event| {
        event.user == user
            && event.is_write()
            && event.code < 300
            && event.resource == "httproutes"
            && event.namespace == place
    });
    let Some(carried_out) = carried_out.await? else {
        bail!("an edit was not carried out within {} s after a restart", REVIVAL.as_secs());
    };
    arena.quiet(mark, Duration::from_secs(3), Duration::from_secs(60)).await?;
    let lease = arena.trail.own(mark).find(|event| event.resource == "leases" && event.is_write() && event.code < 300);
    let lease_seconds = lease.map_or(Ok(0.0), |lease| time(&lease.answered).map(|at| seconds(killed, at)))?;
    let needless = arena.trail.own(mark).filter(|event| {
        let its = event.namespace == place || event.name == *tenant;
        event.is_write() && event.resource != "leases" && !its
    });
    Ok(Restart {
        caught_up_seconds: seconds(killed, time(&carried_out.answered)?),
        lease_seconds,
        needless: needless.count(),
    })
}

/// Nearest-rank quantile.
fn quantile(times: &mut [f64], part: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among at most a few thousand"
    )]
    let rank = (part * times.len() as f64).ceil() as usize;
    times.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let mut times: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert!((quantile(&mut times, 0.5) - 100.0).abs() < f64::EPSILON);
        assert!((quantile(&mut times, 0.99) - 198.0).abs() < f64::EPSILON);
        assert!((quantile(&mut [7.0], 0.99) - 7.0).abs() < f64::EPSILON);
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
