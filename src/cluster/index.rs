//! Everything that was seen, by tenant.
//!
//! Guarantees: pure; reads no clock and sends nothing. Each mutation says which tenants it concerns ([`Effects`]), and an
//! event that changes nothing concerns nobody. A label outside a tenant's own namespace cannot put an object there into
//! another tenant's view.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, core::DynamicObject};

use super::{
    channels::Channels,
    disturbed::Disturbed,
    doors::{Doors, lets_in},
    packed::{Packed, stripped},
    pods::{self, Sight, Sights},
    tenants::{Definition, Tenants},
};
use crate::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant},
    names,
    objects::{Kind, Observed, Ref, kind::NAMESPACE, kind::NETWORK_POLICY, kind::Watch},
    tenant::fleet::Address,
};

/// What follows from an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// Tenants whose view has changed.
    pub(super) wake: BTreeSet<String>,
    /// A tenant whose namespace may now be watched, or may no longer be.
    pub(super) namespace: Option<(String, bool)>,
}

impl Effects {
    fn wake(tenants: BTreeSet<String>) -> Self {
        Self { wake: tenants, namespace: None }
    }
}

/// Where one watch looks; its restart may only remove what it would have listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Source {
    pub(super) kind: Kind,
    /// The only namespace it lists; `None` is the whole cluster.
    pub(super) namespace: Option<String>,
}

/// Namespace and name of an object.
pub(super) type Key = (String, String);

/// Address of an object among those of its kind.
pub(super) fn key(object: &impl kube::Resource) -> Key {
    let metadata = object.meta();
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) tenants: Tenants,
    like: BTreeMap<Kind, Arc<[u8]>>,
    /// Objects in namespaces of tenants, and everything else that names a tenant, by namespace.
    objects: BTreeMap<String, BTreeMap<(Kind, String), Entry>>,
    platforms: BTreeMap<String, Arc<HospitalPlatform>>,
    applications: BTreeMap<String, Arc<HospitalApplication>>,
    pods: Sights,
    channels: Channels,
    /// CRDs whose kind the API server has listed for us.
    served: BTreeSet<String>,
    pub(super) doors: Doors,
    /// How far the watch of a kind in a namespace (or, as `None`, in the cluster) has come: its newest version so far.
    told: BTreeMap<(Kind, Option<String>), u64>,
    /// What others did to NetworkPolicies.
    pub(super) disturbed: Disturbed,
    /// The time, as it was said last.
    now: DateTime<Utc>,
}

#[derive(Debug)]
struct Entry {
    tenant: String,
    /// Its resource version, which only grows; 0 when it has none.
    version: u64,
    object: Packed,
}

/// Where the watch looks that sees objects of this kind in that namespace.
fn place(kind: Kind, namespace: &str) -> (Kind, Option<String>) {
    (kind, (kind.watch == Watch::TenantMetadata).then(|| namespace.to_owned()))
}

/// The tenant whose namespace this is.
fn home(namespace: &str) -> Option<&str> {
    namespace.strip_prefix(names::namespace("").as_str()).filter(|tenant| !tenant.is_empty())
}

/// The tenant in whose view an object belongs.
fn tenant_of(kind: Kind, object: &DynamicObject) -> Option<String> {
    let label = object.labels().get(names::TENANT).map(String::as_str);
    let name = object.name_any();
    if kind == NAMESPACE {
        return home(&name).or(label).map(str::to_owned);
    }
    match (home(object.namespace().as_deref().unwrap_or_default()), label) {
        // What people put there (a password for an external service) is looked for by name.
        (Some(home), _) if kind.watch == Watch::TenantMetadata => Some(home.to_owned()),
        (Some(home), Some(label)) if home == label => Some(home.to_owned()),
        (None, Some(label)) => Some(label.to_owned()),
        _ => None,
    }
}

impl Index {
    /// Says what time it is, for whatever is seen next.
    pub(super) fn at(&mut self, now: DateTime<Utc>) -> &mut Self {
        self.now = now;
        self
    }

    /// An object was seen. One that is not newer than what is known tells nothing.
    pub(super) fn apply(&mut self, kind: Kind, object: DynamicObject) -> Effects {
        self.tell(kind, object.metadata.namespace.as_deref().unwrap_or_default(), version(&object));
        self.newer(kind, object)
    }

    fn newer(&mut self, kind: Kind, object: DynamicObject) -> Effects {
        let version = version(&object);
        if version > 0 && self.version(kind, &key(&object)) >= version {
            Effects::default()
        } else {
            self.put(kind, object)
        }
    }

    /// An object was seen in a complete list, which is believed also when it is older: the API server may have been set back.
    pub(super) fn listed(&mut self, kind: Kind, object: DynamicObject) -> Effects {
        let version = version(&object);
        self.tell(kind, object.metadata.namespace.as_deref().unwrap_or_default(), version);
        // Of the same version it is the same object, packed already.
        if version > 0 && self.version(kind, &key(&object)) == version {
            Effects::default()
        } else {
            self.put(kind, object)
        }
    }

    fn put(&mut self, kind: Kind, object: DynamicObject) -> Effects {
        let (namespace, name, version) = (object.namespace().unwrap_or_default(), object.name_any(), version(&object));
        let Some(tenant) = tenant_of(kind, &object) else {
            return self.remove(kind, &(namespace, name), 0);
        };
        let lets_in = kind.kind == "RoleBinding" && lets_in(&object);
        if kind == NETWORK_POLICY {
            let known = self.objects.get(&namespace).and_then(|place| place.get(&(kind, name.clone())));
            self.disturbed.seen(&object, || known.and_then(|known| known.object.unpack()));
        }
        let object = stripped(kind, object);
        let Some(packed) = Packed::new(&object, self.like.entry(kind).or_insert_with(|| Arc::from([]))) else {
            return Effects::default();
        };
        let place = self.objects.entry(namespace).or_default();
        let entry = Entry { tenant: tenant.clone(), version, object: packed.clone() };
        let before = place.insert((kind, name), entry);
        let mut wake = BTreeSet::new();
        match before {
            Some(before) if before.tenant == tenant && before.object.same(&packed) => {}
            Some(before) => wake.extend([before.tenant, tenant.clone()]),
            None => wake.extend([tenant.clone()]),
        }
        if lets_in {
            self.doors.open(&tenant);
        }
        self.concerning(wake, &tenant)
    }

    /// The API server's answer to a write of ours: the watch will tell the same, and wakes nobody then. Whoever wrote knows
    /// already. An answer that comes later than the watch's own events is not believed: the object may have gone since.
    pub(super) fn learn(&mut self, kind: Kind, object: &DynamicObject) -> Effects {
        let place = place(kind, object.metadata.namespace.as_deref().unwrap_or_default());
        let told = self.told.get(&place).copied().unwrap_or_default();
        let news = version(object) > told;
        if news { Effects { wake: BTreeSet::new(), ..self.newer(kind, object.clone()) } } else { Effects::default() }
    }

    /// The watch has come this far.
    fn tell(&mut self, kind: Kind, namespace: &str, version: u64) {
        let told = self.told.entry(place(kind, namespace)).or_default();
        *told = version.max(*told);
    }

    /// The newest version that is known at that address.
    fn version(&self, kind: Kind, (namespace, name): &Key) -> u64 {
        let known = self.objects.get(namespace).and_then(|place| place.get(&(kind, name.clone())));
        known.map_or(0, |known| known.version)
    }

    /// An object has gone, or no longer carries our labels; `version` is that of its end, 0 when that is not known.
    pub(super) fn remove(&mut self, kind: Kind, at: &Key, version: u64) -> Effects {
        let (namespace, name) = at;
        if version > 0 {
            self.tell(kind, namespace, version);
            if self.version(kind, at) > version {
                return Effects::default();
            }
        }
        let Some(place) = self.objects.get_mut(namespace) else { return Effects::default() };
        let Some(entry) = place.remove(&(kind, name.clone())) else { return Effects::default() };
        if place.is_empty() {
            self.objects.remove(namespace);
        }
        if kind == NETWORK_POLICY && self.tenants.contains(&entry.tenant) {
            self.disturbed.gone(at, entry.object.unpack(), version > 0, self.now);
        }
        if kind.kind == "RoleBinding" && entry.object.unpack().is_some_and(|binding| lets_in(&binding)) {
            self.doors.close(&entry.tenant);
        }
        self.concerning([entry.tenant.clone()].into(), &entry.tenant)
    }

    /// Every object of a source that a complete list did not contain has gone.
    pub(super) fn retain(&mut self, source: &Source, seen: &BTreeSet<Key>) -> Vec<Effects> {
        if source.kind == NETWORK_POLICY {
            self.disturbed.listed();
        }
        let listed = |namespace: &str| source.namespace.as_deref().is_none_or(|only| only == namespace);
        let gone: Vec<Key> = self
            .objects
            .iter()
            .filter(|(namespace, _)| listed(namespace))
            .flat_map(|(namespace, place)| {
                place.keys().filter(|(kind, _)| *kind == source.kind).map(|(_, name)| (namespace.clone(), name.clone()))
            })
            .filter(|key| !seen.contains(key))
            .collect();
        gone.iter().map(|key| self.remove(source.kind, key, 0)).collect()
    }

    /// The API server has listed a foreign kind, or no longer serves it.
    pub(super) fn serves(&mut self, crd: &str, served: bool) -> Effects {
        let changed = if served { self.served.insert(crd.to_owned()) } else { self.served.remove(crd) };
        if changed { Effects::wake(self.tenants.names()) } else { Effects::default() }
    }

    /// A pod was seen; only what keeps it from running and what it reports is kept.
    pub(super) fn pod(&mut self, pod: &Pod) -> Effects {
        self.see(pod, Sight::of(pod))
    }

    /// A pod has gone.
    pub(super) fn pod_gone(&mut self, pod: &Pod) -> Effects {
        self.see(pod, Sight::default())
    }

    fn see(&mut self, pod: &Pod, sight: Sight) -> Effects {
        let Some(tenant) = pods::tenant_of(pod) else { return Effects::default() };
        let news = self.pods.see(tenant, pod, sight);
        if news { Effects::wake([tenant.to_owned()].into()) } else { Effects::default() }
    }

    /// Pods that a complete list did not contain have gone.
    pub(super) fn retain_pods(&mut self, seen: &BTreeSet<Key>) -> Effects {
        Effects::wake(self.pods.retain(seen))
    }

    /// A platform was seen (`Some`) or has gone.
    pub(super) fn platform(&mut self, name: &str, platform: Option<HospitalPlatform>) -> Effects {
        let generation = |platform: &HospitalPlatform| (platform.metadata.uid.clone(), platform.metadata.generation);
        let before = self.platforms.get(name).map(|platform| generation(platform));
        let after = platform.as_ref().map(generation);
        replace(&mut self.platforms, name, platform);
        if before == after {
            Effects::default()
        } else {
            let mut wake = self.tenants.naming(Definition::Platform, name);
            wake.extend(self.decide(&self.channels.of(name)));
            Effects::wake(wake)
        }
    }

    /// An application was seen (`Some`) or has gone.
    pub(super) fn application(&mut self, name: &str, application: Option<HospitalApplication>) -> Effects {
        let generation =
            |application: &HospitalApplication| (application.metadata.uid.clone(), application.metadata.generation);
        let before = self.applications.get(name).map(|application| generation(application));
        let after = application.as_ref().map(generation);
        replace(&mut self.applications, name, application);
        if before == after {
            Effects::default()
        } else {
            Effects::wake(self.tenants.naming(Definition::Application, name))
        }
    }

    /// A tenant was seen.
    pub(super) fn tenant(&mut self, tenant: &HospitalTenant) -> Effects {
        let mut wake = self.tenants.apply(tenant);
        let channels = self.channels.see(tenant);
        wake.extend(self.decide(&channels));
        self.concerning(wake, &tenant.name_any())
    }

    /// A tenant has gone.
    pub(super) fn tenant_gone(&mut self, name: &str) -> Effects {
        let mut wake = self.tenants.remove(name);
        let channels = self.channels.forget(name, None);
        wake.extend(self.decide(&channels));
        self.disturbed.forget(&names::namespace(name));
        self.concerning(wake, name)
    }

    /// Whose turn it is in these channels may have changed.
    fn decide(&mut self, channels: &[Address]) -> BTreeSet<String> {
        let platforms = &self.platforms;
        let decide =
            |address: &Address| self.channels.decide(address, platforms.get(&address.platform).map(AsRef::as_ref));
        channels.iter().flat_map(decide).collect()
    }

    /// Adds whether this tenant's namespace has to be watched from now on.
    fn concerning(&mut self, mut wake: BTreeSet<String>, tenant: &str) -> Effects {
        wake.retain(|name| self.tenants.contains(name));
        let turned = self.doors.turned(tenant, self.tenants.contains(tenant));
        Effects { wake, namespace: turned.map(|wanted| (tenant.to_owned(), wanted)) }
    }

    /// A kind of a tenant was answered.
    pub(super) fn answered(&mut self, tenant: &str, kind: Kind) -> Effects {
        if self.doors.answered(tenant, kind) { Effects::wake([tenant.to_owned()].into()) } else { Effects::default() }
    }

    /// A kind of a tenant is refused; `why` is given when it has been for a while.
    pub(super) fn refused(&mut self, tenant: &str, kind: Kind, why: Option<&str>) -> Effects {
        self.doors.refused(tenant, kind);
        let news = why.is_some_and(|why| self.doors.stays_refused(tenant, why));
        if news { Effects::wake([tenant.to_owned()].into()) } else { Effects::default() }
    }

    /// The namespace of a tenant is no longer watched.
    pub(super) fn forget(&mut self, tenant: &str) {
        self.doors.forget(tenant);
        if let Some(place) = self.objects.get_mut(&names::namespace(tenant)) {
            place.retain(|(kind, _), _| kind.watch != Watch::TenantMetadata);
        }
    }

    /// One tenant's view.
    pub(super) fn observe(&self, tenant: &HospitalTenant) -> Observed {
        let name = tenant.name_any();
        let own = names::namespace(&name);
        let mut objects = BTreeMap::new();
        let strange = self.objects.iter().filter(|(namespace, _)| home(namespace).is_none());
        let places = strange
            .map(|(namespace, place)| (namespace.as_str(), place))
            .chain(self.objects.get(&own).map(|place| (own.as_str(), place)));
        for (namespace, place) in places {
            for ((kind, object), entry) in place.iter().filter(|(_, entry)| entry.tenant == name) {
                let served = kind.crd.is_none_or(|crd| self.served.contains(crd));
                if let Some(live) = served.then(|| entry.object.unpack()).flatten() {
                    let at = Ref { kind: *kind, namespace: namespace.to_owned(), name: object.clone() };
                    objects.insert(at, Arc::new(live));
                }
            }
        }
        let platform = tenant.spec.platform.as_deref().unwrap_or(names::DEFAULT_PLATFORM);
        let seen = Observed {
            objects,
            crds: self.served.clone(),
            platform: self.platforms.get(platform).cloned(),
            application: self.applications.get(&tenant.spec.application.name).cloned(),
            taken_hosts: self.tenants.taken(tenant),
            turn: self.channels.turn(tenant),
            problems: self.pods.problems(&name),
            reports: self.pods.reports(&name),
            ..Observed::default()
        };
        self.disturbed.added_to(&own, seen)
    }
}

fn replace<T>(map: &mut BTreeMap<String, Arc<T>>, name: &str, value: Option<T>) {
    match value {
        Some(value) => map.insert(name.to_owned(), Arc::new(value)),
        None => map.remove(name),
    };
}

/// Position in the order of all changes.
pub(super) fn version(object: &DynamicObject) -> u64 {
    object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
