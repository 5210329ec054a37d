//! Reads the list of files back from a package, without unpacking it.

use std::io::{self, Read};

use thiserror::Error;

use super::{PACKAGE_FORMAT, PACKAGE_MANIFEST_FILE, PackageManifest};

/// Longest list that is read: half a million files with long paths.
const MAX_LIST_BYTES: u64 = 256 * 1024 * 1024;
/// Largest window a package may ask for when it is read, as a power of two; our level needs 21.
const MAX_WINDOW_LOG: u32 = 27;

/// Why a package has no readable list.
#[derive(Debug, Error)]
pub enum ManifestReadError {
    /// It is not a `tar.zst`, or it is damaged.
    #[error("the package cannot be read")]
    Io(#[from] io::Error),
    /// Its first entry is something else.
    #[error("the first entry of the package is `{found}`, and `{PACKAGE_MANIFEST_FILE}` is expected")]
    Missing {
        /// The first entry; empty when there is none.
        found: String,
    },
    /// The list is not what this version writes.
    #[error("the list of files in the package cannot be understood")]
    Malformed(#[source] serde_json::Error),
    /// The list is larger than any real one.
    #[error("the list of files in the package is larger than {MAX_LIST_BYTES} bytes")]
    TooLarge,
    /// The package was written by a newer Lockstep.
    #[error("the package has format {format}, and at most {PACKAGE_FORMAT} is understood")]
    Newer {
        /// Its format.
        format: u32,
    },
}

/// Reads the list of files from the start of a package.
///
/// # Errors
/// When the package is damaged, not one of ours, or newer than this program.
pub fn read_package_manifest(package: impl Read) -> Result<PackageManifest, ManifestReadError> {
    let mut decoder = zstd::Decoder::new(package)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    let mut archive = tar::Archive::new(decoder);
    let Some(first) = archive.entries()?.next().transpose()? else {
        return Err(ManifestReadError::Missing { found: String::new() });
    };
    if &*first.path_bytes() != PACKAGE_MANIFEST_FILE.as_bytes() {
        let found = String::from_utf8_lossy(&first.path_bytes()).chars().take(200).collect();
        return Err(ManifestReadError::Missing { found });
    }
    if first.size() > MAX_LIST_BYTES {
        return Err(ManifestReadError::TooLarge);
    }
    let value: serde_json::Value = serde_json::from_reader(first).map_err(ManifestReadError::Malformed)?;
    let format = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or_default();
    let format = u32::try_from(format).unwrap_or(u32::MAX);
    if format > PACKAGE_FORMAT {
        return Err(ManifestReadError::Newer { format });
    }
    serde_json::from_value(value).map_err(ManifestReadError::Malformed)
}
