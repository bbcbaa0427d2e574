//! From what a client asks for to a connection with it.

use std::net::{IpAddr, SocketAddr};

use hyper::http::uri::Authority;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{Gate, Outside, tell::Refusal};
use crate::tenant::hostname::Name;

/// Addresses that are dialled before a server counts as unreached.
const DIALLED: usize = 4;

/// A server that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: Name,
    pub(super) port: u16,
}

impl Target {
    /// What a CONNECT asks for (RFC 9112, 3.2.3). A user or an address in front of the port is no name.
    pub(super) fn of(authority: &Authority) -> Option<Self> {
        let (host, port) = authority.as_str().rsplit_once(':')?;
        // As written: `u16` would take a sign.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self { host: host.parse().ok()?, port: port.parse().ok().filter(|_| digits)? })
    }
}

impl<O: Outside> Gate<O> {
    /// Judges a target, then connects with the address that was judged.
    pub(super) async fn open(&self, target: &Target) -> Result<(TcpStream, IpAddr), Refusal> {
        if !self.hosts.iter().any(|listed| listed.matches(&target.host)) {
            return Err(Refusal::Host);
        }
        if !self.ports.contains(&target.port) {
            let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
            return Err(Refusal::Port(target.port, ports.join(" or ")));
        }
        let deadline = Instant::now() + self.limits.opening;
        let addresses = timeout_at(deadline, self.addresses(&target.host)).await.map_err(|_| Refusal::Late)??;
        dial(&addresses, target.port, deadline).await
    }

    /// The one resolution. A name with one address that is refused is refused as a whole: nobody who means well mixes them,
    /// and whoever mixes them chooses which one is dialled.
    async fn addresses(&self, host: &Name) -> Result<Vec<IpAddr>, Refusal> {
        let found = self.outside.resolve(host).await.map_err(|_| Refusal::NoAddress)?;
        let judged = found.into_iter().map(|address| self.outside.judge(address).map_err(Refusal::Address));
        let judged: Vec<IpAddr> = judged.collect::<Result<_, _>>()?;
        if judged.is_empty() { Err(Refusal::NoAddress) } else { Ok(judged) }
    }
}

/// Connects with one of these addresses, each of which gets its share of the time.
async fn dial(addresses: &[IpAddr], port: u16, deadline: Instant) -> Result<(TcpStream, IpAddr), Refusal> {
    let mut failure = Refusal::Unreached;
    let mut left = u32::try_from(addresses.len().min(DIALLED)).unwrap_or(1);
    for address in addresses.iter().take(DIALLED) {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match timeout_at(Instant::now() + share, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(_)) => failure = Refusal::Unreached,
            Err(_) => failure = Refusal::Late,
        }
    }
    Err(failure)
}
