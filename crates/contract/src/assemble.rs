//! From the files of a folder to one contract: which of them belong together, and which one is the first.

use std::collections::BTreeMap;

use crate::{Kind, Source, detect, sql};

/// Names of files that contracts are made of, by the format they speak of; documents may be OpenAPI or JSON Schema.
const FAMILIES: [(Family, &[&str]); 5] = [
    (Family::Protobuf, &[".proto"]),
    (Family::Sql, &[".sql"]),
    (Family::GraphQl, &[".graphql", ".graphqls", ".gql", ".sdl"]),
    (Family::Avro, &[".avsc"]),
    (Family::Documents, &[".json", ".yaml", ".yml", ".jsonschema"]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Protobuf,
    Sql,
    GraphQl,
    Avro,
    Documents,
}

/// The files of a folder, by their paths below it.
pub type Files = BTreeMap<String, Vec<u8>>;

/// True when a file may be part of a contract, by its name.
#[must_use]
pub fn is_wanted(path: &str) -> bool {
    family(path).is_some() || sql::is_part(path)
}

fn family(path: &str) -> Option<Family> {
    let lower = path.to_ascii_lowercase();
    let of = |(_, endings): &&(Family, &[&str])| endings.iter().any(|ending| lower.ends_with(ending));
    FAMILIES.iter().find(of).map(|(family, _)| *family)
}

/// Makes a contract of the files of a folder: a tree of one format, or a document with all others beside it.
///
/// # Errors
/// When the folder holds none, or leaves a choice; the text says what to do.
pub fn assemble(files: Files, kind: Option<Kind>) -> Result<Source, String> {
    let mut families: BTreeMap<Family, Files> = BTreeMap::new();
    // What runs between migrations counts only among them: a document may have a number in its name.
    let mut between: Files = BTreeMap::new();
    for (path, bytes) in files {
        if family(&path) != Some(Family::Sql) && sql::is_part(&path) {
            between.insert(path.clone(), bytes.clone());
        }
        if let Some(family) = family(&path) {
            families.entry(family).or_default().insert(path, bytes);
        }
    }
    if kind.is_none_or(|kind| kind == Kind::Sql)
        && let Some(migrations) = families.get_mut(&Family::Sql)
    {
        migrations.extend(between);
    }
    let documents = families.remove(&Family::Documents).unwrap_or_default();
    let tree = |family: Family| families.get(&family).cloned().map(Source::tree);
    let missing = |what: &str| format!("there is no {what} in this folder");
    match kind {
        Some(Kind::Protobuf) => tree(Family::Protobuf).ok_or_else(|| missing(".proto file")),
        Some(Kind::Sql) => tree(Family::Sql).ok_or_else(|| missing(".sql file")),
        Some(Kind::GraphQl) => tree(Family::GraphQl).ok_or_else(|| missing("GraphQL file")),
        Some(Kind::Avro) if !documents.is_empty() && tree(Family::Avro).is_none() => {
            first_document(documents, Kind::Avro)?.ok_or_else(|| missing(".avsc file"))
        }
        Some(Kind::Avro) => tree(Family::Avro).ok_or_else(|| missing(".avsc file")),
        Some(kind) => first_document(documents, kind)?.ok_or_else(|| missing(&format!("{kind} document"))),
        None => any(families, documents),
    }
}

/// Without a named format, the folder must leave no choice.
fn any(families: BTreeMap<Family, Files>, documents: Files) -> Result<Source, String> {
    let mut found: Vec<Source> = families.into_values().map(Source::tree).collect();
    found.extend(first_document(documents.clone(), Kind::OpenApi)?);
    found.extend(first_document(documents.clone(), Kind::AsyncApi)?);
    if found.is_empty() {
        found.extend(first_document(documents, Kind::JsonSchema)?);
    }
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => {
            Err("this folder holds contracts of several formats: name one with --kind".to_owned())
        }
        (None, _) => Err("this folder holds no contract".to_owned()),
    }
}

/// The only document of a format, with all others beside it: it may refer to them.
fn first_document(documents: Files, kind: Kind) -> Result<Option<Source>, String> {
    let is_first = |path: &str, bytes: &[u8]| detect(&Source::file(path, bytes)) == Some(kind);
    let firsts: Vec<String> = documents
        .iter()
        .filter(|(path, bytes)| is_first(path, bytes))
        .map(|(path, _)| path.clone())
        .collect();
    match firsts.as_slice() {
        [] => Ok(None),
        [first] => {
            let mut source = Source::file(first.as_str(), documents[first].as_slice());
            for (path, bytes) in documents.into_iter().filter(|(path, _)| path != first) {
                source = source.with_file(path, bytes);
            }
            Ok(Some(source))
        }
        several => Err(format!("several documents are {kind}: name one of {}", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENAPI: &str = "openapi: 3.1.0\npaths: {}\n";

    fn files(names: &[(&str, &str)]) -> Files {
        names.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn entry(source: &Source) -> Option<&str> {
        source.entry().map(|(path, _)| path)
    }

    #[test]
    fn the_document_that_says_openapi_is_the_first() {
        let source = assemble(files(&[("api.yaml", OPENAPI), ("pets.yaml", "type: object")]), None).unwrap();
        assert_eq!((entry(&source), source.files().count()), (Some("api.yaml"), 2));
        let two = assemble(files(&[("a.yaml", OPENAPI), ("b.yaml", OPENAPI)]), None).unwrap_err();
        assert_eq!(two, "several documents are openapi: name one of a.yaml, b.yaml");
    }

    #[test]
    fn a_folder_of_two_formats_needs_a_name() {
        let both = files(&[("api.yaml", OPENAPI), ("a.proto", ""), ("buf.yaml", "version: v2")]);
        assert!(assemble(both.clone(), None).unwrap_err().contains("--kind"));
        assert_eq!(assemble(both.clone(), Some(Kind::Protobuf)).unwrap().files().count(), 1);
        assert_eq!(entry(&assemble(both.clone(), Some(Kind::OpenApi)).unwrap()), Some("api.yaml"));
        assert_eq!(assemble(both, Some(Kind::Sql)).unwrap_err(), "there is no .sql file in this folder");
    }

    #[test]
    fn settings_beside_a_tree_are_no_contract() {
        let source = assemble(files(&[("a.proto", ""), ("buf.yaml", "version: v2")]), None).unwrap();
        assert_eq!(source.files().count(), 1);
        assert_eq!(assemble(files(&[("README.md", "")]), None).unwrap_err(), "this folder holds no contract");
    }

    #[test]
    fn a_schema_alone_is_a_message() {
        let source = assemble(files(&[("order.json", r#"{"type": "object"}"#)]), None).unwrap();
        assert_eq!(entry(&source), Some("order.json"));
    }
}
