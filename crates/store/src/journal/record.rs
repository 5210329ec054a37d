//! What the journal holds: records, each of which carries the hash of the one before it.
//!
//! Invariant: a record's hash covers every other field and the format's number, over an encoding in which no two
//! different records have the same bytes. `docs/design/journal.md` repeats it for people who check by other means.

use lockstep_domain::{Actor, Digest, Timestamp};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// The number of the record encoding below; it is part of what is hashed.
pub const RECORD_FORMAT: u32 = 1;
/// The `previous` of record 1, which has no predecessor.
pub const GENESIS: Digest = Digest::from_bytes([0; 32]);
/// Longest event in bytes of JSON: far above a plan of thousands of moves; what is larger belongs into a blob.
pub const MAX_EVENT_BYTES: usize = 4 << 20;

/// Keeps the hash apart from every other use of SHA-256.
const HASH_DOMAIN: &[u8; 16] = b"lockstep-journal";

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The place in the journal, counted from 1 without a gap. Order is this number, never the clock.
    pub seq: u64,
    /// When it was appended, by the clock of the server; a clock that goes backwards is recorded as it was.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The event as JSON on one line; the journal knows nothing of its meaning.
    pub event: String,
    /// The hash of the record before, or [`GENESIS`].
    pub previous: Digest,
    /// The hash of all of the above.
    pub hash: Digest,
}

impl Record {
    /// Returns the place and hash by which this record is known.
    #[must_use]
    pub const fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// What a caller appends; the journal adds the number and the hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// When it happened.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The event as JSON on one line.
    pub event: String,
}

/// The last record of a journal, or of a part of it: with the hash, it stands for everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last record; 0 when there is none.
    pub seq: u64,
    /// Its hash; [`GENESIS`] when there is none.
    pub hash: Digest,
}

impl Head {
    /// The head of a journal without records.
    pub const EMPTY: Self = Self { seq: 0, hash: GENESIS };
}

/// The fields that are hashed, borrowed from wherever they were read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) actor: &'a str,
    pub(crate) event: &'a str,
    pub(crate) previous: Digest,
}

impl Fields<'_> {
    /// Computes the record's hash: numbers are big-endian, texts are preceded by their length in bytes.
    pub(crate) fn hash(&self) -> Digest {
        let mut hasher = Sha256::new();
        let mut fixed = [0; 40];
        fixed[..16].copy_from_slice(HASH_DOMAIN);
        fixed[16..20].copy_from_slice(&RECORD_FORMAT.to_be_bytes());
        fixed[20..28].copy_from_slice(&self.seq.to_be_bytes());
        fixed[28..36].copy_from_slice(&self.at.0.to_be_bytes());
        fixed[36..40].copy_from_slice(&length(self.actor).to_be_bytes());
        hasher.update(fixed);
        hasher.update(self.actor.as_bytes());
        hasher.update(length(self.event).to_be_bytes());
        hasher.update(self.event.as_bytes());
        hasher.update(self.previous.as_bytes());
        Digest::from_bytes(hasher.finalize().into())
    }
}

/// Texts beyond 4 GiB never get in, so a length that does not fit only has to differ from the true one's hash.
fn length(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

impl NewRecord {
    /// Makes the record that follows `head`.
    pub(crate) fn chained(&self, head: Head) -> Record {
        let Self { at, actor, event } = self;
        let (seq, previous) = (head.seq + 1, head.hash);
        let hash = Fields { seq, at: *at, actor: actor.as_str(), event, previous }.hash();
        Record { seq, at: *at, actor: actor.clone(), event: event.clone(), previous, hash }
    }

    /// Says why the event cannot be appended, if so.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.event.len() > MAX_EVENT_BYTES {
            return Some(format!("it has {} bytes, at most {MAX_EVENT_BYTES} are allowed", self.event.len()));
        }
        if self.event.starts_with(' ') || self.event.ends_with(' ') {
            return Some("it begins or ends with a space".to_owned());
        }
        if self.event.contains(|c: char| c < ' ') {
            return Some("it contains a line break or tab; one line of JSON is expected".to_owned());
        }
        serde_json::from_str::<serde::de::IgnoredAny>(&self.event)
            .err()
            .map(|e| format!("it is not JSON: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(event: &str) -> NewRecord {
        NewRecord { at: Timestamp(1_700_000_000_000), actor: "ann".parse().unwrap(), event: event.to_owned() }
    }

    #[test]
    fn hash_is_the_documented_one() {
        let first = new(r#"{"type":"created"}"#).chained(Head::EMPTY);
        let mut bytes = b"lockstep-journal".to_vec();
        bytes.extend([0, 0, 0, 1]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend(1_700_000_000_000_u64.to_be_bytes());
        bytes.extend([0, 0, 0, 3]);
        bytes.extend(b"ann");
        bytes.extend([0, 0, 0, 18]);
        bytes.extend(br#"{"type":"created"}"#);
        bytes.extend([0; 32]);
        assert_eq!(first.hash, Digest::from_bytes(Sha256::digest(&bytes).into()));
        assert_eq!(
            first.hash.to_string(),
            "2db2065fe4a53794b462cf6bed7f9fc0a70be2a7e0f805028d344125cac9805f"
        );
        assert_eq!(new("{}").chained(first.head()).previous, first.hash);
    }

    #[test]
    fn moving_a_letter_between_fields_changes_the_hash() {
        let hash = |actor, event| Fields { seq: 1, at: Timestamp(0), actor, event, previous: GENESIS }.hash();
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
    }

    #[test]
    fn only_one_line_of_json_is_an_event() {
        assert_eq!(new(r#"{"a":[1,"zwei 三"]}"#).problem(), None);
        for bad in ["", " {}", "{} ", "{}\n", "{\n}", "{\"a\":}", "{} {}", "{\"a\":\"\u{1}\"}"] {
            assert!(new(bad).problem().is_some(), "{bad:?}");
        }
        assert!(new(&format!("\"{}\"", "x".repeat(MAX_EVENT_BYTES))).problem().unwrap().contains("at most"));
    }
}
