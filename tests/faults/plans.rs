//! Everything that can go wrong at every write of every operation.

use std::{collections::BTreeMap, time::Duration};

use his_operator::api::v1alpha1::HospitalTenant;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};

use super::{
    batch::{Lane, References, Tally, WITNESS, references, settled, stage},
    leaks::{leaks, pieces},
    plan::{Fault, Operation, Plan, product, sample},
    witness::{Witness, summary},
    world::{World, run_alone},
};

/// Hospitals that live at the same time.
const LANES: usize = 48;
/// Hospitals that are deleted while they are made.
const DELETED: usize = 12;
/// So many rounds of them, one after the other, in full mode: more than 3,000 plans.
const ROUNDS_IN_FULL: usize = 10;
/// In which a settled hospital must cost nothing.
const WINDOW: Duration = Duration::from_secs(30);
/// Below what one unanswered request of somebody else would cost a hospital that had to wait for it.
const WORST: Duration = Duration::from_secs(9);

/// Whether thousands of plans are tried, instead of hundreds.
fn is_full() -> bool {
    std::env::var_os("HIS_FULL").is_some()
}

#[test]
fn whatever_goes_wrong_at_whichever_write_the_hospital_becomes_what_it_had_to() {
    let hours = if is_full() { 3 } else { 1 };
    run_alone(Duration::from_secs(hours * 3600), async |world| {
        let references = references(world).await;
        let writes: Vec<_> = references.iter().map(|(operation, one)| (operation.name(), one.writes)).collect();
        eprintln!("writes without faults: {writes:?}");
        let mut tally = Tally::default();
        if let Ok(id) = std::env::var("HIS_PLAN") {
            replay(world, references, id.parse().unwrap(), &mut tally).await;
        } else {
            let mut witness = Witness::open(world, WITNESS).await;
            let calm = summary(witness.edits(8).await);
            let watching = witness.watch();
            for (number, lanes) in rounds(world, references).into_iter().enumerate() {
                eprintln!("round {number}: {} hospitals", lanes.len());
                whole_life(world, references, lanes, &mut tally).await;
            }
            let beside = summary(watching.stop());
            settled(world, &[WITNESS]).await;
            eprintln!("edit → write of a witness, median and worst: alone {calm:.1?}, beside faults {beside:.1?}");
            if beside.0 > calm.0 * 20 + Duration::from_secs(1) || beside.1 > WORST {
                tally.failed("witness", format!("other hospitals suffer: {beside:?} instead of {calm:?}"));
            }
        }
        let table = tally.table();
        println!("{table}");
        std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/faults.txt"), table).unwrap();
        assert!(tally.is_clean(), "some plans failed, see above");
        if std::env::var_os("HIS_PLAN").is_none() {
            let least = if is_full() { 3000 } else { 300 };
            assert!(tally.passed() >= least, "{} plans are fewer than {least}", tally.passed());
            assert!(tally.unreached() * 10 < tally.passed(), "{} plans never came true", tally.unreached());
        }
    });
}

/// Hospitals with their plans, so many at a time as one operator leads.
fn rounds(world: &'static World, references: &References) -> Vec<Vec<Lane>> {
    let mut plans: BTreeMap<Operation, Vec<Plan>> = BTreeMap::new();
    let mut deleted = Vec::new();
    let times = if is_full() { ROUNDS_IN_FULL } else { 1 };
    for (operation, reference) in references {
        let (ending, living): (Vec<Plan>, Vec<Plan>) =
            product(*operation, reference.writes).into_iter().partition(|plan| plan.fault == Fault::Deleted);
        plans.insert(*operation, sample(living, LANES * times));
        deleted.extend(sample(ending, DELETED * times));
    }
    let most = plans.values().map(Vec::len).max().unwrap_or_default();
    let mut rounds: Vec<Vec<Lane>> = Vec::new();
    for number in 0..most {
        let own = plans.values().filter_map(|plans| plans.get(number).copied());
        let lane = Lane::new(world, &format!("lane-{number}"), own);
        if number % LANES == 0 {
            rounds.push(Vec::new());
        }
        rounds.last_mut().unwrap().push(lane);
    }
    let shares = rounds.len();
    for (number, plan) in deleted.into_iter().enumerate() {
        rounds[number % shares].push(Lane::new(world, &format!("short-{number}"), [plan]));
    }
    rounds
}

async fn whole_life(world: &'static World, references: &References, mut lanes: Vec<Lane>, tally: &mut Tally) {
    for (operation, reference) in references {
        stage(world, *operation, &mut lanes, reference, tally).await;
    }
    let mark = world.trace.len();
    tokio::time::sleep(WINDOW).await;
    for lane in &lanes {
        let writes = world.trace.about(&lane.hospital.name, mark);
        if let Some(write) = writes.iter().find(|entry| entry.is_write()) {
            tally.failed(&format!("{:?}", lane.plans), format!("not quiet for {WINDOW:?}: {}", write.words()));
        }
    }
    secrecy(world, tally).await;
    if is_full() {
        for lane in &lanes {
            tidy(lane).await;
        }
    }
}

/// So that the next round has the machine for itself.
async fn tidy(lane: &Lane) {
    if lane.hospital.tenants().get_opt(&lane.hospital.name).await.unwrap().is_some() {
        lane.hospital.delete().await;
    }
}

/// No secret value is in a status, an event or the log.
async fn secrecy(world: &'static World, tally: &mut Tally) {
    let pieces = pieces(&world.admin).await;
    let everything = ListParams::default();
    let tenants = Api::<HospitalTenant>::all(world.admin.clone()).list(&everything).await.unwrap();
    let events = Api::<Event>::all(world.admin.clone()).list(&everything).await.unwrap();
    let texts = [
        ("status", serde_json::to_string(&tenants.items).unwrap()),
        ("event", serde_json::to_string(&events.items).unwrap()),
        ("log", world.log.after(0)),
    ];
    for (what, text) in texts {
        if leaks(&text, &pieces) {
            tally.failed("secrecy", format!("a secret value is in a {what}"));
        }
    }
}

/// One plan alone: everything before its operation goes well.
async fn replay(world: &'static World, references: &References, plan: Plan, tally: &mut Tally) {
    let mut lanes = [Lane::new(world, "replayed-plan", [plan])];
    for (operation, reference) in references.iter().filter(|(operation, _)| **operation <= plan.operation) {
        stage(world, *operation, &mut lanes, reference, tally).await;
    }
    for entry in world.trace.about("replayed-plan", 0).iter().filter(|entry| entry.is_write()) {
        println!("{}", entry.words());
    }
}
