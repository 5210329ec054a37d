//! Visits: keeping a visitor on one side of rollouts by a signed cookie, also while shares grow, and carrying that to the next hop.
//!
//! The cookie has a key as every client has one, when the visit began, and how far rollouts had come then; never a version. So what the arm is
//! follows from the table as ever, and a cookie can ask for no more than a visitor of that time would get. Invariant: what is not signed
//! with a key of the environment, for this cookie of it, or began too long ago, is as good as no cookie.

use std::fmt;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::visit::{Entered, Visit};
use lockstep_domain::{Digest, EnvironmentName};
use sha2::{Digest as _, Sha256};

use crate::field::{Field, members};
use crate::random::Random;
use crate::request::Request;

/// The member of `baggage` that carries what a visit sees.
const BAGGAGE_MEMBER: &str = "lockstep.visit";
/// The member of `tracestate` that carries what a visit sees.
pub(crate) const TRACESTATE_MEMBER: &str = "lockstep-visit";
/// What is signed begins with this; another use would begin with another text.
const PURPOSE: &[u8] = b"lockstep visit\0";
/// How the cookie is written; another way would begin with another number.
const FORM: &str = "1";
/// Bytes of a signature: 128 bits cannot be guessed.
const SIGNATURE_BYTES: usize = 16;
/// Digits of the key of a visitor.
const KEY_DIGITS: usize = 32;
/// Longest cookie that is looked at: more than one with as many rollouts as there can be.
const MAX_COOKIE_BYTES: usize = 640;
/// Cookies of the name that are looked at: neighbours on hosts above may have set some.
const MAX_COOKIES: usize = 8;
/// Bytes of a key that visits are signed with.
const SECRET_BYTES: usize = 32;

/// A key that visits are signed with. It is not shown where things are shown for debugging.
#[derive(Clone)]
pub struct VisitKey {
    digest: Digest,
    keyed: Hmac<Sha256>,
}

impl fmt::Debug for VisitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VisitKey({})", self.digest)
    }
}

impl VisitKey {
    /// Reads a key: 64 hexadecimal digits. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_key = text.len() == 2 * SECRET_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_key.then(|| Self::of(text.as_bytes()))
    }

    /// Makes a key that nobody else has; `None` when the system gives no random bytes.
    pub(crate) fn make() -> Option<Self> {
        let mut bytes = [0; SECRET_BYTES];
        rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).ok()?;
        Some(Self::of(&bytes))
    }

    fn of(bytes: &[u8]) -> Self {
        let keyed = Hmac::new_from_slice(bytes).expect("a key may have any length");
        Self { digest: Digest::from_bytes(Sha256::digest(bytes).into()), keyed }
    }

    /// Returns what names it without saying it.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    fn over(&self, place: Place<'_>, text: &str) -> Hmac<Sha256> {
        let begun = self.keyed.clone().chain_update(PURPOSE).chain_update(place.environment.as_str());
        begun.chain_update([0]).chain_update(place.cookie).chain_update([0]).chain_update(text)
    }

    fn sign(&self, place: Place<'_>, text: &str) -> String {
        let signature = self.over(place, text).finalize().into_bytes();
        hex(&signature[..SIGNATURE_BYTES])
    }

    fn signed(&self, place: Place<'_>, text: &str, signature: &[u8]) -> bool {
        signature.len() == SIGNATURE_BYTES && self.over(place, text).verify_truncated_left(signature).is_ok()
    }
}

/// For what a signature holds.
#[derive(Clone, Copy)]
struct Place<'a> {
    environment: &'a EnvironmentName,
    cookie: &'a str,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.len().is_multiple_of(2);
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    digits.then(|| (0..text.len()).step_by(2).map(pair).collect())?
}

/// The keys of an environment: by the first is signed, and what any of them signed is accepted.
#[derive(Debug, Default)]
pub(crate) struct VisitKeys {
    pub(crate) signing: Option<VisitKey>,
    pub(crate) accepted: Vec<VisitKey>,
}

/// A visit that goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Going {
    pub(crate) key: String,
    pub(crate) entered: Entered,
}

/// What a route asks about a visitor.
pub(crate) struct Door<'a> {
    pub(crate) visit: &'a Visit,
    pub(crate) environment: &'a EnvironmentName,
    pub(crate) keys: &'a VisitKeys,
    /// Seconds since 1970.
    pub(crate) now_s: u64,
}

impl Door<'_> {
    fn place(&self) -> Place<'_> {
        Place { environment: self.environment, cookie: &self.visit.cookie }
    }

    /// Finds the visit that a request goes on with: the first of its cookies that is one.
    pub(crate) fn going(&self, request: &Request<'_>) -> Option<Going> {
        let cookies = request.raw_cookies(self.visit.cookie.as_bytes()).take(MAX_COOKIES);
        cookies.filter_map(|cookie| std::str::from_utf8(cookie).ok()).find_map(|cookie| self.read(cookie))
    }

    fn read(&self, cookie: &str) -> Option<Going> {
        if cookie.len() > MAX_COOKIE_BYTES {
            return None;
        }
        let (text, signature) = cookie.rsplit_once('.')?;
        let signature = unhex(signature)?;
        let is_signed = self.keys.accepted.iter().any(|key| key.signed(self.place(), text, &signature));
        let mut parts = text.split('.').filter(|_| is_signed);
        let (FORM, key, begun, entered) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?) else {
            return None;
        };
        let begun_s: u64 = begun.parse().ok()?;
        // One that begins later was given by a gateway whose clock is ahead; it lasts no longer than it would have there.
        let is_over = begun_s.saturating_add(self.visit.for_s) <= self.now_s;
        let is_whole = parts.next().is_none() && key.len() == KEY_DIGITS && !is_over;
        is_whole.then(|| Some(Going { key: key.to_owned(), entered: entered.parse().ok()? }))?
    }

    /// Begins a visit that sees what is; returns the value of `set-cookie`. `None` while there is no key to sign with.
    pub(crate) fn begin(&self, key: &str, entered: &Entered, https: bool) -> Option<String> {
        let text = format!("{FORM}.{key}.{}.{entered}", self.now_s);
        let signature = self.keys.signing.as_ref()?.sign(self.place(), &text);
        let Visit { for_s, cookie } = self.visit;
        let secure = if https { "; Secure" } else { "" };
        Some(format!("{cookie}={text}.{signature}; Max-Age={for_s}; Path=/; HttpOnly; SameSite=Lax{secure}"))
    }
}

/// Makes the key of a visitor.
pub(crate) fn made_key(random: &Random) -> String {
    format!("{:016x}{:016x}", random.draw(), random.draw())
}

/// Tells the seconds since 1970; a clock that cannot be read ends every visit.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}

/// What an earlier hop says of the visit: in `baggage`, else in `tracestate`, where that hop is believed.
pub(crate) fn carried(request: &Request<'_>, caller: Caller) -> Option<Entered> {
    let find = |kind, name: &str| {
        let mut all = request.values(kind).flat_map(members);
        all.find_map(|member| {
            let (found, rest) = member.split_once('=')?;
            (found.trim() == name).then(|| rest.split(';').next().unwrap_or_default().trim().parse().ok())?
        })
    };
    let traced = || find(Field::Tracestate, TRACESTATE_MEMBER).filter(|_| request.traced);
    caller.is_trusted().then(|| find(Field::Baggage, BAGGAGE_MEMBER).or_else(traced))?
}

/// Writes the member of `baggage`, with the comma before it.
pub(crate) fn write_baggage(output: &mut Vec<u8>, entered: &Entered) {
    output.extend_from_slice(format!(",{BAGGAGE_MEMBER}={entered}").as_bytes());
}

/// Writes the member of `tracestate`.
pub(crate) fn write_tracestate(output: &mut Vec<u8>, entered: &Entered) {
    output.extend_from_slice(format!("{TRACESTATE_MEMBER}={entered}").as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn environment() -> EnvironmentName {
        "production".parse().unwrap()
    }

    fn keys(secrets: &[&str]) -> VisitKeys {
        let accepted: Vec<_> = secrets.iter().map(|secret| VisitKey::parse(secret).unwrap()).collect();
        VisitKeys { signing: accepted.first().cloned(), accepted }
    }

    fn visit(cookie: &str) -> Visit {
        Visit { for_s: 100, cookie: cookie.to_owned() }
    }

    fn given(keys: &VisitKeys, now_s: u64) -> String {
        let (visit, environment) = (visit("a"), environment());
        let door = Door { visit: &visit, environment: &environment, keys, now_s };
        let key = "0123456789abcdef0123456789abcdef";
        let set = door.begin(key, &"41_3-40_1".parse().unwrap(), false).unwrap();
        set.strip_prefix("a=").unwrap().split_once(';').unwrap().0.to_owned()
    }

    fn read(cookie: &str, name: &str, keys: &VisitKeys, now_s: u64) -> Option<Going> {
        let (visit, environment) = (visit(name), environment());
        Door { visit: &visit, environment: &environment, keys, now_s }.read(cookie)
    }

    #[test]
    fn the_signature_is_hmac_sha256_as_others_compute_it() {
        // python3: hmac.new(SECRET.encode(), b"lockstep visit\0production\0a\0" + text, "sha256").hexdigest()[:32]
        let cookie = given(&keys(&[SECRET]), 1_000);
        let (text, signature) = cookie.rsplit_once('.').unwrap();
        assert_eq!(text, "1.0123456789abcdef0123456789abcdef.1000.41_3-40_1");
        assert_eq!(signature, PYTHON);
    }

    const PYTHON: &str = "bd11bbccdf2502010cbcca218d559696";

    #[test]
    fn a_visit_lasts_for_its_time_whatever_the_clock_does() {
        let keys = keys(&[SECRET]);
        let cookie = given(&keys, 1_000);
        for (now, goes_on) in [(1_000, true), (1_099, true), (1_100, false), (0, true), (u64::MAX, false)] {
            assert_eq!(read(&cookie, "a", &keys, now).is_some(), goes_on, "{now}");
        }
    }

    #[test]
    fn a_visit_is_for_its_cookie_and_its_keys() {
        let (old, other) = (keys(&[SECRET]), "f".repeat(64));
        let cookie = given(&old, 1_000);
        assert!(read(&cookie, "b", &old, 1_000).is_none(), "another cookie");
        assert!(read(&cookie, "a", &keys(&[&other]), 1_000).is_none(), "another key");
        assert!(read(&cookie, "a", &keys(&[&other, SECRET]), 1_000).is_some(), "the key of before");
        assert!(read(&cookie, "a", &VisitKeys::default(), 1_000).is_none());
        let secret = format!("{:?}", keys(&[SECRET]));
        assert!(!secret.contains(SECRET), "{secret}");
    }

    #[test]
    fn a_key_is_sixty_four_digits() {
        for bad in ["", "0", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65)] {
            assert!(VisitKey::parse(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_cookie_that_was_changed_anywhere_is_none(at in 0_usize..80, to in "[ -~]") {
            let keys = keys(&[SECRET]);
            let cookie = given(&keys, 1_000);
            let mut changed = cookie.clone();
            let at = at % cookie.len();
            changed.replace_range(at..=at, &to);
            let is_same = changed.eq_ignore_ascii_case(&cookie);
            prop_assert!(read(&changed, "a", &keys, 1_000).is_none() || is_same, "{}", changed);
        }

        #[test]
        fn no_cookie_makes_it_panic(cookie in ".{0,200}") {
            let _ = read(&cookie, "a", &keys(&[SECRET]), 1_000);
        }
    }
}
