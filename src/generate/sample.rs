//! The fictional hospital that the template reference shows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    api::v1alpha1::{
        ApplicationVersion, Bindings, BucketBinding, BucketDependency, CacheBinding, CacheDependency, Dependencies,
        EmbeddedDatabase, GeneratedSecret, HospitalApplicationSpec, HospitalTenantSpec, WebhooksDependency,
        WebhooksSpec,
    },
    names,
    settings::Settings,
    tenant::{Database, Tenant, database::Mode},
};

/// A hospital that binds everything that can be bound.
pub fn tenant() -> Tenant {
    let name = "st-elsewhere".to_owned();
    let namespace = names::namespace(&name);
    let database = Database {
        mode: Mode::Embedded(EmbeddedDatabase::default(), String::new()),
        name: "his".to_owned(),
        host: format!("database.{namespace}.svc"),
        port: 5432,
        scheme: "postgresql".to_owned(),
    };
    Tenant {
        name,
        uid: String::new(),
        namespace,
        spec: spec(),
        status: crate::api::v1alpha1::HospitalTenantStatus::default(),
        platform: crate::api::v1alpha1::HospitalPlatformSpec::default(),
        application: application(),
        version: ApplicationVersion {
            version: "5.0.4".to_owned(),
            images: BTreeMap::new(),
            ..ApplicationVersion::default()
        },
        parameters: BTreeMap::from([("NAME".to_owned(), "value of the parameter".to_owned())]),
        database: Some(database),
        turn: None,
        changed_by: None,
        settings: Settings::default(),
        now: DateTime::<Utc>::UNIX_EPOCH,
    }
}

fn spec() -> HospitalTenantSpec {
    let cache =
        CacheBinding { host: "cache.example.org".to_owned(), secret: "cache".to_owned(), ..CacheBinding::default() };
    let bucket = BucketBinding {
        endpoint: "https://s3.example.org".to_owned(),
        name: "st-elsewhere-files".to_owned(),
        secret: "files".to_owned(),
        ..BucketBinding::default()
    };
    HospitalTenantSpec {
        host: "st-elsewhere.example.org".to_owned(),
        additional_hosts: vec!["his.st-elsewhere.example.org".to_owned()],
        bindings: Some(Bindings { cache: Some(cache), buckets: BTreeMap::from([("NAME".to_owned(), bucket)]) }),
        webhooks: Some(WebhooksSpec { hosts: vec!["hooks.example.org".to_owned()] }),
        ..HospitalTenantSpec::default()
    }
}

fn application() -> HospitalApplicationSpec {
    HospitalApplicationSpec {
        secrets: vec![GeneratedSecret { name: "NAME".to_owned(), ..GeneratedSecret::default() }],
        dependencies: Some(Dependencies {
            cache: Some(CacheDependency::default()),
            buckets: vec![BucketDependency { name: "NAME".to_owned() }],
            webhooks: Some(WebhooksDependency::default()),
            ..Dependencies::default()
        }),
        ..HospitalApplicationSpec::default()
    }
}
