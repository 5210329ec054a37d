//! The head file: the number and hash of the last record, kept outside the database, with a code of the journal's key.
//!
//! A chain alone cannot show that its end was cut off; the head file can. It is written after each commit and never
//! before, so it may lag behind the database (a crash in between, a power cut before the system wrote it out) but is
//! never ahead of it. Two slots in different disk sectors are written in turn, so that a torn write leaves the other.
//! The code of a head is none of a record: who cuts the journal finds no head for its new end in what is left.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lockstep_domain::Digest;
use lockstep_files::{foreign, whole};
use sha2::{Digest as _, Sha256};

use super::key::{JournalKey, Purpose};
use super::record::Head;

/// One slot: a disk sector, the unit that disks write as a whole.
const SLOT_BYTES: usize = 512;
/// Before there were keys: number, hash, check.
const FORMAT_1: &str = "lockstep-journal-head 1";
/// Number, hash, code, check.
const FORMAT_2: &str = "lockstep-journal-head 2";

/// A head as it was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) head: Head,
    /// The code of the key; a head of an older program has none.
    code: Option<Digest>,
}

impl Noted {
    fn by(key: &JournalKey, head: Head) -> Self {
        Self { head, code: Some(key.code(Purpose::Head, head, &[])) }
    }

    /// Tells whether this key noted it.
    pub(crate) fn is_by(&self, key: &JournalKey) -> bool {
        self.code.is_some_and(|code| key.made(code.as_bytes(), Purpose::Head, self.head, &[]))
    }
}

/// The open head file of the one writer.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: File,
    /// The slot that the next write goes to: the one that does not hold the newest head.
    next_slot: usize,
}

impl HeadFile {
    /// Puts a new head file in place as a whole, whatever was there before, and makes it durable.
    pub(crate) fn replace(path: &Path, head: Head, key: &JournalKey) -> io::Result<()> {
        let slot = slot(Noted::by(key, head));
        whole::put(path, &[&slot[..], &slot[..]].concat(), 0o600)
    }

    /// Opens the file for writing and returns the newest head in it, or `None` when there is no file or no whole slot.
    pub(crate) fn open(path: &Path) -> io::Result<Option<(Self, Noted)>> {
        // Anything but a file is refused here, without waiting for it.
        let Some((slot, noted)) = find(path)? else { return Ok(None) };
        let file = OpenOptions::new().write(true).open(path)?;
        Ok(Some((Self { file, next_slot: 1 - slot }, noted)))
    }

    /// Reads the newest head without opening the file for writing.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Noted>> {
        Ok(find(path)?.map(|(_, noted)| noted))
    }

    /// Writes a newer head. It is durable when the system writes it out or after [`Self::sync`].
    pub(crate) fn advance(&mut self, head: Head, key: &JournalKey) -> io::Result<()> {
        self.file.write_all_at(&slot(Noted::by(key, head)), (self.next_slot * SLOT_BYTES) as u64)?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads the newest head with its slot; `None` when there is no file, or no whole slot in it.
fn find(path: &Path) -> io::Result<Option<(usize, Noted)>> {
    match foreign::open_no_link(path) {
        Ok(file) => Ok(newest(&slots(&file)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn slots(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * SLOT_BYTES);
    file.take(2 * SLOT_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a head as text with a check of its own, padded to a slot.
fn slot(noted: Noted) -> Vec<u8> {
    let mut text = line(noted);
    text.push_str(&" ".repeat(SLOT_BYTES - 1 - text.len()));
    text.push('\n');
    text.into_bytes()
}

fn line(noted: Noted) -> String {
    let Head { seq, hash } = noted.head;
    let body = match noted.code {
        None => format!("{FORMAT_1} {seq} {hash}"),
        Some(code) => format!("{FORMAT_2} {seq} {hash} {code}"),
    };
    let check = Sha256::digest(body.as_bytes());
    let check: String = check.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{body} {check}")
}

fn newest(bytes: &[u8]) -> Option<(usize, Noted)> {
    let heads = bytes.chunks(SLOT_BYTES).map(parse).enumerate();
    heads.filter_map(|(slot, noted)| Some((slot, noted?))).max_by_key(|(_, noted)| noted.head.seq)
}

fn parse(slot: &[u8]) -> Option<Noted> {
    let text = std::str::from_utf8(slot).ok()?.trim_end();
    let has_code = text.starts_with(FORMAT_2);
    let mut words = text.split(' ').skip(2);
    let head = Head { seq: words.next()?.parse().ok()?, hash: words.next()?.parse().ok()? };
    let code = if has_code { Some(words.next()?.parse().ok()?) } else { None };
    let noted = Noted { head, code };
    (line(noted) == text).then_some(noted)
}

#[cfg(test)]
mod tests {
    use super::super::key::Use;
    use super::*;

    fn head(seq: u64) -> Head {
        Head { seq, hash: Digest::from_bytes([seq as u8; 32]) }
    }

    #[test]
    fn newest_head_is_read_back_and_survives_a_torn_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.head");
        let key = JournalKey::new([1; 32], Head::EMPTY, Use::Begun);
        assert!(HeadFile::open(&path).unwrap().is_none());
        HeadFile::replace(&path, Head::EMPTY, &key).unwrap();
        for seq in 1..6 {
            let (mut file, found) = HeadFile::open(&path).unwrap().unwrap();
            assert_eq!(found.head.seq, seq - 1);
            file.advance(head(seq), &key).unwrap();
            assert_eq!(HeadFile::read(&path).unwrap(), Some(Noted::by(&key, head(seq))));
        }
        let good = std::fs::read(&path).unwrap();
        for position in 0..good.len() {
            let mut torn = good.clone();
            torn[position] ^= 0x41;
            let (_, found) = newest(&torn).unwrap();
            assert!(
                [head(5), head(4)].contains(&found.head) && found.is_by(&key),
                "byte {position}: {found:?}"
            );
        }
        assert_eq!(newest(&good[..50]), None);
        assert_eq!(newest(b""), None);
    }

    #[test]
    fn a_head_is_by_one_key_and_one_of_an_older_program_by_none() {
        let (key, other) = ([1; 32], [2; 32]);
        let [key, other] = [key, other].map(|secret| JournalKey::new(secret, Head::EMPTY, Use::Begun));
        let noted = parse(&slot(Noted::by(&key, head(3)))).unwrap();
        assert!(noted.is_by(&key) && !noted.is_by(&other));
        assert!(!Noted { head: head(4), ..noted }.is_by(&key));
        let of_a_record = Noted { head: head(3), code: Some(key.code(Purpose::Records, head(3), &[])) };
        assert!(!of_a_record.is_by(&key));
        let older = parse(&slot(Noted { head: head(3), code: None })).unwrap();
        assert!(older.head == head(3) && !older.is_by(&key));
    }
}
