//! The unpacked artifacts of a host, and whether each is still what was unpacked.
//!
//! A release is a folder `DIGEST`, with a record of its tree in `DIGEST.tree` beside it. One that was changed is never
//! run again and never mended in place, because instances may run it: it is unpacked anew as `DIGEST.2`, `DIGEST.3` and
//! so on, and the last one counts. Invariant: a folder has its name only when its record is there, which was made from
//! what was unpacked; whoever sees the one can compare it with the other. Two who unpack at once write the same content:
//! whose record stays does not matter.

mod record;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use lockstep_domain::Digest;

pub(crate) use self::record::check;
use crate::unpack::{self, PACKAGE_FILE};
use lockstep_archive::{Compression, FIRST_OF_IMAGE, UnpackError, UnpackLimits};

/// What is unpacked of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpacked {
    /// Nothing.
    Missing,
    /// What was unpacked, unchanged.
    Good(PathBuf),
    /// Something that must not be run, and why.
    Changed(String),
}

/// Everybody may list a folder and pass it.
const READ: u32 = 0o005;

/// The folder of all releases.
#[derive(Debug, Clone)]
pub(crate) struct Releases {
    folder: PathBuf,
    readers: Readers,
    writers: Writers,
}

/// Who has to be able to read a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// The user of the server.
    Server,
    /// Users of services, too, whoever they are.
    All,
}

/// Who is kept from adding files to a release, as Python does that keeps what it compiled beside a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Nobody by us: services are confined, or of other users than the one who owns it.
    KeptElsewhere,
    /// Whoever does not change modes first: files and folders are read-only.
    ByMode,
}

impl Releases {
    pub(crate) const fn at(folder: PathBuf, readers: Readers, writers: Writers) -> Self {
        Self { folder, readers, writers }
    }

    /// Tells whether everybody can read a folder who has to.
    fn is_readable(&self, folder: &Path) -> bool {
        let open = |found: fs::Metadata| found.mode() & READ == READ;
        self.readers == Readers::Server || is_image(folder) || fs::metadata(folder).is_ok_and(open)
    }

    /// Returns the folder of an artifact that counts, whether it is there or not.
    pub(crate) fn current(&self, digest: &Digest) -> PathBuf {
        self.generation(digest, self.generations(digest).last().copied().unwrap_or(1))
    }

    /// Looks at what is unpacked of an artifact.
    pub(crate) fn look(&self, digest: &Digest) -> Unpacked {
        let folder = self.current(digest);
        if !folder.is_dir() {
            return Unpacked::Missing;
        }
        if !self.is_readable(&folder) {
            return Unpacked::Changed("it was unpacked for the user of the server alone".to_owned());
        }
        match record::check_and_renew(&folder) {
            Ok(()) => Unpacked::Good(folder),
            Err(why) => Unpacked::Changed(why),
        }
    }

    /// Unpacks an artifact, unless it is there unchanged.
    pub(crate) fn unpack(
        &self,
        archive: impl Read,
        compression: Compression,
        digest: &Digest,
        limits: &UnpackLimits,
    ) -> Result<PathBuf, UnpackError> {
        let folder = match self.look(digest) {
            Unpacked::Good(folder) => return Ok(folder),
            Unpacked::Missing => self.generation(digest, 1),
            Unpacked::Changed(_) => {
                let last = self.generations(digest).last().copied().unwrap_or(1);
                self.generation(digest, last.saturating_add(1))
            }
        };
        unpack::unpack_to((archive, compression), &folder, &self.folder, limits, |tree| {
            if is_image(tree) {
                // What is in it may be writable for the user of the image, so nobody may come to it.
                close(tree).map_err(|source| UnpackError::Write { path: tree.to_owned(), source })?;
            } else if self.readers == Readers::All {
                open_to_all(tree).map_err(|source| UnpackError::Write { path: tree.to_owned(), source })?;
            } else if self.writers == Writers::ByMode {
                close_to_writers(tree)
                    .map_err(|source| UnpackError::Write { path: tree.to_owned(), source })?;
            }
            record::write(&folder, tree)
                .map_err(|source| UnpackError::Write { path: record::path_of(&folder), source })
        })?;
        Ok(folder)
    }

    /// Returns every artifact of which something is unpacked.
    pub(crate) fn list(&self) -> io::Result<BTreeSet<Digest>> {
        let entries = fs::read_dir(&self.folder)?;
        entries
            .map(|entry| Ok(parse(&entry?.file_name().to_string_lossy()).map(|(digest, _)| digest)))
            .filter_map(io::Result::transpose)
            .collect()
    }

    /// Removes everything that is unpacked of an artifact.
    pub(crate) fn remove(&self, digest: &Digest) -> io::Result<()> {
        self.generations(digest).into_iter().try_for_each(|number| self.remove_one(digest, number))
    }

    /// Removes what was changed and is run by nobody any more, and what interrupted work has left.
    pub(crate) fn clean(&self, used: &BTreeSet<PathBuf>) -> io::Result<()> {
        unpack::remove_rests(&self.folder)?;
        self.remove_lone_records()?;
        for digest in self.list()? {
            let generations = self.generations(&digest);
            for number in generations.iter().rev().skip(1) {
                if !used.contains(&self.generation(&digest, *number)) {
                    self.remove_one(&digest, *number)?;
                }
            }
        }
        Ok(())
    }

    fn remove_one(&self, digest: &Digest, number: u32) -> io::Result<()> {
        let folder = self.generation(digest, number);
        unpack::remove(&folder)?;
        match fs::remove_file(record::path_of(&folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes records of what was never given its name.
    fn remove_lone_records(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if record::release_of(&path).is_some_and(|release| !release.exists()) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn generation(&self, digest: &Digest, number: u32) -> PathBuf {
        match number {
            1 => self.folder.join(digest.to_string()),
            _ => self.folder.join(format!("{digest}.{number}")),
        }
    }

    fn generations(&self, digest: &Digest) -> BTreeSet<u32> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let of_digest = entries.filter_map(|entry| parse(&entry.file_name().to_string_lossy()));
        of_digest.filter(|(found, _)| found == digest).map(|(_, number)| number).collect()
    }
}

/// Tells whether a folder has the root of an image, which is put into place by root alone.
fn is_image(folder: &Path) -> bool {
    folder.join(FIRST_OF_IMAGE).is_file() && !folder.join(PACKAGE_FILE).exists()
}

fn close(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Lets everybody read what its owner can. Nothing in the tree was run yet, so it is as it was unpacked.
fn open_to_all(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Ok(());
    }
    if found.is_dir() {
        fs::read_dir(path)?.try_for_each(|entry| open_to_all(&entry?.path()))?;
    }
    let of_owner = found.mode() & 0o500;
    fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o7777 | of_owner >> 3 | of_owner >> 6))
}

/// Lets nobody write to anything in a tree, or add to it, who does not change modes first.
fn close_to_writers(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Ok(());
    }
    if found.is_dir() {
        fs::read_dir(path)?.try_for_each(|entry| close_to_writers(&entry?.path()))?;
    }
    fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o7555))
}

/// Reads the name of a release: `DIGEST` or `DIGEST.NUMBER`.
fn parse(name: &str) -> Option<(Digest, u32)> {
    match name.split_once('.') {
        None => Some((name.parse().ok()?, 1)),
        Some((digest, number)) => {
            Some((digest.parse().ok()?, number.parse().ok().filter(|number| *number > 1)?))
        }
    }
}

/// Tells whether the release at a path is still what was unpacked. Nothing is written.
///
/// # Errors
///
/// Says what is different.
pub(crate) fn check_release(folder: &Path) -> Result<(), String> {
    check(folder).map(|_| ())
}

#[cfg(test)]
mod tests;
