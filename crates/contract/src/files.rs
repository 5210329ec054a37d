//! From a path to all files of a contract: a document with what it refers to, or a tree of one kind of file.
//!
//! Where files lie is the caller's: a checkout, a folder, a git revision. Invariant: what is gathered is bounded.

use crate::{InputError, Kind, Source};

/// Most files of one contract.
pub const MAX_FILES: usize = 10_000;
/// Most bytes of one contract: as much as one document may have.
pub const MAX_BYTES: usize = 64 << 20;

/// Files by their paths, with `/` between the parts.
pub trait Files {
    /// Lists the files below a folder, with their whole paths, at most `limit` and one more; `None` when it is none.
    ///
    /// # Errors
    /// Why the folder cannot be looked into.
    fn list(&self, folder: &str, limit: usize) -> Result<Option<Vec<String>>, String>;

    /// Reads a file, at most `limit` bytes and one more; `None` when there is none.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, String>;
}

/// Reads the contract at a path: a file with the files it refers to, or every file of its kind below a folder.
///
/// # Errors
/// Everything that cannot be read, and more than [`MAX_FILES`] files or [`MAX_BYTES`] bytes.
pub fn read_files(files: &dyn Files, path: &str, kind: Option<Kind>) -> Result<Source, Vec<InputError>> {
    let listed = files.list(path, MAX_FILES).map_err(|why| vec![InputError::new(path, why)])?;
    let mut reading = Reading { files, files_left: MAX_FILES, bytes_left: MAX_BYTES };
    match listed {
        Some(listed) if listed.len() > MAX_FILES => Err(vec![too_many(path)]),
        Some(listed) => reading.tree(path, &listed, kind),
        None => reading.document(path).map_err(|error| vec![error]),
    }
}

struct Reading<'f> {
    files: &'f dyn Files,
    files_left: usize,
    bytes_left: usize,
}

impl Reading<'_> {
    /// Every file of the kind below a folder.
    fn tree(
        &mut self,
        folder: &str,
        listed: &[String],
        kind: Option<Kind>,
    ) -> Result<Source, Vec<InputError>> {
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        for path in listed.iter().filter(|path| belongs(path, kind)) {
            match self.take(path) {
                Ok(bytes) => found.extend(bytes.map(|bytes| (path.clone(), bytes))),
                Err(error) => errors.push(error),
            }
        }
        if found.is_empty() && errors.is_empty() {
            let what = kind.map_or_else(|| "contract".to_owned(), |kind| format!("{kind} file"));
            errors.push(InputError::new(folder, format!("there is no {what} in this folder")));
        }
        if errors.is_empty() { Ok(Source::tree(found)) } else { Err(errors) }
    }

    /// A file with everything it refers to. What it refers to and is not there is the comparison's to report.
    fn document(&mut self, path: &str) -> Result<Source, InputError> {
        let bytes = self.take(path)?.ok_or_else(|| InputError::new(path, "there is no such file"))?;
        Source::gather(path, bytes, |path| self.take(path))
    }

    fn take(&mut self, path: &str) -> Result<Option<Vec<u8>>, InputError> {
        let bytes = self.files.read(path, self.bytes_left).map_err(|why| InputError::new(path, why))?;
        let Some(bytes) = bytes else { return Ok(None) };
        self.files_left = self.files_left.checked_sub(1).ok_or_else(|| too_many(path))?;
        self.bytes_left = self.bytes_left.checked_sub(bytes.len()).ok_or_else(|| {
            InputError::new(path, format!("the contract has more than {} MiB", MAX_BYTES >> 20))
                .with_hint("name the contract's files only")
        })?;
        Ok(Some(bytes))
    }
}

fn too_many(place: &str) -> InputError {
    InputError::new(place, format!("the contract has more than {MAX_FILES} files"))
        .with_hint("name the folder of the contract only")
}

fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// True when a file below a folder is part of a contract of this kind.
fn belongs(path: &str, kind: Option<Kind>) -> bool {
    let of = |kind| match kind {
        Kind::Protobuf => matches!(extension(path), "proto"),
        Kind::GraphQl => matches!(extension(path), "graphql" | "graphqls" | "gql"),
        Kind::Sql => extension(path) == "sql",
        Kind::OpenApi | Kind::JsonSchema => matches!(extension(path), "json" | "yaml" | "yml" | "jsonschema"),
    };
    kind.map_or_else(|| Kind::ALL.iter().copied().any(of), of)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Memory(BTreeMap<&'static str, &'static str>);

    impl Files for Memory {
        fn list(&self, folder: &str, _: usize) -> Result<Option<Vec<String>>, String> {
            let below = |path: &&&str| folder == "." || path.starts_with(&format!("{folder}/"));
            let listed: Vec<String> = self.0.keys().filter(below).map(ToString::to_string).collect();
            Ok(Some(listed).filter(|listed| !listed.is_empty() && !self.0.contains_key(folder)))
        }

        fn read(&self, path: &str, _: usize) -> Result<Option<Vec<u8>>, String> {
            Ok(self.0.get(path).map(|text| text.as_bytes().to_vec()))
        }
    }

    fn paths(path: &str, kind: Option<Kind>) -> Result<Vec<String>, Vec<String>> {
        let files = Memory(BTreeMap::from([
            ("api/openapi.yaml", "openapi: 3.1.0\npaths: {/a: {$ref: 'paths/a.yaml'}}"),
            ("api/paths/a.yaml", "get: {responses: {200: {$ref: '../../common/ok.yaml'}}}"),
            ("api/unused.yaml", "{}"),
            ("common/ok.yaml", "description: fine"),
            ("db/V1__a.sql", "CREATE TABLE a (id int);"),
            ("db/README.md", "x"),
            ("proto/a.proto", "syntax = \"proto3\";\nimport \"b.proto\";"),
            ("proto/b.proto", "syntax = \"proto3\";"),
        ]));
        read_files(&files, path, kind)
            .map(|source| source.files().map(|(path, _)| path.to_owned()).collect())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_document_brings_what_it_refers_to_and_nothing_else() {
        assert_eq!(
            paths("api/openapi.yaml", Some(Kind::OpenApi)).unwrap(),
            ["api/openapi.yaml", "api/paths/a.yaml", "common/ok.yaml"]
        );
    }

    #[test]
    fn a_folder_brings_the_files_of_its_kind() {
        assert_eq!(paths("db", Some(Kind::Sql)).unwrap(), ["db/V1__a.sql"]);
        assert_eq!(paths("proto/a.proto", None).unwrap(), ["proto/a.proto", "proto/b.proto"]);
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert_eq!(paths("nowhere.json", None).unwrap_err(), ["nowhere.json: there is no such file"]);
        let none = paths("db", Some(Kind::GraphQl)).unwrap_err();
        assert_eq!(none, ["db: there is no graphql file in this folder"]);
    }
}
