//! RSA keys as PKCS#8 PEM (RFC 5958) and as a private JSON Web Key Set (RFC 7517, RFC 7518 section 6.3.2).

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pkcs1::RsaPrivateKey;
use pkcs8::{LineEnding, PrivateKeyInfoRef, SecretDocument};
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Error;

/// A private key in PKCS#8 DER; wiped when dropped.
pub(super) struct Key(Zeroizing<Vec<u8>>);

/// A fresh key of that many bits.
pub(super) fn generate(bits: usize) -> Result<Key, Error> {
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        8192 => KeySize::Rsa8192,
        other => return Err(Error::ChooseRsaSize(other)),
    };
    let pair = KeyPair::generate(size).map_err(|_| Error::ReadRandom)?;
    let der: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| Error::EncodeRsa("no PKCS#8 form"))?;
    Ok(Key(Zeroizing::new(der.as_ref().to_vec())))
}

#[derive(Serialize)]
struct KeySet {
    keys: [WebKey; 1],
}

#[derive(Serialize)]
struct WebKey {
    kty: &'static str,
    r#use: &'static str,
    alg: &'static str,
    kid: String,
    n: String,
    e: String,
    d: Zeroizing<String>,
    p: Zeroizing<String>,
    q: Zeroizing<String>,
    dp: Zeroizing<String>,
    dq: Zeroizing<String>,
    qi: Zeroizing<String>,
}

impl Key {
    pub(super) fn pem(&self) -> Result<Zeroizing<String>, Error> {
        let document =
            SecretDocument::try_from(self.0.as_slice()).map_err(|_| Error::EncodeRsa("DER does not parse"))?;
        document.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|_| Error::EncodeRsa("no PEM form"))
    }

    /// JSON of a key set with this one key, for RS256. `kid` is the thumbprint of RFC 7638.
    pub(super) fn jwks(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let info =
            PrivateKeyInfoRef::try_from(self.0.as_slice()).map_err(|_| Error::EncodeRsa("PKCS#8 does not parse"))?;
        let key = RsaPrivateKey::try_from(info.private_key.as_bytes())
            .map_err(|_| Error::EncodeRsa("PKCS#1 does not parse"))?;
        let public = |number: pkcs1::UintRef<'_>| URL_SAFE_NO_PAD.encode(number.as_bytes());
        let private = |number: pkcs1::UintRef<'_>| Zeroizing::new(URL_SAFE_NO_PAD.encode(number.as_bytes()));
        let (n, e) = (public(key.modulus), public(key.public_exponent));
        let thumbprint = Sha256::digest(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#));
        let set = KeySet {
            keys: [WebKey {
                kty: "RSA",
                r#use: "sig",
                alg: "RS256",
                kid: URL_SAFE_NO_PAD.encode(thumbprint),
                n,
                e,
                d: private(key.private_exponent),
                p: private(key.prime1),
                q: private(key.prime2),
                dp: private(key.exponent1),
                dq: private(key.exponent2),
                qi: private(key.coefficient),
            }],
        };
        serde_json::to_vec(&set).map(Zeroizing::new).map_err(|_| Error::EncodeRsa("no JSON form"))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents},
    };
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_private_key_set_verifies_what_its_pem_signs() {
        let key = generate(2048).unwrap();
        let set: Value = serde_json::from_slice(&key.jwks().unwrap()).unwrap();
        let web = &set["keys"][0];
        let number = |name: &str| URL_SAFE_NO_PAD.decode(web[name].as_str().unwrap()).unwrap();
        let signer = RsaKeyPair::from_pkcs8(&key.0).unwrap();
        let mut signature = vec![0; signer.public_modulus_len()];
        signer.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"patient", &mut signature).unwrap();
        let public = RsaPublicKeyComponents { n: number("n"), e: number("e") };
        public.verify(&RSA_PKCS1_2048_8192_SHA256, b"patient", &signature).unwrap();
        for name in ["d", "p", "q", "dp", "dq", "qi"] {
            assert!(number(name).len() >= 120, "{name}");
        }
        assert_eq!(
            (web["kty"].as_str(), web["alg"].as_str(), web["use"].as_str()),
            (Some("RSA"), Some("RS256"), Some("sig"))
        );
        assert_eq!(number("kid").len(), 32);
        assert!(key.pem().unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    }

    #[test]
    fn weak_sizes_are_refused() {
        assert!(matches!(generate(1024), Err(Error::ChooseRsaSize(1024))));
    }
}
