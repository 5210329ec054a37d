//! Reads a document of TOML whole: bounded, and with everything that is wrong with it at once.

use toml::de::DeTable;

use crate::problem::{MAX_PROBLEMS, Problem};
use crate::reader::{Sink, Table};

/// Largest manifest that is read. A manifest of a real service has a few kilobytes.
pub const MAX_MANIFEST_BYTES: usize = 1024 * 1024;

/// Reads a document by `read`. `file` is only named in problems; `instead` says what to do where it is too large.
///
/// # Errors
/// All problems of the file, at most [`MAX_PROBLEMS`], in its order; never an empty list.
pub(crate) fn read_document<T>(
    text: &str,
    file: &str,
    instead: &str,
    read: impl FnOnce(Table<'_>) -> Option<T>,
) -> Result<T, Vec<Problem>> {
    if text.len() > MAX_MANIFEST_BYTES {
        return Err(vec![too_large(file, text.len(), instead)]);
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    let sink = Sink::default();
    errors.iter().take(MAX_PROBLEMS).for_each(|error| sink.syntax(error));
    let read = read(Table::root(&sink, &document));
    let problems = sink.into_problems(file, text);
    match read {
        Some(read) if problems.is_empty() => Ok(read),
        _ => Err(problems),
    }
}

fn too_large(file: &str, length: usize, instead: &str) -> Problem {
    Problem {
        file: file.to_owned(),
        line: 1,
        column: 1,
        field: String::new(),
        message: format!("the file has {length} bytes, and at most {MAX_MANIFEST_BYTES} are read"),
        hint: Some(instead.to_owned()),
    }
}
