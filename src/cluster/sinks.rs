//! From watch events to the index.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{
    api::core::v1::Pod, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
    runtime::watcher::{Error, Event},
};

use super::{
    caches::Core,
    follow::{Sink, code},
    index::{Key, Source, key, version},
    supervisor::Command,
};
use crate::{names, objects::Kind};

/// Name of a kind's watch among those that are waited for.
pub(super) fn label(kind: Kind) -> String {
    format!("{}/{}", kind.group, kind.kind)
}

/// Objects of one kind.
pub(super) struct Objects {
    core: Arc<Core>,
    source: Source,
    seen: BTreeSet<Key>,
    /// In a row.
    failures: u32,
}

/// Failures in a row after which a person is told: several seconds, as each wait doubles.
const LASTING: u32 = 7;

impl Objects {
    pub(super) fn new(core: Arc<Core>, source: Source) -> Self {
        Self { core, source, seen: BTreeSet::new(), failures: 0 }
    }

    /// The tenant whose namespace this source is.
    fn tenant(&self) -> Option<&str> {
        self.source.namespace.as_deref()?.strip_prefix(names::namespace("").as_str())
    }

    /// The first answer is there: absence now means something.
    fn answered(&self) {
        let kind = self.source.kind;
        match self.tenant() {
            Some(tenant) => self.core.change(|index| index.answered(tenant, kind)),
            None => self.core.settle(&label(kind)),
        }
    }
}

impl Sink for Objects {
    type Object = DynamicObject;

    fn event(&mut self, event: Event<DynamicObject>) {
        let kind = self.source.kind;
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(object) => {
                self.seen.insert(key(&object));
                self.core.change(|index| index.listed(kind, object));
            }
            Event::InitDone => {
                self.failures = 0;
                let seen = std::mem::take(&mut self.seen);
                self.core.change_all(|index| index.retain(&self.source, &seen));
                if let Some(crd) = kind.crd {
                    self.core.change(|index| index.serves(crd, true));
                }
                self.answered();
            }
            Event::Apply(object) => self.core.change(|index| index.apply(kind, object)),
            Event::Delete(object) => {
                self.core.change(|index| index.remove(kind, &key(&object), version(&object)));
            }
        }
    }

    fn failed(&mut self, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        let (kind, refused) = (self.source.kind, matches!(code(error), Some(401 | 403..=405)));
        if let Some(tenant) = self.tenant() {
            // Holds up its tenant alone: what cannot be seen there must not be taken for absent.
            let why = (self.failures >= LASTING).then(|| format!("watch of {}: {error}", kind.kind));
            if refused || why.is_some() {
                self.core.change(|index| index.refused(tenant, kind, why.as_deref()));
            }
        } else if kind.crd.is_some() || refused {
            // A foreign kind may stay away for ever without holding up the rest; a built-in one only when the API server says
            // clearly that it will not give it.
            self.answered();
        }
    }

    fn needs_list(&self) -> bool {
        self.tenant().is_some_and(|tenant| self.core.read(|index| !index.doors.is_settled(tenant)))
    }
}

/// Metadata of one kind.
pub(super) struct Metadata(pub(super) Objects);

impl Sink for Metadata {
    type Object = PartialObjectMeta<DynamicObject>;

    fn event(&mut self, event: Event<Self::Object>) {
        let full = |object: Self::Object| DynamicObject {
            types: None,
            metadata: object.metadata,
            data: serde_json::Value::Null,
        };
        self.0.event(match event {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(full(object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(full(object)),
            Event::Delete(object) => Event::Delete(full(object)),
        });
    }

    fn failed(&mut self, error: &Error) {
        self.0.failed(error);
    }

    fn needs_list(&self) -> bool {
        self.0.needs_list()
    }
}

/// Pods of all tenants.
pub(super) struct Pods {
    core: Arc<Core>,
    seen: BTreeSet<Key>,
}

impl Pods {
    pub(super) const NAME: &str = "pods";

    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, seen: BTreeSet::new() }
    }
}

impl Sink for Pods {
    type Object = Pod;

    fn event(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(pod) => {
                self.seen.insert(key(&pod));
                self.core.change(|index| index.pod(&pod));
            }
            Event::InitDone => {
                let seen = std::mem::take(&mut self.seen);
                self.core.change(|index| index.retain_pods(&seen));
                self.core.settle(Self::NAME);
            }
            Event::Apply(pod) => self.core.change(|index| index.pod(&pod)),
            Event::Delete(pod) => self.core.change(|index| index.pod_gone(&pod)),
        }
    }

    fn failed(&mut self, error: &Error) {
        // Without pods, conditions only explain less.
        if code(error).is_some() {
            self.core.settle(Self::NAME);
        }
    }
}

/// Names of the CRDs that are there.
pub(super) struct Crds {
    core: Arc<Core>,
    wanted: BTreeSet<&'static str>,
    seen: BTreeSet<String>,
}

impl Crds {
    pub(super) const NAME: &str = "customresourcedefinitions";

    pub(super) fn new(core: Arc<Core>, wanted: BTreeSet<&'static str>) -> Self {
        Self { core, wanted, seen: BTreeSet::new() }
    }

    fn tell(&self, name: &str, present: bool) {
        if self.wanted.contains(name) {
            self.core.command(Command::Crd { name: name.to_owned(), present });
        }
    }
}

impl Sink for Crds {
    type Object = PartialObjectMeta<CustomResourceDefinition>;

    fn event(&mut self, event: Event<Self::Object>) {
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(crd) => {
                self.seen.insert(crd.name_any());
            }
            Event::InitDone => {
                let seen = std::mem::take(&mut self.seen);
                for name in &self.wanted {
                    self.tell(name, seen.contains(*name));
                }
                // Through the same queue, so that the watches that were just asked for are counted first.
                self.core.command(Command::CrdsListed);
            }
            Event::Apply(crd) => self.tell(&crd.name_any(), true),
            Event::Delete(crd) => self.tell(&crd.name_any(), false),
        }
    }

    fn failed(&mut self, error: &Error) {
        if matches!(code(error), Some(403..=405)) {
            self.core.settle(Self::NAME);
        }
    }
}
