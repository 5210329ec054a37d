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

#[test]
fn a_message_is_bytes_and_bytes_need_be_no_message() {
    assert_eq!(wire("request", "B a = 1;", "bytes a = 1;"), (Verdict::Compatible, false));
    assert_eq!(wire("answer", "B a = 1;", "bytes a = 1;"), (Verdict::Breaking, true));
    assert_eq!(wire("request", "bytes a = 1;", "B a = 1;"), (Verdict::Breaking, true));
    let json = diff("request", "B a = 1;", "bytes a = 1;", ProtobufPolicy::Json);
    assert_eq!(json.verdict, Verdict::Breaking, "an object is no base64");
}

#[test]
fn a_number_that_another_field_takes_over_is_misread() {
    for used in ["request", "answer"] {
        let shifted = wire(used, "string a = 1; string b = 2;", "reserved 2; string b = 1;");
        assert_eq!(shifted.0, Verdict::Breaking, "{used}: what was `a` is read as `b`");
        let renamed = wire(used, "string a = 1;", "string b = 1;");
        assert_eq!(renamed, (Verdict::Compatible, true), "{used}: names do not travel");
    }
}

#[test]
fn writers_of_json_write_the_first_name_of_a_value() {
    let file = |values: &str, used: &str| {
        file(used, "E a = 1;").replace("Z = 0; Y = 5;", &format!("option allow_alias = true; {values}"))
    };
    let of = |used: &str, old: &str, new: &str, policy| {
        let report = report(&file(old, used), &file(new, used), policy);
        (report.verdict, report.may_roll_back)
    };
    let (old, first) = ("Z = 0; ZERO = 0; Y = 5;", "Z = 0; ZERO = 0; X = 5; Y = 5;");
    let last = "Z = 0; ZERO = 0; Y = 5; X = 5;";
    let json = ProtobufPolicy::Json;
    assert_eq!(of("answer", old, first, json).0, Verdict::Breaking, "old readers know no `X`");
    assert_eq!(of("answer", old, last, json).0, Verdict::Compatible);
    assert_eq!(of("request", old, first, json).0, Verdict::Compatible, "`Y` is still read");
    assert_eq!(of("answer", old, first, ProtobufPolicy::Wire), (Verdict::Compatible, true));
}

#[test]
fn an_extension_and_a_field_of_one_number_are_the_same_bytes() {
    let file = |message: &str, extension: &str| {
        format!(
            "syntax = \"proto2\"; message A {{ {message} }} {extension} message B {{}} service S {{ rpc Do(A) returns (B); }}"
        )
    };
    let extended = file("extensions 100 to 200;", "extend A { optional int32 e = 100; }");
    let own = |kind: &str| file(&format!("optional {kind} e = 100;"), "");
    let diff = |old: &str, new: &str| report(old, new, ProtobufPolicy::Wire).verdict;
    for (old, new) in [(&extended, &own("int32")), (&own("int32"), &extended)] {
        assert_eq!(diff(old, new), Verdict::Compatible);
    }
    for (old, new) in [(&extended, &own("string")), (&own("string"), &extended)] {
        assert_eq!(diff(old, new), Verdict::Breaking);
    }
}
