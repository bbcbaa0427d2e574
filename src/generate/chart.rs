//! The charts and the plain bundle, from the same objects.

use std::fmt::Write;

use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Serialize;

use super::{
    Error, Files, MARK, admission, chart_test, crds, monitoring, operator, probes,
    rbac::{self, Rule},
    site::{Site, VERSION},
    values::{self, Documented},
    yaml,
};
use crate::names;

/// Oldest Kubernetes that has everything that is relied on: admission policies (1.30), `isCIDR` in CEL (1.31).
const KUBERNETES: &str = ">=1.31.0-0";
const CHART: &str = "charts/his-operator";
const CRDS: &str = "charts/his-operator-crds";

/// Text of the chart's README around what is generated.
const README: &str = include_str!("chart/README.md");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    api_version: &'a str,
    name: &'a str,
    description: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    version: &'a str,
    app_version: &'a str,
    kube_version: &'a str,
    home: &'a str,
    keywords: [&'a str; 3],
    maintainers: [Maintainer<'a>; 1],
}

#[derive(Serialize)]
struct Maintainer<'a> {
    name: &'a str,
    url: &'a str,
}

/// Everything below `charts/` except the CRDs' templates, and `manifests/install.yaml`.
pub fn files() -> Result<Files, Error> {
    let mut files = Files::new();
    let head = format!("# {MARK}\n");
    let mut put = |path: String, text: String| files.insert(path.into(), text);
    put(
        format!("{CHART}/Chart.yaml"),
        head.clone() + &metadata("his-operator", "Runs secure hospital information systems on Kubernetes")?,
    );
    put(
        format!("{CRDS}/Chart.yaml"),
        head.clone()
            + &metadata(
                "his-operator-crds",
                "Custom resource definitions of his-operator; helm uninstall leaves them alone",
            )?,
    );
    put(format!("{CHART}/values.yaml"), head.clone() + &values_yaml()?);
    put(format!("{CHART}/values.schema.json"), schema()?);
    put(format!("{CHART}/README.md"), readme()?);
    for (file, documents) in templates()? {
        put(format!("{CHART}/templates/{file}.yaml"), head.clone() + &yaml::template(&documents.join("---\n")));
    }
    for (condition, file, document) in monitoring::documents(&Site::chart())? {
        let text = format!("{{{{- if {condition} }}}}\n{}{{{{- end }}}}\n", yaml::template(&document));
        put(format!("{CHART}/templates/{file}.yaml"), head.clone() + &text);
    }
    let test = chart_test::documents(&Site::chart())?.join("---\n");
    put(format!("{CHART}/templates/test.yaml"), head.clone() + &yaml::template(&test));
    put("manifests/install.yaml".to_owned(), head + &bundle()?);
    Ok(files)
}

fn metadata(name: &str, description: &str) -> Result<String, Error> {
    let home = env!("CARGO_PKG_REPOSITORY");
    let metadata = Metadata {
        api_version: "v2",
        name,
        description,
        kind: "application",
        version: VERSION,
        app_version: VERSION,
        kube_version: KUBERNETES,
        home,
        keywords: ["hospital", "security", "operator"],
        maintainers: [Maintainer { name: "his-operator", url: home }],
    };
    serde_yaml_ng::to_string(&metadata).map_err(|source| Error::WriteYaml { what: name.to_owned(), source })
}

fn templates() -> Result<Vec<(&'static str, Vec<String>)>, Error> {
    let site = Site::chart();
    let mut templates = vec![
        ("rbac", rbac::documents(&site)?),
        ("admission", admission::documents(&site)?),
        ("probes", probes::documents(&site)?),
    ];
    templates.extend(operator::documents(&site)?.into_iter().map(|(file, document)| (file, vec![document])));
    Ok(templates)
}

/// Everything, in an order in which it can be applied at once: fences before rights, rights before the operator.
fn bundle() -> Result<String, Error> {
    let site = Site::plain();
    let mut documents = Vec::new();
    for (name, crd) in crds::values()? {
        documents.push(yaml::document(&name, &crd)?);
    }
    documents.push(yaml::document("Namespace", &yaml::value("Namespace", &namespace(&site))?)?);
    documents.extend(probes::documents(&site)?);
    documents.extend(admission::documents(&site)?);
    documents.extend(rbac::documents(&site)?);
    documents.extend(operator::documents(&site)?.into_iter().map(|(_, document)| document));
    Ok(documents.join("---\n"))
}

/// The operator's namespace. Helm makes it with `--create-namespace`.
fn namespace(site: &Site) -> Namespace {
    let labels = Some(probes::restricted(operator::labels()));
    let metadata = ObjectMeta { name: Some(site.namespace.clone()), labels, ..ObjectMeta::default() };
    Namespace { metadata, ..Namespace::default() }
}

fn values_yaml() -> Result<String, Error> {
    let mut out = String::new();
    for Documented { path, meaning, default } in values::documented()? {
        let depth = path.matches('.').count();
        let indent = "  ".repeat(depth);
        let name = path.rsplit('.').next().unwrap_or_default();
        if depth == 0 {
            out.push('\n');
        }
        line(&mut out, &format!("{indent}# {meaning}"));
        match default {
            None => line(&mut out, &format!("{indent}{name}:")),
            Some(value) => {
                let entry = serde_json::Value::Object(serde_json::Map::from_iter([(name.to_owned(), value)]));
                for text in yaml::document(&path, &entry)?.lines() {
                    line(&mut out, &format!("{indent}{text}"));
                }
            }
        }
    }
    Ok(out)
}

fn schema() -> Result<String, Error> {
    let mut schema = values::schema();
    if let Some(root) = schema.as_object_mut() {
        root.insert("$comment".to_owned(), MARK.into());
    }
    let mut text = serde_json::to_string_pretty(&sorted(&schema))
        .map_err(|source| Error::WriteJson { what: "values.schema.json".to_owned(), source })?;
    text.push('\n');
    Ok(text)
}

/// Keys in one order, whatever the features that `serde_json` was built with.
fn sorted(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let ordered: std::collections::BTreeMap<_, _> =
                map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            serde_json::Value::Object(ordered.into_iter().collect())
        }
        serde_json::Value::Array(items) => serde_json::Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn readme() -> Result<String, Error> {
    let mut table = "| Value | Default | Meaning |\n|---|---|---|\n".to_owned();
    for Documented { path, meaning, default } in values::documented()? {
        if let Some(default) = default {
            line(&mut table, &format!("| `{path}` | `{default}` | {} |", meaning.replace('|', "\\|")));
        }
    }
    let rights = format!(
        "In the whole cluster (ClusterRole `his-operator`):\n\n{}\nIn hospitals' namespaces only (ClusterRole `his-operator-tenant`):\n\n{}\nIn its own namespace:\n\n{}\nIn namespace `{}`:\n\n{}",
        rights(&rbac::cluster_rules()),
        rights(&rbac::tenant_rules()),
        rights(&rbac::namespace_rules()),
        names::PROBES,
        rights(&rbac::probe_rules()),
    );
    Ok(format!("<!-- {MARK} The text is in src/generate/chart/README.md. -->\n")
        + &README
            .replace("<!-- values -->\n", &table)
            .replace("<!-- rights -->\n", &rights)
            .replace("<!-- alerts -->\n", &monitoring::runbooks()))
}

fn rights(rules: &[Rule]) -> String {
    let mut table = "| Resource | Verbs | Why |\n|---|---|---|\n".to_owned();
    for rule in rules {
        let group = if rule.group.is_empty() { String::new() } else { format!(".{}", rule.group) };
        let resources: Vec<String> = rule.resources.iter().map(|resource| format!("`{resource}{group}`")).collect();
        let only = if rule.names.is_empty() { String::new() } else { format!(" (only `{}`)", rule.names.join("`, `")) };
        line(&mut table, &format!("| {}{only} | {} | {} |", resources.join(", "), rule.verbs.join(", "), rule.reason));
    }
    table
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(out, "{text}");
}
