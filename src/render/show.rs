//! Plans as YAML, JSON or a table.
//!
//! Guarantees: pure; the same plan gives the same bytes. A generated Secret is shown without values, and which keys it
//! will have.

use serde_json::{Map, Value};

use super::{Entry, Outcome, grid::grid};
use crate::objects::{Desired, Generated, Material};

/// On Secrets that are only shown: keys that the operator fills in, in the cluster.
const GENERATED_KEYS: &str = "his-operator.io/generated-keys";
const WIDTH: u16 = 140;

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line per object, for people.
    Table,
    /// One document per object.
    Yaml,
    /// One List of all objects.
    Json,
}

/// All plans as text.
pub(super) fn text(outcomes: &[Outcome], format: Format) -> String {
    match format {
        Format::Table => outcomes.iter().map(table).collect::<Vec<_>>().join("\n"),
        Format::Yaml => yaml(outcomes),
        Format::Json => json(outcomes),
    }
}

fn yaml(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "# For review: the operator itself writes these objects. Applied by hand, Secrets would stay empty.\n",
    );
    for outcome in outcomes {
        for entry in &outcome.entries {
            let Some(body) = body(&entry.desired) else { continue };
            text.extend(["---\n# ", &entry.capability, ", step ", &entry.step.to_string(), ": ", &entry.why, "\n"]);
            if let Desired::Generate(generated) = &entry.desired {
                text.extend(["# Made once, in the cluster: ", &materials(generated), "\n"]);
            }
            text.push_str(&serde_yaml_ng::to_string(&body).unwrap_or_default());
        }
    }
    text
}

fn json(outcomes: &[Outcome]) -> String {
    let items = outcomes.iter().flat_map(|outcome| &outcome.entries).filter_map(|entry| body(&entry.desired)).collect();
    let list = Value::Object(Map::from_iter([
        ("apiVersion".to_owned(), "v1".into()),
        ("kind".to_owned(), "List".into()),
        ("items".to_owned(), Value::Array(items)),
    ]));
    format!("{list:#}\n")
}

/// What is there to see of an object.
fn body(desired: &Desired) -> Option<Value> {
    match desired {
        Desired::Apply(object) => Some(object.body.clone()),
        Desired::Generate(generated) => {
            let mut object = generated.object.clone();
            let keys: Vec<_> = generated.values.keys().cloned().collect();
            object.annotate(GENERATED_KEYS, &keys.join(","));
            Some(object.body)
        }
        Desired::Keep(_) => None,
    }
}

fn materials(generated: &Generated) -> String {
    generated
        .values
        .iter()
        .map(|(key, material)| format!("{key} ({})", material_in_words(material)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn material_in_words(material: &Material) -> String {
    match material {
        Material::Literal(text) => format!("the text {text}"),
        Material::Password(length) => format!("{length} random letters and digits"),
        Material::RsaKey(bits) => format!("a private RSA key of {bits} bits"),
        Material::JwksBase64(bits) => format!("a private JSON Web Key Set, RSA of {bits} bits"),
        Material::ServerCertificate(hosts) => {
            format!("a certificate with ca.crt and tls.key for {}", hosts.join(", "))
        }
    }
}

fn table(outcome: &Outcome) -> String {
    let mut table = grid(WIDTH, ["STEP", "CAPABILITY", "KIND", "NAME", "WHY"]);
    for entry in &outcome.entries {
        let at = entry.desired.at();
        table.add_row([&entry.step.to_string(), &entry.capability, at.kind.kind, &at.name, &entry.why]);
    }
    let tenant = &outcome.tenant;
    let mut text = format!(
        "HospitalTenant {}: {} {} at {}, in namespace {}\n\n{}\n",
        tenant.name,
        tenant.spec.application.name,
        tenant.version.version,
        outcome.status.url.as_deref().unwrap_or(&tenant.spec.host),
        tenant.namespace,
        table.trim_fmt(),
    );
    text.push_str(&footer(outcome));
    text
}

fn footer(outcome: &Outcome) -> String {
    let steps = outcome.entries.iter().map(|entry| entry.step).max().unwrap_or_default();
    let mut lines = vec![format!(
        "{} objects in {steps} steps; a step is written when everything before it is ready",
        outcome.entries.len()
    )];
    for Entry { desired, .. } in &outcome.entries {
        if let Desired::Generate(generated) = desired {
            lines.push(format!("made in the cluster: Secret {}: {}", desired.at().name, materials(generated)));
        }
    }
    lines.extend(
        outcome.provided.iter().map(|name| format!("assumed to be there: Secret {name}, which a person provides")),
    );
    lines.extend(outcome.status.relaxations.iter().map(|relaxation| {
        let until = relaxation.until.as_ref().map_or(String::new(), |until| format!(" until {until}"));
        format!("relaxed{until}: {}: {}", relaxation.what, relaxation.reason)
    }));
    format!("\n{}\n", lines.join("\n"))
}
