//! The guard of the CRDs: what is stored under the definitions of the release before (`tests/cases/crds`) must still be
//! valid, and mean the same. With a release, copy `crds/` there.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::support::{documents_of, files, root, stem};

/// Everything that would break an object that is stored.
fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for pointer in ["/metadata/name", "/spec/group", "/spec/scope", "/spec/names/kind", "/spec/names/plural"] {
        if old.pointer(pointer) != new.pointer(pointer) {
            found.push(format!("{pointer} is another"));
        }
    }
    let versions = |crd: &Value| crd["spec"]["versions"].as_array().cloned().unwrap_or_default();
    for old in versions(old) {
        let name = old["name"].as_str().unwrap();
        match versions(new).iter().find(|new| new["name"] == name) {
            Some(new) if new["served"] == true => {
                schema(&old["schema"]["openAPIV3Schema"], &new["schema"]["openAPIV3Schema"], name, &mut found);
            }
            _ => found.push(format!("version {name} is no longer served")),
        }
    }
    found
}

/// Bounds that have become tighter.
fn bounds(old: &Value, new: &Value, say: &mut impl FnMut(String)) {
    for (name, grows) in [
        ("minLength", true),
        ("minimum", true),
        ("minItems", true),
        ("minProperties", true),
        ("maxLength", false),
        ("maximum", false),
        ("maxItems", false),
        ("maxProperties", false),
    ] {
        let tighter = match (old[name].as_f64(), new[name].as_f64()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(old), Some(new)) => {
                if grows {
                    new > old
                } else {
                    new < old
                }
            }
        };
        if tighter {
            say(format!("{name} was {}, is {}", old[name], new[name]));
        }
    }
}

fn schema(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    let mut say = |what: String| found.push(format!("{path}: {what}"));
    for same in
        ["type", "format", "pattern", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"]
    {
        if old[same] != new[same] && !(same == "pattern" && new[same].is_null()) {
            say(format!("{same} was {}, is {}", old[same], new[same]));
        }
    }
    bounds(old, new, &mut say);
    for flag in ["nullable", "x-kubernetes-preserve-unknown-fields"] {
        if old[flag] == true && new[flag] != true {
            say(format!("is no longer {flag}"));
        }
    }
    let texts = |schema: &Value, list: &str, key: Option<&str>| -> BTreeSet<String> {
        let entries = schema[list].as_array().into_iter().flatten();
        entries.map(|entry| key.map_or(entry, |key| &entry[key]).as_str().unwrap_or_default().to_owned()).collect()
    };
    for name in texts(new, "required", None).difference(&texts(old, "required", None)) {
        say(format!("{name} is required now"));
    }
    if new["enum"].is_array() {
        if old["enum"].is_null() {
            say("has a list of allowed values now".to_owned());
        }
        for value in texts(old, "enum", None).difference(&texts(new, "enum", None)) {
            say(format!("the value {value} is no longer allowed"));
        }
    }
    let rules = "x-kubernetes-validations";
    for rule in texts(new, rules, Some("rule")).difference(&texts(old, rules, Some("rule"))) {
        say(format!("has a new rule: {rule}"));
    }
    for (name, inner) in old["properties"].as_object().into_iter().flatten() {
        match new["properties"].get(name) {
            Some(new) => schema(inner, new, &format!("{path}.{name}"), found),
            None => found.push(format!("{path}.{name}: is gone, and so is what is stored in it")),
        }
    }
    for inner in ["items", "additionalProperties"] {
        if old[inner].is_object() {
            schema(&old[inner], &new[inner], &format!("{path}[]"), found);
        }
    }
}

fn read(folder: &str) -> Vec<(String, Value)> {
    let read = |path: &std::path::PathBuf| {
        (stem(path), documents_of(&fs::read_to_string(path).unwrap(), &stem(path)).remove(0))
    };
    files(&root().join(folder), "yaml").iter().map(read).collect()
}

#[test]
fn what_is_stored_stays_valid_and_means_the_same() {
    let before = read("tests/cases/crds");
    let now = read("crds");
    assert_eq!(before.len(), 3);
    for (name, old) in before {
        let (_, new) = now.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} is gone"));
        assert_eq!(breaks(&old, new), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_way_to_break_what_is_stored_is_noticed_and_what_adds_is_not() {
    let (_, old) = read("tests/cases/crds").into_iter().find(|(name, _)| name == "hospitaltenants").unwrap();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let host = format!("{spec}/properties/host");
    let damage: [(&str, Value); 12] = [
        ("/spec/scope", "Namespaced".into()),
        ("/spec/versions/0/served", false.into()),
        (&format!("{spec}/properties"), serde_json::json!({})),
        (&format!("{spec}/required"), serde_json::json!(["application", "host", "platform"])),
        (&format!("{host}/type"), "integer".into()),
        (&format!("{host}/maxLength"), 3.into()),
        (&format!("{host}/minLength"), 200.into()),
        (&format!("{host}/pattern"), "^a$".into()),
        (&format!("{host}/enum"), serde_json::json!(["a"])),
        (&format!("{host}/x-kubernetes-validations"), serde_json::json!([{"rule": "self == 'a'"}])),
        (&format!("{spec}/properties/components/x-kubernetes-list-type"), "atomic".into()),
        (&format!("{spec}/properties/components/items/properties/replicas/maximum"), 1.into()),
    ];
    for (pointer, value) in damage {
        let mut new = old.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = new.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {parent}"));
        parent[key] = value;
        assert!(!breaks(&old, &new).is_empty(), "{pointer} is not noticed");
    }
    let mut more = old.clone();
    more.pointer_mut(spec).unwrap()["properties"]["more"] = serde_json::json!({"type": "string", "maxLength": 3});
    assert_eq!(breaks(&old, &more), Vec::<String>::new());
}
