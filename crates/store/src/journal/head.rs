//! The head file: the number and hash of the last record, kept outside the database.
//!
//! A chain alone cannot show that its end was cut off; the head file can. It is written after each commit and never
//! before, so it may lag behind the database (a crash in between, a power cut before the system wrote it out) but is
//! never ahead of it. Two slots in different disk sectors are written in turn, so that a torn write leaves the other.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lockstep_files::whole;
use sha2::{Digest as _, Sha256};

use super::record::Head;

/// One slot: a disk sector, the unit that disks write as a whole.
const SLOT_BYTES: usize = 512;
const FORMAT: &str = "lockstep-journal-head 1";

/// The open head file of the one writer.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: File,
    /// The slot that the next write goes to: the one that does not hold the newest head.
    next_slot: usize,
}

impl HeadFile {
    /// Puts a new head file in place as a whole, whatever was there before, and makes it durable.
    pub(crate) fn replace(path: &Path, head: Head) -> io::Result<()> {
        whole::put(path, &[slot(head), slot(head)].concat(), 0o600)
    }

    /// Opens the file for writing and returns the newest head in it, or `None` when there is no file or no whole slot.
    pub(crate) fn open(path: &Path) -> io::Result<Option<(Self, Head)>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(newest(&slots(&file)?).map(|(slot, head)| (Self { file, next_slot: 1 - slot }, head)))
    }

    /// Reads the newest head without opening the file for writing.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Head>> {
        match File::open(path) {
            Ok(file) => Ok(newest(&slots(&file)?).map(|(_, head)| head)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a newer head. It is durable when the system writes it out or after [`Self::sync`].
    pub(crate) fn advance(&mut self, head: Head) -> io::Result<()> {
        self.file.write_all_at(&slot(head), (self.next_slot * SLOT_BYTES) as u64)?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn slots(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * SLOT_BYTES);
    file.take(2 * SLOT_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a head as text with a check of its own, padded to a slot.
fn slot(head: Head) -> Vec<u8> {
    let mut text = line(head);
    text.push_str(&" ".repeat(SLOT_BYTES - 1 - text.len()));
    text.push('\n');
    text.into_bytes()
}

fn line(head: Head) -> String {
    let body = format!("{FORMAT} {} {}", head.seq, head.hash);
    let check = Sha256::digest(body.as_bytes());
    let check: String = check.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{body} {check}")
}

fn newest(bytes: &[u8]) -> Option<(usize, Head)> {
    let heads = bytes.chunks(SLOT_BYTES).map(parse).enumerate();
    heads.filter_map(|(slot, head)| Some((slot, head?))).max_by_key(|(_, head)| head.seq)
}

fn parse(slot: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(slot).ok()?.trim_end();
    let mut words = text.strip_prefix(FORMAT)?.split_ascii_whitespace();
    let head = Head { seq: words.next()?.parse().ok()?, hash: words.next()?.parse().ok()? };
    (line(head) == text).then_some(head)
}

#[cfg(test)]
mod tests {
    use lockstep_domain::Digest;

    use super::*;

    fn head(seq: u64) -> Head {
        Head { seq, hash: Digest::from_bytes([seq as u8; 32]) }
    }

    #[test]
    fn newest_head_is_read_back_and_survives_a_torn_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.head");
        assert!(HeadFile::open(&path).unwrap().is_none());
        HeadFile::replace(&path, Head::EMPTY).unwrap();
        for seq in 1..6 {
            let (mut file, found) = HeadFile::open(&path).unwrap().unwrap();
            assert_eq!(found.seq, seq - 1);
            file.advance(head(seq)).unwrap();
            assert_eq!(HeadFile::read(&path).unwrap(), Some(head(seq)));
        }
        let good = std::fs::read(&path).unwrap();
        for position in 0..good.len() {
            let mut torn = good.clone();
            torn[position] ^= 0x41;
            let (_, found) = newest(&torn).unwrap();
            assert!(found == head(5) || found == head(4), "byte {position}: {found:?}");
        }
        assert_eq!(newest(&good[..50]), None);
        assert_eq!(newest(b""), None);
    }
}
