//! Small documents around the part under test.

use lockstep_contract::{Kind, Options, Report, Source, Verdict, diff_as};
use serde_json::{Value, json};

/// A document with one operation.
pub(crate) fn with_operation(operation: &Value) -> Value {
    json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/pets": {"post": operation}}})
}

/// A document whose operation takes a body of this schema.
pub(crate) fn with_body(schema: &Value) -> Value {
    with_operation(&json!({
        "requestBody": {"content": {"application/json": {"schema": schema}}},
        "responses": {"204": {"description": "done"}},
    }))
}

/// A document whose operation answers with this schema.
pub(crate) fn with_answer(schema: &Value) -> Value {
    with_operation(
        &json!({"responses": {"200": {"description": "ok", "content": {"application/json": {"schema": schema}}}}}),
    )
}

pub(crate) fn source(document: &Value) -> Source {
    Source::file("openapi.json", document.to_string().into_bytes())
}

pub(crate) fn diff(old: &Value, new: &Value) -> Report {
    diff_with(old, new, &Options::default())
}

pub(crate) fn diff_with(old: &Value, new: &Value, options: &Options) -> Report {
    diff_as(Kind::OpenApi, &source(old), &source(new), options).expect("valid documents")
}

/// The ids of all changes, sorted.
pub(crate) fn ids(report: &Report) -> Vec<&'static str> {
    let mut ids: Vec<_> = report.changes.iter().map(|change| change.rule.id).collect();
    ids.sort_unstable();
    ids
}

/// Asserts the verdict and that a rule was among what was found.
#[track_caller]
pub(crate) fn assert_found(report: &Report, verdict: Verdict, rule: &str) {
    assert_eq!(report.verdict, verdict, "{report:#?}");
    assert!(ids(report).contains(&rule), "{rule} in {:?}", ids(report));
}
