//! A data folder with a journal that names blobs, and backups of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lockstep_domain::{Digest, Timestamp};
use lockstep_files::whole::Occupied;
use lockstep_store::backup::{self, BackupError, Progress, Summary, Taking};
use lockstep_store::blobs::Blobs;
use lockstep_store::journal::{Journal, Record};
use tempfile::TempDir;

use crate::support::new;

/// A data folder as a server leaves it, with a journal whose records each name a blob.
pub(crate) struct Data {
    pub(crate) place: TempDir,
    pub(crate) journal: RefCell<Journal>,
    pub(crate) blobs: Blobs,
}

impl Data {
    pub(crate) fn with(records: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        let journal = RefCell::new(Journal::open(&folder).unwrap());
        let data = Self { blobs: Blobs::open(&folder).unwrap(), journal, place };
        fs::create_dir(data.folder().join("secrets")).unwrap();
        (0..records).for_each(|_| data.decide());
        data
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.place.path().join("data")
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.place.path().join("backup")
    }

    /// Stores a blob and a secret, then records a decision that names both, in the order of a server.
    pub(crate) fn decide(&self) {
        let mut journal = self.journal.borrow_mut();
        let seq = journal.last().seq;
        let digest = self.blobs.put(format!("blob {seq}").repeat(100).as_bytes()).unwrap().digest;
        fs::write(self.folder().join(format!("secrets/{seq}")), "hunter2").unwrap();
        journal.append(seq, &[new(seq, &format!("{{\"blob\":\"{digest}\",\"secret\":\"{seq}\"}}"))]).unwrap();
    }

    pub(crate) fn create(&self, occupied: Occupied) -> Result<Summary, BackupError> {
        self.create_with(occupied, &mut || {})
    }

    /// Takes a backup, and does something else whenever it could be interrupted.
    pub(crate) fn create_with(
        &self,
        occupied: Occupied,
        between: &mut dyn FnMut(),
    ) -> Result<Summary, BackupError> {
        let (folder, file) = (self.folder(), self.file());
        let taking =
            Taking { folder: &folder, file: &file, occupied, now: Timestamp(1_000), program: "test" };
        let between = RefCell::new(between);
        let mut named = |record: &Record| {
            between.borrow_mut()();
            blobs_of(record)
        };
        backup::create(&taking, &mut named, &mut |_| between.borrow_mut()())
    }

    pub(crate) fn restore(&self, name: &str) -> Result<(PathBuf, Summary), BackupError> {
        let folder = self.place.path().join(name);
        restore(&self.file(), &folder).map(|summary| (folder, summary))
    }

    /// Everything that lies beside the data folder.
    pub(crate) fn beside(&self) -> Vec<String> {
        names(self.place.path())
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

pub(crate) fn blobs_of(record: &Record) -> Result<Vec<Digest>, String> {
    let event: BTreeMap<String, String> =
        serde_json::from_str(&record.event).map_err(|error| error.to_string())?;
    Ok(event.get("blob").map(|digest| digest.parse().unwrap()).into_iter().collect())
}

pub(crate) fn restore(file: &Path, folder: &Path) -> Result<Summary, BackupError> {
    backup::restore(file, folder, &mut blobs_of, &mut |_: Progress| {})
}

pub(crate) fn verify(file: &Path) -> Result<Summary, BackupError> {
    let work = tempfile::tempdir().unwrap();
    backup::verify(file, work.path(), &mut blobs_of, &mut |_: Progress| {})
}

/// Checks that a folder holds all that its own journal names, and opens for writing.
pub(crate) fn assert_complete(folder: &Path, summary: &Summary) {
    let blobs = Blobs::open(folder).unwrap();
    let journal = Journal::open(folder).unwrap();
    assert_eq!((journal.last().seq, journal.last().hash), (summary.seq, summary.last_hash));
    for record in journal.reader().read(0, usize::MAX).unwrap() {
        blobs_of(&record).unwrap().iter().for_each(|digest| blobs.verify(digest).unwrap());
        let event: BTreeMap<String, String> = serde_json::from_str(&record.event).unwrap();
        assert!(folder.join("secrets").join(&event["secret"]).exists(), "{}", record.event);
    }
}
