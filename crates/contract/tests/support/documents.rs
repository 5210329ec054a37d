//! Random documents near a schema, from a seed.

use serde_json::{Map, Value, json};

use super::schemas::{Dice, NAMES};

/// A random document that a schema may allow: built along the schema, with some noise.
pub(crate) fn document(dice: &mut Dice, schema: &Value, depth: usize) -> Value {
    let Value::Object(map) = schema else { return noise(dice, depth) };
    if depth == 0 || dice.chance(8) {
        return noise(dice, depth.min(1));
    }
    if let Some(value) = map.get("const") {
        return value.clone();
    }
    if let Some(values) = map.get("enum").and_then(Value::as_array).filter(|values| !values.is_empty()) {
        return dice.pick(values).clone();
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        if let Some(parts) = map.get(keyword).and_then(Value::as_array).filter(|parts| !parts.is_empty()) {
            let part = dice.pick(parts).clone();
            let own = object_document(dice, map, depth);
            let chosen = document(dice, &part, depth - 1);
            return match (own, chosen) {
                (Value::Object(mut own), Value::Object(chosen)) if map.contains_key("properties") => {
                    own.extend(chosen);
                    own.into()
                }
                (own, _) if map.contains_key("properties") => own,
                (_, chosen) => chosen,
            };
        }
    }
    for keyword in ["then", "else", "if"] {
        if let Some(part) = map.get(keyword).filter(|_| dice.chance(50)) {
            return document(dice, part, depth - 1);
        }
    }
    let kinds: Vec<&str> = match map.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if map.contains_key("properties") => vec!["object"],
        _ => return noise(dice, depth),
    };
    match *dice.pick(&kinds) {
        "object" => object_document(dice, map, depth),
        "array" => {
            let count = dice.below(4);
            (0..count)
                .map(|index| {
                    let prefix = map.get("prefixItems").and_then(|prefix| prefix.get(index));
                    let any = Value::Bool(true);
                    let item = prefix
                        .or_else(|| map.get("items"))
                        .or_else(|| map.get("contains"))
                        .unwrap_or(&any)
                        .clone();
                    document(dice, &item, depth - 1)
                })
                .collect()
        }
        "string" => text(dice),
        "integer" => json!(dice.below(12)),
        "number" => json!(dice.below(24) as f64 / 2.0),
        "boolean" => json!(dice.chance(50)),
        _ => Value::Null,
    }
}

fn object_document(dice: &mut Dice, map: &Map<String, Value>, depth: usize) -> Value {
    let empty = Map::new();
    let properties = map.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required = map.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut document_map = Map::new();
    for name in NAMES {
        let needed = required.iter().any(|other| other == name);
        let declared = properties.get(name);
        let percent = match (needed, declared) {
            (true, _) => 97,
            (false, Some(_)) => 50,
            (false, None) => 12,
        };
        if dice.chance(percent) {
            let value = match declared {
                Some(schema) => document(dice, schema, depth - 1),
                None => match map.get("additionalProperties") {
                    Some(rest) => document(dice, rest, depth - 1),
                    None => noise(dice, 1),
                },
            };
            document_map.insert(name.into(), value);
        }
    }
    if dice.chance(10) {
        document_map.insert(dice.pick(&["x-free", "ab", "zz", ""]).to_string(), noise(dice, 1));
    }
    document_map.into()
}

fn text(dice: &mut Dice) -> Value {
    json!(dice.pick(&["", "a", "b", "ab", "abc", "abcd", "xy", "x-", "zzzzz", "c", "ba", "aaaaaa"]))
}

fn noise(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(dice.chance(50)),
        2 => json!(dice.below(10)),
        3 => json!(dice.below(20) as f64 / 4.0),
        4 | 5 => text(dice),
        6 => {
            let count = dice.below(3);
            (0..count).map(|_| noise(dice, depth - 1)).collect()
        }
        _ => {
            let mut map = Map::new();
            for name in NAMES {
                if dice.chance(25) {
                    map.insert(name.into(), noise(dice, depth - 1));
                }
            }
            map.into()
        }
    }
}
