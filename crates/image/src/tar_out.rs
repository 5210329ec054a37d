//! Writes an image as a tar of a layout with nothing else in it: that is how it is sent to a server.

use std::io::{self, Write};
use std::path::Path;

use tar::{Builder, Header};

use crate::layout::{Found, blob_path};
use crate::oci::{Descriptor, Index};
use crate::{ImageError, reading};

/// Writes an image of a layout, with its documents and layers. Whoever reads it checks the digests.
///
/// # Errors
/// When a part cannot be read, or nothing can be written.
pub fn write_tar(found: &Found, to: impl Write) -> Result<(), ImageError> {
    let Some(documents) = &found.documents else { return Err(ImageError::NoImage) };
    let mut tar = Builder::new(to);
    let writing = || reading("tar");
    append(&mut tar, Path::new("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(writing())?;
    let mut manifest = documents.manifest.clone();
    manifest.annotations.clear();
    let index = serde_json::to_vec(&Index { schema_version: 2, manifests: vec![manifest] });
    let index = index.map_err(|error| reading("index.json")(error.into()))?;
    append(&mut tar, Path::new("index.json"), &index).map_err(writing())?;
    let blobs = [&documents.manifest, &documents.config].map(Descriptor::clone);
    let mut digests = blobs.iter().map(|blob| blob.sha256("manifest")).collect::<Result<Vec<_>, _>>()?;
    digests.extend(found.layers.iter().filter_map(|layer| Some(layer.blob?.0)));
    digests.sort_unstable();
    digests.dedup();
    for digest in digests {
        let path = blob_path(&digest);
        let file = found.open(&path)?;
        let size = file.metadata().map_err(reading(path.display().to_string()))?.len();
        tar.append_data(&mut header(size), &path, io::Read::take(file, size)).map_err(writing())?;
    }
    tar.into_inner().and_then(|mut inner| inner.flush()).map_err(writing())
}

fn append(tar: &mut Builder<impl Write>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    tar.append_data(&mut header(bytes.len() as u64), path, bytes)
}

fn header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header
}
