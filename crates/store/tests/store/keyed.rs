//! What somebody writes who has the database, and even the head file, and not the key: it is found. And the key itself: lost,
//! damaged, of another journal, made by a start that was interrupted anywhere.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;

use lockstep_domain::Digest;
use lockstep_store::journal::{
    Head, Journal, JournalError, KeyPlace, NewRecord, Record, Tampered, Verified, Wrong,
};
use proptest::prelude::*;
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::disk_full::SmallDisk;
use crate::support::{accept, numbered, of_format_1, tamper, write_record};

/// Records that are appended one by one, each with a code.
const RECORDS: u64 = 8;

fn one_by_one(folder: &Path, records: &[NewRecord]) -> Vec<Record> {
    let mut journal = Journal::open(folder).unwrap();
    records
        .iter()
        .map(|record| journal.append(journal.last().seq, std::slice::from_ref(record)).unwrap().remove(0))
        .collect()
}

/// A journal of numbered records, and what somebody makes of the same ones without its key, from record `seq` on.
struct Forged {
    folder: TempDir,
    /// Another journal: the same records, then others, with a chain that is whole and codes of another key.
    other: TempDir,
    records: Vec<Record>,
}

impl Forged {
    fn from(seq: u64, last: u64) -> Self {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        one_by_one(folder.path(), &numbered(RECORDS));
        let mut forged = numbered(last);
        for record in forged.iter_mut().skip(seq as usize - 1) {
            record.event = r#"{"forged":true}"#.to_owned();
        }
        let records = one_by_one(other.path(), &forged).split_off(seq as usize - 1);
        Self { folder, other, records }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts the forged records in, with the codes that `code` gives, and a head that fits, as far as that can be written.
    fn put(&self, code: impl Fn(u64, Option<Vec<u8>>) -> Option<Vec<u8>>) {
        let theirs = Connection::open(self.other.path().join("journal.db")).unwrap();
        tamper(self.path(), |db| {
            for record in &self.records {
                let select = "SELECT code FROM record WHERE seq = ?1";
                let other: Option<Vec<u8>> =
                    theirs.query_row(select, [record.seq.cast_signed()], |row| row.get(0)).unwrap();
                write_record(db, record, code(record.seq, other).as_deref());
            }
        });
    }

    fn head(&self) -> Head {
        self.records.last().unwrap().head()
    }
}

/// A head file as everybody can write it: with a check, and with a code that the writer has from somewhere.
fn write_head(folder: &Path, head: Head, code: Option<Digest>) {
    let body = match code {
        None => format!("lockstep-journal-head 1 {} {}", head.seq, head.hash),
        Some(code) => format!("lockstep-journal-head 2 {} {} {code}", head.seq, head.hash),
    };
    let line = with_check(&body);
    fs::write(folder.join("journal.head"), format!("{line:<511}\n").repeat(2)).unwrap();
}

fn with_check(body: &str) -> String {
    let check: String = Sha256::digest(body).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{body} {check}")
}

fn code_of(folder: &Path, seq: u64) -> Digest {
    let db = Connection::open(folder.join("journal.db")).unwrap();
    let select = "SELECT code FROM record WHERE seq = ?1";
    Digest::from_bytes(db.query_row(select, [seq.cast_signed()], |row| row.get(0)).unwrap())
}

fn verify(folder: &Path) -> Result<Verified, JournalError> {
    Journal::open_read_only(folder).unwrap().verify()
}

/// The record that a check of all names, after making sure that no server opens the folder either.
#[track_caller]
fn named(folder: &Path) -> (u64, Wrong) {
    let refused = Journal::open(folder).unwrap_err();
    assert!(matches!(refused, JournalError::Tampered(_) | JournalError::HeadForged { .. }), "{refused}");
    match verify(folder) {
        Err(JournalError::Tampered(Tampered { seq, wrong, .. })) => (seq, wrong),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn records_forged_without_the_key_are_named(
        seq in 1..=RECORDS + 1, more in 0..3_u64, codes in 0..4_u8, heads in 0..4_u8
    ) {
        let last = RECORDS.max(seq) + more;
        let forged = Forged::from(seq, last);
        // Of the journal itself: what is put in may have taken it away.
        let old = code_of(forged.path(), 1);
        forged.put(|record, other| match codes {
            0 => None,
            1 => other,
            2 => Some(old.as_bytes().to_vec()),
            _ => (record < last).then(|| other.unwrap()),
        });
        let head = forged.head();
        match heads {
            0 => {} // Lagging, or noting a record that is another one now.
            1 => write_head(forged.path(), head, None),
            2 => write_head(forged.path(), head, Some(old)),
            _ => { fs::copy(forged.other.path().join("journal.head"), forged.path().join("journal.head")).unwrap(); }
        }
        let wrong = match (codes, last > seq) {
            (0, _) | (3, false) => Wrong::Unkeyed,
            _ => Wrong::Forged,
        };
        prop_assert_eq!(named(forged.path()), (seq, wrong));
    }
}

#[test]
fn a_forged_record_is_found_where_its_chain_alone_verifies() {
    let forged = Forged::from(RECORDS + 1, RECORDS + 1);
    forged.put(|_, _| None);
    // This is all that a release without keys looked at.
    let chain = Journal::open_read_only(forged.path()).unwrap().verify_chain().unwrap();
    assert_eq!((chain.records, chain.keyed_after), (RECORDS + 1, None));
    assert_eq!(named(forged.path()), (RECORDS + 1, Wrong::Unkeyed));
    let said = verify(forged.path()).unwrap_err().to_string();
    let expected =
        "record 9 of the journal has no code: expected a code of the journal's key, found none in record 9";
    assert_eq!(said, expected);
}

#[test]
fn a_code_that_was_taken_away_or_exchanged_is_named() {
    let folder = tempfile::tempdir().unwrap();
    one_by_one(folder.path(), &numbered(RECORDS));
    let whole = fs::read(folder.path().join("journal.db")).unwrap();
    let changed = |statement: &str| {
        fs::write(folder.path().join("journal.db"), &whole).unwrap();
        tamper(folder.path(), |db| {
            db.execute(statement, []).unwrap();
        });
        folder.path()
    };
    let last = "UPDATE record SET code = NULL WHERE seq = 8";
    assert_eq!(named(changed(last)), (8, Wrong::Unkeyed));
    assert_eq!(named(changed("UPDATE record SET code = NULL")), (1, Wrong::Unkeyed));
    let moved = "UPDATE record SET code = (SELECT code FROM record WHERE seq = 7) WHERE seq = 8";
    assert_eq!(named(changed(moved)), (8, Wrong::Forged));
    for odd in ["X''", "X'00'", "zeroblob(33)"] {
        assert_eq!(
            named(changed(&format!("UPDATE record SET code = {odd} WHERE seq = 8"))),
            (8, Wrong::Forged)
        );
    }
    // In the middle a later code covers the record: nothing can be changed there, so nothing is wrong.
    assert_eq!(verify(changed("UPDATE record SET code = NULL WHERE seq = 5")).unwrap().records, RECORDS);
    changed("UPDATE record SET code = X'00' WHERE seq = 5");
    assert!(matches!(
        verify(folder.path()),
        Err(JournalError::Tampered(Tampered { seq: 5, wrong: Wrong::Forged, .. }))
    ));
}

#[test]
fn an_end_that_was_cut_off_is_found_by_who_writes_the_head_without_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let records = one_by_one(folder.path(), &numbered(RECORDS));
    for kept in 0..RECORDS {
        let head = if kept == 0 { Head::EMPTY } else { records[kept as usize - 1].head() };
        tamper(folder.path(), |db| {
            db.execute("DELETE FROM record WHERE seq > ?1", [kept.cast_signed()]).unwrap();
        });
        let of_a_record = (kept > 0).then(|| code_of(folder.path(), kept));
        for code in [None, of_a_record, Some(Digest::from_bytes([7; 32]))] {
            write_head(folder.path(), head, code);
            let refused = Journal::open(folder.path()).unwrap_err();
            assert!(matches!(refused, JournalError::HeadForged { .. }), "{kept}: {refused}");
            assert!(matches!(verify(folder.path()), Err(JournalError::HeadForged { .. })), "{kept}");
        }
        fs::remove_file(folder.path().join("journal.head")).unwrap();
        Journal::open(folder.path()).unwrap_err();
        // All again, for the next cut.
        fs::remove_file(folder.path().join("journal.db")).unwrap();
        fs::remove_file(folder.path().join("journal.key")).unwrap();
        one_by_one(folder.path(), &numbered(RECORDS));
    }
}

#[test]
fn an_older_copy_of_database_and_head_together_is_taken_and_after_an_acceptance_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    one_by_one(folder.path(), &numbered(3));
    let older =
        ["journal.db", "journal.head"].map(|name| (name, fs::read(folder.path().join(name)).unwrap()));
    let put_back = || older.iter().for_each(|(name, old)| fs::write(folder.path().join(name), old).unwrap());
    one_by_one(folder.path(), &numbered(2));
    // The limit that docs/design/journal.md names: both are what the server wrote, only not the newest.
    put_back();
    assert_eq!(verify(folder.path()).unwrap().records, 3);
    accept(folder.path()).unwrap();
    put_back();
    let refused = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(refused, JournalError::HeadForged { .. }), "{refused}");
    assert!(verify(folder.path()).is_err());
}

#[test]
fn a_journal_that_lost_its_codes_and_its_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let records = one_by_one(folder.path(), &numbered(3));
    for forged in [false, true] {
        tamper(folder.path(), |db| {
            if forged {
                db.execute("DELETE FROM record WHERE seq = 3", []).unwrap();
            } else {
                db.execute_batch("ALTER TABLE record DROP COLUMN code; PRAGMA user_version = 1").unwrap();
            }
        });
        write_head(folder.path(), records[if forged { 1 } else { 2 }].head(), None);
        for refused in [Journal::open(folder.path()).unwrap_err(), verify(folder.path()).unwrap_err()] {
            assert!(matches!(refused, JournalError::NotKeyed { found: 1, .. }), "{refused}");
            assert!(refused.hint().contains("journal accept"), "{}", refused.hint());
        }
    }
    assert_eq!(
        accept(folder.path()).unwrap(),
        Verified { keyed_after: Some(2), ..verify(folder.path()).unwrap() }
    );
}

#[test]
fn a_lost_journal_is_not_begun_anew_beside_its_key() {
    let folder = tempfile::tempdir().unwrap();
    one_by_one(folder.path(), &numbered(1));
    for name in ["journal.db", "journal.head"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let refused = Journal::open(folder.path()).unwrap_err();
    assert!(refused.to_string().contains("journal.db` holds nothing, while the key"), "{refused}");
}

#[test]
fn a_missing_key_is_named_and_an_acceptance_makes_another_one() {
    let folder = tempfile::tempdir().unwrap();
    one_by_one(folder.path(), &numbered(3));
    let key = folder.path().join("journal.key");
    let old = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    for _ in 0..2 {
        for missing in [Journal::open(folder.path()).unwrap_err(), verify(folder.path()).unwrap_err()] {
            assert!(matches!(&missing, JournalError::KeyMissing { path } if *path == key), "{missing}");
            assert!(missing.hint().contains("journal accept") && missing.hint().contains("--journal-key"));
        }
        assert!(!key.exists());
    }
    let accepted = accept(folder.path()).unwrap();
    assert_eq!((accepted.records, accepted.keyed_after), (4, Some(3)));
    assert_eq!(verify(folder.path()).unwrap(), accepted);
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.reader().read(3, 1).unwrap()[0].event, r#"{"accepted":true}"#);
    drop(journal);
    // The one that was lost turns up: it is not the key any more.
    fs::write(&key, old).unwrap();
    assert_eq!(named(folder.path()), (4, Wrong::Forged));
}

#[test]
fn what_is_no_key_is_refused_at_once_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    one_by_one(folder.path(), &numbered(2));
    let key = folder.path().join("journal.key");
    let good = fs::read(&key).unwrap();
    let real = folder.path().join("elsewhere");
    fs::write(&real, &good).unwrap();
    let states: [(&str, &dyn Fn()); 7] = [
        ("empty", &|| fs::write(&key, "").unwrap()),
        ("half", &|| fs::write(&key, &good[..good.len() / 2]).unwrap()),
        ("garbage", &|| fs::write(&key, [0xff; 4_000]).unwrap()),
        ("of a newer program", &|| fs::write(&key, with_check("lockstep-journal-key 2 x")).unwrap()),
        ("a link", &|| symlink(&real, &key).unwrap()),
        ("a folder", &|| fs::create_dir(&key).unwrap()),
        ("a pipe", &|| assert!(Command::new("mkfifo").arg(&key).status().unwrap().success())),
    ];
    for (state, make) in states {
        let _ = fs::remove_file(&key);
        make();
        for refused in [Journal::open(folder.path()).unwrap_err(), verify(folder.path()).unwrap_err()] {
            assert!(matches!(refused, JournalError::KeyUnusable { .. }), "{state}: {refused}");
        }
        let kind = fs::symlink_metadata(&key).unwrap().file_type();
        assert!(!kind.is_file() || fs::read(&key).unwrap() != good, "{state}");
        let _ = fs::remove_dir(&key);
    }
    fs::remove_file(&key).unwrap();
    fs::write(&key, &good).unwrap();
    Journal::open(folder.path()).unwrap();
}

#[test]
fn a_key_that_others_could_read_is_closed_to_them() {
    let folder = tempfile::tempdir().unwrap();
    one_by_one(folder.path(), &numbered(1));
    let key = folder.path().join("journal.key");
    let mode = || fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    Journal::open(folder.path()).unwrap();
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_key_of_another_journal_is_none_of_this_one() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    one_by_one(folder.path(), &numbered(3));
    one_by_one(other.path(), &numbered(3));
    fs::copy(other.path().join("journal.key"), folder.path().join("journal.key")).unwrap();
    let refused = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(refused, JournalError::HeadForged { .. }), "{refused}");
    assert!(matches!(
        verify(folder.path()),
        Err(JournalError::Tampered(Tampered { seq: 1, wrong: Wrong::Forged, .. }))
    ));
    accept(other.path()).unwrap();
    fs::copy(other.path().join("journal.key"), folder.path().join("journal.key")).unwrap();
    assert!(Journal::open(folder.path()).is_err());
}

#[test]
fn a_key_may_lie_elsewhere_and_behind_a_link() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    one_by_one(folder.path(), &numbered(2));
    let (real, link) = (elsewhere.path().join("real"), elsewhere.path().join("key"));
    fs::rename(folder.path().join("journal.key"), &real).unwrap();
    symlink(&real, &link).unwrap();
    let place = KeyPlace::File(link);
    Journal::open_with(folder.path(), &place).unwrap().append(2, &numbered(1)).unwrap();
    assert!(!folder.path().join("journal.key").exists());
    let reader = Journal::open_read_only_with(folder.path(), &place).unwrap();
    assert_eq!(reader.verify().unwrap().keyed_after, Some(0));
    // Who names another place by mistake gets no new key.
    assert!(matches!(Journal::open(folder.path()), Err(JournalError::KeyMissing { .. })));
    let nowhere = KeyPlace::File(elsewhere.path().join("nowhere"));
    assert!(matches!(Journal::open_with(folder.path(), &nowhere), Err(JournalError::KeyMissing { .. })));
    // A new journal gets its key where it was named.
    let (fresh, place) = (tempfile::tempdir().unwrap(), KeyPlace::File(elsewhere.path().join("fresh")));
    Journal::open_with(fresh.path(), &place).unwrap().append(0, &numbered(1)).unwrap();
    assert!(elsewhere.path().join("fresh").exists() && !fresh.path().join("journal.key").exists());
}

/// Says in a key file that nothing was appended with it, as a start does that is interrupted.
fn unused(key: &Path) {
    let text = fs::read_to_string(key).unwrap();
    let body = text.trim().rsplit_once(' ').unwrap().0.replace(" used ", " unused ");
    fs::write(key, with_check(&body)).unwrap();
}

#[test]
fn a_first_start_on_an_older_journal_may_be_interrupted_after_every_write() {
    let name = |folder: &TempDir, name: &str| folder.path().join(name);
    let finished = of_format_1();
    drop(Journal::open(finished.path()).unwrap());
    unused(&name(&finished, "journal.key"));
    let states: [&[&str]; 4] = [
        &[],
        &["journal.key"],
        &["journal.key", "journal.head"],
        &["journal.key", "journal.head", "journal.db"],
    ];
    for written in states {
        let folder = of_format_1();
        for file in written {
            fs::copy(name(&finished, file), name(&folder, file)).unwrap();
        }
        let before = verify(folder.path()).unwrap();
        assert_eq!(
            (before.records, before.keyed_after),
            (3, (written.len() == 3).then_some(3)),
            "{written:?}"
        );
        Journal::open(folder.path()).unwrap().append(3, &numbered(1)).unwrap();
        let after = verify(folder.path()).unwrap();
        assert_eq!((after.records, after.keyed_after), (4, Some(3)), "{written:?}");
        assert!(fs::read_to_string(name(&folder, "journal.key")).unwrap().contains(" used "), "{written:?}");
    }
}

#[test]
fn an_older_release_may_go_on_after_a_first_start_that_was_interrupted() {
    let folder = of_format_1();
    let finished = of_format_1();
    drop(Journal::open(finished.path()).unwrap());
    unused(&finished.path().join("journal.key"));
    fs::copy(finished.path().join("journal.key"), folder.path().join("journal.key")).unwrap();
    // It appends a fourth record and notes it, as it always did.
    let fourth = one_by_one(finished.path(), &numbered(1)).remove(0);
    tamper(folder.path(), |db| {
        let Record { seq, at, actor, event, previous, hash } = &fourth;
        let row = params![
            seq.cast_signed(),
            at.0.cast_signed(),
            actor.as_str(),
            event,
            previous.as_bytes(),
            hash.as_bytes()
        ];
        db.execute("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row).unwrap();
    });
    write_head(folder.path(), fourth.head(), None);
    drop(Journal::open(folder.path()).unwrap());
    assert_eq!(verify(folder.path()).unwrap().keyed_after, Some(4));
}

#[test]
fn a_first_start_of_a_new_journal_may_be_interrupted_after_every_write() {
    let finished = tempfile::tempdir().unwrap();
    drop(Journal::open(finished.path()).unwrap());
    unused(&finished.path().join("journal.key"));
    for written in [&["journal.key"][..], &["journal.key", "journal.head"], &["journal.head"]] {
        let folder = tempfile::tempdir().unwrap();
        for file in written {
            fs::copy(finished.path().join(file), folder.path().join(file)).unwrap();
        }
        Journal::open(folder.path()).unwrap().append(0, &numbered(1)).unwrap();
        assert_eq!(verify(folder.path()).unwrap().keyed_after, Some(0), "{written:?}");
    }
}

#[test]
fn an_acceptance_that_was_interrupted_starts_no_server_before_it_is_done_again() {
    let files = ["journal.db", "journal.key", "journal.head"];
    let read = |folder: &Path| files.map(|file| fs::read(folder.join(file)).unwrap());
    let folder = tempfile::tempdir().unwrap();
    one_by_one(folder.path(), &numbered(2));
    let before = read(folder.path());
    accept(folder.path()).unwrap();
    let after = read(folder.path());
    for done in 1..files.len() {
        let states = after[..done].iter().chain(&before[done..]);
        files
            .iter()
            .zip(states)
            .for_each(|(file, state)| fs::write(folder.path().join(file), state).unwrap());
        assert!(Journal::open(folder.path()).is_err(), "{done} of {files:?}");
        let accepted = accept(folder.path()).unwrap();
        assert_eq!((accepted.records, accepted.keyed_after), (4, Some(3)));
        assert_eq!(Journal::open(folder.path()).unwrap().last().seq, 4);
    }
}

#[test]
fn of_two_first_starts_one_makes_the_key() {
    for _ in 0..20 {
        let folder = of_format_1();
        let (start, end) = (Barrier::new(2), Barrier::new(2));
        let begin = || {
            start.wait();
            let journal = Journal::open(folder.path());
            end.wait();
            journal.map(drop)
        };
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(begin);
            (begin(), one.join().unwrap())
        });
        let refused = if one.is_ok() { two } else { one };
        assert!(matches!(refused, Err(JournalError::InUse { .. })), "{refused:?}");
        Journal::open(folder.path()).unwrap();
        assert_eq!(verify(folder.path()).unwrap().keyed_after, Some(3));
    }
}

#[test]
fn a_full_disk_keeps_a_key_from_being_made_and_nothing_else_happens() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let (folder, key) = (of_format_1(), disk.path().join("journal.key"));
    let filler = disk.fill();
    let full = Journal::open_with(folder.path(), &KeyPlace::File(key.clone())).unwrap_err();
    assert!(matches!(full, JournalError::Full { .. }), "{full}");
    assert!(!key.exists() && !disk.path().join("journal.key.new").exists());
    assert_eq!(verify(folder.path()).unwrap().keyed_after, None);
    fs::remove_file(filler).unwrap();
    Journal::open_with(folder.path(), &KeyPlace::File(key.clone())).unwrap().append(3, &numbered(1)).unwrap();
    let reader = Journal::open_read_only_with(folder.path(), &KeyPlace::File(key)).unwrap();
    assert_eq!(reader.verify().unwrap().keyed_after, Some(3));
}

#[test]
fn a_snapshot_that_was_not_kept_by_the_server_is_passed_over() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let records = one_by_one(folder.path(), &numbered(4));
    one_by_one(other.path(), &numbered(4));
    Journal::open(folder.path()).unwrap().save_snapshot(2, 1, b"true").unwrap();
    Journal::open(other.path()).unwrap().save_snapshot(4, 1, b"forged").unwrap();
    let (hash, body) = (records[3].hash, b"forged");
    let compressed = zstd::bulk::compress(body, 3).unwrap();
    let digest = Sha256::new_with_prefix(b"lockstep-snapshot").chain_update(4_u64.to_be_bytes());
    let digest = digest.chain_update(hash.as_bytes()).chain_update(1_u32.to_be_bytes()).chain_update(body);
    let theirs = Connection::open(other.path().join("journal.db")).unwrap();
    let of_another_key: Vec<u8> =
        theirs.query_row("SELECT digest FROM snapshot", [], |row| row.get(0)).unwrap();
    let of_a_record = code_of(folder.path(), 4).as_bytes().to_vec();
    for code in [digest.finalize().to_vec(), of_another_key, of_a_record] {
        let db = Connection::open(folder.path().join("journal.db")).unwrap();
        let row = params![hash.as_bytes(), body.len() as i64, compressed, code];
        db.execute("INSERT OR REPLACE INTO snapshot VALUES (4, ?1, 1, ?2, ?3, ?4)", row).unwrap();
        drop(db);
        let journal = Journal::open(folder.path()).unwrap();
        let snapshot = journal.reader().latest_snapshot(1).unwrap().unwrap();
        assert_eq!((snapshot.seq, snapshot.body.as_slice()), (2, b"true".as_slice()));
    }
}

#[test]
fn a_record_that_somebody_writes_beside_a_server_is_neither_folded_nor_followed() {
    let forged = Forged::from(RECORDS + 1, RECORDS + 1);
    let mut journal = Journal::open(forged.path()).unwrap();
    forged.put(|_, other| other);
    let mut replayed = Vec::new();
    let replay = journal.replay(2, |record| {
        replayed.push(record.seq);
        std::ops::ControlFlow::Continue(())
    });
    replay.unwrap();
    assert_eq!(replayed, (3..=RECORDS).collect::<Vec<_>>());
    journal.append(RECORDS, &numbered(1)).unwrap_err();
    drop(journal);
    assert_eq!(named(forged.path()), (RECORDS + 1, Wrong::Forged));
}
