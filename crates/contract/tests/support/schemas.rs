//! Random schemas and small changes of schemas, from a seed.

use serde_json::{Map, Value, json};

/// A small deterministic source of randomness, so that every failure can be run again by its seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    /// True in `percent` of a hundred throws.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.below(values.len())]
    }
}

pub(crate) const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const PATTERNS: [&str; 6] = ["^[a-c]+$", "^a", "b", "^[a-z]{1,3}$", "^.{2}$", "^x-"];

/// A random schema.
pub(crate) fn schema(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 6 } else { 13 }) {
        0 => string(dice),
        1 => number(dice),
        2 => json!({"type": "boolean"}),
        3 => listed(dice),
        4 => nullable(dice),
        5 => {
            if dice.chance(80) {
                string(dice)
            } else {
                json!(dice.chance(80))
            }
        }
        6..=8 => object(dice, depth),
        9 | 10 => array(dice, depth),
        11 => {
            let keyword = *dice.pick(&["anyOf", "oneOf", "allOf"]);
            let count = 1 + dice.below(3);
            let variants: Vec<Value> = (0..count).map(|_| schema(dice, depth - 1)).collect();
            json!({keyword: variants})
        }
        _ => conditional(dice, depth),
    }
}

fn string(dice: &mut Dice) -> Value {
    let mut map = json!({"type": "string"});
    if dice.chance(30) {
        map["minLength"] = json!(dice.below(4));
    }
    if dice.chance(30) {
        map["maxLength"] = json!(1 + dice.below(4));
    }
    if dice.chance(30) {
        map["pattern"] = json!(dice.pick(&PATTERNS));
    }
    map
}

fn number(dice: &mut Dice) -> Value {
    let mut map = json!({"type": dice.pick(&["integer", "number"])});
    if dice.chance(30) {
        map[*dice.pick(&["minimum", "exclusiveMinimum"])] = json!(dice.below(4));
    }
    if dice.chance(30) {
        map[*dice.pick(&["maximum", "exclusiveMaximum"])] = json!(2 + dice.below(6));
    }
    if dice.chance(15) {
        map["multipleOf"] = dice.pick(&[json!(2), json!(3), json!(0.5)]).clone();
    }
    map
}

fn listed(dice: &mut Dice) -> Value {
    let values =
        [json!("a"), json!("b"), json!("ab"), json!(1), json!(2), json!(null), json!(true), json!({"a": 1})];
    if dice.chance(25) {
        return json!({"const": dice.pick(&values)});
    }
    let count = 1 + dice.below(4);
    let chosen: Vec<Value> = (0..count).map(|_| dice.pick(&values).clone()).collect();
    json!({"enum": chosen})
}

fn nullable(dice: &mut Dice) -> Value {
    let kinds = ["string", "integer", "number", "boolean", "object", "array"];
    json!({"type": [dice.pick(&kinds), "null"]})
}

fn object(dice: &mut Dice, depth: usize) -> Value {
    let mut map = Map::new();
    if dice.chance(85) {
        map.insert("type".into(), json!("object"));
    }
    let mut properties = Map::new();
    for name in NAMES {
        if dice.chance(45) {
            properties.insert(name.into(), schema(dice, depth - 1));
        }
    }
    map.insert("properties".into(), properties.into());
    if dice.chance(60) {
        let required: Vec<&str> = NAMES.into_iter().filter(|_| dice.chance(30)).collect();
        map.insert("required".into(), json!(required));
    }
    if dice.chance(35) {
        let rest = if dice.chance(60) { json!(false) } else { schema(dice, depth - 1) };
        map.insert(
            dice.pick(&["additionalProperties", "additionalProperties", "unevaluatedProperties"]).to_string(),
            rest,
        );
    }
    if dice.chance(12) {
        map.insert("patternProperties".into(), json!({*dice.pick(&PATTERNS): schema(dice, depth - 1)}));
    }
    if dice.chance(8) {
        map.insert("propertyNames".into(), json!({"pattern": dice.pick(&PATTERNS)}));
    }
    if dice.chance(8) {
        map.insert("minProperties".into(), json!(dice.below(3)));
    }
    if dice.chance(8) {
        map.insert("maxProperties".into(), json!(1 + dice.below(3)));
    }
    if dice.chance(8) {
        map.insert("dependentRequired".into(), json!({*dice.pick(&NAMES): [dice.pick(&NAMES)]}));
    }
    if dice.chance(6) {
        map.insert("dependentSchemas".into(), json!({*dice.pick(&NAMES): schema(dice, depth - 1)}));
    }
    if dice.chance(10) {
        let count = 1 + dice.below(2);
        let keyword = *dice.pick(&["anyOf", "oneOf", "allOf"]);
        let parts: Vec<Value> = (0..count).map(|_| object(dice, 1)).collect();
        map.insert(keyword.into(), parts.into());
    }
    map.into()
}

fn array(dice: &mut Dice, depth: usize) -> Value {
    let mut map = json!({"type": "array"});
    if dice.chance(70) {
        map["items"] = schema(dice, depth - 1);
    }
    if dice.chance(25) {
        let count = 1 + dice.below(2);
        map["prefixItems"] = (0..count).map(|_| schema(dice, depth - 1)).collect();
    }
    if dice.chance(25) {
        map["minItems"] = json!(dice.below(3));
    }
    if dice.chance(25) {
        map["maxItems"] = json!(1 + dice.below(3));
    }
    if dice.chance(15) {
        map["uniqueItems"] = json!(true);
    }
    if dice.chance(12) {
        map["contains"] = schema(dice, depth - 1);
        if dice.chance(40) {
            map["minContains"] = json!(dice.below(3));
        }
        if dice.chance(30) {
            map["maxContains"] = json!(1 + dice.below(2));
        }
    }
    if dice.chance(6) {
        map["unevaluatedItems"] = json!(false);
    }
    map
}

fn conditional(dice: &mut Dice, depth: usize) -> Value {
    if dice.chance(40) {
        return json!({"not": schema(dice, depth - 1)});
    }
    json!({"if": schema(dice, depth - 1), "then": schema(dice, depth - 1), "else": schema(dice, depth - 1)})
}

/// A schema with one random part replaced, dropped or added.
pub(crate) fn changed(dice: &mut Dice, schema_before: &Value) -> Value {
    let mut after = schema_before.clone();
    let mut places = Vec::new();
    collect(&after, "", &mut places);
    let place = dice.pick(&places).clone();
    let part = after.pointer_mut(&place).expect("collected");
    match part {
        Value::Object(map) if dice.chance(60) => edit(dice, map),
        part => {
            let depth = dice.below(3);
            *part = schema(dice, depth);
        }
    }
    after
}

fn edit(dice: &mut Dice, map: &mut Map<String, Value>) {
    let keys: Vec<String> = map.keys().cloned().collect();
    if !keys.is_empty() && dice.chance(40) {
        map.remove(dice.pick(&keys));
        return;
    }
    let other = match map.get("type").and_then(Value::as_str) {
        Some("string") => string(dice),
        Some("integer" | "number") => number(dice),
        Some("array") => array(dice, 1),
        _ => object(dice, 1),
    };
    if let Value::Object(other) = other {
        let keys: Vec<String> = other.keys().cloned().collect();
        let key = dice.pick(&keys);
        map.insert(key.clone(), other[key].clone());
    }
}

fn collect(value: &Value, pointer: &str, places: &mut Vec<String>) {
    places.push(pointer.to_owned());
    let Value::Object(map) = value else { return };
    for (keyword, child) in map {
        let at = format!("{pointer}/{keyword}");
        match (keyword.as_str(), child) {
            ("properties" | "patternProperties" | "dependentSchemas", Value::Object(children)) => {
                for (name, child) in children {
                    collect(child, &format!("{at}/{name}"), places);
                }
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(children)) => {
                for (index, child) in children.iter().enumerate() {
                    collect(child, &format!("{at}/{index}"), places);
                }
            }
            (
                "items"
                | "additionalProperties"
                | "unevaluatedProperties"
                | "propertyNames"
                | "contains"
                | "not"
                | "if"
                | "then"
                | "else",
                Value::Object(_),
            ) => collect(child, &at, places),
            _ => {}
        }
    }
}
