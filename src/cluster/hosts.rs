//! Who holds which DNS name.
//!
//! Guarantees: pure and independent of the order of events: of all tenants that want a host the oldest holds it; of equally
//! old ones (times have seconds) the one that serves it already, then the one with the smaller UID.

use std::collections::{BTreeMap, BTreeSet};

/// Claim of one tenant on one host; the smallest holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// When the tenant was created.
    pub(super) created: String,
    /// Whether somebody else may serve the host already.
    pub(super) newcomer: bool,
    pub(super) uid: String,
}

/// All claims of one tenant, by host.
pub(super) type Claims = BTreeMap<String, Rank>;

/// Claims on hosts.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeMap<String, BTreeMap<Rank, String>>);

impl Hosts {
    /// Name of the tenant that holds a host.
    pub(super) fn holder(&self, host: &str) -> Option<&str> {
        self.0.get(host)?.first_key_value().map(|(_, tenant)| tenant.as_str())
    }

    /// Replaces a tenant's claims; returns the other tenants that want one of the hosts concerned.
    pub(super) fn replace(&mut self, tenant: &str, before: &Claims, after: &Claims) -> BTreeSet<String> {
        let mut concerned = BTreeSet::new();
        for (host, _) in before.iter().filter(|(host, rank)| after.get(*host) != Some(*rank)) {
            if let Some(claims) = self.0.get_mut(host) {
                claims.retain(|_, name| name != tenant);
                concerned.extend(claims.values().cloned());
                if claims.is_empty() {
                    self.0.remove(host);
                }
            }
        }
        for (host, rank) in after.iter().filter(|(host, rank)| before.get(*host) != Some(*rank)) {
            let claims = self.0.entry(host.clone()).or_default();
            concerned.extend(claims.values().cloned());
            claims.insert(rank.clone(), tenant.to_owned());
        }
        concerned.remove(tenant);
        concerned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(created: &str, newcomer: bool, uid: &str, hosts: &[&str]) -> Claims {
        let rank = Rank { created: created.to_owned(), newcomer, uid: uid.to_owned() };
        hosts.iter().map(|host| ((*host).to_owned(), rank.clone())).collect()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_oldest_holds_a_host_and_the_next_is_told_when_it_goes() {
        let mut hosts = Hosts::default();
        let (none, both) = (Claims::new(), claims("2026-01", true, "b", &["x.org", "y.org"]));
        assert!(hosts.replace("young", &none, &claims("2026-02", false, "a", &["x.org"])).is_empty());
        assert_eq!(hosts.replace("old", &none, &both), set(&["young"]));
        assert_eq!((hosts.holder("x.org"), hosts.holder("y.org")), (Some("old"), Some("old")));
        assert_eq!(hosts.replace("old", &both, &claims("2026-01", true, "b", &["y.org"])), set(&["young"]));
        assert_eq!((hosts.holder("x.org"), hosts.holder("y.org")), (Some("young"), Some("old")));
    }

    #[test]
    fn of_equally_old_tenants_the_one_that_serves_holds_and_else_the_smaller_uid() {
        let mut hosts = Hosts::default();
        let (none, second) = (Claims::new(), claims("2026", true, "2", &["x.org"]));
        hosts.replace("b", &none, &second);
        hosts.replace("a", &none, &claims("2026", true, "1", &["x.org"]));
        assert_eq!(hosts.holder("x.org"), Some("a"));
        assert_eq!(hosts.replace("b", &second, &claims("2026", false, "2", &["x.org"])), set(&["a"]));
        assert_eq!(hosts.holder("x.org"), Some("b"));
    }
}
