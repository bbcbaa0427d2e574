//! Addresses at which nobody on the internet serves anything: where a hospital's calls to the outside never go.
//!
//! Guarantees: what passes [`judge`] is one public unicast address, and none that the caller names as its own. Everything
//! that IANA lists as special is refused, also the few relays among it that can be reached: no web server stands there.
//!
//! <https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>
//! (RFC 6890 and its updates), <https://www.iana.org/assignments/multicast-addresses>.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use super::cidr::Cidr;

/// Everything that may be public at all: IPv4, global unicast IPv6 (RFC 4291, 2.4), and IPv4 behind a translator (RFC 6052).
pub const PUBLIC: [&str; 3] = ["0.0.0.0/0", "2000::/3", TRANSLATED];
/// IPv4 as a translator between both worlds writes it (RFC 6052, 2.1).
const TRANSLATED: &str = "64:ff9b::/96";

const SPECIAL: &[(&str, &str)] = &[
    ("0.0.0.0/8", "this network, RFC 791"),
    ("10.0.0.0/8", "private, RFC 1918"),
    ("100.64.0.0/10", "shared by a carrier, RFC 6598"),
    ("127.0.0.0/8", "loopback, RFC 1122"),
    ("169.254.0.0/16", "link-local, with the metadata services of clouds, RFC 3927"),
    ("172.16.0.0/12", "private, RFC 1918"),
    ("192.0.0.0/24", "protocol assignments, RFC 6890"),
    ("192.0.2.0/24", "documentation, RFC 5737"),
    ("192.31.196.0/24", "AS112, RFC 7535"),
    ("192.52.193.0/24", "multicast relays, RFC 7450"),
    ("192.88.99.0/24", "6to4 relays, RFC 7526"),
    ("192.168.0.0/16", "private, RFC 1918"),
    ("192.175.48.0/24", "AS112, RFC 7534"),
    ("198.18.0.0/15", "benchmarks, RFC 2544"),
    ("198.51.100.0/24", "documentation, RFC 5737"),
    ("203.0.113.0/24", "documentation, RFC 5737"),
    ("224.0.0.0/4", "multicast, RFC 5771"),
    ("240.0.0.0/4", "reserved, with the broadcast address, RFC 1112"),
    ("::/128", "unspecified, RFC 4291"),
    ("::1/128", "loopback, RFC 4291"),
    ("64:ff9b:1::/48", "translation within a site, RFC 8215"),
    ("100::/64", "discarded, RFC 6666"),
    ("100:0:0:1::/64", "dummy, RFC 9780"),
    ("2001::/23", "protocol assignments, with Teredo, RFC 2928"),
    ("2001:db8::/32", "documentation, RFC 3849"),
    ("2002::/16", "6to4, which hides an IPv4 address, RFC 7526"),
    ("2620:4f:8000::/48", "AS112, RFC 7534"),
    ("3fff::/20", "documentation, RFC 9637"),
    ("5f00::/16", "segment routing, RFC 9602"),
    ("fc00::/7", "unique local, with the metadata service of a cloud, RFC 4193"),
    ("fe80::/10", "link-local, RFC 4291"),
    ("fec0::/10", "site-local, RFC 3879"),
    ("ff00::/8", "multicast, RFC 4291"),
];

static TABLE: LazyLock<Vec<(Cidr, &'static str)>> =
    LazyLock::new(|| SPECIAL.iter().filter_map(|(range, what)| Some((range.parse().ok()?, *what))).collect());

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}")]
pub struct Refused {
    /// As it would have been dialled.
    pub address: IpAddr,
    /// What it is for.
    pub what: &'static str,
}

/// All special ranges.
pub fn ranges() -> impl Iterator<Item = Cidr> {
    TABLE.iter().map(|(range, _)| *range)
}

/// Whether an address is public and none of our own; as it is to be dialled, which is its IPv4 form where IPv6 only dresses
/// one up (RFC 4291, 2.5.5.2).
pub fn judge(address: IpAddr, own: &[Cidr]) -> Result<IpAddr, Refused> {
    let address = address.to_canonical();
    let refused = |what| Err(Refused { address, what });
    // A translator sends on to the address inside.
    let goal = translated(address).map_or(address, IpAddr::V4);
    if let Some((_, what)) = TABLE.iter().find(|(range, _)| range.contains(goal)) {
        return refused(what);
    }
    if own.iter().any(|range| range.contains(goal) || range.contains(address)) {
        return refused("the cluster's own, as the platform says");
    }
    let public = PUBLIC.iter().filter_map(|range| range.parse::<Cidr>().ok()).any(|range| range.contains(address));
    if public { Ok(address) } else { refused("not allocated to anybody, RFC 4291") }
}

fn translated(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else { return None };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// An IPv4 range as a translator writes it; none for IPv6.
pub fn behind_a_translator(range: Cidr) -> Option<Cidr> {
    let (IpAddr::V4(first), length) = range.parts() else { return None };
    let [high, low] =
        [first.to_bits() >> 16, first.to_bits() & 0xffff].map(|half| u16::try_from(half).unwrap_or_default());
    Cidr::new(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into(), 96 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<IpAddr, Refused> {
        judge(text.parse().unwrap(), &[])
    }

    fn refused(text: &str) -> bool {
        of(text).is_err()
    }

    /// First and last address of each range, and whether its neighbours are public, as the registries have it.
    const EDGES: &[(&str, &str, bool, bool)] = &[
        ("0.0.0.0", "0.255.255.255", false, true),
        ("10.0.0.0", "10.255.255.255", true, true),
        ("100.64.0.0", "100.127.255.255", true, true),
        ("127.0.0.0", "127.255.255.255", true, true),
        ("169.254.0.0", "169.254.255.255", true, true),
        ("172.16.0.0", "172.31.255.255", true, true),
        ("192.0.0.0", "192.0.0.255", true, true),
        ("192.0.2.0", "192.0.2.255", true, true),
        ("192.31.196.0", "192.31.196.255", true, true),
        ("192.52.193.0", "192.52.193.255", true, true),
        ("192.88.99.0", "192.88.99.255", true, true),
        ("192.168.0.0", "192.168.255.255", true, true),
        ("192.175.48.0", "192.175.48.255", true, true),
        ("198.18.0.0", "198.19.255.255", true, true),
        ("198.51.100.0", "198.51.100.255", true, true),
        ("203.0.113.0", "203.0.113.255", true, true),
        ("224.0.0.0", "239.255.255.255", true, false),
        ("240.0.0.0", "255.255.255.255", false, false),
        ("::", "::", false, false),
        ("::1", "::1", false, false),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", false, false),
        ("100::", "100::ffff:ffff:ffff:ffff", false, false),
        ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", false, false),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", true, true),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
    ];

    fn beside(address: &str, step: i128) -> IpAddr {
        match address.parse().unwrap() {
            IpAddr::V4(v4) => {
                Ipv4Addr::from_bits(v4.to_bits().wrapping_add_signed(i32::try_from(step).unwrap())).into()
            }
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add_signed(step)).into(),
        }
    }

    #[test]
    fn every_special_range_is_refused_from_its_first_to_its_last_address_and_no_further() {
        assert_eq!(EDGES.len(), SPECIAL.len());
        for ((first, last, before, after), (range, _)) in EDGES.iter().zip(SPECIAL) {
            let range: Cidr = range.parse().unwrap();
            assert!(range.starts_at(first.parse().unwrap()) && range.contains(last.parse().unwrap()), "{range}");
            assert!(!range.contains(beside(last, 1)) && !range.contains(beside(first, -1)), "{range}");
            assert!(refused(first) && refused(last), "{range}");
            assert_eq!(judge(beside(first, -1), &[]).is_ok(), *before, "before {range}");
            assert_eq!(judge(beside(last, 1), &[]).is_ok(), *after, "after {range}");
        }
    }

    #[test]
    fn metadata_services_are_refused_in_every_form() {
        for text in
            ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fd00:ec2::254"]
        {
            assert!(refused(text), "{text}");
        }
    }

    #[test]
    fn an_ipv4_address_in_the_clothes_of_ipv6_is_judged_and_dialled_as_what_it_is() {
        assert_eq!(of("::ffff:8.8.8.8"), Ok("8.8.8.8".parse().unwrap()));
        for (first, last, ..) in EDGES.iter().filter(|(first, ..)| first.contains('.')) {
            for edge in [first, last] {
                assert!(refused(&format!("::ffff:{edge}")), "{edge}");
                // Compatible ones (RFC 4291, 2.5.5.1) are nobody's, whatever they hide.
                assert!(refused(&format!("::{edge}")) && refused("::8.8.8.8"), "{edge}");
            }
        }
    }

    #[test]
    fn what_a_translator_sends_on_is_judged_by_where_it_goes() {
        assert_eq!(of("64:ff9b::808:808"), Ok("64:ff9b::808:808".parse().unwrap()));
        for (first, last, ..) in EDGES.iter().filter(|(first, ..)| first.contains('.')) {
            assert!(refused(&format!("64:ff9b::{first}")) && refused(&format!("64:ff9b::{last}")), "{first}");
        }
        assert!(refused("64:ff9b:0:0:0:1:808:808"), "not the well-known prefix");
        let written = |text: &str| behind_a_translator(text.parse().unwrap()).map(|range| range.to_string());
        assert_eq!(written("10.0.0.0/8").as_deref(), Some("64:ff9b::a00:0/104"));
        assert_eq!(written("169.254.169.254/32").as_deref(), Some("64:ff9b::a9fe:a9fe/128"));
        assert_eq!(written("fc00::/7"), None);
    }

    #[test]
    fn only_global_unicast_is_public_in_ipv6() {
        for text in ["2600::1", "2a00:1450:4001:81b::200e", "3ffe:ffff::1"] {
            assert!(of(text).is_ok(), "{text}");
        }
        for text in ["1fff::1", "4000::1", "200::1", "8000::1", "::2", "::ffff:0:808:808"] {
            assert!(refused(text), "{text}");
        }
    }

    #[test]
    fn the_clusters_own_addresses_are_refused_in_every_form() {
        let own: Vec<Cidr> = ["8.8.0.0/16", "2a00:1450::/32"].map(|text| text.parse().unwrap()).to_vec();
        for text in ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2a00:1450::1"] {
            assert!(judge(text.parse().unwrap(), &own).is_err(), "{text}");
        }
        assert!(judge("8.9.0.0".parse().unwrap(), &own).is_ok() && judge("2a00:1451::".parse().unwrap(), &own).is_ok());
    }

    /// As the standard library knows them, which knows fewer.
    fn local(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => {
                let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
                v4.is_private()
                    || v4.is_loopback()
                    || v4.is_link_local()
                    || v4.is_broadcast()
                    || v4.is_documentation()
                    || v4.is_unspecified()
                    || v4.is_multicast()
                    || shared
            }
            IpAddr::V6(v6) => {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local()
                    || v6.to_ipv4().is_some_and(|v4| local(v4.into()))
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_local_passes_in_any_clothes(bits in proptest::num::u32::ANY, top in 0..256_u32, wide in proptest::num::u128::ANY) {
            // Few of all addresses are special: so the first byte is tried by itself.
            for bits in [bits, top << 24 | bits >> 8, 0xac10_0000 | bits >> 10, 0xc0a8_0000 | bits >> 16] {
                let v4 = Ipv4Addr::from_bits(bits);
                let translated = Ipv6Addr::from_bits(0x64_ff9b << 96 | u128::from(bits));
                let forms = [v4.into(), v4.to_ipv6_mapped().into(), translated.into()].map(|form| judge(form, &[]));
                proptest::prop_assert!(!local(v4.into()) || forms.iter().all(Result::is_err), "{v4}");
                proptest::prop_assert!(forms.iter().all(|form| form.is_ok() == forms[0].is_ok()), "{v4}: {forms:?}");
                proptest::prop_assert!(judge(v4.to_ipv6_compatible().into(), &[]).is_err(), "{v4}");
            }
            for bits in [wide, u128::from(top) << 120 | wide >> 8] {
                let v6 = Ipv6Addr::from_bits(bits);
                proptest::prop_assert!(judge(v6.into(), &[]).is_err() || (!local(v6.into()) && bits >> 125 == 1), "{v6}");
            }
        }
    }
}
