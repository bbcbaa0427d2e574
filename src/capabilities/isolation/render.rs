//! Objects of isolation, one function each.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{
            LimitRange, LimitRangeItem, LimitRangeSpec, Namespace, ResourceQuota, ResourceQuotaSpec, ServiceAccount,
        },
        rbac::v1::{RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::quota::{self, Total};
use crate::{
    capabilities::{Capability, Contributions, Identity, isolation::Isolation},
    names,
    objects::{Object, kind},
    tenant::Tenant,
};

/// Name of the operator's RoleBinding.
pub const ROLE_BINDING: &str = "his-operator";
/// Name of the ResourceQuota.
pub const QUOTA: &str = "hospital";
/// Name of the LimitRange.
pub const LIMITS: &str = "hospital";
/// Version of the Pod Security Standard: pinned, so that an upgraded cluster does not change its meaning unseen.
const POD_SECURITY_VERSION: &str = "v1.35";

/// Name, namespace, labels and owner of an object of a hospital.
pub fn metadata(tenant: &Tenant, capability: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(tenant.namespace.clone()),
        labels: Some(tenant.labels(capability)),
        annotations: Some(BTreeMap::from([(names::TENANT_UID.to_owned(), tenant.uid.clone())])),
        ..ObjectMeta::default()
    }
}

fn own(tenant: &Tenant, name: &str) -> ObjectMeta {
    metadata(tenant, Isolation::NAME, name)
}

pub fn namespace(tenant: &Tenant) -> Object {
    let mut metadata = ObjectMeta { namespace: None, ..own(tenant, &tenant.namespace) };
    let labels = metadata.labels.get_or_insert_default();
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
        labels.insert(format!("pod-security.kubernetes.io/{mode}-version"), POD_SECURITY_VERSION.to_owned());
    }
    Object::new(kind::NAMESPACE, &Namespace { metadata, ..Namespace::default() })
}

pub fn role_binding(tenant: &Tenant) -> Object {
    let binding = RoleBinding {
        metadata: own(tenant, ROLE_BINDING),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: names::TENANT_ROLE.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: tenant.settings.service_account.clone(),
            namespace: Some(tenant.settings.namespace.clone()),
            ..Subject::default()
        }]),
    };
    Object::new(kind::ROLE_BINDING, &binding)
}

pub fn quota(tenant: &Tenant, shared: &Contributions) -> Object {
    let Total { cpu, memory, pods } = quota::total(&shared.demands, &shared.errands);
    let asked = tenant.spec.isolation.as_ref().and_then(|isolation| isolation.quota.clone());
    let (cpu, memory, pods) = match asked {
        Some(quota) => (quota.cpu, quota.memory, quota.pods.to_string()),
        None => (format!("{cpu}m"), format!("{memory}Mi"), pods.to_string()),
    };
    let hard = [
        ("limits.cpu", cpu),
        ("limits.memory", memory),
        ("pods", pods),
        ("services.loadbalancers", "0".to_owned()),
        ("services.nodeports", "0".to_owned()),
    ];
    let spec = ResourceQuotaSpec { hard: Some(quantities(hard)), ..ResourceQuotaSpec::default() };
    Object::new(kind::RESOURCE_QUOTA, &ResourceQuota { metadata: own(tenant, QUOTA), spec: Some(spec), status: None })
}

pub fn limits(tenant: &Tenant) -> Object {
    let amounts = |cpu: &str, memory: &str, disk: &str| {
        Some(quantities([
            ("cpu", cpu.to_owned()),
            ("memory", memory.to_owned()),
            ("ephemeral-storage", disk.to_owned()),
        ]))
    };
    let item = LimitRangeItem {
        type_: "Container".to_owned(),
        default: amounts("500m", "256Mi", "256Mi"),
        default_request: amounts("50m", "256Mi", "64Mi"),
        ..LimitRangeItem::default()
    };
    let spec = LimitRangeSpec { limits: vec![item] };
    Object::new(kind::LIMIT_RANGE, &LimitRange { metadata: own(tenant, LIMITS), spec: Some(spec) })
}

pub fn service_account(tenant: &Tenant, identity: &Identity) -> Object {
    let account = ServiceAccount {
        metadata: own(tenant, &identity.name),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    Object::new(kind::SERVICE_ACCOUNT, &account)
}

/// Kubernetes quantities by name.
pub fn quantities<const N: usize>(of: [(&str, String); N]) -> BTreeMap<String, Quantity> {
    of.into_iter().map(|(name, amount)| (name.to_owned(), Quantity(amount))).collect()
}
