//! Input made to harm: every one ends in an error with its place, quickly.

use lockstep_contract::{InputError, Kind, Options, Source, Verdict, diff_as};

fn errors(text: impl Into<Vec<u8>>) -> Vec<InputError> {
    let bad = Source::file("bad.graphql", text.into());
    let good = Source::file("good.graphql", "type A { a: Int }".as_bytes());
    diff_as(Kind::GraphQl, &good, &bad, &Options::default()).expect_err("the input is bad")
}

#[test]
fn errors_name_file_and_line() {
    let cases: &[(&[u8], &str)] = &[
        (b"type A {\n a: }", "bad.graphql:2: expected a name, found `}`"),
        (b"type A {\n a: Int", "bad.graphql:2: expected a name, found the end of the file"),
        (b"\n\ntype A { a: \xff }", "bad.graphql:3: not valid UTF-8"),
        (b"type A { a: Int } \n type A { b: Int }", "bad.graphql:2: type `A` is defined twice"),
        (b"type A {\n a: Int\n a: Int! }", "bad.graphql:3: field `A.a` is defined twice"),
        (b"type A { a: Int }\nextend type A {\n a: Int }", "bad.graphql:3: field `A.a` is defined twice"),
        (b"type A { a(x: Int,\n x: Int!): Int }", "bad.graphql:2: argument `A.a.x` is defined twice"),
        (b"input A { a: Int\n a: Int! }", "bad.graphql:2: input field `A.a` is defined twice"),
        (
            b"extend input A { a: Int }\ninput A { a: Int! }",
            "bad.graphql:1: input field `A.a` is defined twice",
        ),
        (b"enum A { B\n B }", "bad.graphql:2: value `A.B` is defined twice"),
        (b"directive @a(x: Int\n x: Int!) on FIELD", "bad.graphql:2: argument `@a.x` is defined twice"),
        (
            b"schema { query: A\n query: B } type A { a: Int } type B { a: Int }",
            "bad.graphql:2: root `schema.query` is defined twice",
        ),
        (b"directive @a on FIELD\ndirective @a on QUERY", "bad.graphql:2: directive `@a` is defined twice"),
        (b"frobnicate", "bad.graphql:1: `frobnicate` begins no definition"),
        (b"type A { a(x: String = \"b\n", "bad.graphql:1: a string has no end"),
        (b"type A { a: Int; }", "bad.graphql:1: unexpected character ';'"),
    ];
    for (text, message) in cases {
        assert_eq!(errors(*text)[0].to_string(), *message);
    }
}

#[test]
fn deep_nesting_is_refused() {
    let lists = format!("type A {{ a: {}Int{} }}", "[".repeat(100_000), "]".repeat(100_000));
    let values = format!("type A {{ a(x: Int = {}1{}): Int }}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("type A {{ a(x: In = {}1{}): Int }}", "{a: ".repeat(100_000), "}".repeat(100_000));
    let selections = format!("{}a{}", "{ a ".repeat(100_000), "}".repeat(100_000));
    for text in [lists, values, objects, selections] {
        assert_eq!(errors(text)[0].message, "nested more than 100 levels deep");
    }
}

#[test]
fn inputs_that_contain_each_other_end() {
    let old = "type Query { f(a: A!): Int } input A { b: B! } input B { a: A! }";
    let new = "type Query { f(a: A!): Int } input A { b: B! } input B { a: A! c: Int! }";
    let source = |text: &str| Source::file("a.graphql", text.as_bytes());
    let report = diff_as(Kind::GraphQl, &source(old), &source(new), &Options::default()).expect("valid");
    assert_eq!(report.verdict, Verdict::Breaking);
}

#[test]
fn witnesses_of_a_vast_schema_stay_small() {
    let inputs = (0..7).map(|level| {
        let fields: Vec<String> = (0..40).map(|field| format!("f{field}: L{}!", level + 1)).collect();
        format!("input L{level} {{ {} }}", fields.join(" "))
    });
    let chain = (0..3_000).map(|index| format!("type T{index} {{ next: T{} gone: Int }}", index + 1));
    let rest = "type Query { start: T0 deep(l: L0!): Int } input L7 { a: Int } type T3000 { gone: Int }";
    let old: String = inputs.chain(chain).chain([rest.to_owned()]).collect::<Vec<_>>().join("\n");
    let new =
        old.replace("gone: Int", "").replace("deep(l: L0!): Int", "").replace("type T3000 { }", "type T3000");
    let source = |text: &str| Source::file("a.graphql", text.as_bytes());
    let report = diff_as(Kind::GraphQl, &source(&old), &source(&new), &Options::default()).expect("valid");
    assert_eq!(report.verdict, Verdict::Breaking);
    let longest = report
        .changes
        .iter()
        .filter_map(|change| change.witness.as_ref())
        .map(|one| one.to_string().len())
        .max();
    assert!(longest.is_some_and(|length| length < 2_000), "{longest:?}");
}
