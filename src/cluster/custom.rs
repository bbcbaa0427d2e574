//! Our own resources, read one by one.
//!
//! Guarantees: a resource that cannot be read (stored by an older or newer schema) is left alone and named in the log; it
//! never hides the others, as a list that is parsed as a whole would.

use std::{collections::BTreeSet, marker::PhantomData, sync::Arc};

use kube::{
    Resource, ResourceExt,
    core::DynamicObject,
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{Error, Event},
    },
};
use serde::de::DeserializeOwned;

use super::{
    caches::Core,
    follow::Sink,
    index::{Effects, Index},
};
use crate::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant},
    objects::managed,
};

fn read<K: DeserializeOwned + Resource<DynamicType = ()>>(mut object: DynamicObject) -> Option<K> {
    let name = object.name_any();
    // Who manages which field is larger than all the rest; only who changed the spec last is ever asked for.
    object.metadata.managed_fields = managed::without_fields(object.managed_fields());
    let read = object.try_parse::<K>();
    read.inspect_err(
        |error| tracing::error!(kind = %K::kind(&()), name, %error, "resource cannot be read and is left alone"),
    )
    .ok()
}

/// What tenants refer to.
pub(super) trait Definition: DeserializeOwned + Resource<DynamicType = ()> + Send + 'static {
    const NAME: &'static str;

    fn put(index: &mut Index, name: &str, definition: Option<Self>) -> Effects;
}

impl Definition for HospitalPlatform {
    const NAME: &'static str = "hospitalplatforms";

    fn put(index: &mut Index, name: &str, definition: Option<Self>) -> Effects {
        index.platform(name, definition)
    }
}

impl Definition for HospitalApplication {
    const NAME: &'static str = "hospitalapplications";

    fn put(index: &mut Index, name: &str, definition: Option<Self>) -> Effects {
        index.application(name, definition)
    }
}

/// All resources of one definition kind.
pub(super) struct Definitions<K> {
    core: Arc<Core>,
    known: BTreeSet<String>,
    seen: BTreeSet<String>,
    kind: PhantomData<fn() -> K>,
}

pub(super) type Platforms = Definitions<HospitalPlatform>;
pub(super) type Applications = Definitions<HospitalApplication>;

impl<K: Definition> Definitions<K> {
    pub(super) const NAME: &'static str = K::NAME;

    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, known: BTreeSet::new(), seen: BTreeSet::new(), kind: PhantomData }
    }

    fn apply(&mut self, object: DynamicObject) {
        let name = object.name_any();
        self.known.insert(name.clone());
        if let Some(definition) = read::<K>(object) {
            self.core.change(|index| K::put(index, &name, Some(definition)));
        }
    }

    fn remove(&mut self, name: &str) {
        self.known.remove(name);
        self.core.change(|index| K::put(index, name, None));
    }
}

impl<K: Definition> Sink for Definitions<K> {
    type Object = DynamicObject;

    fn event(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(object) => {
                self.seen.insert(object.name_any());
                self.apply(object);
            }
            Event::InitDone => {
                let seen = std::mem::take(&mut self.seen);
                let gone: Vec<String> = self.known.difference(&seen).cloned().collect();
                gone.iter().for_each(|name| self.remove(name));
                self.core.settle(K::NAME);
            }
            Event::Apply(object) => self.apply(object),
            Event::Delete(object) => self.remove(&object.name_any()),
        }
    }

    // Without definitions nothing can be planned, so there is no going on without them.
    fn failed(&mut self, _error: &Error) {}
}

/// All tenants: the index and the controller's store.
pub(super) struct Tenants {
    core: Arc<Core>,
    store: Store<HospitalTenant>,
    writer: Writer<HospitalTenant>,
    known: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl Tenants {
    pub(super) const NAME: &'static str = "hospitaltenants";

    pub(super) fn new(core: Arc<Core>, writer: Writer<HospitalTenant>) -> Self {
        Self { core, store: writer.as_reader(), writer, known: BTreeSet::new(), seen: BTreeSet::new() }
    }

    /// After the store, so that whoever is woken finds what woke it.
    fn index(&mut self, name: &str) {
        let tenant = self.store.get(&ObjectRef::new(name));
        let before = self.core.read(|index| index.tenants.ready(name));
        if let Some(tenant) = tenant {
            self.known.insert(name.to_owned());
            self.core.change(|index| index.tenant(&tenant));
        } else {
            self.known.remove(name);
            self.core.change(|index| index.tenant_gone(name));
        }
        self.core.metrics.ready_changed(before, self.core.read(|index| index.tenants.ready(name)));
    }
}

impl Sink for Tenants {
    type Object = DynamicObject;

    fn event(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => {
                self.seen.clear();
                self.writer.apply_watcher_event(&Event::Init);
            }
            Event::InitApply(object) => {
                let name = object.name_any();
                // One that cannot be read any more stays as it was last read.
                let before = self.store.get(&ObjectRef::new(&name)).map(Arc::unwrap_or_clone);
                if let Some(tenant) = read(object).or(before) {
                    self.seen.insert(name);
                    self.writer.apply_watcher_event(&Event::InitApply(tenant));
                }
            }
            Event::InitDone => {
                self.writer.apply_watcher_event(&Event::InitDone);
                let mut names = std::mem::take(&mut self.seen);
                names.extend(self.known.iter().cloned());
                names.iter().for_each(|name| self.index(name));
                self.core.settle(Self::NAME);
            }
            Event::Apply(object) => {
                let name = object.name_any();
                if let Some(tenant) = read(object) {
                    self.writer.apply_watcher_event(&Event::Apply(tenant));
                    self.index(&name);
                }
            }
            Event::Delete(object) => {
                let name = object.name_any();
                if let Some(gone) = self.store.get(&ObjectRef::new(&name)) {
                    self.writer.apply_watcher_event(&Event::Delete(Arc::unwrap_or_clone(gone)));
                    self.index(&name);
                }
            }
        }
    }

    // Without tenants there is nothing to do.
    fn failed(&mut self, _error: &Error) {}
}
