//! Starts and stops the watches.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, channel::mpsc};
use k8s_openapi::{
    api::core::v1::Pod, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    core::{DynamicObject, PartialObjectMeta},
    runtime::{reflector::store::Writer, watcher::Config},
};
use tokio::task::{AbortHandle, JoinSet};

use super::{
    caches::Core,
    connect::Connections,
    custom::{Applications, Platforms, Tenants},
    follow::{follow, follow_named},
    index::Source,
    sinks::{Crds, Metadata, Objects, Pods, label},
};
use crate::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant},
    names,
    objects::{Kind, kind::NAMESPACE, kind::Watch},
};

/// A watch is wanted or no longer wanted.
#[derive(Debug)]
pub(super) enum Command {
    /// A CRD came or went.
    Crd { name: String, present: bool },
    /// Every CRD that is there was named.
    CrdsListed,
    /// A tenant's namespace lets the operator in, or the tenant has gone.
    Namespace { tenant: String, watched: bool },
}

/// All running watches.
struct Supervisor {
    connections: Connections,
    core: Arc<Core>,
    kinds: Vec<Kind>,
    tasks: JoinSet<()>,
    foreign: BTreeMap<String, Vec<AbortHandle>>,
    namespaces: BTreeMap<String, Vec<AbortHandle>>,
}

/// Runs until it is aborted; its watches end with it.
pub(super) async fn supervise(
    connections: Connections,
    kinds: Vec<Kind>,
    core: Arc<Core>,
    writer: Writer<HospitalTenant>,
    mut inbox: mpsc::UnboundedReceiver<Command>,
) {
    let mut supervisor = Supervisor {
        connections,
        core,
        kinds,
        tasks: JoinSet::new(),
        foreign: BTreeMap::new(),
        namespaces: BTreeMap::new(),
    };
    supervisor.start(writer);
    loop {
        tokio::select! {
            command = inbox.next() => match command {
                Some(Command::Crd { name, present: true }) => supervisor.crd_came(name),
                Some(Command::Crd { name, present: false }) => supervisor.crd_went(&name),
                Some(Command::CrdsListed) => supervisor.core.settle(Crds::NAME),
                Some(Command::Namespace { tenant, watched: true }) => supervisor.namespace_opened(tenant),
                Some(Command::Namespace { tenant, watched: false }) => supervisor.namespace_closed(&tenant),
                None => return,
            },
            // Only stopped watches end.
            Some(_stopped) = supervisor.tasks.join_next() => {}
        }
    }
}

impl Supervisor {
    fn start(&mut self, writer: Writer<HospitalTenant>) {
        let built_in: Vec<Kind> =
            self.kinds.iter().filter(|kind| kind.crd.is_none() && kind.watch == Watch::Cluster).copied().collect();
        for name in [Tenants::NAME, Platforms::NAME, Applications::NAME, Crds::NAME, Pods::NAME] {
            self.core.expect(name);
        }
        built_in.iter().for_each(|kind| self.core.expect(&label(*kind)));
        for kind in built_in {
            self.watch(kind);
        }
        let (client, core) = (self.connections.main(), Arc::clone(&self.core));
        let metrics = Arc::clone(&core.metrics);
        let every = Config::default;
        let tenants = Tenants::new(Arc::clone(&core), writer);
        let platforms = Platforms::new(Arc::clone(&core));
        let applications = Applications::new(Arc::clone(&core));
        let wanted = self.kinds.iter().filter_map(|kind| kind.crd).collect();
        let crds = Crds::new(Arc::clone(&core), wanted);
        let pods = Pods::new(core);
        self.custom::<HospitalTenant, _>(tenants);
        self.custom::<HospitalPlatform, _>(platforms);
        self.custom::<HospitalApplication, _>(applications);
        let definitions = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client.clone());
        self.tasks.spawn(follow(definitions, every(), crds, Arc::clone(&metrics)));
        self.tasks.spawn(follow(Api::<Pod>::all(client), every().labels(names::TENANT), pods, metrics));
    }

    /// Watches our own resources as they come, so that one that does not parse cannot hide the others.
    fn custom<K, S>(&mut self, mut sink: S)
    where
        K: kube::Resource<DynamicType = ()>,
        S: super::follow::Sink<Object = DynamicObject> + 'static,
    {
        let resource = kube::core::ApiResource::erase::<K>(&());
        let api = Api::<DynamicObject>::all_with(self.connections.main(), &resource);
        let metrics = Arc::clone(&self.core.metrics);
        self.tasks.spawn(async move {
            follow_named(api, &mut Config::default(), &mut sink, &resource.kind, &metrics).await;
        });
    }

    /// Watches a kind in the whole cluster.
    fn watch(&mut self, kind: Kind) -> AbortHandle {
        let api = Api::<DynamicObject>::all_with(self.connections.main(), &kind.api_resource());
        // A namespace that somebody else made must be seen too, before the operator writes into it.
        let mut config = if kind == NAMESPACE {
            Config::default()
        } else {
            Config::default().labels(&format!("{}={}", names::MANAGED_BY, names::PRODUCT))
        };
        let mut sink = Objects::new(Arc::clone(&self.core), Source { kind, namespace: None });
        let metrics = Arc::clone(&self.core.metrics);
        self.tasks.spawn(async move { follow_named(api, &mut config, &mut sink, kind.kind, &metrics).await })
    }

    fn crd_came(&mut self, crd: String) {
        if self.foreign.contains_key(&crd) {
            return;
        }
        let kinds: Vec<Kind> = self.kinds.iter().filter(|kind| kind.crd == Some(crd.as_str())).copied().collect();
        kinds.iter().for_each(|kind| self.core.expect(&label(*kind)));
        let handles = kinds.into_iter().map(|kind| self.watch(kind)).collect();
        tracing::info!(crd, "kind is served from now on");
        self.foreign.insert(crd, handles);
    }

    fn crd_went(&mut self, crd: &str) {
        let Some(handles) = self.foreign.remove(crd) else { return };
        handles.iter().for_each(AbortHandle::abort);
        tracing::info!(crd, "kind is no longer served");
        for kind in self.kinds.iter().filter(|kind| kind.crd == Some(crd)) {
            self.core.settle(&label(*kind));
            let source = Source { kind: *kind, namespace: None };
            self.core.change_all(|index| index.retain(&source, &std::collections::BTreeSet::new()));
        }
        self.core.change(|index| index.serves(crd, false));
    }

    fn namespace_opened(&mut self, tenant: String) {
        let kinds: Vec<Kind> = self.kinds.iter().filter(|kind| kind.watch == Watch::TenantMetadata).copied().collect();
        let namespace = names::namespace(&tenant);
        self.core.change(|index| {
            index.doors.ask(&tenant, kinds.iter().copied());
            super::index::Effects::default()
        });
        let client = self.connections.of_namespace(&namespace);
        let handles = kinds
            .into_iter()
            .map(|kind| {
                let api = Api::<PartialObjectMeta<DynamicObject>>::namespaced_with(
                    client.clone(),
                    &namespace,
                    &kind.api_resource(),
                );
                let source = Source { kind, namespace: Some(namespace.clone()) };
                let mut sink = Metadata(Objects::new(Arc::clone(&self.core), source));
                let metrics = Arc::clone(&self.core.metrics);
                self.tasks.spawn(async move {
                    follow_named(api, &mut Config::default(), &mut sink, kind.kind, &metrics).await;
                })
            })
            .collect();
        if let Some(before) = self.namespaces.insert(tenant, handles) {
            before.iter().for_each(AbortHandle::abort);
        }
    }

    fn namespace_closed(&mut self, tenant: &str) {
        self.namespaces.remove(tenant).iter().flatten().for_each(AbortHandle::abort);
        self.connections.leave_namespace(&names::namespace(tenant));
        self.core.change(|index| {
            index.forget(tenant);
            super::index::Effects::default()
        });
    }
}
