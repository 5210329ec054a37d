//! The objects of Avro, each attribute with a pair.

use lockstep_contract::Kind;
use lockstep_contract::specification::{Field, Treatment};
use serde_json::{Value, json};

use super::walk::assert_treated;

/// A message with one field of a type.
fn of(of: impl Into<Value>) -> Value {
    json!({"type": "record", "name": "M", "fields": [{"name": "f", "type": of.into()}]})
}

/// A type of each object, with one more attribute.
fn object(name: &str, more: &[(&str, Value)]) -> Value {
    let mut of = match name {
        "Record" => json!({"type": "record", "name": "a.X", "fields": []}),
        "Enum" => json!({"type": "enum", "name": "a.X", "symbols": ["A", "B"]}),
        "Fixed" => json!({"type": "fixed", "name": "a.X", "size": 8}),
        "Array" => json!({"type": "array", "items": "int"}),
        "Map" => json!({"type": "map", "values": "int"}),
        "Field" => json!({"name": "f", "type": "int"}),
        _ => json!({"type": "bytes"}),
    };
    for (key, value) in more {
        of[*key] = value.clone();
    }
    of
}

fn decimal(name: &str, precision: u8, scale: u8) -> Value {
    object(
        name,
        &[("logicalType", json!("decimal")), ("precision", json!(precision)), ("scale", json!(scale))],
    )
}

/// Two messages that differ in one attribute.
fn pair(field: &Field) -> Option<[Value; 2]> {
    let with = |key: &str, value: Value| object(field.object, &[(key, value)]);
    let plain = object(field.object, &[]);
    if field.object == "Field" {
        let message = |field: Value| json!({"type": "record", "name": "M", "fields": [field]});
        let pair = match field.name {
            "name" => {
                [json!({"type": "record", "name": "M", "fields": []}), message(with("name", json!("g")))]
            }
            "type" => [message(plain), message(with("type", json!("string")))],
            "default" => [message(plain), message(with("default", json!(1)))],
            "aliases" => {
                [message(plain), message(object("Field", &[("name", json!("g")), ("aliases", json!(["f"]))]))]
            }
            "order" => [message(plain), message(with("order", json!("descending")))],
            "doc" => [message(plain), message(with("doc", json!("words")))],
            "logicalType" => [message(plain), message(with("logicalType", json!("date")))],
            _ => return None,
        };
        return Some(pair);
    }
    let pair = match field.name {
        "type" => [plain, json!("double")],
        "name" => [plain, with("name", json!("a.Y"))],
        "namespace" => [
            object(field.object, &[("name", json!("X")), ("namespace", json!("a"))]),
            object(field.object, &[("name", json!("X")), ("namespace", json!("b"))]),
        ],
        "aliases" => [plain, object(field.object, &[("name", json!("a.Y")), ("aliases", json!(["X"]))])],
        "doc" => [plain, with("doc", json!("words"))],
        "fields" => [plain, with("fields", json!([{"name": "f", "type": "int"}]))],
        "symbols" => [plain, with("symbols", json!(["A"]))],
        "default" if field.object == "Enum" => [plain, with("default", json!("A"))],
        "default" => [plain, with("default", json!([]))],
        "size" => [plain, with("size", json!(9))],
        "items" | "values" => [plain, with(field.name, json!("string"))],
        "logicalType" => {
            let size = if field.object == "Fixed" { "Fixed" } else { "" };
            match size {
                "Fixed" => [
                    json!({"type": "fixed", "name": "X", "size": 12, "logicalType": "duration"}),
                    json!({"type": "fixed", "name": "X", "size": 12, "logicalType": "decimal", "precision": 4}),
                ],
                _ => [
                    json!({"type": "long", "logicalType": "timestamp-millis"}),
                    json!({"type": "long", "logicalType": "timestamp-micros"}),
                ],
            }
        }
        "precision" => [decimal(field.object, 9, 2), decimal(field.object, 8, 2)],
        "scale" => [decimal(field.object, 9, 2), decimal(field.object, 9, 3)],
        _ => return None,
    };
    Some(pair.map(of))
}

#[test]
fn every_attribute_ends_as_its_list_says() {
    let objects = ["Record", "Field", "Enum", "Fixed", "Array", "Map", "Primitive"];
    let ours = lockstep_contract::specification::all()
        .filter(|field| field.versions.starts_with("1.11") && objects.contains(&field.object));
    let mut seen = 0;
    for field in ours {
        let [old, new] =
            pair(field).unwrap_or_else(|| panic!("no pair for `{}` of {}", field.name, field.object));
        assert_treated(Kind::Avro, field, &old, &new);
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn metadata_is_harmless_and_a_slip_is_not_checked() {
    for object in ["Record", "Enum", "Fixed", "Array", "Map", "Primitive"] {
        let plain = of(self::object(object, &[]));
        let field = |name: &'static str, treatment| Field {
            object: "any",
            name,
            versions: "1.11",
            treatment,
            default: "",
        };
        let own = of(self::object(object, &[("x.owner", json!("us"))]));
        assert_treated(Kind::Avro, &field("x.owner", Treatment::Harmless("metadata")), &plain, &own);
    }
    let slip = of(object("Enum", &[("defualt", json!("A"))]));
    let field = Field {
        object: "Enum",
        name: "defualt",
        versions: "",
        treatment: Treatment::NotChecked,
        default: "",
    };
    assert_treated(Kind::Avro, &field, &of(object("Enum", &[])), &slip);
}
