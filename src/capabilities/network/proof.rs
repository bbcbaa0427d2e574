//! Proof by trying: pods connect to what they may and to what they may not, from every place that there is.
//!
//! Guarantees: nothing counts as proved unless the very policies that are in place were tried, from all places, an allowed
//! connection opened from each of them at the same time, and the trial is not old. What opened at one place is told at once.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PodReadinessGate, PodTemplateSpec},
};
use kube::{ResourceExt, core::DynamicObject};
use serde::{Deserialize, Serialize};

use super::{
    graph,
    tries::{self, Place, Try},
};
use crate::{
    api::v1alpha1::{NetworkGap, NetworkProof, NetworkStatus},
    capabilities::{
        Capability, Contributions, Flow, Input,
        job::{agent, agents, job},
        network::Network,
        pod::Pod,
        release,
    },
    conditions::{Reason, Verdict},
    names,
    objects::{Desired, Object, Ref, digest, kind},
    tenant::Tenant,
};

/// Component of the probe's pods, and their identity.
pub const PROBE: &str = "network-probe";
/// How trials are made; another one proves something else.
const SCHEME: u8 = 2;
/// Between two trials of the same policies.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// After a trial that found something open or proved nothing, or after which somebody has touched a policy.
const AGAIN: TimeDelta = TimeDelta::minutes(1);
/// After that a trial proves nothing any more.
const FRESH: TimeDelta = TimeDelta::hours(2);
/// Most seconds of a trial: five rounds of a few seconds each, and an image that has to be pulled.
const SECONDS: i64 = 180;
/// A trial without a report is tried again after this time.
const KEPT_SECONDS: i32 = 300;
/// Connections that a report names, and status; the kubelet keeps 4 KiB.
pub const NAMED: usize = 16;
/// Places that are named for one connection.
const PLACES: usize = 4;
/// What came of all tries; the agent's termination message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Forbidden connections that did not open.
    pub refused: i32,
    /// Forbidden connections that opened.
    pub opened: Vec<String>,
    /// Allowed connections that did not open, and names without an address.
    pub unreached: Vec<String>,
}

/// What is known of policies, and whether it is time to try them.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What was found when these very policies were tried.
    pub proof: Option<NetworkProof>,
    /// Names of the Jobs that try them, and whence, while there are any.
    jobs: Vec<(String, Place)>,
}

/// Whether a policy stays between two releases. Those for the Jobs that ask during one come and go with it.
pub fn is_lasting(name: &str) -> bool {
    !name.split('.').any(release::is_asker)
}

/// Whether it is a policy that lasts. Those that Cilium has beside them are for names only.
fn is_tried(at: &Ref) -> bool {
    at.kind == kind::NETWORK_POLICY && is_lasting(&at.name)
}

/// Digest of policies, by name and digest, and of what is tried. Nothing of the trial depends on where names lead, which changes by
/// itself.
fn digest_of<'a>(tenant: &Tenant, policies: impl Iterator<Item = (&'a Ref, String)>) -> String {
    let lasting = policies.map(|(at, digest)| {
        let name = at.name.as_str();
        (name, if graph::follows_names(name) { String::new() } else { digest })
    });
    digest(&(SCHEME, tries::places(tenant), tries::receivers(tenant), lasting.collect::<BTreeMap<_, _>>()))
}

/// As they are wanted.
pub fn of_wanted<'a>(tenant: &Tenant, policies: impl IntoIterator<Item = &'a Object>) -> String {
    let tried = policies.into_iter().filter(|policy| is_tried(&policy.at));
    digest_of(tenant, tried.map(|policy| (&policy.at, policy.digest())))
}

/// As they are in the cluster.
pub fn of_observed(input: Input<'_>) -> String {
    let digest = |live: &DynamicObject| live.annotations().get(names::DESIRED).cloned().unwrap_or_default();
    let tried = input.observed.objects.iter().filter(|(at, _)| is_tried(at));
    digest_of(input.tenant, tried.map(|(at, live)| (at, digest(live))))
}

/// What is known of these policies.
pub fn trial(input: Input<'_>, of: &str) -> Trial {
    let tenant = input.tenant;
    let places = tries::places(tenant);
    let last = tenant.status.network.proof.as_ref().filter(|proof| proof.of == of);
    // An alarm of some places was told; the others are still to be heard.
    let going_on =
        last.filter(|proof| proof.from.len() < places.len() && age(proof, tenant.now).is_some_and(|age| age < AGAIN));
    let id = going_on.map_or_else(|| digest(&(of, last.map(|proof| &proof.at))), |proof| proof.trial.clone());
    let jobs: Vec<_> = places.into_iter().map(|place| (format!("{PROBE}-{}", digest(&(&id, &place))), place)).collect();
    let report = |(job, place): &'_ (String, Place)| {
        let report = input.observed.report_of(job, PROBE)?;
        Some((place.clone(), report.ended, serde_json::from_str::<Report>(&report.text).ok()?))
    };
    let reports: Vec<_> = jobs.iter().filter_map(report).collect();
    // What is open from one place is open, whatever the others will say.
    let tell = reports.len() == jobs.len() || reports.iter().any(|(_, _, report)| !report.opened.is_empty());
    let more = reports.len() > going_on.map_or(0, |proof| proof.from.len());
    let news = merged(&reports).filter(|_| tell && more);
    let news = news.map(|found| NetworkProof { of: of.to_owned(), trial: id.clone(), ..found });
    let reported = news.is_some();
    let proof = news.or_else(|| last.cloned());
    let gaps = &tenant.status.network.gaps;
    let due = proof.as_ref().is_none_or(|proof| age(proof, tenant.now).is_none_or(|age| age >= interval(proof, gaps)));
    // What has reported goes after that was written down.
    let wanted = reported || going_on.is_some() || (due && release::serves(input));
    Trial { proof, jobs: if wanted { jobs } else { Vec::new() } }
}

/// What all these places found, as of the first of them; nothing of nobody.
fn merged(reports: &[(Place, DateTime<Utc>, Report)]) -> Option<NetworkProof> {
    let at = reports.iter().map(|(_, ended, _)| *ended).min()?.to_rfc3339();
    let named = |of: fn(&Report) -> &[String]| {
        let mut whence: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (place, _, report) in reports {
            of(report).iter().for_each(|to| whence.entry(to).or_default().push(place.to_string()));
        }
        let line = |(to, mut from): (&str, Vec<String>)| {
            let more = from.len().saturating_sub(PLACES);
            from.truncate(PLACES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{to} from {}{more}", from.join(", "))
        };
        whence.into_iter().map(line).take(NAMED).collect()
    };
    Some(NetworkProof {
        at,
        from: reports.iter().map(|(place, _, _)| place.to_string()).collect(),
        refused: reports.iter().fold(0, |sum: i32, (_, _, report)| sum.saturating_add(report.refused)),
        opened: named(|report| &report.opened),
        unreached: named(|report| &report.unreached),
        ..NetworkProof::default()
    })
}

/// Whether a policy was put right after that trial. Ends of trials are known to the second.
fn precedes(proof: &NetworkProof, gaps: &[NetworkGap]) -> bool {
    let second = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp());
    let last = gaps.first().and_then(|gap| second(&gap.until));
    last.zip(second(&proof.at)).is_some_and(|(gap, trial)| trial < gap)
}

fn age(proof: &NetworkProof, now: DateTime<Utc>) -> Option<TimeDelta> {
    DateTime::parse_from_rfc3339(&proof.at).ok().map(|at| now - at.to_utc())
}

fn interval(proof: &NetworkProof, gaps: &[NetworkGap]) -> TimeDelta {
    let good = proof.opened.is_empty() && proof.unreached.is_empty() && proof.refused > 0;
    if good && !precedes(proof, gaps) { EVERY } else { AGAIN }
}

/// When time alone changes what is known.
pub fn due(status: &NetworkStatus, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let proof = status.proof.as_ref()?;
    let at = DateTime::parse_from_rfc3339(&proof.at).ok()?.to_utc();
    [at + interval(proof, &status.gaps), at + FRESH].into_iter().find(|moment| *moment > now)
}

/// The probe's own identity, its one allowed connection, and room for its pods.
pub fn contribute(tenant: &Tenant, shared: &mut Contributions) {
    shared.identity(PROBE);
    shared.resolution(tenant, PROBE);
    let here = tries::places(tenant).into_iter().filter(|place| *place != Place::OtherNamespace);
    shared.errands.extend(here.map(|_| agents(1)));
}

/// The Job that tries from one place.
fn errand(tenant: &Tenant, place: &Place, name: &str, tries: &[Try]) -> Job {
    // Plain strings and numbers always have a JSON form.
    let word = |one| ["--try".to_owned(), serde_json::to_string(one).unwrap_or_default()];
    let pod = Pod {
        tenant,
        capability: Network::NAME,
        component: PROBE,
        colour: None,
        version: None,
        init: Vec::new(),
        main: agent(PROBE, &tenant.settings.agent_image, &["probe", "network"], tries.iter().flat_map(word).collect()),
        beside: Vec::new(),
        volumes: Vec::new(),
        termination_seconds: 1,
        restart_policy: "Never",
        reports: true,
        annotations: BTreeMap::new(),
    };
    let mut job = job(pod, name, SECONDS, KEPT_SECONDS);
    match place {
        Place::Probe => {}
        Place::OtherNamespace => job.metadata.namespace = Some(names::PROBES.to_owned()),
        Place::Component(component) => {
            let template = job.spec.as_mut().map(|spec| &mut spec.template);
            if let Some(PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }) = template {
                // Policies know it as a pod of the component, and Services must not.
                metadata.labels.get_or_insert_default().insert(names::COMPONENT.to_owned(), component.clone());
                spec.readiness_gates = Some(vec![PodReadinessGate { condition_type: names::TAKES_TRAFFIC.to_owned() }]);
            }
        }
    }
    job
}

impl Trial {
    /// The Jobs that try, while it is due.
    pub fn render(&self, input: Input<'_>, flows: &[Flow]) -> Vec<Desired> {
        let one = |(name, place): &(String, Place)| {
            let tries = tries::of(input.tenant, place, flows);
            let job = Object::new(kind::JOB, &errand(input.tenant, place, name, &tries));
            // The template of a Job cannot change: one that is there stays as it is.
            let there = input.observed.objects.contains_key(&job.at);
            if there { Desired::Keep(job.at) } else { Desired::Apply(job) }
        };
        self.jobs.iter().map(one).collect()
    }

    /// What the last trial says of the policies in place.
    pub fn assess(&self, now: DateTime<Utc>) -> Verdict {
        let Some(proof) = &self.proof else {
            let message = "policies are in place; whether they are enforced was not tried since they last changed";
            return Verdict::unknown(Reason::NotTried, message);
        };
        let NetworkProof { refused, opened, unreached, at, from, .. } = proof;
        if !opened.is_empty() {
            let message = format!(
                "nobody declared these connections of probes, and they opened: {}; the network plug-in does not enforce NetworkPolicies, or one that is not the operator's allows them",
                opened.join(", ")
            );
            return Verdict::failed(Reason::NetworkOpen, message);
        }
        if age(proof, now).is_none_or(|age| age >= FRESH) {
            let message = format!("that policies are enforced was last tried at {at}, which is too long ago");
            return Verdict::unknown(Reason::NotTried, message);
        }
        if !unreached.is_empty() || *refused == 0 {
            let message = format!(
                "the last trial proves nothing, because what is declared did not open: {}",
                unreached.join(", ")
            );
            return Verdict::unknown(Reason::NotTried, message);
        }
        // Without the time, which changes every hour and is written beside it.
        Verdict::proved(format!(
            "all traffic is denied but the declared flows: of {refused} connections that nobody declared, tried from {} places, none opened",
            from.len()
        ))
    }
}

/// What a probe reports where policies are enforced: for plans without a cluster.
pub fn report_of_enforced() -> Report {
    Report { refused: 1, ..Report::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::Proof;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn found(refused: i32, opened: &[&str], unreached: &[&str]) -> NetworkProof {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        NetworkProof {
            at: at(0).to_rfc3339(),
            from: vec!["another namespace".to_owned()],
            refused,
            opened: all(opened),
            unreached: all(unreached),
            ..NetworkProof::default()
        }
    }

    fn judged(proof: Option<NetworkProof>, minutes: i64) -> (Proof, Reason) {
        let verdict = Trial { proof, jobs: Vec::new() }.assess(at(minutes));
        (verdict.proof, verdict.reason)
    }

    #[test]
    fn only_a_fresh_trial_in_which_nothing_opened_and_the_allowed_did_proves_anything() {
        let unknown = (Proof::Unknown, Reason::NotTried);
        assert_eq!(judged(None, 0), unknown);
        assert_eq!(judged(Some(found(7, &[], &[])), 119), (Proof::Proved, Reason::Proved));
        assert_eq!(judged(Some(found(7, &[], &[])), 120), unknown);
        assert_eq!(judged(Some(found(7, &[], &["the resolver on port 53"])), 1), unknown);
        assert_eq!(judged(Some(found(0, &[], &[])), 1), unknown);
        // What was open stays so until it is seen to be closed, however long ago that was.
        for minutes in [1, 600] {
            let open = found(6, &["the API server"], &["the resolver on port 53"]);
            assert_eq!(judged(Some(open), minutes), (Proof::Failed, Reason::NetworkOpen));
        }
        assert_eq!(judged(Some(NetworkProof { at: "then".to_owned(), ..found(7, &[], &[]) }), 1), unknown);
    }

    #[test]
    fn what_several_places_found_is_one_proof_as_old_as_the_first_of_them() {
        let report = |refused, opened: &[&str]| Report {
            refused,
            opened: opened.iter().map(|to| (*to).to_owned()).collect(),
            unreached: Vec::new(),
        };
        let (places, mut reports) =
            (["a", "b", "c", "d", "e"].map(|name| Place::Component(name.to_owned())), Vec::new());
        for (minutes, place) in (3..).zip(places) {
            reports.push((place, at(minutes), report(2, &["x:1"])));
        }
        reports.push((Place::OtherNamespace, at(2), report(5, &["y:2"])));
        let proof = merged(&reports).unwrap();
        assert_eq!((proof.at, proof.refused), (at(2).to_rfc3339(), 15));
        assert_eq!(proof.opened, ["x:1 from a, b, c, d and 1 more", "y:2 from another namespace"]);
        assert_eq!(proof.from.len(), 6);
        assert_eq!(merged(&[]), None);
    }

    #[test]
    fn a_policy_that_was_put_right_asks_for_another_trial() {
        let gap = |until: &str| [NetworkGap { until: until.to_owned(), ..NetworkGap::default() }];
        let proof = NetworkProof { at: "2026-01-02T10:00:00+00:00".to_owned(), ..found(7, &[], &[]) };
        assert!(precedes(&proof, &gap("2026-01-02T10:00:01Z")));
        assert!(precedes(&proof, &gap("2026-01-02T10:00:01.500Z")));
        for until in ["2026-01-02T10:00:00Z", "2026-01-02T10:00:00.900Z", "2026-01-01T00:00:00Z", "then"] {
            assert!(!precedes(&proof, &gap(until)), "{until}");
        }
        assert!(!precedes(&proof, &[]));
    }

    #[test]
    fn time_wakes_for_the_next_trial_and_for_the_end_of_the_last() {
        let next = |proof: NetworkProof, minutes| {
            due(&NetworkStatus { proof: Some(proof), ..NetworkStatus::default() }, at(minutes))
        };
        assert_eq!(next(found(7, &[], &[]), 1), Some(at(60)));
        assert_eq!(next(found(7, &[], &[]), 60), Some(at(120)));
        assert_eq!(next(found(7, &[], &[]), 120), None);
        assert_eq!(next(found(7, &["x"], &[]), 0), Some(at(1)));
        assert_eq!(due(&NetworkStatus::default(), at(0)), None);
        let gap = |minutes| NetworkGap { until: at(minutes).to_rfc3339(), ..NetworkGap::default() };
        let after =
            |gap| NetworkStatus { proof: Some(found(7, &[], &[])), gaps: vec![gap], ..NetworkStatus::default() };
        assert_eq!(due(&after(gap(5)), at(0)), Some(at(1)), "not sooner, however often somebody touches it");
        assert_eq!(due(&after(gap(-5)), at(1)), Some(at(60)));
    }
}
