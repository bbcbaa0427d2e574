//! Watches that go silent, are refused for as long as it lasts, or end in the middle of an event.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use his_operator::{
    capabilities::kinds,
    objects::kind::{DEPLOYMENT, Kind, SERVICE},
};
use kube::api::DeleteParams;
use serde_json::json;

use super::{
    actor::Fate,
    batch::{references, settled},
    hospital::{DEADLINE, Hospital, eventually, within},
    install::ROUTES,
    plan::Operation,
    shape::{compare, shape},
    stream::WatchFault,
    trace::densest,
    world::{World, run_alone},
};

const FAULTS: [(&str, WatchFault); 4] = [
    ("silent", WatchFault::Silent),
    ("410", WatchFault::Refused(410)),
    ("404", WatchFault::Refused(404)),
    ("torn", WatchFault::Torn),
];
/// How long watches are broken.
const HELD: Duration = Duration::from_secs(5);
/// After which the operator gives a silent watch up.
const SILENCE: Duration = Duration::from_secs(305);
/// More than any backoff asks for in a second.
const HOT: usize = 12;
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether this kind is there, which those of CloudNativePG and Cilium are not.
fn installed(kind: Kind) -> bool {
    kind.crd.is_none_or(|crd| crd == ROUTES)
}

/// Resources that the operator watches.
fn resources() -> Vec<String> {
    let own = ["hospitaltenants", "hospitalplatforms", "hospitalapplications", "customresourcedefinitions", "pods"];
    let kinds = kinds().into_iter().filter(|kind| installed(*kind)).map(|kind| kind.plural);
    let all: BTreeSet<String> = own.into_iter().chain(kinds).map(ToOwned::to_owned).collect();
    all.into_iter().collect()
}

#[test]
fn what_a_broken_watch_missed_is_caught_up_and_nobody_asks_too_often() {
    run_alone(Duration::from_secs(1800), async |world| {
        let expected = &references(world).await[&Operation::Create].shape;
        let standing = Hospital::open(world, "standing-still").await;
        settled(world, &[&standing.name]).await;
        let resources = resources();
        let mut failed = Vec::new();
        for round in 0..FAULTS.len() {
            let broken: BTreeMap<String, (&str, WatchFault)> = resources
                .iter()
                .enumerate()
                .map(|(at, one)| (one.clone(), FAULTS[(at + round) % FAULTS.len()]))
                .collect();
            let newcomer = Hospital::named(world, &format!("newcomer-{round}"));
            let mark = world.trace.len();
            let proxy = world.proxy().await;
            proxy.watches.send_replace(broken.iter().map(|(one, (_, fault))| (one.clone(), *fault)).collect());
            newcomer.create(json!({})).await;
            standing.api(SERVICE).delete("web", &DeleteParams::default()).await.unwrap();
            standing.api(DEPLOYMENT).delete("cron", &DeleteParams::default()).await.unwrap();
            tokio::time::sleep(HELD).await;
            failed.extend(hot(world, mark, &broken));
            proxy.watches.send_replace(BTreeMap::new());
            for hospital in [&newcomer, &standing] {
                let what = format!("round {round}: {} is as without faults", hospital.name);
                let whole = async || {
                    Operation::Create.done(hospital).await?;
                    compare(&shape(hospital).await, expected)
                };
                if let Err(wrong) = within(&what, PATIENCE, whole).await {
                    let cron = hospital.get(DEPLOYMENT, "cron").await.map(|cron| cron.data["status"].clone());
                    failed.push(format!("{wrong}; of the Deployment cron the API server says {cron:?}"));
                }
            }
        }
        eprintln!("{} resources × {} faults", resources.len(), FAULTS.len());
        assert!(failed.is_empty(), "{failed:#?}");
    });
}

#[test]
fn a_kind_that_is_refused_for_ever_holds_up_nothing_but_itself() {
    run_alone(Duration::from_secs(600), async |world| {
        let standing = Hospital::open(world, "standing-beside").await;
        settled(world, &[&standing.name]).await;
        for (round, code) in [410, 404].into_iter().enumerate() {
            let proxy = world.proxy().await;
            proxy.watches.send_replace([("httproutes".to_owned(), WatchFault::Refused(code))].into());
            let newcomer = Hospital::named(world, &format!("routeless-{round}"));
            newcomer.create(json!({})).await;
            // Where users are led cannot be seen, so nobody claims that they have arrived. Everything else is there.
            newcomer.sees(DEPLOYMENT, "cron").await;
            eventually("the release waits for its route", DEADLINE, async || {
                let message = newcomer.shows("ReleaseReady", "False", "Progressing").await;
                if message.starts_with("Cutover") { Ok(()) } else { Err(message) }
            })
            .await;
            standing.api(SERVICE).delete("web", &DeleteParams::default()).await.unwrap();
            standing.sees(SERVICE, "web").await;
            proxy.watches.send_replace(BTreeMap::new());
            newcomer.ready().await;
            standing.ready().await;
        }
    });
}

#[test]
fn an_operator_that_starts_while_watches_are_broken_changes_nothing_before_it_knows_what_is_there() {
    run_alone(Duration::from_secs(600), async |world| {
        let standing = Hospital::open(world, "known-before").await;
        settled(world, &[&standing.name]).await;
        let before = shape(&standing).await;
        let mut failed = Vec::new();
        // What is watched everywhere holds up the whole operator, and what is watched by hospital only the hospital.
        let kinds: [&[&str]; 2] = [&["deployments", "networkpolicies", "secrets"], &["secrets"]];
        for ((name, fault), kinds) in kinds.iter().flat_map(|kinds| FAULTS.map(|fault| (fault, *kinds))) {
            world.suspend().await;
            let mark = world.trace.len();
            let broken: BTreeMap<_, _> = kinds.iter().map(|one| ((*one).to_owned(), fault)).collect();
            let process = world.spawn_with(None, |proxy| drop(proxy.watches.send_replace(broken))).await;
            tokio::time::sleep(HELD).await;
            let writes = world.trace.about(&standing.name, mark);
            // That it cannot be seen is told.
            let told = |resource: &str| ["hospitaltenants", "events"].contains(&resource);
            let write = writes.iter().find(|entry| entry.is_write() && !told(&entry.address().0));
            // An API server that says it has no such kind is believed; what is applied again is applied unchanged.
            if let (Some(write), true) = (write, name != "404") {
                failed.push(format!("{name} of {kinds:?}: {}", write.words()));
            }
            process.kill();
            world.resume().await;
            standing.ready().await;
            settled(world, &[&standing.name]).await;
            failed.extend(compare(&shape(&standing).await, &before).err().map(|wrong| format!("{name}: {wrong}")));
        }
        assert!(failed.is_empty(), "{failed:#?}");
    });
}

#[test]
fn status_goes_back_to_what_it_was_although_news_of_hospitals_do_not_arrive() {
    run_alone(Duration::from_secs(600), async |world| {
        let hospital = Hospital::open(world, "there-and-back").await;
        settled(world, &[&hospital.name]).await;
        let proxy = world.proxy().await;
        proxy.watches.send_replace([("hospitaltenants".to_owned(), WatchFault::Silent)].into());
        world.actor.decide(&hospital.name, Fate { deployments: false, ..Fate::default() }).await;
        hospital.api(DEPLOYMENT).delete("cron", &DeleteParams::default()).await.unwrap();
        hospital.shows("Ready", "False", "Progressing").await;
        world.actor.decide(&hospital.name, Fate::default()).await;
        hospital.ready().await;
        proxy.watches.send_replace(BTreeMap::new());
        settled(world, &[&hospital.name]).await;
        hospital.ready().await;
    });
}

/// Only with all plans: it takes as long as the API server takes to end a watch.
#[test]
fn a_watch_that_is_silent_for_ever_is_given_up_after_five_minutes() {
    if std::env::var_os("HIS_FULL").is_none() {
        return;
    }
    run_alone(SILENCE * 3, async |world| {
        let standing = Hospital::open(world, "without-news").await;
        settled(world, &[&standing.name]).await;
        let mark = world.trace.len();
        let proxy = world.proxy().await;
        let resource = "services".to_owned();
        proxy.watches.send_replace([(resource.clone(), WatchFault::Silent)].into());
        let again = || world.trace.select(mark, |entry| entry.path.ends_with("/services") && entry.method == "GET");
        let patience = SILENCE + Duration::from_secs(60);
        eventually("services are watched again", patience, async || {
            (!again().is_empty()).then_some(()).ok_or("nobody has asked again".to_owned())
        })
        .await;
        proxy.watches.send_replace(BTreeMap::new());
        standing.api(SERVICE).delete("web", &DeleteParams::default()).await.unwrap();
        standing.sees(SERVICE, "web").await;
    });
}

/// Paths that were asked for too often while their watch was broken.
fn hot(world: &World, mark: usize, broken: &BTreeMap<String, (&str, WatchFault)>) -> Vec<String> {
    let mut asked: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    for entry in world.trace.select(mark, |entry| entry.method == "GET") {
        asked.entry(entry.path).or_default().push(entry.began);
    }
    let often = asked.into_iter().map(|(path, moments)| (path, densest(moments))).filter(|(_, most)| *most > HOT);
    often
        .map(|(path, most)| {
            let fault = path.rsplit('/').next().and_then(|resource| broken.get(resource)).map(|(name, _)| *name);
            format!("watch/{fault:?}: {path} was asked for {most} times in a second")
        })
        .collect()
}
