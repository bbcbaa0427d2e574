//! Servers outside that the spec names by DNS name: which of the addresses to which their names lead are allowed.
//!
//! Guarantees: pure. What is allowed is one public address each, and none of the cluster's. An address stays for ten minutes
//! after its name has led there for the last time, because connections and resolvers hold on to it, and for as long as
//! nobody can be asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::addresses;
use crate::{
    api::v1alpha1::{EgressFlow, Follower, NamedHost},
    capabilities::{Contributions, Peer},
    conditions::{Reason, Verdict},
    objects::{Observed, Resolved},
    tenant::{Tenant, cidr::Cidr, special},
};

/// For how long an address stays allowed after the last answer that had it.
const LINGERS: TimeDelta = TimeDelta::minutes(10);
/// Most addresses of one name. Who has more serves everybody from everywhere, and no list keeps up.
const MOST: usize = 32;

/// All names of the spec, in order, with what is allowed of each. `other` follows those that lead nowhere special.
pub fn all(tenant: &Tenant, observed: &Observed, other: Follower) -> Vec<NamedHost> {
    let own: Vec<Cidr> = addresses::cluster(tenant).collect();
    let names: BTreeSet<&String> = addresses::egress(tenant).iter().flat_map(|flow| &flow.hosts).collect();
    let before: BTreeMap<&str, &NamedHost> =
        tenant.status.network.hosts.iter().map(|known| (known.host.as_str(), known)).collect();
    let follow = |name: &String| {
        let known = follow(name, before.get(name.as_str()).copied(), observed.resolved.get(name), &own);
        let followed_by = if known.refused.is_empty() { other } else { Follower::Operator };
        NamedHost { followed_by, ..known }
    };
    names.into_iter().map(follow).collect()
}

/// What is allowed of one name after what was known of it and what was heard of it since.
fn follow(host: &str, before: Option<&NamedHost>, resolved: Option<&Resolved>, own: &[Cidr]) -> NamedHost {
    let Some(resolved) = resolved else {
        let unknown = || NamedHost { unresolved: Some("it was not asked for yet".to_owned()), ..NamedHost::default() };
        return NamedHost { host: host.to_owned(), ..before.cloned().unwrap_or_else(unknown) };
    };
    let answered = resolved.answered;
    // What was allowed before this process began to ask was led to a moment before, for all that it knows.
    let before = before.filter(|_| answered.is_none_or(|at| at - resolved.since < LINGERS));
    let before = before.iter().flat_map(|before| &before.addresses).filter_map(|text| text.parse::<IpAddr>().ok());
    let lately = |seen: DateTime<Utc>| answered.is_some_and(|at| at - seen < LINGERS);
    let seen = resolved.seen.iter().filter(|(_, seen)| lately(**seen)).map(|(address, _)| *address);
    let allowed = before.chain(seen).filter_map(|address| special::judge(address, own).ok());
    let mut allowed: BTreeSet<IpAddr> = allowed.collect();
    let now = resolved.seen.iter().filter(|(_, seen)| Some(**seen) == answered).map(|(address, _)| *address);
    let mut refused: Vec<String> =
        now.filter_map(|address| special::judge(address, own).err()).map(|refused| refused.to_string()).collect();
    if allowed.len() > MOST {
        refused.push(format!("{} addresses, which are more than {MOST}, are too many to keep up with", allowed.len()));
        allowed.clear();
    }
    NamedHost {
        host: host.to_owned(),
        addresses: allowed.iter().map(ToString::to_string).collect(),
        refused,
        unresolved: resolved.failure.clone(),
        followed_by: Follower::Operator,
    }
}

/// Adds the flows to servers with names; none while nobody knows, or may find out, where a name leads.
pub fn contribute(tenant: &Tenant, known: &[NamedHost], shared: &mut Contributions) {
    for EgressFlow { component, hosts, port, reason, .. } in addresses::egress(tenant) {
        let named = || known.iter().filter(|known| hosts.contains(&known.host));
        let addresses = named().flat_map(|known| &known.addresses).filter_map(|text| text.parse().ok());
        let addresses: BTreeSet<Cidr> = addresses.map(Cidr::single).collect();
        if !addresses.is_empty() || named().any(|known| known.followed_by == Follower::Cilium) {
            let to = Peer::Hosts { names: hosts.iter().cloned().collect(), addresses };
            shared.flow(Peer::component(component), to, *port, reason.as_str());
        }
    }
}

/// What is wrong with a name, if anything is.
pub fn verdict(tenant: &Tenant, known: &[NamedHost]) -> Option<Verdict> {
    let field = |host: &str| {
        let flow = addresses::egress(tenant).iter().position(|flow| flow.hosts.iter().any(|name| name == host));
        format!("spec.network.egress[{}].hosts", flow.unwrap_or_default())
    };
    let refused = known.iter().find(|known| !known.refused.is_empty()).map(|NamedHost { host, refused, .. }| {
        let message = format!(
            "{}: {host} leads to what is not allowed: {}; correct the name, or what it leads to, or name the addresses in cidrs if they are meant",
            field(host),
            refused.join(", ")
        );
        Verdict::failed(Reason::HostRefused, message)
    });
    refused.or_else(|| {
        let nowhere = known.iter().find(|known| known.addresses.is_empty())?;
        let NamedHost { host, unresolved, followed_by, .. } = nowhere;
        let why = unresolved.as_deref().unwrap_or("it has no address");
        let message = format!("{}: {host} {}: {why}", field(host), followed_by.without_address());
        Some(Verdict::unknown(Reason::HostUnresolved, message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    /// Asked since the first minute, answered in this one.
    fn resolved(answered: Option<i64>, seen: &[(&str, i64)]) -> Resolved {
        let seen = seen.iter().map(|(address, minute)| (address.parse().unwrap(), at(*minute))).collect();
        Resolved { since: at(0), answered: answered.map(at), seen, failure: None }
    }

    fn known(addresses: &[&str]) -> NamedHost {
        let addresses = addresses.iter().map(|text| (*text).to_owned()).collect();
        NamedHost { host: "a.example".to_owned(), addresses, ..NamedHost::default() }
    }

    fn allowed(before: Option<&NamedHost>, resolved: &Resolved) -> Vec<String> {
        follow("a.example", before, Some(resolved), &[]).addresses
    }

    #[test]
    fn an_address_is_allowed_from_its_first_answer_until_ten_minutes_after_its_last() {
        let seen = [("1.2.3.4", 20), ("1.2.3.5", 29), ("2606:4700::1", 30)];
        assert_eq!(allowed(None, &resolved(Some(29), &seen[..2])), ["1.2.3.4", "1.2.3.5"]);
        assert_eq!(allowed(None, &resolved(Some(30), &seen)), ["1.2.3.5", "2606:4700::1"]);
    }

    #[test]
    fn what_was_allowed_before_a_restart_stays_for_ten_minutes() {
        let before = known(&["1.2.3.4"]);
        assert_eq!(allowed(Some(&before), &resolved(Some(9), &[("1.2.3.5", 9)])), ["1.2.3.4", "1.2.3.5"]);
        assert_eq!(allowed(Some(&before), &resolved(Some(10), &[("1.2.3.5", 10)])), ["1.2.3.5"]);
    }

    #[test]
    fn while_nobody_can_be_asked_nothing_changes() {
        let before = known(&["1.2.3.4"]);
        let silent = Resolved { failure: Some("no resolver".to_owned()), ..resolved(None, &[]) };
        let followed = follow("a.example", Some(&before), Some(&silent), &[]);
        assert_eq!((followed.addresses, followed.unresolved), (before.addresses.clone(), silent.failure));
        assert_eq!(follow("a.example", Some(&before), None, &[]), before);
        let new = follow("a.example", None, None, &[]);
        assert!(new.addresses.is_empty() && new.unresolved.is_some());
    }

    #[test]
    fn what_is_not_public_is_never_allowed_and_is_told_for_as_long_as_the_name_leads_there() {
        let own: Vec<Cidr> = vec!["1.2.3.0/24".parse().unwrap()];
        let heard = resolved(Some(5), &[("10.0.0.5", 5), ("1.2.3.4", 5), ("9.9.9.9", 5), ("169.254.169.254", 4)]);
        let followed = follow("a.example", Some(&known(&["192.168.0.1"])), Some(&heard), &own);
        assert_eq!(followed.addresses, ["9.9.9.9"]);
        let told = followed.refused.join("; ");
        assert!(told.contains("1.2.3.4 is the cluster's own") && told.contains("10.0.0.5 is private"), "{told}");
        assert_eq!(followed.refused.len(), 2);
    }

    #[test]
    fn a_name_with_too_many_addresses_is_refused_as_a_whole() {
        let many: Vec<String> = (0..=32).map(|number| format!("1.2.3.{number}")).collect();
        let heard: Vec<_> = many.iter().map(|address| (address.as_str(), 1)).collect();
        let followed = follow("a.example", None, Some(&resolved(Some(1), &heard)), &[]);
        assert!(followed.addresses.is_empty() && followed.refused[0].starts_with("33 addresses"), "{followed:?}");
        assert_eq!(follow("a.example", None, Some(&resolved(Some(1), &heard[1..])), &[]).addresses.len(), 32);
    }
}
