//! Files that a command is given: read within a bound, with errors that name the file.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a text file.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let fail = |error: io::Error| Failure::file("read", path, &error);
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > MAX_FILE_BYTES {
        let path = path.display();
        return Err(Failure::usage(format!(
            "`{path}` has {size} bytes, and at most {MAX_FILE_BYTES} are read"
        )));
    }
    std::fs::read_to_string(path).map_err(fail)
}

/// Reads a JSON file; `example` is a command that shows one.
pub(crate) fn json<T: DeserializeOwned>(path: &Path, example: &str) -> Result<T, Failure> {
    serde_json::from_str(&text(path)?).map_err(|error| {
        Failure::usage(format!("{}:{}: {error}", path.display(), error.line()))
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
}
