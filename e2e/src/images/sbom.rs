//! Bill of materials of the product's image, CycloneDX 1.5 (<https://cyclonedx.org/docs/1.5/json/>).
//!
//! Guarantees: it holds exactly the packages of `Cargo.lock`, each with the checksum that is pinned there, and depends on
//! nothing else: no time, no machine, so that two builds have the same one.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

/// A package of `Cargo.lock`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    checksum: Option<String>,
    dependencies: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bill {
    bom_format: &'static str,
    spec_version: &'static str,
    version: u8,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize)]
struct Metadata {
    component: Component,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref")]
    reference: String,
    name: String,
    version: String,
    purl: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    depends_on: Vec<String>,
}

/// The bill of everything that this lock file pins.
///
/// # Errors
/// When the lock file does not have the product.
pub fn of_lock(lock: &str) -> Result<String> {
    let packages = packages(lock);
    let product = packages.iter().find(|package| package.name == "his-operator");
    let product = product.context("Cargo.lock does not have the package his-operator")?;
    let bill = Bill {
        bom_format: "CycloneDX",
        spec_version: "1.5",
        version: 1,
        metadata: Metadata { component: component(product, "application") },
        components: packages.iter().map(|package| component(package, "library")).collect(),
        dependencies: packages.iter().map(|package| dependency(package, &packages)).collect(),
    };
    serde_json::to_string_pretty(&bill).context("cannot write the bill of materials")
}

fn component(package: &Package, kind: &'static str) -> Component {
    Component {
        kind,
        reference: purl(package),
        name: package.name.clone(),
        version: package.version.clone(),
        purl: purl(package),
        hashes: package.checksum.iter().map(|sum| Hash { alg: "SHA-256", content: sum.clone() }).collect(),
    }
}

fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

/// A dependency is written as `name`, or as `name version` where there are several.
fn dependency(package: &Package, all: &[Package]) -> Dependency {
    let found = |entry: &String| {
        let (name, version) = entry.split_once(' ').map_or((entry.as_str(), None), |(name, rest)| (name, Some(rest)));
        let same = |known: &&Package| known.name == name && version.is_none_or(|version| known.version == version);
        all.iter().find(same).map(purl)
    };
    Dependency { reference: purl(package), depends_on: package.dependencies.iter().filter_map(found).collect() }
}

/// Cargo writes its lock file itself, always in this shape: one `key = "value"` per line, lists over several lines.
fn packages(lock: &str) -> Vec<Package> {
    let mut all = Vec::new();
    for block in lock.split("[[package]]").skip(1) {
        let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
        let mut dependencies = Vec::new();
        for line in block.lines() {
            match line.split_once(" = ") {
                Some((key, value)) => drop(fields.insert(key, value.trim_matches('"'))),
                None if line.starts_with(" \"") => {
                    dependencies.push(line.trim().trim_end_matches(',').trim_matches('"').to_owned());
                }
                None => {}
            }
        }
        let field = |key: &str| fields.get(key).map(|value| (*value).to_owned());
        let checksum = field("checksum");
        let (name, version) = (field("name").unwrap_or_default(), field("version").unwrap_or_default());
        all.push(Package { name, version, checksum, dependencies });
    }
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn lock() -> String {
        std::fs::read_to_string(crate::paths::repo_root().unwrap().join("Cargo.lock")).unwrap()
    }

    /// Read by somebody else: cargo itself.
    #[test]
    fn the_bill_is_exactly_the_lock_file() {
        let bill: Value = serde_json::from_str(&of_lock(&lock()).unwrap()).unwrap();
        let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
        let listed: BTreeSet<_> =
            bill["components"].as_array().unwrap().iter().map(|c| (text(c, "name"), text(c, "version"))).collect();
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let answer = crate::shell::command(cargo)
            .args(["metadata", "--format-version", "1", "--locked"])
            .dir(crate::paths::repo_root().unwrap())
            .output()
            .unwrap();
        let metadata: Value = serde_json::from_str(&answer).unwrap();
        let known: BTreeSet<_> =
            metadata["packages"].as_array().unwrap().iter().map(|p| (text(p, "name"), text(p, "version"))).collect();
        assert_eq!(listed, known);
        let sums = lock().lines().filter(|line| line.starts_with("checksum = ")).count();
        let hashed = bill["components"].as_array().unwrap().iter().filter(|c| c["hashes"].is_array()).count();
        assert_eq!(hashed, sums);
    }

    #[test]
    fn every_dependency_leads_to_a_component() {
        let bill: Value = serde_json::from_str(&of_lock(&lock()).unwrap()).unwrap();
        let references: BTreeSet<_> =
            bill["components"].as_array().unwrap().iter().map(|c| c["bom-ref"].as_str().unwrap()).collect();
        let packages = packages(&lock());
        let edges: usize = packages.iter().map(|package| package.dependencies.len()).sum();
        let mut seen = 0;
        for dependency in bill["dependencies"].as_array().unwrap() {
            for on in dependency["dependsOn"].as_array().unwrap() {
                assert!(references.contains(on.as_str().unwrap()), "{on}");
                seen += 1;
            }
        }
        assert_eq!(seen, edges);
    }

    #[test]
    fn a_lock_file_of_something_else_is_refused() {
        assert!(of_lock("[[package]]\nname = \"x\"\nversion = \"1.0.0\"\n").is_err());
    }
}
