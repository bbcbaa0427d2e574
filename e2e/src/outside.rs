//! The world outside of the cluster: a server on the internet and the metadata service of a cloud, played by one host in a
//! network namespace of its own, which nobody but the nodes can reach.
//!
//! Guarantees that a connection which nothing forbids opens, so that one which does not was forbidden.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use rcgen::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, ServerConfig, pki_types::PrivateKeyDer},
};

/// Bytes of a request, and seconds of an exchange.
const LONGEST: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on the internet: RFC 5737, nobody's.
pub const INTERNET: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 443);
/// Where clouds tell machines their credentials.
pub const METADATA: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80);
/// One with an address that the world may reach, which the documentation's are not: a research prefix of APNIC's. Without a
/// way out of our namespaces nobody else can be meant.
pub const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(1, 2, 3, 4), 443);
/// Whom the certificate of the server on the internet is for.
pub const HOST: &str = "results.laboratory.example";
/// What it answers.
pub const ANSWER: &str = "outside";
/// All that listens.
pub const ALL: [SocketAddrV4; 3] = [INTERNET, METADATA, SERVER];

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
        for (address, listener) in ALL.iter().zip(listeners) {
            listener.set_nonblocking(true).context("a socket stays blocking")?;
            let tls = (address.port() == 443).then(acceptor).transpose()?;
            servers.spawn(serve(tokio::net::TcpListener::from_std(listener)?, tls));
        }
        servers.join_next().await.context("nobody listens")??
    })
}

/// TLS with a certificate that nobody has signed.
fn acceptor() -> Result<TlsAcceptor> {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let tls = tls.clone();
        // A connection that breaks is the business of the one who opened it.
        tokio::spawn(timeout(PATIENCE, async move {
            match tls {
                Some(tls) => answer(tls.accept(stream).await?).await,
                None => answer(stream).await,
            }
        }));
    }
}

/// One request, one answer.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && request.len() < LONGEST {
        request.push(stream.read_u8().await?);
    }
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{ANSWER}", ANSWER.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
