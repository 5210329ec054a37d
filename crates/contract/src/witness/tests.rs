//! What does not fail is not shown, in each format; nor is what was not run.

use serde_json::{Value, json};

use crate::{Kind, Options, Parsed, Report, Source, Tried, diff_parsed};

/// Compares two contracts, puts another witness in the place of the first one, and runs it.
fn run(kind: Kind, file: &str, (old, new): (&str, &str), shown: Option<Value>) -> (Report, Tried) {
    let source = |text: &str| Source::file(file, text.as_bytes());
    let (old, new) = (source(old), source(new));
    let [before, after] = [&old, &new].map(|side| Parsed::read(side, kind).expect("it can be read"));
    let mut report = diff_parsed(&before, &after, &Options::default()).expect("they can be compared");
    report.changes.retain(|change| change.witness.is_some());
    report.changes.truncate(1);
    if shown.is_some() {
        report.changes[0].witness = shown;
    }
    let tried = report.run_witnesses(&before, &after, &Options::default());
    (report, tried)
}

const NARROWED: (&str, &str) = (
    r#"{"type": "object", "properties": {"n": {"maximum": 10}}}"#,
    r#"{"type": "object", "properties": {"n": {"maximum": 5}}}"#,
);

const OPENAPI: (&str, &str) = (
    r##"{"openapi": "3.0.3", "info": {}, "paths": {"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}}, "responses": {}}}}, "components": {"schemas": {"A": {"type": "object", "properties": {"n": {"type": "string", "nullable": true}, "id": {"type": "integer", "readOnly": true}}}}}}"##,
    r##"{"openapi": "3.0.3", "info": {}, "paths": {"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}}, "responses": {}}}}, "components": {"schemas": {"A": {"type": "object", "required": ["id"], "properties": {"n": {"type": "string"}, "id": {"type": "integer", "readOnly": true}}}}}}"##,
);

const GRAPHQL: (&str, &str) =
    ("type Query { a(x: Int): Int b: Int }", "type Query { a(x: Int!): Int b: Int }");

const PROTOBUF: (&str, &str) = (
    "syntax = \"proto3\"; message A { int32 a = 1; string b = 2; }",
    "syntax = \"proto3\"; message A { string a = 1; string b = 2; }",
);

fn written(json: &Value, wire: &str) -> Value {
    json!({"written_by": "old", "message": "A", "json": json, "wire": wire, "outcome": "it fails"})
}

#[test]
fn a_witness_that_fails_is_shown_and_one_that_does_not_is_not() {
    let request = |body: Value| json!({"method": "POST", "path": "/a", "body": body});
    let cases = [
        (Kind::JsonSchema, "a.json", NARROWED, json!({"n": 3}), json!({"n": 7})),
        (Kind::OpenApi, "a.json", OPENAPI, request(json!({"n": "a"})), request(json!({"n": null}))),
        (Kind::GraphQl, "a.graphql", GRAPHQL, json!({"operation": "{ b }"}), json!({"operation": "{ a }"})),
        (
            Kind::Protobuf,
            "a.proto",
            PROTOBUF,
            written(&json!({"b": "x"}), "120178"),
            written(&json!({"a": 5}), "0805"),
        ),
    ];
    for (kind, file, pair, stands, fails) in cases {
        let (own, tried) = run(kind, file, pair, None);
        assert_eq!((tried.confirmed, tried.refuted), (1, 0), "{kind}: {own:#?}");
        assert!(own.changes[0].shown().is_some());
        let (kept, tried) = run(kind, file, pair, Some(fails.clone()));
        assert_eq!((kept.changes[0].shown(), tried.confirmed), (Some(&fails), 1), "{kind}");
        let (dropped, tried) = run(kind, file, pair, Some(stands));
        assert_eq!((dropped.changes[0].shown(), tried.refuted), (None, 1), "{kind}");
        assert!(!dropped.may_deploy, "the finding itself stays");
    }
}

#[test]
fn what_the_older_side_never_took_is_no_witness() {
    let (dropped, tried) = run(Kind::JsonSchema, "a.json", NARROWED, Some(json!({"n": 11})));
    assert_eq!((dropped.changes[0].shown(), tried.refuted), (None, 1));
    let never = json!({"operation": "{ nothing }"});
    let (dropped, tried) = run(Kind::GraphQl, "a.graphql", GRAPHQL, Some(never));
    assert_eq!((dropped.changes[0].shown(), tried.refuted), (None, 1));
}

#[test]
fn what_was_not_run_is_shown_nowhere() {
    let source = |text: &str| Source::file("a.json", text.as_bytes());
    let report = crate::diff(&source(NARROWED.0), &source(NARROWED.1), &Options::default())
        .expect("it can be compared");
    assert!(report.changes[0].witness.is_some() && report.changes[0].shown().is_none());
    assert!(serde_json::to_value(&report).expect("JSON")["changes"][0]["witness"].is_null());
    assert!(!crate::render::text(&report, crate::render::View::default()).contains("was fine"));
}

#[test]
fn more_witnesses_than_are_run_are_left_out_and_counted() {
    let (of_one, _) = run(Kind::JsonSchema, "a.json", NARROWED, None);
    let source = |text: &str| Source::file("a.json", text.as_bytes());
    let (old, new) = (source(NARROWED.0), source(NARROWED.1));
    let [before, after] =
        [&old, &new].map(|side| Parsed::read(side, Kind::JsonSchema).expect("it can be read"));
    let again = diff_parsed(&before, &after, &Options::default()).expect("they can be compared");
    let mut many = Report { changes: vec![again.changes[0].clone(); super::MAX_RUN + 7], ..of_one };
    let tried = many.run_witnesses(&before, &after, &Options::default());
    assert_eq!((tried.confirmed, tried.left_out), (super::MAX_RUN, 7));
    assert_eq!(many.changes.iter().filter(|change| change.shown().is_some()).count(), super::MAX_RUN);
}

#[test]
fn schemas_that_refer_to_themselves_or_nest_deeply_end() {
    let deep = |bound: u32| {
        let mut schema = json!({"maximum": bound});
        for _ in 0..100 {
            schema = json!({"allOf": [{"anyOf": [schema]}]});
        }
        json!({"type": "object", "properties": {"n": schema, "next": {"$ref": "#"}}}).to_string()
    };
    let (old, new) = (deep(10), deep(5));
    let source = |text: &str| Source::file("a.json", text.as_bytes());
    let (old, new) = (source(&old), source(&new));
    let [before, after] = [&old, &new].map(|side| Parsed::read(side, Kind::JsonSchema));
    let (Ok(before), Ok(after)) = (before, after) else { return };
    let mut report = diff_parsed(&before, &after, &Options::default()).expect("they can be compared");
    let tried = report.run_witnesses(&before, &after, &Options::default());
    assert_eq!(tried.refuted, 0);
}
