//! Finds secret values where they must not be.

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt, api::ListParams};

/// As much of a value as nothing else shares by chance.
const PIECE: usize = 16;
/// Keys whose values everybody may see.
const PUBLIC: [&str; 3] = ["username", "ca.crt", "tls.crt"];

/// The begin of each secret value of all hospitals, as it is and as Kubernetes encodes it.
pub async fn pieces(admin: &Client) -> HashSet<String> {
    let secrets = Api::<Secret>::all(admin.clone()).list(&ListParams::default()).await.unwrap();
    let ours = secrets
        .items
        .into_iter()
        .filter(|secret| secret.namespace().is_some_and(|namespace| namespace.starts_with("his-")));
    let values =
        ours.flat_map(|secret| secret.data.unwrap_or_default()).filter(|(key, _)| !PUBLIC.contains(&key.as_str()));
    let mut pieces = HashSet::new();
    for (_, value) in values {
        let plain = String::from_utf8(value.0).unwrap();
        // Every key in PEM begins the same; what is its own comes later.
        let own = plain.split_once("KEY-----\n").map_or(plain.as_str(), |(_, key)| key[64..].trim_start());
        pieces.insert(own[..PIECE].to_owned());
        // Without the part that depends on where the encoding began.
        pieces.insert(STANDARD.encode(own)[..PIECE].to_owned());
    }
    pieces
}

/// Whether a text has a piece of a secret value in it.
pub fn leaks(text: &str, pieces: &HashSet<String>) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c)));
    words
        .filter(|word| word.len() >= PIECE)
        .any(|word| (0..=word.len() - PIECE).any(|at| pieces.contains(&word[at..at + PIECE])))
}
