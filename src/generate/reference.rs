//! `crds/README.md`: every field, every template variable, every condition and reason.

use std::fmt::Write;

use serde_json::Value;

use super::{Error, MARK, crds, sample};
use crate::{
    capabilities::registry,
    conditions::{READY, RECONCILING, Reason, STALLED},
    tenant::{
        database::Login,
        template::{Piece, Variables},
    },
};

/// The whole reference.
pub fn text() -> Result<String, Error> {
    let mut out = format!(
        "<!-- {MARK} -->\n# Field reference\n\nAll resources are cluster-scoped, in group `his-operator.io`, version `v1alpha1`. \
         The same texts come from `kubectl explain hospitaltenant.spec --recursive`.\n\
         A field that is absent means its secure default; *required* fields have none.\n"
    );
    for (_, crd) in crds::values()? {
        kind(&mut out, &crd);
    }
    variables(&mut out)?;
    conditions(&mut out);
    Ok(out)
}

fn kind(out: &mut String, crd: &Value) {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let Some(schema) = crd.pointer("/spec/versions/0/schema/openAPIV3Schema") else { return };
    let short = text("/spec/names/shortNames/0");
    line(out, &format!("\n## {}\n\nShort name `{short}`. {}", text("/spec/names/kind"), description(schema)));
    for rule in messages(schema) {
        line(out, &format!("\nRule: {rule}."));
    }
    for part in ["spec", "status"] {
        let Some(schema) = schema.get("properties").and_then(|properties| properties.get(part)) else { continue };
        line(
            out,
            &format!(
                "\n### {}.{part}\n\n| Field | Type | Meaning | Rules |\n|---|---|---|---|",
                text("/spec/names/kind")
            ),
        );
        let mut rows = Vec::new();
        fields(&mut rows, "", schema);
        for [path, kind, meaning, rules] in rows {
            line(out, &format!("| `{path}` | {kind} | {} | {} |", cell(&meaning), cell(&rules)));
        }
    }
}

fn fields(rows: &mut Vec<[String; 4]>, path: &str, schema: &Value) {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut properties: Vec<(&String, &Value)> =
        schema.get("properties").and_then(Value::as_object).into_iter().flatten().collect();
    properties.sort_by_key(|(name, _)| name.as_str());
    for (name, property) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let mut rules = bounds(property);
        if required.contains(&name.as_str()) {
            rules.insert(0, "required".to_owned());
        }
        rules.extend(messages(property));
        let (inner, suffix) = inside(property);
        if !suffix.is_empty() {
            let of_entry = bounds(inner).into_iter().chain(messages(inner));
            rules.extend(of_entry.map(|rule| format!("each: {rule}")));
        }
        rows.push([path.clone(), type_name(property), description(property), rules.join("; ")]);
        fields(rows, &format!("{path}{suffix}"), inner);
    }
}

/// Schema of the entries of a list or map, with what they add to the path.
fn inside(property: &Value) -> (&Value, &'static str) {
    let entry = |key: &str| property.get(key).filter(|inner| inner.is_object());
    match (entry("items"), entry("additionalProperties")) {
        (Some(items), _) => (items, "[]"),
        (_, Some(values)) => (values, ".*"),
        _ => (property, ""),
    }
}

fn type_name(property: &Value) -> String {
    let name = |schema: &Value| schema.get("type").and_then(Value::as_str).unwrap_or("any").to_owned();
    match inside(property) {
        (inner, "[]") => format!("list of {}", name(inner)),
        (inner, ".*") => format!("map of {}", name(inner)),
        _ => name(property),
    }
}

fn bounds(schema: &Value) -> Vec<String> {
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let between = |low: Option<f64>, high: Option<f64>, unit: &str| match (low, high) {
        (Some(low), Some(high)) if (low - high).abs() < f64::EPSILON => Some(format!("exactly {low}{unit}")),
        (Some(low), Some(high)) => Some(format!("{low} to {high}{unit}")),
        (Some(low), None) => Some(format!("at least {low}{unit}")),
        (None, Some(high)) => Some(format!("at most {high}{unit}")),
        (None, None) => None,
    };
    let mut rules: Vec<String> = [
        between(number("minimum"), number("maximum"), ""),
        between(number("minLength"), number("maxLength"), " characters"),
        between(number("minItems"), number("maxItems"), " entries"),
        between(number("minProperties"), number("maxProperties"), " entries"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let choices: Vec<String> = schema
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|choice| format!("`{choice}`"))
        .collect();
    if !choices.is_empty() {
        rules.push(format!("one of {}", choices.join(", ")));
    }
    let keys: Vec<&str> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !keys.is_empty() {
        rules.push(format!("unique by {}", keys.join(", ")));
    }
    rules
}

/// What the API server says when a rule is broken.
fn messages(schema: &Value) -> Vec<String> {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    rules.into_iter().flatten().filter_map(|rule| rule.get("message")?.as_str().map(ToOwned::to_owned)).collect()
}

fn description(schema: &Value) -> String {
    schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn variables(out: &mut String) -> Result<(), Error> {
    let variables = Variables::new(&sample::tenant(), Login::App);
    line(out, "\n## Template variables\n");
    line(
        out,
        "Usable in `args`, `env[].value` and `files[].template` of a HospitalApplication, as `{{ name }}`; filters of minijinja apply, blocks",
    );
    line(
        out,
        "do not. `NAME` stands for the name of a parameter, secret or bucket. A secret is never part of an object: the pod resolves it for itself.\n",
    );
    line(out, "| Variable | Value for the fictional hospital st-elsewhere |\n|---|---|");
    for name in variables.names() {
        let text = variables.render(name, &format!("{{{{ {name} }}}}"))?;
        let value: String = text
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Secret { secret, key } => format!("<{key} of Secret {secret}>"),
            })
            .collect();
        line(out, &format!("| `{name}` | `{}` |", value.replace('|', "\\|")));
    }
    Ok(())
}

fn conditions(out: &mut String) {
    line(out, "\n## Conditions of a HospitalTenant\n");
    line(out, "`True` is written only for what was observed to hold; `Unknown` for what was not observed.\n");
    line(out, "| Type | Says |\n|---|---|");
    for (name, says) in [
        (READY, "every capability is proved"),
        (RECONCILING, "work is under way (kstatus)"),
        (STALLED, "no progress without a person (kstatus)"),
    ] {
        line(out, &format!("| `{name}` | {says} |"));
    }
    for capability in registry() {
        let folder = capability.name;
        line(
            out,
            &format!(
                "| `{}` | the control [{folder}](../src/capabilities/{folder}/README.md) holds |",
                capability.condition
            ),
        );
    }
    line(out, "\n### Reasons\n\n| Reason | What to do |\n|---|---|");
    for reason in Reason::ALL {
        line(out, &format!("| `{}` | {} |", reason.as_str(), cell(reason.next())));
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(out, "{text}");
}
