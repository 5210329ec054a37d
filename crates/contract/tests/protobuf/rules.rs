//! One small pair for each rule: what it says under each policy.

use std::collections::BTreeSet;

use lockstep_contract::{
    Flow, Kind, Level, Options, ProtobufPolicy, Source, UnknownFields, Verdict, diff, protobuf,
};

use super::report;

/// Expectation for one rule: level under the wire, JSON and source policies.
type Levels = [Option<Level>; 3];

const E: Option<Level> = Some(Level::Error);
const W: Option<Level> = Some(Level::Warning);
const I: Option<Level> = Some(Level::Info);

struct Pair {
    rule: &'static str,
    levels: Levels,
    old: &'static str,
    new: &'static str,
}

const fn pair(rule: &'static str, levels: Levels, old: &'static str, new: &'static str) -> Pair {
    Pair { rule, levels, old, new }
}

const PAIRS: &[Pair] = &[
    pair(
        "protobuf-service-removed",
        [E, E, E],
        "message A {} service S { rpc Get(A) returns (A); }",
        "message A {}",
    ),
    pair(
        "protobuf-service-added",
        [I, I, I],
        "message A {}",
        "message A {} service S { rpc Get(A) returns (A); }",
    ),
    pair(
        "protobuf-rpc-removed",
        [E, E, E],
        "message A {} service S { rpc Get(A) returns (A); rpc Put(A) returns (A); }",
        "message A {} service S { rpc Get(A) returns (A); }",
    ),
    pair(
        "protobuf-rpc-added",
        [I, I, I],
        "message A {} service S { rpc Get(A) returns (A); }",
        "message A {} service S { rpc Get(A) returns (A); rpc Put(A) returns (A); }",
    ),
    pair(
        "protobuf-rpc-streaming-changed",
        [E, E, E],
        "message A {} service S { rpc Get(A) returns (A); }",
        "message A {} service S { rpc Get(A) returns (stream A); }",
    ),
    pair(
        "protobuf-rpc-idempotency-changed",
        [E, E, E],
        "message A {} service S { rpc Get(A) returns (A) { option idempotency_level = IDEMPOTENT; } }",
        "message A {} service S { rpc Get(A) returns (A); }",
    ),
    pair(
        "protobuf-rpc-type-renamed",
        [I, I, E],
        "message A { int32 a = 1; } service S { rpc Get(A) returns (A); }",
        "message A { int32 a = 1; } message B { int32 a = 1; } service S { rpc Get(B) returns (A); }",
    ),
    pair(
        "protobuf-deprecated",
        [I, I, I],
        "message A { int32 a = 1; }",
        "message A { int32 a = 1 [deprecated = true]; }",
    ),
    pair(
        "protobuf-field-number-exchanged",
        [E, E, E],
        "message A { string a = 1; string b = 2; }",
        "message A { string b = 1; string a = 2; }",
    ),
    pair(
        "protobuf-enum-number-exchanged",
        [E, E, E],
        "enum A { Z = 0; B = 1; C = 2; }",
        "enum A { Z = 0; C = 1; B = 2; }",
    ),
    pair("protobuf-field-removed", [E, E, E], "message A { int32 a = 1; }", "message A {}"),
    pair(
        "protobuf-field-removed-name-free",
        [I, E, E],
        "message A { int32 a = 1; }",
        "message A { reserved 1; }",
    ),
    pair(
        "protobuf-field-dropped",
        [W, W, E],
        "message A { int32 a = 1; }",
        "message A { reserved 1; reserved \"a\"; }",
    ),
    pair("protobuf-field-added", [I, I, I], "message A {}", "message A { int32 a = 1; }"),
    pair(
        "protobuf-required-field-added",
        [E, E, E],
        "syntax = \"proto2\"; message A { optional int32 a = 1; }",
        "syntax = \"proto2\"; message A { required int32 a = 1; }",
    ),
    pair(
        "protobuf-required-field-removed",
        [E, E, E],
        "syntax = \"proto2\"; message A { required int32 a = 1; }",
        "syntax = \"proto2\"; message A { optional int32 a = 1; }",
    ),
    pair(
        "protobuf-field-type-changed",
        [E, E, E],
        "message A { int32 a = 1; }",
        "message A { string a = 1; }",
    ),
    pair(
        "protobuf-field-type-changed",
        [E, E, E],
        "message A { int32 a = 1; }",
        "message A { sint32 a = 1; }",
    ),
    pair(
        "protobuf-field-type-changed",
        [E, E, E],
        "message A { bytes a = 1; }",
        "message A { string a = 1; }",
    ),
    pair(
        "protobuf-field-type-changed",
        [E, E, E],
        "message A { string a = 1; } message B {}",
        "message A { B a = 1; } message B {}",
    ),
    pair(
        "protobuf-field-type-changed",
        [E, E, E],
        "enum E { E0 = 0; } message A { E a = 1; }",
        "enum E { E0 = 0; } message A { sint32 a = 1; }",
    ),
    pair(
        "protobuf-field-type-narrowed",
        [W, W, W],
        "message A { int64 a = 1; }",
        "message A { int32 a = 1; }",
    ),
    pair(
        "protobuf-field-type-json-changed",
        [I, E, E],
        "message A { int32 a = 1; }",
        "message A { int64 a = 1; }",
    ),
    pair(
        "protobuf-field-type-source-changed",
        [I, I, E],
        "message A { int32 a = 1; }",
        "message A { uint32 a = 1; }",
    ),
    pair(
        "protobuf-field-cardinality-changed",
        [E, E, E],
        "message A { string a = 1; }",
        "message A { repeated string a = 1; }",
    ),
    pair(
        "protobuf-field-map-changed",
        [I, E, E],
        "message A { map<string, int32> a = 1; }",
        "message A { repeated E a = 1; message E { string key = 1; int32 value = 2; } }",
    ),
    pair(
        "protobuf-field-presence-changed",
        [I, I, E],
        "message A { int32 a = 1; }",
        "message A { optional int32 a = 1; }",
    ),
    pair(
        "protobuf-field-oneof-changed",
        [E, E, E],
        "message A { int32 a = 1; int32 b = 2; }",
        "message A { oneof o { int32 a = 1; int32 b = 2; } }",
    ),
    pair(
        "protobuf-field-oneof-changed",
        [E, E, E],
        "message A { oneof o { int32 a = 1; int32 b = 2; } }",
        "message A { oneof o { int32 a = 1; } oneof p { int32 b = 2; } }",
    ),
    pair(
        "protobuf-field-oneof-moved",
        [I, I, E],
        "message A { int32 a = 1; }",
        "message A { oneof o { int32 a = 1; } }",
    ),
    pair(
        "protobuf-oneof-renamed",
        [I, I, E],
        "message A { oneof o { int32 a = 1; } }",
        "message A { oneof p { int32 a = 1; } }",
    ),
    pair(
        "protobuf-field-default-changed",
        [E, E, E],
        "syntax = \"proto2\"; message A { optional int32 a = 1 [default = 3]; }",
        "syntax = \"proto2\"; message A { optional int32 a = 1; }",
    ),
    pair("protobuf-field-renamed", [I, E, E], "message A { int32 a = 1; }", "message A { int32 b = 1; }"),
    pair(
        "protobuf-field-json-name-changed",
        [I, E, E],
        "message A { int32 a = 1; }",
        "message A { int32 a = 1 [json_name = \"b\"]; }",
    ),
    pair(
        "protobuf-field-utf8-validation-changed",
        [W, W, E],
        "syntax = \"proto2\"; message A { optional string a = 1; }",
        "syntax = \"proto3\"; message A { optional string a = 1; }",
    ),
    pair(
        "protobuf-field-packed-changed",
        [I, I, I],
        "message A { repeated int32 a = 1; }",
        "message A { repeated int32 a = 1 [packed = false]; }",
    ),
    pair(
        "protobuf-field-jstype-changed",
        [I, I, E],
        "message A { int64 a = 1; }",
        "message A { int64 a = 1 [jstype = JS_STRING]; }",
    ),
    pair(
        "protobuf-field-cpp-string-changed",
        [I, I, E],
        "message A { string a = 1; }",
        "message A { string a = 1 [ctype = CORD]; }",
    ),
    pair(
        "protobuf-reserved-removed",
        [E, E, E],
        "message A { reserved 2 to 6; }",
        "message A { reserved 2 to 4, 6; }",
    ),
    pair("protobuf-reserved-removed", [E, E, E], "enum A { Z = 0; reserved \"B\"; }", "enum A { Z = 0; }"),
    pair(
        "protobuf-extension-range-removed",
        [I, I, E],
        "syntax = \"proto2\"; message A { extensions 100 to 199; }",
        "syntax = \"proto2\"; message A { extensions 100 to 149; }",
    ),
    pair(
        "protobuf-extension-removed",
        [W, W, E],
        "syntax = \"proto2\"; message A { extensions 100 to 199; } extend A { optional int32 a = 100; }",
        "syntax = \"proto2\"; message A { extensions 100 to 199; }",
    ),
    pair(
        "protobuf-message-json-format-changed",
        [I, E, E],
        "syntax = \"proto3\"; message A {}",
        "syntax = \"proto2\"; message A {}",
    ),
    pair(
        "protobuf-message-set-changed",
        [E, E, E],
        "syntax = \"proto2\"; message A { extensions 4 to max; }",
        "syntax = \"proto2\"; message A { option message_set_wire_format = true; extensions 4 to max; }",
    ),
    pair(
        "protobuf-message-accessor-removed",
        [I, I, E],
        "message A {}",
        "message A { option no_standard_descriptor_accessor = true; }",
    ),
    pair("protobuf-enum-value-removed", [E, E, E], "enum A { Z = 0; B = 1; }", "enum A { Z = 0; }"),
    pair(
        "protobuf-enum-value-removed-name-free",
        [I, E, E],
        "enum A { Z = 0; B = 1; }",
        "enum A { Z = 0; reserved 1; }",
    ),
    pair(
        "protobuf-enum-value-dropped",
        [W, W, E],
        "enum A { Z = 0; B = 1; }",
        "enum A { Z = 0; reserved 1; reserved \"B\"; }",
    ),
    pair(
        "protobuf-enum-value-no-longer-written",
        [I, I, E],
        "enum E { Z = 0; B = 1; } message R { E e = 1; } message Q {} service S { rpc Get(Q) returns (R); }",
        "enum E { Z = 0; } message R { E e = 1; } message Q {} service S { rpc Get(Q) returns (R); }",
    ),
    pair("protobuf-enum-value-added", [W, W, W], "enum A { Z = 0; }", "enum A { Z = 0; B = 1; }"),
    pair(
        "protobuf-enum-value-accepted",
        [I, I, I],
        "enum E { Z = 0; } message R { } message Q { E e = 1; } service S { rpc Get(Q) returns (R); }",
        "enum E { Z = 0; B = 1; } message R { } message Q { E e = 1; } service S { rpc Get(Q) returns (R); }",
    ),
    pair("protobuf-enum-value-renamed", [I, E, E], "enum A { Z = 0; B = 1; }", "enum A { Z = 0; C = 1; }"),
    pair(
        "protobuf-enum-openness-changed",
        [W, W, E],
        "syntax = \"proto2\"; enum A { Z = 0; }",
        "syntax = \"proto3\"; enum A { Z = 0; }",
    ),
    pair(
        "protobuf-enum-json-format-changed",
        [I, E, E],
        "syntax = \"proto3\"; enum A { Z = 0; }",
        "syntax = \"proto2\"; enum A { Z = 0; }",
    ),
    pair("protobuf-type-removed", [I, I, E], "message A {} message B {}", "message A {}"),
    pair("protobuf-file-package-changed", [I, I, E], "package a;", "package b;"),
    pair("protobuf-file-syntax-changed", [I, I, E], "syntax = \"proto2\";", "syntax = \"proto3\";"),
    pair(
        "protobuf-file-option-changed",
        [I, I, E],
        "option go_package = \"a\";",
        "option go_package = \"b\";",
    ),
];

/// Rules that one file cannot show; the tests below show them.
const SHOWN_ELSEWHERE: &[&str] = &[
    "protobuf-field-unknown-to-reader",
    "protobuf-enum-value-unknown-to-reader",
    "protobuf-type-moved",
    "protobuf-file-removed",
];

const POLICIES: [ProtobufPolicy; 3] = [ProtobufPolicy::Wire, ProtobufPolicy::Json, ProtobufPolicy::Source];

fn with_syntax(text: &str) -> String {
    if text.contains("syntax") { text.to_owned() } else { format!("syntax = \"proto3\"; {text}") }
}

#[test]
fn every_rule_has_its_level_under_every_policy() {
    for pair in PAIRS {
        for (policy, level) in POLICIES.into_iter().zip(pair.levels) {
            let report = report(&with_syntax(pair.old), &with_syntax(pair.new), policy);
            let found = report
                .changes
                .iter()
                .filter(|change| change.rule.id == pair.rule)
                .map(|change| change.level)
                .max();
            assert_eq!(
                found, level,
                "{} under {policy:?}: {} -> {}: {:#?}",
                pair.rule, pair.old, pair.new, report.changes
            );
        }
    }
}

#[test]
fn every_rule_is_shown_by_a_pair() {
    let shown: BTreeSet<&str> =
        PAIRS.iter().map(|pair| pair.rule).chain(SHOWN_ELSEWHERE.iter().copied()).collect();
    let all: BTreeSet<&str> = protobuf::RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(shown, all);
    assert!(protobuf::RULES.iter().all(|rule| rule.kind == Kind::Protobuf && !rule.explanation.is_empty()));
}

#[test]
fn changes_carry_file_and_line_of_both_sides() {
    let old = "syntax = \"proto3\";\n\nmessage A {\n  int32 a = 1;\n}\n";
    let new = "syntax = \"proto3\";\nmessage A { string a = 1; }\n";
    let report = report(old, new, ProtobufPolicy::Wire);
    let change = report.changes.first().expect("the type changed");
    assert_eq!(change.old.as_ref().map(ToString::to_string), Some("a.proto:4".to_owned()));
    assert_eq!(change.new.as_ref().map(ToString::to_string), Some("a.proto:2".to_owned()));
    assert_eq!(change.place, "A.a");
}

const CALL: &str = "syntax = \"proto2\"; service S { rpc Get(Q) returns (R); }\n";

#[test]
fn required_field_in_a_response_may_be_added_but_not_removed() {
    let without = format!("{CALL} message Q {{}} message R {{ optional int32 a = 1; }}");
    let with = format!("{CALL} message Q {{}} message R {{ required int32 a = 1; }}");
    let added = report(&without, &with, ProtobufPolicy::Wire);
    assert_eq!(added.verdict, Verdict::Compatible);
    assert!(!added.may_roll_back, "consumers of the new version may rely on the field");
    assert_eq!(report(&with, &without, ProtobufPolicy::Wire).verdict, Verdict::Breaking);
}

#[test]
fn required_field_in_a_request_may_be_relaxed_but_not_added() {
    let without = format!("{CALL} message R {{}} message Q {{ optional int32 a = 1; }}");
    let with = format!("{CALL} message R {{}} message Q {{ required int32 a = 1; }}");
    assert_eq!(report(&with, &without, ProtobufPolicy::Wire).verdict, Verdict::Compatible);
    let added = report(&without, &with, ProtobufPolicy::Wire);
    assert_eq!(added.verdict, Verdict::Breaking);
    assert!(added.changes.iter().any(|change| change.flow == Flow::Request && change.level == Level::Error));
}

#[test]
fn renamed_equal_messages_are_fine_on_the_wire_and_different_ones_are_not() {
    let old = format!(
        "{CALL} message Q {{ optional In a = 1; }} message In {{ optional int32 x = 1; }} message R {{}}"
    );
    let equal = format!(
        "{CALL} message Q {{ optional Into a = 1; }} message Into {{ optional int32 x = 1; }} message R {{}}"
    );
    let other = format!(
        "{CALL} message Q {{ optional Into a = 1; }} message Into {{ optional string x = 1; }} message R {{}}"
    );
    assert_eq!(report(&old, &equal, ProtobufPolicy::Wire).verdict, Verdict::Compatible);
    assert_eq!(report(&old, &equal, ProtobufPolicy::Source).verdict, Verdict::Breaking);
    assert_eq!(report(&old, &other, ProtobufPolicy::Wire).verdict, Verdict::Breaking);
}

#[test]
fn timestamp_may_not_become_an_equal_message_in_json() {
    let old = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; message A { google.protobuf.Timestamp a = 1; }";
    let new = "syntax = \"proto3\"; message A { T a = 1; } message T { int64 seconds = 1; int32 nanos = 2; }";
    assert_eq!(report(old, new, ProtobufPolicy::Wire).verdict, Verdict::Compatible);
    assert_eq!(report(old, new, ProtobufPolicy::Json).verdict, Verdict::Breaking);
}

#[test]
fn strict_json_readers_refuse_added_fields_and_values() {
    let pairs = [
        ("message A {}", "message A { int32 a = 1; }", "protobuf-field-unknown-to-reader"),
        ("enum A { Z = 0; }", "enum A { Z = 0; B = 1; }", "protobuf-enum-value-unknown-to-reader"),
    ];
    for (old, new, rule) in pairs {
        for (unknown_fields, verdict) in
            [(UnknownFields::Ignored, Verdict::Compatible), (UnknownFields::Forbidden, Verdict::Breaking)]
        {
            let options = Options { protobuf: ProtobufPolicy::Json, unknown_fields, ..Options::default() };
            let source = |text: &str| Source::file("a.proto", with_syntax(text).into_bytes());
            let report = diff(&source(old), &source(new), &options).expect("valid");
            assert_eq!(report.verdict, verdict, "{old} -> {new}");
            let strict = report.changes.iter().any(|change| change.rule.id == rule);
            assert_eq!(strict, unknown_fields == UnknownFields::Forbidden);
        }
    }
}

#[test]
fn reservations_are_no_matter_when_rolling_back() {
    let report = report(
        "syntax = \"proto3\"; message A {}",
        "syntax = \"proto3\"; message A { int32 a = 1; }",
        ProtobufPolicy::Wire,
    );
    assert!(report.may_deploy && report.may_roll_back, "{:#?}", report.roll_back);
}

#[test]
fn a_type_that_moves_to_another_file_breaks_source_only() {
    let common = "syntax = \"proto3\"; package p;";
    let old = Source::tree([
        ("a.proto", format!("{common} message A {{}} message B {{}}").into_bytes()),
        ("b.proto", common.as_bytes().to_vec()),
    ]);
    let new = Source::tree([
        ("a.proto", format!("{common} message A {{}}").into_bytes()),
        ("b.proto", format!("{common} message B {{}}").into_bytes()),
    ]);
    for (policy, verdict) in
        POLICIES.into_iter().zip([Verdict::Compatible, Verdict::Compatible, Verdict::Breaking])
    {
        let report = diff(&old, &new, &super::under(policy)).expect("valid");
        assert_eq!(report.verdict, verdict);
        assert_eq!(
            report.changes.iter().map(|change| change.rule.id).collect::<Vec<_>>(),
            ["protobuf-type-moved"]
        );
    }
}

#[test]
fn a_removed_file_breaks_source_only() {
    let file = b"syntax = \"proto3\"; package p;".to_vec();
    let old = Source::tree([("a.proto", file.clone()), ("b.proto", file.clone())]);
    let new = Source::tree([("a.proto", file.clone()), ("c.proto", file)]);
    for (policy, verdict) in
        POLICIES.into_iter().zip([Verdict::Compatible, Verdict::Compatible, Verdict::Breaking])
    {
        let report = diff(&old, &new, &super::under(policy)).expect("valid");
        assert_eq!(report.verdict, verdict);
        assert!(
            report
                .changes
                .iter()
                .any(|change| change.rule.id == "protobuf-file-removed" && change.place == "b.proto")
        );
    }
}

/// A descriptor set with one file of an edition, written field by field: older descriptor crates drop the edition.
fn edition_set(edition: u16, file_features: &[u8], field_features: &[u8]) -> Source {
    let nested = |tag: &[u8], content: &[u8]| {
        let length = u8::try_from(content.len()).expect("small");
        [tag, &[length], content].concat()
    };
    // FieldDescriptorProto: name "a", number 1, label optional, type int32, options.features.
    let options = nested(&[0x42], &nested(&[0xaa, 0x01], field_features));
    let field = [b"\x0a\x01a\x18\x01\x20\x01\x28\x05".as_slice(), &options].concat();
    let message = [b"\x0a\x01M".as_slice(), &nested(&[0x12], &field)].concat();
    let edition = [0x70, (edition & 0x7f) as u8 | 0x80, (edition >> 7) as u8];
    let features = nested(&[0x42], &nested(&[0x92, 0x03], file_features));
    let file =
        [b"\x0a\x07a.proto".as_slice(), &nested(&[0x22], &message), b"\x62\x08editions", &features, &edition]
            .concat();
    Source::file("api.binpb", nested(&[0x0a], &file))
}

#[test]
fn editions_in_descriptor_sets_are_read_with_their_features() {
    let explicit = edition_set(1000, &[], &[]);
    let by_file = edition_set(1000, &[0x08, 0x02], &[]);
    let by_field = edition_set(1000, &[], &[0x08, 0x02]);
    let required = edition_set(1000, &[], &[0x08, 0x03]);
    let rules = |old: &Source, new: &Source| -> Vec<&'static str> {
        let report = diff(old, new, &super::under(ProtobufPolicy::Wire)).expect("valid");
        assert!(report.not_checked.is_empty());
        report.changes.iter().map(|change| change.rule.id).collect()
    };
    assert_eq!(rules(&by_file, &by_field), Vec::<&str>::new());
    assert_eq!(rules(&explicit, &by_field), ["protobuf-field-presence-changed"]);
    assert!(rules(&explicit, &required).contains(&"protobuf-required-field-added"));
}

#[test]
fn editions_that_cannot_be_read_are_not_checked() {
    let text = Source::file("a.proto", b"edition = \"2023\";\nmessage M { int32 a = 1; }".to_vec());
    let future = edition_set(9_999, &[], &[]);
    for source in [text, future] {
        let report = diff(&source, &source, &super::under(ProtobufPolicy::Wire)).expect("the rest is valid");
        assert_eq!(report.verdict, Verdict::NotChecked);
        assert!(!report.may_deploy && !report.may_roll_back);
        assert!(report.not_checked[0].reason.contains("edition"), "{:?}", report.not_checked);
    }
}
