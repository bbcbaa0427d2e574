//! YAML with comments, and the places in a chart where a value is filled in.
//!
//! Guarantees: keys are sorted after `apiVersion`, `kind` and `metadata`, so that the output does not depend on build
//! features. Text of ours that looks like a template is printed as text.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_yaml_ng::Mapping;

use super::Error;

const TEXT: &str = "hisSlotText";
const RAW: &str = "hisSlotRaw";
const END: &str = "End";

/// Stands in a text for a Helm expression whose value is text: quoted where it is a whole value.
pub fn text_slot(expression: &str) -> String {
    slot(TEXT, expression)
}

/// Stands for a Helm expression whose value is printed as it is, for example JSON.
pub fn raw_slot(expression: &str) -> String {
    slot(RAW, expression)
}

fn slot(kind: &str, expression: &str) -> String {
    let hex = expression.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("{kind}{hex}{END}")
}

/// The JSON of a typed object, without a status.
pub fn value(what: &str, typed: &impl Serialize) -> Result<Value, Error> {
    let mut value = serde_json::to_value(typed).map_err(|source| Error::WriteJson { what: what.to_owned(), source })?;
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    Ok(value)
}

/// One document.
pub fn document(what: &str, value: &Value) -> Result<String, Error> {
    serde_yaml_ng::to_string(&sorted(value)).map_err(|source| Error::WriteYaml { what: what.to_owned(), source })
}

/// A template of a chart: slots become expressions, everything else stays text.
pub fn template(document: &str) -> String {
    let mut out = String::new();
    for line in document.replace("{{", "{{ \"{{\" }}").lines() {
        out += &fill(line);
        out.push('\n');
    }
    out
}

fn fill(line: &str) -> String {
    let mut line = line.to_owned();
    for kind in [TEXT, RAW] {
        while let Some((before, rest)) = line.split_once(kind) {
            let Some((hex, after)) = rest.split_once(END) else { return line };
            let expression = decoded(hex);
            let whole = after.is_empty() && (before.ends_with(": ") || before.ends_with("- "));
            let quote = if whole && kind == TEXT { " | quote" } else { "" };
            line = format!("{before}{{{{ {expression}{quote} }}}}{after}");
        }
    }
    line
}

fn decoded(hex: &str) -> String {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    let byte = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high * 16 + low).unwrap_or_default(),
        _ => 0,
    };
    String::from_utf8_lossy(&digits.chunks(2).map(byte).collect::<Vec<_>>()).into_owned()
}

fn sorted(value: &Value) -> serde_yaml_ng::Value {
    match value {
        Value::Object(map) => {
            let first = ["apiVersion", "kind", "metadata"];
            let rank = |key: &str| first.iter().position(|f| *f == key).unwrap_or(first.len());
            let ordered: BTreeMap<(usize, &str), &Value> =
                map.iter().map(|(key, value)| ((rank(key), key.as_str()), value)).collect();
            let pairs = ordered.into_iter().map(|((_, key), value)| (key.into(), sorted(value)));
            serde_yaml_ng::Value::Mapping(pairs.collect::<Mapping>())
        }
        Value::Array(items) => serde_yaml_ng::Value::Sequence(items.iter().map(sorted).collect()),
        Value::Null => serde_yaml_ng::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(real)) if real.fract() == 0.0 => format_whole(real),
            (None, real) => real.unwrap_or_default().into(),
        },
    }
}

/// Bounds in schemas are floating point numbers (`1.0`), which Kubernetes prints as `1`.
fn format_whole(real: f64) -> serde_yaml_ng::Value {
    format!("{real:.0}").parse::<i64>().map_or_else(|_| real.into(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_looks_like_a_template_stays_text_and_slots_become_expressions() {
        let document = format!(
            "a: use {{{{ x }}}}\nb: {}\nc: user:{}:x\nd: {}\n",
            text_slot(".Name"),
            text_slot(".Name"),
            raw_slot("toJson .V")
        );
        let expected = "a: use {{ \"{{\" }} x }}\nb: {{ .Name | quote }}\nc: user:{{ .Name }}:x\nd: {{ toJson .V }}\n";
        assert_eq!(template(&document), expected);
    }
}
