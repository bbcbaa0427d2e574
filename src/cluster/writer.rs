//! Every write of the operator.
//!
//! Guarantees: nothing is sent unless the [`Fence`] permits it, and no request outlives that permission. What holds patient
//! data cannot be deleted here, whoever asks. Generated values exist in memory only while they are sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use super::{Error, Fence, Verb, events::Sent, keep};
use crate::{
    api::v1alpha1::{HospitalTenant, HospitalTenantStatus},
    metrics::Metrics,
    names,
    objects::{
        Generated, Object, Ref,
        covers::difference,
        kind::{Retention, Scope},
        managed,
    },
    ports::{Clock, Entropy, SecretBytes},
};

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes objects. Clones share everything.
#[derive(Clone)]
pub struct Writer {
    pub(super) client: Client,
    fence: Fence,
    metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// What an object looked like after an apply that did not make it as desired.
    unmoved: Arc<Mutex<BTreeMap<Ref, String>>>,
    /// What each tenant was told last, by UID; nothing while it is not known whether it arrived.
    told: Arc<Mutex<BTreeMap<String, Option<Told>>>>,
    pub(super) events: Arc<Mutex<Sent>>,
}

/// A status that has arrived.
#[derive(Clone, Debug)]
struct Told {
    /// The tenant's resource version since then.
    version: u64,
    /// The status itself, until the watch has told of it.
    unseen: Option<HospitalTenantStatus>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("fence", &self.fence).finish_non_exhaustive()
    }
}

impl Writer {
    /// Writes through this client while the fence permits.
    pub fn new(
        client: Client,
        fence: Fence,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            client,
            fence,
            metrics,
            clock,
            entropy,
            unmoved: Arc::default(),
            told: Arc::default(),
            events: Arc::default(),
        }
    }

    /// Applies a stamped object unless the live one already covers it; returns the API server's answer if it was asked.
    ///
    /// Where the API server or another manager keeps changing a field back, the object is applied once and then again only
    /// when it changes; a policy of the network or an RBAC object that cannot be made exact is an error, because it is open.
    pub async fn ensure(&self, stamped: &Object, live: Option<&DynamicObject>) -> Result<Option<DynamicObject>, Error> {
        let Some(live) = live else { return self.apply(stamped).await.map(Some) };
        let Some(path) = difference(live, stamped) else { return Ok(None) };
        if self.memory().get(&stamped.at).is_some_and(|seen| *seen == substance(live)) {
            return if stamped.at.kind.is_exact() {
                Err(Error::Contested { at: stamped.at.to_string(), path })
            } else {
                Ok(None)
            };
        }
        match self.apply(stamped).await {
            // Somebody changed the key of a list element (a Service's port): ours beside theirs is invalid, so theirs goes.
            Err(Error::Refused { code: 422, .. }) => self.replace_lists(stamped).await?,
            other => return other.map(Some),
        }
        self.apply(stamped).await.map(Some)
    }

    /// Merge patch: lists become exactly as desired, whoever owns their elements.
    async fn replace_lists(&self, stamped: &Object) -> Result<(), Error> {
        let parameters = PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let (api, mut body) = (self.api(&stamped.at), stamped.body.clone());
        // Parameters of one strategy are invalid beside the name of another.
        if let Some(strategy) = body.pointer_mut("/spec/strategy").and_then(Value::as_object_mut) {
            strategy.entry("rollingUpdate").or_insert(Value::Null);
        }
        let patch = Patch::Merge(&body);
        self.send(Verb::Patch, &stamped.at, api.patch(&stamped.at.name, &parameters, &patch)).await.map(|_| ())
    }

    /// Server-side apply of a stamped object, with force: what the operator renders is the operator's. Returns what the
    /// API server made of it.
    pub async fn apply(&self, stamped: &Object) -> Result<DynamicObject, Error> {
        let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
        let api = self.api(&stamped.at);
        let patch = Patch::Apply(&stamped.body);
        let mut answer = self.send(Verb::Apply, &stamped.at, api.patch(&stamped.at.name, &parameters, &patch)).await?;
        // When we wrote it is all that is ever asked for.
        answer.metadata.managed_fields =
            managed::last_of(names::FIELD_MANAGER, answer.managed_fields()).map(|ours| vec![ours]);
        let Some(path) = difference(&answer, stamped) else {
            self.memory().remove(&stamped.at);
            return Ok(answer);
        };
        let before = self.memory().insert(stamped.at.clone(), substance(&answer));
        if before.is_none() {
            tracing::warn!(object = %stamped.at, path, "stays different although it was applied; another manager or the API server sets it");
        }
        if stamped.at.kind.is_exact() {
            return Err(Error::Contested { at: stamped.at.to_string(), path });
        }
        Ok(answer)
    }

    /// Creates a Secret with fresh values, immutable and kept by a finalizer; returns it without its values if it was made.
    /// One that exists, or waits to be restored, is left as it is: its values are in use. `first` says that this hospital
    /// never had one, so that none can wait to be restored.
    pub async fn generate(&self, generated: &Generated, first: bool) -> Result<Option<DynamicObject>, Error> {
        let at = &generated.object.at;
        if !first && self.read_secret(&keep::twin_of(at)).await?.is_some() {
            return self.restore_secret(at).await.map(|_whole| None);
        }
        let (entropy, values, now) = (Arc::clone(&self.entropy), generated.values.clone(), self.clock.now());
        let made = tokio::task::spawn_blocking(move || entropy.make(&values, now)).await;
        let made = made.map_err(|_| crate::ports::Error::ReadRandom)??;
        let answer = self.post(Verb::Create, at, filled(&generated.object, &made)).await?;
        Ok(answer.map(|secret| DynamicObject { data: Value::Null, types: None, ..secret }))
    }

    /// POST; an object that exists already is a success, and `None`.
    pub(super) async fn post(&self, verb: Verb, at: &Ref, body: Value) -> Result<Option<DynamicObject>, Error> {
        let Ok(object) = serde_json::from_value::<DynamicObject>(body) else {
            return Err(Error::Unreadable(at.to_string()));
        };
        let parameters = PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match self.send(verb, at, self.api(at).create(&parameters, &object)).await {
            Err(Error::Refused { code: 409, reason, .. }) if reason == "AlreadyExists" => Ok(None),
            other => other.map(Some),
        }
    }

    /// Deletes exactly the object with this UID, with what belongs to it. One that has gone already is a success.
    ///
    /// Kinds of which every object holds patient data are refused here; of other kinds the caller knows the label.
    pub async fn delete(&self, at: &Ref, uid: &str) -> Result<(), Error> {
        if at.kind.retention == Retention::Data {
            return Err(Error::DeleteData(at.to_string()));
        }
        // A Job's successor has the same name; it may start only when the old pods have ended.
        let parameters = if at.kind.kind == "Job" { DeleteParams::foreground() } else { DeleteParams::background() };
        self.remove(at, Some(uid.to_owned()), parameters).await
    }

    pub(super) async fn remove(&self, at: &Ref, uid: Option<String>, parameters: DeleteParams) -> Result<(), Error> {
        let parameters = parameters.preconditions(Preconditions { uid, resource_version: None });
        match self.send(Verb::Delete, at, self.api(at).delete(&at.name, &parameters)).await {
            Err(Error::Refused { code: 404, .. }) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Writes the status, unless the tenant, as [`Self::with_last_status`] gives it, has the same already and it is known to
    /// have arrived; says whether a request was sent.
    pub async fn write_status(&self, tenant: &HospitalTenant, status: &HospitalTenantStatus) -> Result<bool, Error> {
        let uid = tenant.uid().unwrap_or_default();
        let arrived = {
            let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.get(&uid).is_none_or(Option::is_some)
        };
        if tenant.status.as_ref() == Some(status) && arrived {
            return Ok(false);
        }
        let tell = |told| self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.clone(), told);
        tell(None);
        let at = tenant_ref(tenant);
        // With the UID, so that a tenant that was made anew in between is not told the fate of its predecessor.
        let body = json!({
            "apiVersion": at.kind.api_version(),
            "kind": at.kind.kind,
            "metadata": { "name": at.name, "uid": tenant.uid() },
            "status": status,
        });
        let api: Api<HospitalTenant> = Api::all(self.client.clone());
        let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        let answer = self.send(Verb::Status, &at, api.patch_status(&at.name, &parameters, &patch)).await?;
        tell(Some(Told { version: version(&answer), unseen: Some(status.clone()) }));
        Ok(true)
    }

    /// The tenant with the last status that was written to it, which its watch may have yet to tell of: what was seen before
    /// would lead a release a step back, and the way back to an earlier status would look like no change.
    pub fn with_last_status(&self, tenant: Arc<HospitalTenant>) -> Arc<HospitalTenant> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = told.get_mut(&tenant.uid().unwrap_or_default()).and_then(Option::as_mut) else {
            return tenant;
        };
        if version(&tenant) >= told.version {
            told.unseen = None;
        }
        match &told.unseen {
            Some(status) => Arc::new(HospitalTenant { status: Some(status.clone()), ..tenant.as_ref().clone() }),
            None => tenant,
        }
    }

    /// Holds a tenant, or lets it go; says whether a request was sent.
    pub async fn finalizer(&self, tenant: &HospitalTenant, present: bool) -> Result<bool, Error> {
        let before: BTreeSet<&str> = tenant.finalizers().iter().map(String::as_str).collect();
        if before.contains(names::FINALIZER) == present {
            return Ok(false);
        }
        if !present && let Some(uid) = tenant.uid() {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        }
        let mut after = tenant.finalizers().to_vec();
        after.retain(|finalizer| finalizer != names::FINALIZER);
        if present {
            after.push(names::FINALIZER.to_owned());
        }
        // A list is replaced as a whole, so it must be the list that was seen.
        let body = json!({ "metadata": { "finalizers": after, "uid": tenant.uid(), "resourceVersion": tenant.resource_version() } });
        let at = tenant_ref(tenant);
        let api: Api<HospitalTenant> = Api::all(self.client.clone());
        let patch = Patch::Merge(&body);
        match self.send(Verb::Patch, &at, api.patch(&at.name, &PatchParams::default(), &patch)).await {
            Err(Error::Refused { code: 404, .. }) if !present => Ok(false),
            other => other.map(|_| true),
        }
    }

    pub(super) fn api(&self, at: &Ref) -> Api<DynamicObject> {
        let resource = at.kind.api_resource();
        match at.kind.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), &at.namespace, &resource),
        }
    }

    /// Sends one request while the fence permits, and counts it.
    pub(super) async fn send<T>(
        &self,
        verb: Verb,
        at: &Ref,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let result = match self.fence.permit(PATIENCE) {
            None => Err(Error::Fenced { verb, at: at.to_string() }),
            Some(limit) => match timeout(limit, request).await {
                Ok(answer) => answer.map_err(|error| Error::from_client(verb, at, error)),
                Err(_) => Err(Error::TimedOut { verb, at: at.to_string(), waited: limit }),
            },
        };
        self.metrics.wrote(verb.as_str(), at.kind.kind, result.as_ref().err().map_or("ok", Error::result));
        result
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, BTreeMap<Ref, String>> {
        self.unmoved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resource versions of one kind grow (KEP-5504).
fn version(tenant: &HospitalTenant) -> u64 {
    tenant.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Digest of what an apply can change: neither status nor bookkeeping.
fn substance(live: &DynamicObject) -> String {
    let mut body = live.data.clone();
    if let Some(body) = body.as_object_mut() {
        body.remove("status");
    }
    let metadata = &live.metadata;
    crate::objects::digest(&(
        body,
        &metadata.labels,
        &metadata.annotations,
        &metadata.finalizers,
        &metadata.owner_references,
    ))
}

/// The Secret with its values, immutable, and kept.
fn filled(object: &Object, made: &SecretBytes) -> Value {
    let mut body = object.clone().stamped().body;
    let data: BTreeMap<&str, String> = made.iter().map(|(key, value)| (key, STANDARD.encode(value))).collect();
    if let Some(body) = body.as_object_mut() {
        body.insert("data".to_owned(), json!(data));
        body.insert("immutable".to_owned(), Value::Bool(true));
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("finalizers".to_owned(), json!([names::KEEP_FINALIZER]));
        }
    }
    body
}

/// Address of a tenant, for messages and metrics.
pub(super) fn tenant_ref(tenant: &HospitalTenant) -> Ref {
    Ref { kind: super::TENANT, namespace: String::new(), name: tenant.name_any() }
}
