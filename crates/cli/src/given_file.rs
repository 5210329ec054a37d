//! Files that somebody names: read whole, bounded, and with what is wrong said of the file.

use std::path::Path;

use lockstep_files::foreign;

use crate::failure::Failure;

/// Reads a file of at most `limit` bytes.
pub(crate) fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let read = foreign::open_named(path).and_then(|file| foreign::read(file, limit));
    read.map_err(|error| Failure::file("read", path, &error))
}

/// Reads a text of at most `limit` bytes.
pub(crate) fn text(path: &Path, limit: u64) -> Result<String, Failure> {
    let read = foreign::open_named(path).and_then(|file| foreign::read_text(file, limit));
    read.map_err(|error| Failure::file("read", path, &error))
}
