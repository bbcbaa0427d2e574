//! YAML documents from files, directories and standard input, each with its place.
//!
//! Guarantees: a key that is written twice is an error, never the last one that wins.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use serde::Deserialize;
use serde_json::Value;

/// Standard input, as kubectl writes it.
const STANDARD_INPUT: &str = "-";
const EXTENSIONS: &[&str] = &["yaml", "yml", "json"];

/// One object and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// For example `hospital.yaml, document 2`.
    pub place: String,
    /// Content.
    pub body: Value,
}

/// Why the files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not there, or not readable.
    #[error("{path} cannot be read: {source}; name a file, a directory, or - for standard input")]
    ReadFile {
        /// As given.
        path: String,
        /// Cause.
        source: io::Error,
    },
    /// A directory without files.
    #[error("{path} holds no file that ends in .yaml, .yml or .json; name another directory")]
    EmptyDirectory {
        /// As given.
        path: String,
    },
    /// Not YAML.
    #[error("{place}: not valid YAML: {message}; correct it there")]
    ParseYaml {
        /// Where.
        place: String,
        /// The parser's words.
        message: String,
    },
}

/// All objects, in the order of the files.
pub(crate) fn documents(paths: &[String], standard_input: &mut dyn Read) -> Result<Vec<Document>, ReadError> {
    let mut all = Vec::new();
    for path in paths {
        if path == STANDARD_INPUT {
            let mut text = String::new();
            standard_input.read_to_string(&mut text).map_err(|source| unreadable(path, source))?;
            all.extend(parse("standard input", &text)?);
            continue;
        }
        for file in files(path)? {
            let text = fs::read_to_string(&file).map_err(|source| unreadable(&file, source))?;
            all.extend(parse(&file, &text)?);
        }
    }
    Ok(all)
}

fn unreadable(path: &str, source: io::Error) -> ReadError {
    ReadError::ReadFile { path: path.to_owned(), source }
}

/// The file itself, or the files of a directory by name.
fn files(path: &str) -> Result<Vec<String>, ReadError> {
    let failed = |source| unreadable(path, source);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let known = file.extension().is_some_and(|found| EXTENSIONS.iter().any(|extension| found == *extension));
        if known && file.is_file() {
            files.push(file.display().to_string());
        }
    }
    files.sort();
    if files.is_empty() { Err(ReadError::EmptyDirectory { path: path.to_owned() }) } else { Ok(files) }
}

fn parse(file: &str, text: &str) -> Result<Vec<Document>, ReadError> {
    let name = Path::new(file).file_name().map_or(file.to_owned(), |name| name.to_string_lossy().into_owned());
    let mut found = Vec::new();
    for (index, yaml) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let place = format!("{name}, document {}", index + 1);
        let failed =
            |error: serde_yaml_ng::Error| ReadError::ParseYaml { place: place.clone(), message: error.to_string() };
        // Through YAML's own tree, which refuses a key that is written twice.
        let tree = serde_yaml_ng::Value::deserialize(yaml).map_err(failed)?;
        let body: Value = serde_yaml_ng::from_value(tree).map_err(failed)?;
        match items(&body) {
            Some(items) => found.extend(
                items
                    .iter()
                    .enumerate()
                    .map(|(item, body)| Document { place: format!("{place}, item {}", item + 1), body: body.clone() }),
            ),
            None if body.is_null() => {}
            None => found.push(Document { place, body }),
        }
    }
    Ok(found)
}

/// Of a list, as `kubectl get -o yaml` prints it.
fn items(body: &Value) -> Option<&Vec<Value>> {
    let kind = body.get("kind").and_then(Value::as_str)?;
    kind.ends_with("List").then(|| body.get("items").and_then(Value::as_array)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(String, String)> {
        let kind = |document: &Document| document.body["kind"].as_str().unwrap_or_default().to_owned();
        parse("a/b.yaml", text).unwrap().iter().map(|document| (document.place.clone(), kind(document))).collect()
    }

    #[test]
    fn documents_and_items_of_lists_have_places_and_empty_ones_are_skipped() {
        let text = "---\nkind: A\n---\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n";
        let expected =
            [("b.yaml, document 1", "A"), ("b.yaml, document 3, item 1", "B"), ("b.yaml, document 3, item 2", "C")];
        assert_eq!(kinds(text), expected.map(|(place, kind)| (place.to_owned(), kind.to_owned())));
    }

    #[test]
    fn a_key_that_is_written_twice_is_refused() {
        let error = parse("b.yaml", "kind: A\nspec:\n  host: a\n  host: b\n").unwrap_err().to_string();
        assert!(error.contains("b.yaml, document 1") && error.contains("duplicate"), "{error}");
    }
}
