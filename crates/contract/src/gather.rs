//! From one file to a whole contract: the files that it refers to, read through a function of the caller.
//!
//! Finding is generous and reading exact: a file too many does no harm, and a reference that leads nowhere is reported by
//! the comparison. Invariant: every path is asked for once, and there is an end to asking.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::document::{Document, may_be_document};
use crate::library::percent_decode;
use crate::source::normalise;
use crate::{Source, avro};

/// Most paths that are asked for: the largest public trees have some thousand files.
const MAX_ASKED: usize = 100_000;

impl Source {
    /// Makes a contract of the file at `path` and of every file that it refers to, directly or not.
    ///
    /// `read` gives the bytes of a path, or nothing where there is no such file. Paths are those of references, seen from
    /// `path`; an import of a `.proto` file is looked for in every folder above it.
    ///
    /// # Errors
    /// The first error of `read`.
    pub fn gather<E>(
        path: &str,
        bytes: impl Into<Arc<[u8]>>,
        mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        let path = normalise(path);
        let mut source = Self::file(path.as_str(), bytes);
        let mut asked = BTreeSet::from([path.clone()]);
        let mut waiting = vec![path];
        while let Some(path) = waiting.pop() {
            for reference in references(&path, source.get(&path).unwrap_or_default()) {
                for candidate in reference.candidates(&path) {
                    if source.get(&candidate).is_some() {
                        break;
                    }
                    if asked.len() >= MAX_ASKED || !asked.insert(candidate.clone()) {
                        continue;
                    }
                    if let Some(bytes) = read(&candidate)? {
                        source = source.with_file(candidate.as_str(), bytes);
                        waiting.push(candidate);
                        break;
                    }
                }
            }
        }
        Ok(source)
    }

    /// The same contract with all paths told from `folder`, which must hold every file of it.
    #[must_use]
    pub fn told_from(self, folder: &str) -> Self {
        let folder = format!("{}/", normalise(folder).trim_end_matches('/'));
        let told = |path: &str| path.strip_prefix(folder.as_str()).unwrap_or(path).to_owned();
        self.renamed(told)
    }
}

/// A reference to another file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Reference {
    /// A path beside the file that refers to it.
    Beside(String),
    /// A path below some folder above the file that refers to it.
    BelowAny(String),
}

impl Reference {
    /// The paths it may mean, the likeliest first.
    fn candidates(&self, from: &str) -> Vec<String> {
        let folders = from.rmatch_indices('/').map(|(end, _)| &from[..=end]);
        match self {
            Self::Beside(path) if path.starts_with('/') => vec![normalise(path)],
            Self::Beside(path) => {
                let folder = from.rfind('/').map_or("", |end| &from[..=end]);
                let joined = format!("{folder}{path}");
                // What leads out above the first folder is elsewhere, not another file of the same name here.
                if leads_out(&joined) { Vec::new() } else { vec![normalise(&joined)] }
            }
            Self::BelowAny(path) => {
                let below = folders.map(|folder| format!("{folder}{path}"));
                let root = (!from.starts_with('/')).then(|| path.clone());
                below.chain(root).map(|path| normalise(&path)).collect()
            }
        }
    }
}

/// True when a relative path climbs above where it begins.
fn leads_out(path: &str) -> bool {
    let mut depth = 0_usize;
    for part in path.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

fn references(path: &str, bytes: &[u8]) -> BTreeSet<Reference> {
    if path.ends_with(".proto") {
        imports(bytes)
    } else if path.ends_with(avro::ENDING) {
        let document = Document::parse(path, bytes);
        let files = document.map(|document| avro::elsewhere(&document.value)).unwrap_or_default();
        files.into_iter().map(Reference::BelowAny).collect()
    } else if may_be_document(path, bytes) && may_refer_elsewhere(bytes) {
        let mut found = BTreeSet::new();
        if let Ok(document) = Document::parse(path, bytes) {
            collect(&document.value, &mut found);
        }
        found
    } else {
        BTreeSet::new()
    }
}

/// The imports of a `.proto` file, one a line as everybody writes them; those that come with every compiler are left out.
fn imports(bytes: &[u8]) -> BTreeSet<Reference> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("import"));
    let quoted = lines.filter_map(|line| {
        let quote = line.find(['"', '\''])?;
        let rest = &line[quote + 1..];
        Some(&rest[..rest.find(['"', '\''])?])
    });
    let others = quoted.filter(|import| !import.starts_with("google/protobuf/"));
    others.map(|import| Reference::BelowAny(import.to_owned())).collect()
}

/// A cheap look that saves parsing: is there a `$ref` that does not stay in the document, or a discriminator mapping?
fn may_refer_elsewhere(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let leaves = |rest: &str| {
        let value = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ':'));
        !value.starts_with('#')
    };
    text.contains("mapping") || text.match_indices("$ref").any(|(at, word)| leaves(&text[at + word.len()..]))
}

/// Collects the references of a document; the parser has bounded how deep it nests.
fn collect(value: &Value, found: &mut BTreeSet<Reference>) {
    match value {
        Value::Object(map) => {
            let mapping = value.pointer("/discriminator/mapping").and_then(Value::as_object);
            let mapped = mapping.into_iter().flat_map(|mapping| mapping.values());
            let texts = map.get("$ref").into_iter().chain(mapped).filter_map(Value::as_str);
            found.extend(texts.filter_map(file_of).map(Reference::Beside));
            map.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// The file of a reference, unless it stays in the document or leads to the network.
fn file_of(reference: &str) -> Option<String> {
    let path = reference.split('#').next().unwrap_or_default();
    let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("urn:");
    (!elsewhere).then(|| percent_decode(path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;

    /// Gathers from files in memory; returns the paths of the contract, and those that were asked for in vain.
    fn gather(entry: &str, files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let files: BTreeMap<&str, &str> = files.iter().copied().collect();
        let mut in_vain = Vec::new();
        let Ok(source) = Source::gather::<Infallible>(entry, files[entry].as_bytes(), |path| {
            let found = files.get(path).map(|text| text.as_bytes().to_vec());
            if found.is_none() {
                in_vain.push(path.to_owned());
            }
            Ok(found)
        });
        (source.files().map(|(path, _)| path.to_owned()).collect(), in_vain)
    }

    #[test]
    fn documents_bring_along_what_they_refer_to() {
        let (found, in_vain) = gather(
            "api/openapi.yaml",
            &[
                (
                    "api/openapi.yaml",
                    "a: {$ref: '../common/a%20b.yaml#/x'}\nb: {$ref: '#/a'}\nc: {$ref: gone.yaml}",
                ),
                ("common/a b.yaml", "x: {discriminator: {mapping: {dog: ./dog.json, cat: '#/y'}}}"),
                (
                    "common/dog.json",
                    r#"{"$ref": "a%20b.yaml", "also": {"$ref": "https://example.org/x.yaml"}}"#,
                ),
                ("common/unused.yaml", "x: 1"),
            ],
        );
        assert_eq!(found, ["api/openapi.yaml", "common/a b.yaml", "common/dog.json"]);
        assert_eq!(in_vain, ["api/gone.yaml"]);
    }

    #[test]
    fn imports_are_looked_for_in_every_folder_above() {
        let (found, in_vain) = gather(
            "/repo/proto/pay/v1/pay.proto",
            &[
                (
                    "/repo/proto/pay/v1/pay.proto",
                    "import \"money/v1/money.proto\";\n import public 'google/protobuf/any.proto';",
                ),
                ("/repo/proto/money/v1/money.proto", "syntax = \"proto3\";"),
            ],
        );
        assert_eq!(found, ["/repo/proto/money/v1/money.proto", "/repo/proto/pay/v1/pay.proto"]);
        assert_eq!(
            in_vain,
            ["/repo/proto/pay/v1/money/v1/money.proto", "/repo/proto/pay/money/v1/money.proto"]
        );
    }

    #[test]
    fn paths_are_told_from_a_folder() {
        let source = Source::file("/repo/api/a.yaml", &b"x"[..]).with_file("/repo/b.yaml", &b"y"[..]);
        let told = source.told_from("/repo/");
        assert_eq!(told.entry().map(|(path, _)| path), Some("api/a.yaml"));
        assert_eq!(told.get("b.yaml"), Some(&b"y"[..]));
    }

    #[test]
    fn an_error_of_reading_ends_it() {
        let result = Source::gather("a.json", &br#"{"$ref": "b.json"}"#[..], |path| Err(path.to_owned()));
        assert_eq!(result, Err("b.json".to_owned()));
    }

    #[test]
    fn a_reference_that_leads_out_is_no_file_of_the_same_name_here() {
        let mut asked = Vec::new();
        let document = r#"{"a": {"$ref": "../../common.json"}, "b": {"$ref": "../common.json"}}"#;
        let gathered = Source::gather("api/a.json", document.as_bytes(), |path| {
            asked.push(path.to_owned());
            Ok::<_, ()>(None)
        });
        assert!(gathered.is_ok());
        assert_eq!(asked, ["common.json"]);
    }
}
