//! JSON and YAML documents as one value tree, with the line of any place on demand.
//!
//! Reading is bounded: [`MAX_DEPTH`] and the number of nodes that YAML aliases may copy. Lines are
//! not kept while reading, because almost no place is ever asked for: [`Document::lines`] makes a second pass for
//! just the places that changed.

mod json;
mod json_lines;
mod trie;
mod yaml;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::InputError;
use trie::Trie;

/// The deepest nesting that is read, the same as `serde_json` allows: deeper documents are attacks, not contracts.
pub(crate) const MAX_DEPTH: usize = 128;

/// Up to how many members the names of an object are compared one by one: hashing one name costs more than that.
const FEW: usize = 8;

/// The member of an object with this name.
pub(crate) fn member<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    if object.len() > FEW {
        return object.get(name);
    }
    object.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Json,
    Yaml,
}

/// One file, read.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) file: String,
    pub(crate) value: Value,
    text: &'a str,
    syntax: Syntax,
}

impl<'a> Document<'a> {
    /// Reads a file as JSON or YAML, whichever it is.
    pub(crate) fn parse(file: &str, bytes: &'a [u8]) -> Result<Self, InputError> {
        let text = text(file, bytes)?;
        if looks_like_json(file, text) {
            match json::parse(text) {
                Ok(value) => return Ok(Self { file: file.to_owned(), value, text, syntax: Syntax::Json }),
                Err(error) if is_json_file(file) || error.is_data() || is_too_deep(&error) => {
                    return Err(json_error(file, &error));
                }
                Err(_) => {}
            }
        }
        let value = yaml::parse(text).map_err(|error| yaml_error(file, error))?;
        Ok(Self { file: file.to_owned(), value, text, syntax: Syntax::Yaml })
    }

    /// True when the text may hold schema ids or anchors: a cheap look that saves a walk over most documents.
    pub(crate) fn has_ids(&self) -> bool {
        ["$id", "$anchor", "$dynamicAnchor", "$schema"].iter().any(|key| self.text.contains(key))
    }

    /// The lines of these JSON pointers, counted from 1. A pointer that is not there has the line of its nearest
    /// parent that is.
    pub(crate) fn lines<'p>(&self, pointers: impl IntoIterator<Item = &'p str>) -> Vec<u32> {
        let pointers: Vec<&str> = pointers.into_iter().collect();
        let mut trie = Trie::new(&pointers);
        match self.syntax {
            Syntax::Json => json_lines::locate(self.text, &mut trie),
            Syntax::Yaml => yaml::locate(self.text, &mut trie),
        }
        pointers.iter().map(|pointer| trie.line(pointer)).collect()
    }
}

/// A token of a JSON pointer as the name that it stands for.
pub(crate) fn unescaped(token: &str) -> Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}

/// True when the file is JSON or YAML by name, or starts like JSON: cheap enough to ask before reading it.
pub(crate) fn may_be_document(file: &str, bytes: &[u8]) -> bool {
    let lower = file.to_ascii_lowercase();
    [".json", ".yaml", ".yml", ".jsonschema", ".avsc"].iter().any(|extension| lower.ends_with(extension))
        || bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, InputError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        InputError::new(file, format!("byte {} is not valid UTF-8", error.valid_up_to()))
            .on_line(newlines(before) + 1)
            .with_hint("save the file as UTF-8")
    })
}

/// The number of line feeds in `bytes`.
fn newlines(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u32::MAX)
}

fn is_json_file(file: &str) -> bool {
    let lower = file.to_ascii_lowercase();
    lower.ends_with(".json") || lower.ends_with(".avsc")
}

fn looks_like_json(file: &str, text: &str) -> bool {
    is_json_file(file) || text.trim_start().starts_with(['{', '['])
}

fn json_error(file: &str, error: &serde_json::Error) -> InputError {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text).to_owned();
    if error.is_data() {
        return InputError::new(file, message).on_line(line_number(error.line()));
    }
    if is_too_deep(error) {
        return InputError::new(file, format!("the document is nested deeper than {MAX_DEPTH} levels"))
            .on_line(line_number(error.line()));
    }
    InputError::new(file, format!("not valid JSON: {message} (column {})", error.column()))
        .on_line(line_number(error.line()))
}

fn is_too_deep(error: &serde_json::Error) -> bool {
    error.to_string().contains("recursion limit")
}

fn yaml_error(file: &str, error: yaml::Error) -> InputError {
    InputError::new(file, error.message).on_line(error.line)
}

fn line_number(line: usize) -> u32 {
    u32::try_from(line.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(file: &str, text: &str, pointers: &[&str]) -> Vec<u32> {
        Document::parse(file, text.as_bytes()).expect("document").lines(pointers.iter().copied())
    }

    #[test]
    fn a_member_is_found_in_objects_of_any_size() {
        for size in 0..3 * FEW {
            let object: Map<String, Value> = (0..size).map(|at| (format!("name{at}"), at.into())).collect();
            for name in (0..=size).map(|at| format!("name{at}")) {
                assert_eq!(member(&object, &name), object.get(&name));
            }
        }
    }

    #[test]
    fn json_places_are_found_under_keys_with_escapes() {
        let text = "{\n \"a\\u0062\": 1,\n \"c\\\"\\\\\": {\n  \"\u{e9}\": 2}}";
        assert_eq!(lines("a.json", text, &["/ab", "/c\"\\/\u{e9}", "/c\"\\"]), [2, 4, 3]);
    }

    #[test]
    fn json_places_have_the_line_of_their_key() {
        let text = "{\n \"a\": {\n  \"b/c\": [1,\n 2, {\"d\": \"}\\\"\"}]},\n \"e\": 1\n}";
        assert_eq!(
            lines("a.json", text, &["", "/a", "/a/b~1c/1", "/a/b~1c/2/d", "/e", "/a/x"]),
            [1, 2, 4, 4, 5, 2]
        );
    }

    #[test]
    fn yaml_places_have_the_line_of_their_key() {
        let text = "a:\n  b/c:\n    - 1\n    - d: 2\n      f: 3\ne: &x {k: 1}\ng: *x\n";
        assert_eq!(lines("a.yaml", text, &["/a/b~1c/1/f", "/e/k", "/g/k", "/a/b~1c"]), [5, 6, 7, 2]);
    }

    #[test]
    fn yaml_reads_as_the_core_schema_says() {
        let text = "a: 1\nb: 1.5\nc: 'x'\nd: ~\ne: true\n200: yes\nbase: &b {k: 1, l: 2}\nm: {<<: *b, l: 3}\nn: 0x1F\no: 1e3";
        let value = Document::parse("a.yaml", text.as_bytes()).expect("document").value;
        let expected = serde_json::json!({"a": 1, "b": 1.5, "c": "x", "d": null, "e": true, "200": "yes",
            "base": {"k": 1, "l": 2}, "m": {"k": 1, "l": 3}, "n": 31, "o": 1000.0});
        assert_eq!(value, expected);
    }

    #[test]
    fn bad_input_is_an_error_with_its_line() {
        let cases: [(&str, Vec<u8>, u32); 7] = [
            ("a.json", b"{\n\"a\": }".to_vec(), 2),
            ("a.yaml", b"a: 1\nb: [\n".to_vec(), 3),
            ("a.yaml", b"a: 1\na: 2\n".to_vec(), 2),
            ("a.yaml", b"a: 1\nb: \xff\n".to_vec(), 2),
            ("a.yaml", b"a: &x\n  b: *x\n".to_vec(), 2),
            ("a.json", "[".repeat(10_000).into_bytes(), 1),
            (
                "a.yaml",
                (0..10_000)
                    .map(|depth| format!("{}a:\n", " ".repeat(depth)))
                    .collect::<String>()
                    .into_bytes(),
                129,
            ),
        ];
        for (file, bytes, line) in cases {
            let error = Document::parse(file, &bytes).expect_err("bad input");
            assert_eq!(error.line, Some(line), "{error}");
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let inner = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        let error = Document::parse("a.yaml", text.as_bytes()).expect_err("bomb");
        assert!(error.message.contains("aliases"), "{error}");
    }
}
