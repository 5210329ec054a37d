//! A full disk: a clear error, nothing half-written, and work goes on when there is space again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockstep_store::journal::{AppendError, Journal, JournalError};
use tempfile::TempDir;

use crate::support::{new, numbered};

/// A file system of one mebibyte; only root can make one.
pub(crate) struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    pub(crate) fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "lockstep-test"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mount.then_some(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all space that is left.
    pub(crate) fn fill(&self) -> PathBuf {
        let filler = self.path().join("filler");
        assert!(fs::write(&filler, vec![1; 2 << 20]).is_err(), "the disk is small");
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

#[test]
fn append_on_a_full_disk_writes_nothing_and_works_again_later() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let data = disk.path().join("data");
    let mut journal = Journal::open(&data).unwrap();
    journal.append(0, &numbered(3)).unwrap();
    let filler = disk.fill();
    let large = format!("\"{}\"", "x".repeat(100_000));
    for _ in 0..3 {
        let error = journal.append(3, &[new(1, "{}"), new(2, &large)]).unwrap_err();
        assert!(matches!(error, AppendError::Full { .. }), "{error}");
        assert!(error.hint().starts_with("free space on the disk"));
        assert_eq!(journal.reader().verify().unwrap().records, 3);
    }
    let error = journal.save_snapshot(3, 1, &large.as_bytes().repeat(3)).err();
    assert!(error.is_none_or(|error| matches!(error, JournalError::Full { .. })));
    assert_eq!(Journal::open_read_only(&data).unwrap().verify().unwrap().records, 3);
    fs::remove_file(filler).unwrap();
    journal.append(3, &[new(1, "{}"), new(2, &large)]).unwrap();
    drop(journal);
    assert_eq!(Journal::open(&data).unwrap().reader().verify().unwrap().records, 5);
}

#[test]
fn journal_can_be_read_and_restarted_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let data = disk.path().join("data");
    Journal::open(&data).unwrap().append(0, &numbered(3)).unwrap();
    let filler = disk.fill();
    match Journal::open(&data) {
        Ok(journal) => assert_eq!(journal.reader().verify().unwrap().records, 3),
        Err(error) => assert!(matches!(error, JournalError::Full { .. }), "{error:?}"),
    }
    fs::remove_file(filler).unwrap();
    assert_eq!(Journal::open(&data).unwrap().reader().verify().unwrap().records, 3);
}
