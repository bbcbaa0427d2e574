//! The same verdicts with real packets: the kernel is asked every question of the table that it can be asked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::fixture::{Case, Connection, bare, cases, rules};
use super::lab::{Lab, possible};
use crate::netpol::evaluate::End;
use crate::netpol::model::Protocol;

fn place(end: End) -> String {
    match end {
        End::Pod(pod) => format!("{}-{}", pod.namespace, pod.name),
        End::Node { name, .. } => name.to_owned(),
        End::Outside(_) => "outside".to_owned(),
    }
}

/// Not every question is one for a socket: SCTP is not built into every kernel, port 0 and class E cannot be bound.
fn can_be_asked(connection: &Connection) -> bool {
    connection.protocol != Protocol::Sctp
        && connection.port != 0
        && connection.to.address() < Ipv4Addr::new(224, 0, 0, 0)
}

fn ask(lab: &Lab, connection: &Connection, expected: bool) -> bool {
    let (from, to) = (place(connection.from), place(connection.to));
    let goal = SocketAddr::from((connection.to.address(), connection.port));
    if matches!(connection.from, End::Outside(_)) {
        lab.leave_as(connection.from.address());
    }
    if connection.protocol == Protocol::Tcp {
        let _listener = lab.listen(&to, goal);
        return lab.connects(&from, goal, expected);
    }
    let receiver = lab.inside(&to, || UdpSocket::bind(goal)).unwrap();
    lab.reaches(&from, &receiver, expected)
}

fn case(name: &str) -> Case {
    let found = cases().into_iter().find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("no case {name:?}"))
}

#[test]
fn the_kernel_gives_the_verdicts_of_the_table() {
    if !possible() {
        return;
    }
    let mut lab = Lab::new("t");
    let mut asked = [0, 0];
    for case in cases() {
        let world = case.world();
        lab.enforce(&rules(&world, true));
        for (text, expected) in case.questions() {
            let connection = Connection::parse(&world, text);
            if can_be_asked(&connection) {
                let verdict = ask(&lab, &connection, expected);
                assert_eq!(verdict, expected, "case {:?}: {text}", case.name);
                asked[usize::from(expected)] += 1;
            }
        }
    }
    assert!(asked[0] > 90 && asked[1] > 80, "refused and allowed: {asked:?}");
}

#[test]
fn without_rules_the_lab_lets_everything_pass() {
    if !possible() {
        return;
    }
    let lab = Lab::new("n");
    let world = bare();
    for text in ["c/client > a/web tcp/8080", "198.51.100.9 > a/db tcp/5432", "a/web > b/web udp/53"] {
        assert!(ask(&lab, &Connection::parse(&world, text), true), "{text}");
    }
}

#[test]
fn an_open_connection_outlives_a_new_policy_and_a_new_one_is_refused() {
    if !possible() {
        return;
    }
    let mut lab = Lab::new("e");
    lab.enforce(&rules(&bare(), true));
    let goal = SocketAddr::from(([192, 0, 2, 1], 8080));
    let listener = lab.listen("a-web", goal);
    let mut client = lab.inside("c-client", || TcpStream::connect(goal)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let deny = "an ingress policy without rules refuses all that comes in, and nothing that goes out";
    lab.enforce(&rules(&case(deny).world(), true));
    client.write_all(b"still here").unwrap();
    let mut heard = [0; 10];
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    server.read_exact(&mut heard).unwrap();
    assert!(!lab.connects("c-client", goal, false));
}

#[test]
fn a_pod_that_nobody_announced_reaches_nothing_until_it_is_known() {
    if !possible() {
        return;
    }
    let mut lab = Lab::new("u");
    let goal = SocketAddr::from(([192, 0, 2, 1], 8080));
    let _listener = lab.listen("a-web", goal);
    lab.add_pod("node1", "a-new", Ipv4Addr::new(192, 0, 2, 30));
    let mut world = bare();
    lab.enforce(&rules(&world, true));
    assert!(!lab.connects("a-new", goal, false));
    let mut new = world.pods.first().unwrap().clone();
    (new.name, new.address) = ("new".to_owned(), Ipv4Addr::new(192, 0, 2, 30));
    world.pods.push(new);
    lab.enforce(&rules(&world, true));
    assert!(lab.connects("a-new", goal, true));
}

/// Ends the sender also when something beside it fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_packet_slips_through_while_rules_are_replaced() {
    if !possible() {
        return;
    }
    let mut lab = Lab::new("r");
    let deny = case("an egress policy without rules refuses all that goes out, and nothing that comes in");
    let rules = rules(&deny.world(), true);
    lab.enforce(&rules);
    let goal = SocketAddr::from(([192, 0, 2, 3], 9));
    let receiver = lab.inside("b-other", || UdpSocket::bind(goal)).unwrap();
    let sender = lab.inside("a-web", || UdpSocket::bind("0.0.0.0:0")).unwrap();
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                sent += u32::from(sender.send_to(b"his", goal).is_ok());
                std::thread::yield_now();
            }
            sent
        });
        let stopping = Stop(&stop);
        for _ in 0..30 {
            lab.enforce(&rules);
        }
        drop(stopping);
        sending.join().unwrap()
    });
    assert!(sent > 100, "only {sent} datagrams were sent");
    receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(receiver.recv(&mut [0; 8]).is_err(), "a refused datagram arrived");
    let left = lab.listing("node1").matches("chain from-pod-").count();
    assert_eq!(left, 1, "rules that were replaced are still there");
    // The same socket pair does work once the rules are gone.
    lab.remove();
    assert!(lab.reaches("a-web", &receiver, true));
    assert_eq!(lab.listing("node1"), "");
}
