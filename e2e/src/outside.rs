//! The world outside of the cluster: a server on the internet and the metadata service of a cloud, played by one host in a
//! network namespace of its own, which nobody but the nodes can reach.
//!
//! Guarantees that a connection which nothing forbids opens, so that one which does not was forbidden.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use tokio::task::JoinSet;

/// A server on the internet: RFC 5737, nobody's.
pub const INTERNET: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 443);
/// Where clouds tell machines their credentials.
pub const METADATA: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80);
/// All that listens.
pub const ALL: [SocketAddrV4; 2] = [INTERNET, METADATA];

/// Listens until it is killed. Must be called on a thread that does nothing else afterwards, because the thread stays in the
/// namespace.
pub fn run(netns: &str) -> Result<()> {
    let path: PathBuf = Path::new("/run/netns").join(netns);
    let namespace = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", path.display()))?;
    let listen = |address| TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
    let listeners = ALL.map(listen).into_iter().collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    runtime.block_on(async {
        let mut servers = JoinSet::new();
        for listener in listeners {
            listener.set_nonblocking(true).context("a socket stays blocking")?;
            servers.spawn(greet(tokio::net::TcpListener::from_std(listener)?));
        }
        servers.join_next().await.context("nobody listens")??
    })
}

/// Opens each connection and closes it again: that is all that anybody wants to know.
async fn greet(listener: tokio::net::TcpListener) -> Result<()> {
    loop {
        drop(listener.accept().await?);
    }
}
