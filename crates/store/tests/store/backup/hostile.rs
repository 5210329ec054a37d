//! Backups that are forged, cut or changed: each is refused, and nothing of it is left.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use lockstep_files::whole::Occupied;
use lockstep_store::backup::BackupError;
use tar::{Builder, EntryType, Header};

use super::place::{Data, names, restore, verify};

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
