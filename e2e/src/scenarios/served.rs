//! The main job: users reach their hospital.

use anyhow::{Result, bail};

use super::Theatre;

/// The real application answers, lets the right password in and keeps the wrong one out, over HTTP through Envoy.
pub async fn login(theatre: &Theatre) -> Result<String> {
    let version = theatre.access.version().await?;
    let password = theatre.hospital.admin_password().await?;
    theatre.access.login("admin", &password).await?;
    if theatre.access.login("admin", "not the password").await.is_ok() {
        bail!("a wrong password was let in");
    }
    Ok(format!("GNU Health on Trytond {version} let the user admin in, and nobody with a wrong password"))
}
