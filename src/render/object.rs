//! Documents become typed definitions, or a list of everything that is wrong with them.
//!
//! Guarantees: what is accepted here has passed the CRD's schema, strict decoding and every CEL rule.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResourceExt, Resource, core::cel::ValidationErrors};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    read::Document,
    schema::{Problem, check, without_nulls},
};
use crate::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant},
    names,
};

/// Everything that the files define.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// By name.
    pub platforms: BTreeMap<String, Arc<HospitalPlatform>>,
    /// By name.
    pub applications: BTreeMap<String, Arc<HospitalApplication>>,
    /// In the order of the files, each with its place.
    pub tenants: Vec<(String, Arc<HospitalTenant>)>,
}

impl Definitions {
    /// Checks and decodes; names everything that is wrong, not only the first.
    pub fn decode(documents: &[Document]) -> Result<Self, Vec<Problem>> {
        let mut definitions = Self::default();
        let mut problems = Vec::new();
        for document in documents {
            if let Err(found) = definitions.add(document) {
                problems.extend(found);
            }
        }
        if problems.is_empty() { Ok(definitions) } else { Err(problems) }
    }

    fn add(&mut self, document: &Document) -> Result<(), Vec<Problem>> {
        let text = |pointer: &str| document.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let place = format!("{} ({kind} {name})", document.place);
        let wrong =
            |field: &str, message: String| vec![Problem { place: place.clone(), field: field.to_owned(), message }];
        let wanted = format!("{}/{}", names::GROUP, names::VERSION);
        let known = ["HospitalPlatform", "HospitalApplication", "HospitalTenant"];
        if text("/apiVersion") != wanted || !known.contains(&kind) {
            let is = format!("apiVersion {:?} and kind {kind:?}", text("/apiVersion"));
            let message = format!("{is} are not known here; give only {} of {wanted}", known.join(", "));
            return Err(vec![Problem { place: document.place.clone(), field: String::new(), message }]);
        }
        let twice = || wrong("metadata.name", "is given twice; remove one of the two".to_owned());
        let again = match kind {
            "HospitalPlatform" => {
                let platform = decode(&document.body, &place, HospitalPlatform::validate_cel)?;
                self.platforms.insert(name.to_owned(), Arc::new(platform)).is_some()
            }
            "HospitalApplication" => {
                let application = decode(&document.body, &place, HospitalApplication::validate_cel)?;
                self.applications.insert(name.to_owned(), Arc::new(application)).is_some()
            }
            _ => {
                let tenant = decode(&document.body, &place, HospitalTenant::validate_cel)?;
                let again = self.tenants.iter().any(|(_, tenant)| tenant.metadata.name.as_deref() == Some(name));
                self.tenants.push((document.place.clone(), Arc::new(tenant)));
                again
            }
        };
        if again { Err(twice()) } else { Ok(()) }
    }
}

type Rules<K> = fn(&K) -> Result<(), ValidationErrors>;

/// The schema first: a rule may rely on the types of what it looks at.
fn decode<K>(body: &Value, place: &str, rules: Rules<K>) -> Result<K, Vec<Problem>>
where
    K: CustomResourceExt + Resource<DynamicType = ()> + DeserializeOwned,
{
    let problem = |(field, message): (String, String)| Problem { place: place.to_owned(), field, message };
    let schema = root_schema(&K::crd());
    let mut body = body.clone();
    without_nulls(&schema, &mut body);
    let mut found = check(&schema, &body, "");
    found.extend(name(&body));
    if !found.is_empty() {
        return Err(found.into_iter().map(problem).collect());
    }
    let typed: K = serde_json::from_value(body)
        .map_err(|error| vec![problem((String::new(), format!("cannot be decoded: {error}; correct it")))])?;
    rules(&typed).map_err(|errors| {
        let broken = |error: kube::core::cel::ValidationError| problem((error.field_path, error.message));
        errors.into_iter().map(broken).collect::<Vec<_>>()
    })?;
    Ok(typed)
}

/// The CRD's schema with what the API server adds to every kind.
pub(super) fn root_schema(crd: &impl serde::Serialize) -> Value {
    let crd = serde_json::to_value(crd).unwrap_or_default();
    let mut schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default();
    // As it is installed, not as the types have it.
    crate::generate::clean_schema(&mut schema);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("metadata".to_owned(), schema_of::<ObjectMeta>());
        for text in ["apiVersion", "kind"] {
            properties.insert(text.to_owned(), schema_of::<String>());
        }
    }
    schema
}

fn schema_of<T: JsonSchema>() -> Value {
    let inline = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    inline.into_generator().into_root_schema_for::<T>().to_value()
}

/// RFC 1123 subdomain, as the API server requires.
fn name(body: &Value) -> Option<(String, String)> {
    let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let label =
        |label: &str| !label.is_empty() && label.chars().all(legal) && !label.starts_with('-') && !label.ends_with('-');
    let valid = name.len() <= 253 && name.split('.').all(label);
    (!valid).then(|| {
        let message = "must be lower case letters, digits, dashes and dots, and start and end with a letter or digit";
        ("metadata.name".to_owned(), message.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What [`check`] or a CEL rule looks at, and what only describes.
    const UNDERSTOOD: &[&str] = &[
        "type",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "enum",
        "nullable",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-validations",
        "x-kubernetes-preserve-unknown-fields",
        "description",
        "format",
        "default",
        "title",
    ];

    fn keywords(schema: &Value, found: &mut BTreeSet<String>) {
        let Some(map) = schema.as_object() else { return };
        found.extend(map.keys().cloned());
        for schema in map.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(_, schema)| schema) {
            keywords(schema, found);
        }
        for below in ["items", "additionalProperties"] {
            map.get(below).into_iter().for_each(|schema| keywords(schema, found));
        }
    }

    #[test]
    fn every_keyword_of_the_schemas_is_understood() {
        let mut found = BTreeSet::new();
        for crd in [HospitalTenant::crd(), HospitalPlatform::crd(), HospitalApplication::crd()] {
            keywords(&root_schema(&crd), &mut found);
        }
        let strange: Vec<_> = found.iter().filter(|keyword| !UNDERSTOOD.contains(&keyword.as_str())).collect();
        assert_eq!(strange, Vec::<&String>::new());
    }
}
