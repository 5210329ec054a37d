//! How a schema is meant: on which side it stands, in which dialect it is written, and how its documents travel.

use serde_json::Value;

use crate::schema::specification;

/// The side of a comparison a document belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Old,
    New,
}

/// The dialects that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    /// OpenAPI 3.0 and Swagger 2: `nullable`, and `$ref` stands alone. Their tools heed later keywords.
    OpenApi30,
    /// OpenAPI 3.1 and later.
    OpenApi31,
    Draft4,
    Draft6,
    Draft7,
    Draft201909,
    Draft202012,
    /// JSON Schema that does not say of which draft it is: whatever some draft reads counts.
    AnyDraft,
}

/// The drafts of JSON Schema, by what their `$schema` contains, and what the list of keywords calls them.
const DRAFTS: [(&str, Dialect); 5] = [
    ("draft-04", Dialect::Draft4),
    ("draft-06", Dialect::Draft6),
    ("draft-07", Dialect::Draft7),
    ("draft/2019-09", Dialect::Draft201909),
    ("draft/2020-12", Dialect::Draft202012),
];

impl Dialect {
    pub(crate) fn reference_stands_alone(self) -> bool {
        matches!(self, Self::OpenApi30 | Self::Draft4 | Self::Draft6 | Self::Draft7)
    }

    /// False for keywords that the dialect does not have, so that they demand nothing.
    pub(crate) fn has(self, keyword: &str) -> bool {
        match self {
            Self::OpenApi30 => true,
            Self::OpenApi31 => specification::is_known_to(keyword, &["3.1"]),
            Self::Draft4 => specification::is_known_to(keyword, &["draft-4"]),
            Self::Draft6 => specification::is_known_to(keyword, &["draft-6"]),
            Self::Draft7 => specification::is_known_to(keyword, &["draft-7"]),
            Self::Draft201909 => specification::is_known_to(keyword, &["2019-09"]),
            Self::Draft202012 => specification::is_known_to(keyword, &["2020-12"]),
            Self::AnyDraft => specification::is_known_to(keyword, &specification::DRAFTS),
        }
    }

    /// True where `items` may be a list, with one schema for each item.
    pub(crate) fn lists_items(self) -> bool {
        !matches!(self, Self::OpenApi31 | Self::Draft202012)
    }

    /// True where `exclusiveMinimum` may be a number; true of `exclusiveMinimum: true` where it may be that.
    pub(crate) fn bounds_exclusively_by(self, bound: ExclusiveBound) -> bool {
        match self {
            Self::OpenApi30 | Self::AnyDraft => true,
            Self::Draft4 => bound == ExclusiveBound::Flag,
            _ => bound == ExclusiveBound::Number,
        }
    }

    /// True where contents of strings are told and not demanded.
    pub(crate) fn annotates_contents(self) -> bool {
        matches!(self, Self::Draft201909 | Self::Draft202012)
    }

    /// The dialect that a `$schema` names; `None` for one that is not known.
    pub(crate) fn declared(schema: &Value) -> Option<Self> {
        let text = schema.as_str()?;
        DRAFTS.iter().find(|(name, _)| text.contains(name)).map(|(_, dialect)| *dialect)
    }

    pub(crate) fn is_openapi(self) -> bool {
        matches!(self, Self::OpenApi30 | Self::OpenApi31)
    }
}

/// The two forms of a bound that is itself not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExclusiveBound {
    /// `true`, beside the bound: draft 4.
    Flag,
    /// The bound itself: since draft 6.
    Number,
}

/// How documents travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Json,
    /// In URLs and headers, where every number is text as well: free text reads it.
    Text,
}
