//! Protobuf on the wire, as much of it as calls to the catalog need.

/// A whole number in as few bytes as it needs.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
/// A text, or anything else with its length before it.
const WITH_LENGTH: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// Writes a message of one field, which is a text.
pub fn of_text(field: u64, text: &str) -> Vec<u8> {
    [varint(field << 3 | WITH_LENGTH), varint(text.len() as u64), text.into()].concat()
}

/// Returns a field that is a whole number, 0 where it is left out; `None` when this is no message.
pub fn number(message: &[u8], wanted: u64) -> Option<u64> {
    let (mut rest, mut found) = (message, 0);
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (field, VARINT) => {
                let value = take_varint(&mut rest)?;
                found = if field == wanted { value } else { found };
            }
            (_, EIGHT_BYTES) => skip(&mut rest, 8)?,
            (_, FOUR_BYTES) => skip(&mut rest, 4)?,
            (_, WITH_LENGTH) => {
                let length = take_varint(&mut rest)?;
                skip(&mut rest, length)?;
            }
            _ => return None,
        }
    }
    Some(found)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

fn skip(rest: &mut &[u8], length: u64) -> Option<()> {
    *rest = rest.get(usize::try_from(length).ok()?..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_bytes_that_protobuf_says() {
        assert_eq!(of_text(1, "tea"), b"\x0a\x03tea");
        assert_eq!(of_text(20, &"x".repeat(200))[..4], [0xa2, 0x01, 0xc8, 0x01]);
        assert_eq!(number(b"\x0a\x03tea\x10\xde\x02", 2), Some(350));
        assert_eq!(number(b"\x11\0\0\0\0\0\0\0\0\x1d\0\0\0\0\x10\x05", 2), Some(5), "others are passed over");
        assert_eq!((number(b"", 2), number(b"\x10\x05", 3)), (Some(0), Some(0)));
    }

    #[test]
    fn what_is_no_message_has_no_fields() {
        for broken in [&b"\x10"[..], b"\x0a\x04tea", b"\x0b", b"\x11\0", &[0xff; 12]] {
            assert_eq!(number(broken, 2), None, "{broken:?}");
        }
    }
}
