//! Making a data folder of a backup, or only checking that one could be made.
//!
//! Everything is written beside the final name and checked there: every digest, the chain of the journal, and that each blob
//! which the journal names is there. Only then the folder gets its name, in one step.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lockstep_domain::Digest;
use lockstep_files::whole::{self, Occupied};
use lockstep_files::{foreign, tree};

use super::archive::{Entry, Reader, shown};
use super::layout::Item;
use super::{
    BackupError, BlobsOf, CONTENTS, Contents, FORMAT, HEADER, Header, OnProgress, Progress, Seen, Summary,
};
use crate::journal::{Journal, Keying};

/// Largest first entry.
const MAX_HEADER: u64 = 64 * 1024;
/// Largest key of a journal.
const MAX_KEY: u64 = 4 * 1024;
/// Largest list of files: a million of them.
const MAX_CONTENTS: u64 = 256 << 20;
/// What must stay free on the disk beside what is restored: names, folders, the first start.
const SLACK: u64 = 16 << 20;

/// Restores a backup into a folder that does not exist, or is empty.
///
/// # Errors
/// As [`BackupError`] says; the folder is as before then.
pub fn restore(
    file: &Path,
    folder: &Path,
    blobs_of: BlobsOf<'_>,
    on_progress: OnProgress<'_>,
) -> Result<Summary, BackupError> {
    let target = Target::claim(folder)?;
    let summary = unpack(file, &target.beside, Keep::All, blobs_of, on_progress)?;
    target.give_name()?;
    Ok(summary)
}

/// Checks a backup as restoring does, and keeps nothing; `work` is a folder for the journal meanwhile.
///
/// # Errors
/// As [`BackupError`] says.
pub fn verify(
    file: &Path,
    work: &Path,
    blobs_of: BlobsOf<'_>,
    on_progress: OnProgress<'_>,
) -> Result<Summary, BackupError> {
    unpack(file, work, Keep::Journal, blobs_of, on_progress)
}

/// What is written to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    All,
    /// Only what must be a file to be checked.
    Journal,
}

impl Keep {
    fn keeps(self, item: &Item) -> bool {
        self == Self::All || matches!(item, Item::Journal | Item::Head)
    }
}

/// The folder that is being made, beside its final name and held by a lock; dropped, it is removed.
struct Target {
    folder: PathBuf,
    beside: PathBuf,
    _lock: File,
}

impl Target {
    fn claim(folder: &Path) -> Result<Self, BackupError> {
        // A slash at the end, or a link, would make other names of it.
        let folder = std::path::absolute(folder).map_err(BackupError::file(folder))?;
        let folder: PathBuf = folder.components().collect();
        let (Some(name), Some(parent)) = (folder.file_name(), folder.parent()) else {
            return Err(BackupError::MountPoint { path: folder });
        };
        must_be_free(&folder, parent)?;
        let name = name.to_string_lossy();
        let lock_path = parent.join(format!(".{name}.restoring.lock"));
        let lock = whole::claim(&lock_path).map_err(BackupError::file(&lock_path))?;
        let lock = lock.ok_or_else(|| BackupError::InUse { path: folder.clone() })?;
        let beside = parent.join(format!(".{name}.restoring"));
        tree::remove(&beside).map_err(BackupError::file(&beside))?;
        DirBuilder::new().mode(0o700).create(&beside).map_err(BackupError::file(&beside))?;
        Ok(Self { folder, beside, _lock: lock })
    }

    /// Gives the folder its name in one step; an empty folder of that name gives way.
    fn give_name(self) -> Result<(), BackupError> {
        let folder = &self.folder;
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                return Err(BackupError::NotEmpty { path: folder.clone() });
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BackupError::file(folder)(error));
            }
            _ => {}
        }
        whole::give_name(&self.beside, folder, Occupied::Refuse).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::NotEmpty { path: folder.clone() },
            _ => BackupError::file(folder)(error),
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // After the folder has its name, there is nothing at this path; what stays is removed by the next one.
        let _ = tree::remove(&self.beside);
        let _ = fs::remove_file(self.beside.with_added_extension("lock"));
    }
}

fn must_be_free(folder: &Path, parent: &Path) -> Result<(), BackupError> {
    let metadata = match fs::symlink_metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::file(folder)(error)),
    };
    let is_empty =
        metadata.is_dir() && fs::read_dir(folder).map_err(BackupError::file(folder))?.next().is_none();
    if !is_empty {
        return Err(BackupError::NotEmpty { path: folder.to_owned() });
    }
    let around = fs::metadata(parent).map_err(BackupError::file(parent))?;
    if around.dev() == metadata.dev() {
        Ok(())
    } else {
        Err(BackupError::MountPoint { path: folder.to_owned() })
    }
}

/// Reads a backup into a folder and checks all of it.
fn unpack(
    file: &Path,
    folder: &Path,
    keep: Keep,
    blobs_of: BlobsOf<'_>,
    on_progress: OnProgress<'_>,
) -> Result<Summary, BackupError> {
    let opened = foreign::open_named(file).map_err(BackupError::file(file))?;
    let mut reader = Reader::new(opened)?;
    let header = header(&mut reader)?;
    let room = whole::room_of(folder).map_err(BackupError::file(folder))?;
    let needed = header.bytes.saturating_add(SLACK);
    if keep == Keep::All && room < needed {
        return Err(BackupError::TooLarge { path: folder.to_owned(), room, needed });
    }
    let mut unpacking = Unpacking { folder, keep, header: &header, seen: Contents::default(), key: None };
    let contents = unpacking.files(&mut reader, on_progress)?;
    let Unpacking { seen: Contents { files, .. }, key, .. } = unpacking;
    compare(&header, &files, &contents)?;
    for digest in &contents.lost {
        // A damaged one is no blob; its name says what it should have been.
        tree::remove(&Item::Blob(*digest).below(folder)).map_err(BackupError::file(folder))?;
    }
    let keying = check_journal(folder, &header, &contents, key.as_deref(), blobs_of)?;
    if keep == Keep::All {
        whole::sync_file_system_of(folder).map_err(BackupError::file(folder))?;
    }
    Ok(Summary::of(&header, &contents, keying))
}

fn header(reader: &mut Reader) -> Result<Header, BackupError> {
    let first = reader.next()?.filter(|entry| entry.path == HEADER);
    let first = first.ok_or_else(|| BackupError::damaged(format!("it does not begin with `{HEADER}`")))?;
    let text = reader.read(&first, MAX_HEADER)?;
    // The number first: the rest may be another one in a newer format.
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let unclear = |error: serde_json::Error| BackupError::damaged(format!("`{HEADER}`: {error}"));
    let Format { format } = serde_json::from_slice(&text).map_err(unclear)?;
    if format > FORMAT {
        return Err(BackupError::NewerFormat { found: format });
    }
    serde_json::from_slice(&text).map_err(unclear)
}

/// The files of a backup on their way to a folder.
struct Unpacking<'a> {
    folder: &'a Path,
    keep: Keep,
    header: &'a Header,
    seen: Contents,
    /// The key of the journal. It is checked here and not from a file: that of a backup which is only checked lies nowhere.
    key: Option<Vec<u8>>,
}

impl Unpacking<'_> {
    /// Takes all files, and returns the list that must be the last entry.
    fn files(&mut self, reader: &mut Reader, on_progress: OnProgress<'_>) -> Result<Contents, BackupError> {
        let mut progress =
            Progress { files_of: self.header.files, bytes_of: self.header.bytes, ..Progress::default() };
        loop {
            let entry =
                reader.next()?.ok_or_else(|| BackupError::damaged("the list of its files is missing"))?;
            if entry.path == CONTENTS {
                return last(reader, &entry);
            }
            (progress.files, progress.bytes) =
                (progress.files + 1, progress.bytes.saturating_add(entry.bytes));
            if progress.files > progress.files_of || progress.bytes > progress.bytes_of {
                return Err(BackupError::damaged("it holds more than its beginning says"));
            }
            let seen = self.file(reader, &entry)?;
            if self.seen.files.insert(entry.path.clone(), seen).is_some() {
                return Err(BackupError::damaged(format!("`{}` is in it twice", shown(&entry.path))));
            }
            on_progress(progress);
        }
    }

    fn file(&mut self, reader: &mut Reader, entry: &Entry) -> Result<Seen, BackupError> {
        let damaged = |why: &str| BackupError::damaged(format!("`{}` {why}", shown(&entry.path)));
        let item = Item::parse(&entry.path).ok_or_else(|| damaged("is no file of a data folder"))?;
        if item == Item::Key && entry.bytes > MAX_KEY {
            return Err(damaged("is too large for a key"));
        }
        let path = item.below(self.folder);
        let failed = BackupError::file(&path);
        let mut file = if self.keep.keeps(&item) { Some(self.create(entry, &path)?) } else { None };
        let mut key = Vec::new();
        let seen = reader.copy(entry, |chunk| {
            if item == Item::Key {
                key.extend_from_slice(chunk);
            }
            file.as_mut().map_or(Ok(()), |file| file.write_all(chunk)).map_err(&failed)
        })?;
        if item == Item::Key {
            self.key = Some(key);
        }
        Ok(seen)
    }

    fn create(&self, entry: &Entry, path: &Path) -> Result<File, BackupError> {
        let failed = BackupError::file(path);
        let parent = path.parent().unwrap_or(self.folder);
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(&failed)?;
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BackupError::damaged(format!("`{}` is in it twice", shown(&entry.path))))
            }
            opened => opened.map_err(&failed),
        }
    }
}

fn last(reader: &mut Reader, entry: &Entry) -> Result<Contents, BackupError> {
    let text = reader.read(entry, MAX_CONTENTS)?;
    if reader.next()?.is_some() {
        return Err(BackupError::damaged("something follows the list of its files"));
    }
    serde_json::from_slice(&text).map_err(|error| BackupError::damaged(format!("`{CONTENTS}`: {error}")))
}

/// Compares what was read with what the list says, and blobs with their names.
fn compare(
    header: &Header,
    files: &std::collections::BTreeMap<String, Seen>,
    contents: &Contents,
) -> Result<(), BackupError> {
    if files.len() as u64 != header.files || files.len() != contents.files.len() {
        return Err(BackupError::damaged(format!("it holds {} files of {}", files.len(), header.files)));
    }
    let lost: BTreeSet<&Digest> = contents.lost.iter().collect();
    for (path, seen) in files {
        let other = |why: &str| BackupError::damaged(format!("`{path}` {why}"));
        if contents.files.get(path) != Some(seen) {
            return Err(other("has another digest than the list of files says"));
        }
        match Item::parse(path) {
            Some(Item::Blob(digest)) if digest != seen.digest && !lost.contains(&digest) => {
                return Err(other("has another digest than its name says"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks the journal, and that nothing which it names is missing; tells whether it has a key.
fn check_journal(
    folder: &Path,
    header: &Header,
    contents: &Contents,
    key: Option<&[u8]>,
    blobs_of: BlobsOf<'_>,
) -> Result<Keying, BackupError> {
    let journal = Journal::open_read_only(folder)?;
    let verified = match key {
        Some(key) => journal.verify_by_text(key)?,
        None => journal.verify_chain()?,
    };
    if (verified.records, verified.last_hash) != (header.seq, header.last_hash) {
        return Err(BackupError::damaged(format!(
            "its journal has {} records of {}",
            verified.records, header.seq
        )));
    }
    let mut problem = None;
    journal.for_each_after(0, |record| match missing(&record, contents, blobs_of) {
        Ok(None) => ControlFlow::Continue(()),
        Ok(Some(digest)) => {
            let why = format!("record {} names the blob {digest}, which is not in it", record.seq);
            problem = Some(BackupError::damaged(why));
            ControlFlow::Break(())
        }
        Err(why) => {
            problem = Some(BackupError::Event { seq: record.seq, why });
            ControlFlow::Break(())
        }
    })?;
    problem.map_or_else(|| Ok(journal.keying()), Err)
}

fn missing(
    record: &crate::journal::Record,
    contents: &Contents,
    blobs_of: BlobsOf<'_>,
) -> Result<Option<Digest>, String> {
    let there = |digest: &Digest| {
        contents.files.contains_key(&Item::Blob(*digest).path()) || contents.lost.contains(digest)
    };
    Ok(blobs_of(record)?.into_iter().find(|digest| !there(digest)))
}
