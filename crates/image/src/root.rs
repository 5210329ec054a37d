//! The layers of an image as one root.

use std::io::{Read, Seek as _};
use std::path::Path;

use lockstep_archive::layers::Root;
use lockstep_archive::{Compression, UnpackError, UnpackLimits};
use lockstep_domain::Digest;
use sha2::{Digest as _, Sha256};

use crate::config::Facts;
use crate::layout::{Found, LayerFile, digest_of, other};
use crate::{ImageError, reading, user};

/// An image as one root.
#[derive(Debug)]
pub struct Flat {
    /// The files; their contents lie in the folder that was given.
    pub root: Root,
    /// How it is run.
    pub facts: Facts,
}

/// Puts the layers of an image on each other, with contents in a folder that is empty. `through` stands before each read of a
/// layer, to break it off.
///
/// # Errors
/// When a layer is not what its digests say, or is refused, or the user of the image is unknown.
pub fn flatten<R: Read>(
    found: &Found,
    contents: &Path,
    limits: UnpackLimits,
    through: impl Fn(std::fs::File) -> R,
) -> Result<Flat, ImageError> {
    let mut root = Root::new(contents.to_owned(), limits);
    for (index, layer) in found.layers.iter().enumerate() {
        let apply = Apply { found, layer, number: index + 1 };
        apply.check_blob(&through)?;
        apply.put_on(&mut root, &through)?;
    }
    let config = found.config.config.clone().unwrap_or_default();
    let user = user::resolve(config.user.as_deref().unwrap_or_default(), &root)?;
    Ok(Flat { facts: Facts::of(config, &user), root })
}

struct Apply<'a> {
    found: &'a Found,
    layer: &'a LayerFile,
    number: usize,
}

impl Apply<'_> {
    fn refused(&self, source: UnpackError) -> ImageError {
        ImageError::Layer { number: self.number, of: self.found.layers.len(), source }
    }

    fn name(&self) -> String {
        format!("layer {}", self.number)
    }

    /// Compares the bytes as they lie there with their digest and size.
    fn check_blob<R: Read>(&self, through: &impl Fn(std::fs::File) -> R) -> Result<(), ImageError> {
        let Some((expected, size)) = &self.layer.blob else { return Ok(()) };
        let file = self.found.open(&self.layer.path)?;
        let (found, bytes) = digest_of(through(file)).map_err(reading(self.name()))?;
        if found != *expected {
            return Err(other(&self.name(), expected, &found));
        }
        if bytes != *size {
            let (expected, found) = (format!("{size} bytes"), format!("{bytes} bytes"));
            return Err(ImageError::Digest { part: self.name(), expected, found });
        }
        Ok(())
    }

    /// Puts it on the root, and compares what came out of its compression with the digest of that.
    fn put_on<R: Read>(
        &self,
        root: &mut Root,
        through: &impl Fn(std::fs::File) -> R,
    ) -> Result<(), ImageError> {
        let mut file = self.found.open(&self.layer.path)?;
        let compression = Compression::of(&mut file).map_err(reading(self.name()))?;
        let compression =
            compression.map_err(|no| ImageError::Document { part: self.name(), why: no.to_string() })?;
        file.rewind().map_err(reading(self.name()))?;
        let mut hasher = Sha256::new();
        root.apply(through(file), compression, |bytes| hasher.update(bytes))
            .map_err(|error| self.refused(error))?;
        let found = Digest::from_bytes(hasher.finalize().into());
        if found == self.layer.diff { Ok(()) } else { Err(other(&self.name(), &self.layer.diff, &found)) }
    }
}
