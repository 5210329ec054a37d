//! A file with an image, as a folder.

use std::path::Path;

use lockstep_archive::{Begins, Compression, UnpackLimits, unpack};
use lockstep_files::foreign;

use crate::{ImageError, reading};

/// Unpacks a tar of a layout, or what `docker save` wrote, into a folder that is empty.
///
/// # Errors
/// When it cannot be read, is no archive, or has more in it than is taken.
pub fn unpack_tar(file: &Path, folder: &Path) -> Result<(), ImageError> {
    let open = || foreign::open(file).map_err(reading(file.display().to_string()));
    let compression = Compression::of(open()?).map_err(reading(file.display().to_string()))?;
    let compression = compression.map_err(|error| ImageError::Archive(error.to_string().into()))?;
    let done = unpack(open()?, compression, Begins::Anyhow, folder, &UnpackLimits::default());
    done.map(drop).map_err(|error| ImageError::Archive(error.into()))
}
