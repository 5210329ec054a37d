//! The unpacked artifacts of a host, and whether each is still what was unpacked.
//!
//! A release is a folder `DIGEST`, with a record of its tree in `DIGEST.tree` beside it. One that was changed is never
//! run again and never mended in place, because instances may run it: it is unpacked anew as `DIGEST.2`, `DIGEST.3` and
//! so on, and the last one counts. Invariant: a folder has its name only when its record is there, which was made from
//! what was unpacked; whoever sees the one can compare it with the other. Two who unpack at once write the same content:
//! whose record stays does not matter.

mod record;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lockstep_domain::Digest;

pub(crate) use self::record::check;
use crate::unpack;
use lockstep_archive::{UnpackError, UnpackLimits};

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

/// The folder of all releases.
#[derive(Debug, Clone)]
pub(crate) struct Releases {
    folder: PathBuf,
}

impl Releases {
    pub(crate) const fn at(folder: PathBuf) -> Self {
        Self { folder }
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
        match record::check_and_renew(&folder) {
            Ok(()) => Unpacked::Good(folder),
            Err(why) => Unpacked::Changed(why),
        }
    }

    /// Unpacks an artifact, unless it is there unchanged.
    pub(crate) fn unpack(
        &self,
        artifact: impl Read,
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
        unpack::unpack_to(artifact, &folder, &self.folder, limits, |tree| {
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
