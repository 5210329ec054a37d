//! Taking a backup: the journal first, then what it names.
//!
//! Nothing in the data folder is changed. What is written lies beside the file under a name of its own, held by a lock, so
//! that what a killed one left is taken away by the next.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use lockstep_domain::{Digest, Timestamp};
use lockstep_files::whole::{self, Occupied};
use lockstep_files::{foreign, tree};

use super::archive::Writer;
use super::layout::{HEAD, Item, JOURNAL, KEY};
use super::{
    BackupError, BlobsOf, CONTENTS, Contents, FORMAT, HEADER, Header, OnProgress, Progress, Seen, Summary,
};
use crate::journal::{Journal, JournalError, Keying, Verified};

/// Largest file that holds the head of a journal, or its key.
const MAX_HEAD: u64 = 64 * 1024;

/// A backup to be taken.
#[derive(Debug, Clone)]
pub struct Taking<'a> {
    /// The data folder.
    pub folder: &'a Path,
    /// The file that it goes to.
    pub file: &'a Path,
    /// What happens to a file that is there.
    pub occupied: Occupied,
    /// The time.
    pub now: Timestamp,
    /// The program, as it stands in the backup.
    pub program: &'a str,
}

/// Takes a backup; it is whole and durable on return. A server may be running on the folder.
///
/// # Errors
/// As [`BackupError`] says; nothing is left where the file would be.
pub fn create(
    taking: &Taking<'_>,
    blobs_of: BlobsOf<'_>,
    on_progress: OnProgress<'_>,
) -> Result<Summary, BackupError> {
    let file = taking.file;
    if taking.occupied == Occupied::Refuse && fs::symlink_metadata(file).is_ok() {
        return Err(BackupError::Exists { path: file.to_owned() });
    }
    let unfinished = Unfinished::claim(file)?;
    let journal = TakenJournal::take(taking.folder, &unfinished.work(), blobs_of)?;
    let items = items(taking.folder, &journal)?;
    let (header, contents) = write(taking, &unfinished, &journal, &items, on_progress)?;
    unfinished.give_name(taking.occupied)?;
    Ok(Summary::of(&header, &contents, journal.keying))
}

/// The file that is being written, beside its final name and held by a lock; dropped, it is removed.
struct Unfinished {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Unfinished {
    fn claim(target: &Path) -> Result<Self, BackupError> {
        let failed = BackupError::file(target);
        let (Some(name), parent) = (target.file_name(), target.parent()) else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if target.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let path = parent.join(format!(".{}.partial", name.to_string_lossy()));
        let claimed = whole::claim(&path).map_err(BackupError::file(&path))?;
        let file = claimed.ok_or_else(|| BackupError::InUse { path: target.to_owned() })?;
        let unfinished = Self { file, path, target: target.to_owned() };
        unfinished.begin()?;
        Ok(unfinished)
    }

    fn begin(&self) -> Result<(), BackupError> {
        self.file.set_len(0).map_err(BackupError::file(&self.path))?;
        self.file.set_permissions(Permissions::from_mode(0o600)).map_err(BackupError::file(&self.path))?;
        let work = self.work();
        tree::remove(&work).map_err(BackupError::file(&work))?;
        DirBuilder::new().mode(0o700).create(&work).map_err(BackupError::file(&work))
    }

    /// The folder in which the journal lies until it is in the file.
    fn work(&self) -> PathBuf {
        self.path.with_added_extension("journal")
    }

    fn give_name(self, occupied: Occupied) -> Result<(), BackupError> {
        // Before there is a backup, after which nobody may come who takes it away.
        let work = self.work();
        tree::remove(&work).map_err(BackupError::file(&work))?;
        whole::give_name(&self.path, &self.target, occupied).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists { path: self.target.clone() },
            _ => BackupError::file(&self.target)(error),
        })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What stays is removed by the next one. After the file has its name, there is nothing at this path.
        let _ = tree::remove(&self.work());
        if whole::is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The journal at one number, in a folder of its own, with every blob that it names.
struct TakenJournal {
    folder: PathBuf,
    verified: Verified,
    keying: Keying,
    blobs: BTreeSet<Digest>,
}

impl TakenJournal {
    /// Copies the journal and checks the copy as a whole.
    fn take(folder: &Path, work: &Path, blobs_of: BlobsOf<'_>) -> Result<Self, BackupError> {
        // The head first: then the copy is at least as new, and an end that was cut off shows.
        take_beside(folder, work, HEAD)?;
        let has_key = take_beside(folder, work, KEY)?;
        let copied = Journal::open_read_only(folder)?.copy_to(&work.join(JOURNAL));
        copied.map_err(|error| match error {
            // The disk of the backup, not that of the journal.
            JournalError::Full { .. } => BackupError::Full { path: work.to_owned() },
            error => error.into(),
        })?;
        let copy = Journal::open_read_only(work)?;
        // A key that the operator keeps elsewhere is none of a backup; whoever restores it has to have it.
        let verified = if has_key { copy.verify()? } else { copy.verify_chain()? };
        let (mut blobs, mut unknown) = (BTreeSet::new(), None);
        copy.for_each_after(0, |record| match blobs_of(&record) {
            Ok(named) => {
                blobs.extend(named);
                ControlFlow::Continue(())
            }
            Err(why) => {
                unknown = Some(BackupError::Event { seq: record.seq, why });
                ControlFlow::Break(())
            }
        })?;
        unknown.map_or(Ok(()), Err)?;
        Ok(Self { folder: work.to_owned(), verified, keying: copy.keying(), blobs })
    }
}

/// Copies a small file that lies beside the journal, and tells whether there is one.
fn take_beside(folder: &Path, work: &Path, name: &str) -> Result<bool, BackupError> {
    let path = folder.join(name);
    match foreign::open_no_link(&path).and_then(|file| foreign::read(file, MAX_HEAD)) {
        Ok(content) => whole::put(&work.join(name), &content, 0o600).map_err(BackupError::file(work))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(BackupError::file(&path)(error)),
    }
    Ok(true)
}

/// A file to be added, with its size.
struct Source {
    item: Item,
    path: PathBuf,
    bytes: u64,
}

/// Everything beside the journal, and the blobs that are not there.
struct Items {
    sources: Vec<Source>,
    lost: Vec<Digest>,
}

fn items(folder: &Path, journal: &TakenJournal) -> Result<Items, BackupError> {
    let mut items = Items { sources: Vec::new(), lost: Vec::new() };
    for item in [Item::Journal, Item::Head, Item::Key, Item::Place].into_iter().chain(secrets(folder)?) {
        let is_taken = matches!(item, Item::Journal | Item::Head | Item::Key);
        let place = if is_taken { &journal.folder } else { folder };
        let path = item.below(place);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                items.sources.push(Source { item, path, bytes: metadata.len() });
            }
            Ok(_) => return Err(BackupError::Unknown { path }),
            // A journal of an older program has no key and, without a record, no head; a folder that no server has opened does
            // not say which it is.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && matches!(item, Item::Head | Item::Key | Item::Place) => {}
            Err(error) => return Err(BackupError::file(&path)(error)),
        }
    }
    for digest in &journal.blobs {
        let item = Item::Blob(*digest);
        let path = item.below(folder);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                items.sources.push(Source { item, path, bytes: metadata.len() });
            }
            Ok(_) => items.lost.push(*digest),
            Err(error) if error.kind() == io::ErrorKind::NotFound => items.lost.push(*digest),
            Err(error) => return Err(BackupError::file(&path)(error)),
        }
    }
    Ok(items)
}

/// Lists the secrets. Those that are being written have no record yet; what else lies there would be missing later.
fn secrets(folder: &Path) -> Result<Vec<Item>, BackupError> {
    let secrets = folder.join("secrets");
    let entries = match fs::read_dir(&secrets) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BackupError::file(&secrets)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(BackupError::file(&secrets))?.path();
        if path.extension().is_some_and(|end| end == whole::UNFINISHED) {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        match name.and_then(|name| Item::parse(&format!("secrets/{name}"))) {
            Some(item) => found.push(item),
            None => return Err(BackupError::Unknown { path }),
        }
    }
    found.sort();
    Ok(found)
}

fn write(
    taking: &Taking<'_>,
    unfinished: &Unfinished,
    journal: &TakenJournal,
    items: &Items,
    on_progress: OnProgress<'_>,
) -> Result<(Header, Contents), BackupError> {
    let header = Header {
        format: FORMAT,
        created: taking.now,
        program: taking.program.to_owned(),
        seq: journal.verified.records,
        last_hash: journal.verified.last_hash,
        files: items.sources.len() as u64,
        bytes: items.sources.iter().map(|source| source.bytes).sum(),
    };
    let written = BackupError::file(&unfinished.path);
    let mut writer = Writer::new(&unfinished.file, taking.now).map_err(&written)?;
    add_text(&mut writer, HEADER, &header).map_err(&written)?;
    let mut contents = Contents { lost: items.lost.clone(), ..Contents::default() };
    let mut progress = Progress { files_of: header.files, bytes_of: header.bytes, ..Progress::default() };
    for Source { item, path, bytes } in &items.sources {
        let file = foreign::open_no_link(path).map_err(BackupError::file(path))?;
        let seen = writer.add(&item.path(), *bytes, file).map_err(&written)?;
        if matches!(item, Item::Blob(digest) if *digest != seen.digest) {
            let Item::Blob(digest) = item else { continue };
            contents.lost.push(*digest);
        }
        contents.files.insert(item.path(), seen);
        (progress.files, progress.bytes) = (progress.files + 1, progress.bytes + bytes);
        on_progress(progress);
    }
    add_text(&mut writer, CONTENTS, &contents).map_err(&written)?;
    writer.finish().map_err(&written)?;
    Ok((header, contents))
}

fn add_text(writer: &mut Writer<'_>, path: &str, value: &impl serde::Serialize) -> io::Result<Seen> {
    let text = serde_json::to_vec(value).map_err(io::Error::other)?;
    writer.add(path, text.len() as u64, text.as_slice())
}
