//! What it takes to run a witness: of a document, the schemas between which it shows a difference.

use crate::dialect::{Dialect, Medium, Side};

/// Whether a witness has been run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Trial {
    /// Not yet; of a document, between which schemas.
    #[default]
    Due,
    /// Not yet: the document, or the part of it under a key, is allowed by one schema and not by another.
    DueBetween(Box<Between>),
    /// It fails, as far as anybody can tell who could be asked.
    Run,
}

/// The schemas between which a document shows the difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Between {
    /// The schema that allows it.
    pub(crate) held: SchemaPlace,
    /// The schema that does not.
    pub(crate) holding: SchemaPlace,
    /// Under which key of the witness the document is; without one it is all of it.
    pub(crate) slot: Option<&'static str>,
    /// What is said of properties that do not travel in this flow.
    pub(crate) hides: Option<&'static str>,
    pub(crate) medium: Medium,
}

/// Where a schema is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SchemaPlace {
    pub(crate) side: Side,
    pub(crate) dialect: Dialect,
    pub(crate) document: usize,
    pub(crate) pointer: String,
}
