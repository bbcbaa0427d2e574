//! Deleting a tenant deletes no data, and taking the data over needs consent.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::Theatre;
use crate::demo::resources::{apply, condition, is_true, tenants};

const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Deletes the tenant, checks what stays, then lets a new tenant of the same name adopt it: the old password still works.
pub async fn kept_and_adopted(theatre: &Theatre) -> Result<String> {
    let hospital = &theatre.hospital;
    let password = hospital.admin_password().await?;
    let volume = volume(theatre).await?;
    let api = tenants(&hospital.client);
    let old = api.get(&hospital.name).await?.uid().context("the tenant has no UID")?;
    theatre.kubectl(&["delete", "ht", &hospital.name, "--wait=true", "--timeout=180s"]).await?;
    let receipt = theatre
        .kubectl(&["-n", &hospital.namespace, "get", "configmap", "retained-data", "-o", "jsonpath={.data.kept}"])
        .await?;
    if !receipt.contains("PersistentVolumeClaim") || !receipt.contains("database-owner") {
        bail!("the receipt does not name what was kept: {receipt}");
    }
    refused(theatre).await?;
    adopted(theatre, &old).await?;
    if self::volume(theatre).await? != volume || hospital.admin_password().await? != password {
        bail!("the volume or the password is not the old one");
    }
    theatre.access.login("admin", &password).await?;
    Ok(format!(
        "kept {} objects; a new tenant was refused, then adopted them; the old password still signs in",
        receipt.lines().count()
    ))
}

async fn refused(theatre: &Theatre) -> Result<()> {
    apply(&tenants(&theatre.hospital.client), &theatre.hospital.tenant).await?;
    let refused = |tenant: &kube::core::DynamicObject| {
        condition(tenant, "Ready")
            .is_some_and(|(_, reason, message)| reason == "RetainedDataFound" && message.contains("adopt"))
    };
    theatre.hospital.until("a new tenant is refused", PATIENCE, refused).await?;
    Ok(())
}

async fn adopted(theatre: &Theatre, old: &str) -> Result<()> {
    let mut tenant = theatre.hospital.tenant.clone();
    let spec = tenant.pointer_mut("/spec").and_then(Value::as_object_mut).context("no spec")?;
    spec.insert("adopt".to_owned(), json!({"tenantUid": old}));
    apply(&tenants(&theatre.hospital.client), &tenant).await?;
    theatre.hospital.until("the new tenant adopts", PATIENCE, |tenant| is_true(tenant, "Ready")).await?;
    Ok(())
}

/// UID of the claim and name of the volume behind it.
async fn volume(theatre: &Theatre) -> Result<String> {
    let path = "jsonpath={.metadata.uid} {.spec.volumeName}";
    theatre.kubectl(&["-n", &theatre.hospital.namespace, "get", "pvc", "database-data", "-o", path]).await
}
