//! The keywords of one schema object as facts, without those that join schemas.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Map, Number, Value};

use super::facts::{Bound, Contains, Facts, NodeId, Type, Types, Whole};
use super::{Dialect, ExclusiveBound, Raw, Schemas, hidden_by, number, specification};
use crate::document::member;

/// The `type` keyword: a set of types, and whether its numbers must be whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct TypeWords {
    types: Types,
    whole: Whole,
}

impl TypeWords {
    /// The set, unless it holds only whole numbers.
    pub(super) fn types_if_not_whole(self) -> Option<Types> {
        (self.whole == Whole::Any).then_some(self.types)
    }
}

/// Reads the value of `type`; `None` when it names something that is not a type.
pub(super) fn read_types(value: &Value) -> Option<TypeWords> {
    let names: Vec<&str> = match value {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    let whole =
        if names.contains(&"integer") && !names.contains(&"number") { Whole::Integer } else { Whole::Any };
    let mut types = Types::NONE;
    for name in names {
        types = types.with(match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "number" | "integer" => Type::Number,
            "string" | "file" => Type::String,
            "array" => Type::Array,
            "object" => Type::Object,
            _ => return None,
        });
    }
    Some(TypeWords { types, whole })
}

impl<'l> Schemas<'l> {
    /// The facts that the schema object states itself.
    pub(super) fn own_facts(&mut self, id: NodeId, raw: &Raw<'l>, map: &'l Map<String, Value>) -> Facts {
        let mut facts = Facts::any();
        let dialect = self.dialect(raw.side);
        let mut reader = Reader { map, dialect, wrong: Vec::new() };
        read_type(&mut reader, &mut facts, dialect);
        read_values(&mut reader, &mut facts);
        read_numbers(&mut reader, &mut facts);
        read_strings(&mut reader, &mut facts);
        if member(map, "type").and_then(Value::as_str) == Some("file") {
            // A file of Swagger 2 is what later versions write as binary text.
            facts.formats.insert("binary".into());
        }
        if dialect.is_openapi() {
            byte_is_encoded(&mut facts);
        }
        let content = member(map, "contentSchema").filter(|_| dialect.has("contentSchema"));
        facts.string.content.schema = content.map(|value| self.child(raw, value, &["contentSchema"]));
        self.read_items(&mut reader, &mut facts, raw);
        self.read_properties(&mut reader, &mut facts, raw);
        self.read_rest(map, &mut facts, raw);
        for keyword in reader.wrong {
            let reason = format!("the value of `{keyword}` is not one it may have");
            facts.demand_unknown(&reason, id, Types::ANY);
        }
        facts
    }

    fn read_items(&mut self, reader: &mut Reader<'l>, facts: &mut Facts, raw: &Raw<'l>) {
        let map = reader.map;
        let array = &mut facts.array;
        array.min_items = reader.count("minItems").unwrap_or(0);
        array.max_items = reader.count("maxItems");
        array.unique = member(map, "uniqueItems") == Some(&Value::Bool(true));
        let old_style = member(map, "items").and_then(Value::as_array);
        if old_style.is_some() && !reader.dialect.lists_items() {
            reader.wrong.push("items");
            return;
        }
        let (keyword, prefix) = match old_style {
            Some(items) => ("items", Some(items)),
            None => ("prefixItems", reader.get("prefixItems").and_then(Value::as_array)),
        };
        for (index, value) in prefix.into_iter().flatten().enumerate() {
            let node = self.child(raw, value, &[keyword, &index.to_string()]);
            array.prefix.push(node);
        }
        let rest = if old_style.is_some() { "additionalItems" } else { "items" };
        array.rest = reader.get(rest).map(|value| self.child(raw, value, &[rest]));
        if let Some(value) = reader.get("contains") {
            let node = self.child(raw, value, &["contains"]);
            let min = reader.count("minContains").unwrap_or(1);
            array.contains.push(Contains { node, min, max: reader.count("maxContains") });
        }
    }

    fn read_properties(&mut self, reader: &mut Reader<'l>, facts: &mut Facts, raw: &Raw<'l>) {
        const KEYWORDS: [&str; 10] = [
            "properties",
            "required",
            "additionalProperties",
            "patternProperties",
            "propertyNames",
            "minProperties",
            "maxProperties",
            "dependentRequired",
            "dependencies",
            "discriminator",
        ];
        let map = reader.map;
        let forbidden =
            self.unknown_fields == crate::UnknownFields::Forbidden && member(map, "properties").is_some();
        if !KEYWORDS.iter().any(|keyword| member(map, keyword).is_some()) {
            return;
        }
        let mut object = super::facts::ObjectFacts {
            min: reader.count("minProperties").unwrap_or(0),
            max: reader.count("maxProperties"),
            required: reader.names("required"),
            ..super::facts::ObjectFacts::default()
        };
        for (name, value) in reader.map_of("properties") {
            let node = self.child(raw, value, &["properties", name]);
            if self.is_hidden(node) {
                object.hidden.insert(name.as_str().into());
            } else {
                object.properties.insert(name.as_str().into(), node);
            }
        }
        object.required.retain(|name| !object.hidden.contains(name));
        for (pattern, value) in reader.map_of("patternProperties") {
            let node = self.child(raw, value, &["patternProperties", pattern]);
            object.patterns.insert(pattern.as_str().into(), node);
        }
        object.rest = member(map, "additionalProperties")
            .map(|value| self.child(raw, value, &["additionalProperties"]));
        if forbidden && object.rest.is_none() {
            object.rest = Some(NodeId::NEVER);
        }
        if let Some(value) = reader.get("propertyNames") {
            object.names.push(self.child(raw, value, &["propertyNames"]));
        }
        for keyword in ["dependentRequired", "dependencies"] {
            for (name, needed) in reader.get(keyword).and_then(Value::as_object).into_iter().flatten() {
                let needed = match needed {
                    Value::Array(needed) => needed.iter().filter_map(Value::as_str).map(Rc::from).collect(),
                    Value::String(needed) => BTreeSet::from([Rc::from(needed.as_str())]),
                    _ => continue,
                };
                object.dependent.entry(name.as_str().into()).or_default().extend(needed);
            }
        }
        facts.object = Rc::new(object);
    }

    /// Keeps what no list of keywords holds, and what is known and not compared.
    fn read_rest(&mut self, map: &'l Map<String, Value>, facts: &mut Facts, raw: &Raw<'l>) {
        let dialect = self.dialect(raw.side);
        // A parameter of Swagger 2 is its own schema; what else it says is compared where it is used.
        let is_parameter = dialect == Dialect::OpenApi30 && member(map, "in").is_some_and(Value::is_string);
        for (name, value) in map {
            let open = match name.as_str() {
                "required" => !value.is_array(),
                "nullable" => dialect != Dialect::OpenApi30,
                name if !dialect.has(name) => true,
                "$schema" => !raw.pointer.is_empty() && Dialect::declared(value) != Some(dialect),
                name => specification::is_open(name) && !specification::is_default(name, value),
            };
            if open && !is_parameter {
                let node = self.child(raw, value, &[name]);
                facts.unread.push((name.as_str().into(), node));
            }
        }
        let told = member(map, "discriminator").filter(|_| dialect.is_openapi()).and_then(Value::as_object);
        for (name, value) in told.into_iter().flatten() {
            if !matches!(name.as_str(), "propertyName" | "mapping") && !name.starts_with("x-") {
                let node = self.child(raw, value, &["discriminator", name]);
                facts.unread.push((format!("discriminator/{name}").into(), node));
            }
        }
    }

    /// True when a property does not travel in this flow: read-only ones are not sent, write-only ones not received.
    fn is_hidden(&mut self, node: NodeId) -> bool {
        let Some(keyword) = hidden_by(self.flow) else { return false };
        let Some(map) = self.keywords(node) else { return false };
        let is_said = |keyword: &str| member(map, keyword) == Some(&Value::Bool(true));
        self.holds_only_here |= ["readOnly", "writeOnly"].into_iter().any(is_said);
        is_said(keyword)
    }
}

/// Reads keywords and notes those whose value is of the wrong shape.
struct Reader<'l> {
    map: &'l Map<String, Value>,
    dialect: Dialect,
    wrong: Vec<&'static str>,
}

impl<'l> Reader<'l> {
    fn read<T>(&mut self, keyword: &'static str, read: impl FnOnce(&'l Value) -> Option<T>) -> Option<T> {
        let value = self.get(keyword)?;
        let read = read(value);
        if read.is_none() {
            self.wrong.push(keyword);
        }
        read
    }

    /// The value of a keyword that the dialect has.
    fn get(&self, keyword: &str) -> Option<&'l Value> {
        member(self.map, keyword).filter(|_| self.dialect.has(keyword))
    }

    fn count(&mut self, keyword: &'static str) -> Option<u64> {
        self.read(keyword, count)
    }

    fn number(&mut self, keyword: &'static str) -> Option<Number> {
        self.read(keyword, |value| value.as_number().cloned())
    }

    fn names(&mut self, keyword: &'static str) -> BTreeSet<Rc<str>> {
        // Draft 3 and parameters say `required: true`; only a list speaks of properties.
        let names = member(self.map, keyword).and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str).map(Rc::from).collect()
    }

    fn map_of(&mut self, keyword: &'static str) -> impl Iterator<Item = (&'l String, &'l Value)> + use<'l> {
        self.read(keyword, Value::as_object).into_iter().flatten()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked before the cast"
)]
fn count(value: &Value) -> Option<u64> {
    let whole = |value: &f64| value.fract() == 0.0 && (0.0..9e15).contains(value);
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|value| value as u64))
}

fn read_type(reader: &mut Reader<'_>, facts: &mut Facts, dialect: Dialect) {
    let Some(words) = reader.read("type", read_types) else { return };
    // Files are of Swagger 2.
    if dialect != Dialect::OpenApi30 && member(reader.map, "type").is_some_and(names_file) {
        reader.wrong.push("type");
    }
    facts.types = words.types;
    facts.number.whole = words.whole;
    let nullable =
        ["nullable", "x-nullable"].iter().any(|key| member(reader.map, key) == Some(&Value::Bool(true)));
    if nullable && dialect == Dialect::OpenApi30 {
        facts.types = facts.types.with(Type::Null);
    }
}

fn names_file(value: &Value) -> bool {
    value == "file" || value.as_array().is_some_and(|names| names.iter().any(|name| name == "file"))
}

fn read_values(reader: &mut Reader<'_>, facts: &mut Facts) {
    let values = reader.read("enum", |value| value.as_array().cloned());
    let constant = reader.get("const").cloned();
    facts.values = match (values, constant) {
        (None, None) => None,
        (Some(values), None) => Some(Rc::new(values)),
        (None, Some(constant)) => Some(Rc::new(vec![constant])),
        (Some(values), Some(constant)) => {
            let both = values.into_iter().filter(|value| super::meet::same_value(value, &constant));
            Some(Rc::new(both.collect()))
        }
    };
}

fn read_numbers(reader: &mut Reader<'_>, facts: &mut Facts) {
    let ends = [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")];
    let [lower, upper] = ends.map(|(inclusive, exclusive_word)| {
        let loose = reader.number(inclusive).map(|value| Bound { value, exclusive: false });
        match member(reader.map, exclusive_word) {
            Some(Value::Bool(_)) if !reader.dialect.bounds_exclusively_by(ExclusiveBound::Flag) => {
                reader.wrong.push(exclusive_word);
                loose
            }
            Some(Value::Bool(exclusive)) => loose.map(|bound| Bound { exclusive: *exclusive, ..bound }),
            Some(_) if !reader.dialect.bounds_exclusively_by(ExclusiveBound::Number) => {
                reader.wrong.push(exclusive_word);
                loose
            }
            _ => {
                let strict = reader.number(exclusive_word).map(|value| Bound { value, exclusive: true });
                let wins = if inclusive == "minimum" {
                    std::cmp::Ordering::Greater
                } else {
                    std::cmp::Ordering::Less
                };
                super::meet::tighter(strict.as_ref(), loose.as_ref(), wins)
            }
        }
    });
    facts.number.lower = lower;
    facts.number.upper = upper;
    let positive = |value: &Value| value.as_number().filter(|step| number::double(step) > 0.0).cloned();
    facts.number.multiples = reader.read("multipleOf", positive).into_iter().collect();
    if let Some(format) = member(reader.map, "format").and_then(Value::as_str) {
        facts.formats.insert(format.into());
    }
}

/// `byte` is what later versions write as base64: text that is encoded is other text, whoever reads it.
fn byte_is_encoded(facts: &mut Facts) {
    if facts.formats.remove("byte") && facts.string.content.encoding.is_none() {
        facts.string.content.encoding = Some("base64".into());
    }
}

fn read_strings(reader: &mut Reader<'_>, facts: &mut Facts) {
    let text = |value: &Value| value.as_str().map(Rc::from);
    let string = &mut facts.string;
    string.min_length = reader.count("minLength").unwrap_or(0);
    string.max_length = reader.count("maxLength");
    string.patterns = reader.read("pattern", text).into_iter().collect();
    string.content.encoding = reader.read("contentEncoding", text);
    string.content.media_type = reader.read("contentMediaType", text);
}
