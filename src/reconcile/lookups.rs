//! Where the names of servers outside lead, as every hospital's pass sees it.
//!
//! Guarantees: a name is asked for at most once a minute, however many hospitals list it, and nobody waits longer than one
//! question takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;

use crate::{
    api::v1alpha1::HospitalTenant,
    objects::Resolved,
    ports::{Answer, Resolver},
};

/// Between two questions for the same name.
const EVERY: TimeDelta = TimeDelta::minutes(1);
/// Until the next question after one without an answer.
const AGAIN: TimeDelta = TimeDelta::seconds(10);
/// A name for which nobody has asked for so long is forgotten.
const FORGOTTEN: TimeDelta = TimeDelta::hours(1);
/// An address that has been in no answer for so long is forgotten; nobody is allowed to use it by then.
const STALE: TimeDelta = TimeDelta::minutes(30);

/// See the module. Clones share what is known.
#[derive(Clone, Debug)]
pub struct Lookups {
    resolver: Arc<dyn Resolver>,
    known: Arc<Mutex<BTreeMap<String, Known>>>,
}

#[derive(Clone, Debug)]
struct Known {
    asked: DateTime<Utc>,
    resolved: Resolved,
}

impl Known {
    fn due(&self) -> DateTime<Utc> {
        self.asked + if self.resolved.failure.is_some() { AGAIN } else { EVERY }
    }

    fn hear(&mut self, answer: Answer, now: DateTime<Utc>) {
        self.asked = now;
        match answer {
            Ok(addresses) => {
                self.resolved.answered = Some(now);
                self.resolved.failure = None;
                self.resolved.seen.extend(addresses.into_iter().map(|address| (address, now)));
                self.resolved.seen.retain(|_, seen| now - *seen < STALE);
            }
            Err(failure) => self.resolved.failure = Some(failure),
        }
    }
}

impl Lookups {
    /// Knows nothing yet.
    pub fn new(resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver, known: Arc::default() }
    }

    /// Where the names lead that this hospital's spec lists, and when to look again.
    pub async fn of(
        &self,
        resource: &HospitalTenant,
        now: DateTime<Utc>,
    ) -> (BTreeMap<String, Resolved>, Option<DateTime<Utc>>) {
        let flows = resource.spec.network.iter().flat_map(|network| &network.egress);
        let names: BTreeSet<&String> = flows.flat_map(|flow| &flow.hosts).collect();
        if names.is_empty() {
            return (BTreeMap::new(), None);
        }
        let due: Vec<&String> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            names.iter().copied().filter(|name| known.get(*name).is_none_or(|known| known.due() <= now)).collect()
        };
        let answers = join_all(due.iter().map(|name| self.resolver.resolve(name))).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, answer) in due.into_iter().zip(answers) {
            let new = || Known { asked: now, resolved: Resolved { since: now, ..Resolved::default() } };
            known.entry(name.clone()).or_insert_with(new).hear(answer, now);
        }
        known.retain(|_, known| now - known.asked < FORGOTTEN);
        let mine = || names.iter().filter_map(|name| known.get_key_value(*name));
        let next = mine().map(|(_, known)| known.due()).min();
        (mine().map(|(name, known)| (name.clone(), known.resolved.clone())).collect(), next)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, future::Future, net::IpAddr, pin::Pin};

    use super::*;
    use crate::api::v1alpha1::{EgressFlow, HospitalTenantSpec, NetworkSpec};

    /// Answers what it was given, one answer after the other.
    #[derive(Debug, Default)]
    struct Script(Mutex<VecDeque<Answer>>);

    impl Resolver for Script {
        fn resolve<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
            let answer = self.0.lock().unwrap().pop_front().expect("asked too often");
            Box::pin(std::future::ready(answer))
        }
    }

    fn to(address: &str) -> BTreeSet<IpAddr> {
        BTreeSet::from([address.parse().unwrap()])
    }

    fn hospital(hosts: &[&str]) -> HospitalTenant {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let egress = vec![EgressFlow { hosts, ..EgressFlow::default() }];
        let network = Some(NetworkSpec { egress, ..NetworkSpec::default() });
        HospitalTenant::new("a", HospitalTenantSpec { network, ..HospitalTenantSpec::default() })
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[tokio::test]
    async fn a_name_is_asked_for_once_a_minute_and_sooner_after_a_failure() {
        let script = [Ok(to("1.2.3.4")), Err("silence".to_owned()), Ok(to("1.2.3.5"))];
        let lookups = Lookups::new(Arc::new(Script(Mutex::new(script.into()))));
        let hospital = hospital(&["a.example"]);
        let mut heard = Vec::new();
        for (seconds, next) in [(0, 60), (59, 60), (60, 70), (69, 70), (70, 130)] {
            let (resolved, due) = lookups.of(&hospital, at(seconds)).await;
            assert_eq!(due, Some(at(next)), "{seconds}");
            let resolved = &resolved["a.example"];
            heard.push((resolved.seen.len(), resolved.answered, resolved.failure.is_some()));
        }
        let first = Some(at(0));
        let expected =
            [(1, first, false), (1, first, false), (1, first, true), (1, first, true), (2, Some(at(70)), false)];
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn who_lists_nothing_asks_nobody() {
        let lookups = Lookups::new(Arc::new(Script::default()));
        assert_eq!(lookups.of(&hospital(&[]), at(0)).await, (BTreeMap::new(), None));
    }
}
