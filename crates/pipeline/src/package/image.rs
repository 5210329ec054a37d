//! Packages the root of an image: like files of ours, and with its folders, links that lead anywhere in it, and times.
//!
//! The same image gives the same bytes. Of modes remains whether somebody may run a file, and whether the one user that the image
//! runs as may write it; owners and everything else are not in it.

use std::path::Path;

use lockstep_archive::layers::{Named, Node};
use lockstep_archive::{FIRST_OF_IMAGE, ROOT, UnpackLimits};
use lockstep_domain::Digest;
use lockstep_image::Flat;
use tar::{EntryType, Header};

use super::write::{Archive, finish, open};
use super::{PackageError, PackageProblem, io_error, open_file};
use crate::cancel::CancelToken;

/// What an entry takes beside its content, at most.
const BYTES_AROUND: u64 = 2_048;

/// Packages an image into the file `output`, which exists afterwards only when all went well. Returns its digest and size.
///
/// # Errors
/// When it would not be unpacked where it is to run, or cannot be read or written.
pub(crate) fn package_image(
    flat: &Flat,
    output: &Path,
    cancel: &CancelToken,
) -> Result<(Digest, u64), PackageError> {
    let size = size(flat);
    must_fit(flat, size)?;
    let partial = output.with_added_extension("partial");
    let written = write(flat, size, &partial, cancel).and_then(|(digest, bytes)| {
        if UnpackLimits::USUAL.is_bomb(size, bytes) {
            let limit = UnpackLimits::USUAL.ratio;
            return Err(PackageError::Problems(vec![PackageProblem::Bomb { limit }]));
        }
        std::fs::rename(&partial, output).map_err(|source| io_error(output, "written", source))?;
        Ok((digest, bytes))
    });
    written.inspect_err(|_| drop(std::fs::remove_file(&partial)))
}

/// Says about how large it is before it is compressed. The same image gives the same number.
fn size(flat: &Flat) -> u64 {
    let of = |named: &Named| match &named.node {
        Node::File { bytes, .. } => *bytes,
        Node::Folder | Node::Link(_) => 0,
    };
    flat.root
        .names()
        .fold(BYTES_AROUND, |sum, (_, named)| sum.saturating_add(of(named)).saturating_add(BYTES_AROUND))
}

fn must_fit(flat: &Flat, size: u64) -> Result<(), PackageError> {
    let limits = UnpackLimits::USUAL;
    // Beside its names there are the first file, and the folder that the root is.
    let problem = if flat.root.names().count() + 2 > limits.entries {
        PackageProblem::TooMany { limit: limits.entries }
    } else if size > limits.bytes {
        PackageProblem::TooLarge { limit: limits.bytes }
    } else {
        return Ok(());
    };
    Err(PackageError::Problems(vec![problem]))
}

fn write(flat: &Flat, size: u64, path: &Path, cancel: &CancelToken) -> Result<(Digest, u64), PackageError> {
    let failed = |source| io_error(path, "written", source);
    let file = std::fs::File::create(path).map_err(failed)?;
    let mut archive = open(file, size).map_err(failed)?;
    let first = flat.facts.first();
    let mut of_first = header(EntryType::Regular, 0o644, 0);
    of_first.set_size(first.len() as u64);
    archive.append_data(&mut of_first, FIRST_OF_IMAGE, first.as_slice()).map_err(failed)?;
    for (name, named) in flat.root.names() {
        if cancel.is_cancelled() {
            return Err(PackageError::Cancelled);
        }
        append(&mut archive, flat, &Path::new(ROOT).join(name), named)?;
    }
    finish(archive).map_err(failed)
}

fn append(archive: &mut Archive<'_>, flat: &Flat, name: &Path, named: &Named) -> Result<(), PackageError> {
    let failed = |source| io_error(name, "packaged", source);
    let writable = if named.is_writable_for(flat.facts.user, flat.facts.group) { 0o222 } else { 0 };
    match &named.node {
        Node::Folder => {
            let mut header = header(EntryType::Directory, 0o755 | writable, 0);
            archive.append_data(&mut header, name, std::io::empty()).map_err(failed)
        }
        Node::Link(target) => {
            let mut header = header(EntryType::Symlink, 0o777, 0);
            archive.append_link(&mut header, name, target).map_err(failed)
        }
        Node::File { content, bytes } => {
            let mode = if named.executable { 0o755 } else { 0o644 };
            let mut header = header(EntryType::Regular, mode | writable, named.changed);
            header.set_size(*bytes);
            archive.append_data(&mut header, name, open_file(content)?).map_err(failed)
        }
    }
}

fn header(kind: EntryType, mode: u32, changed: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(changed);
    header.set_mode(mode);
    header.set_size(0);
    header.set_entry_type(kind);
    header
}
