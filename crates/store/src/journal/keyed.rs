//! Following the codes of a key beside the chain: which record, if any, is the first that no code covers. Pure.
//!
//! Invariant: after [`Keyed::end`] said `Ok`, the last record is the one that the key was made at, or has a code of the key.
//! Together with the chain, that is true of everything before it.

use super::chain::{Tampered, Wrong};
use super::key::{JournalKey, Purpose};
use super::record::Head;

/// How far the codes of a key were followed.
#[derive(Debug)]
pub(crate) struct Keyed<'a> {
    key: &'a JournalKey,
    /// The last record that a good code covers, or the key itself.
    covered: u64,
}

impl<'a> Keyed<'a> {
    pub(crate) const fn new(key: &'a JournalKey) -> Self {
        Self { key, covered: key.since().seq }
    }

    /// Takes the next record, with the code that it carries, if any. Only the last one of a batch does.
    pub(crate) fn take(&mut self, record: Head, code: Option<&[u8]>) -> Result<(), Tampered> {
        let since = self.key.since();
        if record.seq <= since.seq {
            return if record.seq == since.seq { at_key(record, since) } else { Ok(()) };
        }
        match code {
            None => Ok(()),
            Some(code) if self.key.made(code, Purpose::Records, record, &[]) => {
                self.covered = record.seq;
                Ok(())
            }
            Some(_) => Err(self.forged(record.seq)),
        }
    }

    /// Ends after the last record.
    pub(crate) fn end(self, last: u64) -> Result<(), Tampered> {
        let since = self.key.since().seq;
        if last < since {
            let expected = format!("records up to {since}, at which the key was made");
            return Err(Tampered::new(last + 1, Wrong::Removed, expected, format!("{last} records")));
        }
        if last > self.covered {
            let found = format!("none in {}", range(self.covered + 1, last));
            return Err(Tampered::new(
                self.covered + 1,
                Wrong::Unkeyed,
                "a code of the journal's key",
                found,
            ));
        }
        Ok(())
    }

    fn forged(&self, seq: u64) -> Tampered {
        let expected = format!("a code of the journal's key over {}", range(self.covered + 1, seq));
        Tampered::new(seq, Wrong::Forged, expected, "one of another key, or over other records")
    }
}

fn at_key(record: Head, since: Head) -> Result<(), Tampered> {
    if record.hash == since.hash {
        return Ok(());
    }
    let expected = format!("hash {}, at which the key was made", since.hash);
    Err(Tampered::new(record.seq, Wrong::Replaced, expected, format!("hash {}", record.hash)))
}

fn range(first: u64, last: u64) -> String {
    if first == last { format!("record {last}") } else { format!("records {first} to {last}") }
}
