//! What the API server checks before anything else: the structural schema of a CRD, and no unknown field.
//!
//! Guarantees: pure; every problem is named with the path of its field, not only the first.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde_json::{Map, Value};

/// Something that the API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the object is written, and which it is.
    pub place: String,
    /// Path of the field; empty for the object as a whole.
    pub field: String,
    /// What is wrong and how to correct it.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            write!(f, "{}: {}", self.place, self.message)
        } else {
            write!(f, "{}: {}: {}", self.place, self.field, self.message)
        }
    }
}

/// Field and message of everything that the schema forbids.
pub(super) fn check(schema: &Value, value: &Value, path: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(schema, value, path, &mut found);
    found
}

/// Takes out every null that the schema does not allow, as the API server does before it looks at anything else.
pub(super) fn without_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let of = |name: &str| {
                schema.get("properties").and_then(|known| known.get(name)).or(schema.get("additionalProperties"))
            };
            map.retain(|name, value| {
                !value.is_null() || of(name).is_none_or(|schema| schema.get("nullable") == Some(&Value::Bool(true)))
            });
            for (name, value) in map {
                if let Some(schema) = of(name) {
                    without_nulls(schema, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| without_nulls(schema, item));
            }
        }
        _ => {}
    }
}

type Found = Vec<(String, String)>;

fn walk(schema: &Value, value: &Value, path: &str, found: &mut Found) {
    if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
        return;
    }
    let mut wrong = |message: String| found.push((path.to_owned(), message));
    if let Some(wanted) = wrong_type(schema, value) {
        wrong(format!("must be {wanted}, but is {}{}", describe(value), hint(wanted, value)));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
        wrong(format!("{value} is not known; choose one of: {}", allowed.join(", ")));
    }
    match value {
        Value::Object(map) => object(schema, map, path, found),
        Value::Array(items) => array(schema, items, path, found),
        Value::String(text) => {
            let short_or_long = bounds(schema, ["minLength", "maxLength"], length(text.chars().count()), "characters");
            short_or_long.into_iter().chain(not_a_time(schema, text)).for_each(wrong);
        }
        Value::Number(number) => {
            let is = number.as_f64().unwrap_or(f64::NAN);
            bounds(schema, ["minimum", "maximum"], is, "").into_iter().for_each(wrong);
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn object(schema: &Value, map: &Map<String, Value>, path: &str, found: &mut Found) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let count = bounds(schema, ["minProperties", "maxProperties"], length(map.len()), "entries");
    found.extend(count.into_iter().map(|message| (path.to_owned(), message)));
    let none = Map::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|name| !map.contains_key(*name)) {
        found.push((below(name), "is required, but missing; add it".to_owned()));
    }
    let others = schema.get("additionalProperties").filter(|others| others.is_object());
    let closed = !known.is_empty() && others.is_none() && !keeps_unknown(schema);
    for (name, value) in map {
        match known.get(name).or(others) {
            Some(schema) => walk(schema, value, &below(name), found),
            None if closed => {
                let names = known.keys().cloned().collect::<Vec<_>>().join(", ");
                found.push((below(name), format!("unknown field; known here are: {names}")));
            }
            None => {}
        }
    }
}

fn array(schema: &Value, items: &[Value], path: &str, found: &mut Found) {
    let count = length(items.len());
    found.extend(bounds(schema, ["minItems", "maxItems"], count, "entries").into_iter().map(|m| (path.to_owned(), m)));
    let keys: Vec<_> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("{path}[{index}]");
        if let Some(schema) = schema.get("items") {
            walk(schema, item, &at, found);
        }
        let key: Vec<_> = keys.iter().map(|key| item.get(*key).map(ToString::to_string).unwrap_or_default()).collect();
        if !key.is_empty() && !seen.insert(key.clone()) {
            found.push((at, format!("a second entry with {} {}; remove one", keys.join(", "), key.join(", "))));
        }
    }
}

fn not_a_time(schema: &Value, text: &str) -> Option<String> {
    let wanted = schema.get("format").and_then(Value::as_str) == Some("date-time");
    let wrong = wanted && DateTime::parse_from_rfc3339(text).is_err();
    wrong.then(|| format!("{text:?} is not an RFC 3339 time; write for example 2030-01-31T18:00:00Z"))
}

fn keeps_unknown(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
}

/// The wanted type, if the value has another one.
fn wrong_type<'a>(schema: &'a Value, value: &Value) -> Option<&'a str> {
    let wanted = schema.get("type").and_then(Value::as_str)?;
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    };
    (!fits).then_some(wanted)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("{value}"),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// YAML reads 5.0 and yes as something else than text.
fn hint(wanted: &str, value: &Value) -> &'static str {
    match value {
        Value::Bool(_) | Value::Number(_) if wanted == "string" => "; put it in quotes",
        Value::String(_) if matches!(wanted, "integer" | "number" | "boolean") => "; write it without quotes",
        Value::Null => "; give it a value or remove the field",
        _ => "; correct it",
    }
}

#[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
fn length(count: usize) -> f64 {
    count as f64
}

fn bounds(schema: &Value, [least, most]: [&str; 2], is: f64, unit: &str) -> Option<String> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    match (bound(least), bound(most)) {
        (Some(least), _) if is < least => Some(format!("{is}{unit} is too little: the least is {least}")),
        (_, Some(most)) if is > most => Some(format!("{is}{unit} is too much: the most is {most}")),
        _ => None,
    }
}
