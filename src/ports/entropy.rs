use std::{collections::BTreeMap, time::Duration};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use zeroize::Zeroizing;

use super::rsa;
use crate::objects::Material;

/// Content of a Secret by key; wiped when dropped. Has no useful `Debug` on purpose.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretBytes(BTreeMap<String, Zeroizing<Vec<u8>>>);

impl SecretBytes {
    /// The raw values by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// One value.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(|value| value.as_slice())
    }

    fn put(&mut self, key: &str, value: Zeroizing<Vec<u8>>) {
        self.0.insert(key.to_owned(), value);
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why key material could not be made. Never carries a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The random source failed.
    #[error("the system's random source failed; retry")]
    ReadRandom,
    /// Not a size that is both safe and supported.
    #[error("an RSA key of {0} bits is not supported: use 2048, 3072, 4096 or 8192")]
    ChooseRsaSize(usize),
    /// The key could not be encoded.
    #[error("the generated RSA key could not be encoded: {0}")]
    EncodeRsa(&'static str),
    /// The certificate could not be made.
    #[error("the server certificate for {names} could not be made: {reason}")]
    IssueCertificate {
        /// The DNS names that were asked for.
        names: String,
        /// What the certificate library says.
        reason: String,
    },
}

/// Makes the content of generated Secrets.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// Fresh values for these keys. Slow for RSA (up to seconds): call it on a blocking thread.
    fn make(&self, values: &BTreeMap<String, Material>, now: DateTime<Utc>) -> Result<SecretBytes, Error>;
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn make(&self, values: &BTreeMap<String, Material>, now: DateTime<Utc>) -> Result<SecretBytes, Error> {
        let mut made = SecretBytes::default();
        for (key, material) in values {
            match material {
                Material::Literal(text) => made.put(key, Zeroizing::new(text.clone().into_bytes())),
                Material::Password(length) => made.put(key, password(*length)?),
                Material::RsaKey(bits) => {
                    made.put(key, Zeroizing::new(rsa::generate(*bits)?.pem()?.as_bytes().to_vec()));
                }
                Material::JwksBase64(bits) => {
                    let json = rsa::generate(*bits)?.jwks()?;
                    made.put(key, Zeroizing::new(STANDARD.encode(json.as_slice()).into_bytes()));
                }
                Material::ServerCertificate(names) => server_certificate(&mut made, names, now)?,
            }
        }
        Ok(made)
    }
}

/// Uniform over `[A-Za-z0-9]`: bytes that would bias the choice are thrown away.
fn password(length: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const FAIR: u8 = 248; // 4 * 62
    let random = SystemRandom::new();
    let mut text = Zeroizing::new(Vec::with_capacity(length));
    let mut pool = Zeroizing::new([0_u8; 64]);
    while text.len() < length {
        random.fill(pool.as_mut_slice()).map_err(|_| Error::ReadRandom)?;
        let fair = pool.iter().filter(|byte| **byte < FAIR).filter_map(|byte| ALPHABET.get(usize::from(*byte % 62)));
        let missing = length - text.len();
        text.extend(fair.take(missing));
    }
    Ok(text)
}

/// A certificate authority for exactly one server. Its key is dropped here, so that nobody can ever issue a second leaf.
fn server_certificate(made: &mut SecretBytes, names: &[String], now: DateTime<Utc>) -> Result<(), Error> {
    let issue = || -> Result<_, rcgen::Error> {
        let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut authority = CertificateParams::default();
        let subject = names.first().map_or("server", String::as_str);
        authority
            .distinguished_name
            .push(DnType::CommonName, format!("CA of {subject}").chars().take(64).collect::<String>());
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        (authority.not_before, authority.not_after) = (day(now, -1), day(now, 3650));
        let authority_certificate = authority.self_signed(&authority_key)?;

        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut leaf = CertificateParams::new(names.to_vec())?;
        leaf.distinguished_name.push(DnType::CommonName, subject.chars().take(64).collect::<String>());
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (leaf.not_before, leaf.not_after) = (day(now, -1), day(now, 3649));
        let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key))?;
        Ok((authority_certificate.pem(), leaf.pem(), key.serialize_pem()))
    };
    let (authority, leaf, key) =
        issue().map_err(|error| Error::IssueCertificate { names: names.join(", "), reason: error.to_string() })?;
    for (name, pem) in [("ca.crt", authority), ("tls.crt", leaf), ("tls.key", key)] {
        made.put(name, Zeroizing::new(pem.into_bytes()));
    }
    Ok(())
}

/// Midnight UTC that many days from now; a day back covers clocks that disagree.
fn day(now: DateTime<Utc>, days: i64) -> time::OffsetDateTime {
    let date = now + TimeDelta::days(days);
    rcgen::date_time_ymd(date.year(), u8::try_from(date.month()).unwrap_or(1), u8::try_from(date.day()).unwrap_or(1))
}

/// Between half of and the whole duration, so that many waiters do not come back at once.
pub fn jitter(duration: Duration) -> Duration {
    let mut bytes = [0_u8; 4];
    // Without randomness the full duration is still a correct wait.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return duration;
    }
    duration.mul_f64(0.5 + f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn make(material: Material) -> SecretBytes {
        SystemEntropy.make(&BTreeMap::from([("k".to_owned(), material)]), Utc::now()).unwrap()
    }

    #[test]
    fn passwords_have_the_asked_length_use_the_whole_alphabet_and_never_repeat() {
        let text = make(Material::Password(5000)).get("k").unwrap().to_vec();
        assert_eq!(text.len(), 5000);
        assert!(text.iter().all(u8::is_ascii_alphanumeric));
        assert_eq!(text.iter().collect::<BTreeSet<_>>().len(), 62);
        assert_ne!(make(Material::Password(16)), make(Material::Password(16)));
    }

    #[test]
    fn server_certificate_is_valid_for_its_names_only_and_chains_to_its_authority() {
        use rustls::{
            RootCertStore,
            pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
        };
        let made = make(Material::ServerCertificate(vec!["database".to_owned(), "database.his-x.svc".to_owned()]));
        assert_eq!(made.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["ca.crt", "tls.crt", "tls.key"]);
        let parse = |key| CertificateDer::from_pem_slice(made.get(key).unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(parse("ca.crt")).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        use rustls::client::danger::ServerCertVerifier;
        let verify = |name: &str, days: u64| {
            let at = UnixTime::since_unix_epoch(Duration::from_secs(
                u64::try_from(Utc::now().timestamp()).unwrap() + days * 86_400,
            ));
            verifier
                .verify_server_cert(&parse("tls.crt"), &[], &ServerName::try_from(name.to_owned()).unwrap(), &[], at)
                .is_ok()
        };
        assert!(verify("database", 0));
        assert!(verify("database.his-x.svc", 3640));
        assert!(!verify("database.his-y.svc", 0));
        assert!(!verify("database", 3660));
    }

    #[test]
    fn debug_output_of_secrets_shows_keys_only() {
        let made = make(Material::Literal("hunter2".to_owned()));
        assert_eq!(format!("{made:?}"), r#"{"k"}"#);
        assert_eq!(made.get("k"), Some(b"hunter2".as_slice()));
    }

    #[test]
    fn jitter_stays_between_half_and_whole() {
        for _ in 0..100 {
            let wait = jitter(Duration::from_secs(10));
            assert!((Duration::from_secs(5)..=Duration::from_secs(10)).contains(&wait), "{wait:?}");
        }
    }
}
