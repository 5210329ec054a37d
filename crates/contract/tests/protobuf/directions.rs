//! Changes that hurt in one direction only, told by what RPCs send.

use lockstep_contract::{Level, ProtobufPolicy, Report, Verdict};

use super::report;

/// A message that is a request, or an answer.
fn file(used: &str, message: &str) -> String {
    let rpc = match used {
        "request" => "rpc Do(A) returns (B);",
        _ => "rpc Do(B) returns (A);",
    };
    format!(
        "syntax = \"proto3\"; enum E {{ Z = 0; Y = 5; }} message B {{}} message A {{ {message} }} service S {{ {rpc} }}"
    )
}

fn diff(used: &str, old: &str, new: &str, policy: ProtobufPolicy) -> Report {
    report(&file(used, old), &file(used, new), policy)
}

fn wire(used: &str, old: &str, new: &str) -> (Verdict, bool) {
    let report = diff(used, old, new, ProtobufPolicy::Wire);
    (report.verdict, report.may_roll_back)
}

#[test]
fn a_oneof_loses_what_its_writer_may_send_together() {
    let (apart, together) = ("int32 a = 1; int32 b = 2;", "oneof o { int32 a = 1; int32 b = 2; }");
    assert_eq!(wire("request", apart, together), (Verdict::Breaking, true));
    assert_eq!(wire("request", together, apart), (Verdict::Compatible, false));
    assert_eq!(wire("answer", apart, together), (Verdict::Compatible, false));
    assert_eq!(wire("answer", together, apart), (Verdict::Breaking, true));
    let into_existing = ("int32 a = 1; oneof o { int32 b = 2; }", together);
    assert_eq!(wire("request", into_existing.0, into_existing.1), (Verdict::Breaking, true));
}

#[test]
fn one_field_alone_moves_into_a_oneof_and_back() {
    for used in ["request", "answer"] {
        assert_eq!(wire(used, "int32 a = 1;", "oneof o { int32 a = 1; }"), (Verdict::Compatible, true));
        assert_eq!(
            wire(used, "int32 a = 1;", "oneof o { int32 a = 1; int32 b = 2; }"),
            (Verdict::Compatible, true)
        );
    }
    let code = diff("request", "int32 a = 1;", "oneof o { int32 a = 1; }", ProtobufPolicy::Source);
    assert_eq!(code.verdict, Verdict::Breaking, "code reaches it in another way");
}

#[test]
fn a_number_and_an_enum_are_the_same_bytes() {
    for (old, new) in [("int32 a = 1;", "E a = 1;"), ("E a = 1;", "int32 a = 1;")] {
        for used in ["request", "answer"] {
            let report = diff(used, old, new, ProtobufPolicy::Wire);
            assert_eq!(
                (report.verdict, report.may_roll_back),
                (Verdict::Compatible, true),
                "{used} {old}: {report:#?}"
            );
        }
    }
    let named = diff("request", "E a = 1;", "int32 a = 1;", ProtobufPolicy::Json);
    assert_eq!(named.verdict, Verdict::Breaking);
    let told = named.changes.iter().find(|change| change.level == Level::Error).expect("told");
    assert_eq!(told.witness.as_ref().expect("shown")["json"]["a"], "Y");
    assert_eq!(
        diff("request", "int32 a = 1;", "E a = 1;", ProtobufPolicy::Json).verdict,
        Verdict::Compatible
    );
}

#[test]
fn one_value_is_read_as_a_list_of_one() {
    assert_eq!(wire("request", "string a = 1;", "repeated string a = 1;"), (Verdict::Compatible, false));
    assert_eq!(wire("answer", "string a = 1;", "repeated string a = 1;"), (Verdict::Breaking, true));
    let json = diff("request", "string a = 1;", "repeated string a = 1;", ProtobufPolicy::Json);
    assert_eq!(json.verdict, Verdict::Breaking, "a list is not a value in JSON");
}
