//! Many hospitals, one operator: each is led through its whole life, with one plan per operation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::{Duration, Instant},
};

use his_operator::{names, objects::kind::CONFIG_MAP};
use kube::ResourceExt;
use serde_json::json;
use tokio::sync::OnceCell;

use super::{
    hospital::{DEADLINE, Hospital, within},
    install,
    oracle::{self, Declared, Evidence},
    plan::{Fault, Operation, Plan},
    shape::{Shape, compare, shape, shape_of},
    steps::conditions,
    world::World,
};

/// For all hospitals of one operation together, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long nothing is asked for before a hospital counts as settled.
const SETTLED: Duration = Duration::from_secs(1);

/// The one hospital that is edited while others suffer.
pub const WITNESS: &str = "witness";

/// An operation without faults.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    pub writes: usize,
    pub shape: Shape,
    conditions: Vec<String>,
    declared: Declared,
}

/// All operations without faults.
pub type References = BTreeMap<Operation, Reference>;

/// One hospital and what goes wrong with it.
pub struct Lane {
    pub hospital: Hospital,
    pub plans: BTreeMap<Operation, Plan>,
    /// After this one it stays as it is.
    last: Operation,
    /// UID of the custom resource that it has or had last.
    uid: Option<String>,
    /// What ended its life before its time.
    over: Option<Plan>,
}

/// How plans ended.
#[derive(Debug, Default)]
pub struct Tally {
    passed: Vec<Plan>,
    /// The operation was over before the moment came.
    unreached: Vec<Plan>,
    failed: Vec<(String, String)>,
}

impl Lane {
    pub fn new(world: &'static World, name: &str, plans: impl IntoIterator<Item = Plan>) -> Self {
        let plans: BTreeMap<Operation, Plan> = plans.into_iter().map(|plan| (plan.operation, plan)).collect();
        let last = plans.keys().max().copied().unwrap_or(Operation::Recreate);
        Self { hospital: Hospital::named(world, name), plans, last, uid: None, over: None }
    }

    /// Nothing goes wrong with it alone, and it is led so far.
    pub fn until(world: &'static World, name: &str, last: Operation) -> Self {
        Self { last, ..Self::new(world, name, []) }
    }

    pub fn last(&self) -> Operation {
        self.last
    }

    /// What is left of it after an operation.
    async fn ended(&mut self, operation: Operation, reached: bool) {
        let plan = self.plans.get(&operation).copied();
        if plan.is_some_and(|plan| plan.fault == Fault::Deleted) && reached {
            self.over = plan;
        } else {
            self.uid = uid_of(&self.hospital).await.or(self.uid.take());
        }
    }

    fn name(&self) -> &str {
        &self.hospital.name
    }

    fn title(&self, operation: Operation) -> String {
        self.plans.get(&operation).map_or_else(|| format!("{}/no-fault", operation.name()), ToString::to_string)
    }
}

/// What each operation needs; found out once.
pub async fn references(world: &'static World) -> &'static References {
    static REFERENCES: OnceCell<References> = OnceCell::const_new();
    let found = REFERENCES.get_or_init(async || {
        let references = reference(world, "uninterrupted").await;
        like_new(world, &references).await;
        references
    });
    found.await
}

/// What became of a hospital step by step is what it would have been from the start, and what is somebody else's stays.
async fn like_new(world: &'static World, references: &References) {
    let hospital = Hospital::named(world, "made-at-once");
    let spec = Operation::Recreate.whole_spec(&hospital.name);
    hospital.create(json!({ "spec": spec })).await;
    hospital.shows("Ready", "True", "Proved").await;
    settled(world, &[&hospital.name]).await;
    // Which steps have run differs between those who began with another version.
    let history = |mut shape: Shape| {
        shape.retain(|at, _| !at.starts_with("Job/") && !at.ends_with("/release-ledger"));
        shape
    };
    let grown = history(references[&Operation::Upgrade].shape.clone());
    compare(&grown, &history(shape(&hospital).await)).unwrap();

    let stranger = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "somebody-elses", "namespace": hospital.namespace(),
            "labels": { names::MANAGED_BY: names::PRODUCT, names::TENANT: hospital.name },
            "annotations": { names::TENANT_UID: "somebody" },
        },
    });
    install::apply(&world.admin, &stranger).await;
    hospital.patch(json!({ "spec": { "parameters": { "language": "de" } } })).await;
    within("an edit beside a stranger", PATIENCE, async || Operation::Edit.done(&hospital).await).await.unwrap();
    settled(world, &[&hospital.name]).await;
    assert!(hospital.get(CONFIG_MAP, "somebody-elses").await.is_some(), "what is somebody else's was removed");
}

/// Leads one hospital through all operations and writes down what each needs.
async fn reference(world: &'static World, name: &str) -> References {
    let mut lane = Lane::new(world, name, []);
    let mut references = References::new();
    let mut declared = Declared::default();
    for operation in Operation::ALL {
        let mark = world.trace.len();
        operation.start(&lane.hospital, lane.uid.as_deref()).await;
        within(operation.name(), DEADLINE, async || operation.done(&lane.hospital).await).await.unwrap();
        quiet(world, &[lane.name()], DEADLINE).await.unwrap();
        let entries = world.trace.about(lane.name(), mark);
        for (address, bodies) in oracle::bodies(&entries, lane.name()) {
            declared.bodies.entry(address).or_default().extend(bodies);
        }
        declared.states = world.states.of(lane.name());
        declared.requests = entries.len();
        declared.written = oracle::written(&entries);
        let objects = world.everything().await.remove(lane.name()).unwrap_or_default();
        references.insert(
            operation,
            Reference {
                writes: entries.iter().filter(|entry| entry.is_write()).count(),
                shape: shape_of(lane.name(), &objects),
                conditions: conditions(&lane.hospital).await,
                declared: declared.clone(),
            },
        );
        lane.uid = uid_of(&lane.hospital).await.or(lane.uid);
    }
    references
}

/// Leads all hospitals through one operation and judges each.
pub async fn stage(
    world: &'static World,
    operation: Operation,
    lanes: &mut [Lane],
    reference: &Reference,
    tally: &mut Tally,
) {
    let (started, mark) = (Instant::now(), world.trace.len());
    let proxy = world.proxy().await;
    let goes_on = |lane: &&mut Lane| lane.over.is_none() && lane.last >= operation;
    let mut alive: Vec<&mut Lane> = lanes.iter_mut().filter(goes_on).collect();
    for lane in &alive {
        if let Some(plan) = lane.plans.get(&operation) {
            proxy.arm(lane.name(), *plan);
        }
        operation.start(&lane.hospital, lane.uid.as_deref()).await;
    }
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut cut = BTreeSet::new();
    for lane in &alive {
        let (plan, name) = (lane.plans.get(&operation), lane.name());
        let what = format!("{name} is led through {}", lane.title(operation));
        let ended = within(&what, left(started), async || match plan.map(|plan| plan.fault) {
            Some(Fault::Kill) if proxy.fired(name).is_some() => Ok(true),
            Some(Fault::Deleted) if proxy.fired(name).is_some() => {
                Operation::Delete.done(&lane.hospital).await.map(|()| false)
            }
            _ => operation.done(&lane.hospital).await.map(|()| false),
        });
        match ended.await {
            Ok(true) => drop(cut.insert(name.to_owned())),
            Ok(false) => {}
            Err(failure) => wrong.entry(name.to_owned()).or_default().push(failure),
        }
    }
    let reached: BTreeSet<String> =
        alive.iter().filter(|lane| proxy.fired(lane.name()).is_some()).map(|lane| lane.name().to_owned()).collect();
    let done: Vec<&str> = alive.iter().map(|lane| lane.name()).filter(|name| !cut.contains(*name)).collect();
    settled(world, &done).await;
    if !cut.is_empty() {
        restart(world, operation, &alive, (&cut, &mut wrong)).await;
    }
    for lane in &mut alive {
        lane.ended(operation, reached.contains(lane.name())).await;
        proxy.disarm(lane.name());
    }
    let whole: Vec<&str> = alive.iter().map(|lane| lane.name()).collect();
    settled(world, &whole).await;
    compared(world, operation, &alive, reference, &mut wrong).await;
    let hospitals = alive.len();
    for lane in alive {
        let found = traced(world, operation, lane, reference, mark);
        let wrong = wrong.entry(lane.name().to_owned()).or_default();
        wrong.extend(found);
        tally.count(operation, lane, reached.contains(lane.name()), wrong);
    }
    eprintln!(
        "{:<9} {} hospitals, {} restarted, after {:.1?}",
        operation.name(),
        hospitals,
        cut.len(),
        started.elapsed()
    );
}

/// The next process finishes what the last one could not, and writes nothing else.
async fn restart(
    world: &'static World,
    operation: Operation,
    lanes: &[&mut Lane],
    (cut, wrong): (&BTreeSet<String>, &mut BTreeMap<String, Vec<String>>),
) {
    let (started, mark) = (Instant::now(), world.trace.len());
    world.crash_and_restart().await;
    for lane in lanes.iter().filter(|lane| cut.contains(lane.name())) {
        let what = format!("{} is finished by the next process", lane.title(operation));
        let ended = within(&what, left(started), async || operation.done(&lane.hospital).await).await;
        if let Err(failure) = ended {
            wrong.entry(lane.name().to_owned()).or_default().push(failure);
        }
    }
    // Whatever is settled, in this test or in others, costs nothing; only the witness is edited all the time.
    let others = |tenant: &str| !cut.contains(tenant) && tenant != WITNESS;
    let paid = world.trace.select(mark, |entry| entry.is_write() && entry.tenant.as_deref().is_some_and(others));
    for write in paid {
        let failure = format!("a restart is not free: {}", write.words());
        let tenant = write.tenant.unwrap_or_default();
        let (tenant, failure) = if lanes.iter().any(|lane| lane.name() == tenant) {
            (tenant, failure)
        } else {
            (lanes[0].name().to_owned(), format!("{failure} (of {tenant})"))
        };
        wrong.entry(tenant).or_default().push(failure);
    }
}

fn left(started: Instant) -> Duration {
    PATIENCE.saturating_sub(started.elapsed()).max(Duration::from_secs(1))
}

/// Waits until nobody asks for anything about these hospitals. Who is still busy then fails its own oracles.
pub async fn settled(world: &World, names: &[&str]) {
    let _busy = quiet(world, names, PATIENCE).await;
}

/// Waits until nobody asks for anything about these hospitals, at most that long.
async fn quiet(world: &World, names: &[&str], patience: Duration) -> Result<(), String> {
    let names: BTreeSet<&str> = names.iter().copied().collect();
    let about = |tenant: Option<&str>| tenant.is_some_and(|tenant| names.contains(tenant));
    let mut seen = (world.trace.len(), Instant::now());
    within("everybody settles", patience, async || {
        let now = world.trace.len();
        if !world.trace.select(seen.0, |entry| about(entry.tenant.as_deref())).is_empty() {
            seen.1 = Instant::now();
        }
        seen.0 = now;
        (seen.1.elapsed() > SETTLED).then_some(()).ok_or("there are still requests".to_owned())
    })
    .await
}

async fn uid_of(hospital: &Hospital) -> Option<String> {
    hospital.tenants().get_opt(&hospital.name).await.unwrap().and_then(|resource| resource.uid())
}

/// End states: as without faults, owned, and truly reported.
async fn compared(
    world: &World,
    operation: Operation,
    lanes: &[&mut Lane],
    reference: &Reference,
    wrong: &mut BTreeMap<String, Vec<String>>,
) {
    let everything = world.everything().await;
    for lane in lanes {
        let objects = everything.get(lane.name()).cloned().unwrap_or_default();
        let wrong = wrong.entry(lane.name().to_owned()).or_default();
        if lane.over.is_some() {
            wrong.extend(oracle::orphans(&objects));
            continue;
        }
        if operation == Operation::Delete {
            wrong.extend(oracle::orphans(&objects));
        }
        wrong.extend(compare(&shape_of(lane.name(), &objects), &reference.shape).err());
        let told = conditions(&lane.hospital).await;
        if told != reference.conditions {
            wrong.push(format!("status says {told:?}, without faults {:?}", reference.conditions));
        }
        if let (Some(uid), true) = (&lane.uid, operation != Operation::Pause) {
            wrong.extend(oracle::ownerless(&objects, uid));
        }
    }
}

fn traced(world: &World, operation: Operation, lane: &Lane, reference: &Reference, mark: usize) -> Vec<String> {
    let (entries, life) = (world.trace.about(lane.name(), mark), world.trace.about(lane.name(), 0));
    oracle::judge(&Evidence {
        tenant: lane.name(),
        operation,
        plan: lane.plans.get(&operation).copied(),
        entries: &entries,
        life: &life,
        states: world.states.of(lane.name()),
        declared: &reference.declared,
    })
}

impl Tally {
    fn count(&mut self, operation: Operation, lane: &mut Lane, reached: bool, wrong: &[String]) {
        let title = lane.title(operation);
        for wrong in wrong {
            eprintln!("FAILED {title} ({}): {wrong}", lane.name());
            self.failed.push((title.clone(), wrong.clone()));
        }
        let Some(plan) = lane.plans.get(&operation).copied() else { return };
        if !wrong.is_empty() {
            // What comes after would only fail for the same reason.
            lane.over = Some(plan);
        } else if reached {
            self.passed.push(plan);
        } else {
            self.unreached.push(plan);
        }
    }

    /// One more thing that went wrong with a plan.
    pub fn failed(&mut self, title: &str, wrong: String) {
        eprintln!("FAILED {title}: {wrong}");
        self.failed.push((title.to_owned(), wrong));
    }

    pub fn passed(&self) -> usize {
        self.passed.len()
    }

    pub fn unreached(&self) -> usize {
        self.unreached.len()
    }

    /// Operation by fault: how many passed and failed; then each failure with how to see it again.
    pub fn table(&self) -> String {
        let mut cells: BTreeMap<(Fault, Operation), (usize, BTreeSet<String>)> = BTreeMap::new();
        for plan in &self.passed {
            cells.entry((plan.fault, plan.operation)).or_default().0 += 1;
        }
        for plan in self.failed.iter().filter_map(|(title, _)| title.parse::<Plan>().ok()) {
            cells.entry((plan.fault, plan.operation)).or_default().1.insert(plan.to_string());
        }
        let faults: BTreeSet<Fault> = cells.keys().map(|(fault, _)| *fault).collect();
        let mut table = format!("{:<10}", "fault");
        for operation in Operation::ALL {
            write!(table, "{:>11}", operation.name()).unwrap();
        }
        for fault in faults {
            write!(table, "\n{:<10}", fault.to_string()).unwrap();
            for operation in Operation::ALL {
                let cell = cells.get(&(fault, operation)).map_or_else(String::new, |(passed, failed)| {
                    if failed.is_empty() { passed.to_string() } else { format!("{passed}, {} FAIL", failed.len()) }
                });
                write!(table, "{cell:>11}").unwrap();
            }
        }
        let failed: BTreeSet<&String> = self.failed.iter().map(|(title, _)| title).collect();
        write!(table, "\n{} passed, {} failed, {} too late", self.passed.len(), failed.len(), self.unreached.len())
            .unwrap();
        for (title, wrong) in &self.failed {
            write!(
                table,
                "\n{title}: {wrong}\n  again: HIS_PLAN={title} cargo test -p his-operator --test faults plans"
            )
            .unwrap();
        }
        table
    }

    pub fn is_clean(&self) -> bool {
        self.failed.is_empty()
    }
}
