//! What has to be known of every tenant to know whom an event concerns.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use kube::ResourceExt;

use super::hosts::{Claims, Hosts, Rank};
use crate::{
    api::v1alpha1::HospitalTenant,
    conditions::{self, Reason},
    names,
};

/// What a tenant refers to by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Definition {
    Platform,
    Application,
}

/// All tenants, reduced.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    known: BTreeMap<String, Known>,
    hosts: Hosts,
}

#[derive(Debug, Default)]
struct Known {
    /// Changes with everything that a reconcile acts upon: of the status only what is written down of the release, of the
    /// last trial of the network and of its last gap.
    fingerprint: u64,
    /// Whether it carries our finalizer.
    held: bool,
    claims: Claims,
    platform: String,
    application: String,
    ready: &'static str,
}

fn known(tenant: &HospitalTenant) -> Known {
    let metadata = &tenant.metadata;
    let mut hasher = DefaultHasher::new();
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default();
    let uid = metadata.uid.clone().unwrap_or_default();
    // That we hold it is news only to whoever did not do it.
    let others: Vec<&String> = tenant.finalizers().iter().filter(|finalizer| *finalizer != names::FINALIZER).collect();
    (&uid, metadata.generation, &metadata.labels, &metadata.annotations, &others).hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    tenant.status.as_ref().map(|status| status.release.clone()).unwrap_or_default().hash(&mut hasher);
    let network = tenant.status.as_ref().map(|status| &status.network);
    network.and_then(|network| network.proof.as_ref()).hash(&mut hasher);
    network.and_then(|network| network.gaps.first()).hash(&mut hasher);
    let condition = tenant
        .status
        .iter()
        .flat_map(|status| &status.conditions)
        .find(|condition| condition.type_ == conditions::READY);
    Known {
        fingerprint: hasher.finish(),
        held: others.len() < tenant.finalizers().len(),
        claims: claims(tenant, &created, &uid),
        platform: tenant.spec.platform.clone().unwrap_or_else(|| names::DEFAULT_PLATFORM.to_owned()),
        application: tenant.spec.application.name.clone(),
        ready: match condition.map(|condition| condition.status.as_str()) {
            Some("True") => "True",
            Some("False") => "False",
            _ => "Unknown",
        },
    }
}

/// What a tenant wants, and whether it is what it serves already.
fn claims(tenant: &HospitalTenant, created: &str, uid: &str) -> Claims {
    let status = tenant.status.as_ref();
    let refused = |status: &crate::api::v1alpha1::HospitalTenantStatus| {
        status.conditions.iter().any(|condition| condition.reason == Reason::HostTaken.as_str())
    };
    let serving = status.filter(|status| status.version.is_some() && !refused(status));
    let served = |host: &String| {
        // The address is that of the main host; of the others nothing better is known.
        let main = serving.and_then(|status| status.url.as_deref()).and_then(|url| url.split("://").nth(1));
        let is_main = main.is_some_and(|main| main.split(':').next() == Some(host.as_str()));
        is_main || (serving.is_some() && tenant.spec.additional_hosts.contains(host))
    };
    let rank = |host: &String| Rank { created: created.to_owned(), newcomer: !served(host), uid: uid.to_owned() };
    wanted(tenant).into_iter().map(|host| (host.clone(), rank(&host))).collect()
}

fn wanted(tenant: &HospitalTenant) -> BTreeSet<String> {
    [&tenant.spec.host].into_iter().chain(&tenant.spec.additional_hosts).cloned().collect()
}

impl Tenants {
    /// A tenant was seen; returns whom that concerns.
    pub(super) fn apply(&mut self, tenant: &HospitalTenant) -> BTreeSet<String> {
        let name = tenant.name_any();
        let after = known(tenant);
        let before = self.known.remove(&name).unwrap_or_default();
        let mut wake = self.hosts.replace(&name, &before.claims, &after.claims);
        if before.fingerprint != after.fingerprint || (before.held && !after.held) {
            wake.insert(name.clone());
        }
        self.known.insert(name, after);
        wake
    }

    /// A tenant has gone; returns whom that concerns.
    pub(super) fn remove(&mut self, name: &str) -> BTreeSet<String> {
        let Some(before) = self.known.remove(name) else { return BTreeSet::new() };
        self.hosts.replace(name, &before.claims, &Claims::new())
    }

    /// Value of its Ready condition.
    pub(super) fn ready(&self, name: &str) -> Option<&'static str> {
        self.known.get(name).map(|known| known.ready)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.known.keys().cloned().collect()
    }

    /// Tenants that refer to this definition.
    pub(super) fn naming(&self, definition: Definition, name: &str) -> BTreeSet<String> {
        let refers = |known: &Known| match definition {
            Definition::Platform => known.platform == name,
            Definition::Application => known.application == name,
        };
        self.known.iter().filter(|(_, known)| refers(known)).map(|(tenant, _)| tenant.clone()).collect()
    }

    /// Hosts that this tenant wants and another holds, with the holder.
    pub(super) fn taken(&self, tenant: &HospitalTenant) -> BTreeMap<String, String> {
        let name = tenant.name_any();
        wanted(tenant)
            .into_iter()
            .filter_map(|host| {
                let holder = self.hosts.holder(&host).filter(|holder| *holder != name)?.to_owned();
                Some((host, holder))
            })
            .collect()
    }
}
