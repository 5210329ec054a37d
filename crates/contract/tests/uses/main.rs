//! Operations in use: a consumer fits when nothing that it uses breaks, whatever else does.
#![expect(clippy::needless_pass_by_value, reason = "literal documents read best where they are used")]

mod graphql;
mod messages;
mod openapi;
mod properties;
mod protobuf;
#[path = "../support/schemas.rs"]
mod schemas;

use lockstep_contract::{Fit, InputError, Kind, Options, Source, fit_as};

/// Judges a consumer of one file against a provider of one file.
fn fit(kind: Kind, file: &str, used: &str, operations: &[&str], offered: &str) -> Fit {
    try_fit(kind, file, used, operations, offered).expect("both sides are valid")
}

fn try_fit(
    kind: Kind,
    file: &str,
    used: &str,
    operations: &[&str],
    offered: &str,
) -> Result<Fit, Vec<InputError>> {
    let source = |text: &str| Source::file(file, text.as_bytes());
    let operations: Vec<String> = operations.iter().map(|name| (*name).to_owned()).collect();
    fit_as(kind, &source(used), &operations, &source(offered), &Options::default())
}

/// What a fit found: rule and place.
fn found(fit: &Fit) -> Vec<(&'static str, &str)> {
    fit.changes.iter().map(|change| (change.rule.id, change.place.as_str())).collect()
}
