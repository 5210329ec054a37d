//! Files of what this server counts: written now and then and when it stops, and read by the next one. They are no part of the journal,
//! because nobody decided what is in them: one that is lost costs what was counted, and is said.

use std::io;
use std::path::Path;

use lockstep_files::{foreign, whole};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a file. One that is not there, cannot be read or cannot be understood is as good as an empty one; `lost` says what it costs.
pub(crate) fn read<T: DeserializeOwned + Default>(file: &Path, most: u64, lost: &str) -> T {
    let text = foreign::open(file).and_then(|file| foreign::read(file, most));
    let read = text.and_then(|text| serde_json::from_slice(&text).map_err(io::Error::other));
    read.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!(path = %file.display(), %error, "{lost}");
        }
        T::default()
    })
}

/// Writes a file. A disk that is full costs that the next server begins anew.
pub(crate) fn put(file: &Path, counted: &impl Serialize) {
    let text = serde_json::to_vec(counted).map_err(io::Error::other);
    if let Err(error) = text.and_then(|text| whole::put(file, &text, 0o600)) {
        tracing::warn!(path = %file.display(), %error, "what was counted could not be kept");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_file_that_is_not_understood_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counted.json");
        let read = || read::<BTreeMap<String, u64>>(&path, 1_000, "it is lost");
        assert!(read().is_empty());
        std::fs::write(&path, "{\"production\": {").unwrap();
        assert!(read().is_empty());
        put(&path, &BTreeMap::from([("production", 7)]));
        assert_eq!(read()["production"], 7);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(read().is_empty(), "a folder in its place costs what was counted, and no more");
    }
}
