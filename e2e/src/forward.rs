//! Two ports of the host's loopback that lead into the cluster: the API server and the gateway.
//!
//! Guarantees that the cluster needs no interface and no address on the host: the listening sockets are made in the
//! host's network, and only then does this process move into the network of a node, from where it connects. Must never
//! listen on anything but loopback.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::{Api, Client};
use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::control_plane;

/// How long an address of the gateway is believed.
const FRESH: Duration = Duration::from_secs(5);
/// How long a new one is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What to forward, and from where.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Network namespace from which connections are made.
    pub netns: String,
    /// Loopback port that leads to `api`.
    pub api_port: u16,
    pub api: SocketAddrV4,
    /// Loopback port that leads to port 80 of the gateway.
    pub gateway_port: u16,
    /// Labels of the Service that the gateway serves on.
    pub gateway: String,
    /// Finds that Service, from inside the namespace.
    pub kubeconfig: PathBuf,
}

/// Forwards until it is killed. Must be called on a thread that does nothing else afterwards, because the thread stays
/// in the namespace.
pub fn run(forward: &Forward) -> Result<()> {
    let api = listen(forward.api_port)?;
    let gateway = listen(forward.gateway_port)?;
    let path = Path::new("/run/netns").join(&forward.netns);
    let namespace = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", path.display()))?;
    // One thread only: the namespace belongs to this thread, and a second one would connect from the host.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start tokio")?;
    runtime.block_on(serve(forward, api, gateway))
}

fn listen(port: u16) -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
        format!("cannot listen on 127.0.0.1:{port}: choose another port with --api-port or --gateway-port")
    })?;
    listener.set_nonblocking(true).context("cannot make a socket nonblocking")?;
    Ok(listener)
}

async fn serve(forward: &Forward, api: TcpListener, gateway: TcpListener) -> Result<()> {
    let (api, gateway) = (tokio::net::TcpListener::from_std(api)?, tokio::net::TcpListener::from_std(gateway)?);
    let address = Arc::new(Mutex::new(GatewayAddress::new(forward)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = api.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(join(stream, SocketAddr::V4(forward.api)));
            },
            accepted = gateway.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(join_gateway(stream, Arc::clone(&address)));
            },
            Some(_) = connections.join_next() => {},
        }
    }
}

async fn join_gateway(outside: TcpStream, address: Arc<Mutex<GatewayAddress>>) {
    let found = address.lock().await.current().await;
    match found {
        Ok(to) => join(outside, to).await,
        // The caller sees a closed connection, which is what a missing gateway looks like.
        Err(error) => eprintln!("no gateway: {error:#}"),
    }
}

/// Carries bytes both ways until both sides have ended. What the one side does to its connection, the other one sees.
async fn join(mut outside: TcpStream, to: SocketAddr) {
    let carried = async {
        let mut inside = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
        outside.set_nodelay(true)?;
        inside.set_nodelay(true)?;
        tokio::io::copy_bidirectional(&mut outside, &mut inside).await.with_context(|| format!("lost {to}"))
    };
    if let Err(error) = carried.await {
        eprintln!("{error:#}");
    }
}

/// Where the gateway's Service is now.
struct GatewayAddress {
    kubeconfig: PathBuf,
    labels: String,
    client: Option<Client>,
    known: Option<(Instant, SocketAddr)>,
}

impl GatewayAddress {
    fn new(forward: &Forward) -> Self {
        Self { kubeconfig: forward.kubeconfig.clone(), labels: forward.gateway.clone(), client: None, known: None }
    }

    /// Users reach the gateway also while the API server is gone: then the address of before still holds.
    async fn current(&mut self) -> Result<SocketAddr> {
        let Some((at, address)) = self.known else { return self.find().await };
        if at.elapsed() < FRESH {
            return Ok(address);
        }
        if let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, self.find()).await {
            return Ok(found);
        }
        self.known = Some((Instant::now(), address));
        Ok(address)
    }

    async fn find(&mut self) -> Result<SocketAddr> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(control_plane::client_from(&self.kubeconfig).await?).clone(),
        };
        let services = Api::<Service>::all(client).list(&ListParams::default().labels(&self.labels)).await?;
        let address = services.items.into_iter().find_map(cluster_ip);
        let address = address.with_context(|| format!("no Service with an address has labels {}", self.labels))?;
        self.known = Some((Instant::now(), address));
        Ok(address)
    }
}

fn cluster_ip(service: Service) -> Option<SocketAddr> {
    Some(SocketAddr::new(service.spec?.cluster_ip?.parse().ok()?, 80))
}
