//! Pure contract engine: bytes to contract, and the difference of two contracts in both directions.
//!
//! [`diff`] reads two [`Source`]s of one [`Kind`] and answers whether consumers of the old contract fit the new one
//! ("may deploy"), whether consumers of the new one fit the old one ("may roll back"), which bump the change owes, and
//! why, change by change. [`fit`] answers the first for one consumer that uses some operations only. The crate does no
//! I/O, keeps no clock and never panics on any input. What it cannot decide it reports as not checked; it never passes it
//! as compatible.

mod answer;
mod assemble;
pub mod asyncapi;
pub mod avro;
mod dialect;
mod document;
mod draft;
mod field;
mod foreign;
mod gather;
pub mod graphql;
pub mod json_schema;
mod library;
mod model;
pub mod openapi;
mod options;
mod parsed;
pub mod protobuf;
pub mod render;
mod rules;
mod schema;
mod snapshot;
mod source;
pub mod specification;
pub mod sql;
mod text;
mod trial;
mod uses;
mod witness;

pub use answer::{AnswerCheck, Answered};
pub use assemble::{Files, assemble, is_wanted};
pub use model::{
    Acceptance, Accepted, Bump, Change, Comparison, Findings, Flow, InputError, Kind, Level, Location,
    NotChecked, Report, Rule, Verdict,
};
pub use options::{MessageRole, Options, ProtobufPolicy, ServerVersion, SqlDialect, UnknownFields};
use parsed::different_kinds;
pub use parsed::{Parsed, diff_parsed};
pub use snapshot::{Snapshot, SnapshotError};
pub use source::Source;
pub use uses::{
    Fit, UnknownOperation, check, fit, fit_as, fit_parsed, operations, operations_parsed, received,
    unknown_operations,
};
pub use witness::Tried;

/// All rules of all formats, in the order of formats.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let others =
        [protobuf::RULES, graphql::RULES, sql::RULES, avro::RULES, asyncapi::RULES].into_iter().flatten();
    openapi::rules().chain(others).chain(json_schema::rules())
}

/// The rule with this id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.id == id)
}

/// The rule whose id is most like this one, when one is.
#[must_use]
pub fn rule_like(id: &str) -> Option<&'static Rule> {
    uses::nearest(id, rules().map(|rule| rule.id)).and_then(rule)
}

/// Finds the format of a contract by its file names and content.
#[must_use]
pub fn detect(source: &Source) -> Option<Kind> {
    if foreign::refuse(source).is_some() {
        None
    } else if protobuf::detect(source) {
        Some(Kind::Protobuf)
    } else if graphql::detect(source) {
        Some(Kind::GraphQl)
    } else if sql::detect(source) {
        Some(Kind::Sql)
    } else if avro::detect(source) {
        Some(Kind::Avro)
    } else if asyncapi::detect(source) {
        Some(Kind::AsyncApi)
    } else if openapi::detect(source) {
        Some(Kind::OpenApi)
    } else if json_schema::detect(source) {
        Some(Kind::JsonSchema)
    } else {
        None
    }
}

/// Compares two contracts of the same format in both directions.
///
/// # Errors
/// Everything that is wrong with either input, at once: a file that cannot be read as its format, a format that
/// cannot be told, or two different formats.
pub fn diff(old: &Source, new: &Source, options: &Options) -> Result<Report, Vec<InputError>> {
    let kind = common_kind(old, new)?;
    diff_as(kind, old, new, options)
}

/// Compares two contracts whose format is known.
///
/// # Errors
/// Everything that is wrong with either input, at once.
pub fn diff_as(kind: Kind, old: &Source, new: &Source, options: &Options) -> Result<Report, Vec<InputError>> {
    let (old, new) = Parsed::read_both(kind, old, new)?;
    diff_parsed(&old, &new, options)
}

fn common_kind(old: &Source, new: &Source) -> Result<Kind, Vec<InputError>> {
    match (detect(old), detect(new)) {
        (Some(old), Some(new)) if old == new => Ok(old),
        (Some(one), Some(other)) => Err(vec![different_kinds(one, other)]),
        (old_kind, new_kind) => {
            let unknown = [(old, old_kind), (new, new_kind)].into_iter().filter(|(_, kind)| kind.is_none());
            Err(unknown.map(|(source, _)| unknown_kind(source)).collect())
        }
    }
}

fn unknown_kind(source: &Source) -> InputError {
    if let Some(error) = foreign::refuse(source) {
        return error;
    }
    let file = source.entry().map(|(path, _)| path).or_else(|| source.files().next().map(|(path, _)| path));
    InputError::new(
        file.unwrap_or_default(),
        "the format of this contract cannot be told from its name or content",
    )
    .with_hint(
        "name the format, or check that the file is OpenAPI, AsyncAPI, Protobuf, GraphQL, SQL, Avro or JSON Schema",
    )
}
