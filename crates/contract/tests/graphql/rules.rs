//! One small pair for each rule, and its witness held against an independent validator.

use std::collections::BTreeSet;

use apollo_compiler::{ExecutableDocument, Schema, validation::Valid};
use lockstep_contract::{Flow, Kind, Level, Options, Parsed, Verdict, detect, diff_parsed, graphql};

use super::{found, report, source};

struct Pair {
    rule: &'static str,
    level: Level,
    place: &'static str,
    old: &'static str,
    new: &'static str,
}

const fn pair(
    rule: &'static str,
    level: Level,
    place: &'static str,
    old: &'static str,
    new: &'static str,
) -> Pair {
    Pair { rule, level, place, old, new }
}

use Level::{Error, Info, Warning};

/// Every schema gets a `Query` with a field of its own, so that it is whole.
const PAIRS: &[Pair] = &[
    pair("graphql-root-removed", Error, "mutation", "type Query { q: Int } type Mutation { a: Int }", "type Query { q: Int }"),
    pair("graphql-root-removed", Error, "subscription", "type Subscription { s(x: Int!): Int t: Int }", ""),
    pair("graphql-root-changed", Warning, "query",
        "schema { query: A } type A { q: Int } type B { q: Int }", "schema { query: B } type A { q: Int } type B { q: Int }"),
    pair("graphql-type-removed", Error, "A", "type A { a: Int }", ""),
    pair("graphql-type-added", Info, "A", "", "type A { a: Int }"),
    pair("graphql-type-removed", Error, "A",
        "extend type Query { u: U } union U = A | B type A { a: Int } type B { b: Int }",
        "extend type Query { u: U } union U = B type B { b: Int }"),
    pair("graphql-type-removed", Error, "In",
        "extend type Query { f(x: In): Int } input In { a: Int }", "extend type Query { f(x: Other): Int } input Other { a: Int }"),
    pair("graphql-argument-type-changed", Error, "Query.f.x",
        "extend type Query { f(x: Int): Int }", "extend type Query { f(x: Float): Int }"),
    pair("graphql-argument-type-changed", Error, "Query.f.x",
        "extend type Query { f(x: String!): Int }", "extend type Query { f(x: ID!): Int }"),
    pair("graphql-argument-type-changed", Error, "Query.f.x",
        "extend type Query { f(x: Int): Int }", "extend type Query { f(x: Int!): Int }"),
    pair("graphql-argument-type-changed", Error, "Query.f.x",
        "extend type Query { f(x: [Int]): Int }", "extend type Query { f(x: Int): Int }"),
    pair("graphql-input-field-type-changed", Error, "In.a",
        "extend type Query { f(x: [In!]!): Int } input In { a: Int b: Int! }",
        "extend type Query { f(x: [In!]!): Int } input In { a: ID b: Int! }"),
    pair("graphql-input-one-of-added", Error, "In",
        "extend type Query { f(x: In): Int } input In { a: Int b: Int }",
        "extend type Query { f(x: In): Int } input In @oneOf { a: Int b: Int }"),
    pair("graphql-type-kind-changed", Error, "A", "type A { a: Int }", "scalar A"),
    pair("graphql-field-removed", Error, "A.a",
        "extend type Query { a: A } type A { a: Int b: Int }", "extend type Query { a: A } type A { b: Int }"),
    pair("graphql-field-removed", Error, "A.a",
        "extend type Query { u: [U!] } union U = A type A { a: Int b: Int }",
        "extend type Query { u: [U!] } union U = A type A { b: Int }"),
    pair("graphql-field-removed", Error, "A.a",
        "extend type Query { i(x: Int!, y: [In!]!, z: In!, e: E!): I } enum E { X } input In { n: Int! o: String }
         interface I { b: Int } type A implements I { a: Int b: Int }",
        "extend type Query { i(x: Int!, y: [In!]!, z: In!, e: E!): I } enum E { X } input In { n: Int! o: String }
         interface I { b: Int } type A implements I { b: Int }"),
    pair("graphql-field-added", Info, "A.b", "type A { a: Int }", "type A { a: Int b: Int }"),
    pair("graphql-field-type-changed", Error, "A.a", "type A { a: Int! }", "type A { a: Int }"),
    pair("graphql-field-type-changed", Error, "A.a", "type A { a: [Int!] }", "type A { a: [Int] }"),
    pair("graphql-field-type-changed", Error, "A.a", "type A { a: Int }", "type A { a: [Int] }"),
    pair("graphql-field-type-changed", Error, "A.a", "type A { a: Int }", "type A { a: Float }"),
    pair("graphql-field-conflict", Error, "B.x",
        "extend type Query { n: U } union U = A | B type A { x: Int } type B { x: Int }",
        "extend type Query { n: U } union U = A | B type A { x: Int } type B { x: Int! }"),
    pair("graphql-field-conflict", Error, "B.x",
        "extend type Query { n: N } interface N { x: [Int] } type B implements N { x: [Int] }",
        "extend type Query { n: N } interface N { x: [Int] } type B implements N { x: [Int!] }"),
    pair("graphql-field-conflict", Error, "R.x",
        "extend type Query { n: U } union U = A | B type A { c: [P] } type B { c: [R] } type P { x: Int } type R { x: Int }",
        "extend type Query { n: U } union U = A | B type A { c: [P] } type B { c: [R] } type P { x: Int } type R { x: Int! }"),
    pair("graphql-field-type-narrowed", Info, "A.a", "type A { a: [Int] }", "type A { a: [Int!]! }"),
    pair("graphql-argument-removed", Error, "Query.f.x", "extend type Query { f(x: Int): Int }", "extend type Query { f: Int }"),
    pair("graphql-required-argument-added", Error, "Query.f.x",
        "extend type Query { f: Int }", "extend type Query { f(x: Int!): Int }"),
    pair("graphql-required-argument-added", Error, "Query.f.x",
        "extend type Query { f(x: Int! = 1): Int }", "extend type Query { f(x: Int!): Int }"),
    pair("graphql-optional-argument-added", Warning, "Query.f.x",
        "extend type Query { f: Int }", "extend type Query { f(x: Int): Int }"),
    pair("graphql-argument-type-changed", Error, "Query.f.x",
        "extend type Query { f(x: Int): Int }", "extend type Query { f(x: Boolean): Int }"),
    pair("graphql-argument-type-widened", Info, "Query.f.x",
        "extend type Query { f(x: [Int!]!): Int }", "extend type Query { f(x: [Int]): Int }"),
    pair("graphql-argument-default-changed", Warning, "Query.f.x",
        "extend type Query { f(x: Int = 1): Int }", "extend type Query { f(x: Int = 2): Int }"),
    pair("graphql-input-field-removed", Error, "In.a",
        "extend type Query { f(x: [In]): Int } input In { a: Int b: Int! }",
        "extend type Query { f(x: [In]): Int } input In { b: Int! }"),
    pair("graphql-required-input-field-added", Error, "In.b",
        "extend type Query { f(x: In): Int } input In { a: Int }",
        "extend type Query { f(x: In): Int } input In { a: Int b: Int! }"),
    pair("graphql-optional-input-field-added", Warning, "In.b", "input In { a: Int }", "input In { a: Int b: Int }"),
    pair("graphql-input-field-type-changed", Error, "In.a",
        "extend type Query { f(x: In): Int } input In { a: Int }",
        "extend type Query { f(x: In): Int } input In { a: Boolean }"),
    pair("graphql-input-field-type-widened", Info, "In.a", "input In { a: Int! }", "input In { a: Int }"),
    pair("graphql-input-field-default-changed", Warning, "In.a", "input In { a: Int = 1 }", "input In { a: Int = 2 }"),
    pair("graphql-input-one-of-added", Error, "In", "input In { a: Int b: Int }", "input In @oneOf { a: Int b: Int }"),
    pair("graphql-enum-value-removed", Error, "E.B",
        "extend type Query { f(x: E): Int } enum E { A B }", "extend type Query { f(x: E): Int } enum E { A }"),
    pair("graphql-enum-value-removed", Error, "E.B", "enum E { A B }", "enum E { A }"),
    pair("graphql-enum-value-no-longer-written", Info, "E.B",
        "extend type Query { f: E } enum E { A B }", "extend type Query { f: E } enum E { A }"),
    pair("graphql-enum-value-added", Warning, "E.B",
        "extend type Query { f: E } enum E { A }", "extend type Query { f: E } enum E { A B }"),
    pair("graphql-enum-value-accepted", Info, "E.B",
        "extend type Query { f(x: E): Int } enum E { A }", "extend type Query { f(x: E): Int } enum E { A B }"),
    pair("graphql-union-member-removed", Error, "U/B",
        "extend type Query { u: U } type A { a: Int } type B { b: Int } union U = A | B",
        "extend type Query { u: U } type A { a: Int } type B { b: Int } union U = A"),
    pair("graphql-union-member-added", Warning, "U/B",
        "type A { a: Int } type B { b: Int } union U = A", "type A { a: Int } type B { b: Int } union U = A | B"),
    pair("graphql-interface-removed", Error, "A/I",
        "extend type Query { i: I } interface I { a: Int } type A implements I { a: Int }",
        "extend type Query { i: I } interface I { a: Int } type A { a: Int }"),
    pair("graphql-interface-added", Warning, "A/I",
        "interface I { a: Int } type A { a: Int }", "interface I { a: Int } type A implements I { a: Int }"),
    pair("graphql-directive-removed", Error, "@d", "directive @d on FIELD", ""),
    pair("graphql-directive-added", Info, "@d", "", "directive @d on FIELD"),
    pair("graphql-directive-argument-removed", Error, "@d.a", "directive @d(a: Int) on FIELD", "directive @d on FIELD"),
    pair("graphql-required-directive-argument-added", Error, "@d.a", "directive @d on FIELD", "directive @d(a: Int!) on FIELD"),
    pair("graphql-directive-argument-added", Info, "@d.a", "directive @d on FIELD", "directive @d(a: Int) on FIELD"),
    pair("graphql-directive-argument-type-changed", Error, "@d.a",
        "directive @d(a: Int) on FIELD", "directive @d(a: Boolean) on FIELD"),
    pair("graphql-directive-location-removed", Error, "@d/QUERY", "directive @d on FIELD | QUERY", "directive @d on FIELD"),
    pair("graphql-directive-not-repeatable", Error, "@d", "directive @d repeatable on FIELD", "directive @d on FIELD"),
    pair("graphql-deprecated", Info, "A.a", "type A { a: Int }", "type A { a: Int @deprecated }"),
];

fn whole(text: &str) -> String {
    let needs_query = !text.contains("type Query {") || text.contains("extend type Query");
    let rooted = text.contains("schema {");
    if needs_query && !rooted { format!("type Query {{ own: Int }}\n{text}") } else { text.to_owned() }
}

#[test]
fn every_rule_has_its_level_and_place() {
    for pair in PAIRS {
        let report = report(&whole(pair.old), &whole(pair.new));
        let change =
            report.changes.iter().find(|change| change.rule.id == pair.rule && change.place == pair.place);
        let change =
            change.unwrap_or_else(|| panic!("{} at {}: {:#?}", pair.rule, pair.place, report.changes));
        assert_eq!(change.level, pair.level, "{}", pair.rule);
        assert_eq!(report.verdict == Verdict::Breaking, pair.level == Error, "{} -> {}", pair.old, pair.new);
    }
}

#[test]
fn every_rule_is_shown_by_a_pair() {
    let shown: BTreeSet<&str> = PAIRS.iter().map(|pair| pair.rule).collect();
    let all: BTreeSet<&str> = graphql::RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(shown, all);
    assert!(graphql::RULES.iter().all(|rule| rule.kind == Kind::GraphQl && !rule.explanation.is_empty()));
}

fn validator(text: &str) -> Valid<Schema> {
    Schema::parse_and_validate(whole(text), "schema.graphql").expect("the schema is valid")
}

#[test]
fn requests_shown_as_witness_were_valid_and_are_refused() {
    let mut shown = 0;
    for pair in PAIRS.iter().filter(|pair| pair.level == Error) {
        let (old, new) = (validator(pair.old), validator(pair.new));
        for change in report(&whole(pair.old), &whole(pair.new)).changes {
            let Some(witness) = &change.witness else { continue };
            let operation = witness["operation"].as_str().expect("an operation");
            if operation.starts_with("fragment") {
                continue;
            }
            let check = |schema| {
                let parsed = ExecutableDocument::parse_and_validate(schema, operation, "witness.graphql");
                parsed.map(drop).map_err(|refused| refused.to_string())
            };
            if let Err(refused) = check(&old) {
                panic!("{}: the old schema refuses {operation}: {refused}", pair.rule);
            }
            let refused = check(&new).is_err();
            assert_eq!(refused, change.flow == Flow::Request, "{}: {operation}", pair.rule);
            shown += 1;
        }
    }
    assert!(shown >= 26, "only {shown} witnesses were held against the validator");
}

#[test]
fn the_validator_that_runs_witnesses_before_they_are_shown_agrees() {
    let mut confirmed = 0;
    for pair in PAIRS {
        let (old, new) = (source(&whole(pair.old)), source(&whole(pair.new)));
        let [before, after] = [&old, &new].map(|side| Parsed::read(side, Kind::GraphQl).expect("valid"));
        let mut report = diff_parsed(&before, &after, &Options::default()).expect("valid");
        let tried = report.run_witnesses(&before, &after, &Options::default());
        assert_eq!(tried.refuted, 0, "{}", pair.rule);
        confirmed += tried.confirmed;
    }
    assert!(confirmed >= 26, "only {confirmed} witnesses were run");
}

#[test]
fn an_argument_that_must_not_be_null_any_more_is_shown() {
    let pairs = [
        // A variable of the old type is taken where there is a default.
        ("type Query { f(x: Int = 1): Int }", "type Query { f(x: Int! = 1): Int }"),
        (
            "type Query { f(x: In): Int } input In { a: Int = 1 }",
            "type Query { f(x: In): Int } input In { a: Int! = 1 }",
        ),
        // A fragment by itself has no variables.
        ("type A { f(x: Int): Int }", "type A { f(x: Int!): Int }"),
        ("type A { f(x: String): Int }", "type A { f(x: Int): Int }"),
    ];
    for (old, new) in pairs {
        let report = report(old, new);
        let change = report.changes.iter().find(|change| change.level == Error).expect("a break");
        let shown = change.witness.as_ref().unwrap_or_else(|| panic!("nothing shows {}", change.message));
        assert!(
            shown["operation"].as_str().is_some_and(|text| text.contains("x: null")
                || text.contains("a: null")
                || text.contains("\"a\"")),
            "{shown}"
        );
    }
}

#[test]
fn a_field_conflicts_only_where_both_may_be_asked_for() {
    let conflicts = |old: &str, new: &str| {
        let report = report(old, new);
        report.changes.iter().find(|change| change.rule.id == "graphql-field-conflict").cloned()
    };
    let pair = |before: &str, fields: &str| {
        let of = |of_b: &str| format!("{before} type A {{ x: Int }} type B {{ x: {of_b} }} {fields}");
        conflicts(&of("Int"), &of("Int!"))
    };
    let told = pair("type Query { n: U } union U = A | B", "").expect("both are asked for in one answer");
    assert!(told.message.contains("5.3.2") && told.message.contains("graphql-js"), "{}", told.message);
    // Values of one of them never stand beside those of the other.
    assert!(pair("type Query { a: A b: B }", "").is_none());
    assert!(pair("type Query { a: A b: B } union U = A union V = B", "").is_none());
    // No operation leads to the union.
    assert!(pair("type Query { a: A b: B } union U = A | B", "").is_none());
    // The shapes were apart before, so that nobody asked for both.
    let apart = |of_b: &str| {
        format!("type Query {{ n: U }} union U = A | B type A {{ x: String }} type B {{ x: {of_b} }}")
    };
    assert!(conflicts(&apart("Int"), &apart("Int!")).is_none());
    // Both promise the same.
    let both =
        |of: &str| format!("type Query {{ n: U }} union U = A | B type A {{ x: {of} }} type B {{ x: {of} }}");
    assert!(conflicts(&both("Int"), &both("Int!")).is_none());
}

#[test]
fn changes_carry_file_and_line_of_both_sides() {
    let report = report("type A {\n  a: Int!\n}\n", "type A { a: Int }\n");
    let change = &report.changes[0];
    assert_eq!(change.old.as_ref().map(ToString::to_string), Some("schema.graphql:2".to_owned()));
    assert_eq!(change.new.as_ref().map(ToString::to_string), Some("schema.graphql:1".to_owned()));
}

#[test]
fn extensions_and_files_make_one_schema() {
    let one = report(
        "type A { a: Int b: Int } enum E { X Y }",
        "type A { a: Int } extend type A { b: Int } extend enum E { Y } enum E { X }",
    );
    assert_eq!(found(&one), []);
    let split = source("extend type A { b: Int }").with_file("b.graphql", "type A { a: Int }".as_bytes());
    assert_eq!(detect(&split), Some(Kind::GraphQl));
}

#[test]
fn order_of_fields_in_a_default_does_not_matter() {
    let same =
        report("type A { f(x: In = {a: 1, b: [2]}): Int }", "type A { f(x: In = { b: [2] a: 1 }): Int }");
    assert_eq!(found(&same), []);
}

#[test]
fn what_was_added_cannot_be_rolled_back_once_it_is_the_contract() {
    let report = report("type Query { a: Int }", "type Query { a: Int b: Int }");
    assert!(report.may_deploy && !report.may_roll_back);
}
