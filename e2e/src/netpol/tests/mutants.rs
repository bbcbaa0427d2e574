//! Wrong readings of the specification, each of which the table of cases must catch.

use super::fixture::{Connection, Rules, cases, rules};
use crate::netpol::model::{Namespaces, Peer, Peers, Port, Ports, Protocol, Requirement, Rule, Selector, Which, World};

/// A name and what it does.
type Mutant<T> = (&'static str, fn(&mut T));

fn each_rule(world: &mut World, change: impl Fn(&mut Rule)) {
    for policy in &mut world.policies {
        policy.ingress.iter_mut().flatten().for_each(&change);
        policy.egress.iter_mut().flatten().for_each(&change);
    }
}

fn each_peer(world: &mut World, change: impl Fn(Peer) -> Vec<Peer>) {
    each_rule(world, |rule| {
        if let Peers::Only(peers) = &mut rule.peers {
            *peers = std::mem::take(peers).into_iter().flat_map(&change).collect();
        }
    });
}

fn each_port(world: &mut World, change: impl Fn(Port) -> Vec<Port>) {
    each_rule(world, |rule| {
        if let Ports::Only(ports) = &mut rule.ports {
            *ports = std::mem::take(ports).into_iter().flat_map(&change).collect();
        }
    });
}

fn empty_from_means_nobody(world: &mut World) {
    each_rule(world, |rule| {
        if rule.peers == Peers::Everyone {
            rule.peers = Peers::Only(Vec::new());
        }
    });
}

fn peers_that_match_nobody_mean_everyone(world: &mut World) {
    each_rule(world, |rule| {
        if rule.peers == Peers::Only(Vec::new()) {
            rule.peers = Peers::Everyone;
        }
    });
}

fn egress_is_ignored(world: &mut World) {
    for policy in &mut world.policies {
        policy.egress = None;
    }
}

fn ingress_is_always_isolated(world: &mut World) {
    for policy in &mut world.policies {
        policy.ingress.get_or_insert_default();
    }
}

fn both_selectors_of_a_peer_are_alternatives(world: &mut World) {
    each_peer(world, |peer| match peer {
        Peer::Pods { namespaces: Namespaces::Labelled(namespaces), pods } => vec![
            Peer::Pods { namespaces: Namespaces::Labelled(namespaces), pods: Selector::default() },
            Peer::Pods { namespaces: Namespaces::Own, pods },
        ],
        other => vec![other],
    });
}

fn pod_selector_reaches_every_namespace(world: &mut World) {
    each_peer(world, |peer| match peer {
        Peer::Pods { pods, .. } => vec![Peer::Pods { namespaces: Namespaces::Labelled(Selector::default()), pods }],
        other @ Peer::Block { .. } => vec![other],
    });
}

fn except_is_ignored(world: &mut World) {
    each_peer(world, |peer| match peer {
        Peer::Block { cidr, .. } => vec![Peer::Block { cidr, except: Vec::new() }],
        other @ Peer::Pods { .. } => vec![other],
    });
}

fn not_in_needs_the_label(world: &mut World) {
    each_peer(world, |peer| match peer {
        Peer::Pods { namespaces, mut pods } => {
            let keys = pods.0.iter().filter_map(|one| match one {
                Requirement::NotIn(key, _) => Some(Requirement::Exists(key.clone())),
                _ => None,
            });
            let needed: Vec<_> = keys.collect();
            pods.0.extend(needed);
            vec![Peer::Pods { namespaces, pods }]
        }
        other @ Peer::Block { .. } => vec![other],
    });
}

fn end_port_is_ignored(world: &mut World) {
    each_port(world, |mut port| {
        if let Which::Numbers(first, last) = &mut port.which {
            *last = *first;
        }
        vec![port]
    });
}

fn named_ports_mean_nothing(world: &mut World) {
    each_port(world, |port| match port.which {
        Which::Named(_) => Vec::new(),
        Which::Numbers(..) => vec![port],
    });
}

fn protocol_is_ignored(world: &mut World) {
    each_port(world, |port| {
        let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let other = |protocol| Port { protocol, ..port.clone() };
        all.map(other).to_vec()
    });
}

fn pods_being_deleted_are_forgotten(world: &mut World) {
    for pod in &mut world.pods {
        if pod.name == "leaving" {
            pod.labels.insert("app".to_owned(), String::new());
        }
    }
}

fn ignored_ingress(rules: &mut Rules) {
    for node in rules.values_mut() {
        node.ingress.clear();
    }
}

fn ignored_egress(rules: &mut Rules) {
    for node in rules.values_mut() {
        node.egress.clear();
    }
}

fn forgotten_pods(rules: &mut Rules) {
    for node in rules.values_mut() {
        node.pods.clear();
    }
}

fn only_the_first_grant(rules: &mut Rules) {
    for chain in rules.values_mut().flat_map(|node| &mut node.chains) {
        while chain.grants.len() > 1 {
            chain.grants.pop_last();
        }
    }
}

/// Cases with a wrong verdict, of the reading and of the rules.
fn caught(world: impl Fn(&mut World), change: impl Fn(&mut Rules)) -> (Vec<String>, Vec<String>) {
    let (mut reading, mut enforced) = (Vec::new(), Vec::new());
    for case in cases() {
        let mut mutant = case.world();
        world(&mut mutant);
        let mut rules = rules(&mutant, true);
        change(&mut rules);
        for (text, expected) in case.questions() {
            let connection = Connection::parse(&mutant, text);
            if connection.by_the_specification(&mutant) != expected {
                reading.push(case.name.clone());
            }
            if connection.by_the_rules(&rules) != expected {
                enforced.push(case.name.clone());
            }
        }
    }
    (reading, enforced)
}

#[test]
fn the_table_catches_every_wrong_reading() {
    let mutants: [Mutant<World>; 12] = [
        ("empty from means nobody", empty_from_means_nobody),
        ("no match means everyone", peers_that_match_nobody_mean_everyone),
        ("egress is ignored", egress_is_ignored),
        ("ingress is always isolated", ingress_is_always_isolated),
        ("selectors are alternatives", both_selectors_of_a_peer_are_alternatives),
        ("podSelector reaches every namespace", pod_selector_reaches_every_namespace),
        ("except is ignored", except_is_ignored),
        ("NotIn needs the label", not_in_needs_the_label),
        ("endPort is ignored", end_port_is_ignored),
        ("named ports mean nothing", named_ports_mean_nothing),
        ("protocol is ignored", protocol_is_ignored),
        ("leaving pods are forgotten", pods_being_deleted_are_forgotten),
    ];
    for (name, mutant) in mutants {
        let (reading, enforced) = caught(mutant, |_| {});
        assert!(!reading.is_empty(), "no case catches the reading {name:?}");
        assert!(!enforced.is_empty(), "no case catches the rules of {name:?}");
    }
}

#[test]
fn the_table_catches_broken_rules() {
    let mutants: [Mutant<Rules>; 4] = [
        ("ingress is not enforced", ignored_ingress),
        ("egress is not enforced", ignored_egress),
        ("the node forgot its pods", forgotten_pods),
        ("only the first grant counts", only_the_first_grant),
    ];
    for (name, mutant) in mutants {
        let (reading, enforced) = caught(|_| {}, mutant);
        assert_eq!(reading, Vec::<String>::new());
        assert!(!enforced.is_empty(), "no case catches {name:?}");
    }
}

#[test]
fn nothing_is_caught_where_nothing_is_wrong() {
    assert_eq!(caught(|_| {}, |_| {}), (Vec::new(), Vec::new()));
}
