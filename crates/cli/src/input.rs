//! Files that a command is given: read within a bound, with errors that name the file.

use std::path::Path;

use lockstep_files::foreign;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a text file, or what the shell put in its place as in `<(command)`.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let read = foreign::open_named(path).and_then(|file| foreign::read_text(file, MAX_FILE_BYTES));
    read.map_err(|error| Failure::file("read", path, &error))
}

/// Reads a JSON file; `example` is a command that shows one.
pub(crate) fn json<T: DeserializeOwned>(path: &Path, example: &str) -> Result<T, Failure> {
    parsed(path, &text(path)?, example)
}

/// Reads the text of a JSON file.
pub(crate) fn parsed<T: DeserializeOwned>(path: &Path, text: &str, example: &str) -> Result<T, Failure> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let place = error.path().to_string();
        let error = error.into_inner();
        // What is no JSON at all is where the line says.
        let is_named = error.is_data() && place != ".";
        (error, if is_named { format!("`{place}`: ") } else { String::new() })
    });
    let read = read.and_then(|read| reader.end().map(|()| read).map_err(|error| (error, String::new())));
    read.map_err(|(error, place)| {
        Failure::usage(format!("{}:{}: {place}{error}", path.display(), error.line()))
            .hint(format!("`{example}` shows one to begin with"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::style::Style;

    #[test]
    fn json_that_is_not_understood_is_named_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, "{\n  \"x\": }").unwrap();
        let shown =
            json::<serde_json::Value>(&path, "lockstep x --json").unwrap_err().render(&Style::plain());
        assert!(shown.contains("a.json:2: expected value"), "{shown}");
        assert!(shown.contains("hint: `lockstep x --json` shows one to begin with"), "{shown}");
    }

    #[test]
    fn what_is_of_another_type_is_named_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, "{\n  \"x\": [1, -1]}").unwrap();
        let read = json::<std::collections::BTreeMap<String, Vec<u64>>>(&path, "lockstep x --json");
        let shown = read.unwrap_err().render(&Style::plain());
        assert!(shown.contains("a.json:2: `x[1]`: invalid value: integer `-1`"), "{shown}");
    }
}
