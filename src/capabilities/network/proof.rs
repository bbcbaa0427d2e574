//! Proof by trying: a pod under the hospital's policies connects to what it may and to what it may not.
//!
//! Guarantees: nothing counts as proved unless the very policies that are in place were tried, an allowed connection opened
//! at the same time, and the trial is not old. What the probe is allowed to send, its receivers do not accept: so both
//! directions are tried.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use kube::{ResourceExt, core::DynamicObject};
use serde::{Deserialize, Serialize};

use super::{addresses::METADATA_ADDRESS, graph, named};
use crate::{
    api::v1alpha1::{NetworkGap, NetworkProof, NetworkStatus},
    capabilities::{
        Capability, Contributions, Input,
        job::{agent, agents, job},
        network::Network,
        pod::Pod,
        release, webhooks,
    },
    conditions::{Reason, Verdict},
    names,
    objects::{Desired, Object, digest, kind},
    tenant::{
        self, Tenant,
        database::{COMPONENT, Mode},
    },
};

/// Component of the probe's pod, and its identity.
pub const PROBE: &str = "network-probe";
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
/// Port on which the cluster's resolver usually tells its metrics; not among those that anybody declares.
const METRICS: u16 = 9153;
/// Stands for the internet: RFC 5737, never anybody's.
const INTERNET: (&str, u16) = ("198.51.100.1", 443);

/// One connection to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// With whom.
    pub to: Target,
    /// What must come of it.
    pub expect: Expect,
}

/// Whom to connect to, as a pod knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// The API server, where every pod is told that it is.
    ApiServer,
    /// The resolver that every pod is told to use, on this port.
    Resolver(u16),
    /// A host and its port.
    Server(String, u16),
}

/// What must come of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expect {
    /// The connection opens.
    Open,
    /// It does not.
    Closed,
}

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
    /// Name of the Job that tries them, while there is one.
    job: Option<String>,
}

/// Receivers of which the policies of the hospital allow the probe to send something, and which must not take it.
pub fn receivers(tenant: &Tenant) -> Vec<(&str, i32)> {
    let components = tenant.application.components.iter();
    let ports =
        components.flat_map(|component| component.ports.iter().map(|port| (component.name.as_str(), port.port)));
    let database = tenant.database.iter().filter(|database| !matches!(database.mode, Mode::External(_)));
    let gate = webhooks::exists(tenant).then_some((tenant::webhooks::COMPONENT, tenant::webhooks::PORT));
    database.map(|database| (COMPONENT, database.port)).chain(gate).chain(ports).take(24).collect()
}

fn tries(tenant: &Tenant) -> Vec<Try> {
    let (open, closed) = (|to| Try { to, expect: Expect::Open }, |to| Try { to, expect: Expect::Closed });
    let server = |host: &str, port: u16| Target::Server(host.to_owned(), port);
    let own = receivers(tenant).into_iter().filter_map(|(component, port)| {
        let database = tenant.database.as_ref().filter(|_| component == COMPONENT);
        let host = database.map_or_else(|| format!("{component}.{}.svc", tenant.namespace), |d| d.host.clone());
        Some(closed(server(&host, u16::try_from(port).ok()?)))
    });
    let others = [
        open(Target::Resolver(53)),
        closed(Target::Resolver(METRICS)),
        closed(Target::ApiServer),
        closed(server(METADATA_ADDRESS, 80)),
        closed(server(INTERNET.0, INTERNET.1)),
    ];
    others.into_iter().chain(own).collect()
}

/// Whether a policy stays between two releases. Those for the Jobs that ask during one come and go with it.
pub fn is_lasting(name: &str) -> bool {
    !name.split('.').any(release::is_asker)
}

/// Digest of policies that last, by name and digest, and of what is tried.
fn digest_of<'a>(tenant: &Tenant, policies: impl Iterator<Item = (&'a str, String)>) -> String {
    let lasting = policies.filter(|(name, _)| is_lasting(name));
    // Where names lead changes by itself, and nothing of the trial depends on it.
    let lasting = lasting.map(|(name, digest)| (name, if graph::follows_names(name) { String::new() } else { digest }));
    digest(&(tries(tenant), lasting.collect::<BTreeMap<_, _>>()))
}

/// As they are wanted.
pub fn of_wanted<'a>(tenant: &Tenant, policies: impl IntoIterator<Item = &'a Object>) -> String {
    digest_of(tenant, policies.into_iter().map(|policy| (policy.at.name.as_str(), policy.digest())))
}

/// As they are in the cluster.
pub fn of_observed(input: Input<'_>) -> String {
    let all = input.observed.objects.iter().filter(|(at, _)| named::is_policy(at.kind));
    let digest = |live: &DynamicObject| live.annotations().get(names::DESIRED).cloned().unwrap_or_default();
    digest_of(input.tenant, all.map(|(at, live)| (at.name.as_str(), digest(live))))
}

/// What is known of these policies.
pub fn trial(input: Input<'_>, of: &str) -> Trial {
    let tenant = input.tenant;
    let before = tenant.status.network.proof.as_ref().filter(|proof| proof.of == of);
    let job = format!("{PROBE}-{}", digest(&(of, before.map(|proof| &proof.at))));
    let report = input.observed.report_of(&job, PROBE).and_then(|report| {
        let Report { refused, opened, unreached } = serde_json::from_str(&report.text).ok()?;
        Some(NetworkProof { of: of.to_owned(), at: report.ended.to_rfc3339(), refused, opened, unreached })
    });
    let reported = report.is_some();
    let proof = report.or_else(|| before.cloned());
    let gaps = &tenant.status.network.gaps;
    let due = proof.as_ref().is_none_or(|proof| age(proof, tenant.now).is_none_or(|age| age >= interval(proof, gaps)));
    // What has reported goes after that was written down.
    let job = Some(job).filter(|_| reported || (due && release::serves(input)));
    Trial { proof, job }
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

/// The probe's own identity and its one allowed connection.
pub fn contribute(tenant: &Tenant, shared: &mut Contributions) {
    shared.identity(PROBE);
    shared.resolution(tenant, PROBE);
    shared.errands.push(agents(1));
}

impl Trial {
    /// The Job that tries, while it is due.
    pub fn render(&self, input: Input<'_>) -> Option<Desired> {
        let (name, tenant) = (self.job.as_ref()?, input.tenant);
        // Plain strings and numbers always have a JSON form.
        let word = |one| ["--try".to_owned(), serde_json::to_string(one).unwrap_or_default()];
        let args = tries(tenant).iter().flat_map(word).collect();
        let pod = Pod {
            tenant,
            capability: Network::NAME,
            component: PROBE,
            colour: None,
            version: None,
            init: Vec::new(),
            main: agent(PROBE, &tenant.settings.agent_image, &["probe", "network"], args),
            beside: Vec::new(),
            volumes: Vec::new(),
            termination_seconds: 1,
            restart_policy: "Never",
            reports: true,
            annotations: BTreeMap::new(),
        };
        let job = Object::new(kind::JOB, &job(pod, name, SECONDS, KEPT_SECONDS));
        // The template of a Job cannot change: one that is there stays as it is.
        let there = input.observed.objects.contains_key(&job.at);
        Some(if there { Desired::Keep(job.at) } else { Desired::Apply(job) })
    }

    /// What the last trial says of the policies in place.
    pub fn assess(&self, now: DateTime<Utc>) -> Verdict {
        let Some(proof) = &self.proof else {
            let message = "policies are in place; whether they are enforced was not tried since they last changed";
            return Verdict::unknown(Reason::NotTried, message);
        };
        let NetworkProof { refused, opened, unreached, at, .. } = proof;
        if !opened.is_empty() {
            let message = format!(
                "the network plug-in does not enforce NetworkPolicies: nobody declared these connections of a probe, and they opened: {}",
                opened.join(", ")
            );
            return Verdict::failed(Reason::NetworkOpen, message);
        }
        if age(proof, now).is_none_or(|age| age >= FRESH) {
            let message = format!("that policies are enforced was last tried at {at}, which is too long ago");
            return Verdict::unknown(Reason::NotTried, message);
        }
        if !unreached.is_empty() || *refused == 0 {
            let message =
                format!("the last trial proves nothing, because the probe could not reach {}", unreached.join(", "));
            return Verdict::unknown(Reason::NotTried, message);
        }
        // Without the time, which changes every hour and is written beside it.
        Verdict::proved(format!(
            "all traffic is denied but the declared flows: a probe tried {refused} connections that nobody declared, and none opened"
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
            of: String::new(),
            at: at(0).to_rfc3339(),
            refused,
            opened: all(opened),
            unreached: all(unreached),
        }
    }

    fn judged(proof: Option<NetworkProof>, minutes: i64) -> (Proof, Reason) {
        let verdict = Trial { proof, job: None }.assess(at(minutes));
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
