//! Certificates and kubeconfig files for clusters that live for hours at most.
//!
//! Must never be used for anything a person relies on: keys lie unencrypted beside the cluster they belong to.

#![allow(clippy::disallowed_macros, reason = "configuration of other programs, for which there are no types here")]

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use serde_json::json;

use crate::paths;

/// A certificate authority and the directory that it writes to.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Where a certificate and its key lie.
#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// Opens the authority of a directory, creating it the first time.
    pub fn open(dir: &Path) -> Result<Self> {
        paths::create_dir(dir)?;
        let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !certificate.exists() {
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot generate the key of the CA")?;
            let own = authority_params().self_signed(&pair).context("cannot sign the CA")?;
            write_key(&key, &pair.serialize_pem())?;
            // Last, because its presence says that both are there.
            write(&certificate, &own.pem())?;
        }
        let pem = fs::read_to_string(&key).with_context(|| format!("cannot read {}", key.display()))?;
        let pair = KeyPair::from_pem(&pem).with_context(|| format!("{} is not a key", key.display()))?;
        Ok(Self { dir: dir.to_path_buf(), issuer: Issuer::new(authority_params(), pair) })
    }

    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    /// A certificate for clients: Kubernetes reads the user from the common name and groups from organizations.
    pub fn client(&self, file: &str, user: &str, groups: &[&str]) -> Result<Pair> {
        self.issue(file, user, groups, &[])
    }

    /// A certificate that names hosts, and may also act as a client.
    pub fn issue(&self, file: &str, user: &str, groups: &[&str], hosts: &[&str]) -> Result<Pair> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).context("a host name is not valid")?;
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, user);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot generate a key")?;
        let signed = params.signed_by(&pair, &self.issuer).with_context(|| format!("cannot sign for {user}"))?;
        let files =
            Pair { certificate: self.dir.join(format!("{file}.crt")), key: self.dir.join(format!("{file}.key")) };
        write_key(&files.key, &pair.serialize_pem())?;
        write(&files.certificate, &signed.pem())?;
        Ok(files)
    }

    /// The key that signs service account tokens; its public half lies beside it as `<file>.pub`.
    pub fn token_key(&self, file: &str) -> Result<Pair> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot generate the token key")?;
        let files =
            Pair { certificate: self.dir.join(format!("{file}.pub")), key: self.dir.join(format!("{file}.key")) };
        write_key(&files.key, &pair.serialize_pem())?;
        write(&files.certificate, &pair.public_key_pem())?;
        Ok(files)
    }

    /// Writes a kubeconfig for an API server that this authority vouches for.
    pub fn kubeconfig(&self, path: &Path, server: &str, user: &Pair) -> Result<()> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "his",
            "contexts": [{"name": "his", "context": {"cluster": "his", "user": "his"}}],
            "clusters": [{"name": "his", "cluster": {"server": server, "certificate-authority": self.certificate()}}],
            "users": [{"name": "his", "user": {"client-certificate": user.certificate, "client-key": user.key}}],
        });
        write_key(path, &serde_yaml_ng::to_string(&config).context("cannot write a kubeconfig")?)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authority").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Always the same, so that the authority can be opened again from its key alone.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, "his-operator test cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.serial_number = Some(SerialNumber::from(1));
    params
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Keys are for their owner alone, also on a shared machine.
fn write_key(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
