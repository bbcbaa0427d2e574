//! The objects of one hospital as they are, read once.
//!
//! Guarantees: of Secrets only metadata is read. A kind that may not be read is named; it is never taken for absent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use kube::{Api, Client, ResourceExt, api::ListParams, core::DynamicObject};
use serde_json::Value;

use crate::{
    capabilities::kinds,
    names,
    objects::{
        Kind, Ref,
        kind::{NAMESPACE, Watch},
    },
    plugin::access::words,
};

/// What is there, and what could not be looked at.
#[derive(Clone, Debug, Default)]
pub(in crate::plugin) struct Live {
    /// As the API server gives them; of Secrets only metadata.
    pub objects: BTreeMap<Ref, Arc<DynamicObject>>,
    /// CRDs whose kind the API server serves.
    pub crds: BTreeSet<String>,
    /// Kinds that could not be read, and why.
    pub unread: BTreeMap<Kind, String>,
}

/// Reads every kind that the operator writes.
pub(in crate::plugin) async fn live(client: &Client, tenant: &str) -> Live {
    let mut live = Live::default();
    let kinds = kinds();
    let read = join_all(kinds.iter().map(|kind| objects(client, *kind, tenant))).await;
    for (kind, read) in kinds.into_iter().zip(read) {
        match read {
            Ok(objects) => {
                live.crds.extend(kind.crd.map(str::to_owned));
                let at = |object: &DynamicObject| Ref {
                    kind,
                    namespace: object.namespace().unwrap_or_default(),
                    name: object.name_any(),
                };
                live.objects.extend(objects.into_iter().map(|object| (at(&object), Arc::new(object))));
            }
            Err(error) if kind.crd.is_some() && is_absent(client, kind, &error).await => {}
            Err(error) => {
                live.crds.extend(kind.crd.map(str::to_owned));
                let why = format!("{} could not be read and were not compared: {}", kind.plural, words(&error));
                live.unread.insert(kind, why);
            }
        }
    }
    live
}

/// The CRD is not installed. Whoever may not list a kind is told so before anybody looks whether it is there; what is there
/// everybody may ask (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles>).
async fn is_absent(client: &Client, kind: Kind, error: &kube::Error) -> bool {
    let code = |error: &kube::Error| if let kube::Error::Api(status) = error { status.code } else { 0 };
    match code(error) {
        404 => true,
        403 => match client.list_api_group_resources(&kind.api_version()).await {
            Ok(served) => served.resources.iter().all(|resource| resource.name != kind.plural),
            Err(error) => code(&error) == 404,
        },
        _ => false,
    }
}

async fn objects(client: &Client, kind: Kind, tenant: &str) -> kube::Result<Vec<DynamicObject>> {
    let (resource, namespace) = (kind.api_resource(), names::namespace(tenant));
    if kind == NAMESPACE {
        // Seen even when it belongs to somebody else.
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
        return Ok(api.get_opt(&namespace).await?.into_iter().collect());
    }
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource);
    if kind.watch == Watch::TenantMetadata {
        // Also what people put there: a password for an external service is looked for by name.
        let list = api.list_metadata(&ListParams::default()).await?;
        let bare = |item: kube::core::PartialObjectMeta<DynamicObject>| DynamicObject {
            types: item.types,
            metadata: item.metadata,
            data: Value::Null,
        };
        return Ok(list.items.into_iter().map(bare).collect());
    }
    let ours = format!("{}={},{}={tenant}", names::MANAGED_BY, names::PRODUCT, names::TENANT);
    Ok(api.list(&ListParams::default().labels(&ours)).await?.items)
}
