//! Who holds which DNS name.
//!
//! Guarantees: pure and independent of the order of events: of all tenants that want a host the oldest holds it, of two
//! equally old ones that with the smaller UID.

use std::collections::{BTreeMap, BTreeSet};

/// Age and UID; the smallest holds.
pub(super) type Rank = (String, String);

/// Claims on hosts.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeMap<String, BTreeMap<Rank, String>>);

impl Hosts {
    /// Name of the tenant that holds a host.
    pub(super) fn holder(&self, host: &str) -> Option<&str> {
        self.0.get(host)?.first_key_value().map(|(_, tenant)| tenant.as_str())
    }

    /// Replaces a tenant's claims; returns the other tenants that want one of the hosts concerned.
    pub(super) fn replace(
        &mut self,
        tenant: &str,
        rank: &Rank,
        before: &BTreeSet<String>,
        after: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        let mut concerned = BTreeSet::new();
        for host in before.difference(after) {
            if let Some(claims) = self.0.get_mut(host) {
                claims.retain(|_, name| name != tenant);
                concerned.extend(claims.values().cloned());
                if claims.is_empty() {
                    self.0.remove(host);
                }
            }
        }
        for host in after.difference(before) {
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

    fn rank(created: &str, uid: &str) -> Rank {
        (created.to_owned(), uid.to_owned())
    }

    fn set(hosts: &[&str]) -> BTreeSet<String> {
        hosts.iter().map(|host| (*host).to_owned()).collect()
    }

    #[test]
    fn the_oldest_holds_a_host_and_the_next_is_told_when_it_goes() {
        let mut hosts = Hosts::default();
        assert!(hosts.replace("young", &rank("2026-02", "a"), &set(&[]), &set(&["x.org"])).is_empty());
        assert_eq!(hosts.replace("old", &rank("2026-01", "b"), &set(&[]), &set(&["x.org", "y.org"])), set(&["young"]));
        assert_eq!((hosts.holder("x.org"), hosts.holder("y.org")), (Some("old"), Some("old")));
        assert_eq!(
            hosts.replace("old", &rank("2026-01", "b"), &set(&["x.org", "y.org"]), &set(&["y.org"])),
            set(&["young"])
        );
        assert_eq!((hosts.holder("x.org"), hosts.holder("y.org")), (Some("young"), Some("old")));
    }

    #[test]
    fn of_equally_old_tenants_the_smaller_uid_holds() {
        let mut hosts = Hosts::default();
        hosts.replace("b", &rank("2026", "2"), &set(&[]), &set(&["x.org"]));
        hosts.replace("a", &rank("2026", "1"), &set(&[]), &set(&["x.org"]));
        assert_eq!(hosts.holder("x.org"), Some("a"));
    }
}
