//! A schema and those it refers to, as one document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A schema as it was taken, with all it refers to by the names it refers to them by.
#[derive(Debug)]
pub(super) struct Taken {
    /// `AVRO`, `JSON` or `PROTOBUF`.
    pub(super) kind: String,
    pub(super) schema: String,
    pub(super) others: BTreeMap<String, String>,
}

/// Puts everything into one document.
pub(super) fn one_document(taken: &Taken) -> Result<String, String> {
    if taken.others.is_empty() {
        return Ok(taken.schema.clone());
    }
    let parse =
        |text: &str| serde_json::from_str::<Value>(text).map_err(|error| format!("it is no JSON: {error}"));
    match taken.kind.as_str() {
        "AVRO" => {
            let others = taken.others.iter().map(|(name, text)| Ok((name.clone(), parse(text)?)));
            let others = others.collect::<Result<BTreeMap<_, _>, String>>()?;
            let mut inlining = Inlining { others: &others, defined: BTreeSet::new() };
            Ok(inlining.of(&parse(&taken.schema)?, "").to_string())
        }
        "JSON" => {
            let mut whole = parse(&taken.schema)?;
            let map = whole.as_object_mut().ok_or("a schema that refers to others is no object")?;
            let mut inside = Map::new();
            for (index, (name, text)) in taken.others.iter().enumerate() {
                let mut other = parse(text)?;
                let named = other.as_object_mut().ok_or("a schema that is referred to is no object")?;
                named.insert("$id".to_owned(), name.clone().into());
                inside.insert(format!("registry{index}"), other);
            }
            let definitions = map.entry("definitions").or_insert_with(|| Value::Object(Map::new()));
            definitions.as_object_mut().ok_or("`definitions` is no object")?.extend(inside);
            Ok(whole.to_string())
        }
        "PROTOBUF" => Err("it is Protobuf over several files".to_owned()),
        other => Err(format!("`{other}` is no kind of schema that is known: AVRO, JSON and PROTOBUF are")),
    }
}

/// Avro has no references to files: a type is defined where it is named first.
struct Inlining<'o> {
    others: &'o BTreeMap<String, Value>,
    defined: BTreeSet<String>,
}

impl Inlining<'_> {
    fn of(&mut self, value: &Value, namespace: &str) -> Value {
        match value {
            Value::String(name) => self.name(name, namespace),
            Value::Array(branches) => branches.iter().map(|branch| self.of(branch, namespace)).collect(),
            Value::Object(map) => self.object(map, namespace),
            other => other.clone(),
        }
    }

    fn name(&mut self, name: &str, namespace: &str) -> Value {
        let full = if name.contains('.') || namespace.is_empty() {
            name.to_owned()
        } else {
            format!("{namespace}.{name}")
        };
        let found = [full.as_str(), name].into_iter().find(|name| self.others.contains_key(*name));
        let Some(found) = found.filter(|found| !self.defined.contains(*found)) else { return name.into() };
        self.defined.insert(found.to_owned());
        let mut other = self.of(&self.others[found], "");
        // What has no namespace of its own would be given that of the type around it.
        if let Some(map) = other.as_object_mut()
            && !map.contains_key("namespace")
            && map.get("name").and_then(Value::as_str).is_some_and(|name| !name.contains('.'))
        {
            map.insert("namespace".to_owned(), "".into());
        }
        other
    }

    fn object(&mut self, map: &Map<String, Value>, namespace: &str) -> Value {
        let text = |key: &str| map.get(key).and_then(Value::as_str);
        let mut out = map.clone();
        match text("type") {
            Some("record" | "error" | "enum" | "fixed") => {
                let name = text("name").unwrap_or_default();
                let inside = match name.rsplit_once('.') {
                    Some((namespace, _)) => namespace.to_owned(),
                    None => text("namespace").unwrap_or(namespace).to_owned(),
                };
                let full = if name.contains('.') || inside.is_empty() {
                    name.to_owned()
                } else {
                    format!("{inside}.{name}")
                };
                self.defined.insert(full);
                if let Some(fields) = out.get_mut("fields").and_then(Value::as_array_mut) {
                    for field in fields {
                        if let Some(of) = field.get_mut("type") {
                            *of = self.of(&of.clone(), &inside);
                        }
                    }
                }
            }
            Some(kind) => {
                let key = match kind {
                    "array" => "items",
                    "map" => "values",
                    _ => return if map.len() == 1 { self.name(kind, namespace) } else { Value::Object(out) },
                };
                if let Some(inner) = out.get_mut(key) {
                    *inner = self.of(&inner.clone(), namespace);
                }
            }
            None => {
                if let Some(of) = out.get_mut("type") {
                    *of = self.of(&of.clone(), namespace);
                }
            }
        }
        Value::Object(out)
    }
}

/// A subject as a part of a path.
pub(super) fn in_path(subject: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    subject
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Writes bytes in base 64, as a user and a password are sent.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (number >> (18 - 6 * place)) & 63;
            out.push(if place <= chunk.len() { char::from(DIGITS[digit as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use lockstep_contract::{Kind, Source, check};

    use super::*;

    fn taken(kind: &str, schema: &str, others: &[(&str, &str)]) -> Taken {
        let others = others.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Taken { kind: kind.to_owned(), schema: schema.to_owned(), others }
    }

    #[test]
    fn avro_types_are_defined_where_they_are_named_first() {
        let order = r#"{"type": "record", "name": "shop.Order", "fields": [
            {"name": "total", "type": "Money"}, {"name": "tax", "type": ["null", "shop.Money"]}, {"name": "who", "type": {"type": "array", "items": "Who"}}]}"#;
        let money = r#"{"type": "record", "name": "Money", "namespace": "shop", "fields": [{"name": "currency", "type": "shop.Currency"}]}"#;
        let currency = r#"{"type": "enum", "name": "shop.Currency", "symbols": ["EUR"]}"#;
        let who = r#"{"type": "fixed", "name": "Who", "size": 2}"#;
        let whole = one_document(&taken(
            "AVRO",
            order,
            &[("shop.Money", money), ("shop.Currency", currency), ("Who", who)],
        ))
        .unwrap();
        check(&Source::file("a.avsc", whole.clone().into_bytes()), Kind::Avro)
            .unwrap_or_else(|errors| panic!("{whole}: {errors:?}"));
        assert_eq!(whole.matches("\"symbols\"").count(), 1);
    }

    #[test]
    fn json_schemas_keep_their_references() {
        let order = r#"{"type": "object", "properties": {"total": {"$ref": "money.json"}}}"#;
        let whole = one_document(&taken("JSON", order, &[("money.json", r#"{"type": "integer"}"#)])).unwrap();
        let wrong = whole.replace("integer", "string");
        let of = |text: &str| Source::file("a.json", text.as_bytes());
        let report = lockstep_contract::diff_as(
            Kind::JsonSchema,
            &of(&whole),
            &of(&wrong),
            &lockstep_contract::Options::default(),
        )
        .unwrap();
        assert!(!report.may_deploy && report.not_checked.is_empty(), "{report:#?}");
    }

    #[test]
    fn what_cannot_be_one_document_says_so() {
        let proto = "syntax = \"proto3\";";
        assert_eq!(one_document(&taken("PROTOBUF", proto, &[])).unwrap(), proto);
        assert!(
            one_document(&taken("PROTOBUF", proto, &[("a.proto", proto)]))
                .unwrap_err()
                .contains("several files")
        );
        assert!(one_document(&taken("THRIFT", "", &[("a", "")])).unwrap_err().contains("THRIFT"));
    }

    #[test]
    fn texts_are_written_as_others_read_them() {
        assert_eq!(in_path("orders/a b-value"), "orders%2Fa%20b-value");
        assert_eq!(
            ["", "a", "ab", "abc", "user:pässword"].map(|text| base64(text.as_bytes())),
            ["", "YQ==", "YWI=", "YWJj", "dXNlcjpww6Rzc3dvcmQ="]
        );
    }
}
