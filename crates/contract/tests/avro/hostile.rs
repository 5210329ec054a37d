//! Input made to harm: every one ends, quickly and with its place.

use lockstep_contract::{InputError, Kind, Options, Source, Verdict, diff_as};
use serde_json::{Value, json};

fn errors(text: &str) -> Vec<InputError> {
    let bad = Source::file("bad.avsc", text.as_bytes());
    let good = Source::file("good.avsc", "\"string\"".as_bytes());
    diff_as(Kind::Avro, &good, &bad, &Options::default()).expect_err("the input is bad")
}

#[test]
fn errors_name_file_and_line() {
    let cases = [
        ("{\n\"type\": }", "bad.avsc:2: not valid JSON: expected value (column 9)"),
        ("\"Order\"", "bad.avsc:1: there is no type `Order`"),
        ("{\"type\": \"record\",\n\"name\": \"R\"}", "bad.avsc:1: a record needs `fields`, a list"),
        (
            "{\"type\": \"record\", \"name\": \"R\", \"fields\": [\n{\"name\": \"a-b\", \"type\": \"int\"}]}",
            "bad.avsc:2: a field needs a `name` of letters, digits and `_`",
        ),
        (
            "{\"type\": \"record\", \"name\": \"R\", \"fields\": [\n{\"name\": \"a\", \"type\": [[\"int\"]]}]}",
            "bad.avsc:2: a union may not hold another union",
        ),
        ("[\"int\",\n\"int\"]", "bad.avsc:2: the union has `int` twice"),
        (
            "{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [\"A\"], \n\"default\": \"B\"}",
            "bad.avsc:2: the default of `E` is none of its symbols",
        ),
        (
            "{\"type\": \"enum\", \"name\": \"E\", \"symbols\": [\"A\", \"A\"]}",
            "bad.avsc:1: `E` has the symbol `A` twice",
        ),
        (
            "{\"type\": \"fixed\", \"name\": \"F\", \"size\": -1}",
            "bad.avsc:1: a fixed needs a `size`, a number of bytes",
        ),
        ("{\"type\": \"array\"}", "bad.avsc:1: `items` is missing"),
        (
            "{\"type\": \"record\", \"name\": \"int\", \"fields\": []}",
            "bad.avsc:1: `int` is no name: letters, digits and `_` are, with `.` between parts",
        ),
        (
            "{\"type\": {\"type\": \"string\"}, \"logicalType\": \"uuid\"}",
            "bad.avsc:1: `logicalType` stands beside a type that is an object or a list, where it has no effect; move it into the type",
        ),
        (
            "[{\"type\": \"fixed\", \"name\": \"F\", \"size\": 1},\n{\"type\": \"fixed\", \"name\": \"F\", \"size\": 1}]",
            "bad.avsc:2: `F` is defined twice",
        ),
        ("7", "bad.avsc:1: a schema is a name, an object or a list of schemas"),
    ];
    for (text, message) in cases {
        assert_eq!(errors(text)[0].to_string(), message, "{text}");
    }
}

fn compare(old: &Value, new: &Value) -> Verdict {
    let source = |value: &Value| Source::file("a.avsc", value.to_string().into_bytes());
    diff_as(Kind::Avro, &source(old), &source(new), &Options::default()).expect("valid").verdict
}

#[test]
fn a_long_chain_of_types_ends() {
    let wide: Value =
        (0..2_000).map(|index| json!({"type": "fixed", "name": format!("F{index}"), "size": 1})).collect();
    assert!(errors(&wide.to_string())[0].message.contains("more than 1000 types"));
    let chain = |last: &str| {
        let link = |index: usize| {
            let next = if index == 900 { last.to_owned() } else { format!("T{}", index + 1) };
            json!({"type": "record", "name": format!("T{index}"), "fields": [{"name": "next", "type": next}]})
        };
        (0..=900).map(link).collect::<Value>()
    };
    assert_ne!(compare(&chain("int"), &chain("string")), Verdict::Compatible);
}

#[test]
fn types_that_hold_themselves_and_vast_ones_end() {
    let tree = |of: &str| {
        json!({"type": "record", "name": "Tree", "fields": [
            {"name": "value", "type": of},
            {"name": "left", "type": ["null", "Tree"]},
            {"name": "right", "type": {"type": "array", "items": "Tree"}},
        ]})
    };
    assert_eq!(compare(&tree("int"), &tree("string")), Verdict::Breaking);
    assert_eq!(compare(&tree("int"), &tree("long")), Verdict::Compatible);
    // A type without any finite value has no witness, and no end.
    let endless = |of: &str| json!({"type": "record", "name": "E", "fields": [{"name": "v", "type": of}, {"name": "e", "type": "E"}]});
    assert_eq!(compare(&endless("int"), &endless("string")), Verdict::Breaking);
    // Doubling at every level: a sample of it must not be as large.
    let doubling = |of: &str| {
        let record = |index: usize| {
            let next = if index == 20 { json!(of) } else { json!(format!("D{}", index + 1)) };
            json!({"type": "record", "name": format!("D{index}"), "fields": [{"name": "a", "type": next}, {"name": "b", "type": next}]})
        };
        (0..=20).map(record).collect::<Value>()
    };
    assert_eq!(compare(&doubling("int"), &doubling("string")), Verdict::Breaking);
}
