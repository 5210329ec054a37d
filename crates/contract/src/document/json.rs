//! Reads JSON into a value tree: no name twice, and no more memory than what is there needs.
//!
//! RFC 8259 leaves open which of two members with one name counts, so one who reads either of them may read another
//! contract than the one that is compared. YAML forbids it; here it is an error too.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::FEW;

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut deserializer)?;
    deserializer.end().map(|()| value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            found.push(item);
        }
        found.shrink_to_fit();
        Ok(Value::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut few: Vec<(String, Value)> = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            if few.iter().any(|(known, _)| *known == name) {
                return Err(twice(&name));
            }
            few.push((name, members.next_value_seed(Self)?));
            if few.len() == FEW {
                return many(few, members);
            }
        }
        Ok(Value::Object(exact(few)))
    }
}

/// Reads the other members of an object that has more than a few.
fn many<'de, A: MapAccess<'de>>(few: Vec<(String, Value)>, mut members: A) -> Result<Value, A::Error> {
    let mut object: Map<String, Value> = few.into_iter().collect();
    while let Some(name) = members.next_key::<String>()? {
        match object.entry(name) {
            Entry::Occupied(known) => return Err(twice(known.key())),
            Entry::Vacant(place) => drop(place.insert(members.next_value_seed(Strict)?)),
        }
    }
    Ok(Value::Object(exact(object)))
}

fn twice<E: serde::de::Error>(name: &str) -> E {
    E::custom(format_args!("the key `{name}` is there twice"))
}

/// The same members without room for more: a table that grew has room for twice as many, and most objects are small.
fn exact(
    members: impl IntoIterator<Item = (String, Value), IntoIter: ExactSizeIterator>,
) -> Map<String, Value> {
    let members = members.into_iter();
    let mut object = Map::with_capacity(members.len());
    object.extend(members);
    object
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_twice_is_an_error_with_its_line() {
        let error = parse("{\"a\": {\n \"x\": 1,\n \"y\": 2,\n \"x\": 1\n}}").unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.line()),
            ("the key `x` is there twice at line 4 column 4", 4)
        );
        assert!(parse(r#"{"a": {"x": 1}, "b": {"x": 1}}"#).is_ok());
        assert!(parse(r#"{"x": 1, "\u0078": 1}"#).is_err());
    }

    #[test]
    fn a_name_twice_is_an_error_wherever_it_stands_in_a_large_object() {
        for again in 0..3 * FEW {
            let names = (0..3 * FEW).chain([again]).map(|name| format!("\"{name}\": 1"));
            let text = format!("{{{}}}", names.collect::<Vec<_>>().join(",\n"));
            let error = parse(&text).unwrap_err();
            assert_eq!(error.line(), 3 * FEW + 1, "{error}");
            assert!(error.to_string().starts_with(&format!("the key `{again}` is there twice")), "{error}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_has_no_name_twice_is_read_as_by_everybody(value in value()) {
            let text = value.to_string();
            prop_assert_eq!(parse(&text).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
        }

        #[test]
        fn what_is_no_json_is_refused_as_by_everybody(text in ".*") {
            prop_assert_eq!(parse(&text).is_ok(), serde_json::from_str::<Value>(&text).is_ok());
        }
    }
}
