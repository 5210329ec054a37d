//! Whatever is changed behind the journal's back is found, and the first wrong record is named.

use std::fs;
use std::path::Path;

use lockstep_domain::Digest;
use lockstep_store::journal::{Head, Journal, JournalError, NewRecord, Record, Tampered, Wrong};
use proptest::prelude::*;
use rusqlite::{Connection, params, params_from_iter};
use tempfile::TempDir;

use crate::support::{DROP_TRIGGERS, accept, folder_with, new, numbered, sql, tamper, write_record};

const RECORDS: u64 = 12;

/// Runs a statement with numbers of records.
fn run(db: &Connection, statement: &str, numbers: &[u64]) {
    db.execute(statement, params_from_iter(numbers.iter().map(|number| number.cast_signed()))).unwrap();
}

fn tampered_folder(change: impl FnOnce(&Connection)) -> TempDir {
    let folder = folder_with(RECORDS);
    tamper(folder.path(), change);
    folder
}

/// What a full check finds.
fn found(folder: &Path) -> Option<Tampered> {
    match Journal::open_read_only(folder).unwrap().verify() {
        Ok(_) => None,
        Err(JournalError::Tampered(tampered)) => Some(tampered),
        Err(other) => panic!("{other}"),
    }
}

fn first_wrong(change: impl FnOnce(&Connection)) -> (u64, Wrong) {
    let folder = tampered_folder(change);
    let Tampered { seq, wrong, .. } = found(folder.path()).expect("a change that was not found");
    (seq, wrong)
}

/// Moves the records from `seq` on one place up.
fn make_room(db: &Connection, seq: u64) {
    run(db, "UPDATE record SET seq = -seq - 1 WHERE seq >= ?1", &[seq]);
    run(db, "UPDATE record SET seq = -seq WHERE seq < 0", &[]);
}

/// Makes a journal whose records up to `seq - 1` are those of the numbered one, and record `seq` another.
fn forged_record(seq: u64) -> Record {
    let folder = folder_with(seq - 1);
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.append(seq - 1, &[new(0, r#"{"forged":true}"#)]).unwrap().remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_changed_bit_of_any_field_is_found(
        seq in 1..=RECORDS, column in 0..5_usize, position in any::<prop::sample::Index>(), bit in 0..8_u8
    ) {
        let column = ["at", "actor", "event", "previous", "hash"][column];
        let change = |db: &Connection| {
            let select = format!("SELECT CAST({column} AS BLOB) FROM record WHERE seq = ?1");
            let mut bytes: Vec<u8> = db.query_row(&select, [seq.cast_signed()], |row| row.get(0)).unwrap();
            let index = position.index(bytes.len());
            bytes[index] ^= 1 << bit;
            let update = match column {
                "at" => "UPDATE record SET at = at + ?3 WHERE seq = ?1 AND ?2 IS NOT NULL".to_owned(),
                "actor" | "event" => format!("UPDATE record SET {column} = CAST(?2 AS TEXT) WHERE seq = ?1 AND ?3"),
                _ => format!("UPDATE record SET {column} = ?2 WHERE seq = ?1 AND ?3"),
            };
            prop_assert_eq!(db.execute(&update, params![seq.cast_signed(), bytes, 1_i64 << bit]).unwrap(), 1);
            Ok(())
        };
        let folder = folder_with(RECORDS);
        let mut outcome = Ok(());
        tamper(folder.path(), |db| outcome = change(db));
        outcome?;
        let tampered = found(folder.path()).expect("a change that was not found");
        prop_assert_eq!((tampered.seq, tampered.wrong), (seq, Wrong::Altered));
    }

    #[test]
    fn removed_record_is_named(seq in 1..=RECORDS) {
        let removed = first_wrong(|db| { run(db, "DELETE FROM record WHERE seq = ?1", &[seq]); });
        prop_assert_eq!(removed, (seq, Wrong::Removed));
    }

    #[test]
    fn first_of_two_swapped_records_is_named(one in 1..=RECORDS, other in 1..=RECORDS) {
        prop_assume!(one != other);
        let swapped = first_wrong(|db| {
            for (from, to) in [(one, 0), (other, one), (0, other)] {
                run(db, "UPDATE record SET seq = ?2 WHERE seq = ?1", &[from, to]);
            }
        });
        prop_assert_eq!(swapped, (one.min(other), Wrong::Reordered));
    }

    #[test]
    fn inserted_record_is_named(seq in 1..=RECORDS) {
        let forged = forged_record(seq);
        let inserted = first_wrong(|db| { make_room(db, seq); write_record(db, &forged, None) });
        prop_assert_eq!(inserted, (seq, Wrong::Inserted));
        let bad_hash = Record { hash: Digest::from_bytes([7; 32]), ..forged };
        let inserted = first_wrong(|db| { make_room(db, seq); write_record(db, &bad_hash, None) });
        prop_assert_eq!(inserted, (seq, Wrong::Altered));
    }

    #[test]
    fn record_replaced_with_a_fitting_hash_is_named(seq in 1..=RECORDS) {
        let forged = forged_record(seq);
        // The last one has no successor that shows it; it has no code.
        let expected = if seq == RECORDS { (1, Wrong::Unkeyed) } else { (seq, Wrong::Replaced) };
        prop_assert_eq!(first_wrong(|db| write_record(db, &forged, None)), expected);
    }

    #[test]
    fn flipped_byte_of_the_file_is_found_or_changes_no_record(position in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let folder = folder_with(RECORDS);
        let original = Journal::open_read_only(folder.path()).unwrap().read(0, usize::MAX).unwrap();
        let path = folder.path().join("journal.db");
        let mut bytes = fs::read(&path).unwrap();
        // Most of a small database is free space; pages of records are what matters.
        let index = position.index(bytes.len());
        bytes[index] ^= mask;
        fs::write(&path, bytes).unwrap();
        let Ok(reader) = Journal::open_read_only(folder.path()) else { return Ok(()) };
        if reader.verify().is_ok() {
            prop_assert_eq!(reader.read(0, usize::MAX).unwrap(), original, "byte {}", index);
        }
    }

    #[test]
    fn cut_end_is_found(kept in 0..RECORDS) {
        let folder = tampered_folder(|db| { run(db, "DELETE FROM record WHERE seq > ?1", &[kept]); });
        let tampered = found(folder.path()).expect("a cut that was not found");
        prop_assert_eq!((tampered.seq, tampered.wrong), (kept + 1, Wrong::Removed));
        let refused = Journal::open(folder.path()).unwrap_err();
        let named = matches!(refused, JournalError::Tampered(Tampered { seq, .. }) if seq == kept + 1);
        prop_assert!(named, "{}", refused);
    }
}

#[test]
fn every_byte_of_a_record_page_matters_or_is_free() {
    let folder = folder_with(3);
    let path = folder.path().join("journal.db");
    let bytes = fs::read(&path).unwrap();
    let needle = br#"{"n":2}"#;
    let place = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    for offset in 0..needle.len() {
        let mut changed = bytes.clone();
        changed[place + offset] ^= 1;
        fs::write(&path, changed).unwrap();
        let tampered = found(folder.path()).expect("a change that was not found");
        assert_eq!((tampered.seq, tampered.wrong), (2, Wrong::Altered));
    }
}

#[test]
fn rewritten_chain_is_found_by_its_codes_and_without_the_key_by_the_head() {
    let forged = folder_with(0);
    let batch: Vec<NewRecord> =
        numbered(RECORDS).into_iter().map(|new| NewRecord { event: "{}".into(), ..new }).collect();
    let records = Journal::open(forged.path()).unwrap().append(0, &batch).unwrap();
    let folder = tampered_folder(|db| records.iter().for_each(|record| write_record(db, record, None)));
    let Tampered { seq, wrong, .. } = found(folder.path()).unwrap();
    assert_eq!((seq, wrong), (1, Wrong::Unkeyed));
    let without_key = Journal::open_read_only(folder.path()).unwrap().verify_chain();
    assert!(matches!(
        without_key,
        Err(JournalError::Tampered(Tampered { seq: RECORDS, wrong: Wrong::Replaced, .. }))
    ));
}

#[test]
fn wrong_record_stops_the_fold_at_the_record_before_it() {
    let folder = tampered_folder(|db| {
        run(db, "UPDATE record SET event = '{}' WHERE seq = 7", &[]);
    });
    let journal = Journal::open(folder.path()).unwrap();
    let mut seen = Vec::new();
    let error = journal.reader().for_each_after(0, |record| {
        seen.push(record.seq);
        std::ops::ControlFlow::Continue(())
    });
    assert!(matches!(error, Err(JournalError::Tampered(Tampered { seq: 7, .. }))));
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    assert!(journal.reader().read(7, 10).is_ok(), "after a snapshot at 7 only later records are looked at");
    assert!(journal.reader().read(6, 1).is_err());
    let message = journal.reader().verify().unwrap_err().to_string();
    assert!(
        message.starts_with("record 7 of the journal was altered: expected the record with hash "),
        "{message}"
    );
}

#[test]
fn missing_head_file_is_refused_until_the_journal_is_accepted() {
    let folder = folder_with(3);
    let head = folder.path().join("journal.head");
    for damage in [None, Some("garbage")] {
        fs::remove_file(&head).unwrap();
        damage.into_iter().for_each(|text| fs::write(&head, text).unwrap());
        let error = Journal::open(folder.path()).unwrap_err();
        assert!(matches!(error, JournalError::HeadMissing { records: 3.., .. }), "{error}");
        let reader = Journal::open_read_only(folder.path()).unwrap();
        assert!(matches!(reader.verify(), Err(JournalError::HeadMissing { .. })));
        let before = Journal::open_read_only(folder.path()).unwrap().last().unwrap().seq;
        assert_eq!(accept(folder.path()).unwrap().records, before + 1);
        assert_eq!(Journal::open(folder.path()).unwrap().last().seq, before + 1);
    }
}

#[test]
fn older_database_is_refused_until_it_is_accepted() {
    let folder = folder_with(2);
    let older = fs::read(folder.path().join("journal.db")).unwrap();
    Journal::open(folder.path()).unwrap().append(2, &numbered(2)).unwrap();
    fs::write(folder.path().join("journal.db"), older).unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("record 3 of the journal was removed"), "{error}");
    accept(folder.path()).unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.append(3, &numbered(1)).unwrap();
    assert_eq!(journal.reader().verify().unwrap().records, 4);
}

#[test]
fn wrong_journal_is_not_accepted() {
    let folder = tampered_folder(|db| {
        run(db, "DELETE FROM record WHERE seq = 4", &[]);
    });
    assert!(matches!(accept(folder.path()), Err(JournalError::Tampered(Tampered { seq: 4, .. }))));
}

#[test]
fn deleted_database_is_found_by_the_head() {
    let folder = folder_with(2);
    fs::remove_file(folder.path().join("journal.db")).unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(
        matches!(error, JournalError::Tampered(Tampered { seq: 1, wrong: Wrong::Removed, .. })),
        "{error}"
    );
}

#[test]
fn head_that_lags_behind_after_a_crash_is_no_alarm() {
    let folder = folder_with(2);
    let lagging = fs::read(folder.path().join("journal.head")).unwrap();
    Journal::open(folder.path()).unwrap().append(2, &numbered(3)).unwrap();
    fs::write(folder.path().join("journal.head"), lagging).unwrap();
    assert_eq!(found(folder.path()), None);
    assert_eq!(Journal::open(folder.path()).unwrap().last().seq, 5);
    sql(folder.path(), DROP_TRIGGERS);
}

#[test]
fn tampering_after_a_lagging_head_is_found_at_start() {
    let folder = folder_with(2);
    let lagging = fs::read(folder.path().join("journal.head")).unwrap();
    Journal::open(folder.path()).unwrap().append(2, &numbered(3)).unwrap();
    fs::write(folder.path().join("journal.head"), lagging).unwrap();
    tamper(folder.path(), |db| {
        run(db, "UPDATE record SET at = 0 WHERE seq = 4", &[]);
    });
    assert!(matches!(Journal::open(folder.path()), Err(JournalError::Tampered(Tampered { seq: 4, .. }))));
}

#[test]
fn heads_name_what_was_last() {
    let folder = folder_with(RECORDS);
    let reader = Journal::open_read_only(folder.path()).unwrap();
    let last = reader.read(RECORDS - 1, 1).unwrap().remove(0);
    assert_eq!(reader.last().unwrap(), last.head());
    assert_eq!(last.head(), Head { seq: RECORDS, hash: last.hash });
}
