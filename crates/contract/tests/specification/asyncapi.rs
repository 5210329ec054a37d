//! The objects of AsyncAPI 2.6 and 3.0, each field with a pair.

use lockstep_contract::Kind;
use lockstep_contract::specification::{Field, Treatment};
use serde_json::{Value, json};

use super::walk::{assert_open, assert_treated, both_ways};

const OBJECTS: [&str; 11] = [
    "AsyncAPI",
    "Server",
    "Channel",
    "Parameter",
    "Operation",
    "Operation Reply",
    "Operation Reply Address",
    "Message",
    "Correlation ID",
    "Kafka Channel Binding",
    "Kafka Message Binding",
];

fn three() -> Value {
    json!({
        "asyncapi": "3.0.0", "info": {"title": "orders", "version": "1"},
        "servers": {"broker": {"host": "a:9092", "protocol": "kafka"}},
        "channels": {
            "orders": {
                "address": "orders.{region}",
                "parameters": {"region": {}},
                "bindings": {"kafka": {}},
                "messages": {"paid": {
                    "payload": {"type": "object", "properties": {"a": {"type": "string"}}},
                    "headers": {"type": "object"}, "correlationId": {"location": "$message.header#/id"},
                    "bindings": {"kafka": {}}
                }, "other": {"payload": {"type": "string"}}}
            },
            "answers": {"address": "answers", "messages": {"done": {"payload": {"type": "string"}}}},
            "elsewhere": {"address": "elsewhere", "messages": {"done": {"payload": {"type": "string"}}}}
        },
        "operations": {"take": {
            "action": "receive", "channel": {"$ref": "#/channels/orders"},
            "messages": [{"$ref": "#/channels/orders/messages/paid"}],
            "reply": {"channel": {"$ref": "#/channels/answers"}, "address": {"location": "$message.header#/to"}}
        }, "rest": {"action": "send", "channel": {"$ref": "#/channels/elsewhere"}}, "others": {"action": "send", "channel": {"$ref": "#/channels/answers"}}}
    })
}

fn two() -> Value {
    json!({
        "asyncapi": "2.6.0", "info": {"title": "orders", "version": "1"},
        "servers": {"broker": {"url": "a:9092", "protocol": "kafka"}},
        "channels": {
            "orders.{region}": {
                "parameters": {"region": {"schema": {"type": "string", "enum": ["eu", "us"]}}},
                "bindings": {"kafka": {}},
                "publish": {"message": {
                    "payload": {"type": "object", "properties": {"a": {"type": "string"}}},
                    "headers": {"type": "object"}, "correlationId": {"location": "$message.header#/id"},
                    "bindings": {"kafka": {}}
                }}
            }
        }
    })
}

/// Where an object is in a document.
fn place(object: &str, major: char) -> Option<&'static str> {
    Some(match (object, major) {
        ("AsyncAPI", _) => "",
        ("Server", _) => "/servers/broker",
        ("Channel", '3') => "/channels/orders",
        ("Channel", _) => "/channels/orders.{region}",
        ("Parameter", '3') => "/channels/orders/parameters/region",
        ("Parameter", _) => "/channels/orders.{region}/parameters/region",
        ("Operation", '3') => "/operations/take",
        ("Operation", _) => "/channels/orders.{region}/publish",
        ("Operation Reply", '3') => "/operations/take/reply",
        ("Operation Reply Address", '3') => "/operations/take/reply/address",
        ("Message", '3') => "/channels/orders/messages/paid",
        ("Message", _) => "/channels/orders.{region}/publish/message",
        ("Correlation ID", '3') => "/channels/orders/messages/paid/correlationId",
        ("Correlation ID", _) => "/channels/orders.{region}/publish/message/correlationId",
        ("Kafka Channel Binding", '3') => "/channels/orders/bindings/kafka",
        ("Kafka Channel Binding", _) => "/channels/orders.{region}/bindings/kafka",
        ("Kafka Message Binding", '3') => "/channels/orders/messages/paid/bindings/kafka",
        ("Kafka Message Binding", _) => "/channels/orders.{region}/publish/message/bindings/kafka",
        _ => return None,
    })
}

/// What a field is on both sides; nothing where it is not there.
fn values(object: &str, name: &str) -> [Option<Value>; 2] {
    let some = |one: Value, other: Value| [Some(one), Some(other)];
    let added = |value: Value| [None, Some(value)];
    match (object, name) {
        (_, "description" | "summary" | "title" | "operationId" | "id" | "messageId" | "bindingVersion") => {
            some(json!("one"), json!("other"))
        }
        (_, "tags" | "examples") => added(json!([{"name": "x"}])),
        (_, "externalDocs") => added(json!({"url": "https://a"})),
        ("AsyncAPI", "info") => {
            some(json!({"title": "a", "version": "1"}), json!({"title": "b", "version": "2"}))
        }
        ("AsyncAPI", "servers" | "channels" | "operations") => added(json!({})),
        ("AsyncAPI", "defaultContentType") => some(json!("application/json"), json!("application/cbor")),
        ("Server", "protocol") => some(json!("kafka"), json!("amqp")),
        ("Server", "url" | "host" | "pathname" | "protocolVersion") => some(json!("one"), json!("other")),
        ("Server", "variables") => added(json!({"x": {"default": "a"}})),
        (_, "security") => added(json!([{"user": []}])),
        ("Server" | "Operation", "bindings") => added(json!({"mqtt": {"qos": 1}})),
        ("Operation", "traits") => added(json!([{"summary": "x"}])),
        ("Operation", "action") => some(json!("receive"), json!("send")),
        ("Operation", "channel") => {
            some(json!({"$ref": "#/channels/orders"}), json!({"$ref": "#/channels/elsewhere"}))
        }
        ("Operation", "messages") => some(
            json!([{"$ref": "#/channels/orders/messages/paid"}, {"$ref": "#/channels/orders/messages/other"}]),
            json!([{"$ref": "#/channels/orders/messages/paid"}]),
        ),
        ("Operation", "message") => some(
            json!({"oneOf": [{"name": "a", "payload": {"type": "string"}}, {"name": "b", "payload": {"type": "string"}}]}),
            json!({"oneOf": [{"name": "a", "payload": {"type": "string"}}]}),
        ),
        ("Operation", "reply") => added(json!({"channel": {"$ref": "#/channels/answers"}})),
        ("Channel", "address") => some(json!("orders.{region}"), json!("other.{region}")),
        ("Channel", "servers") => added(json!([])),
        ("Channel", "subscribe" | "publish") => added(json!({"message": {"payload": {"type": "string"}}})),
        ("Channel", "bindings") => some(json!({"kafka": {"topic": "a"}}), json!({"kafka": {"topic": "b"}})),
        ("Parameter", "enum") => some(json!(["a", "b"]), json!(["a"])),
        ("Parameter", "default") => some(json!("a"), json!("b")),
        ("Parameter", "schema") => some(json!({"enum": ["eu", "us"]}), json!({"enum": ["eu"]})),
        ("Parameter" | "Operation Reply Address" | "Correlation ID", "location") => {
            some(json!("$message.header#/a"), json!("$message.header#/b"))
        }
        ("Operation Reply", "address") => added(json!({"location": "$message.header#/x"})),
        ("Operation Reply", "channel") => {
            some(json!({"$ref": "#/channels/answers"}), json!({"$ref": "#/channels/elsewhere"}))
        }
        ("Operation Reply", "messages") => added(json!([])),
        ("Message", "schemaFormat") => added(json!("application/vnd.apache.avro;version=1.9.0")),
        ("Message", "headers") => {
            some(json!({"type": "object"}), json!({"type": "object", "required": ["a"]}))
        }
        ("Message", "payload") => some(json!({"type": ["string", "integer"]}), json!({"type": "string"})),
        ("Message", "correlationId") => added(json!({"location": "$message.header#/b"})),
        ("Message", "contentType") => some(json!("application/json"), json!("application/cbor")),
        ("Message", "bindings") => some(
            json!({"kafka": {"schemaIdLocation": "header"}}),
            json!({"kafka": {"schemaIdLocation": "payload"}}),
        ),
        ("Kafka Channel Binding", "topic") => some(json!("a"), json!("b")),
        ("Kafka Channel Binding", "partitions" | "replicas") => some(json!(1), json!(2)),
        ("Kafka Channel Binding", "topicConfiguration") => added(json!({"retention.ms": 1})),
        ("Kafka Message Binding", "key") => {
            some(json!({"type": ["string", "integer"]}), json!({"type": "string"}))
        }
        ("Kafka Message Binding", _) => some(json!("header"), json!("payload")),
        _ => [None, None],
    }
}

/// A document with a field set, or away.
fn with(major: char, object: &str, name: &str, value: Option<Value>) -> Value {
    let mut document = if major == '3' { three() } else { two() };
    let place = place(object, major).unwrap_or_else(|| panic!("no place for {object}"));
    let map =
        document.pointer_mut(place).and_then(Value::as_object_mut).unwrap_or_else(|| panic!("no {place}"));
    match value {
        Some(value) => drop(map.insert(name.to_owned(), value)),
        None => drop(map.remove(name)),
    }
    document
}

fn pair(major: char, field: &Field) -> [Value; 2] {
    let whole = || if major == '3' { three() } else { two() };
    match (field.object, field.name) {
        ("AsyncAPI", "asyncapi") => {
            let other = if major == '3' { "3.0.1" } else { "2.4.0" };
            return [whole(), with(major, "AsyncAPI", "asyncapi", Some(json!(other)))];
        }
        ("AsyncAPI", "servers" | "channels" | "operations") => {
            return [whole(), with(major, field.object, field.name, Some(json!({})))];
        }
        ("AsyncAPI", "components") => {
            let of = |kind: Value| {
                let mut document =
                    with(major, "Message", "payload", Some(json!({"$ref": "#/components/schemas/P"})));
                document["components"] = json!({"schemas": {"P": {"type": kind}}});
                document
            };
            return [of(json!(["string", "integer"])), of(json!("string"))];
        }
        ("Channel", "parameters") => {
            let of = |values: Value| {
                let parameter =
                    if major == '3' { json!({"enum": values}) } else { json!({"schema": {"enum": values}}) };
                with(major, "Channel", "parameters", Some(json!({"region": parameter})))
            };
            return [of(json!(["a", "b"])), of(json!(["a"]))];
        }
        ("Channel", "messages") => {
            let mut less = whole();
            let mut more = whole();
            for document in [&mut less, &mut more] {
                document["operations"]["take"].as_object_mut().expect("an operation").remove("messages");
            }
            less["channels"]["orders"]["messages"].as_object_mut().expect("messages").remove("other");
            return [more, less];
        }
        ("Channel", "$ref") => {
            let mut gone = whole();
            gone["channels"]["orders.{region}"] = json!({"$ref": "#/components/channels/none"});
            return [whole(), gone];
        }
        ("Message", "name") => {
            if major == '3' {
                let mut renamed = whole();
                let paid = renamed["channels"]["orders"]["messages"]["paid"].clone();
                renamed["channels"]["orders"]["messages"]["settled"] = paid;
                renamed["operations"]["take"]["messages"] =
                    json!([{"$ref": "#/channels/orders/messages/settled"}]);
                return [whole(), renamed];
            }
            return [json!("a"), json!("b")].map(|name| with(major, "Message", "name", Some(name)));
        }
        ("Message", "traits") => {
            let of = |required: Value| {
                let mut document = with(
                    major,
                    "Message",
                    "traits",
                    Some(json!([{"headers": {"type": "object", "required": required}}])),
                );
                let at = place("Message", major).expect("a place");
                document.pointer_mut(at).and_then(Value::as_object_mut).expect("a message").remove("headers");
                document
            };
            return [of(json!([])), of(json!(["a"]))];
        }
        _ => {}
    }
    let values = values(field.object, field.name);
    assert_ne!(values[0], values[1], "no pair for `{}` of {}", field.name, field.object);
    values.map(|value| with(major, field.object, field.name, value))
}

#[test]
fn every_field_ends_as_its_list_says() {
    let ours = lockstep_contract::specification::all().filter(|field| {
        OBJECTS.contains(&field.object)
            && ["async", "kafka"].iter().any(|kind| field.versions.starts_with(kind))
    });
    let mut seen = 0;
    for field in ours {
        for major in ['2', '3'] {
            let has =
                field.versions.starts_with("kafka") || field.versions.contains(&format!("async-{major}"));
            // Version 2 says by a schema what version 3 says by a list: that is the field of the parameter.
            let has = has && (field.object, field.name, major) != ("Channel", "parameters", '2');
            if has && place(field.object, major).is_some() {
                let [old, new] = pair(major, field);
                // A default content type that is named again says nothing new.
                assert_treated(Kind::AsyncApi, field, &old, &new);
                seen += 1;
            }
        }
    }
    assert!(seen > 90, "{seen}");
}

#[test]
fn a_field_that_stands_in_no_list_is_not_checked() {
    for object in OBJECTS {
        for major in ['2', '3'] {
            if place(object, major).is_none() {
                continue;
            }
            let plain = if major == '3' { three() } else { two() };
            assert_open(
                &both_ways(Kind::AsyncApi, &plain, &with(major, object, "defualt", Some(json!("x")))),
                "defualt",
            );
            let field = Field {
                object: "any",
                name: "x-own",
                versions: "",
                treatment: Treatment::Harmless("an extension"),
                default: "",
            };
            assert_treated(Kind::AsyncApi, &field, &plain, &with(major, object, "x-own", Some(json!("x"))));
        }
    }
}

#[test]
fn a_version_that_is_not_known_is_not_checked() {
    for version in ["4.0.0", "3.1.0", "2.7.0", "1.2.0"] {
        let newer = with('3', "AsyncAPI", "asyncapi", Some(json!(version)));
        let reports = both_ways(Kind::AsyncApi, &three(), &newer);
        for report in &reports {
            assert!(!report.may_deploy, "{version}");
            assert!(
                report.not_checked.iter().any(|open| open.reason.contains(version)),
                "{version}: {report:#?}"
            );
        }
    }
}

#[test]
fn payloads_in_formats_that_are_not_read_and_references_to_nothing_are_not_checked() {
    let raml = |text: &str| {
        with(
            '3',
            "Message",
            "payload",
            Some(json!({"schemaFormat": "application/raml+yaml;version=1.0", "schema": text})),
        )
    };
    assert_open(&both_ways(Kind::AsyncApi, &raml("a"), &raml("b")), "schemaFormat");
    let lost = |file: &str| with('3', "Message", "payload", Some(json!({"$ref": file})));
    assert_open(&both_ways(Kind::AsyncApi, &lost("gone.json"), &lost("other.json")), "leads to nothing");
    let avro = |file: &str| {
        with(
            '3',
            "Message",
            "payload",
            Some(
                json!({"schemaFormat": "application/vnd.apache.avro;version=1.9.0", "schema": {"$ref": file}}),
            ),
        )
    };
    assert_open(&both_ways(Kind::AsyncApi, &avro("gone.avsc"), &avro("other.avsc")), "leads to nothing");
    let later = |of: Value| {
        let schema = json!({"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": of});
        with('3', "Message", "payload", Some(schema))
    };
    let tuple = |of: &str| json!({"prefixItems": [{"type": of}]});
    assert_open(
        &both_ways(Kind::AsyncApi, &later(tuple("string")), &later(tuple("integer"))),
        "draft-2020-12",
    );
    let own = |of: &str| {
        let mut schema = tuple(of);
        schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        with('3', "Message", "payload", Some(schema))
    };
    assert_open(&both_ways(Kind::AsyncApi, &own("string"), &own("integer")), "2020-12");
    let keyed = |of: Value| with('3', "Kafka Message Binding", "key", Some(of));
    let record = |kind: &str| json!({"type": "record", "name": "K", "fields": [{"name": "a", "type": kind}]});
    assert_open(&both_ways(Kind::AsyncApi, &keyed(record("int")), &keyed(record("string"))), "`key`");
}

#[test]
fn what_stands_behind_a_reference_counts_where_it_is_not_compared() {
    let shared = |object: &str, name: &str, part: &str, of: Value, list: bool| {
        let reference = json!({"$ref": format!("#/components/{part}/shared")});
        let mut document = with('3', object, name, Some(if list { json!([reference]) } else { reference }));
        document["components"] = json!({part: {"shared": of}});
        document
    };
    for (object, name, part, one, other, list) in [
        (
            "Operation",
            "bindings",
            "operationBindings",
            json!({"mqtt": {"qos": 1}}),
            json!({"mqtt": {"qos": 2}}),
            false,
        ),
        (
            "Operation",
            "traits",
            "operationTraits",
            json!({"bindings": {"mqtt": {"qos": 1}}}),
            json!({"bindings": {"mqtt": {"qos": 2}}}),
            true,
        ),
        (
            "Server",
            "bindings",
            "serverBindings",
            json!({"mqtt": {"clean": true}}),
            json!({"mqtt": {"clean": false}}),
            false,
        ),
        ("Server", "security", "securitySchemes", json!({"type": "plain"}), json!({"type": "x509"}), true),
        (
            "Channel",
            "bindings",
            "channelBindings",
            json!({"amqp": {"is": "queue"}}),
            json!({"amqp": {"is": "routingKey"}}),
            false,
        ),
        (
            "Message",
            "bindings",
            "messageBindings",
            json!({"amqp": {"contentEncoding": "gzip"}}),
            json!({"amqp": {}}),
            false,
        ),
    ] {
        let (old, new) = (shared(object, name, part, one, list), shared(object, name, part, other, list));
        for report in both_ways(Kind::AsyncApi, &old, &new) {
            assert!(!report.may_deploy && !report.may_roll_back, "{object} {name}: {report:#?}");
        }
    }
    let lost = |_: ()| with('3', "Channel", "bindings", Some(json!({"$ref": "gone.yaml"})));
    let mut other = lost(());
    other["info"]["title"] = json!("another");
    assert!(!both_ways(Kind::AsyncApi, &lost(()), &other)[0].may_deploy);
}
