//! Everybody knocks at everybody: of two hospitals and of all that runs beside them, exactly those connections open that the
//! hospitals' statuses say are allowed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use serde::Deserialize;
use serde_json::json;

use super::{Stand, Theatre, named::network};
use crate::{
    cluster::Layout,
    demo::resources::tenants,
    knock,
    outside::{HOST, INTERNET, METADATA, SERVER},
};

const COMPONENT: &str = "app.kubernetes.io/component";
/// The API server, as pods reach it.
const API_SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 1), 443);
/// Nobody declares these, and somebody answers at each.
const ELSEWHERE: [SocketAddrV4; 4] = [API_SERVER, INTERNET, METADATA, SERVER];

/// A pod with a place of its own in the network.
#[derive(PartialEq)]
struct Knocker {
    namespace: String,
    labels: BTreeMap<String, String>,
    name: String,
    address: Ipv4Addr,
    ports: BTreeSet<u16>,
}

/// A hospital with what it says is allowed.
struct Declared {
    namespace: String,
    network: Network,
}

/// `status.network`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Network {
    flows: Vec<Flow>,
    omitted: i32,
    peers: Vec<Peer>,
}

#[derive(Deserialize)]
struct Flow {
    from: String,
    to: String,
    port: u16,
    protocol: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peer {
    name: String,
    namespace: Option<String>,
    #[serde(default)]
    pod_labels: BTreeMap<String, String>,
    #[serde(default)]
    cidrs: Vec<String>,
}

/// See the module.
pub async fn every_pair(theatre: &Theatre) -> Result<String> {
    let stand = Stand::open_with(theatre, "matrix", &["v0".to_owned()], &json!({"network": network(HOST)})).await?;
    let tried = tried(theatre, [&theatre.hospital.name, &stand.hospital.name]).await;
    stand.close(theatre).await?;
    tried
}

async fn tried(theatre: &Theatre, names: [&str; 2]) -> Result<String> {
    let hospitals = [declared(theatre, names[0]).await?, declared(theatre, names[1]).await?];
    let mut pods = knockers(theatre).await?;
    let places = tokio::task::spawn_blocking(|| knock::pods(&Layout::ours()?)).await??;
    let mut found = BTreeMap::new();
    for pod in &pods {
        let Some(place) = places.get(&pod.address) else { continue };
        match knocks(place.clone(), targets(&hospitals, &pods)).await {
            Ok(open) => drop(found.insert(pod.address, open)),
            // A pod that has ended meanwhile took its place along.
            Err(error) => ensure!(!place.exists(), "{error:#}"),
        }
    }
    // What came or went meanwhile was not tried by everybody.
    let still = knockers(theatre).await?;
    pods.retain(|pod| found.contains_key(&pod.address) && still.contains(pod));
    let targets = targets(&hospitals, &pods);
    let (mut opened, mut refused, mut wrong, mut answered) = (0, 0, Vec::new(), BTreeSet::new());
    for pod in &pods {
        let open = found.remove(&pod.address).unwrap_or_default();
        for target in targets.iter().filter(|target| *target.ip() != pod.address) {
            let Some(allowed) = allowed(&hospitals, pod, &pods, *target) else { continue };
            let is_open = open.contains(target);
            if allowed == is_open {
                *(if is_open { &mut opened } else { &mut refused }) += 1;
            } else {
                let what = if is_open { "opened and is not declared" } else { "is declared and did not open" };
                wrong.push(format!("{}/{} to {target} {what}", pod.namespace, pod.name));
            }
        }
        answered.extend(open);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    // What opens to nobody at all proves nothing by staying closed.
    let silent: Vec<_> = targets.difference(&answered).map(ToString::to_string).collect();
    ensure!(silent.is_empty(), "nobody at all could reach {}", silent.join(", "));
    Ok(format!(
        "{} pods knocked at {} places: {opened} connections are declared and opened, {refused} are not and did not",
        pods.len(),
        targets.len()
    ))
}

/// Every port of the hospitals' pods, and what nobody declares.
fn targets(hospitals: &[Declared], pods: &[Knocker]) -> BTreeSet<SocketAddrV4> {
    let ours = |pod: &&Knocker| hospitals.iter().any(|hospital| hospital.namespace == pod.namespace);
    let ports = |pod: &Knocker| pod.ports.iter().map(|port| SocketAddrV4::new(pod.address, *port)).collect::<Vec<_>>();
    pods.iter().filter(ours).flat_map(ports).chain(ELSEWHERE).collect()
}

async fn knocks(place: PathBuf, targets: BTreeSet<SocketAddrV4>) -> Result<BTreeSet<SocketAddrV4>> {
    tokio::task::spawn_blocking(move || knock::open_from(&place, &targets)).await?
}

async fn declared(theatre: &Theatre, name: &str) -> Result<Declared> {
    let tenant = tenants(&theatre.hospital.client).get(name).await?;
    let status = tenant.data.get("status").with_context(|| format!("{name} has no status"))?;
    let namespace = status["namespace"].as_str().with_context(|| format!("{name} has no namespace"))?.to_owned();
    let network = Network::deserialize(&status["network"]).with_context(|| format!("{name}: status.network"))?;
    ensure!(network.omitted == 0 && !network.flows.is_empty(), "{name} does not list its flows");
    Ok(Declared { namespace, network })
}

/// Every running pod that does not share the network of its node.
async fn knockers(theatre: &Theatre) -> Result<Vec<Knocker>> {
    let api: Api<Pod> = Api::all(theatre.hospital.client.clone());
    let running = api.list(&ListParams::default().fields("status.phase=Running")).await?;
    Ok(running.items.iter().filter_map(knocker).collect())
}

fn knocker(pod: &Pod) -> Option<Knocker> {
    let spec = pod.spec.as_ref()?;
    if spec.host_network == Some(true) || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let ports = ports.filter_map(|port| u16::try_from(port.container_port).ok()).collect();
    let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let namespace = pod.namespace()?;
    Some(Knocker { namespace, labels: pod.labels().clone(), name: pod.name_any(), address, ports })
}

/// Whether a connection is declared; absent where no hospital has a say.
fn allowed(hospitals: &[Declared], from: &Knocker, pods: &[Knocker], to: SocketAddrV4) -> Option<bool> {
    let home = |pod: &Knocker| hospitals.iter().find(|hospital| hospital.namespace == pod.namespace);
    let target = pods.iter().find(|pod| pod.address == *to.ip());
    match (home(from), target.and_then(|target| Some((home(target)?, target)))) {
        (None, None) => None,
        (Some(home), None) => Some(home.network.flows.iter().any(|flow| {
            let sends = from.labels.get(COMPONENT).is_some_and(|own| *own == flow.from);
            flow.protocol == "TCP" && flow.port == to.port() && sends && leads_to(&home.network, &flow.to, *to.ip())
        })),
        (_, Some((hospital, target))) => {
            let same = home(from).is_some_and(|home| home.namespace == hospital.namespace);
            let network = &hospital.network;
            let ends = |name: &str, pod: &Knocker, inside: bool| {
                if inside {
                    pod.labels.get(COMPONENT).is_some_and(|own| own == name)
                } else {
                    is_peer(network, name, pod)
                }
            };
            Some(network.flows.iter().any(|flow| {
                flow.protocol == "TCP"
                    && flow.port == to.port()
                    && ends(&flow.to, target, true)
                    && ends(&flow.from, from, same)
            }))
        }
    }
}

/// Whether this is a server outside that a flow calls by this name. No hospital here names larger ranges.
fn leads_to(network: &Network, name: &str, address: Ipv4Addr) -> bool {
    let single = format!("{address}/32");
    network.peers.iter().filter(|peer| peer.name == name).any(|peer| peer.cidrs.contains(&single))
}

/// Whether a pod is the one that a flow calls by this name.
fn is_peer(network: &Network, name: &str, pod: &Knocker) -> bool {
    network.peers.iter().filter(|peer| peer.name == name).any(|peer| {
        peer.namespace.as_ref() == Some(&pod.namespace)
            && peer.pod_labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
    })
}
