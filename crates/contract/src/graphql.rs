//! GraphQL contracts: schemas in SDL, whole or partial, in one file or many, or as the answer to an introspection query.
//!
//! Compared by what operations may ask and what answers may hold. When the operations of consumers are given, only
//! what they use can break. Descriptions and the order of declarations are not compared, nor are directives applied to the schema but
//! for `@deprecated`, `@oneOf`, and those known to matter, which must be the same.

mod ast;
mod compare;
mod inputs;
mod introspection;
mod lexer;
mod merge;
mod parser;
mod rules;
mod schema;
pub(crate) mod specification;
mod usage;
mod valid;
mod whole;
mod witness;

use compare::Unused;
pub use rules::RULES;
use schema::{Schema, definitions, load};
use usage::Uses;

use crate::{Comparison, Findings, InputError, Location, NotChecked, Options, Source};

/// Names that files of SDL have.
const ENDINGS: [&str; 4] = [".graphql", ".graphqls", ".gql", ".sdl"];

/// True when the source looks like this format.
pub(crate) fn detect(source: &Source) -> bool {
    let is_answer = |content| std::str::from_utf8(content).is_ok_and(introspection::is_introspection);
    source.files().any(|(path, _)| ENDINGS.iter().any(|ending| path.ends_with(ending)))
        || source.entry().is_some_and(|(_, content)| is_answer(content))
}

/// A contract that has been read.
pub(crate) type Contract = Schema;

/// Reads a contract of this format.
pub(crate) fn read(source: &Source) -> Result<Contract, Vec<InputError>> {
    load(source)
}

/// Lists the operations of a contract: the fields of its root types, as `Query.order`.
pub(crate) fn operations(contract: &Contract) -> Vec<String> {
    let fields = contract.roots.values().filter_map(|root| Some((root, contract.types.get(&root.of)?)));
    fields.flat_map(|(root, of)| of.fields.keys().map(|field| format!("{}.{field}", root.of))).collect()
}

/// Compares two contracts of this format in both directions.
///
/// # Errors
/// What is wrong with the operations of consumers in the options.
pub(crate) fn compare(
    old: &Contract,
    new: &Contract,
    options: &Options,
) -> Result<Comparison, Vec<InputError>> {
    let documents = options.graphql_operations.as_ref().map(definitions).transpose()?;
    let uses = |schema: &Schema| documents.as_ref().map(|documents| Uses::of(schema, documents));
    let (old_uses, new_uses) = (uses(old), uses(new));
    let mut deploy = compare::compare(old, new, old_uses.as_ref(), Unused::Warning);
    note_unknown(&mut deploy, old_uses.as_ref());
    let roll_back = compare::compare(new, old, new_uses.as_ref(), Unused::Warning).turned();
    Ok(Comparison { deploy, roll_back })
}

/// Compares what the named root fields of the old contract, and the operations in the options, use of it, from old to
/// new only.
///
/// # Errors
/// What is wrong with the operations of consumers in the options.
pub(crate) fn fit(
    used: &Contract,
    operations: &[String],
    offered: &Contract,
    options: &Options,
) -> Result<Findings, Vec<InputError>> {
    let documents = options.graphql_operations.as_ref().map(definitions).transpose()?;
    let uses = match (operations, documents) {
        ([], None) => None,
        (fields, documents) => {
            let mut uses = Uses::of(used, &documents.unwrap_or_default());
            uses.add_fields(used, fields);
            Some(uses)
        }
    };
    let mut findings = compare::compare(used, offered, uses.as_ref(), Unused::LeftOut);
    note_unknown(&mut findings, uses.as_ref());
    Ok(findings)
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
