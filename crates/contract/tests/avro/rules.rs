//! One small pair for each rule: what it is when the new side reads, and when the new side writes.

use std::collections::BTreeSet;

use lockstep_contract::{Kind, Level, MessageRole, Options, Source, Verdict, avro, detect, diff_as};
use serde_json::json;

use super::{report, report_as};

use Level::{Error, Info, Warning};

/// A record with one field of a type.
fn of(text: &str) -> String {
    format!(r#"{{"type": "record", "name": "a.R", "fields": [{{"name": "f", "type": {text}}}]}}"#)
}

fn fields(text: &str) -> String {
    format!(r#"{{"type": "record", "name": "a.R", "fields": [{text}]}}"#)
}

/// The rules of the new side as reader, and of the new side as writer.
type Expected = (&'static [(&'static str, Level)], &'static [(&'static str, Level)]);

#[track_caller]
fn expect(old: &str, new: &str, expected: Expected) {
    for (role, rules) in [(MessageRole::Reader, expected.0), (MessageRole::Writer, expected.1)] {
        let report = report_as(role, old, new);
        let found: Vec<_> = report.changes.iter().map(|change| (change.rule.id, change.level)).collect();
        assert_eq!(found, rules, "{role}: {old}\n{new}\n{report:#?}");
        assert_eq!(report.not_checked, [], "{role}");
        // The same pair the other way: going back is the other role.
        let back: Vec<_> =
            report.roll_back.changes.iter().map(|change| (change.rule.id, change.level)).collect();
        let other = if role == MessageRole::Reader { expected.1 } else { expected.0 };
        assert_eq!(back, other, "back, {role}");
    }
}

const ENUM: &str = r#"{"type": "enum", "name": "E", "symbols": ["A", "B"]}"#;

#[test]
fn every_rule_has_a_pair() {
    let note = r#"{"name": "n", "type": "string", "default": ""}"#;
    let bare = r#"{"name": "n", "type": "string"}"#;
    let other = r#"{"name": "n", "type": "string", "default": "x"}"#;
    let logical = |name: &str| of(&format!(r#"{{"type": "long", "logicalType": "{name}"}}"#));
    let decimal = |precision: u8, scale: u8| {
        of(&format!(
            r#"{{"type": "bytes", "logicalType": "decimal", "precision": {precision}, "scale": {scale}}}"#
        ))
    };
    let pairs: Vec<(String, String, Expected)> = vec![
        (
            of(r#""int""#),
            of(r#""string""#),
            (&[("avro-type-changed", Error)], &[("avro-type-changed", Error)]),
        ),
        (of(r#""int""#), of(r#""long""#), (&[("avro-type-promoted", Info)], &[("avro-type-changed", Error)])),
        (
            of(r#""long""#),
            of(r#""double""#),
            (&[("avro-precision-lost", Warning)], &[("avro-type-changed", Error)]),
        ),
        (
            of(r#""bytes""#),
            of(r#""string""#),
            (&[("avro-bytes-read-as-text", Warning)], &[("avro-type-promoted", Info)]),
        ),
        (
            of(r#"{"type": "fixed", "name": "F", "size": 2}"#),
            of(r#"{"type": "fixed", "name": "F", "size": 3}"#),
            (&[("avro-fixed-size-changed", Error)], &[("avro-fixed-size-changed", Error)]),
        ),
        (
            of(r#"{"type": "fixed", "name": "F", "size": 2}"#),
            of(r#"{"type": "fixed", "name": "G", "size": 2}"#),
            (&[("avro-name-changed", Error)], &[("avro-name-changed", Error)]),
        ),
        (
            of(r#"{"type": "fixed", "name": "F", "size": 2}"#),
            of(r#"{"type": "fixed", "name": "G", "size": 2, "aliases": ["F"]}"#),
            (&[("avro-read-by-alias", Warning)], &[("avro-name-changed", Error)]),
        ),
        (fields(""), fields(note), (&[("avro-field-added", Info)], &[("avro-field-added", Info)])),
        (
            fields(""),
            fields(bare),
            (&[("avro-field-added-without-default", Error)], &[("avro-field-added", Info)]),
        ),
        (fields(note), fields(""), (&[("avro-field-removed", Warning)], &[("avro-field-removed", Warning)])),
        (
            fields(bare),
            fields(""),
            (&[("avro-field-removed", Warning)], &[("avro-field-removed-without-default", Error)]),
        ),
        (fields(note), fields(other), (&[("avro-default-changed", Info)], &[("avro-default-changed", Info)])),
        (
            fields(r#"{"name": "old", "type": "int"}"#),
            fields(r#"{"name": "new", "aliases": ["old"], "type": "int"}"#),
            (
                &[("avro-read-by-alias", Warning)],
                &[("avro-field-removed-without-default", Error), ("avro-field-added", Info)],
            ),
        ),
        (
            of(ENUM),
            of(r#"{"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}"#),
            (&[("avro-symbol-added", Info)], &[("avro-symbol-added-unknown", Error)]),
        ),
        (
            of(ENUM),
            of(r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#),
            (&[("avro-symbol-removed", Error)], &[("avro-symbol-no-longer-written", Info)]),
        ),
        (
            of(ENUM),
            of(r#"{"type": "enum", "name": "E", "symbols": ["A"], "default": "A"}"#),
            (
                &[("avro-symbol-read-as-default", Warning), ("avro-default-changed", Info)],
                &[("avro-default-changed", Info), ("avro-symbol-no-longer-written", Info)],
            ),
        ),
        (
            of(r#"["null", "int"]"#),
            of(r#""int""#),
            (&[("avro-branch-removed", Error)], &[("avro-branch-no-longer-written", Info)]),
        ),
        (
            of(r#""int""#),
            of(r#"["null", "int"]"#),
            (&[("avro-branch-added", Info)], &[("avro-branch-added-unknown", Error)]),
        ),
        (
            logical("timestamp-millis"),
            logical("timestamp-micros"),
            (&[("avro-logical-type-changed", Error)], &[("avro-logical-type-changed", Error)]),
        ),
        (
            logical("timestamp-millis"),
            logical("local-timestamp-millis"),
            (&[("avro-logical-type-changed", Error)], &[("avro-logical-type-changed", Error)]),
        ),
        (
            of(r#""long""#),
            logical("timestamp-millis"),
            (&[("avro-logical-type-added", Warning)], &[("avro-logical-type-removed", Warning)]),
        ),
        (
            of(r#""string""#),
            of(r#"{"type": "string", "logicalType": "uuid"}"#),
            (&[("avro-logical-type-demanded", Error)], &[("avro-logical-type-removed", Warning)]),
        ),
        (
            decimal(9, 2),
            decimal(9, 4),
            (&[("avro-decimal-changed", Error)], &[("avro-decimal-changed", Error)]),
        ),
        (
            decimal(9, 2),
            decimal(5, 2),
            (&[("avro-decimal-changed", Error)], &[("avro-decimal-changed", Error)]),
        ),
    ];
    let mut seen = BTreeSet::new();
    for (old, new, expected) in &pairs {
        expect(old, new, *expected);
        seen.extend(expected.0.iter().chain(expected.1).map(|(id, _)| *id));
    }
    let all: BTreeSet<&str> = avro::RULES.iter().map(|rule| rule.id).collect();
    let alone: BTreeSet<&str> = ["avro-message-added", "avro-message-removed"].into();
    assert_eq!(all.difference(&alone).copied().collect::<BTreeSet<_>>(), seen, "every rule has a pair");
    assert!(avro::RULES.iter().all(|rule| rule.kind == Kind::Avro && !rule.explanation.is_empty()));
}

#[test]
fn witnesses_show_a_whole_message_and_what_becomes_of_it() {
    let witness = |old: &str, new: &str| report(old, new).changes[0].witness.clone().expect("a witness");
    let shown = witness(&of(ENUM), &of(r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#));
    assert_eq!(shown, json!({"datum": {"f": "B"}, "outcome": "`a.E` has no symbol `B` and no default"}));
    let deep = |of: &str| {
        fields(&format!(
            r#"{{"name": "l", "type": {{"type": "array", "items": ["null", {of}]}}}}, {{"name": "n", "type": ["null", "a.R"]}}"#
        ))
    };
    let shown = witness(
        &deep(r#"{"type": "long", "logicalType": "timestamp-millis"}"#),
        &deep(r#"{"type": "long", "logicalType": "timestamp-micros"}"#),
    );
    assert_eq!(shown["datum"], json!({"l": [{"long": 1_800_000_000_000_i64}], "n": null}));
    assert_eq!(
        shown["outcome"],
        "it was written as timestamp-millis: 2027-01-15T08:00:00Z, and is read as timestamp-micros: 1970-01-21T20:00:00Z"
    );
    let amount =
        |scale| format!(r#"{{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": {scale}}}"#);
    let shown = witness(&of(&amount(2)), &of(&amount(4)));
    assert_eq!(shown["outcome"], "it was written as decimal(9,2): 0.01, and is read as decimal(9,4): 0.0001");
}

#[test]
fn what_libraries_do_differently_is_not_checked() {
    let open = |old: &str, new: &str, what: &str| {
        let report = report(old, new);
        assert_eq!(report.verdict, Verdict::NotChecked, "{report:#?}");
        assert!(report.not_checked.iter().any(|open| open.reason.contains(what)), "{what}: {report:#?}");
    };
    let named = |full: &str| format!(r#"{{"type": "record", "name": "{full}", "fields": []}}"#);
    open(&named("a.R"), &named("b.R"), "some libraries do not: give the reader the alias `a.R`");
    let union = |first: &str| of(&format!(r#"[{first}, {{"type": "record", "name": "y.A", "fields": []}}]"#));
    open(
        &of(r#"{"type": "record", "name": "y.A", "fields": []}"#),
        &union(r#"{"type": "record", "name": "x.A", "fields": []}"#),
        "libraries choose different ones",
    );
    let later = r#"{"name": "n", "type": ["int", "null"], "default": null}"#;
    open(&fields(""), &fields(later), "fine since Avro 1.12");
    let bad = r#"{"name": "n", "type": "int", "default": "x"}"#;
    open(&fields(""), &fields(bad), "is no value of its type");
    let endless = r#"{"name": "n", "type": "a.R", "default": {}}"#;
    open(&fields(""), &fields(endless), "is no value of its type");
    let own = |name: &str| of(&format!(r#"{{"type": "string", "logicalType": "{name}"}}"#));
    open(&own("varchar"), &own("text"), "is not known here");
    let length = |n| of(&format!(r#"{{"type": "string", "logicalType": "varchar", "max": {n}}}"#));
    open(&length(1), &length(2), "`varchar` means is not known here");
    let two = r#"{"name": "new", "aliases": ["a", "b"], "type": "int"}"#;
    open(
        &fields(r#"{"name": "a", "type": "int"}, {"name": "b", "type": "int"}"#),
        &fields(two),
        "is written as several fields",
    );
    let misspelt = |word: &str| fields(&format!(r#"{{"name": "n", "type": "int", "{word}": 1}}"#));
    open(&fields(r#"{"name": "n", "type": "int"}"#), &misspelt("defualt"), "`default` is one");
}

#[test]
fn what_is_metadata_is_harmless() {
    let with = |more: &str| {
        format!(
            r#"{{"type": "record", "name": "R", {more} "fields": [{{"name": "f", "type": {{"type": "string", "avro.java.string": "String"}}, "order": "ignore"}}]}}"#
        )
    };
    let plain = r#"{"type": "record", "name": "R", "fields": [{"name": "f", "type": "string"}]}"#;
    let report = report(plain, &with(r#""doc": "words", "connect.name": "R", "x": {"y": 1},"#));
    assert_eq!((report.verdict, report.changes.len()), (Verdict::Compatible, 0), "{report:#?}");
}

#[test]
fn types_are_found_across_files_and_messages_pair_by_name() {
    let money = r#"{"type": "record", "name": "shop.Money", "fields": [{"name": "cents", "type": "int"}]}"#;
    let wide = money.replace("\"int\"", "\"string\"");
    let order = r#"{"type": "record", "name": "shop.Order", "fields": [{"name": "total", "type": "Money"}]}"#;
    let tree = |files: &[(&'static str, &str)]| {
        Source::tree(files.iter().map(|(path, text)| (*path, text.as_bytes())))
    };
    let one =
        |money: &str| Source::file("Order.avsc", order.as_bytes()).with_file("Money.avsc", money.as_bytes());
    let diff =
        |old: &Source, new: &Source| diff_as(Kind::Avro, old, new, &Options::default()).expect("valid");
    let report = diff(&one(money), &one(&wide));
    assert_eq!(report.changes.len(), 1);
    assert_eq!(report.changes[0].place, "shop.Money.cents");
    assert_eq!(report.changes[0].new.as_ref().map(ToString::to_string).as_deref(), Some("Money.avsc:1"));
    let both = tree(&[("Money.avsc", money), ("Order.avsc", order)]);
    let alone = tree(&[("Money.avsc", money)]);
    let ids = |report: &lockstep_contract::Report| {
        report.changes.iter().map(|change| (change.rule.id, change.level)).collect::<Vec<_>>()
    };
    assert_eq!(ids(&diff(&both, &alone)), [("avro-message-removed", Error)].map(|(id, _)| (id, Error)));
    let mut files = std::collections::BTreeMap::from([("shop/Money.avsc", money)]);
    let gathered = Source::gather("shop/Order.avsc", order.as_bytes(), |path| {
        Ok::<_, ()>(files.remove(path).map(|text| text.as_bytes().to_vec()))
    });
    assert_eq!(gathered.expect("gathered").files().count(), 2);
    let top = r#"[{"type": "fixed", "name": "F", "size": 1}, "F", "null"]"#;
    let twice = diff_as(Kind::Avro, &alone, &Source::file("a.avsc", top.as_bytes()), &Options::default());
    assert!(twice.is_err_and(|errors| errors[0].to_string().contains("twice")));
}

#[test]
fn a_message_that_is_gone_is_missed_by_readers_only() {
    let a = r#"{"type": "record", "name": "A", "fields": []}"#;
    let b = r#"{"type": "record", "name": "B", "fields": []}"#;
    let both = Source::tree([("a.avsc", a.as_bytes()), ("b.avsc", b.as_bytes())]);
    let one = Source::tree([("a.avsc", a.as_bytes())]);
    for (role, level) in [(MessageRole::Reader, Error), (MessageRole::Writer, Warning)] {
        let options = Options { message_role: role, ..Options::default() };
        let report = diff_as(Kind::Avro, &both, &one, &options).expect("valid");
        assert_eq!((report.changes[0].rule.id, report.changes[0].level), ("avro-message-removed", level));
        let added = diff_as(Kind::Avro, &one, &both, &options).expect("valid");
        assert_eq!((added.changes[0].rule.id, added.changes[0].level), ("avro-message-added", Info));
    }
}

#[test]
fn schemas_are_told_from_json_schema() {
    let kind = |path: &str, text: &str| detect(&Source::file(path, text.as_bytes()));
    assert_eq!(kind("a.avsc", "\"string\""), Some(Kind::Avro));
    assert_eq!(kind("a.json", &of("\"int\"")), Some(Kind::Avro));
    assert_eq!(kind("a.json", &format!("[{}]", of("\"int\""))), Some(Kind::Avro));
    assert_eq!(
        kind("a.json", r#"{"type": "object", "properties": {"record": {"enum": ["record"]}}}"#),
        Some(Kind::JsonSchema)
    );
}
