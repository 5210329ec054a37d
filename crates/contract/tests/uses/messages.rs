//! Messages and databases: contracts without operations.

use lockstep_contract::{Kind, MessageRole, Options, Source, Verdict, check, fit_as, operations};

use super::{fit, try_fit};

const NARROW: &str = r#"{"type": "object", "properties": {"state": {"enum": ["open"]}}}"#;
const WIDE: &str = r#"{"type": "object", "properties": {"state": {"enum": ["open", "lost"]}}}"#;

#[test]
fn the_role_of_the_provider_says_who_must_accept_what() {
    let source = |text: &str| Source::file("order.json", text.as_bytes());
    let verdict = |message_role, used: &str, offered: &str| {
        let options = Options { message_role, ..Options::default() };
        fit_as(Kind::JsonSchema, &source(used), &[], &source(offered), &options).expect("valid").verdict
    };
    assert_eq!(verdict(MessageRole::Writer, NARROW, WIDE), Verdict::Breaking, "the consumer reads `lost`");
    assert_eq!(verdict(MessageRole::Writer, WIDE, NARROW), Verdict::Compatible);
    assert_eq!(verdict(MessageRole::Reader, NARROW, WIDE), Verdict::Compatible);
    assert_eq!(verdict(MessageRole::Reader, WIDE, NARROW), Verdict::Breaking, "the consumer writes `lost`");
}

#[test]
fn a_message_has_no_operations() {
    assert!(operations(&Source::file("order.json", NARROW.as_bytes())).expect("valid").is_empty());
    let errors = try_fit(Kind::JsonSchema, "order.json", NARROW, &["read"], NARROW).expect_err("none");
    assert_eq!(errors[0].hint.as_deref(), Some("a contract of this format has no operations"));
}

#[test]
fn a_database_has_no_consumers_in_other_services() {
    let table = "CREATE TABLE orders (id INTEGER);";
    let errors = try_fit(Kind::Sql, "1.sql", table, &[], table).expect_err("nobody uses it");
    assert_eq!(errors[0].message, "a database schema has no consumers in other services");
}

#[test]
fn two_formats_do_not_fit() {
    let (one, other) = (
        Source::file("a.graphql", "type Query { a: Int }".as_bytes()),
        Source::file("b.json", NARROW.as_bytes()),
    );
    let errors = lockstep_contract::fit(&one, &[], &other, &Options::default()).expect_err("two formats");
    assert_eq!(errors[0].message, "the old contract is graphql, the new one is json_schema");
}

#[test]
fn a_contract_is_checked_by_itself() {
    for (kind, file, good, bad, line) in [
        (Kind::OpenApi, "a.yaml", "openapi: 3.1.0\npaths: {}\n", "openapi: 3.1.0\npaths: [\n", Some(3)),
        (Kind::OpenApi, "a.yaml", "swagger: '2.0'\npaths: {}\n", "info:\n  title: x\n", Some(1)),
        (
            Kind::Protobuf,
            "a.proto",
            "syntax = \"proto3\";\nmessage A {}\n",
            "syntax = \"proto3\";\nmessage A { B b = 1; }\n",
            Some(2),
        ),
        (Kind::GraphQl, "a.graphql", "type Query { a: Int }", "type Query {\n a: }\n", Some(2)),
        (Kind::JsonSchema, "a.json", NARROW, "{\n\"type\": }", Some(2)),
    ] {
        assert_eq!(check(&Source::file(file, good.as_bytes()), kind), Ok(()));
        let errors = check(&Source::file(file, bad.as_bytes()), kind).expect_err("bad input");
        assert_eq!(errors[0].line, line, "{}", errors[0]);
    }
    let binary = Source::file("1.sql", &b"CREATE TABLE a (id INTEGER);\n\xff"[..]);
    assert_eq!(check(&binary, Kind::Sql).expect_err("not text")[0].line, Some(2));
    assert_eq!(check(&Source::file("1.sql", "SELECT 1;".as_bytes()), Kind::Sql), Ok(()));
}

#[test]
fn a_consumer_of_everything_fits_what_has_not_changed() {
    assert_eq!(fit(Kind::JsonSchema, "order.json", WIDE, &[], WIDE).verdict, Verdict::Compatible);
}
