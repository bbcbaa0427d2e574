//! One folder per control. A registry line adds one; NAME and KINDS give everything else.
//!
//! Guarantees: a capability is pure, never looks at the clock, and never edits another's objects; it contributes to
//! [`Contributions`], and the owner renders.

pub mod amounts;
pub mod credentials;
pub mod database;
pub mod edge;
pub mod isolation;
pub mod job;
pub mod network;
pub mod pod;
mod registry;
pub mod release;
pub mod route;
pub mod serving;
pub mod webhooks;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::v1alpha1::{HospitalTenantStatus, PlatformDns},
    conditions::{Rejection, Verdict, Verdicts},
    objects::{Desired, Kind, Observed},
    tenant::{Tenant, cidr::Cidr},
};

pub use registry::{Planned, Registered, kinds, registry};

/// What a capability may look at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The hospital.
    pub tenant: &'a Tenant,
    /// What is there.
    pub observed: &'a Observed,
}

/// One control over one hospital.
pub trait Capability {
    /// Spec field, label value, metric label and folder name.
    const NAME: &'static str;
    /// Condition type. It names what is proved, no more.
    const CONDITION: &'static str;
    /// Every kind that it writes: RBAC, watches and prune scope.
    const KINDS: &'static [Kind];
    /// Workload is not touched while an object of this capability cannot be written.
    const GUARDS: bool = false;
    /// What `plan` decides; `render` and `assess` need nothing else.
    type Plan: Send + Sync + 'static;

    /// Validates and decides; contributes what others render. `before` holds the verdicts of earlier capabilities.
    fn plan(input: Input<'_>, shared: &mut Contributions, before: &Verdicts) -> Result<Self::Plan, Rejection>;
    /// Renders the objects, in the order in which they are applied.
    fn render(plan: &Self::Plan, input: Input<'_>, shared: &Contributions) -> Vec<Desired>;
    /// Judges by what was observed.
    fn assess(plan: &Self::Plan, input: Input<'_>) -> Verdict;
    /// Writes down in status what the next pass or a person must know beside the verdict.
    fn record(_plan: &Self::Plan, _input: Input<'_>, _shared: &Contributions, _status: &mut HospitalTenantStatus) {}
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Pods of the hospital with this component label.
    Component(String),
    /// Pods of another namespace.
    Elsewhere {
        /// Short name of the peer; with its namespace, part of the policy's name.
        name: &'static str,
        /// Their namespace.
        namespace: String,
        /// Their labels; empty means every pod of that namespace.
        labels: BTreeMap<String, String>,
    },
    /// Addresses outside of the cluster. Never an empty list, which would mean everybody to Kubernetes.
    Addresses {
        /// A CIDR.
        first: String,
        /// Further CIDRs.
        more: BTreeSet<String>,
    },
    /// Servers outside of the cluster, by name.
    Hosts {
        /// Their DNS names.
        names: BTreeSet<String>,
        /// Where these lead: single addresses; none where only the network plug-in may find out.
        addresses: BTreeSet<Cidr>,
    },
    /// Every public address: none that is private, local, otherwise special or the cluster's own.
    Internet,
}

impl Peer {
    /// Pods of the hospital with this component label.
    pub fn component(name: &str) -> Self {
        Self::Component(name.to_owned())
    }

    /// Addresses outside of the cluster; nobody, if the list is empty.
    pub fn addresses(cidrs: &[String]) -> Option<Self> {
        let mut more: BTreeSet<String> = cidrs.iter().cloned().collect();
        Some(Self::Addresses { first: more.pop_first()?, more })
    }
}

/// Traffic that is needed. Everything else is denied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Who connects.
    pub from: Peer,
    /// To whom.
    pub to: Peer,
    /// Port of the receiving pod.
    pub port: i32,
    /// TCP only, unless it is name resolution.
    pub udp: bool,
    /// What for; written on the policy.
    pub why: String,
}

/// A pod identity that somebody needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Name of the ServiceAccount and of the component.
    pub name: String,
}

/// Compute that somebody needs, for the quota: quantities of one pod, and how many pods at once at the most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// CPU limit of one pod.
    pub cpu: String,
    /// Memory limit of one pod.
    pub memory: String,
    /// Pods at the same time, surge not counted.
    pub pods: i32,
}

/// What capabilities tell each other.
#[derive(Clone, Debug, Default)]
pub struct Contributions {
    /// Rendered by network.
    pub flows: BTreeSet<Flow>,
    /// Rendered by isolation.
    pub identities: BTreeSet<Identity>,
    /// Rendered by isolation.
    pub demands: Vec<Demand>,
    /// Rendered by isolation: Jobs of ours, each of which runs once at a time.
    pub errands: Vec<Demand>,
}

impl Contributions {
    /// Adds a flow.
    pub fn flow(&mut self, from: Peer, to: Peer, port: i32, why: impl Into<String>) {
        self.flows.insert(Flow { from, to, port, udp: false, why: why.into() });
    }

    /// Adds name resolution for a component: the cluster's resolver and no other.
    pub fn resolution(&mut self, tenant: &Tenant, component: &str) {
        let dns = tenant.platform.dns.clone().unwrap_or_else(|| PlatformDns {
            namespace: "kube-system".to_owned(),
            pod_labels: BTreeMap::from([("k8s-app".to_owned(), "kube-dns".to_owned())]),
            port: None,
            node_local: Vec::new(),
        });
        let on_the_node = Peer::addresses(&dns.node_local).map(|to| (to, 53, "name resolution on the pod's own node"));
        let port = dns.port.unwrap_or(53);
        let to = Peer::Elsewhere { name: "resolver", namespace: dns.namespace, labels: dns.pod_labels };
        for (to, port, why) in [(to, port, "name resolution")].into_iter().chain(on_the_node) {
            let from = Peer::component(component);
            self.flows.insert(Flow { from, to, port, udp: true, why: why.to_owned() });
        }
    }

    /// Adds an identity.
    pub fn identity(&mut self, name: &str) {
        self.identities.insert(Identity { name: name.to_owned() });
    }
}
