//! What the table cannot say: addresses nobody announced, printed text, competing claims.

use std::net::Ipv4Addr;

use super::fixture::{bare, cases};
use crate::netpol::compile::compile;
use crate::netpol::model::Protocol;
use crate::netpol::nft;
use crate::netpol::ruleset::{Hook, Packet};

fn from_stranger(from_pod: bool) -> Packet {
    Packet {
        hook: Hook::Forward,
        source: Ipv4Addr::new(192, 0, 2, 99),
        destination: Ipv4Addr::new(198, 51, 100, 9),
        protocol: Protocol::Tcp,
        port: 443,
        from_pod,
        to_pod: false,
    }
}

#[test]
fn an_address_nobody_announced_is_refused_on_a_pods_interface_alone() {
    let strict = compile(&bare(), "node1", true);
    assert!(!strict.passes(&from_stranger(true)));
    assert!(strict.passes(&from_stranger(false)));
    assert!(compile(&bare(), "node1", false).passes(&from_stranger(true)));
}

#[test]
fn pods_with_the_same_rules_share_a_chain() {
    let mut world = bare();
    let case = cases().into_iter().find(|case| {
        case.name == "an egress policy without rules refuses all that goes out, and nothing that comes in"
    });
    world.policies = case.unwrap().world().policies;
    let rules = compile(&world, "node1", false);
    assert_eq!((rules.egress.len(), rules.chains.len()), (2, 1));
}

#[test]
fn text_names_only_our_own_table_and_retires_all_it_added() {
    for case in cases() {
        let printed = nft::print(&compile(&case.world(), "node1", true), 7);
        let tables = printed.enforce.matches("table ").count();
        assert_eq!(tables, printed.enforce.matches("table inet his-netpol {").count());
        for kind in ["set", "map", "chain"] {
            let added = printed.enforce.matches(&format!("\n  {kind} ")).count();
            let deleted = printed.retire.matches(&format!("delete {kind} ")).count();
            let base = if kind == "chain" { 4 } else { 0 };
            assert_eq!(added, deleted + base, "{kind}: {}", printed.enforce);
        }
    }
}

#[test]
fn a_node_without_pods_gets_empty_sets_and_no_chains() {
    let text = nft::print(&compile(&bare(), "node9", true), 1).enforce;
    assert!(!text.contains("elements") && !text.contains("chain pods-"), "{text}");
}
