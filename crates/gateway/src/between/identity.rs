//! The keys of a gateway: made here, kept for their owner alone, and shown as they are.
//!
//! A key is exchanged after a day: the next one is made and announced, and shown when the table says that every gateway has heard of it. Until
//! then, and be it for weeks, the former one is shown. A clock that is wrong makes a key too early or too late, and does nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_domain::Digest;
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use rustls::Error;
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

/// How long a key is shown before the next one is made.
pub const KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Most keys at once: the one that is shown, and the one that is to come.
const MOST: usize = 2;

/// One key.
#[derive(Debug, Clone)]
struct Key {
    pkcs8: Vec<u8>,
    /// When it was made, by the clock of this machine, in milliseconds since 1970.
    made_ms: u64,
    digest: Digest,
    certified: Arc<CertifiedKey>,
}

/// How long a key is named yet that is not shown any more: handshakes that began with it go on.
const LEAVES: Duration = Duration::from_secs(15);

/// The keys of a gateway; the first one is shown.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    keys: Vec<Key>,
    /// Those that were shown a moment ago, the last one first.
    left: Vec<(Digest, Instant)>,
}

impl Identity {
    /// Makes one with a key that nobody has seen.
    pub(crate) fn make(now_ms: u64) -> Result<Self, Error> {
        Ok(Self { keys: vec![Key::make(now_ms)?], left: Vec::new() })
    }

    /// Reads what was kept; nothing where it cannot be used.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let keys: Vec<Key> = text.lines().map(Key::parse).collect::<Option<_>>()?;
        (1..=MOST).contains(&keys.len()).then_some(Self { keys, left: Vec::new() })
    }

    /// Writes it as it is kept.
    pub(crate) fn text(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.keys.iter().map(|key| format!("{} {}\n", key.made_ms, hex(&key.pkcs8))).collect()
    }

    /// Returns the digests of its keys, that of the one which is shown first.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.keys.iter().map(|key| key.digest).collect()
    }

    /// Returns what others have to know: its keys, and behind them those that were shown a moment ago.
    pub(crate) fn named(&self) -> Vec<Digest> {
        let left = self.left.iter().filter(|(_, since)| since.elapsed() < LEAVES);
        self.digests().into_iter().chain(left.map(|(digest, _)| *digest)).collect()
    }

    /// Returns the key that is shown.
    pub(super) fn shown(&self) -> Option<&Arc<CertifiedKey>> {
        self.keys.first().map(|key| &key.certified)
    }

    /// Returns what it is to be at a time, where that is something else: with the next key, or with that alone.
    pub(crate) fn next(&self, life: Duration, known: &[Digest], now_ms: u64) -> Result<Option<Self>, Error> {
        match self.keys.as_slice() {
            [shown, next] if known.contains(&next.digest) => {
                let before = self.left.iter().copied().filter(|(_, since)| since.elapsed() < LEAVES);
                let left = std::iter::once((shown.digest, Instant::now())).chain(before).collect();
                Ok(Some(Self { keys: vec![next.clone()], left }))
            }
            [only] if is_old(only.made_ms, life, now_ms) => {
                let left = self.left.clone();
                Ok(Some(Self { keys: vec![only.clone(), Key::make(now_ms)?], left }))
            }
            _ => Ok(None),
        }
    }
}

/// A key that is from the future was made by another clock: nobody knows how old it is.
fn is_old(made_ms: u64, life: Duration, now_ms: u64) -> bool {
    let age = now_ms.checked_sub(made_ms);
    age.is_none_or(|age| u128::from(age) >= life.as_millis())
}

impl Key {
    fn make(now_ms: u64) -> Result<Self, Error> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let made = made.map_err(|_| Error::General("the system gives no random numbers".to_owned()))?;
        Self::of(made.as_ref().to_vec(), now_ms)
    }

    fn of(pkcs8: Vec<u8>, made_ms: u64) -> Result<Self, Error> {
        let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))?;
        let public = signing.public_key().ok_or(Error::General("a key without a public one".to_owned()))?;
        let public = public.as_ref().to_vec();
        let digest = digest_of(&public);
        let certified = Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], signing));
        Ok(Self { pkcs8, made_ms, digest, certified })
    }

    fn parse(line: &str) -> Option<Self> {
        let (made, hex) = line.split_once(' ')?;
        let digits = hex.as_bytes();
        let pairs = digits.chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        });
        Self::of(pairs.collect::<Option<_>>()?, made.parse().ok()?).ok()
    }
}

/// Returns what a public key is known by, in the form in which it is shown.
pub(super) fn digest_of(public: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(public).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = KEY_LIFE.as_millis() as u64;

    #[test]
    fn keys_are_kept_as_they_are_and_what_is_damaged_is_none() {
        let one = Identity::make(7).unwrap();
        let two = one.next(KEY_LIFE, &[], 7 + DAY).unwrap().unwrap();
        assert_eq!(Identity::parse(&two.text()).unwrap().digests(), two.digests());
        assert_eq!(two.digests()[0], one.digests()[0], "the former one is shown until all know the next");
        let text = two.text();
        let three = format!("{text}{text}");
        for bad in ["", "7", "7 00", "x 00", "7 0", &text[..text.len() / 2], &text.replace(' ', ""), &three] {
            assert!(Identity::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_next_key_is_shown_only_when_all_have_heard_of_it() {
        let one = Identity::make(0).unwrap();
        assert!(one.next(KEY_LIFE, &[], DAY - 1).unwrap().is_none());
        let two = one.next(KEY_LIFE, &[], DAY).unwrap().unwrap();
        let [former, next] = two.digests()[..] else { panic!("two keys") };
        for later in [DAY, 30 * DAY, u64::MAX] {
            assert!(
                two.next(KEY_LIFE, &[former], later).unwrap().is_none(),
                "a server that is away changes nothing"
            );
        }
        let after = two.next(KEY_LIFE, &[next], DAY).unwrap().unwrap();
        assert_eq!(after.digests(), [next]);
        assert_eq!(after.named(), [next, former], "a handshake may have begun with it");
    }

    proptest! {
        #[test]
        fn whatever_the_clock_says_the_key_that_is_shown_stays_until_another_one_is_known(
            clocks in proptest::collection::vec(any::<u64>(), 1..6),
        ) {
            let mut identity = Identity::make(1_700_000_000_000).unwrap();
            let shown = identity.digests()[0];
            for now in clocks {
                if let Some(next) = identity.next(KEY_LIFE, &[], now).unwrap() {
                    identity = next;
                }
                prop_assert_eq!(identity.digests()[0], shown);
                prop_assert!(identity.digests().len() <= MOST);
            }
        }
    }
}
