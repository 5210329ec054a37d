//! What the specifications of the formats list, field by field, and what a comparison does with each: data.
//!
//! A field that stands in no list is of a later version, or a slip of the pen: where it differs, nobody knows what it means,
//! and the comparison ends as not checked. `tests/specification/` walks every list with a pair for each field, in both directions.

pub use crate::field::{Field, Treatment};

/// All fields of all formats.
pub fn all() -> impl Iterator<Item = &'static Field> {
    crate::openapi::specification::all()
        .chain(crate::protobuf::specification::all())
        .chain(crate::graphql::specification::ALL)
        .chain(crate::avro::specification::all())
        .chain(crate::asyncapi::specification::all())
}
