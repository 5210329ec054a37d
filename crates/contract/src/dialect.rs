//! How a schema is meant: on which side it stands, in which dialect it is written, and how its documents travel.

use serde_json::Value;

/// The side of a comparison a document belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Old,
    New,
}

/// What differs between the dialects that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    /// OpenAPI 3.0 and Swagger 2: `nullable`, and `$ref` stands alone.
    OpenApi30,
    /// OpenAPI 3.1 and later.
    OpenApi31,
    /// JSON Schema up to draft 7: `$ref` stands alone.
    EarlyJsonSchema,
    /// JSON Schema 2019-09 and later.
    JsonSchema,
}

impl Dialect {
    pub(crate) fn reference_stands_alone(self) -> bool {
        matches!(self, Self::OpenApi30 | Self::EarlyJsonSchema)
    }

    /// False for keywords that the dialect does not have, so that they demand nothing.
    pub(crate) fn has(self, keyword: &str) -> bool {
        self != Self::EarlyJsonSchema || !LATER_KEYWORDS.contains(&keyword)
    }

    /// The dialect that a `$schema` names; `None` for one that is not known.
    pub(crate) fn declared(schema: &Value) -> Option<Self> {
        const EARLY: [&str; 3] = ["draft-04", "draft-06", "draft-07"];
        const LATER: [&str; 2] = ["draft/2019-09", "draft/2020-12"];
        let text = schema.as_str()?;
        if EARLY.iter().any(|draft| text.contains(draft)) {
            Some(Self::EarlyJsonSchema)
        } else if LATER.iter().any(|draft| text.contains(draft)) {
            Some(Self::JsonSchema)
        } else {
            None
        }
    }

    pub(crate) fn is_openapi(self) -> bool {
        matches!(self, Self::OpenApi30 | Self::OpenApi31)
    }
}

/// Keywords that drafts up to 7 do not have.
const LATER_KEYWORDS: [&str; 8] = [
    "prefixItems",
    "minContains",
    "maxContains",
    "unevaluatedItems",
    "unevaluatedProperties",
    "dependentRequired",
    "dependentSchemas",
    "$dynamicRef",
];

/// How documents travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Json,
    /// In URLs and headers, where every number is text as well: free text reads it.
    Text,
}
