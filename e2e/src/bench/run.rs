//! One contestant makes the objects of a number of hospitals.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::arena::Arena;
use super::children::Children;
use super::clocked::{Clocked, Usage};
use super::contestant::{CONCURRENCY, Contestant, Program};
use super::model::Run;
use super::options::Steady;
use super::trail::{Missing, seconds, time};
use super::{helm, steady};
use crate::progress::{self, Step};

/// Silence after which a contestant counts as settled.
const SETTLED: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(100);

/// Runs one contestant on a control plane of its own.
pub(super) async fn measure(
    program: &Program,
    children: &Children,
    tenants: usize,
    then: Option<Steady>,
) -> Result<Run> {
    let step = progress::step(format!("{} with {tenants} hospitals", program.contestant));
    step.note("starting a control plane");
    let mut arena = Arena::open(program, children).await?;
    let names: Vec<String> = (1..=tenants).map(|number| format!("bench-{number:04}")).collect();
    let run = match program.contestant {
        Contestant::HisOperator | Contestant::ControllerRuntime | Contestant::Kro => {
            controller(&mut arena, children, &names, then, &step).await?
        }
        Contestant::Raw => {
            let mark = arena.trail.read()?;
            let arguments = [
                "bench-raw".to_owned(),
                format!("--children={}", arena.scratch("children.json").display()),
                format!("--tenants={tenants}"),
                format!("--concurrency={CONCURRENCY}"),
            ];
            step.note("writing");
            let usage = arena.start(&arguments)?.finish().await?;
            once(&mut arena, children, &names, (mark, usage))?
        }
        Contestant::Helm => {
            let mark = arena.trail.read()?;
            let usage = helm::install(&arena, children, &names, &step).await?;
            once(&mut arena, children, &names, (mark, usage))?
        }
    };
    step.done();
    Ok(run)
}

fn expected(children: &Children, names: &[String]) -> Missing {
    Missing::new(names.iter().flat_map(|name| children.places(name)).collect::<HashSet<_>>())
}

/// What a contestant has done that has ended by itself.
fn once(arena: &mut Arena, children: &Children, names: &[String], (mark, usage): (usize, Usage)) -> Result<Run> {
    arena.trail.read()?;
    let mut missing = expected(children, names);
    arena.trail.own(mark).for_each(|event| missing.seen(event));
    let first = arena.trail.own(mark).next().context("it asked for nothing")?;
    let wall_seconds = wall(&first.received, &missing)?;
    finish(arena, mark, names, usage, wall_seconds)
}

fn wall(first: &str, missing: &Missing) -> Result<f64> {
    if missing.count() > 0 {
        bail!("{} of {} objects were not made, for example {}", missing.count(), missing.all, missing.some());
    }
    let last = missing.last.as_deref().context("there is nothing to make")?;
    Ok(seconds(time(first)?, time(last)?))
}

fn finish(arena: &Arena, mark: usize, names: &[String], usage: Usage, wall_seconds: f64) -> Result<Run> {
    let program = arena.program();
    Ok(Run {
        contestant: program.contestant,
        tenants: names.len(),
        wall_seconds,
        requests: arena.trail.count(mark),
        needed_writes: names.len() * (arena.children() + program.contestant.extra_writes()),
        cpu_seconds: usage.cpu_seconds,
        peak_mib: usage.peak_mib,
        settled_mib: None,
        cold_start_ms: None,
        binary_mib: program.mib()?,
        steady: None,
    })
}

/// A contestant that keeps running.
async fn controller(
    arena: &mut Arena,
    children: &Children,
    names: &[String],
    then: Option<Steady>,
    step: &Step,
) -> Result<Run> {
    step.note("starting it");
    let (mut process, cold_start_ms) = arena.enter().await?;
    let before = process.usage()?;
    let mark = arena.trail.read()?;
    arena.create(names).await?;
    let mut missing = expected(children, names);
    all_made(arena, &mut process, mark, (&mut missing, step)).await?;
    let hospitals = arena.hospitals().to_owned();
    let created = |event: &&crate::control_plane::AuditEvent| event.verb == "create" && event.resource == hospitals;
    let first = arena.trail.since(mark).iter().find(created).context("no hospital was created")?;
    let wall_seconds = wall(&first.received.clone(), &missing)?;
    step.note("all objects are there; waiting until it is silent");
    arena.quiet(mark, SETTLED, Duration::from_secs(120)).await?;
    let after = process.usage()?;
    let usage = Usage { cpu_seconds: after.cpu_seconds - before.cpu_seconds, ..after };
    let mut run = finish(arena, mark, names, usage, wall_seconds)?;
    run.settled_mib = Some(after.now_mib);
    run.cold_start_ms = Some(cold_start_ms);
    if let Some(then) = then {
        run.steady = Some(steady::measure(arena, process, names, then, step).await?);
    }
    Ok(run)
}

async fn all_made(
    arena: &mut Arena,
    process: &mut Clocked,
    mut mark: usize,
    (missing, step): (&mut Missing, &Step),
) -> Result<()> {
    let started = Instant::now();
    let patience = Duration::from_secs(1200);
    loop {
        let read = arena.trail.read()?;
        arena.trail.own(mark).for_each(|event| missing.seen(event));
        mark = read;
        if missing.count() == 0 {
            return Ok(());
        }
        process.usage()?;
        step.note(format!("{} of {} objects", missing.all - missing.count(), missing.all));
        if started.elapsed() > patience {
            let waited = patience.as_secs();
            bail!("{} of {} objects are missing after {waited} s: {}", missing.count(), missing.all, missing.some());
        }
        tokio::time::sleep(LOOK).await;
    }
}
