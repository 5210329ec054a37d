//! Following the hash chain: which record, if any, is the first that is not what was once appended. Pure.
//!
//! Invariant: after [`Chain::accept`] said `Ok`, every record since the start was hashed over exactly the fields it
//! shows and follows the one before it. Who recomputes the hashes of all later records is found by the head alone.

use std::fmt;

use lockstep_domain::Digest;
use thiserror::Error;

use super::record::{Fields, Head};

/// How many numbers beyond its own are tried when looking for the place a record was written for (milliseconds).
const PLACES_TRIED: u64 = 10_000;

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// A field was changed: the hash does not fit the record.
    Altered,
    /// The record is not there.
    Removed,
    /// Another record of this journal stands in its place.
    Reordered,
    /// A record that was never appended stands in its place and the true one comes later.
    Inserted,
    /// The record fits its own hash, but what came later was written after another one.
    Replaced,
    /// No code of the key covers it: it was appended by somebody without the key, or its code was taken away.
    Unkeyed,
    /// Its code is not one of the key over the records up to it.
    Forged,
    /// The database cannot give the record out.
    Unreadable,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Altered => "was altered",
            Self::Removed => "was removed",
            Self::Reordered => "was moved",
            Self::Inserted => "was inserted",
            Self::Replaced => "was replaced",
            Self::Unkeyed => "has no code",
            Self::Forged => "has a false code",
            Self::Unreadable => "cannot be read",
        })
    }
}

/// The first record that is not what was appended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("record {seq} of the journal {wrong}: expected {expected}, found {found}")]
pub struct Tampered {
    /// Its number.
    pub seq: u64,
    /// What is wrong with it.
    pub wrong: Wrong,
    /// What the chain demands there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Tampered {
    pub(crate) fn new(seq: u64, wrong: Wrong, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { seq, wrong, expected: expected.into(), found: found.into() }
    }
}

/// The state of following a chain from a trusted head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain {
    /// Where following began; what is here or before is not judged.
    start: u64,
    last: Head,
    /// The hash of the record before `last`.
    before_last: Digest,
}

impl Chain {
    /// Starts after `trusted`.
    pub(crate) const fn after(trusted: Head) -> Self {
        Self { start: trusted.seq, last: trusted, before_last: trusted.hash }
    }

    /// Returns the last record that was accepted.
    pub(crate) const fn head(&self) -> Head {
        self.last
    }

    /// Takes the next record, whose stored hash is `stored`.
    pub(crate) fn accept(&mut self, fields: &Fields<'_>, stored: Digest) -> Result<(), Tampered> {
        let seq = self.last.seq + 1;
        if fields.seq != seq {
            let wrong = if fields.seq > seq { Wrong::Removed } else { Wrong::Reordered };
            let found = format!("record {}", fields.seq);
            return Err(Tampered::new(seq, wrong, format!("record {seq}"), found));
        }
        let hash = fields.hash();
        if hash != stored {
            return Err(self.explain_hash(fields, hash, stored));
        }
        if fields.previous != self.last.hash {
            return Err(self.explain_link(fields.previous));
        }
        self.before_last = self.last.hash;
        self.last = Head { seq, hash };
        Ok(())
    }

    /// Explains a record that does not fit its own hash.
    fn explain_hash(&self, fields: &Fields<'_>, hash: Digest, stored: Digest) -> Tampered {
        let seq = fields.seq;
        let written_for = |place: &u64| Fields { seq: *place, ..*fields }.hash() == stored;
        match (1..=seq.saturating_add(PLACES_TRIED)).find(written_for) {
            // The record that was once last now stands one place further: what took its place is the intruder.
            Some(place) if place == self.last.seq && self.displaced(fields, stored) => {
                let found = format!("a record with hash {}", self.last.hash);
                Tampered::new(place, Wrong::Inserted, format!("the record with hash {stored}"), found)
            }
            Some(place) => {
                let found = format!("the record that was appended as number {place}");
                Tampered::new(seq, Wrong::Reordered, format!("record {seq}"), found)
            }
            None => {
                let expected = format!("the record with hash {stored}");
                Tampered::new(seq, Wrong::Altered, expected, format!("fields with hash {hash}"))
            }
        }
    }

    fn displaced(&self, fields: &Fields<'_>, stored: Digest) -> bool {
        self.last.seq > self.start && fields.previous == self.before_last && stored != self.last.hash
    }

    /// Explains a record that is whole, but was written after another predecessor.
    fn explain_link(&self, previous: Digest) -> Tampered {
        let seq = self.last.seq.max(self.start + 1);
        Tampered::new(
            seq,
            Wrong::Replaced,
            format!("hash {previous}, after which record {} was written", self.last.seq + 1),
            format!("hash {}", self.last.hash),
        )
    }
}
