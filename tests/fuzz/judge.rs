//! What the operator makes of an object, and whether the API server agrees.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use his_operator::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalTenant},
    error::{Error, ErrorClass},
    objects::{Desired, Object, Observed},
    reconcile::{pass::Pass, report},
    render::{Definitions, Document},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, PostParams},
};
use serde_json::{Value, json};

use crate::support::{
    cluster::{Jobs, settle},
    crds, inputs, now, patched, root, served,
};

/// What became of an object.
pub enum Outcome {
    /// Planned until nothing changed any more; the last pass.
    Planned(Box<Pass>),
    /// The plan was refused, with a reason, for good.
    Refused,
    /// The types cannot hold it, so the operator never sees it.
    Unreadable,
}

fn fixture<T: serde::de::DeserializeOwned + serde::Serialize>(name: &str) -> T {
    patched(&root().join("tests/cases/fixtures").join(name), None, name)
}

/// The object with fixtures for everything that it needs, or that needs it.
fn world(kind: &str, object: &Value) -> Option<(HospitalTenant, Observed)> {
    let mut platform: HospitalPlatform = fixture("platform.yaml");
    let mut application: HospitalApplication = fixture("application.yaml");
    let mut tenant: HospitalTenant = fixture("tenant.yaml");
    match kind {
        "HospitalPlatform" => platform = serde_json::from_value(object.clone()).ok()?,
        "HospitalApplication" => {
            application = serde_json::from_value(object.clone()).ok()?;
            tenant.spec.application.name = application.name_any();
            if let Some(version) = application.spec.versions.first() {
                tenant.spec.application.version = Some(version.version.clone());
            }
            bind(&mut tenant, &application);
        }
        _ => {
            tenant = serde_json::from_value(object.clone()).ok()?;
            tenant.metadata.uid = Some("0e1f5e4c-0000-4000-8000-000000000001".to_owned());
            let shipped = tenant.spec.application.name.clone();
            if ["care", "gnu-health"].contains(&shipped.as_str()) {
                application = patched(&root().join(format!("manifests/applications/{shipped}.yaml")), None, &shipped);
            }
        }
    }
    let observed = Observed {
        crds: crds(),
        platform: Some(Arc::new(platform)),
        application: Some(Arc::new(application)),
        ..Observed::default()
    };
    Some((tenant, observed))
}

/// What the application asks for, so that its plan gets further than the first thing that is missing.
fn bind(tenant: &mut HospitalTenant, application: &HospitalApplication) {
    for parameter in &application.spec.parameters {
        tenant.spec.parameters.insert(parameter.name.clone(), "x".to_owned());
    }
    let buckets = application.spec.dependencies.iter().flat_map(|dependencies| &dependencies.buckets);
    let bucket = json!({"endpoint": "https://s3.example.org", "name": "x", "cidrs": ["192.0.2.1/32"], "secret": "x"});
    let buckets: serde_json::Map<_, _> = buckets.map(|known| (known.name.clone(), bucket.clone())).collect();
    let cache = json!({"host": "cache.example.org", "cidrs": ["192.0.2.1/32"], "secret": "x"});
    tenant.spec.bindings = Some(serde_json::from_value(json!({"buckets": buckets, "cache": cache})).unwrap());
}

/// Plans, renders, applies on paper and reports; an error is a defect of the operator.
pub fn operate(kind: &str, object: &Value) -> Result<Outcome, String> {
    let Some((tenant, mut observed)) = world(kind, object) else { return Ok(Outcome::Unreadable) };
    let whole = || {
        let settled = match settle(&tenant, &mut observed, Jobs::Succeeded) {
            Ok(settled) => settled,
            Err(rejection) => return Err(Box::new((report::rejected(&tenant, &rejection, now()), rejection))),
        };
        let pass = his_operator::reconcile::pass::plan(&inputs(settled), &observed).unwrap();
        pass.assess(&observed);
        Ok(pass)
    };
    match catch_unwind(AssertUnwindSafe(whole)) {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("panics: {}", text.unwrap_or_default()))
        }
        Ok(Ok(pass)) => Ok(Outcome::Planned(Box::new(pass))),
        Ok(Err(refused)) => {
            let (status, rejection) = *refused;
            let blocking = status.blocking.ok_or("nothing is blocking in the status")?;
            if rejection.field.is_empty() || rejection.message.is_empty() || blocking.next.is_empty() {
                return Err(format!("no field, no reason or no advice: {rejection:?}"));
            }
            match Error::from(rejection).class() {
                ErrorClass::Transient => Err("is tried again and again".to_owned()),
                ErrorClass::Terminal | ErrorClass::Waiting => Ok(Outcome::Refused),
            }
        }
    }
}

/// What this process finds wrong, as `his-operator render` does it.
pub fn problems(object: &Value) -> Option<Vec<String>> {
    let document = Document { place: "fuzz".to_owned(), body: object.clone() };
    let problems = Definitions::decode(&[document]).err()?;
    Some(problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect())
}

/// Messages of all rules of a kind.
fn messages(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            let rules = map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
            into.extend(rules.filter_map(|rule| rule["message"].as_str().map(ToOwned::to_owned)));
            map.values().for_each(|inner| messages(inner, into));
        }
        Value::Array(list) => list.iter().for_each(|inner| messages(inner, into)),
        _ => {}
    }
}

/// Both accept, or both refuse; and a rule that speaks here speaks there.
pub fn agree(kind: &str, object: &Value, answer: &Result<(), String>) -> Result<(), String> {
    let here = problems(object);
    let short = |text: &str| text.chars().take(600).collect::<String>();
    match (&here, answer) {
        (None, Ok(())) => Ok(()),
        (None, Err(there)) => Err(format!("only the API server refuses it: {}", short(there))),
        // Where a string has a format, the API server looks at the format of strings only and lets a list pass. The
        // operator cannot read such an object, and says so.
        (Some(here), Ok(()))
            if here.iter().all(|problem| problem.contains(".until: must be string, but is a list")) =>
        {
            Ok(())
        }
        (Some(here), Ok(())) => Err(format!("only this process refuses it: {}", short(&here.join("; ")))),
        (Some(here), Err(there)) => {
            let mut known = Vec::new();
            messages(&serde_json::to_value(served::of(kind)).unwrap(), &mut known);
            let spoken = |text: &str, rule: &str| text.contains(rule);
            let of_rules = here.iter().filter(|problem| known.iter().any(|rule| problem.ends_with(rule.as_str())));
            if of_rules.count() < here.len() {
                // The schema is broken: the API server then looks at fewer rules, and so does this process.
                return Ok(());
            }
            let all = here.join("\n");
            match known.iter().find(|rule| spoken(&all, rule) != spoken(there, rule)) {
                Some(rule) => {
                    Err(format!("one side only says {rule:?}; here: {}; there: {}", short(&all), short(there)))
                }
                None => Ok(()),
            }
        }
    }
}

/// What the API server refuses of a hospital's objects.
pub async fn shown(client: &kube::Client, pass: &Pass) -> Vec<String> {
    let spaces: Api<Namespace> = Api::all(client.clone());
    let space = Namespace {
        metadata: kube::api::ObjectMeta { name: Some(pass.tenant.namespace.clone()), ..Default::default() },
        ..Namespace::default()
    };
    match spaces.create(&PostParams::default(), &space).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return vec![format!("namespace {}: {error}", pass.tenant.namespace)],
    }
    let trial = PostParams { dry_run: true, ..PostParams::default() };
    let mut refused = Vec::new();
    for desired in &pass.desired {
        // Secrets get their content, which is random, only when they are written.
        let Desired::Apply(Object { body, .. }) = desired else { continue };
        let at = desired.at();
        if at.kind.crd.is_some() || at.kind.kind == "Namespace" {
            continue;
        }
        let object: DynamicObject = serde_json::from_value(body.clone()).unwrap();
        let resource = at.kind.api_resource();
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &at.namespace, &resource);
        match api.create(&trial, &object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
            Err(error) => refused.push(format!("{at}: {}", error.to_string().chars().take(400).collect::<String>())),
        }
    }
    refused
}
