//! Input made to harm: every one ends in an error with its place, quickly.

use lockstep_contract::{InputError, Kind, Options, Source, Verdict, diff_as};

fn errors(source: &Source) -> Vec<InputError> {
    let good = Source::file("good.proto", "syntax = \"proto3\";".as_bytes());
    let errors = diff_as(Kind::Protobuf, &good, source, &Options::default()).expect_err("the input is bad");
    assert_eq!(
        diff_as(Kind::Protobuf, source, &good, &Options::default()).expect_err("the input is bad"),
        errors
    );
    errors
}

fn first(text: impl Into<Vec<u8>>) -> String {
    errors(&Source::file("bad.proto", text.into())).first().expect("an error").to_string()
}

#[test]
fn text_that_is_not_utf8_names_its_line() {
    assert_eq!(first(b"syntax = \"proto3\";\n// \xff\n".to_vec()), "bad.proto:2: not valid UTF-8");
}

#[test]
fn deep_nesting_is_refused_before_any_recursive_parser_sees_it() {
    let messages = format!("syntax = \"proto3\";\n{}", "message A {".repeat(100_000));
    assert!(first(messages).starts_with("bad.proto:2: nested more than 100 levels deep"));
    let values = format!("syntax = \"proto3\";\noption (a) = {};", "{ a: [".repeat(100_000));
    assert!(first(values).contains("nested more than"));
}

#[test]
fn messages_nested_too_deep_for_protobuf_are_refused() {
    let text = format!("syntax = \"proto3\"; {} {}", "message A {".repeat(40), "}".repeat(40));
    assert!(first(text).contains("recursion limit"));
}

#[test]
fn import_cycles_are_named() {
    let file = |other: &str| format!("syntax = \"proto3\"; import \"{other}\";").into_bytes();
    let source = Source::tree([
        ("a.proto", file("b.proto")),
        ("b.proto", file("c.proto")),
        ("c.proto", file("a.proto")),
    ]);
    assert_eq!(
        errors(&source)[0].to_string(),
        "a.proto: imports form a cycle among a.proto, b.proto, c.proto"
    );
}

#[test]
fn a_missing_import_names_the_line_that_asks_for_it() {
    let text = "syntax = \"proto3\";\n\nimport \"gone.proto\";\nmessage A { Gone a = 1; }";
    let found = errors(&Source::file("bad.proto", text.as_bytes()));
    assert_eq!(found[0].to_string(), "bad.proto:3: import `gone.proto` is not in the contract");
    assert!(found[0].hint.is_some());
    assert!(found[1].to_string().starts_with("bad.proto:4: "), "{found:?}");
}

#[test]
fn a_missing_import_that_only_custom_options_need_is_no_matter() {
    let text = |kind: &str| {
        let text = format!(
            "syntax = \"proto3\"; import \"rules.proto\"; message A {{ {kind} a = 1 [(rules.max).of = {{ n: 1 }}]; }}"
        );
        Source::file("a.proto", text.into_bytes())
    };
    let report =
        diff_as(Kind::Protobuf, &text("int32"), &text("string"), &Options::default()).expect("valid");
    assert_eq!(report.verdict, Verdict::Breaking);
}

#[test]
fn all_broken_files_are_reported_at_once() {
    let source = Source::tree([("a.proto", b"message {".to_vec()), ("b.proto", b"enum".to_vec())]);
    assert_eq!(
        errors(&source).iter().map(|error| error.file.as_str()).collect::<Vec<_>>(),
        ["a.proto", "b.proto"]
    );
}

#[test]
fn a_long_chain_of_imports_does_not_recurse() {
    let files = (0..5_000).map(|index| {
        let text = format!("syntax = \"proto3\"; package p{index}; import \"f{}.proto\";", index + 1);
        (format!("f{index}.proto"), text.into_bytes())
    });
    let source = Source::tree(files.chain([("f5000.proto".to_owned(), b"syntax = \"proto3\";".to_vec())]));
    let report = diff_as(Kind::Protobuf, &source, &source, &Options::default()).expect("valid");
    assert_eq!(report.verdict, Verdict::Compatible);
}

#[test]
fn messages_that_contain_each_other_end() {
    let text =
        "syntax = \"proto3\"; message A { B b = 1; A a = 2; } message B { A a = 1; map<string, B> b = 2; }";
    let source = Source::file("a.proto", text.as_bytes());
    let report = diff_as(Kind::Protobuf, &source, &source, &Options::default()).expect("valid");
    assert_eq!((report.verdict, report.changes.len()), (Verdict::Compatible, 0));
}

#[test]
fn a_damaged_descriptor_set_is_refused() {
    let found = errors(&Source::file("api.binpb", vec![0x0a, 0xff, 0xff, 0x03, 0x01]));
    assert!(found[0].to_string().starts_with("api.binpb: not a descriptor set"), "{found:?}");
}
