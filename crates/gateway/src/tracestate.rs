//! The key in W3C `tracestate`, for services that pass their trace on and no `baggage`: most tracing libraries do the
//! first by themselves.
//!
//! The list belongs to others too. What they put there goes on as it is, and the key is left out where the list would
//! get longer than every participant has to keep: some libraries cut a longer one off.

use std::borrow::Cow;

use lockstep_domain::priority::Priority;
use lockstep_domain::visit::Entered;

use crate::admission;
use crate::field::members;
use crate::key::valid;
use crate::percent::{decode, encode};
use crate::priority;
use crate::version_rules::{self, TRACESTATE_MEMBER};
use crate::visit;

/// The member that carries the key.
const MEMBER: &str = "lockstep";
/// Longest value of a member by the W3C recommendation.
const MAX_VALUE_LENGTH: usize = 256;
/// Most members by the W3C recommendation: a list with more is not valid.
const MAX_MEMBERS: usize = 32;
/// What every participant should keep by the W3C recommendation.
const MAX_LENGTH: usize = 512;

/// Finds the key in a `tracestate` header.
pub(crate) fn in_tracestate(value: &str) -> Option<Cow<'_, [u8]>> {
    let text = members(value).find_map(|member| member.strip_prefix(MEMBER)?.strip_prefix('='))?;
    Some(decode(text)).filter(|key| valid(key))
}

/// Writes the value of the field with the key first, then the rules that take the request, and then the members of `given`; nothing where there is
/// none of them.
pub(crate) fn write_tracestate<'a>(
    output: &mut Vec<u8>,
    (key, rules, entered, priority): (Option<&[u8]>, &[u64], Option<&Entered>, Priority),
    admission: &str,
    given: impl Iterator<Item = &'a str> + Clone,
) {
    let others = given.flat_map(members).filter(|member| !is_ours(member));
    let list = output.len();
    if let Some(key) = key {
        write_member(output, (list, others.clone()), |output| {
            put_name(output, MEMBER);
            encode(output, key, is_plain);
        });
    }
    if !rules.is_empty() {
        write_member(output, (list, others.clone()), |output| version_rules::write_tracestate(output, rules));
    }
    if let Some(entered) = entered {
        write_member(output, (list, others.clone()), |output| visit::write_tracestate(output, entered));
    }
    if !priority.is_usual() {
        write_member(output, (list, others.clone()), |output| priority::write_tracestate(output, priority));
    }
    if !admission.is_empty() {
        write_member(output, (list, others.clone()), |output| admission::write_tracestate(output, admission));
    }
    for member in others {
        if output.len() > list {
            output.push(b',');
        }
        output.extend_from_slice(member.as_bytes());
    }
}

/// Writes a member behind those of ours before it, where it fits before the others.
fn write_member<'a>(
    output: &mut Vec<u8>,
    (list, others): (usize, impl Iterator<Item = &'a str>),
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = output.len();
    if start > list {
        output.push(b',');
    }
    let member = output.len();
    write(output);
    let value = output[member..].iter().position(|&byte| byte == b'=').map_or(0, |at| member + at + 1);
    let ours = 1 + members(std::str::from_utf8(&output[list..start]).unwrap_or_default()).count();
    let own = (ours, output.len() - list);
    let (count, length) = others.fold(own, |(count, length), it| (count + 1, length + 1 + it.len()));
    if output.len() - value > MAX_VALUE_LENGTH || count > MAX_MEMBERS || length > MAX_LENGTH {
        output.truncate(start);
    }
}

fn put_name(output: &mut Vec<u8>, name: &str) {
    output.extend_from_slice(name.as_bytes());
    output.push(b'=');
}

/// Tells whether only gateways write such a member. A spelling that some library might mend is one of them: what a
/// stranger claims must not come back from an instance.
fn is_ours(member: &str) -> bool {
    let name = member.split('=').next().unwrap_or(member).trim();
    let ours = [MEMBER, TRACESTATE_MEMBER, visit::TRACESTATE_MEMBER];
    let ours = ours.iter().chain(&[priority::TRACESTATE_MEMBER, admission::TRACESTATE_MEMBER]);
    ours.copied().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// What may stand in a value, without the percent sign.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x24 | 0x26..=0x2b | 0x2d..=0x3c | 0x3e..=0x7e)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(key: Option<&[u8]>, given: &[&str]) -> String {
        let mut output = Vec::new();
        write_tracestate(&mut output, (key, &[], None, Priority::Normal), "", given.iter().copied());
        String::from_utf8(output).unwrap()
    }

    fn list(key: &[u8], given: &[&str]) -> String {
        written(Some(key), given)
    }

    #[test]
    fn the_key_comes_first_and_what_others_wrote_stays_in_its_order() {
        assert_eq!(list(b"ann", &[]), "lockstep=ann");
        assert_eq!(
            list(b"a=b, %", &["dd=s:1;t.dm:-0 , a@b=1", "lockstep=eve,es=s:1"]),
            "lockstep=a%3Db%2C%20%25,dd=s:1;t.dm:-0,a@b=1,es=s:1"
        );
        assert_eq!(written(None, &["dd=s:1,lockstep=old", "es=1"]), "dd=s:1,es=1");
        assert_eq!(written(None, &["lockstep=old", " ,"]), "");
    }

    #[test]
    fn every_spelling_that_might_be_mended_is_taken_out() {
        for claim in [
            "lockstep=eve",
            "lockstep =eve",
            "LockStep=eve",
            "lockstep",
            "lockstep==eve",
            "lockstep=",
            "lockstep\u{a0}=eve",
        ] {
            assert_eq!(written(None, &[claim]), "", "{claim}");
        }
        for other in ["lockstep2=1", "lockstep@dd=1", "x@lockstep=1", "lock=step=1"] {
            assert_eq!(list(b"ann", &[other]), format!("lockstep=ann,{other}"));
        }
    }

    #[test]
    fn a_list_that_would_get_too_long_goes_on_without_the_key() {
        let many = vec!["a=1"; 31];
        assert_eq!(members(&list(b"ann", &many)).count(), MAX_MEMBERS);
        assert!(!list(b"ann", &["a=1"; 32]).contains(MEMBER));
        let filled = |length: usize| format!("a={}", "x".repeat(length - 2));
        let room = MAX_LENGTH - "lockstep=ann,".len();
        assert_eq!(list(b"ann", &[&filled(room)]).len(), MAX_LENGTH);
        assert_eq!(list(b"ann", &[&filled(room + 1)]), filled(room + 1));
        assert_eq!(list(&[b'k'; MAX_VALUE_LENGTH], &[]).len(), MEMBER.len() + 1 + MAX_VALUE_LENGTH);
        assert_eq!(written(Some(&[b' '; 86]), &[]), "", "258 bytes when it is written");
    }

    #[test]
    fn only_a_key_of_ours_that_can_be_one_is_found() {
        assert_eq!(in_tracestate("a=1, lockstep=ann%20b ,c=2").unwrap().as_ref(), b"ann b");
        for none in ["lockstep=", "lockstep", "lockstep =ann", "Lockstep=ann", "xlockstep=ann", ""] {
            assert!(in_tracestate(none).is_none(), "{none}");
        }
        assert!(in_tracestate(&format!("lockstep={}", "x".repeat(257))).is_none());
    }

    proptest! {
        #[test]
        fn any_key_that_fits_survives_and_nothing_of_others_is_lost(
            key in prop::collection::vec(any::<u8>(), 1..256),
            given in prop::collection::vec("[ -~]{0,40}", 0..40),
        ) {
            let given: Vec<&str> = given.iter().map(String::as_str).collect();
            let text = written(Some(&key), &given);
            let text = text.as_str();
            if let Some(found) = in_tracestate(text) {
                prop_assert_eq!(found.as_ref(), &key[..]);
                prop_assert!(text.len() <= MAX_LENGTH && members(text).count() <= MAX_MEMBERS);
            }
            let others: Vec<&str> = given.iter().copied().flat_map(members).filter(|it| !is_ours(it)).collect();
            let kept: Vec<&str> = members(text).filter(|it| !is_ours(it)).collect();
            prop_assert_eq!(kept, others);
        }
    }
}
