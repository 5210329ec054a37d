//! GraphQL contracts: every rule on a small pair, operations in use, properties, and hostile input.

mod hostile;
mod introspection;
mod properties;
mod rules;
mod usage;

use lockstep_contract::{Kind, Options, Report, Source, diff_as};

/// A schema in one file.
fn source(text: &str) -> Source {
    Source::file("schema.graphql", text.as_bytes())
}

/// Compares two schemas.
fn report(old: &str, new: &str) -> Report {
    diff_as(Kind::GraphQl, &source(old), &source(new), &Options::default()).expect("both sides are valid")
}

/// What a report found: rule and place.
fn found(report: &Report) -> Vec<(&'static str, &str)> {
    report.changes.iter().map(|change| (change.rule.id, change.place.as_str())).collect()
}
