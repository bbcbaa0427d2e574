//! The cluster of the cases in network namespaces: two nodes that route, a namespace for each pod, and one for
//! everything outside. All addresses are for documentation (RFC 5737) or link-local, and nothing leads out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use super::fixture::{NODES, Rules, bare};
use crate::netpol::table::Table;
use crate::shell::{command, nsenter_net};

/// How long a refused packet is waited for; an allowed one has [`PATIENCE`].
const REFUSED: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(5);

const OUTSIDE: [&str; 3] = ["198.51.100.0/24", "203.0.113.0/24", "169.254.169.254/32"];

/// Whether network namespaces can be made; says so if not, because nothing is tested then.
pub fn possible() -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        eprintln!("not root: the test with real packets did not run");
    }
    root
}

/// Removes its namespaces, and with them every interface, when dropped.
pub struct Lab {
    prefix: String,
    namespaces: Vec<String>,
    tables: BTreeMap<&'static str, Table>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.namespaces {
            if let Err(error) = command("ip").args(["netns", "del", name]).output() {
                eprintln!("{error:#}");
            }
        }
    }
}

impl Lab {
    /// `tag` keeps tests of one process apart.
    pub fn new(tag: &str) -> Self {
        let mut lab = Self {
            prefix: format!("hisnp{}{tag}", std::process::id()),
            namespaces: Vec::new(),
            tables: BTreeMap::new(),
        };
        for (name, address) in NODES {
            lab.make(name);
            lab.ip(name, &format!("addr add {address}/32 dev lo"));
            lab.set(name, "net.ipv4.ip_forward=1");
            lab.set(name, "net.ipv4.conf.all.rp_filter=0");
        }
        lab.join("node1", "between", "node2", "between");
        for ((one, source), (_, other)) in [(NODES[0], NODES[1]), (NODES[1], NODES[0])] {
            lab.ip(one, &format!("route add {other}/32 dev between src {source}"));
        }
        lab.ip("node1", "route add 192.0.2.64/26 via 192.0.2.202 dev between onlink");
        lab.ip("node2", "route add 192.0.2.0/26 via 192.0.2.201 dev between onlink");
        for pod in bare().pods {
            let name = format!("{}-{}", pod.namespace, pod.name);
            lab.add_pod(&pod.node, &name, pod.address);
        }
        lab.add_outside();
        lab
    }

    pub fn add_pod(&mut self, node: &str, name: &str, address: Ipv4Addr) {
        let (_, gateway) = NODES.into_iter().find(|(one, _)| *one == node).unwrap();
        let host_end = format!("veth{name}");
        self.make(name);
        self.join(node, &host_end, name, "eth0");
        self.ip(node, &format!("route add {address}/32 dev {host_end} src {gateway}"));
        self.ip(name, &format!("addr add {address}/32 dev eth0"));
        self.ip(name, &format!("route add {gateway}/32 dev eth0"));
        self.ip(name, &format!("route add default via {gateway} src {address}"));
    }

    fn add_outside(&mut self) {
        self.make("outside");
        self.join("node1", "edge", "outside", "eth0");
        self.ip("outside", "addr add 198.51.100.254/32 dev lo");
        self.ip("outside", "route add 192.0.2.201/32 dev eth0");
        for range in OUTSIDE {
            self.ip("outside", &format!("route add local {range} dev lo"));
            self.ip("node1", &format!("route add {range} dev edge src 192.0.2.201"));
            self.ip("node2", &format!("route add {range} via 192.0.2.201 dev between onlink"));
        }
        self.leave_as(Ipv4Addr::new(198, 51, 100, 254));
    }

    /// The source address of what comes from outside from now on.
    pub fn leave_as(&self, source: Ipv4Addr) {
        let route = "route replace 192.0.2.0/24 via 192.0.2.201 dev eth0 onlink src";
        self.ip("outside", &format!("{route} {source}"));
    }

    fn make(&mut self, name: &str) {
        let full = self.name(name);
        command("ip").args(["netns", "add", &full]).output().unwrap();
        self.namespaces.push(full);
        self.ip(name, "link set lo up");
    }

    fn join(&self, one: &str, one_end: &str, other: &str, other_end: &str) {
        let there = self.name(other);
        let veth = format!("link add {one_end} type veth peer name {other_end} netns {there}");
        self.ip(one, &veth);
        self.ip(one, &format!("link set {one_end} up"));
        self.ip(other, &format!("link set {other_end} up"));
    }

    fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    pub fn ip(&self, name: &str, arguments: &str) {
        let ip = command("ip").args(["-n", &self.name(name)]);
        ip.args(arguments.split(' ')).output().unwrap();
    }

    fn set(&self, name: &str, setting: &str) {
        let sysctl = nsenter_net(&self.name(name), "sysctl");
        sysctl.args(["-qw", setting]).output().unwrap();
    }

    /// All that nftables holds on a node.
    pub fn listing(&self, node: &str) -> String {
        let nft = nsenter_net(&self.name(node), "nft").args(["list", "ruleset"]);
        nft.output().unwrap()
    }

    pub fn enforce(&mut self, rules: &Rules) {
        for (node, ruleset) in rules {
            let netns = self.name(node);
            let table = self.tables.entry(node).or_insert_with(|| Table::new(netns));
            table.enforce(ruleset.clone()).unwrap();
        }
    }

    pub fn remove(&mut self) {
        self.tables.values_mut().for_each(|table| table.remove().unwrap());
    }

    /// Runs something in a namespace, on a thread of its own that ends with it.
    pub fn inside<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name(name))).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// A listener whose connections the kernel completes; nobody needs to accept them.
    pub fn listen(&self, name: &str, address: SocketAddr) -> TcpListener {
        self.inside(name, || TcpListener::bind(address)).unwrap()
    }

    /// Whether a TCP connection comes about. Silence means refused; anything else is a broken lab.
    pub fn connects(&self, name: &str, to: SocketAddr, expected: bool) -> bool {
        let patience = if expected { PATIENCE } else { REFUSED };
        match self.inside(name, || TcpStream::connect_timeout(&to, patience)) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::TimedOut => false,
            Err(error) => panic!("{name} to {to}: {error}"),
        }
    }

    /// Whether one of some datagrams arrives at `receiver`.
    pub fn reaches(&self, name: &str, receiver: &UdpSocket, expected: bool) -> bool {
        let patience = if expected { PATIENCE } else { REFUSED };
        let sender = self.inside(name, || UdpSocket::bind("0.0.0.0:0")).unwrap();
        let goal = receiver.local_addr().unwrap();
        let until = Instant::now() + patience;
        receiver.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        while Instant::now() < until {
            sender.send_to(b"his", goal).unwrap();
            if receiver.recv(&mut [0; 8]).is_ok() {
                return true;
            }
        }
        false
    }
}
