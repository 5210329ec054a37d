//! Visits: keeping a visitor on one side of rollouts by a signed cookie, also while shares grow, and carrying that to the next hop.
//!
//! The cookie has a key as every client has one, when the visit began, and how far rollouts had come then; never a version. So what the arm is
//! follows from the table as ever, and a cookie can ask for no more than a visitor of that time would get. Routes that share a cookie may keep
//! visitors for different times: it then says of each beginning that one of them still goes by, and none ends what another keeps. Invariant:
//! what is not signed with a key of the environment, for this cookie of it, or began too long ago, is as good as no cookie.

use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::visit::{Entered, Visit};
use lockstep_domain::{Digest, EnvironmentName};
use sha2::{Digest as _, Sha256};

use crate::carried;
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
/// Of them what is signed; the rest is its signature, with the point before it.
const MAX_TEXT_BYTES: usize = MAX_COOKIE_BYTES - 1 - 2 * SIGNATURE_BYTES;
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

/// What a cookie says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) key: String,
    /// When a visit began, in seconds since 1970, and what it sees; the oldest first.
    begun: Vec<(u64, Entered)>,
}

impl Kept {
    /// Makes what a visitor has that comes for the first time.
    pub(crate) const fn new(key: String) -> Self {
        Self { key, begun: Vec::new() }
    }

    /// Finds the visit that goes on where visits last for so long. One that begins later was given by a gateway whose clock is ahead; it lasts
    /// no longer than it would have there.
    fn going(&self, for_s: u64, now_s: u64) -> Option<&(u64, Entered)> {
        self.begun.iter().find(|(begun_s, _)| begun_s.saturating_add(for_s) > now_s)
    }
}

/// What a route asks about a visitor.
pub(crate) struct Door<'a> {
    pub(crate) visit: &'a Visit,
    /// For how long routes with this cookie keep visitors, in seconds.
    pub(crate) times: &'a BTreeSet<u64>,
    pub(crate) environment: &'a EnvironmentName,
    pub(crate) keys: &'a VisitKeys,
    /// Seconds since 1970.
    pub(crate) now_s: u64,
}

impl Door<'_> {
    fn place(&self) -> Place<'_> {
        Place { environment: self.environment, cookie: &self.visit.cookie }
    }

    /// Finds what a request says of its visitor: the first of its cookies by which a visit goes on, here or on another route.
    pub(crate) fn kept(&self, request: &Request<'_>) -> Option<Kept> {
        let cookies = request.raw_cookies(self.visit.cookie.as_bytes()).take(MAX_COOKIES);
        cookies.filter_map(|cookie| std::str::from_utf8(cookie).ok()).find_map(|cookie| self.read(cookie))
    }

    /// Finds what the visit sees that goes on here.
    pub(crate) fn going<'k>(&self, kept: &'k Kept) -> Option<&'k Entered> {
        kept.going(self.visit.for_s, self.now_s).map(|(_, entered)| entered)
    }

    fn read(&self, cookie: &str) -> Option<Kept> {
        if cookie.len() > MAX_COOKIE_BYTES {
            return None;
        }
        let (text, signature) = cookie.rsplit_once('.')?;
        let signature = unhex(signature)?;
        let is_signed = self.keys.accepted.iter().any(|key| key.signed(self.place(), text, &signature));
        let mut parts = text.split('.').filter(|_| is_signed);
        let (FORM, key) = (parts.next()?, parts.next()?) else { return None };
        let mut kept = Kept::new(key.to_owned());
        while let Some(begun) = parts.next() {
            kept.begun.push((begun.parse().ok()?, parts.next()?.parse().ok()?));
        }
        let goes_on = self.times.iter().any(|for_s| kept.going(*for_s, self.now_s).is_some());
        Some(kept).filter(|_| key.len() == KEY_DIGITS && goes_on)
    }

    /// Begins a visit that sees what is, beside those that go on elsewhere; returns the value of `set-cookie`. `None` while there is no key to
    /// sign with.
    pub(crate) fn begin(&self, kept: &mut Kept, entered: Entered, https: bool) -> Option<String> {
        let goes_on = self.times.iter().filter_map(|for_s| kept.going(*for_s, self.now_s));
        let goes_on: BTreeSet<u64> = goes_on.map(|(begun_s, _)| *begun_s).collect();
        kept.begun.retain(|(begun_s, _)| goes_on.contains(begun_s));
        kept.begun.push((self.now_s, entered));
        kept.begun.sort_by_key(|(begun_s, _)| *begun_s);
        let mut text = said(kept);
        while text.len() > MAX_TEXT_BYTES && kept.begun.len() > 1 {
            kept.begun.remove(0);
            text = said(kept);
        }
        let signature = self.keys.signing.as_ref()?.sign(self.place(), &text);
        // Another route may go by what begins now.
        let lasts = self.times.last()?;
        let cookie = &self.visit.cookie;
        let secure = if https { "; Secure" } else { "" };
        Some(format!("{cookie}={text}.{signature}; Max-Age={lasts}; Path=/; HttpOnly; SameSite=Lax{secure}"))
    }
}

/// Writes what is signed.
fn said(Kept { key, begun }: &Kept) -> String {
    begun.iter().fold(format!("{FORM}.{key}"), |mut text, (begun_s, entered)| {
        let _ = write!(text, ".{begun_s}.{entered}");
        text
    })
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
    let find = || carried::carried(request, (BAGGAGE_MEMBER, TRACESTATE_MEMBER), |text| text.parse().ok());
    caller.is_trusted().then(find)?.map(|(entered, _)| entered)
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
        let times = BTreeSet::from([visit.for_s]);
        let door = Door { visit: &visit, times: &times, environment: &environment, keys, now_s };
        let mut kept = Kept::new("0123456789abcdef0123456789abcdef".to_owned());
        value(&door.begin(&mut kept, "41_3-40_1".parse().unwrap(), false).unwrap())
    }

    fn value(set: &str) -> String {
        set.strip_prefix("a=").unwrap().split_once(';').unwrap().0.to_owned()
    }

    fn read(cookie: &str, name: &str, keys: &VisitKeys, now_s: u64) -> Option<Kept> {
        let (visit, environment) = (visit(name), environment());
        let times = BTreeSet::from([visit.for_s]);
        Door { visit: &visit, times: &times, environment: &environment, keys, now_s }.read(cookie)
    }

    /// What a visitor sees that asks a route which keeps visitors for so long, at a time at which so many steps were taken; and its cookie.
    fn comes(cookie: &mut Option<String>, times: &BTreeSet<u64>, for_s: u64, now_s: u64) -> String {
        let (keys, environment) = (keys(&[SECRET]), environment());
        let visit = Visit { for_s, ..visit("a") };
        let door = Door { visit: &visit, times, environment: &environment, keys: &keys, now_s };
        let kept = cookie.as_deref().and_then(|cookie| door.read(cookie));
        let mut kept = kept.unwrap_or_else(|| Kept::new(format!("{now_s:032x}")));
        if door.going(&kept).is_none() {
            let now = format!("7_{now_s}").parse().unwrap();
            *cookie = Some(value(&door.begin(&mut kept, now, false).unwrap()));
        }
        door.going(&kept).unwrap().to_string()
    }

    #[test]
    fn routes_that_share_a_cookie_keep_a_visitor_each_for_its_own_time() {
        let times = BTreeSet::from([100, 1_000]);
        let mut cookie = None;
        for (now_s, for_s, seen) in [
            (10, 1_000, "7_10"),
            (50, 100, "7_10"),
            (109, 100, "7_10"),
            (110, 100, "7_110"),
            (111, 1_000, "7_10"),
            (209, 100, "7_110"),
            (500, 100, "7_500"),
            (1_009, 1_000, "7_10"),
            (1_010, 1_000, "7_500"),
            (1_020, 100, "7_1020"),
            (1_500, 1_000, "7_1020"),
        ] {
            assert_eq!(comes(&mut cookie, &times, for_s, now_s), seen, "{now_s} {for_s}");
        }
    }

    #[test]
    fn a_cookie_that_several_routes_share_is_kept_for_as_long_as_one_of_them_goes_by_it() {
        let (visit, times, environment) = (visit("a"), BTreeSet::from([100, 1_000]), environment());
        let keys = keys(&[SECRET]);
        let set = |now_s, kept: &mut Kept| {
            let door = Door { visit: &visit, times: &times, environment: &environment, keys: &keys, now_s };
            door.begin(kept, Entered::default(), false).unwrap()
        };
        let mut kept = Kept::new("0".repeat(32));
        for (now_s, begun) in [(10, 1), (300, 2), (500, 2), (1_200, 2)] {
            assert!(set(now_s, &mut kept).contains("; Max-Age=1000;"), "the other one may go by it");
            assert_eq!(kept.begun.len(), begun, "what nobody goes by any more is left out");
        }
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
        fn every_route_sees_what_it_saw_until_its_own_time_is_over(
            times in prop::collection::btree_set(1_u64..500, 1..5),
            asks in prop::collection::vec((0_u64..60, any::<prop::sample::Index>()), 1..60),
        ) {
            let (mut cookie, mut now_s) = (None, 1);
            let mut seen = std::collections::BTreeMap::<u64, (u64, String)>::new();
            for (later, which) in asks {
                now_s += later;
                let for_s = *times.iter().nth(which.index(times.len())).unwrap();
                let sees = comes(&mut cookie, &times, for_s, now_s);
                let begun: u64 = sees[2..].parse().unwrap();
                prop_assert!(begun <= now_s && begun + for_s > now_s, "no longer than its time");
                if let Some((until, before)) = seen.get(&for_s).filter(|(until, _)| *until > now_s) {
                    prop_assert_eq!(&sees, before, "until {}", until);
                }
                seen.insert(for_s, (begun + for_s, sees));
                prop_assert!(cookie.as_ref().unwrap().len() <= MAX_COOKIE_BYTES);
            }
        }

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
