//! The gate through which a hospital's components call servers outside: a forward proxy that serves CONNECT and nothing else
//! (RFC 9110, 9.3.6).
//!
//! Guarantees: a tunnel leads to a listed name, on a listed port, at an address that was judged after the one resolution there
//! is: that very address is dialled. What goes through begins with a TLS ClientHello for that name. A redirect is another
//! CONNECT, and judged like the first. One line of JSON tells of each, in a chained log; no path, no header and no payload is kept.

mod hello;
mod open;
mod serve;
mod tell;
#[cfg(test)]
mod tests;
mod tunnel;

use std::{
    collections::BTreeSet,
    future::Future,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use serde::Serialize;
use tokio::{
    net::{TcpListener, lookup_host},
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::chain::Chain;
use crate::{
    ports::{Clock, SystemClock},
    tenant::{
        cidr::Cidr,
        hostname::{Name, Pattern},
        special::{self, Refused},
    },
};
use serve::serve;
use tell::Line;

/// Threads that wait for the resolver; what it has given up on may still hold some.
const RESOLVING: usize = 32;

/// What may be called, and what never is.
#[derive(Args, Clone, Debug)]
pub struct Egress {
    /// A server that may be called: a DNS name, or *.example.org for every name below it.
    #[arg(long = "host", required = true)]
    hosts: Vec<Pattern>,
    /// A port on which it may be called.
    #[arg(long = "port", default_values_t = [443])]
    ports: Vec<u16>,
    /// Addresses that are never dialled, as CIDR, beside those that no server on the internet has.
    #[arg(long = "deny")]
    deny: Vec<Cidr>,
    /// Port to listen on; 0 takes one that is free.
    #[arg(long, default_value_t = 3128)]
    listen: u16,
}

/// Why there is no gate.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The runtime does not start.
    #[error("the gate cannot start: {0}")]
    Start(#[source] io::Error),
    /// Somebody else listens.
    #[error("the gate cannot listen on port {port}: {source}; give another --listen")]
    Listen {
        /// TCP port.
        port: u16,
        /// Cause.
        source: io::Error,
    },
}

impl Egress {
    /// Serves until it is told to end.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(RESOLVING).build().map_err(Failure::Start)?;
        let served = runtime.block_on(self.until_told());
        // A resolver that does not answer holds nobody back.
        runtime.shutdown_background();
        served
    }

    async fn until_told(&self) -> Result<(), Failure> {
        let mut told = signal(SignalKind::terminate()).map_err(Failure::Start)?;
        let port = self.listen;
        // IPv6 takes IPv4 too; without it, IPv4 alone.
        let all = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
        let listener = TcpListener::bind(&all[..]).await.map_err(|source| Failure::Listen { port, source })?;
        let port = listener.local_addr().map_or(port, |own| own.port());
        let outside = Internet { own: self.deny.clone(), log: Chain::default() };
        outside.write(&Listening { listening: port });
        let gate = Gate::new(self.hosts.clone(), self.ports.iter().copied().collect(), outside, Limits::default());
        serve(listener, Arc::new(gate), async {
            told.recv().await;
        })
        .await;
        Ok(())
    }
}

/// What a gate knows of the world beyond its rules.
trait Outside: Send + Sync + 'static {
    /// All addresses of a name.
    fn resolve(&self, name: &Name) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
    /// The address to dial, or why it is not dialled.
    fn judge(&self, address: IpAddr) -> Result<IpAddr, Refused>;
    /// Keeps a line.
    fn tell(&self, line: &Line<'_>);
}

/// The resolver of the pod, and the tables of IANA.
struct Internet {
    own: Vec<Cidr>,
    log: Chain,
}

/// First line of a log.
#[derive(Serialize)]
struct Listening {
    listening: u16,
}

impl Internet {
    fn write(&self, line: &impl Serialize) {
        // Nobody is left to tell if standard output is closed.
        self.log.add(line, SystemClock.now(), |text| drop(io::stdout().write_all(text.as_bytes())));
    }
}

impl Outside for Internet {
    async fn resolve(&self, name: &Name) -> io::Result<Vec<IpAddr>> {
        Ok(lookup_host((name.absolute(), 0)).await?.map(|found| found.ip()).collect())
    }

    fn judge(&self, address: IpAddr) -> Result<IpAddr, Refused> {
        special::judge(address, &self.own)
    }

    fn tell(&self, line: &Line<'_>) {
        self.write(line);
    }
}

/// How much, and how long.
#[derive(Clone, Debug)]
struct Limits {
    /// Connections at once; more wait until they are accepted.
    connections: usize,
    /// For the request to be whole.
    asking: Duration,
    /// For name and connection.
    opening: Duration,
    /// For the ClientHello.
    greeting: Duration,
    /// Without a byte in either direction.
    idle: Duration,
    /// For tunnels to end by themselves once the gate must.
    draining: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            asking: Duration::from_secs(10),
            opening: Duration::from_secs(10),
            greeting: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            draining: Duration::from_secs(25),
        }
    }
}

/// The rules of one gate, and how far it is.
struct Gate<O> {
    hosts: Vec<Pattern>,
    ports: BTreeSet<u16>,
    outside: O,
    limits: Limits,
    phase: watch::Sender<Phase>,
}

/// How far a gate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Takes connections.
    Open,
    /// Takes no more; those that there are may end by themselves.
    Draining,
    /// Ends those that there are.
    Closed,
}

impl<O: Outside> Gate<O> {
    fn new(hosts: Vec<Pattern>, ports: BTreeSet<u16>, outside: O, limits: Limits) -> Self {
        Self { hosts, ports, outside, limits, phase: watch::Sender::new(Phase::Open) }
    }
}
