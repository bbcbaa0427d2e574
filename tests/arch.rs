//! The structure of the code, checked: where dependencies may point, what pure code may not do, how large a file may be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::default_trait_access,
    clippy::needless_pass_by_value,
    reason = "a test may stop at once"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Order of the layers: a module may use those before it, and itself.
const LAYERS: &[&[&str]] = &[
    &["names", "secrecy", "settings"],
    &["api"],
    &["conditions", "foreign"],
    &["objects"],
    &["tenant"],
    &["capabilities"],
    &["ports", "telemetry", "agent"],
    &["error", "cluster", "metrics"],
    &["reconcile"],
];

/// Layers that know no client, no runtime and no clock.
const PURE: &[&str] = &["names", "api", "conditions", "foreign", "objects", "tenant", "capabilities"];

const FORBIDDEN_IN_PURE: &[(&str, &str)] = &[
    ("async fn", "pure code does not wait"),
    (".await", "pure code does not wait"),
    ("kube::Client", "only cluster talks to the API server"),
    ("kube::Api", "only cluster talks to the API server"),
    ("tokio::", "pure code needs no runtime"),
    ("HashMap", "hash maps have no order, and rendering must be stable"),
    ("HashSet", "hash sets have no order, and rendering must be stable"),
    ("json!", "objects are rendered from typed structs"),
    ("Utc::now", "the time is an input"),
    ("SystemTime::now", "the time is an input"),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Module below `src` that a file belongs to.
fn module(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let before_tests = text.split("#[cfg(test)]").next().unwrap().to_owned();
    before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Modules of this crate that a text names: `crate::x` and the lists in `use crate::{x, y::z}`.
fn used(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            found.extend(top_level_names(list));
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

fn top_level_names(list: &str) -> Vec<String> {
    let (mut depth, mut name, mut names, mut fresh) = (0, String::new(), Vec::new(), true);
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if depth == 0 && fresh && (c.is_alphanumeric() || c == '_') => name.push(c),
            _ if depth == 0 && !name.is_empty() => fresh = false,
            _ => {}
        }
        if (!fresh || c == ',') && !name.is_empty() {
            names.push(std::mem::take(&mut name));
        }
    }
    if !name.is_empty() {
        names.push(name);
    }
    names
}

fn arrows_back(files: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (module, uses) in files {
        let Some(own) = rank(module) else { continue };
        for used in uses {
            if rank(used).is_some_and(|other| other > own) {
                wrong.push(format!("{module} uses {used}"));
            }
        }
    }
    wrong.dedup();
    wrong
}

#[test]
fn dependencies_point_one_way() {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources(&root().join("src")) {
        files.entry(module(&file)).or_default().extend(used(&code(&file)));
    }
    // `objects::Observed` holds the two definitions that a hospital names, so objects may use api; nothing else goes up.
    assert_eq!(arrows_back(&files), Vec::<String>::new());
}

#[test]
fn an_arrow_back_is_noticed() {
    let mutant = BTreeMap::from([("tenant".to_owned(), vec!["cluster".to_owned()])]);
    assert_eq!(arrows_back(&mutant), ["tenant uses cluster"]);
    assert_eq!(used("use crate::{\n    api::v1alpha1::{A, B},\n    cluster,\n};"), ["api", "cluster"]);
}

#[test]
fn pure_layers_know_no_client_no_runtime_and_no_clock() {
    let mut wrong = Vec::new();
    let tests = |file: &Path| file.file_name().is_some_and(|name| name == "tests.rs");
    let pure = |file: &&PathBuf| PURE.contains(&module(file).as_str()) && !tests(file);
    for file in sources(&root().join("src")).iter().filter(pure) {
        let code = code(file);
        for (forbidden, why) in FORBIDDEN_IN_PURE {
            if code.contains(forbidden) {
                wrong.push(format!("{}: {forbidden}: {why}", file.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn only_cluster_writes() {
    let mut wrong = Vec::new();
    for file in sources(&root().join("src")).iter().filter(|file| module(file) != "cluster") {
        let code = code(file);
        let words = ["PatchParams", "PostParams", "DeleteParams"];
        wrong
            .extend(words.iter().filter(|word| code.contains(*word)).map(|word| format!("{}: {word}", file.display())));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn files_are_small_enough_to_know() {
    let mut large = Vec::new();
    for dir in ["src", "e2e/src", "tests", "e2e/tests"].map(|dir| root().join(dir)).iter().filter(|dir| dir.exists()) {
        for file in sources(dir) {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            let test = file.components().any(|c| c.as_os_str() == "tests") || file.to_string_lossy().contains("test");
            let limit = if test { 600 } else { 400 };
            if lines > limit {
                large.push(format!("{}: {lines} lines, at most {limit}", file.display()));
            }
        }
    }
    assert_eq!(large, Vec::<String>::new());
}

#[test]
fn every_capability_says_what_it_is_against_and_shows_a_refusal() {
    let mut missing = Vec::new();
    for capability in his_operator::capabilities::registry() {
        let folder = root().join("src/capabilities").join(capability.name);
        let readme = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        for section in ["**Threat.**", "**Control.**", "**Evidence.**", "**Relaxing it.**"] {
            if !readme.contains(section) {
                missing.push(format!("{}: README.md has no {section}", capability.name));
            }
        }
        let cases: Vec<_> = fs::read_dir(folder.join("cases"))
            .map(|dir| {
                dir.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
            })
            .unwrap_or_default();
        if !cases.iter().any(|case| case.contains("refused")) {
            missing.push(format!("{}: no refused case in cases/", capability.name));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn nothing_says_that_it_is_unfinished() {
    let words = [
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
        ["#[ig", "nore"].concat(),
        ["|| t", "rue"].concat(),
    ];
    let mut found = Vec::new();
    for dir in ["src", "e2e/src", "tests"] {
        for file in sources(&root().join(dir)) {
            let text = fs::read_to_string(&file).unwrap();
            found.extend(
                words.iter().filter(|word| text.contains(*word)).map(|word| format!("{}: {word}", file.display())),
            );
        }
    }
    assert_eq!(found, Vec::<String>::new());
}
