//! The objects of one hospital, as the operator itself renders them, with words in place of what differs.
//!
//! Guarantees that every contestant writes the same bytes but for its own owner references and bookkeeping.

#![allow(clippy::disallowed_macros, reason = "raw objects are the subject here")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::{paths, shell};

/// Words of the template.
pub(super) const NAME: &str = "TENANT-NAME";
pub(super) const HOST: &str = "TENANT-HOST";
pub(super) const UID: &str = "TENANT-UID";

/// What the sample hospital in `e2e/bench/hospital` has in these places.
const SAMPLE: [(&str, &str); 3] =
    [("tenant-name", NAME), ("host.example.org", HOST), ("0e1f5e4c-0000-4000-8000-000000000001", UID)];

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Children {
    /// The hospital, as the operator's users write it.
    pub hospital: Value,
    template: String,
    addresses: Vec<Address>,
}

/// Where one object of a hospital lies.
#[derive(Debug, Clone)]
struct Address {
    resource: ApiResource,
    namespace: String,
    name: String,
}

/// Plural resource, namespace and name, as the audit log has them.
pub(super) type Place = (String, String, String);

/// Where the sample hospital and its definitions lie.
pub(super) fn hospital_dir() -> Result<PathBuf> {
    Ok(paths::repo_root()?.join("e2e/bench/hospital"))
}

/// Each flow is a policy of its own.
fn sample(flows: usize) -> Result<Value> {
    let file = hospital_dir()?.join("tenant.yaml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut sample: Value =
        serde_yaml_ng::from_str(&text).with_context(|| format!("{} is not YAML", file.display()))?;
    let flow = |number: usize| {
        json!({
            "component": "worker", "cidrs": [format!("192.0.2.{number}/32")], "port": 2575, "reason": "results of a laboratory",
        })
    };
    if flows > 0
        && let Some(spec) = sample.get_mut("spec").and_then(Value::as_object_mut)
    {
        let egress: Vec<Value> = (1..=flows).map(flow).collect();
        spec.insert("network".to_owned(), json!({ "egress": egress }));
    }
    Ok(sample)
}

impl Children {
    /// Of the sample hospital, with so many connections to servers outside.
    pub(super) fn rendered(operator: &Path, flows: usize) -> Result<Self> {
        let hospital = sample(flows)?;
        let scratch = tempfile::NamedTempFile::with_suffix(".yaml").context("no scratch file")?;
        fs::write(scratch.path(), hospital.to_string()).context("cannot write the hospital")?;
        let render = shell::command(operator).args(["render", "--output", "json", "-f"]);
        let json = render.arg(hospital_dir()?.join("definitions.yaml")).arg("-f").arg(scratch.path()).output()?;
        let list: Value = serde_json::from_str(&json).context("the operator rendered no JSON")?;
        let mut items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        items.iter_mut().for_each(fill);
        let text = serde_json::to_string(&items).context("children are not JSON")?;
        let template = SAMPLE.iter().fold(text, |text, (sample, word)| text.replace(sample, word));
        let items: Vec<Value> = serde_json::from_str(&template).context("the template is not JSON")?;
        let addresses = items.iter().map(address).collect::<Result<Vec<_>>>()?;
        if addresses.is_empty() {
            bail!("the operator rendered no object of the sample hospital");
        }
        Ok(Self { hospital, template, addresses })
    }

    pub(super) fn count(&self) -> usize {
        self.addresses.len()
    }

    /// JSON array of all objects, with words.
    pub(super) fn template(&self) -> &str {
        &self.template
    }

    /// All objects, with words.
    pub(super) fn items(&self) -> Result<Vec<Value>> {
        serde_json::from_str(&self.template).context("the template is not JSON")
    }

    /// Where all objects of a hospital will be.
    pub(super) fn places(&self, tenant: &str) -> impl Iterator<Item = Place> {
        self.addresses.iter().map(move |address| {
            let word = |text: &str| text.replace(NAME, tenant);
            // The log names a namespace's own namespace too.
            let namespace = if address.resource.kind == "Namespace" { &address.name } else { &address.namespace };
            (address.resource.plural.clone(), word(namespace), word(&address.name))
        })
    }
}

/// A generated Secret is rendered without its values; everybody writes as many bytes. An empty list in a NetworkPolicy makes
/// the API server count every apply as a change (it compares with none), which would set a naive controller in a loop.
fn fill(object: &mut Value) {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind == "NetworkPolicy"
        && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
        return;
    }
    if kind != "Secret" {
        return;
    }
    if let Some(object) = object.as_object_mut() {
        object.insert("immutable".to_owned(), json!(true));
        object.insert(
            "data".to_owned(),
            json!({ "value": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODk=" }),
        );
    }
}

/// The resource of an object, by its kind.
pub(super) fn resource(object: &Value) -> Result<ApiResource> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (Some(version), Some(kind)) = (text("/apiVersion"), text("/kind")) else {
        bail!("an object has no apiVersion or kind: {object}");
    };
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    Ok(ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
}

fn address(object: &Value) -> Result<Address> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Address { resource: resource(object)?, namespace: text("/metadata/namespace"), name: text("/metadata/name") })
}
