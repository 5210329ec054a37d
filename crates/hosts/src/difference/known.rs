//! The pieces that a host has in files of artifacts that are unpacked there.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use lockstep_files::foreign;

use super::recipe::{Key, Recipe, cut, key};

/// Most bytes that are looked at: a disk reads them in some seconds.
const MAX_BYTES: u64 = 1 << 30;

/// Where a piece lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Index of its file.
    file: usize,
    offset: u64,
    length: usize,
}

/// Pieces of a recipe that are here.
#[derive(Debug, Default)]
pub(crate) struct Known {
    files: Vec<PathBuf>,
    places: HashMap<Key, Place>,
}

impl Known {
    /// Looks for the pieces of a recipe in folders, in their order. What cannot be read is passed over.
    pub(crate) fn of(recipe: &Recipe, folders: &[PathBuf]) -> Self {
        let wanted: HashSet<Key> = recipe.pieces.iter().filter_map(|piece| piece.key).collect();
        let (mut known, mut left) = (Self::default(), MAX_BYTES);
        // The last one comes first.
        let mut rest: Vec<PathBuf> = folders.iter().rev().cloned().collect();
        while let Some(folder) = rest.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(found) if found.is_dir() => rest.push(entry.path()),
                    Ok(found) if found.is_file() && found.len() <= left => {
                        left -= found.len();
                        // A file that cannot be read has nothing for us.
                        let _ = known.look_at(entry.path(), found.len(), &wanted);
                    }
                    _ => {}
                }
            }
        }
        known
    }

    /// Looks at so much of a file: it may grow meanwhile.
    fn look_at(&mut self, path: PathBuf, bytes: u64, wanted: &HashSet<Key>) -> io::Result<()> {
        let (file, content) = (self.files.len(), foreign::open_no_link(&path)?);
        self.files.push(path);
        for piece in cut(content.take(bytes)) {
            let piece = piece?;
            let found = key(&piece.data);
            if wanted.contains(&found) {
                let place = Place { file, offset: piece.offset, length: piece.data.len() };
                self.places.entry(found).or_insert(place);
            }
        }
        Ok(())
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    /// Reads a piece as it is now, which may be another than when it was found.
    pub(super) fn read(&self, key: &Key) -> io::Result<Vec<u8>> {
        let place = self.places.get(key).ok_or(io::ErrorKind::NotFound)?;
        let path: &Path = self.files.get(place.file).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = vec![0; place.length];
        foreign::open_no_link(path)?.read_exact_at(&mut bytes, place.offset)?;
        Ok(bytes)
    }
}
