//! What reading and writing heads of requests and of answers have in common.

use httparse::Header;

use crate::field::Field;
use crate::request::MAX_FIELDS;

/// What each field of a head means, in their order.
pub(crate) type Kinds = [Field; MAX_FIELDS];

/// Recognises all fields of a head.
pub(crate) fn kinds_of(headers: &[Header<'_>]) -> Kinds {
    let mut kinds = [Field::Other; MAX_FIELDS];
    for (kind, header) in kinds.iter_mut().zip(headers) {
        *kind = Field::of(header.name);
    }
    kinds
}

/// Writes texts one behind the other.
pub(crate) fn put(output: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        output.extend_from_slice(text.as_bytes());
    }
}

/// Writes a field as it came.
pub(crate) fn put_field(output: &mut Vec<u8>, field: &Header<'_>) {
    put(output, &[field.name, ": "]);
    output.extend_from_slice(field.value);
    output.extend_from_slice(b"\r\n");
}
