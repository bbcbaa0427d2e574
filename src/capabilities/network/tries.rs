//! What is tried, and whence.
//!
//! Guarantees: pure. Nothing is expected to be closed that somebody declared, and every connection between components that
//! somebody declared is expected to open. Whether a server outside answers is not for the network to prove.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::addresses::{self, METADATA_ADDRESSES};
use crate::{
    capabilities::{Flow, Peer, webhooks},
    names,
    tenant::{
        self, Tenant,
        cidr::Cidr,
        database::{COMPONENT, Mode},
    },
};

/// Port on which the cluster's resolver usually tells its metrics; not among those that anybody declares.
const METRICS: u16 = 9153;
/// Stands for the internet: RFC 5737, never anybody's.
const INTERNET: (&str, u16) = ("198.51.100.1", 443);
/// Ports of API servers, before and after their Service's translation.
const API_SERVERS: [i32; 2] = [443, 6443];
/// Most receivers of a trial.
const MOST: usize = 128;

/// Whence something is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// A pod of the hospital's namespace for which nothing is declared.
    Probe,
    /// A pod of another namespace, which no policy keeps from sending anything.
    OtherNamespace,
    /// A pod that every policy takes for one of this component.
    Component(String),
}

/// One connection to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// With whom.
    pub to: Target,
    /// What must come of it.
    pub expect: Expect,
}

/// Whom to connect to, as a pod knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// The API server, where every pod is told that it is.
    ApiServer,
    /// The resolver that every pod is told to use, on this port.
    Resolver(u16),
    /// A host and its port.
    Server(String, u16),
}

/// What must come of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expect {
    /// The connection opens.
    Open,
    /// It does not.
    Closed,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe => f.write_str("a pod that declares nothing"),
            Self::OtherNamespace => f.write_str("another namespace"),
            Self::Component(name) => f.write_str(name),
        }
    }
}

/// A pod that takes connections of somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receiver {
    /// Its component.
    pub component: String,
    /// Name under which it is found.
    pub host: String,
    /// Its port.
    pub port: i32,
}

/// Every place from which a hospital's network is tried.
pub fn places(tenant: &Tenant) -> Vec<Place> {
    let components = tenant.application.components.iter().map(|component| Place::Component(component.name.clone()));
    [Place::Probe, Place::OtherNamespace].into_iter().chain(components).collect()
}

/// Every port of every component, of the database and of the gate for webhooks.
pub fn receivers(tenant: &Tenant) -> Vec<Receiver> {
    let receiver = |component: &str, host: Option<&str>, port| Receiver {
        component: component.to_owned(),
        host: host.map_or_else(|| format!("{component}.{}.svc", tenant.namespace), ToOwned::to_owned),
        port,
    };
    let database = tenant.database.iter().filter(|database| !matches!(database.mode, Mode::External(_)));
    let database = database.map(|database| receiver(COMPONENT, Some(&database.host), database.port));
    let gate = tenant::webhooks::COMPONENT;
    let gate = webhooks::exists(tenant).then(|| receiver(gate, None, tenant::webhooks::PORT));
    let ports = tenant
        .application
        .components
        .iter()
        .flat_map(|component| component.ports.iter().map(move |port| receiver(&component.name, None, port.port)));
    database.chain(gate).chain(ports).take(MOST).collect()
}

/// What is tried from one place, where these flows are declared.
pub fn of(tenant: &Tenant, place: &Place, flows: &[Flow]) -> Vec<Try> {
    let own = receivers(tenant).into_iter().filter_map(|receiver| {
        let expect = expected(place, &receiver, flows)?;
        Some(Try { to: Target::Server(receiver.host, u16::try_from(receiver.port).ok()?), expect })
    });
    let resolver = Try { to: Target::Resolver(53), expect: Expect::Open };
    std::iter::once(resolver).chain(others(place, flows).into_iter().map(closed)).chain(own).collect()
}

fn closed(to: Target) -> Try {
    Try { to, expect: Expect::Closed }
}

/// Whether a receiver takes what comes from there; nothing where that cannot be said.
fn expected(place: &Place, receiver: &Receiver, flows: &[Flow]) -> Option<Expect> {
    let to = Peer::component(&receiver.component);
    let mut from = flows.iter().filter(|flow| flow.to == to && flow.port == receiver.port).map(|flow| &flow.from);
    let declared = match place {
        Place::Component(name) => from.any(|from| *from == Peer::component(name)),
        // Somebody outside, who may well be there.
        Place::OtherNamespace if from.any(may_be_there) => return None,
        Place::OtherNamespace | Place::Probe => false,
    };
    Some(if declared { Expect::Open } else { Expect::Closed })
}

fn may_be_there(peer: &Peer) -> bool {
    match peer {
        Peer::Component(_) => false,
        Peer::Elsewhere { namespace, .. } => namespace == names::PROBES,
        Peer::Addresses { .. } | Peer::Hosts { .. } | Peer::Internet => true,
    }
}

/// What nobody in the hospital is to reach, unless it was declared. Policies of other namespaces are not the hospital's.
fn others(place: &Place, flows: &[Flow]) -> Vec<Target> {
    let server = |host: &str, port: u16| Target::Server(host.to_owned(), port);
    let mut others = vec![Target::ApiServer, server(INTERNET.0, INTERNET.1), Target::Resolver(METRICS)];
    match place {
        Place::OtherNamespace => return Vec::new(),
        Place::Probe => {}
        Place::Component(name) => {
            let flows: Vec<&Flow> = flows.iter().filter(|flow| flow.from == Peer::component(name)).collect();
            others.retain(|target| !flows.iter().any(|flow| may_lead_to(flow, target)));
        }
    }
    others.extend(METADATA_ADDRESSES.map(|address| server(address, 80)));
    others
}

/// Whether a flow allows, or may allow, a connection to something outside of the hospital.
fn may_lead_to(flow: &Flow, target: &Target) -> bool {
    let cidrs: Vec<Cidr> = addresses::of(&flow.to).iter().filter_map(|text| text.parse().ok()).collect();
    match target {
        // Nobody tells its address; a range on its ports may hold it, and a port elsewhere cannot.
        Target::ApiServer => API_SERVERS.contains(&flow.port) && !cidrs.is_empty(),
        Target::Resolver(port) => flow.port == i32::from(*port),
        Target::Server(host, port) => {
            let address = host.parse().ok();
            flow.port == i32::from(*port)
                && address.is_some_and(|address| cidrs.iter().any(|cidr| cidr.contains(address)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn flow(from: Peer, to: Peer, port: i32) -> Flow {
        Flow { from, to, port, udp: false, why: "a test".to_owned() }
    }

    fn web(to: &str, port: i32) -> Flow {
        let to = if to == "internet" { Peer::Internet } else { Peer::addresses(&[to.to_owned()]).unwrap() };
        flow(Peer::component("web"), to, port)
    }

    fn database() -> Receiver {
        Receiver { component: "database".to_owned(), host: "database.his-x.svc".to_owned(), port: 5432 }
    }

    #[test]
    fn only_who_declared_it_reaches_a_receiver() {
        let flows = [flow(Peer::component("web"), Peer::component("database"), 5432)];
        let expect = |place| expected(&place, &database(), &flows).unwrap();
        let component = |name: &str| Place::Component(name.to_owned());
        assert_eq!(expect(component("web")), Expect::Open);
        for place in [component("worker"), component("database"), Place::Probe, Place::OtherNamespace] {
            assert_eq!(expect(place), Expect::Closed);
        }
        let other = Receiver { port: 5433, ..database() };
        assert_eq!(expected(&component("web"), &other, &flows), Some(Expect::Closed));
    }

    #[test]
    fn what_somebody_outside_may_reach_proves_nothing_from_another_namespace() {
        let elsewhere = |namespace: &str| Peer::Elsewhere {
            name: "gateway",
            namespace: namespace.to_owned(),
            labels: BTreeMap::new(),
        };
        let expect =
            |from| expected(&Place::OtherNamespace, &database(), &[flow(from, Peer::component("database"), 5432)]);
        assert_eq!(expect(elsewhere("edge")), Some(Expect::Closed));
        assert_eq!(expect(elsewhere(names::PROBES)), None);
        assert_eq!(expect(Peer::Internet), None);
    }

    #[test]
    fn a_declared_server_outside_is_not_expected_to_be_closed() {
        let place = Place::Component("web".to_owned());
        let named = |flows: &[Flow]| {
            let targets = others(&place, flows);
            let has = |target: &Target| targets.contains(target);
            assert!(METADATA_ADDRESSES.iter().all(|host| has(&Target::Server((*host).to_owned(), 80))));
            (has(&Target::ApiServer), has(&Target::Server(INTERNET.0.to_owned(), INTERNET.1)))
        };
        assert_eq!(named(&[]), (true, true));
        assert_eq!(named(&[web("203.0.113.7/32", 5432), web("198.51.100.0/24", 80)]), (true, true));
        assert_eq!(named(&[web("203.0.113.7/32", 443)]), (false, true));
        assert_eq!(named(&[web("198.51.100.0/24", 443)]), (false, false));
        assert_eq!(named(&[web("internet", 6443)]), (false, true));
        assert_eq!(named(&[Flow { from: Peer::component("worker"), ..web("internet", 443) }]), (true, true));
    }
}
