//! W3C Trace Context: recognising a `traceparent`, and making one.

use std::fmt::Write;

use crate::random::Random;

/// Length of a version 00 `traceparent`.
const LENGTH: usize = 55;

/// Returns the trace id of a valid `traceparent`.
pub(crate) fn trace_id(value: &str) -> Option<&str> {
    let bytes = value.as_bytes();
    let dashes = bytes.len() >= LENGTH && [2, 35, 52].iter().all(|&at| bytes[at] == b'-');
    // A later version may add fields after another dash.
    let ends = bytes.len() == LENGTH || (bytes.get(LENGTH) == Some(&b'-') && !value.starts_with("00"));
    if !dashes || !ends || value.starts_with("ff") {
        return None;
    }
    let parts = [value.get(..2)?, value.get(3..35)?, value.get(36..52)?, value.get(53..LENGTH)?];
    let hexadecimal = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let named = |part: &str| part.bytes().any(|b| b != b'0');
    (parts.iter().all(|part| hexadecimal(part)) && named(parts[1]) && named(parts[2])).then_some(parts[1])
}

/// Writes a new `traceparent` that is not sampled.
pub(crate) fn new_traceparent(random: &Random, into: &mut String) {
    // Ids of zeros only are not valid.
    let (high, low, parent) = (random.draw() | 1, random.draw(), random.draw() | 1);
    write!(into, "00-{high:016x}{low:016x}-{parent:016x}-00")
        .expect("a string takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_traceparents_name_a_trace() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_id(valid), Some("0af7651916cd43dd8448eb211c80319c"));
        assert!(trace_id(&valid.replace("00-0a", "cc-0a")).is_some());
        assert!(trace_id(&format!("{}-more", valid.replace("00-0a", "cc-0a"))).is_some());
        let bad = [
            String::new(),
            valid.to_uppercase(),
            format!("{valid}-more"),
            valid.replace("00-0a", "ff-0a"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16)),
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01".into(),
        ];
        for text in bad {
            assert_eq!(trace_id(&text), None, "{text}");
        }
    }

    #[test]
    fn a_new_traceparent_is_valid() {
        let mut text = String::new();
        new_traceparent(&Random::new(0), &mut text);
        assert!(trace_id(&text).is_some(), "{text}");
    }
}
