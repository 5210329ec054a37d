//! W3C Trace Context: recognising a `traceparent`, and making one.

use std::ops::Range;

use crate::random::Random;

/// Length of a version 00 `traceparent`.
const LENGTH: usize = 55;
/// Where the trace id stands in it.
const ID: Range<usize> = 3..35;

/// Returns the trace id of a valid `traceparent`.
pub(crate) fn trace_id(value: &str) -> Option<&str> {
    let bytes = value.as_bytes();
    let dashes = bytes.len() >= LENGTH && [2, 35, 52].iter().all(|&at| bytes[at] == b'-');
    // A later version may add fields after another dash.
    let ends = bytes.len() == LENGTH || (bytes.get(LENGTH) == Some(&b'-') && !value.starts_with("00"));
    if !dashes || !ends || value.starts_with("ff") {
        return None;
    }
    let parts = [value.get(..2)?, value.get(ID)?, value.get(36..52)?, value.get(53..LENGTH)?];
    let hexadecimal = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let named = |part: &str| part.bytes().any(|b| b != b'0');
    (parts.iter().all(|part| hexadecimal(part)) && named(parts[1]) && named(parts[2])).then_some(parts[1])
}

/// Writes a new `traceparent` that is not sampled.
pub(crate) fn new_traceparent(random: &Random, into: &mut String) {
    // Ids of zeros only are not valid.
    let (high, low, parent) = (random.draw() | 1, random.draw(), random.draw() | 1);
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    put_hexadecimal(&mut text[3..19], high);
    put_hexadecimal(&mut text[19..35], low);
    put_hexadecimal(&mut text[36..52], parent);
    into.push_str(std::str::from_utf8(&text).unwrap_or_default());
}

/// Returns the trace id of a `traceparent` that was made here; nothing where none was made.
pub(crate) fn made_id(made: &str) -> &str {
    made.get(ID).unwrap_or_default()
}

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let (digits, mut pairs, mut byte) = (b"0123456789abcdef", [[0; 2]; 256], 0);
    while byte < 256 {
        pairs[byte] = [digits[byte / 16], digits[byte % 16]];
        byte += 1;
    }
    pairs
};

/// Writes 16 digits. Most requests need 48 of them, and formatting would be a fifth of their cost in this program.
fn put_hexadecimal(into: &mut [u8], number: u64) {
    for (place, byte) in into.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        place.copy_from_slice(&PAIRS[usize::from(byte)]);
    }
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
        assert_eq!(trace_id(&text), Some(made_id(&text)), "{text}");
        assert_eq!(made_id(""), "");
    }

    #[test]
    fn all_digits_of_a_number_are_written() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let mut text = [0; 16];
            put_hexadecimal(&mut text, number);
            assert_eq!(text, *format!("{number:016x}").as_bytes());
        }
    }
}
