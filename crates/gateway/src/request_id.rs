//! What people find a request by, in the logs of all that it passes: `x-request-id`.
//!
//! A gateway, or who is believed, says it; a stranger's would let it give one id to many requests, or that of somebody else. A request whose trace
//! begins here has the trace's id: it is made anyway, and one search finds both. Where the trace came with the request an id is drawn, for a
//! trace has many requests.

use super::request::Request;
use crate::field::Field;
use crate::random::Random;
use crate::trace::{new_trace, put_hexadecimal};

/// The header field.
pub(crate) const FIELD: &str = "x-request-id";
/// Longest id that is taken from others: it stands in each line of a log.
const MAX_LENGTH: usize = 128;

/// Returns the id that a request came with, where it is one.
pub(crate) fn said<'b>(request: &Request<'b>) -> Option<&'b str> {
    let mut values = request.values(Field::RequestId);
    let id = values.next().filter(|id| is_valid(id))?;
    values.next().is_none().then_some(id)
}

/// Draws an id.
pub(crate) fn drawn(random: &Random) -> Box<str> {
    let (id, mut text) = (new_trace(random), [0; 32]);
    put_hexadecimal(&mut text[..16], (id >> 64) as u64);
    put_hexadecimal(&mut text[16..], id as u64);
    std::str::from_utf8(&text).unwrap_or_default().into()
}

fn is_valid(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b';');
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_drawn_that_are_valid_and_never_the_same() {
        let random = Random::new(3);
        let ids: std::collections::BTreeSet<_> = (0..1_000).map(|_| drawn(&random)).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 32 && is_valid(id)));
    }

    #[test]
    fn what_would_break_a_line_or_fill_a_log_is_no_id() {
        for bad in ["", "a b", "a\tb", "a\"b", "a,b", "\u{e4}", &"x".repeat(129)] {
            assert!(!is_valid(bad), "{bad}");
        }
        for good in ["7b7d3f1e-0b0f-4a52", "Root=1-67891233-abcdef", &"x".repeat(128)] {
            assert!(is_valid(good), "{good}");
        }
    }
}
