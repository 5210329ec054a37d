//! Concrete messages that show a break: what one side writes, as JSON and as bytes, and what the other side makes of it.
//!
//! A witness holds one field only. Its bytes are computed here, from the encoding rules, without any library, so that
//! tests can hold them against an independent implementation.

use serde_json::{Value, json};

use super::schema::{Cardinality, Field, Kind, Scalar, Schema};

/// Which side wrote the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// One value of a field, in both encodings.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    json: Value,
    wire: Vec<u8>,
}

/// Shows a message with one field, written by one side, and what happens to it on the other.
pub(super) fn field(side: Side, message: &str, field: &Field, sample: &Sample, outcome: &str) -> Value {
    let value = match field.cardinality {
        Cardinality::Repeated => json!([sample.json]),
        _ => sample.json.clone(),
    };
    let mut bytes = tag(field.number, &field.kind, field);
    bytes.extend(packed_length(field, sample));
    bytes.extend(&sample.wire);
    if let Kind::Group(_) = field.kind {
        varint(&mut bytes, tag_number(field.number) << 3 | 4);
    }
    json!({
        "written_by": side.name(),
        "message": message,
        "json": { field.json_name.clone(): value },
        "wire": hex(&bytes),
        "outcome": outcome,
    })
}

/// Shows a message with two fields, of which the reader keeps only one.
pub(super) fn two(schema: &Schema, side: Side, message: &str, fields: [&Field; 2]) -> Option<Value> {
    let mut fields = fields;
    fields.sort_by_key(|field| field.number);
    let mut json = serde_json::Map::new();
    let mut wire = String::new();
    for field in fields {
        let shown = self::field(side, message, field, &sample(schema, field)?, "");
        json.extend(shown["json"].as_object()?.clone());
        wire.push_str(shown["wire"].as_str()?);
    }
    let outcome = "the reader has both in one oneof and keeps only the last of them";
    Some(
        json!({ "written_by": side.name(), "message": message, "json": json, "wire": wire, "outcome": outcome }),
    )
}

/// Shows an empty message of one side.
pub(super) fn empty(side: Side, message: &str, outcome: &str) -> Value {
    json!({ "written_by": side.name(), "message": message, "json": {}, "wire": "", "outcome": outcome })
}

/// Shows the bare call of an RPC.
pub(super) fn call(service: &str, method: &str, outcome: &str) -> Value {
    json!({ "call": format!("/{service}/{method}"), "outcome": outcome })
}

/// Picks a plain value of a field, one that its type is not likely to share with another; maps have none.
pub(super) fn sample(schema: &Schema, field: &Field) -> Option<Sample> {
    if field.cardinality == Cardinality::Map {
        return None;
    }
    match &field.kind {
        Kind::Scalar(scalar) => Some(scalar_sample(*scalar)),
        Kind::Enum(name) => {
            let values = &schema.enums.get(name)?.values;
            let (number, names) =
                values.iter().find(|(number, _)| **number > 0).or_else(|| values.iter().next())?;
            Some(enum_sample(*number, &names.first()?.name))
        }
        Kind::Message(_) => Some(Sample { json: json!({}), wire: vec![0] }),
        Kind::Group(_) => Some(Sample { json: json!({}), wire: Vec::new() }),
    }
}

/// Gives a number as a sample of a field of integers.
pub(super) fn number(field: &Field, value: i32) -> Option<Sample> {
    match field.kind {
        Kind::Scalar(scalar) if scalar != Scalar::Bool => Some(integer(scalar, value.into())),
        _ => None,
    }
}

/// Gives an enum value as a sample.
pub(super) fn enum_sample(number: i32, name: &str) -> Sample {
    let mut wire = Vec::new();
    varint(&mut wire, extended(i64::from(number)));
    Sample { json: json!(name), wire }
}

/// Gives a value of one integer type that another, of the same encoding, reads as a different one.
pub(super) fn misread(writer: Scalar, reader: Scalar) -> Option<(Sample, &'static str)> {
    use Scalar::{Bool, Fixed32, Fixed64, Int32, Int64, Sfixed32, Sfixed64, Sint32, Sint64, Uint32, Uint64};
    let (value, seen): (i128, &str) = match (writer, reader) {
        (Int64 | Uint64 | Sint64, Int32 | Uint32 | Sint32) => (4_294_967_296, "the reader sees 0"),
        (Int32, Uint32) => (-1, "the reader sees 4294967295"),
        (Int32 | Int64, Uint64) => (-1, "the reader sees 18446744073709551615"),
        (Uint32, Int32) => (4_294_967_295, "the reader sees -1"),
        (Uint64, Int64) => (18_446_744_073_709_551_615, "the reader sees -1"),
        (Int32 | Int64 | Uint32 | Uint64, Bool) => (2, "the reader sees true"),
        (Fixed32, Sfixed32) => (4_294_967_295, "the reader sees -1"),
        (Sfixed32, Fixed32) => (-1, "the reader sees 4294967295"),
        (Fixed64, Sfixed64) => (18_446_744_073_709_551_615, "the reader sees -1"),
        (Sfixed64, Fixed64) => (-1, "the reader sees 18446744073709551615"),
        _ => return None,
    };
    Some((integer(writer, value), seen))
}

/// Gives bytes that are not text.
pub(super) fn ill_formed_text() -> Sample {
    Sample { json: json!("/w=="), wire: vec![1, 0xff] }
}

fn scalar_sample(scalar: Scalar) -> Sample {
    match scalar {
        Scalar::Double => Sample { json: json!(1.5), wire: 1.5_f64.to_le_bytes().to_vec() },
        Scalar::Float => Sample { json: json!(1.5), wire: 1.5_f32.to_le_bytes().to_vec() },
        Scalar::Bool => Sample { json: json!(true), wire: vec![1] },
        Scalar::String => Sample { json: json!("text"), wire: b"\x04text".to_vec() },
        Scalar::Bytes => ill_formed_text(),
        _ => integer(scalar, 1_000),
    }
}

/// Encodes an integer that fits the type.
fn integer(scalar: Scalar, value: i128) -> Sample {
    let low = u64::from_le_bytes(value.to_le_bytes().first_chunk().copied().unwrap_or_default());
    let mut wire = Vec::new();
    match scalar {
        Scalar::Fixed32 | Scalar::Sfixed32 => wire.extend(low.to_le_bytes().iter().take(4)),
        Scalar::Fixed64 | Scalar::Sfixed64 => wire.extend(low.to_le_bytes()),
        Scalar::Sint32 | Scalar::Sint64 => varint(&mut wire, low << 1 ^ if value < 0 { u64::MAX } else { 0 }),
        _ => varint(&mut wire, low),
    }
    let wide = matches!(
        scalar,
        Scalar::Int64 | Scalar::Uint64 | Scalar::Fixed64 | Scalar::Sfixed64 | Scalar::Sint64
    );
    let json = match (wide, i64::try_from(value)) {
        (false, Ok(number)) => json!(number),
        _ => json!(value.to_string()),
    };
    Sample { json, wire }
}

fn tag(number_of_field: i32, kind: &Kind, field: &Field) -> Vec<u8> {
    let wire_type = match kind {
        Kind::Group(_) => 3,
        Kind::Message(_) | Kind::Scalar(Scalar::String | Scalar::Bytes) => 2,
        _ if is_packed(field) => 2,
        Kind::Scalar(Scalar::Double | Scalar::Fixed64 | Scalar::Sfixed64) => 1,
        Kind::Scalar(Scalar::Float | Scalar::Fixed32 | Scalar::Sfixed32) => 5,
        Kind::Scalar(_) | Kind::Enum(_) => 0,
    };
    let mut bytes = Vec::new();
    varint(&mut bytes, tag_number(number_of_field) << 3 | wire_type);
    bytes
}

fn is_packed(field: &Field) -> bool {
    let number = match field.kind {
        Kind::Scalar(scalar) => !matches!(scalar, Scalar::String | Scalar::Bytes),
        Kind::Enum(_) => true,
        Kind::Message(_) | Kind::Group(_) => false,
    };
    number && field.packed && field.cardinality == Cardinality::Repeated
}

fn packed_length(field: &Field, sample: &Sample) -> Vec<u8> {
    let mut bytes = Vec::new();
    if is_packed(field) {
        varint(&mut bytes, sample.wire.len() as u64);
    }
    bytes
}

fn tag_number(field: i32) -> u64 {
    u64::try_from(field).unwrap_or_default()
}

fn extended(value: i64) -> u64 {
    u64::from_le_bytes(value.to_le_bytes())
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push((value & 0x7f) as u8);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
