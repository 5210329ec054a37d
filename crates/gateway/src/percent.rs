//! Percent-encoding of any bytes in fields that take few of them.

use std::borrow::Cow;

/// Writes bytes with everything percent-encoded that is not plain.
pub(crate) fn encode(output: &mut Vec<u8>, bytes: &[u8], is_plain: impl Fn(u8) -> bool) {
    if bytes.iter().all(|&byte| is_plain(byte)) {
        return output.extend_from_slice(bytes);
    }
    for &byte in bytes {
        if is_plain(byte) {
            output.push(byte);
        } else {
            output.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

/// Takes percent-encoding off.
pub(crate) fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let bytes = text.as_bytes();
    let (mut key, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let byte = escaped
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        key.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    Cow::Owned(key)
}
