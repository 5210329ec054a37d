//! The key of a journal: what only its server can write, and everybody who has the key can check. Pure.
//!
//! A chain shows that records fit each other, not who appended them. A code that needs a key does: HMAC-SHA-256 over the
//! number and hash of a record, which stand for every record up to it. The key notes the record that it was made at, and
//! thereby fixes everything before, too. Invariant: the same bytes are never a code for two purposes.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use lockstep_domain::Digest;
use sha2::{Digest as _, Sha256};

use super::record::Head;

/// Bytes of the secret: as many as the hash has, more adds nothing.
pub(crate) const SECRET_BYTES: usize = 32;
/// Longest text of a key, with room for what an editor adds.
pub(crate) const MAX_TEXT: u64 = 1_024;

const FORMAT: &str = "lockstep-journal-key 1";

/// What a code stands for. No name begins another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// All records up to one were appended by the server.
    Records,
    /// The journal had no record after one.
    Head,
    /// A state was folded from the records up to one.
    Snapshot,
}

impl Purpose {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Records => b"lockstep-journal-records\0",
            Self::Head => b"lockstep-journal-head\0",
            Self::Snapshot => b"lockstep-journal-snapshot\0",
        }
    }
}

/// Whether the journal has begun to use a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Nothing was appended with it: it was made by a start that may have been interrupted.
    NotYet,
    /// From the record it was made at on, every batch ends with a code.
    Begun,
}

impl Use {
    const fn word(self) -> &'static str {
        match self {
            Self::NotYet => "unused",
            Self::Begun => "used",
        }
    }
}

/// The key of one journal.
#[derive(Clone)]
pub(crate) struct JournalKey {
    secret: [u8; SECRET_BYTES],
    /// With the secret in it already: half of the work of a short code.
    keyed: Hmac<Sha256>,
    since: Head,
    used: Use,
}

impl fmt::Debug for JournalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalKey")
            .field("since", &self.since)
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

impl JournalKey {
    /// Makes the key of a journal that ends with the record `since`.
    pub(crate) fn new(secret: [u8; SECRET_BYTES], since: Head, used: Use) -> Self {
        let keyed = Hmac::new_from_slice(&secret).expect("a key may have any length");
        Self { secret, keyed, since, used }
    }

    /// The record it was made at: what is older is chained, and fixed by its hash, but has no code of this key.
    pub(crate) const fn since(&self) -> Head {
        self.since
    }

    /// Whether the journal has begun to use it.
    pub(crate) const fn used(&self) -> Use {
        self.used
    }

    /// The same key, in use.
    pub(crate) fn in_use(self) -> Self {
        Self { used: Use::Begun, ..self }
    }

    /// Computes the code of a record, and of what else belongs to the purpose.
    pub(crate) fn code(&self, purpose: Purpose, head: Head, more: &[&[u8]]) -> Digest {
        Digest::from_bytes(self.over(purpose, head, more).finalize().into_bytes().into())
    }

    /// Tells whether this key made a code; how long it takes does not depend on where it differs.
    pub(crate) fn made(&self, code: &[u8], purpose: Purpose, head: Head, more: &[&[u8]]) -> bool {
        self.over(purpose, head, more).verify_slice(code).is_ok()
    }

    fn over(&self, purpose: Purpose, head: Head, more: &[&[u8]]) -> Hmac<Sha256> {
        let begun = self.keyed.clone().chain_update(purpose.name());
        let begun = begun.chain_update(head.seq.to_be_bytes()).chain_update(head.hash.as_bytes());
        more.iter().fold(begun, Hmac::chain_update)
    }

    /// Writes it as one line.
    pub(crate) fn to_text(&self) -> String {
        let secret = Digest::from_bytes(self.secret);
        let Self { since: Head { seq, hash }, used, .. } = self;
        let body = format!("{FORMAT} {} {seq} {hash} {secret}", used.word());
        format!("{body} {}\n", check(&body))
    }

    /// Reads it, or says why it is none.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not text")?.trim();
        if text.is_empty() {
            return Err("it is empty");
        }
        let words: Vec<_> = text.split(' ').collect();
        let [name, format, used, seq, hash, secret, _check] = words[..] else {
            return Err(if text.starts_with("lockstep-journal-key") {
                "it was cut off"
            } else {
                "it is something else"
            });
        };
        if format!("{name} {format}") != FORMAT {
            return Err("it is something else, or of a newer program");
        }
        let used = [Use::NotYet, Use::Begun].into_iter().find(|known| known.word() == used);
        let key = || {
            let since = Head { seq: seq.parse().ok()?, hash: hash.parse().ok()? };
            Some(Self::new(*secret.parse::<Digest>().ok()?.as_bytes(), since, used?))
        };
        key().filter(|key| key.to_text().trim() == text).ok_or("it was changed, or cut off")
    }
}

/// Tells a whole text from a damaged one; it proves nothing.
fn check(body: &str) -> String {
    Sha256::digest(body.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(seq: u64) -> Head {
        Head { seq, hash: Digest::from_bytes([seq as u8; 32]) }
    }

    fn key(secret: u8) -> JournalKey {
        JournalKey::new([secret; SECRET_BYTES], head(7), Use::Begun)
    }

    #[test]
    fn a_code_is_the_documented_one() {
        // python3: hmac.new(bytes([1] * 32), b"lockstep-journal-records\0" + struct.pack(">Q", 3) + bytes([3] * 32), "sha256")
        let expected = "46e7c76061abd4bacc5c65ceb21773143dd4dc5d39238c7fdb2e62c203b1bb4c";
        assert_eq!(key(1).code(Purpose::Records, head(3), &[]).to_string(), expected);
    }

    #[test]
    fn a_code_is_of_one_key_one_purpose_and_one_record() {
        let code = key(1).code(Purpose::Records, head(3), &[]);
        let made = |key: JournalKey, purpose, head| key.made(code.as_bytes(), purpose, head, &[]);
        assert!(made(key(1), Purpose::Records, head(3)));
        assert!(!made(key(2), Purpose::Records, head(3)));
        assert!(!made(key(1), Purpose::Head, head(3)));
        assert!(!made(key(1), Purpose::Records, head(4)));
        assert!(!made(key(1), Purpose::Records, Head { seq: 3, ..head(4) }));
        assert!(!key(1).made(&code.as_bytes()[..31], Purpose::Records, head(3), &[]));
        assert!(!key(1).made(&[], Purpose::Records, head(3), &[]));
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_no_other_text_is_one() {
        for used in [Use::NotYet, Use::Begun] {
            let text = JournalKey::new([0xab; SECRET_BYTES], head(9), used).to_text();
            assert!(text.len() as u64 <= MAX_TEXT);
            let read = JournalKey::parse(text.as_bytes()).unwrap();
            assert_eq!((read.to_text(), read.since(), read.used()), (text.clone(), head(9), used));
            JournalKey::parse(text.trim_end().as_bytes()).unwrap();
            for length in 0..text.len() - 1 {
                JournalKey::parse(&text.as_bytes()[..length]).unwrap_err();
            }
            for position in 0..text.len() - 1 {
                let mut changed = text.clone().into_bytes();
                changed[position] ^= 1;
                JournalKey::parse(&changed).unwrap_err();
            }
        }
        assert!(!format!("{:?}", key(0xab)).contains("abab"));
    }
}
