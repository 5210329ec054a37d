//! What requests carry from hop to hop in members of `baggage`, or of `tracestate` where their services pass on only their trace, and whose members these are.

use std::borrow::Cow;

use crate::field::{Field, members};
use crate::percent::decode;
use crate::request::Request;

/// Members of `baggage` that begin so are written by gateways only.
const FAMILY: &[u8] = b"lockstep.";

/// Where a member is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Baggage,
    Tracestate,
}

/// Reads the first member of this name that can be read: in `baggage`, else in `tracestate` of a request with a trace.
pub(crate) fn carried<'r, T>(
    request: &Request<'r>,
    (baggage, tracestate): (&str, &str),
    read: impl Fn(&'r str) -> Option<T>,
) -> Option<(T, Place)> {
    let find = |kind, name: &str| {
        let mut values = request.values(kind).flat_map(members).filter_map(|member| value_of(member, name));
        values.find_map(&read)
    };
    let in_baggage = find(Field::Baggage, baggage).map(|found| (found, Place::Baggage));
    in_baggage.or_else(|| {
        let found = request.traced.then(|| find(Field::Tracestate, tracestate))?;
        found.map(|found| (found, Place::Tracestate))
    })
}

fn value_of<'m>(member: &'m str, name: &str) -> Option<&'m str> {
    let (found, rest) = member.split_once('=')?;
    (found.trim() == name).then(|| rest.split(';').next().unwrap_or_default().trim())
}

/// Tells whether only gateways write such a member of `baggage`. A spelling that some library might mend is one of them: what a
/// stranger claims must not come back from an instance.
pub(crate) fn is_ours(member: &str) -> bool {
    let name = member.split(['=', ';']).next().unwrap_or_default();
    let mut name = Cow::Borrowed(name.as_bytes());
    // Each library on the way may take one encoding off.
    while name.contains(&b'%') {
        let less = decode(&String::from_utf8_lossy(&name)).into_owned();
        if less.len() == name.len() {
            break;
        }
        name = Cow::Owned(less);
    }
    let name = String::from_utf8_lossy(&name);
    let name = name.trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '+').as_bytes();
    name.get(..FAMILY.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(FAMILY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_that_some_library_mends_is_ours() {
        for claim in [
            "lockstep.key=eve",
            "lockstep.admitted",
            "lockstep.admitted;p=1",
            "LOCKSTEP.Admitted=0",
            "lockstep%2Eadmitted=63",
            "lockstep%2eadmitted = 63",
            "lockstep%252Eadmitted=63",
            "%6Cockstep.rules=1",
            "%20lockstep.priority=critical",
            "+lockstep.priority=critical",
            "%00lockstep.key=eve",
            "lockstep%25252525252Ekey=eve",
        ] {
            assert!(is_ours(claim), "{claim}");
        }
        for other in
            ["a=lockstep.key", "lockstep=1", "my.lockstep.key=1", "lockstep%=1", "100%25=1", "=", "%=%"]
        {
            assert!(!is_ours(other), "{other}");
        }
    }
}
