//! Places in both directions: old is the old contract and new the new one, also where going back is judged.

use lockstep_contract::{Change, Kind, Options, Report, Source, diff_as};

fn report(kind: Kind, old: &Source, new: &Source) -> Report {
    diff_as(kind, old, new, &Options::default()).expect("both sides are valid")
}

/// Where the only break of going back is, on both sides.
fn places(report: &Report) -> (Option<String>, Option<String>) {
    let breaks: Vec<&Change> = report.roll_back.changes.iter().filter(|change| change.breaks()).collect();
    assert_eq!(breaks.len(), 1, "{breaks:#?}");
    (breaks[0].old.as_ref().map(ToString::to_string), breaks[0].new.as_ref().map(ToString::to_string))
}

#[test]
fn an_operation_in_a_file_that_only_the_new_contract_has() {
    let old = Source::file("old.yaml", "openapi: 3.1.0\npaths: {}\n".as_bytes());
    let item = "a: 1\nb: 2\nget:\n  responses: {200: {description: ok}}\n";
    let new = Source::file(
        "new.yaml",
        "openapi: 3.1.0\ninfo: {}\n\npaths:\n  /a:\n    $ref: a.yaml\n  /b: {$ref: b.yaml}\n".as_bytes(),
    )
    .with_file("a.yaml", "{}\n".as_bytes())
    .with_file("b.yaml", item.as_bytes());
    let report = report(Kind::OpenApi, &old, &new);
    assert!(report.may_deploy && !report.may_roll_back);
    assert_eq!(places(&report), (Some("old.yaml:1".to_owned()), Some("b.yaml:3".to_owned())));
}

#[test]
fn what_a_graphql_schema_gained() {
    let old = Source::file("old.graphql", "type Query {\n  a: Int\n}".as_bytes());
    let new = Source::file("new.graphql", "\n\ntype Query {\n  a: Int\n  b: Int\n}".as_bytes());
    assert_eq!(
        places(&report(Kind::GraphQl, &old, &new)),
        (Some("old.graphql:1".to_owned()), Some("new.graphql:5".to_owned()))
    );
}

#[test]
fn what_a_protobuf_service_gained() {
    let text = |rpc: &str| {
        format!("syntax = \"proto3\";\nmessage A {{}}\nservice S {{\n  rpc One(A) returns (A);\n{rpc}}}\n")
    };
    let old = Source::file("old.proto", text("").into_bytes());
    let new = Source::file("new.proto", text("  rpc Two(A) returns (A);\n").into_bytes());
    assert_eq!(
        places(&report(Kind::Protobuf, &old, &new)),
        (Some("old.proto:3".to_owned()), Some("new.proto:5".to_owned()))
    );
}
