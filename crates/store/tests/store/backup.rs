//! Backups: what goes in comes out, beside a server that goes on writing; whatever is not a whole backup is refused, and
//! nothing of it is left.

mod hostile;
mod place;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use lockstep_domain::{Digest, Timestamp};
use lockstep_files::whole::Occupied;
use lockstep_store::backup::{self, BackupError, KeyOf, Progress, Taking};
use lockstep_store::blobs::{Blobs, GcMode};
use lockstep_store::journal::{Journal, JournalError, KeyPlace, Record};

use crate::disk_full::SmallDisk;
use crate::support::{new, of_format_1};
use place::{Data, assert_complete, blobs_of, names, restore, verify};

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
