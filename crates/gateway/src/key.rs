//! The key that keeps a client on one version, and carrying it to the next hop in W3C `baggage`; `tracestate.rs` does the
//! same for services that pass on only their trace.
//!
//! A key is the same bytes wherever it is found: percent-encoding is taken off, so that a service that
//! forwards `baggage` or `tracestate` stays on the version that its client got by a cookie.

use std::borrow::Cow;

use lockstep_domain::priority::Priority;
use lockstep_domain::visit::Entered;

use crate::admission;
use crate::carried::is_ours;
use crate::field::members;
use crate::percent::{decode, encode};
use crate::priority;
use crate::version_rules;
use crate::visit;

/// The member of `baggage` that carries the key.
pub(crate) const BAGGAGE_MEMBER: &str = "lockstep.key";
/// The cookie that carries the key.
const COOKIE: &str = "lockstep_key";
/// Longest key; more would not fit beside what others keep in baggage.
pub(crate) const MAX_KEY_LENGTH: usize = 256;
/// What every participant must pass on by the W3C recommendation; members beyond it are dropped.
const MAX_BAGGAGE_LENGTH: usize = 8_192;
/// What every participant must pass on by the W3C recommendation; members beyond it are dropped.
const MAX_BAGGAGE_MEMBERS: usize = 64;

/// Where a client carried its key, the first that is found in this order. What an earlier hop decided comes before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KeySource {
    Cookie,
    Header,
    Trace,
}

/// Returns the cookie that gives a browser its key; `key` is one that the gateway made.
pub(crate) fn cookie(key: &[u8], seconds: u64, https: bool) -> String {
    let secure = if https { "; Secure" } else { "" };
    let key = String::from_utf8_lossy(key);
    format!("{COOKIE}={key}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}")
}

/// Checks a key's length.
pub(crate) fn valid(key: &[u8]) -> bool {
    (1..=MAX_KEY_LENGTH).contains(&key.len())
}

/// Finds the key in a `baggage` header.
pub(crate) fn in_baggage(value: &str) -> Option<Cow<'_, [u8]>> {
    members(value).find_map(key_of_member)
}

fn key_of_member(member: &str) -> Option<Cow<'_, [u8]>> {
    let (name, rest) = member.split_once('=')?;
    if name.trim() != BAGGAGE_MEMBER {
        return None;
    }
    let text = rest.split(';').next()?.trim();
    Some(decode(text)).filter(|key| valid(key))
}

/// Finds the key in a `Cookie` header.
pub(crate) fn in_cookie(value: &str) -> Option<&[u8]> {
    value.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(value);
        (name == COOKIE && valid(value.as_bytes())).then_some(value.as_bytes())
    })
}

/// Writes a `baggage` value with the key first, then the rules that take the request, what its visit sees, what it was admitted under, and then the members of `given`, as far as the
/// limits allow.
pub(crate) fn write_baggage<'a>(
    output: &mut Vec<u8>,
    (key, rules, entered, priority): (&[u8], &[u64], Option<&Entered>, Priority),
    admission: &str,
    given: impl Iterator<Item = &'a str>,
) {
    let start = output.len();
    output.extend_from_slice(BAGGAGE_MEMBER.as_bytes());
    output.push(b'=');
    encode(output, key, is_plain);
    version_rules::write_baggage(output, rules);
    entered.into_iter().for_each(|entered| visit::write_baggage(output, entered));
    priority::write_baggage(output, priority);
    admission::write_baggage(output, admission);
    let own = 1 + usize::from(!rules.is_empty()) + usize::from(entered.is_some());
    let own = own + usize::from(!priority.is_usual()) + usize::from(!admission.is_empty());
    let others = given.flat_map(members).filter(|member| !is_ours(member));
    for member in others.take(MAX_BAGGAGE_MEMBERS - own) {
        if output.len() - start + 1 + member.len() <= MAX_BAGGAGE_LENGTH {
            output.push(b',');
            output.extend_from_slice(member.as_bytes());
        }
    }
}

/// baggage-octet without the percent sign.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x24 | 0x26..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn baggage(key: &[u8], given: &[&str]) -> String {
        let mut output = Vec::new();
        write_baggage(&mut output, (key, &[], None, Priority::Normal), "", given.iter().copied());
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn key_is_found_among_other_members() {
        let found = in_baggage("a=1, lockstep.key = ann%20b ;p=1,c=2").unwrap();
        assert_eq!(found.as_ref(), b"ann b");
        assert!(in_baggage("lockstep.keys=1,lockstep.key=").is_none());
        assert_eq!(in_cookie("a=1; lockstep_key=\"ann\""), Some(&b"ann"[..]));
        assert_eq!(in_cookie("xlockstep_key=ann"), None);
    }

    #[test]
    fn key_is_put_before_what_was_there_and_replaces_an_unusable_one() {
        assert_eq!(
            baggage(b"ann b", &["a=1;p, b=2", "lockstep.key=", "lockstep.more=1"]),
            "lockstep.key=ann%20b,a=1;p,b=2"
        );
    }

    #[test]
    fn baggage_stays_within_the_limits() {
        let many = vec!["a=1"; 100];
        assert_eq!(members(&baggage(b"k", &many)).count(), MAX_BAGGAGE_MEMBERS);
        let long = format!("a={}", "x".repeat(5_000));
        assert_eq!(members(&baggage(b"k", &[&long, &long])).count(), 2);
        assert!(
            baggage(b"k", &[&long, &long, "b=2"]).ends_with(",b=2"),
            "what is small has room behind what has none"
        );
    }

    proptest! {
        #[test]
        fn any_key_survives_the_way_through_baggage(key in prop::collection::vec(any::<u8>(), 1..MAX_KEY_LENGTH)) {
            let text = baggage(&key, &[]);
            let found = in_baggage(&text).unwrap();
            prop_assert_eq!(found.as_ref(), &key[..]);
        }
    }
}
