//! W3C Trace Context: recognising a `traceparent`, and making one.

use crate::random::Random;

/// Length of a version 00 `traceparent`.
const LENGTH: usize = 55;
/// Where the trace id stands in it.
const ID: std::ops::Range<usize> = 3..35;
/// Where the id of the span stands in it.
const PARENT: std::ops::Range<usize> = 36..52;

/// The flag that says that a trace is recorded.
pub(crate) const SAMPLED: u8 = 0b01;
/// The flag that says that the last 56 bits of a trace id are random (W3C Trace Context, level 2).
pub(crate) const RANDOM: u8 = 0b10;

/// What a `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TraceContext {
    pub(crate) trace: u128,
    /// The span of whoever sent it.
    pub(crate) parent: u64,
    pub(crate) flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent`; `None` where it is not valid.
    pub(crate) fn read(value: &str) -> Option<Self> {
        trace_id(value)?;
        Some(Self {
            trace: u128::from_str_radix(&value[ID], 16).ok()?,
            parent: u64::from_str_radix(&value[PARENT], 16).ok()?,
            flags: u8::from_str_radix(&value[53..LENGTH], 16).ok()?,
        })
    }

    /// Writes it as version 00 has it.
    pub(crate) fn write(self, into: &mut String) {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let [high, low] = [(self.trace >> 64) as u64, self.trace as u64];
        put_hexadecimal(&mut text[3..19], high);
        put_hexadecimal(&mut text[19..35], low);
        put_hexadecimal(&mut text[PARENT], self.parent);
        text[53..].copy_from_slice(&PAIRS[usize::from(self.flags)]);
        into.push_str(std::str::from_utf8(&text).unwrap_or_default());
    }
}

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
    TraceContext { trace: new_trace(random), parent: new_span(random), flags: 0 }.write(into);
}

/// Draws the id of a trace. One of zeros only would not be valid.
pub(crate) fn new_trace(random: &Random) -> u128 {
    u128::from(random.draw() | 1) << 64 | u128::from(random.draw())
}

/// Draws the id of a span. One of zeros only would not be valid.
pub(crate) fn new_span(random: &Random) -> u64 {
    random.draw() | 1
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
pub(crate) fn put_hexadecimal(into: &mut [u8], number: u64) {
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
    fn what_is_read_is_written_as_it_was() {
        for flags in ["00", "01", "02", "03", "ff"] {
            let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
            let mut written = String::new();
            TraceContext::read(&text).unwrap().write(&mut written);
            assert_eq!(written, text);
        }
        assert_eq!(TraceContext::read("00-0-0-01"), None);
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
