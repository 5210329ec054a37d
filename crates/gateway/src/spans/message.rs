//! The messages of OTLP that spans are sent in (`opentelemetry/proto/collector/trace/v1`, stable since 1.0: numbers of fields never
//! change), as far as something is said in them here. They are written straight into bytes: made as objects first, with a text for each
//! name and a length computed at each level, they cost more than the requests they are about.

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// On which side of a connection it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Server = 2,
    Client = 3,
}

/// The number of a status that is an error.
const ERROR: u64 = 2;
/// The fields of a span and of a program that have attributes.
const OF_SPAN: u32 = 9;
const OF_RESOURCE: u32 = 1;

/// Attributes as they are written.
#[derive(Debug)]
pub(super) struct Attributes {
    field: u32,
    bytes: Vec<u8>,
}

impl Attributes {
    pub(super) fn of_span() -> Self {
        // Most spans have less.
        Self { field: OF_SPAN, bytes: Vec::with_capacity(1_024) }
    }

    pub(super) fn of_resource() -> Self {
        Self { field: OF_RESOURCE, bytes: Vec::new() }
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.add(key, 1 + encoded_len_varint(value.len() as u64) + value.len(), |bytes| {
            put(bytes, 1, value.as_bytes());
        });
    }

    pub(super) fn number(&mut self, key: &str, value: impl TryInto<i64>) {
        let value = value.try_into().unwrap_or(i64::MAX).cast_unsigned();
        self.add(key, 1 + encoded_len_varint(value), |bytes| put_number(bytes, 3, value));
    }

    /// Says what is so, and nothing of what is not.
    pub(super) fn flag(&mut self, key: &str, is_so: bool) {
        if is_so {
            self.add(key, 2, |bytes| put_number(bytes, 2, 1));
        }
    }

    pub(super) fn some(&mut self, key: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.text(key, value.as_ref());
        }
    }

    /// Writes a key, and a value that has so many bytes.
    fn add(&mut self, key: &str, length: usize, value: impl FnOnce(&mut Vec<u8>)) {
        let of_key = 1 + encoded_len_varint(key.len() as u64) + key.len();
        let all = of_key + 1 + encoded_len_varint(length as u64) + length;
        head(&mut self.bytes, self.field, all);
        put(&mut self.bytes, 1, key.as_bytes());
        head(&mut self.bytes, 2, length);
        value(&mut self.bytes);
    }
}

/// Something that took time.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) trace: u128,
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Nanoseconds since 1970.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) attributes: Attributes,
    pub(super) is_error: bool,
    /// The flags of the trace in the lowest byte, and whether the parent is of another process.
    pub(super) flags: u32,
}

impl Span {
    /// Writes it.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.attributes.bytes.len() + self.name.len() + 96);
        put(&mut bytes, 1, &self.trace.to_be_bytes());
        put(&mut bytes, 2, &self.id.to_be_bytes());
        if let Some(parent) = self.parent {
            put(&mut bytes, 4, &parent.to_be_bytes());
        }
        put(&mut bytes, 5, self.name.as_bytes());
        put_number(&mut bytes, 6, self.kind as u64);
        for (field, time) in [(7, self.start), (8, self.end)] {
            encode_key(field, WireType::SixtyFourBit, &mut bytes);
            bytes.put_u64_le(time);
        }
        bytes.extend_from_slice(&self.attributes.bytes);
        if self.is_error {
            head(&mut bytes, 15, 2);
            put_number(&mut bytes, 3, ERROR);
        }
        encode_key(16, WireType::ThirtyTwoBit, &mut bytes);
        bytes.put_u32_le(self.flags);
        bytes
    }
}

/// Writes what a collector is sent: spans of one part of one program.
pub(super) fn request(
    resource: &Attributes,
    (name, version): (&str, &str),
    spans: &[Vec<u8>],
    schema: &str,
) -> Vec<u8> {
    let (mut scope, mut head) = (Vec::new(), Vec::new());
    put(&mut scope, 1, name.as_bytes());
    put(&mut scope, 2, version.as_bytes());
    let mut of_scope = Vec::with_capacity(spans.iter().map(|span| span.len() + 8).sum::<usize>() + 128);
    put(&mut of_scope, 1, &scope);
    spans.iter().for_each(|span| put(&mut of_scope, 2, span));
    put(&mut of_scope, 3, schema.as_bytes());
    let mut of_program = Vec::with_capacity(of_scope.len() + resource.bytes.len() + 128);
    put(&mut of_program, 1, &resource.bytes);
    put(&mut of_program, 2, &of_scope);
    put(&mut of_program, 3, schema.as_bytes());
    put(&mut head, 1, &of_program);
    head
}

fn head(bytes: &mut Vec<u8>, field: u32, length: usize) {
    encode_key(field, WireType::LengthDelimited, bytes);
    encode_varint(length as u64, bytes);
}

fn put(bytes: &mut Vec<u8>, field: u32, value: &[u8]) {
    head(bytes, field, value.len());
    bytes.extend_from_slice(value);
}

fn put_number(bytes: &mut Vec<u8>, field: u32, value: u64) {
    encode_key(field, WireType::Varint, bytes);
    encode_varint(value, bytes);
}
