//! Backups: what goes in comes out, beside a server that goes on writing; whatever is not a whole backup is refused, and
//! nothing of it is left.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use lockstep_domain::{Digest, Timestamp};
use lockstep_files::whole::Occupied;
use lockstep_store::backup::{self, BackupError, KeyOf, Progress, Summary, Taking};
use lockstep_store::blobs::{Blobs, GcMode};
use lockstep_store::journal::{Journal, JournalError, KeyPlace, Record};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use crate::disk_full::SmallDisk;
use crate::support::{new, of_format_1};

/// A data folder as a server leaves it, with a journal whose records each name a blob.
struct Data {
    place: TempDir,
    journal: RefCell<Journal>,
    blobs: Blobs,
}

impl Data {
    fn with(records: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        let journal = RefCell::new(Journal::open(&folder).unwrap());
        let data = Self { blobs: Blobs::open(&folder).unwrap(), journal, place };
        fs::create_dir(data.folder().join("secrets")).unwrap();
        (0..records).for_each(|_| data.decide());
        data
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join("data")
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("backup")
    }

    /// Stores a blob and a secret, then records a decision that names both, in the order of a server.
    fn decide(&self) {
        let mut journal = self.journal.borrow_mut();
        let seq = journal.last().seq;
        let digest = self.blobs.put(format!("blob {seq}").repeat(100).as_bytes()).unwrap().digest;
        fs::write(self.folder().join(format!("secrets/{seq}")), "hunter2").unwrap();
        journal.append(seq, &[new(seq, &format!("{{\"blob\":\"{digest}\",\"secret\":\"{seq}\"}}"))]).unwrap();
    }

    fn create(&self, occupied: Occupied) -> Result<Summary, BackupError> {
        self.create_with(occupied, &mut || {})
    }

    /// Takes a backup, and does something else whenever it could be interrupted.
    fn create_with(&self, occupied: Occupied, between: &mut dyn FnMut()) -> Result<Summary, BackupError> {
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

    fn restore(&self, name: &str) -> Result<(PathBuf, Summary), BackupError> {
        let folder = self.place.path().join(name);
        restore(&self.file(), &folder).map(|summary| (folder, summary))
    }

    /// Everything that lies beside the data folder.
    fn beside(&self) -> Vec<String> {
        names(self.place.path())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

fn blobs_of(record: &Record) -> Result<Vec<Digest>, String> {
    let event: BTreeMap<String, String> =
        serde_json::from_str(&record.event).map_err(|error| error.to_string())?;
    Ok(event.get("blob").map(|digest| digest.parse().unwrap()).into_iter().collect())
}

fn restore(file: &Path, folder: &Path) -> Result<Summary, BackupError> {
    backup::restore(file, folder, &mut blobs_of, &mut |_: Progress| {})
}

fn verify(file: &Path) -> Result<Summary, BackupError> {
    let work = tempfile::tempdir().unwrap();
    backup::verify(file, work.path(), &mut blobs_of, &mut |_: Progress| {})
}

/// Checks that a folder holds all that its own journal names, and opens for writing.
fn assert_complete(folder: &Path, summary: &Summary) {
    let blobs = Blobs::open(folder).unwrap();
    let journal = Journal::open(folder).unwrap();
    assert_eq!((journal.last().seq, journal.last().hash), (summary.seq, summary.last_hash));
    for record in journal.reader().read(0, usize::MAX).unwrap() {
        blobs_of(&record).unwrap().iter().for_each(|digest| blobs.verify(digest).unwrap());
        let event: BTreeMap<String, String> = serde_json::from_str(&record.event).unwrap();
        assert!(folder.join("secrets").join(&event["secret"]).exists(), "{}", record.event);
    }
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
}

#[test]
fn what_goes_in_comes_out_and_nothing_else() {
    let data = Data::with(5);
    fs::write(data.folder().join("place.json"), "which folder it was").unwrap();
    let unnamed = data.blobs.put(b"nobody names it".as_slice()).unwrap().digest;
    let summary = data.create(Occupied::Refuse).unwrap();
    assert_eq!((summary.seq, summary.blobs, summary.secrets, summary.lost.len()), (5, 5, 5, 0));
    assert_eq!((mode(&data.file()), data.beside()), (0o600, vec!["backup".to_owned(), "data".to_owned()]));
    assert_eq!(verify(&data.file()).unwrap(), summary);
    let (folder, restored) = data.restore("new").unwrap();
    assert_eq!(restored, summary);
    assert_eq!(
        names(&folder),
        ["blobs", "journal.db", "journal.head", "journal.key", "place.json", "secrets"]
    );
    assert_eq!(
        (mode(&folder), mode(&folder.join("secrets")), mode(&folder.join("secrets/0"))),
        (0o700, 0o700, 0o600)
    );
    assert_complete(&folder, &summary);
    assert!(!Blobs::open(&folder).unwrap().contains(&unnamed));
    // What was restored can be backed up, and is the same.
    let again = Taking {
        folder: &folder,
        file: &data.place.path().join("again"),
        occupied: Occupied::Refuse,
        now: Timestamp(1_000),
        program: "test",
    };
    let again = backup::create(&again, &mut blobs_of, &mut |_| {}).unwrap();
    assert_eq!((again.seq, again.last_hash, again.blobs), (summary.seq, summary.last_hash, summary.blobs));
}

#[test]
fn an_empty_journal_can_be_backed_up() {
    let data = Data::with(0);
    assert_eq!(data.create(Occupied::Refuse).unwrap().seq, 0);
    assert_eq!(Journal::open(&data.restore("new").unwrap().0).unwrap().last().seq, 0);
}

#[test]
fn whatever_is_decided_in_between_a_backup_names_nothing_that_it_lacks() {
    for step in 0..20 {
        let data = Data::with(6);
        let mut calls = 0;
        // At one step of it, then at every step: decisions, a collection, a snapshot.
        let summary = data.create_with(Occupied::Refuse, &mut || {
            calls += 1;
            if step == 0 || calls == step {
                data.decide();
                data.blobs
                    .gc(&BTreeMap::new(), Timestamp(0), std::time::Duration::MAX, GcMode::Collect)
                    .unwrap();
                let last = data.journal.borrow().last().seq;
                data.journal.borrow_mut().save_snapshot(last, 1, b"{}").unwrap();
            }
        });
        let summary = summary.unwrap();
        assert_eq!(summary.seq, 6, "the journal was taken first");
        let (folder, restored) = data.restore("new").unwrap();
        assert_eq!(restored, summary);
        assert_complete(&folder, &summary);
    }
}

#[test]
fn a_backup_beside_a_storm_of_decisions_is_consistent() {
    let data = Data::with(1);
    let (folder, file) = (data.folder(), data.file());
    let Data { place: _place, journal, blobs } = data;
    let stop = AtomicBool::new(false);
    let mut journal = journal.into_inner();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let seq = journal.last().seq;
                let digest = blobs.put(format!("storm {seq}").as_bytes()).unwrap().digest;
                fs::write(folder.join(format!("secrets/{seq}")), "x").unwrap();
                let event = format!("{{\"blob\":\"{digest}\",\"secret\":\"{seq}\"}}");
                journal.append(seq, &[new(seq, &event)]).unwrap();
            }
        });
        let _ends_the_storm = OnDrop(|| stop.store(true, Ordering::Relaxed));
        let (mut last, mut grown) = (0, 0);
        for round in 0.. {
            if grown == 5 {
                break;
            }
            let taking = Taking {
                folder: &folder,
                file: &file,
                occupied: Occupied::Replace,
                now: Timestamp(1),
                program: "test",
            };
            let summary = backup::create(&taking, &mut blobs_of, &mut |_| {}).unwrap();
            let target = file.with_extension(round.to_string());
            assert_eq!(restore(&file, &target).unwrap(), summary);
            assert_complete(&target, &summary);
            grown += i32::from(summary.seq > last);
            last = summary.seq;
        }
    });
}

/// Does something at the end, also where an assertion fails before.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

#[test]
fn a_name_that_is_taken_stays_unless_that_is_said() {
    let data = Data::with(2);
    fs::write(data.file(), "something else").unwrap();
    assert!(matches!(data.create(Occupied::Refuse).unwrap_err(), BackupError::Exists { .. }));
    // Also when it is taken in the very last moment.
    fs::remove_file(data.file()).unwrap();
    let late = data.create_with(Occupied::Refuse, &mut || fs::write(data.file(), "something else").unwrap());
    assert!(matches!(late.unwrap_err(), BackupError::Exists { .. }));
    assert_eq!(fs::read(data.file()).unwrap(), b"something else");
    data.create(Occupied::Replace).unwrap();
    assert_eq!(verify(&data.file()).unwrap().seq, 2);
    assert_eq!(data.beside(), ["backup", "data"]);
    fs::create_dir(data.place.path().join("folder")).unwrap();
    let taking = Taking {
        folder: &data.folder(),
        file: &data.place.path().join("folder"),
        occupied: Occupied::Replace,
        now: Timestamp(1),
        program: "test",
    };
    backup::create(&taking, &mut blobs_of, &mut |_| {}).unwrap_err();
}

#[test]
fn two_at_the_same_moment_do_not_mix() {
    let data = Data::with(3);
    let mut second = Vec::new();
    data.create_with(Occupied::Replace, &mut || second.push(data.create(Occupied::Replace))).unwrap();
    assert!(second.iter().all(|result| matches!(result, Err(BackupError::InUse { .. }))));
    let mut inner = Vec::new();
    let folder = data.place.path().join("new");
    backup::restore(&data.file(), &folder, &mut blobs_of, &mut |_| {
        inner.push(restore(&data.file(), &folder));
    })
    .unwrap();
    assert!(!inner.is_empty() && inner.iter().all(|result| matches!(result, Err(BackupError::InUse { .. }))));
    assert_eq!(data.beside(), ["backup", "data", "new"]);
}

#[test]
fn what_a_killed_one_left_is_taken_away_by_the_next() {
    let data = Data::with(3);
    let at = |name: &str| data.place.path().join(name);
    fs::write(at(".backup.partial"), vec![7; 100_000]).unwrap();
    fs::create_dir(at(".backup.partial.journal")).unwrap();
    fs::write(at(".backup.partial.journal/journal.db"), "half").unwrap();
    data.create(Occupied::Refuse).unwrap();
    assert_eq!(verify(&data.file()).unwrap().seq, 3);
    fs::create_dir_all(at(".new.restoring/blobs/sha256")).unwrap();
    fs::write(at(".new.restoring/journal.db"), "half").unwrap();
    fs::write(at(".new.restoring.lock"), "").unwrap();
    let (folder, summary) = data.restore("new").unwrap();
    assert_complete(&folder, &summary);
    assert_eq!(data.beside(), ["backup", "data", "new"]);
}

#[test]
fn what_was_lost_before_is_named_and_everything_else_is_kept() {
    let data = Data::with(4);
    let digest = |n: usize| blobs_of(&data.journal.borrow().reader().read(0, 9).unwrap()[n]).unwrap()[0];
    let path = |digest: Digest| {
        let name = digest.to_string();
        data.folder().join("blobs/sha256").join(&name[..2]).join(&name[2..])
    };
    let (gone, damaged) = (digest(1), digest(2));
    fs::remove_file(path(gone)).unwrap();
    fs::write(path(damaged), "something else").unwrap();
    let summary = data.create(Occupied::Refuse).unwrap();
    assert_eq!(summary.lost, [gone, damaged]);
    assert_eq!(verify(&data.file()).unwrap(), summary);
    let (folder, _) = data.restore("new").unwrap();
    let blobs = Blobs::open(&folder).unwrap();
    assert!(blobs.contains(&digest(0)) && !blobs.contains(&gone) && !blobs.contains(&damaged));
}

#[test]
fn a_journal_that_is_not_as_it_was_written_is_not_backed_up() {
    let data = Data::with(4);
    drop(data.journal.replace(Journal::open(&data.place.path().join("other")).unwrap()));
    // The end was cut off: the head file knows more.
    crate::support::sql(
        &data.folder(),
        "DROP TRIGGER record_never_goes; DELETE FROM record WHERE seq = 4; CREATE TRIGGER record_never_goes BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    );
    assert!(matches!(data.create(Occupied::Refuse).unwrap_err(), BackupError::Journal(_)));
    assert_eq!(data.beside(), ["data", "other"]);
}

#[test]
fn what_a_backup_would_miss_is_not_passed_over() {
    let data = Data::with(1);
    fs::create_dir(data.folder().join("secrets/folder")).unwrap();
    assert!(matches!(data.create(Occupied::Refuse).unwrap_err(), BackupError::Unknown { .. }));
    fs::remove_dir(data.folder().join("secrets/folder")).unwrap();
    fs::write(data.folder().join("secrets/0123.new"), "being written").unwrap();
    assert_eq!(data.create(Occupied::Refuse).unwrap().secrets, 1);
}

#[test]
fn nothing_is_restored_over_another_folder() {
    let data = Data::with(2);
    data.create(Occupied::Refuse).unwrap();
    assert!(matches!(data.restore("data").unwrap_err(), BackupError::NotEmpty { .. }));
    fs::write(data.place.path().join("file"), "").unwrap();
    assert!(matches!(data.restore("file").unwrap_err(), BackupError::NotEmpty { .. }));
    fs::create_dir(data.place.path().join("empty")).unwrap();
    data.restore("empty").unwrap();
    assert!(matches!(data.restore("empty").unwrap_err(), BackupError::NotEmpty { .. }));
    // Something appears there while it is restored.
    let late = data.place.path().join("late");
    let fill = &mut |_: Progress| fs::create_dir_all(late.join("x")).unwrap();
    let error = backup::restore(&data.file(), &late, &mut blobs_of, fill).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { .. }), "{error}");
    assert_eq!(names(&late), ["x"]);
    assert!(restore(&data.file(), Path::new("/")).is_err());
}

/// A hostile backup: entries of any kind, behind a header that claims what it likes.
struct Forged {
    tar: Builder<Vec<u8>>,
}

impl Forged {
    fn new(header: &serde_json::Value) -> Self {
        let mut forged = Self { tar: Builder::new(Vec::new()) };
        forged.add("lockstep-backup.json", header.to_string().as_bytes());
        forged
    }

    fn add(&mut self, path: &str, content: &[u8]) {
        self.add_as(path, EntryType::Regular, content.len() as u64, content);
    }

    /// Adds an entry whose path is not looked at.
    fn add_as(&mut self, path: &str, kind: EntryType, size: u64, content: &[u8]) {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o600);
        header.set_cksum();
        self.tar.append(&header, content).unwrap();
    }

    fn write(self, file: &Path) {
        fs::write(file, zstd::encode_all(self.tar.into_inner().unwrap().as_slice(), 1).unwrap()).unwrap();
    }
}

fn header(files: u64, bytes: u64) -> serde_json::Value {
    serde_json::json!({ "format": 1, "created": 1, "program": "test", "seq": 0, "last_hash": "0".repeat(64), "files": files, "bytes": bytes })
}

#[test]
fn hostile_backups_are_refused_and_nothing_of_them_is_written() {
    let place = tempfile::tempdir().unwrap();
    let (file, outside) = (place.path().join("backup"), place.path().join("outside"));
    let deep = "x".repeat(100);
    let mut cases: Vec<(&str, Forged)> = Vec::new();
    for path in [
        "../outside",
        "/tmp/outside",
        "secrets/../../outside",
        "secrets/..",
        "runtime/x",
        "journal.db-wal",
        &deep,
    ] {
        let mut forged = Forged::new(&header(9, 9_000));
        forged.add(path, b"x");
        cases.push(("is no file of a data folder", forged));
    }
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Directory,
        EntryType::Fifo,
        EntryType::Char,
        EntryType::XHeader,
        EntryType::GNULongName,
        EntryType::GNUSparse,
    ] {
        let mut forged = Forged::new(&header(9, 9_000));
        forged.add_as("secrets/a", kind, 1, b"x");
        cases.push(("is not a file", forged));
    }
    let mut twice = Forged::new(&header(9, 9_000));
    (0..2).for_each(|_| twice.add("secrets/a", b"x"));
    cases.push(("is in it twice", twice));
    let mut more = Forged::new(&header(1, 9_000));
    (0..2).for_each(|n| more.add(&format!("secrets/{n}"), b"x"));
    cases.push(("more than its beginning says", more));
    let mut larger = Forged::new(&header(9, 10));
    larger.add("secrets/a", &[0; 11]);
    cases.push(("more than its beginning says", larger));
    let mut endless = Forged::new(&header(9, 10));
    endless.add_as("secrets/a", EntryType::Regular, u64::MAX >> 1, b"");
    cases.push(("more than its beginning says", endless));
    cases.push(("the list of its files is missing", Forged::new(&header(0, 0))));
    cases.push(("it does not begin with", Forged { tar: Builder::new(Vec::new()) }));
    cases.push(("lockstep-backup.json", Forged::new(&serde_json::json!({ "format": 1 }))));
    let mut large_list = Forged::new(&header(0, 0));
    large_list.add_as("lockstep-backup-contents.json", EntryType::Regular, 1 << 40, b"");
    cases.push(("has 1099511627776 bytes", large_list));
    let mut no_journal = Forged::new(&header(0, 0));
    no_journal.add("lockstep-backup-contents.json", b"{\"files\":{},\"lost\":[]}");
    cases.push(("there is no journal", no_journal));
    for (said, forged) in cases {
        forged.write(&file);
        let folder = place.path().join("new");
        let error = restore(&file, &folder).unwrap_err().to_string();
        assert!(error.contains(said), "{said}: {error}");
        assert!(verify(&file).unwrap_err().to_string().contains(said));
        assert!(!folder.exists() && !outside.exists());
        assert_eq!(names(place.path()), ["backup"]);
    }
    // More than there is room for: refused before the first byte.
    Forged::new(&header(1, 1 << 60)).write(&file);
    assert!(matches!(restore(&file, &place.path().join("new")).unwrap_err(), BackupError::TooLarge { .. }));
    Forged::new(&serde_json::json!({ "format": 3, "new": true })).write(&file);
    assert!(matches!(
        restore(&file, &place.path().join("new")).unwrap_err(),
        BackupError::NewerFormat { found: 3 }
    ));
}

#[test]
fn a_bomb_of_nothing_ends_at_what_the_beginning_claims() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("backup");
    let mut forged = Forged::new(&header(1, 100));
    forged.add_as("secrets/a", EntryType::Regular, 100, b"");
    let mut zstd = zstd::Encoder::new(fs::File::create(&file).unwrap(), 1).unwrap();
    zstd.write_all(&forged.tar.into_inner().unwrap()).unwrap();
    (0..2_000).for_each(|_| zstd.write_all(&[0; 1 << 20]).unwrap());
    zstd.finish().unwrap();
    let started = std::time::Instant::now();
    assert!(matches!(restore(&file, &place.path().join("new")).unwrap_err(), BackupError::Damaged { .. }));
    assert!(started.elapsed() < std::time::Duration::from_secs(30));
}

#[test]
fn no_cut_and_no_flipped_bit_passes() {
    let data = Data::with(2);
    data.create(Occupied::Refuse).unwrap();
    let good = fs::read(data.file()).unwrap();
    let whole = zstd::decode_all(good.as_slice()).unwrap();
    let broken = data.place.path().join("broken");
    let refused = |content: &[u8], what: &str| {
        fs::write(&broken, content).unwrap();
        let error = restore(&broken, &data.place.path().join("new")).expect_err(what);
        assert!(!matches!(error, BackupError::File { .. }), "{what}: {error:?}");
        assert!(!data.place.path().join("new").exists(), "{what}");
    };
    for length in (0..good.len()).step_by(good.len() / 40 + 1).chain([good.len() - 1]) {
        refused(&good[..length], &format!("cut at {length}"));
    }
    for position in (0..good.len()).step_by(good.len() / 80 + 1) {
        let mut flipped = good.clone();
        flipped[position] ^= 0x10;
        // Some bits of a compressed stream mean nothing.
        if zstd::decode_all(flipped.as_slice()).is_ok_and(|content| content == whole) {
            continue;
        }
        refused(&flipped, &format!("flipped at {position}"));
    }
    refused(&[&good[..], b"x"].concat(), "something after the end");
    refused(&[&good[..], &good[..]].concat(), "two of them");
    refused(b"", "nothing");
    refused(b"a text", "a text");
}

#[test]
fn digests_that_do_not_fit_are_found_also_when_the_file_is_well_formed() {
    // Unpacked, changed, and packed again with sums that fit.
    let data = Data::with(2);
    data.create(Occupied::Refuse).unwrap();
    let tar = zstd::decode_all(fs::File::open(data.file()).unwrap()).unwrap();
    let change = |from: &str, to: &str| {
        let text = tar.windows(from.len()).position(|part| part == from.as_bytes()).expect(from);
        let mut changed = tar.clone();
        changed[text..text + to.len()].copy_from_slice(to.as_bytes());
        let path = data.place.path().join("changed");
        fs::write(&path, zstd::encode_all(changed.as_slice(), 1).unwrap()).unwrap();
        restore(&path, &data.place.path().join("new")).unwrap_err().to_string()
    };
    assert!(
        change("hunter2", "hunter3").contains("`secrets/0` has another digest than the list of files says")
    );
    assert!(change("blob 1blob 1", "blob 1blob 2").contains("another digest"));
    assert!(change("SQLite format 3", "SQLite format 4").contains("`journal.db` has another digest"));
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let data = Data::with(40);
    data.create(Occupied::Refuse).unwrap();
    // Bytes that do not compress, so that the backup does not fit.
    let noise: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let digest = data.blobs.put(noise.as_slice()).unwrap().digest;
    let seq = data.journal.borrow().last().seq;
    let event = format!("{{\"blob\":\"{digest}\",\"secret\":\"0\"}}");
    data.journal.borrow_mut().append(seq, &[new(seq, &event)]).unwrap();
    for left in [0, 1, 4, 16, 64] {
        let filler = disk.fill();
        let length = fs::metadata(&filler).unwrap().len().saturating_sub(left * 4096);
        fs::File::options().write(true).open(&filler).unwrap().set_len(length).unwrap();
        let file = disk.path().join("backup");
        let taking = Taking {
            folder: &data.folder(),
            file: &file,
            occupied: Occupied::Refuse,
            now: Timestamp(1),
            program: "test",
        };
        let error = backup::create(&taking, &mut blobs_of, &mut |_| {}).unwrap_err();
        assert!(matches!(error, BackupError::Full { .. }), "{left} pages left: {error:?}");
        assert_eq!(names(disk.path()), ["filler"], "{left} pages left");
        let error = restore(&data.file(), &disk.path().join("new")).unwrap_err();
        assert!(
            matches!(error, BackupError::TooLarge { .. } | BackupError::Full { .. }),
            "{left} pages left: {error:?}"
        );
        assert_eq!(names(disk.path()), ["filler"], "{left} pages left");
    }
}

#[test]
fn the_key_of_the_journal_is_in_a_backup_where_it_lies_in_the_data_folder_and_only_there() {
    let data = Data::with(3);
    let with_key = data.create(Occupied::Refuse).unwrap();
    assert_eq!(with_key.journal_key, KeyOf::Backup);
    let (folder, _) = data.restore("with-key").unwrap();
    assert_eq!(mode(&folder.join("journal.key")), 0o600);
    assert_eq!(Journal::open_read_only(&folder).unwrap().verify().unwrap().keyed_after, Some(0));
    Journal::open(&folder).unwrap();

    let elsewhere = data.place.path().join("key");
    fs::rename(data.folder().join("journal.key"), &elsewhere).unwrap();
    let without = data.create(Occupied::Replace).unwrap();
    assert_eq!((without.journal_key, verify(&data.file()).unwrap()), (KeyOf::Elsewhere, without));
    let (folder, _) = data.restore("without-key").unwrap();
    let refused = Journal::open(&folder).unwrap_err();
    assert!(matches!(refused, JournalError::KeyMissing { .. }), "{refused}");
    Journal::open_with(&folder, &KeyPlace::File(elsewhere)).unwrap();
}

#[test]
fn a_journal_of_an_older_release_is_backed_up_restored_and_then_gets_its_key() {
    let (old, place) = (of_format_1(), tempfile::tempdir().unwrap());
    let (file, folder) = (place.path().join("backup"), place.path().join("data"));
    let taking = Taking {
        folder: old.path(),
        file: &file,
        occupied: Occupied::Refuse,
        now: Timestamp(1_000),
        program: "test",
    };
    let none = &mut |_: &Record| Ok(Vec::new());
    assert_eq!(backup::create(&taking, none, &mut |_| {}).unwrap().journal_key, KeyOf::Nobody);
    let restored = backup::restore(&file, &folder, none, &mut |_| {}).unwrap();
    assert_eq!((restored.seq, restored.journal_key), (3, KeyOf::Nobody));
    drop(Journal::open(&folder).unwrap());
    assert_eq!(Journal::open_read_only(&folder).unwrap().verify().unwrap().keyed_after, Some(3));
}

#[test]
fn a_journal_that_does_not_fit_its_key_is_neither_backed_up_nor_restored() {
    let data = Data::with(2);
    let other = Data::with(2);
    fs::copy(other.folder().join("journal.key"), data.folder().join("journal.key")).unwrap();
    assert!(matches!(data.create(Occupied::Refuse), Err(BackupError::Journal(JournalError::Tampered(_)))));
    assert!(!data.file().exists());
}
