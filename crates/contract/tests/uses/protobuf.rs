//! Protobuf: RPCs by service and method, with the types they reach.

use lockstep_contract::{
    Fit, InputError, Kind, Options, ProtobufPolicy, Source, Verdict, fit_as, operations,
};

use super::{fit, found, try_fit};

const PAYMENTS: &str = r#"syntax = "proto3";
package payments.v1;
service Payments {
  rpc Charge(ChargeRequest) returns (ChargeAnswer);
  rpc Refund(RefundRequest) returns (ChargeAnswer);
}
service Reports { rpc List(ListRequest) returns (ListAnswer); }
message ChargeRequest { string order = 1; Money amount = 2; }
message RefundRequest { string charge = 1; }
message ChargeAnswer { string id = 1; }
message ListRequest { Order order = 1; }
message ListAnswer { repeated Money totals = 1; }
message Money { int64 cents = 1; }
message Unreached { string text = 1; }
enum Order { ORDER_UNSPECIFIED = 0; ORDER_NEWEST = 1; }
"#;

fn payments(operations: &[&str], offered: &str) -> Fit {
    fit(Kind::Protobuf, "payments.proto", PAYMENTS, operations, offered)
}

fn replaced(text: &str, instead: &str) -> String {
    assert!(PAYMENTS.contains(text), "{text}");
    PAYMENTS.replace(text, instead)
}

#[track_caller]
fn assert_breaks_only(used: &str, unused: &str, offered: &str, rule: &str) {
    let hurt = payments(&[used], offered);
    assert_eq!(hurt.verdict, Verdict::Breaking, "{used}: {:#?}", hurt.changes);
    assert!(found(&hurt).iter().any(|(id, _)| *id == rule), "{rule} in {:?}", found(&hurt));
    let unhurt = payments(&[unused], offered);
    assert_eq!(unhurt.verdict, Verdict::Compatible, "{unused}: {:#?}", unhurt.changes);
    assert!(found(&unhurt).is_empty(), "{unused}: {:#?}", unhurt.changes);
}

#[test]
fn a_removed_rpc_or_service_hurts_only_those_who_call_it() {
    let without_rpc = replaced("  rpc Refund(RefundRequest) returns (ChargeAnswer);\n", "");
    assert_breaks_only(
        "payments.v1.Payments/Refund",
        "payments.v1.Payments/Charge",
        &without_rpc,
        "protobuf-rpc-removed",
    );
    let without_service = replaced("service Reports { rpc List(ListRequest) returns (ListAnswer); }\n", "");
    assert_breaks_only(
        "payments.v1.Reports/List",
        "payments.v1.Payments/Charge",
        &without_service,
        "protobuf-service-removed",
    );
}

#[test]
fn the_witness_of_a_removed_service_calls_what_is_used() {
    let offered = PAYMENTS.replace("service Payments", "service Others");
    let fit = payments(&["payments.v1.Payments/Refund"], &offered);
    let witness = fit.changes[0].witness.as_ref().expect("a call").to_string();
    assert!(witness.contains("Refund") && !witness.contains("Charge"), "{witness}");
}

#[test]
fn types_count_where_a_used_rpc_reaches_them() {
    let money = replaced("int64 cents = 1", "string cents = 1");
    for used in ["payments.v1.Payments/Charge", "payments.v1.Reports/List"] {
        assert_breaks_only(used, "payments.v1.Payments/Refund", &money, "protobuf-field-type-changed");
    }
    let unreached =
        replaced("message Unreached { string text = 1; }", "message Unreached { int32 text = 1; }");
    assert_eq!(payments(&[], &unreached).verdict, Verdict::Breaking);
    assert!(found(&payments(&["payments.v1.Payments/Charge"], &unreached)).is_empty());
}

#[test]
fn names_in_generated_code_count_where_they_are_used() {
    let source = |text: &str| Source::file("payments.proto", text.as_bytes());
    let options = Options { protobuf: ProtobufPolicy::Source, ..Options::default() };
    let offered = PAYMENTS.replace("RefundRequest", "RefundOrder");
    let verdict = |operation: &str| {
        let operations = [operation.to_owned()];
        fit_as(Kind::Protobuf, &source(PAYMENTS), &operations, &source(&offered), &options)
            .expect("valid")
            .verdict
    };
    assert_eq!(verdict("payments.v1.Payments/Refund"), Verdict::Breaking);
    assert_eq!(verdict("payments.v1.Payments/Charge"), Verdict::Compatible);
}

#[test]
fn an_rpc_has_three_spellings() {
    let offered = replaced("  rpc Refund(RefundRequest) returns (ChargeAnswer);\n", "");
    for name in ["payments.v1.Payments/Refund", "/payments.v1.Payments/Refund", "payments.v1.Payments.Refund"]
    {
        assert_eq!(payments(&[name], &offered).verdict, Verdict::Breaking, "{name}");
    }
}

#[test]
fn an_rpc_that_is_not_there_is_an_error_with_the_nearest() {
    let errors: Vec<InputError> =
        try_fit(Kind::Protobuf, "payments.proto", PAYMENTS, &["payments.v1.Payments/Charges"], PAYMENTS)
            .expect_err("it is not there");
    assert_eq!(errors[0].hint.as_deref(), Some("did you mean `payments.v1.Payments/Charge`?"));
}

#[test]
fn all_rpcs_are_listed() {
    let listed = operations(&Source::file("payments.proto", PAYMENTS.as_bytes())).expect("valid");
    assert_eq!(
        listed,
        ["payments.v1.Payments/Charge", "payments.v1.Payments/Refund", "payments.v1.Reports/List"]
    );
}
