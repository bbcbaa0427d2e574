//! CRDs: one file per kind, and the same in a chart that `helm uninstall` leaves alone.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use super::{Error, Files, MARK, operator::labels, yaml};
use crate::api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant};

/// All CRDs, in the order in which people write the resources.
pub fn all() -> [CustomResourceDefinition; 3] {
    [HospitalPlatform::crd(), HospitalApplication::crd(), HospitalTenant::crd()]
}

/// Name of the file of a CRD.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}.yaml", crd.spec.names.plural)
}

/// The CRDs as values, labelled as part of the product.
pub fn values() -> Result<Vec<(String, Value)>, Error> {
    let labelled = |mut crd: CustomResourceDefinition| {
        crd.metadata.labels = Some(labels());
        let name = file_name(&crd);
        let mut value = yaml::value(&name, &crd)?;
        if let Some(schema) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
            clean(schema);
        }
        Ok((name, value))
    };
    all().into_iter().map(labelled).collect()
}

/// An explicit null in a spec is dropped instead of stored: to the rules a null would be present, to the operator it is
/// absent, and the two must never disagree on which database a hospital has. Status keeps its nulls, because only we write it.
pub fn clean(schema: &mut Value) {
    if let Some(map) = schema.as_object_mut() {
        map.remove("title");
    }
    if let Some(spec) = schema.pointer_mut("/properties/spec") {
        without_null(spec);
    }
}

fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// `crds/*.yaml` and the templates of the chart.
pub fn files() -> Result<Files, Error> {
    let mut files = Files::new();
    for (name, mut crd) in values()? {
        let head = format!("# {MARK}\n");
        files.insert(format!("crds/{name}").into(), head.clone() + &yaml::document(&name, &crd)?);
        keep(&mut crd);
        let template = yaml::template(&yaml::document(&name, &crd)?);
        files.insert(format!("charts/his-operator-crds/templates/{name}").into(), head + &template);
    }
    Ok(files)
}

/// Helm never deletes it: without its CRD, every hospital's resource would go.
fn keep(crd: &mut Value) {
    let Some(metadata) = crd.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert("helm.sh/resource-policy".to_owned(), "keep".into());
    }
}
