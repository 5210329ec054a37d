//! The journal on real files: appending, reading, conflicts, snapshots, formats, exports and the lock.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Barrier, Mutex};

use lockstep_domain::Timestamp;
use lockstep_store::journal::{
    AppendError, ExportProblem, GENESIS, Head, Journal, JournalError, NewRecord, Record, Tampered, Verified,
    Wrong, verify_export,
};
use proptest::prelude::*;
use rusqlite::Connection;

use crate::support::{folder_with, new, numbered, sql};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_was_appended_is_read_back_chained_and_verified(
        batches in prop::collection::vec(
            prop::collection::vec((any::<u64>(), "[^\\p{Cc}]{1,20}", "\\PC{0,60}"), 0..6), 1..8)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut written: Vec<Record> = Vec::new();
        for batch in &batches {
            // Opened anew each time: nothing may live in memory alone.
            let mut journal = Journal::open(folder.path()).unwrap();
            let batch: Vec<_> = batch.iter().filter(|(_, actor, _)| !actor.trim().is_empty()).map(|(at, actor, text)| {
                let event = serde_json::to_string(&(text, 1)).unwrap();
                NewRecord { at: Timestamp(*at), actor: actor.parse().unwrap(), event }
            }).collect();
            let records = journal.append(written.len() as u64, &batch).unwrap();
            for (record, new) in records.iter().zip(&batch) {
                prop_assert_eq!((&record.at, &record.actor, &record.event), (&new.at, &new.actor, &new.event));
            }
            written.extend(records);
        }
        for (index, record) in written.iter().enumerate() {
            prop_assert_eq!(record.seq, index as u64 + 1);
            prop_assert_eq!(record.previous, if index == 0 { GENESIS } else { written[index - 1].hash });
        }
        let reader = Journal::open_read_only(folder.path()).unwrap();
        prop_assert_eq!(&reader.read(0, usize::MAX).unwrap(), &written);
        let middle = written.len() / 2;
        prop_assert_eq!(&reader.read(middle as u64, 2).unwrap(), &written[middle..written.len().min(middle + 2)]);
        let verified = reader.verify().unwrap();
        prop_assert_eq!(verified.records, written.len() as u64);
        prop_assert_eq!(verified.last_hash, written.last().map_or(GENESIS, |record| record.hash));
        let mut export = Vec::new();
        reader.export(&mut export).unwrap();
        prop_assert_eq!(verified.keyed_after, Some(0));
        let exported = verify_export(export.as_slice()).unwrap();
        prop_assert_eq!(exported, Verified { keyed_after: None, ..verified });
    }
}

#[test]
fn of_two_racing_threads_one_appends_and_the_other_learns_the_number() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Mutex::new(Journal::open(folder.path()).unwrap());
    let start = Barrier::new(2);
    for round in 0..50 {
        let attempt = || {
            start.wait();
            journal.lock().unwrap().append(round, &[new(round, "{}")])
        };
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(attempt);
            let two = attempt();
            (one.join().unwrap(), two)
        });
        let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
        assert_eq!(won.unwrap()[0].seq, round + 1);
        let expected = (round, round + 1);
        assert!(
            matches!(lost, Err(AppendError::Conflict { expected: e, actual }) if (e, actual) == expected)
        );
    }
    assert_eq!(journal.lock().unwrap().reader().verify().unwrap().records, 50);
}

#[test]
fn append_from_the_future_is_a_conflict() {
    let folder = folder_with(3);
    let mut journal = Journal::open(folder.path()).unwrap();
    let conflict = journal.append(9, &numbered(1)).unwrap_err();
    assert_eq!(conflict.to_string(), "the journal has 3 records, not 9: others appended first");
}

#[test]
fn one_bad_event_keeps_the_whole_batch_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    let error = journal.append(0, &[new(1, "{}"), new(2, "{\"a\":")]).unwrap_err();
    assert!(matches!(error, AppendError::Event { index: 1, .. }), "{error}");
    assert_eq!(journal.reader().read(0, 10).unwrap(), []);
    assert_eq!(journal.append(0, &[]).unwrap(), []);
    journal.append(0, &[new(1, "{}")]).unwrap();
}

#[test]
fn clock_going_backwards_keeps_the_order_of_appending() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.append(0, &[new(2_000, "2"), new(1_000, "1"), new(u64::MAX, "3"), new(0, "0")]).unwrap();
    let records = journal.reader().read(0, 10).unwrap();
    assert_eq!(records.iter().map(|record| record.at.0).collect::<Vec<_>>(), [2_000, 1_000, u64::MAX, 0]);
    assert_eq!(journal.reader().verify().unwrap().records, 4);
}

#[test]
fn second_server_is_refused_while_readers_are_not() {
    let folder = folder_with(2);
    let mut journal = Journal::open(folder.path()).unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(
        matches!(&error, JournalError::InUse { holder, .. } if *holder == std::process::id().to_string())
    );
    assert!(
        error.hint().starts_with("`lockstep status` asks the server that runs on it"),
        "{}",
        error.hint()
    );
    let reader = Journal::open_read_only(folder.path()).unwrap();
    journal.append(2, &numbered(1)).unwrap();
    assert_eq!(reader.verify().unwrap().records, 3);
    drop(journal);
    Journal::open(folder.path()).unwrap();
}

#[test]
fn files_are_for_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("made/by/lockstep");
    let _journal = Journal::open(&data).unwrap();
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
    }
    assert!(data.join("journal.db-wal").exists());
}

#[test]
fn other_programs_cannot_change_or_remove_records() {
    let folder = folder_with(3);
    let db = Connection::open(folder.path().join("journal.db")).unwrap();
    for statement in [
        "UPDATE record SET event = '{}' WHERE seq = 2",
        "DELETE FROM record WHERE seq = 3",
        "INSERT OR REPLACE INTO record SELECT seq, at, actor, '{}', previous, hash, code FROM record WHERE seq = 2",
        "INSERT INTO record SELECT 7, at, actor, event, previous, hash, code FROM record WHERE seq = 2",
    ] {
        assert!(db.execute_batch(statement).is_err(), "{statement}");
    }
    assert_eq!(Journal::open_read_only(folder.path()).unwrap().verify().unwrap().records, 3);
}

#[test]
fn database_without_its_triggers_is_refused() {
    for (statements, object) in [
        ("DROP TRIGGER record_never_changes", "record_never_changes"),
        ("CREATE VIEW shadow AS SELECT * FROM record", "shadow"),
        ("ALTER TABLE record ADD COLUMN more TEXT", "record"),
    ] {
        let folder = folder_with(1);
        sql(folder.path(), statements);
        for error in
            [Journal::open(folder.path()).unwrap_err(), Journal::open_read_only(folder.path()).unwrap_err()]
        {
            assert!(
                matches!(&error, JournalError::Schema { object: found, .. } if found == object),
                "{error}"
            );
        }
    }
}

#[test]
fn newer_format_is_refused_and_not_touched() {
    let folder = folder_with(1);
    sql(folder.path(), "PRAGMA user_version = 3");
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(
        error.to_string().ends_with("has journal format 3; this program knows formats up to 2"),
        "{error}"
    );
    assert!(matches!(
        Journal::open_read_only(folder.path()),
        Err(JournalError::NewerFormat { found: 3, .. })
    ));
    sql(folder.path(), "PRAGMA user_version = 2");
    assert_eq!(Journal::open_read_only(folder.path()).unwrap().verify().unwrap().records, 1);
}

#[test]
fn file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("journal.db"), "not a database".repeat(100)).unwrap();
    assert!(matches!(Journal::open(folder.path()), Err(JournalError::Database { .. })));
    fs::remove_file(folder.path().join("journal.db")).unwrap();
    assert!(matches!(Journal::open_read_only(folder.path()), Err(JournalError::Missing { .. })));
}

#[test]
fn journal_of_format_1_still_loads_and_continues() {
    let folder = tempfile::tempdir().unwrap();
    sql(folder.path(), include_str!("data/journal-format-1.sql"));
    fs::write(folder.path().join("journal.head"), include_str!("data/journal-format-1.head")).unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    let mut export = Vec::new();
    journal.reader().export(&mut export).unwrap();
    assert_eq!(String::from_utf8(export).unwrap(), include_str!("data/journal-format-1.jsonl"));
    assert_eq!(journal.reader().latest_snapshot(1).unwrap(), None, "its snapshot has no code");
    journal.append(3, &numbered(1)).unwrap();
    let Verified { records, keyed_after, .. } = journal.reader().verify().unwrap();
    assert_eq!((records, keyed_after), (4, Some(3)));
}

#[test]
fn snapshot_shortens_the_start_and_two_are_kept() {
    let folder = folder_with(10);
    let mut journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.reader().latest_snapshot(1).unwrap(), None);
    for seq in [4, 6, 8] {
        journal.save_snapshot(seq, 1, format!("state {seq}").repeat(1000).as_bytes()).unwrap();
    }
    drop(journal);
    let journal = Journal::open(folder.path()).unwrap();
    let snapshot = journal.reader().latest_snapshot(1).unwrap().unwrap();
    assert_eq!((snapshot.seq, snapshot.body), (8, "state 8".repeat(1000).into_bytes()));
    let rest = journal.reader().read(8, usize::MAX).unwrap();
    assert_eq!(rest.iter().map(|record| record.seq).collect::<Vec<_>>(), [9, 10]);
    assert_eq!(journal.reader().latest_snapshot(2).unwrap(), None, "another format is passed over");
    drop(journal);
    sql(folder.path(), "UPDATE snapshot SET body = zeroblob(20) WHERE seq = 8");
    let reader = Journal::open_read_only(folder.path()).unwrap();
    assert_eq!(reader.latest_snapshot(1).unwrap().unwrap().seq, 6, "a damaged one is passed over");
    sql(folder.path(), "UPDATE snapshot SET hash = zeroblob(32) WHERE seq = 6");
    assert_eq!(reader.latest_snapshot(1).unwrap(), None, "4 was removed");
}

#[test]
fn snapshot_of_a_record_that_is_not_there_is_refused() {
    let folder = folder_with(1);
    assert!(Journal::open(folder.path()).unwrap().save_snapshot(2, 1, b"").is_err());
}

#[test]
fn export_with_a_changed_line_names_record_and_line() {
    let folder = folder_with(5);
    let mut export = Vec::new();
    Journal::open_read_only(folder.path()).unwrap().export(&mut export).unwrap();
    let text = String::from_utf8(export).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let first_wrong = |lines: &[&str]| match verify_export(lines.join("\n").as_bytes()).unwrap_err() {
        ExportProblem::Tampered { line, source: Tampered { seq, wrong, .. } } => (line, seq, wrong),
        other => panic!("{other}"),
    };
    let altered = lines[2].replace("\"n\":3", "\"n\":4");
    assert_eq!(first_wrong(&[lines[0], lines[1], &altered, lines[3]]), (3, 3, Wrong::Altered));
    assert_eq!(first_wrong(&[lines[0], lines[2]]), (2, 2, Wrong::Removed));
    assert_eq!(first_wrong(&[lines[0], lines[1], lines[0]]), (3, 3, Wrong::Reordered));
    let reformatted = lines[1].replace("{\"n\":2}", "{ \"n\": 2 }");
    assert_eq!(first_wrong(&[lines[0], &reformatted]), (2, 2, Wrong::Altered));
    for bad in ["{}", "x", "{\"seq\":-1}", "[]", ""] {
        let problem = verify_export(format!("{}\n{bad}\n", lines[0]).as_bytes()).unwrap_err();
        assert!(matches!(problem, ExportProblem::Line { line: 2, .. }), "{bad}: {problem}");
    }
}

#[test]
fn endless_line_is_refused_within_bounds() {
    let problem = verify_export(std::io::BufReader::new(std::io::repeat(b'x'))).unwrap_err();
    assert!(problem.to_string().contains("line 1 is not a record: it is longer than"), "{problem}");
}

#[test]
fn empty_journal_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.last(), Head::EMPTY);
    assert_eq!(journal.reader().verify().unwrap().records, 0);
    assert_eq!(verify_export(b"".as_slice()).unwrap().records, 0);
}
