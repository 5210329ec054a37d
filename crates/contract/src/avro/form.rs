//! What Avro types are made of: the parts of the language, without what a file says beside them.

use serde_json::{Map, Value};

/// A type of one schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TypeId(pub(super) usize);

/// A place in one of the files of a schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) document: usize,
    pub(super) pointer: String,
}

/// What a type is made of.
#[derive(Debug)]
pub(super) enum Form {
    Primitive(Primitive),
    Record(Named, Vec<Field>),
    Enum(Named, Symbols),
    Fixed(Named, u64),
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
}

impl Form {
    /// The name of a type that has one.
    pub(super) fn named(&self) -> Option<&Named> {
        match self {
            Self::Record(named, _) | Self::Enum(named, _) | Self::Fixed(named, _) => Some(named),
            _ => None,
        }
    }

    /// What a value of this branch is tagged with in JSON.
    pub(super) fn tag(&self) -> String {
        match self {
            Self::Primitive(primitive) => primitive.as_str().to_owned(),
            Self::Record(named, _) | Self::Enum(named, _) | Self::Fixed(named, _) => named.full.clone(),
            Self::Array(_) => "array".to_owned(),
            Self::Map(_) => "map".to_owned(),
            Self::Union(_) => "union".to_owned(),
        }
    }
}

/// Types without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Primitive {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
}

impl Primitive {
    const ALL: [Self; 8] = [
        Self::Null,
        Self::Boolean,
        Self::Int,
        Self::Long,
        Self::Float,
        Self::Double,
        Self::Bytes,
        Self::String,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|primitive| primitive.as_str() == name)
    }

    /// True when a reader may take a value of this type for one of another, as the specification lists it.
    pub(super) fn promotes_to(self, reader: Self) -> bool {
        matches!(
            (self, reader),
            (Self::Int, Self::Long | Self::Float | Self::Double)
                | (Self::Long, Self::Float | Self::Double)
                | (Self::Float, Self::Double)
                | (Self::String, Self::Bytes)
                | (Self::Bytes, Self::String)
        )
    }
}

/// The name of a record, enum or fixed, and its other names.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) full: String,
    /// Full names too.
    pub(super) aliases: Vec<String>,
}

impl Named {
    /// The name without its namespace.
    pub(super) fn simple(&self) -> &str {
        simple(&self.full)
    }
}

/// A full name without its namespace.
pub(super) fn simple(full: &str) -> &str {
    full.rsplit('.').next().unwrap_or(full)
}

/// The symbols of an enum, and the one for those that a reader does not know.
#[derive(Debug)]
pub(super) struct Symbols {
    pub(super) all: Vec<String>,
    pub(super) default: Option<String>,
}

/// A field of a record.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) of: TypeId,
    pub(super) default: Option<Value>,
    pub(super) spot: Spot,
    /// What is said of it, as it stands.
    pub(super) said: Map<String, Value>,
}
