//! A protobuf contract lowered to what compatibility depends on.
//!
//! Names are fully qualified without a leading dot. Every name in a field or an RPC exists in the schema: lowering
//! refuses dangling references, so that the comparison never meets one.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    descriptor::FileOptions,
    features::{CppString, Syntax},
    unread::Unread,
};

/// Where an element stands: file, and line from 1 when the input carries source positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) file: Rc<str>,
    pub(super) line: Option<u32>,
}

/// All files of one side of a comparison.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub(super) files: BTreeMap<Rc<str>, FileFacts>,
    pub(super) messages: BTreeMap<String, MessageType>,
    pub(super) enums: BTreeMap<String, EnumType>,
    pub(super) services: BTreeMap<String, Service>,
    /// Extensions by the message they extend and their number.
    pub(super) extensions: BTreeMap<(String, i32), Field>,
    /// Files that could not be checked, with the reason. While there are any, absence proves nothing.
    pub(super) not_checked: Vec<(Position, String)>,
    /// What descriptors hold beyond what is compared.
    pub(super) unread: Unread,
}

#[derive(Debug)]
pub(super) struct FileFacts {
    pub(super) package: String,
    pub(super) syntax: Syntax,
    pub(super) options: FileOptions,
    /// False for the well-known files that every compiler brings along.
    pub(super) given: bool,
}

#[derive(Debug)]
pub(super) struct MessageType {
    pub(super) fields: BTreeMap<i32, Field>,
    pub(super) oneofs: BTreeSet<String>,
    pub(super) reserved: Ranges,
    pub(super) reserved_names: BTreeSet<String>,
    pub(super) extension_ranges: Ranges,
    pub(super) map_entry: bool,
    pub(super) message_set: bool,
    pub(super) no_standard_accessor: bool,
    pub(super) json_allowed: bool,
    pub(super) deprecated: bool,
    pub(super) position: Position,
}

/// What a message or an enum keeps from being used again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reservations<'a> {
    pub(super) numbers: &'a Ranges,
    pub(super) names: &'a BTreeSet<String>,
    pub(super) position: &'a Position,
}

impl MessageType {
    pub(super) fn reservations(&self) -> Reservations<'_> {
        Reservations { numbers: &self.reserved, names: &self.reserved_names, position: &self.position }
    }
}

impl EnumType {
    pub(super) fn reservations(&self) -> Reservations<'_> {
        Reservations { numbers: &self.reserved, names: &self.reserved_names, position: &self.position }
    }
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) json_name: String,
    pub(super) number: i32,
    pub(super) cardinality: Cardinality,
    pub(super) kind: Kind,
    pub(super) oneof: Option<String>,
    pub(super) default: Option<String>,
    pub(super) packed: bool,
    pub(super) utf8_checked: bool,
    pub(super) java_utf8_checked: bool,
    pub(super) cpp_string: CppString,
    pub(super) js_type: i32,
    pub(super) deprecated: bool,
    pub(super) position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cardinality {
    Implicit,
    Explicit,
    Required,
    Repeated,
    Map,
}

impl Cardinality {
    /// Says whether the field holds any number of values.
    pub(super) fn is_many(self) -> bool {
        matches!(self, Self::Repeated | Self::Map)
    }

    /// Names the cardinality as people speak of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Implicit => "singular",
            Self::Explicit => "optional",
            Self::Required => "required",
            Self::Repeated => "repeated",
            Self::Map => "map",
        }
    }
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar(Scalar),
    Enum(String),
    Message(String),
    /// A message between start and end tags: a proto2 group, or delimited encoding in editions.
    Group(String),
}

impl Kind {
    /// Names the type as a `.proto` file writes it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Scalar(scalar) => scalar.name().to_owned(),
            Self::Enum(name) | Self::Message(name) => name.clone(),
            Self::Group(name) => format!("group {name}"),
        }
    }

    /// Gives the name of the message type, however it is encoded.
    pub(super) fn message(&self) -> Option<&str> {
        match self {
            Self::Message(name) | Self::Group(name) => Some(name),
            Self::Scalar(_) | Self::Enum(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Bytes,
    Uint32,
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
}

impl Scalar {
    /// Reads a type number of `FieldDescriptorProto.Type`; enums and messages are not scalars.
    pub(super) fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Double,
            2 => Self::Float,
            3 => Self::Int64,
            4 => Self::Uint64,
            5 => Self::Int32,
            6 => Self::Fixed64,
            7 => Self::Fixed32,
            8 => Self::Bool,
            9 => Self::String,
            12 => Self::Bytes,
            13 => Self::Uint32,
            15 => Self::Sfixed32,
            16 => Self::Sfixed64,
            17 => Self::Sint32,
            18 => Self::Sint64,
            _ => return None,
        })
    }

    /// Names the type as a `.proto` file writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Float => "float",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Int32 => "int32",
            Self::Fixed64 => "fixed64",
            Self::Fixed32 => "fixed32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Uint32 => "uint32",
            Self::Sfixed32 => "sfixed32",
            Self::Sfixed64 => "sfixed64",
            Self::Sint32 => "sint32",
            Self::Sint64 => "sint64",
        }
    }
}

#[derive(Debug)]
pub(super) struct EnumType {
    /// Names by number: more than one where aliases are allowed, in order of declaration.
    pub(super) values: BTreeMap<i32, Vec<EnumValue>>,
    pub(super) reserved: Ranges,
    pub(super) reserved_names: BTreeSet<String>,
    pub(super) open: bool,
    pub(super) json_allowed: bool,
    pub(super) closed_in_cpp: bool,
    pub(super) closed_in_java: bool,
    pub(super) position: Position,
}

#[derive(Debug)]
pub(super) struct EnumValue {
    pub(super) name: String,
    pub(super) position: Position,
}

#[derive(Debug)]
pub(super) struct Service {
    pub(super) methods: BTreeMap<String, Method>,
    pub(super) position: Position,
}

#[derive(Debug)]
pub(super) struct Method {
    pub(super) input: String,
    pub(super) output: String,
    pub(super) client_streaming: bool,
    pub(super) server_streaming: bool,
    pub(super) idempotency: i32,
    pub(super) deprecated: bool,
    pub(super) position: Position,
}

/// Disjoint ranges of numbers, both ends inclusive, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(i32, i32)>);

impl Ranges {
    /// Sorts and joins ranges given with both ends inclusive.
    pub(super) fn new(mut ranges: Vec<(i32, i32)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(i32, i32)> = Vec::with_capacity(ranges.len());
        for (start, end) in ranges {
            match joined.last_mut() {
                Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => joined.push((start, end)),
            }
        }
        Self(joined)
    }

    /// Says whether a number lies in one of the ranges.
    pub(super) fn contains(&self, number: i32) -> bool {
        let after = self.0.partition_point(|(start, _)| *start <= number);
        after > 0 && self.0[after - 1].1 >= number
    }

    /// Gives the first part of these ranges that the other ranges do not cover.
    pub(super) fn first_missing_in(&self, other: &Self) -> Option<(i32, i32)> {
        self.0.iter().find_map(|&(start, end)| {
            let Some(&(_, covered)) = other.0.iter().find(|(s, e)| *s <= start && start <= *e) else {
                return Some((start, end));
            };
            (covered < end).then(|| (covered + 1, end))
        })
    }
}
