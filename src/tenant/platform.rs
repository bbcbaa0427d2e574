//! What a platform says becomes names and labels of objects: refused here, with its field, rather than by the API server
//! when a hospital's object is written, again and again.

use std::collections::BTreeMap;

use crate::{
    api::v1alpha1::HospitalPlatformSpec,
    conditions::{Reason, Rejection},
};

/// Refuses what Kubernetes would refuse in an object.
pub fn check(spec: &HospitalPlatformSpec) -> Result<(), Rejection> {
    if let Some(gateway) = &spec.gateway {
        subdomain("spec.gateway.name", &gateway.name)?;
        label("spec.gateway.namespace", &gateway.namespace)?;
        label("spec.gateway.podsNamespace", &gateway.pods_namespace)?;
        labels("spec.gateway.podLabels", &gateway.pod_labels)?;
        gateway.inside.as_ref().map_or(Ok(()), |inside| label("spec.gateway.inside.service", &inside.service))?;
        gateway.section_name.as_ref().map_or(Ok(()), |name| subdomain("spec.gateway.sectionName", name))?;
    }
    if let Some(dns) = &spec.dns {
        label("spec.dns.namespace", &dns.namespace)?;
        labels("spec.dns.podLabels", &dns.pod_labels)?;
    }
    spec.storage.as_ref().map_or(Ok(()), |storage| subdomain("spec.storage.storageClass", &storage.storage_class))
}

fn refused(field: &str, message: String) -> Result<(), Rejection> {
    Err(Rejection::terminal(format!("HospitalPlatform {field}"), Reason::ReferenceInvalid, message))
}

/// RFC 1123 label.
fn is_label(text: &str, longest: usize) -> bool {
    let inside = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    !text.is_empty() && text.len() <= longest && inside && !text.starts_with('-') && !text.ends_with('-')
}

fn label(field: &str, text: &str) -> Result<(), Rejection> {
    if is_label(text, 63) {
        return Ok(());
    }
    refused(field, format!("{text:?} is no such name; use lower case letters, digits and dashes, at most 63"))
}

fn subdomain(field: &str, text: &str) -> Result<(), Rejection> {
    if text.len() <= 253 && text.split('.').all(|part| is_label(part, 253)) {
        return Ok(());
    }
    refused(field, format!("{text:?} is no name of an object; use lower case letters, digits, dashes and dots"))
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
fn labels(field: &str, labels: &BTreeMap<String, String>) -> Result<(), Rejection> {
    for (key, value) in labels {
        let (prefix, name) = key.split_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        let prefixed = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(|p| is_label(p, 253)));
        if !prefixed || name.is_empty() || !is_value(name) {
            return refused(field, format!("{key:?} is no key of a label; write it as on the pods"));
        }
        if !is_value(value) {
            return refused(
                &format!("{field}[{key}]"),
                format!("{value:?} is no value of a label; write it as on the pods"),
            );
        }
    }
    Ok(())
}

fn is_value(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    let inside = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    text.len() <= 63 && inside && ends(text.bytes().next()) && ends(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, value: &str) -> bool {
        labels("x", &BTreeMap::from([(key.to_owned(), value.to_owned())])).is_ok()
    }

    #[test]
    fn labels_are_read_as_kubernetes_reads_them() {
        assert!(of("app", "") && of("app.kubernetes.io/name", "Envoy_1.2") && of("A", "b"));
        for (key, value) in [("", "a"), ("a b", "a"), ("-a", "a"), ("/a", "a"), ("a/", "a"), ("a", "-"), ("a", "{{")] {
            assert!(!of(key, value), "{key:?} {value:?}");
        }
        assert!(!of("a", &"a".repeat(64)));
    }

    #[test]
    fn names_are_read_as_kubernetes_reads_them() {
        assert!(subdomain("x", "fast.ssd-1").is_ok() && label("x", "kube-system").is_ok());
        for wrong in ["", "-", "a.", "A", "a_b", "https://x"] {
            assert!(subdomain("x", wrong).is_err() && label("x", wrong).is_err(), "{wrong:?}");
        }
        assert!(label("x", "a.b").is_err());
    }
}
