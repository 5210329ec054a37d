//! The definitions of GraphQL, and directives that matter wherever they may stand.

use lockstep_contract::{Kind, Options, Report, Source, Verdict, diff_as};

use super::walk::assert_open;

fn both_ways(old: &str, new: &str) -> [Report; 2] {
    let source = |text: &str| Source::file("schema.graphql", text.as_bytes());
    let diff =
        |old, new| diff_as(Kind::GraphQl, &source(old), &source(new), &Options::default()).expect("readable");
    [diff(old, new), diff(new, old)]
}

/// A schema with a directive in one of its places.
fn schema(place: usize, directive: &str) -> String {
    let at = |index: usize| if index == place { directive } else { "" };
    format!(
        "schema {} {{ query: Query }} scalar Day {} type Query {} {{ f(x: Int {}): Int {} i: I u: U e: E }}
         interface I {} {{ a: Int }} type A implements I {{ a: Int }} union U {} = A enum E {} {{ X {} }} input In {} {{ n: Int {} }}
         directive @d(a: Int {}) on FIELD",
        at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9), at(10), at(11)
    )
}

const PLACES: usize = 12;

#[test]
fn directives_that_matter_are_not_checked_wherever_they_stand_and_others_are_harmless() {
    for place in 0..PLACES {
        let plain = schema(place, "");
        for (one, other) in [
            ("", "@constraint(max: 1)"),
            ("@constraint(max: 1)", "@constraint(max: 2)"),
            ("", "@inaccessible"),
        ] {
            let reports = both_ways(&schema(place, one), &schema(place, other));
            assert_open(&reports, "directives are not compared");
        }
        for report in both_ways(&plain, &schema(place, "@key(fields: \"a\")")) {
            assert_eq!(
                (report.verdict, report.changes.len()),
                (Verdict::Compatible, 0),
                "{place}: {report:#?}"
            );
        }
        let marked = schema(place, "@cost(weight: 1, other: 2)");
        let turned = schema(place, "@cost(other: 2, weight: 1)");
        assert!(both_ways(&marked, &turned)[0].may_deploy, "the order of arguments says nothing");
    }
    assert_open(&both_ways("scalar Day", "scalar Day @specifiedBy(url: \"https://a\")"), "specifiedBy");
}

#[test]
fn what_every_server_has_may_be_written_out() {
    let plain = "type Query { a: ID }";
    let written = "scalar ID scalar Int directive @deprecated(reason: String) on FIELD_DEFINITION directive @oneOf on INPUT_OBJECT type Query { a: ID }";
    for report in both_ways(plain, written) {
        assert_eq!((report.verdict, report.changes.len()), (Verdict::Compatible, 0), "{report:#?}");
    }
}

#[test]
fn what_the_grammar_does_not_know_is_an_error() {
    for text in [
        "type Query { a: Int } struct A { b: Int }",
        "type Query { a: Int } type A extends B { b: Int }",
        "type Query { a: Int? }",
    ] {
        let source = Source::file("schema.graphql", text.as_bytes());
        assert!(diff_as(Kind::GraphQl, &source, &source, &Options::default()).is_err(), "{text}");
    }
}
