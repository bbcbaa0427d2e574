//! Address ranges, IPv4 and IPv6 (RFC 4632, RFC 4291).
//!
//! Guarantees: a [`Cidr`] has no bits behind its prefix. An IPv4 address is never inside an IPv6 range, or the other way
//! round.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr(IpNet);

impl Cidr {
    /// A range; none if no address is that long.
    pub fn new(first: IpAddr, length: u8) -> Option<Self> {
        IpNet::new(first, length).ok().map(|range| Self(range.trunc()))
    }

    /// One address alone.
    pub fn single(address: IpAddr) -> Self {
        Self(address.into())
    }

    /// Its first address and the length of its prefix.
    pub fn parts(self) -> (IpAddr, u8) {
        (self.0.network(), self.0.prefix_len())
    }

    /// Whether an address is inside.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether it is the first address: nothing is behind the prefix.
    pub fn starts_at(self, address: IpAddr) -> bool {
        self.0.network() == address
    }

    /// Whether every address of the other one is inside.
    pub fn covers(self, other: Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether they have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// Whether it is so large that it stands for the whole internet.
    pub fn is_broad(self) -> bool {
        self.0.prefix_len() < if matches!(self.0, IpNet::V4(_)) { 8 } else { 16 }
    }

    /// Whether its addresses are IPv4 addresses in the clothes of IPv6 (RFC 4291, 2.5.5.2), which rules see as neither.
    pub fn is_mapped(self) -> bool {
        matches!(self.0.network(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CIDR such as 192.0.2.0/24 or 2001:db8::/32")]
pub struct NotCidr;

impl FromStr for Cidr {
    type Err = NotCidr;

    fn from_str(text: &str) -> Result<Self, NotCidr> {
        text.parse::<IpNet>().map(|range| Self(range.trunc())).map_err(|_| NotCidr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn bits_behind_the_prefix_do_not_count() {
        assert_eq!(of("192.0.2.77/24").to_string(), "192.0.2.0/24");
        assert_eq!(of("203.0.113.9/0").to_string(), "0.0.0.0/0");
        assert_eq!(of("2001:db8::1/32").to_string(), "2001:db8::/32");
    }

    #[test]
    fn ranges_hold_their_first_and_last_address_and_no_other() {
        let inside = |range: &str, address: &str| of(range).contains(address.parse().unwrap());
        assert!(inside("192.0.2.0/25", "192.0.2.0") && inside("192.0.2.0/25", "192.0.2.127"));
        assert!(!inside("192.0.2.0/25", "192.0.2.128") && !inside("192.0.2.0/25", "192.0.1.255"));
        assert!(inside("0.0.0.0/0", "255.255.255.255") && !inside("0.0.0.0/0", "::1") && !inside("::/0", "192.0.2.1"));
        assert!(inside("2001:db8::/32", "2001:db8:ffff::1") && !inside("2001:db8::/32", "2001:db9::"));
    }

    #[test]
    fn ranges_cover_and_overlap() {
        assert!(of("192.0.2.0/24").covers(of("192.0.2.128/25")) && of("192.0.2.0/24").covers(of("192.0.2.0/24")));
        assert!(!of("192.0.2.128/25").covers(of("192.0.2.0/24")) && of("192.0.2.128/25").overlaps(of("192.0.2.0/24")));
        assert!(!of("192.0.2.0/25").overlaps(of("192.0.2.128/25")) && !of("0.0.0.0/0").overlaps(of("::/0")));
    }

    #[test]
    fn halves_of_the_internet_are_broad_too() {
        assert!(["0.0.0.0/0", "128.0.0.0/1", "10.0.0.0/7", "::/0", "2000::/3"].iter().all(|text| of(text).is_broad()));
        assert!(["10.0.0.0/8", "2001::/16"].iter().all(|text| !of(text).is_broad()));
        assert!(of("::ffff:192.0.2.1/128").is_mapped() && !of("2001:db8::/32").is_mapped());
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "192.0.2.1", "192.0.2.1/33", "192.0.2.1/", "192.0.2.1/+8", "192.0.2/24", "::/129", "a/8"] {
            assert_eq!(text.parse::<Cidr>(), Err(NotCidr), "{text:?}");
        }
    }
}
