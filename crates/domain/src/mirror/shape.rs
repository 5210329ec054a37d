//! The shape of a JSON document: which fields it has and of which types, and none of its values.
//!
//! What lies in an array, or under keys that are no names, is one shape: that of all its elements together. A document that has none of
//! them says nothing of them, so that is no difference.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most places of a document; one that has more is not compared.
const MAX_PLACES: usize = 500;
/// An object with more fields than this is a collection, and its keys are data.
const MAX_FIELDS: usize = 100;
/// Longest name that is kept.
const MAX_NAME: usize = 40;
/// Most digits of a name: what has more is an id or a date.
const MAX_DIGITS: usize = 3;
/// Stands for every name that is none.
const ANY: &str = "*";

/// The places of a document, and the types that stand there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape(BTreeMap<String, Types>);

/// A set of types of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Types(u8);

const TYPES: [&str; 6] = ["null", "boolean", "number", "string", "array", "object"];

/// What is different between two answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The status.
    Status {
        /// Of the version that answered.
        before: u16,
        /// Of the copy.
        after: u16,
    },
    /// How a call of gRPC ended.
    GrpcStatus {
        /// Of the version that answered.
        before: u8,
        /// Of the copy.
        after: u8,
    },
    /// The media type.
    MediaType {
        /// Of the version that answered.
        before: String,
        /// Of the copy.
        after: String,
    },
    /// Only one of the two says JSON and is none.
    NotJson {
        /// Whether it is the copy.
        after: bool,
    },
    /// The copy has a field less.
    Missing {
        /// Where.
        field: String,
        /// What stood there.
        was: String,
    },
    /// The copy has a field more.
    Added {
        /// Where.
        field: String,
        /// What stands there.
        is: String,
    },
    /// Something else stands there.
    Type {
        /// Where.
        field: String,
        /// What stood there.
        before: String,
        /// What stands there.
        after: String,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { before, after } => write!(f, "status {after} instead of {before}"),
            Self::GrpcStatus { before, after } => write!(f, "grpc-status {after} instead of {before}"),
            Self::MediaType { before, after } => write!(f, "{after} instead of {before}"),
            Self::NotJson { after: true } => f.write_str("says JSON, and is none"),
            Self::NotJson { after: false } => f.write_str("is JSON, where clients get what only says so"),
            Self::Missing { field, was } => write!(f, "{field} is missing ({was})"),
            Self::Added { field, is } => write!(f, "{field} is new ({is})"),
            Self::Type { field, before, after } => write!(f, "{field} is {after} instead of {before}"),
        }
    }
}

impl Types {
    fn of(value: &Value) -> Self {
        let index = match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Number(_) => 2,
            Value::String(_) => 3,
            Value::Array(_) => 4,
            Value::Object(_) => 5,
        };
        Self(1 << index)
    }

    fn words(self) -> String {
        let has = |index: &usize| self.0 & (1 << index) != 0;
        let words: Vec<_> = (0..TYPES.len()).filter(has).map(|index| TYPES[index]).collect();
        words.join(" or ")
    }
}

/// Tells whether a text looks like a name that a programmer gave, and not like a value.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || b"_$@".contains(&byte));
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    begins && text.len() <= MAX_NAME && digits <= MAX_DIGITS && bytes.all(is_part)
}

/// Returns a path as far as it can be told: up to its first segment that is no version, where that looks like a name. What stands behind
/// that may be a user, an id or a secret, also where it looks like a name.
#[must_use]
pub fn told_path(path: &str) -> String {
    let mut is_told = true;
    let part = |segment: &str| match segment {
        "" => String::new(),
        _ if !is_told => ANY.to_owned(),
        _ => {
            is_told = segment == "api" || is_version(segment);
            if is_name(segment) { segment.to_owned() } else { ANY.to_owned() }
        }
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn is_version(segment: &str) -> bool {
    let digits = segment.strip_prefix('v').unwrap_or_default();
    (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl Shape {
    /// Returns the shape of a text; the error says whether it is no JSON, or has more places than are compared.
    ///
    /// # Errors
    /// When it has none.
    pub fn of(text: &str) -> Result<Self, NoShape> {
        let value: Value = serde_json::from_str(text).map_err(|_| NoShape::NotJson)?;
        let mut shape = Self::default();
        shape.add("$".to_owned(), &value).ok_or(NoShape::TooLarge)?;
        Ok(shape)
    }

    fn add(&mut self, place: String, value: &Value) -> Option<()> {
        match value {
            Value::Array(elements) => {
                let each = format!("{place}[]");
                elements.iter().try_for_each(|element| self.add(each.clone(), element))?;
            }
            Value::Object(fields) => {
                let is_collection = fields.len() > MAX_FIELDS;
                for (name, value) in fields {
                    let name = if is_collection || !is_name(name) { ANY } else { name };
                    self.add(format!("{place}.{name}"), value)?;
                }
            }
            _ => {}
        }
        let types = self.0.entry(place).or_default();
        *types = Types(types.0 | Types::of(value).0);
        (self.0.len() <= MAX_PLACES).then_some(())
    }

    /// Finds what another document has otherwise. What lies below a difference is none of its own.
    #[must_use]
    pub fn compare(&self, after: &Self) -> Vec<What> {
        let missing = self.lacking_in(after);
        let missing = missing.map(|(field, types)| What::Missing { field, was: types.words() });
        let added = after.lacking_in(self).map(|(field, types)| What::Added { field, is: types.words() });
        let both = self.0.iter().filter_map(|(field, before)| Some((field, before, after.0.get(field)?)));
        let changed = both.filter(|(_, before, after)| before != after);
        let changed = changed.map(|(field, before, after)| What::Type {
            field: field.clone(),
            before: before.words(),
            after: after.words(),
        });
        missing.chain(added).chain(changed).collect()
    }

    /// Goes through the fields that another one has not although it has the object in which they would be.
    fn lacking_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (String, Types)> + 'a {
        let is_object = |place: &str| other.0.get(place).is_some_and(|types| types.0 & (1 << 5) != 0);
        let lacks = move |place: &str| {
            let field = place.rsplit_once('.').filter(|(_, name)| !name.ends_with("[]") && *name != ANY);
            field.is_some_and(|(parent, _)| is_object(parent))
        };
        let lacking = self.0.iter().filter(move |(place, _)| !other.0.contains_key(*place) && lacks(place));
        lacking.map(|(place, types)| (place.clone(), *types))
    }
}

/// Why there is no shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoShape {
    /// It is no JSON.
    NotJson,
    /// It has more places than are compared.
    TooLarge,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn differences(before: &str, after: &str) -> Vec<What> {
        Shape::of(before).unwrap().compare(&Shape::of(after).unwrap())
    }

    fn missing(field: &str, was: &str) -> What {
        What::Missing { field: field.into(), was: was.into() }
    }

    #[test]
    fn fields_and_types_are_compared_and_values_are_not() {
        assert_eq!(differences(r#"{"a":1,"b":"x"}"#, r#"{"b":"y","a":2}"#), []);
        assert_eq!(differences(r#"{"a":1,"b":{"c":1}}"#, r#"{"a":1}"#), [missing("$.b", "object")]);
        let added = What::Added { field: "$.b".into(), is: "null".into() };
        assert_eq!(differences(r#"{"a":1}"#, r#"{"a":1,"b":null}"#), [added]);
        let changed = What::Type { field: "$.a".into(), before: "number".into(), after: "string".into() };
        assert_eq!(differences(r#"{"a":1}"#, r#"{"a":"1"}"#), [changed]);
        let root = What::Type { field: "$".into(), before: "array".into(), after: "object".into() };
        assert_eq!(differences("[]", "{}"), [root]);
    }

    #[test]
    fn what_an_empty_list_would_have_is_not_known() {
        assert_eq!(differences(r#"{"items":[{"id":1}]}"#, r#"{"items":[]}"#), []);
        assert_eq!(differences(r#"{"items":[]}"#, r#"{"items":[{"id":1}]}"#), []);
        let lost = differences(r#"{"items":[{"id":1,"price":2}]}"#, r#"{"items":[{"id":9},{"id":8}]}"#);
        assert_eq!(lost, [missing("$.items[].price", "number")]);
    }

    #[test]
    fn keys_that_are_data_are_not_kept() {
        let by_id = r#"{"ann@example.org":{"a":1},"2026-11-29":{"a":1},"7":{"a":1}}"#;
        assert_eq!(differences(by_id, r#"{"eve@example.org":{"a":2}}"#), []);
        assert_eq!(differences(by_id, "{}"), []);
        let lost = differences(by_id, r#"{"eve@example.org":{}}"#);
        assert_eq!(lost, [missing("$.*.a", "number")]);
        assert_eq!(told_path("/orders/4711/items/ann"), "/orders/*/*/*");
        assert_eq!(told_path("/api/v1/users/ann"), "/api/v1/users/*");
        assert_eq!(told_path("/v1/orders/"), "/v1/orders/");
    }

    #[test]
    fn what_is_no_json_or_too_large_has_no_shape() {
        assert_eq!(Shape::of("<p>"), Err(NoShape::NotJson));
        assert_eq!(Shape::of(&"[".repeat(10_000)), Err(NoShape::NotJson));
        let name = |n: usize| format!("\"{}\":{{\"x\":1}}", "ab".repeat(1 + n % 20) + &"c".repeat(n / 20));
        let level = |open: &str| format!("{{{open}}}");
        let fields: Vec<_> = (0..90).map(name).collect();
        let wide = level(&fields.join(","));
        let wider = level(&(0..6).map(|n| format!("\"k{n}\":{wide}")).collect::<Vec<_>>().join(","));
        assert!(Shape::of(&wide).is_ok());
        assert_eq!(Shape::of(&wider), Err(NoShape::TooLarge));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{6}secret".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-d]|[0-9]{4}secret", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_document_is_like_itself_and_no_difference_says_a_value(one in json(), other in json()) {
            let (one, other) = (Shape::of(&one.to_string()).unwrap(), Shape::of(&other.to_string()).unwrap());
            prop_assert_eq!(one.compare(&one), vec![]);
            let found = one.compare(&other);
            prop_assert_eq!(found.len(), other.compare(&one).len());
            let said = format!("{found:?}");
            prop_assert!(!said.contains("secret"));
        }
    }
}
