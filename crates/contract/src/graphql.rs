//! GraphQL contracts: schemas in SDL, whole or partial, in one file or many.
//!
//! Compared by what operations may ask and what answers may hold. When the operations of consumers are given, only
//! what they use can break. Descriptions, the order of declarations, and directives applied to the schema (but for
//! `@deprecated` and `@oneOf`) are not compared.

mod ast;
mod compare;
mod inputs;
mod lexer;
mod parser;
mod rules;
mod schema;
mod usage;
mod witness;

pub use rules::RULES;
use schema::{Schema, definitions, load};
use usage::Uses;

use crate::{Comparison, Findings, InputError, Location, NotChecked, Options, Source};

/// Names that files of SDL have.
const ENDINGS: [&str; 4] = [".graphql", ".graphqls", ".gql", ".sdl"];

/// True when the source looks like this format.
pub(crate) fn detect(source: &Source) -> bool {
    source.files().any(|(path, _)| ENDINGS.iter().any(|ending| path.ends_with(ending)))
}

/// Compares two contracts of this format in both directions.
pub(crate) fn compare(old: &Source, new: &Source, options: &Options) -> Result<Comparison, Vec<InputError>> {
    let operations = options.graphql_operations.as_ref().map(definitions).transpose();
    let (old, new, operations) = match (load(old), load(new), operations) {
        (Ok(old), Ok(new), Ok(operations)) => (old, new, operations),
        (old, new, operations) => {
            let errors = [old.err(), new.err(), operations.err()];
            return Err(errors.into_iter().flatten().flatten().collect());
        }
    };
    let uses = |schema: &Schema| operations.as_ref().map(|documents| Uses::of(schema, documents));
    let (old_uses, new_uses) = (uses(&old), uses(&new));
    let mut deploy = compare::compare(&old, &new, old_uses.as_ref());
    note_unknown(&mut deploy, old_uses.as_ref());
    Ok(Comparison { deploy, roll_back: compare::compare(&new, &old, new_uses.as_ref()) })
}

/// An operation that was not made for the old schema proves nothing about it.
fn note_unknown(findings: &mut Findings, uses: Option<&Uses>) {
    for (file, line, what) in uses.into_iter().flat_map(|uses| &uses.unknown) {
        let location = Location { file: file.to_string(), line: *line };
        let reason = format!("the operation was not made for the old schema: {what}");
        let place = location.to_string();
        findings.not_checked.push(NotChecked { place, reason, old: Some(location), new: None });
    }
}
