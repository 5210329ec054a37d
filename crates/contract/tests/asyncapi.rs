//! AsyncAPI contracts: directions in both versions, payloads of other formats, replies, and versions beside each other.

use lockstep_contract::{Kind, Options, Report, Source, Verdict, detect, diff_as, fit_as, operations};

fn source(text: &str) -> Source {
    Source::file("asyncapi.yaml", text.as_bytes())
}

fn report(old: &str, new: &str) -> Report {
    diff_as(Kind::AsyncApi, &source(old), &source(new), &Options::default()).expect("both sides are valid")
}

fn ids(report: &Report) -> Vec<&'static str> {
    report.changes.iter().filter(|change| change.breaks()).map(|change| change.rule.id).collect()
}

/// A document of version 2 in which others publish, or subscribe to, one message.
fn two(word: &str, payload: &str) -> String {
    format!(
        "asyncapi: 2.6.0\ninfo: {{title: a, version: '1'}}\nchannels:\n  orders/{{id}}:\n    {word}:\n      message:\n        name: paid\n        payload: {payload}\n"
    )
}

fn three(action: &str, payload: &str) -> String {
    format!(
        "asyncapi: 3.0.0\ninfo: {{title: a, version: '1'}}\nchannels:\n  orders:\n    address: orders/{{order}}\n    messages:\n      paid:\n        payload: {payload}\noperations:\n  paid: {{action: {action}, channel: {{$ref: '#/channels/orders'}}}}\n"
    )
}

const OPTIONAL: &str = "{type: object, properties: {a: {type: string}}}";
const REQUIRED: &str = "{type: object, properties: {a: {type: string}}, required: [a]}";

#[test]
fn the_direction_decides_who_is_hurt() {
    type Written = fn(&str, &str) -> String;
    let documents: [(Written, &str, &str); 2] = [(two, "publish", "subscribe"), (three, "receive", "send")];
    for (of, receive, send) in documents {
        // What is received: producers of the older document may leave `a` out.
        let received = report(&of(receive, OPTIONAL), &of(receive, REQUIRED));
        assert_eq!((received.may_deploy, received.may_roll_back), (false, true), "{received:#?}");
        assert_eq!(ids(&received), ["message-property-became-required"]);
        assert!(received.changes[0].witness.is_some(), "{received:#?}");
        // What is sent: consumers of the older document do without it, and after going back they would miss it.
        let sent = report(&of(send, OPTIONAL), &of(send, REQUIRED));
        assert_eq!((sent.may_deploy, sent.may_roll_back), (true, false), "{sent:#?}");
        // And the other way.
        let lost = report(&of(send, REQUIRED), &of(send, OPTIONAL));
        assert_eq!(ids(&lost), ["message-property-became-optional"]);
    }
}

#[test]
fn version_2_and_version_3_say_the_same() {
    for (word, action) in [("publish", "receive"), ("subscribe", "send")] {
        let same = report(&two(word, REQUIRED), &three(action, REQUIRED));
        assert_eq!((same.verdict, ids(&same).len()), (Verdict::Compatible, 0), "{same:#?}");
        let turned =
            report(&two(word, REQUIRED), &three(if action == "send" { "receive" } else { "send" }, REQUIRED));
        assert_eq!(ids(&turned), ["asyncapi-operation-removed"]);
    }
}

#[test]
fn a_channel_without_operation_counts_both_ways() {
    let bare = |payload: &str| {
        three("send", payload).split("operations:").next().map(str::to_owned).expect("a part")
    };
    for (old, new) in [(OPTIONAL, REQUIRED), (REQUIRED, OPTIONAL)] {
        let report = report(&bare(old), &bare(new));
        assert_eq!((report.may_deploy, report.may_roll_back), (false, false), "{report:#?}");
    }
}

#[test]
fn messages_that_come_and_go() {
    let of = |action: &str, messages: &[&str]| {
        let listed: String =
            messages.iter().map(|name| format!("      {name}: {{payload: {{type: string}}}}\n")).collect();
        format!(
            "asyncapi: 3.0.0\nchannels:\n  orders:\n    address: orders\n    messages:\n{listed}operations:\n  o: {{action: {action}, channel: {{$ref: '#/channels/orders'}}}}\n"
        )
    };
    let (one, two) = (["a", "b"], ["a", "b", "c"]);
    assert_eq!(ids(&report(&of("send", &one), &of("send", &two))), ["asyncapi-message-added"]);
    assert_eq!(ids(&report(&of("receive", &one), &of("receive", &two))), [""; 0]);
    assert_eq!(ids(&report(&of("receive", &two), &of("receive", &one))), ["asyncapi-message-removed"]);
}

#[test]
fn avro_and_protobuf_payloads_are_compared_by_their_own_rules() {
    let avro = |kind: &str| {
        format!(
            "{{schemaFormat: 'application/vnd.apache.avro;version=1.9.0', schema: {{type: record, name: Paid, fields: [{{name: total, type: {kind}}}]}}}}"
        )
    };
    let received = report(&three("receive", &avro("int")), &three("receive", &avro("long")));
    assert_eq!((received.may_deploy, received.may_roll_back), (true, false), "{received:#?}");
    let sent = report(&three("send", &avro("int")), &three("send", &avro("long")));
    assert_eq!((sent.may_deploy, sent.may_roll_back), (false, true), "{sent:#?}");
    assert_eq!(ids(&sent), ["avro-type-changed"]);
    assert!(sent.changes[0].place.ends_with("/payload/schema: Paid.total"), "{}", sent.changes[0].place);
    assert!(sent.changes[0].witness.is_some());
    let proto = |kind: &str| {
        format!(
            "{{schemaFormat: 'application/vnd.google.protobuf;version=3', schema: 'syntax = \"proto3\"; message Paid {{ {kind} total = 1; }}'}}"
        )
    };
    let wire = report(&three("send", &proto("int32")), &three("send", &proto("string")));
    assert!(!wire.may_deploy && !wire.changes.is_empty(), "{wire:#?}");
    let other = report(&three("send", &avro("int")), &three("send", OPTIONAL));
    assert_eq!(ids(&other), ["asyncapi-payload-format-changed"]);
    let broken = report(&three("send", &avro("int")), &three("send", &avro("nothing")));
    assert_eq!(broken.verdict, Verdict::NotChecked, "{broken:#?}");
}

#[test]
fn a_consumer_is_asked_about_what_it_uses() {
    let both = |paid: &str, refunds: &str| {
        format!(
            "asyncapi: 2.6.0\nchannels:\n  paid: {{subscribe: {{message: {{payload: {paid}}}}}}}\n  refunds: {{subscribe: {{message: {{payload: {refunds}}}}}}}\n"
        )
    };
    let (used, offered) = (both(REQUIRED, REQUIRED), both(REQUIRED, OPTIONAL));
    assert_eq!(operations(&source(&used)).expect("read"), ["send paid", "send refunds"]);
    let ask = |name: &str| {
        let names = [name.to_owned()];
        fit_as(Kind::AsyncApi, &source(&used), &names, &source(&offered), &Options::default())
            .map(|fit| fit.verdict)
    };
    assert_eq!(ask("send paid"), Ok(Verdict::Compatible));
    assert_eq!(ask("SEND refunds"), Ok(Verdict::Breaking));
    assert!(ask("receive paid").is_err());
}

#[test]
fn documents_are_told_from_openapi_and_read_as_json_too() {
    assert_eq!(detect(&source(&two("publish", OPTIONAL))), Some(Kind::AsyncApi));
    let json = r#"{"asyncapi": "2.6.0", "channels": {}}"#;
    assert_eq!(detect(&Source::file("a.json", json.as_bytes())), Some(Kind::AsyncApi));
    let schema = r#"{"properties": {"asyncapi": {"type": "string"}}}"#;
    assert_eq!(detect(&Source::file("a.json", schema.as_bytes())), Some(Kind::JsonSchema));
    let none = diff_as(Kind::AsyncApi, &source("a: 1"), &source("[]"), &Options::default())
        .expect_err("no documents");
    assert_eq!(none.len(), 2);
}

#[test]
fn what_a_reference_in_another_file_says_is_read() {
    let whole = |payload: &str| {
        source("asyncapi: 2.6.0\nchannels: {a: {publish: {message: {$ref: 'messages.yaml#/paid'}}}}\n")
            .with_file("messages.yaml", format!("paid:\n  payload: {payload}\n").into_bytes())
    };
    let report =
        diff_as(Kind::AsyncApi, &whole(OPTIONAL), &whole(REQUIRED), &Options::default()).expect("valid");
    assert!(!report.may_deploy);
    assert_eq!(report.changes[0].new.as_ref().map(|at| at.file.as_str()), Some("messages.yaml"));
}

/// A document of version 3 with these operations and channels beside one that is always there.
fn with(channels: &str, operations: &str) -> String {
    format!(
        "asyncapi: 3.0.0\ninfo: {{title: a, version: '1'}}\nchannels:\n  orders: {{address: orders, messages: {{paid: {{payload: {{type: string}}}}}}}}\n{channels}operations:\n{operations}"
    )
}

#[test]
fn what_only_one_side_has_is_read_as_well() {
    let one = "  paid: {action: send, channel: {$ref: '#/channels/orders'}}\n";
    let old = with("", one);
    let open = |new: &str| {
        for (from, to) in [(&*old, new), (new, &*old)] {
            let report = report(from, to);
            assert_eq!(report.verdict, Verdict::NotChecked, "{from}\n{to}\n{report:#?}");
            assert!(report.not_checked.iter().all(|open| !open.place.is_empty()), "{report:#?}");
        }
    };
    // Another operation at the same address, with what is not compared.
    for field in [
        "security: [{type: plain}]",
        "bindings: {kafka: {groupId: {}}}",
        "traits: [{summary: a}]",
        "unheard: 1",
    ] {
        open(&with(
            "",
            &format!("{one}  also: {{action: send, channel: {{$ref: '#/channels/orders'}}, {field}}}\n"),
        ));
    }
    // Another channel of the same address.
    let second = "  other: {address: orders, bindings: {kafka: {partitions: 3}}, messages: {paid: {payload: {type: string}}}}\n";
    let both = format!("{one}  also: {{action: send, channel: {{$ref: '#/channels/other'}}}}\n");
    open(&with(second, &both));
    // A binding, a parameter and a correlation id that were not there, with what nobody knows in them.
    for field in ["bindings: {kafka: {unheard: 1}}", "bindings: {mqtt: {qos: 1}}"] {
        open(&old.replace("address: orders,", &format!("address: orders, {field},")));
    }
    for field in ["bindings: {kafka: {unheard: 1}}", "traits: [{unheard: 1}]"] {
        open(&old.replace("paid: {payload", &format!("paid: {{{field}, payload")));
    }
    // What is described only, or the same in another order, is no matter.
    let described = with(
        "",
        &format!("  also: {{action: send, channel: {{$ref: '#/channels/orders'}}, summary: a}}\n{one}"),
    );
    let same = report(&old, &described);
    assert!(same.may_deploy && same.may_roll_back, "{same:#?}");
}
