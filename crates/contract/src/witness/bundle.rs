//! Schemas with all that they lead to, as one document of JSON Schema 2020-12 that any validator reads.
//!
//! What the dialect, the flow and the settings make of a schema is written out: `nullable` is a type, properties that do not travel
//! are gone. Invariant: what cannot be written so, and whatever leads to it, is not in the bundle.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::UnknownFields;
use crate::dialect::Dialect;
use crate::library::{BaseId, Library, Target, push_token};
use crate::schema::range_of_format;
use crate::trial::SchemaPlace;

/// How many schemas one bundle may hold: the largest public documents have some ten thousand.
const MAX_SCHEMAS: usize = 100_000;

/// How many schemas stand in one another before the inner ones are written beside the others: a stack frame of a validator each.
const MAX_INSIDE: usize = 16;

/// How many references are followed to see whether a property travels.
const MAX_CHAIN: usize = 32;

/// Keywords whose value is one schema.
const ONE: [&str; 11] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords whose value is a list of schemas.
const LISTS: [&str; 5] = ["allOf", "anyOf", "items", "oneOf", "prefixItems"];

/// Keywords whose value is a map of schemas.
const MAPS: [&str; 4] = ["dependencies", "dependentSchemas", "patternProperties", "properties"];

/// Keywords that are taken as they stand.
const PLAIN: [&str; 22] = [
    "const",
    "dependentRequired",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "type",
    "uniqueItems",
    "$comment",
];

/// How schemas are meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// What is said of properties that do not travel.
    pub(super) hides: Option<&'static str>,
    pub(super) unknown_fields: UnknownFields,
}

/// Marks a schema that cannot be written out.
struct Unwritable;

/// Schemas in one document: each is that of a property, so that one validator is made for all of them.
pub(super) struct Bundle {
    pub(super) document: Value,
    /// Under which number each of the schemas that were asked for is.
    numbers: HashMap<(usize, String), usize>,
}

impl Bundle {
    /// Writes out the schemas at these places, which are all of one side.
    pub(super) fn of<'p>(
        library: &Library<'_>,
        places: impl Iterator<Item = &'p SchemaPlace> + Clone,
        reading: Reading,
    ) -> Self {
        let mut writer = Writer {
            library,
            reading,
            numbers: HashMap::new(),
            waiting: Vec::new(),
            from: usize::MAX,
            leads_to: Vec::new(),
        };
        for place in places.clone() {
            if let Some(target) = library.at(place.document, &place.pointer) {
                writer.refer(target, place.dialect);
            }
        }
        let mut written: Vec<Option<Value>> = Vec::new();
        while let Some((number, dialect, target)) = writer.waiting.pop() {
            writer.from = number;
            let schema = writer.schema(&target, dialect, 0).ok().filter(|_| number < MAX_SCHEMAS);
            written.resize(written.len().max(number + 1), None);
            written[number] = schema;
        }
        forget_what_leads_nowhere(&mut written, &writer.leads_to);
        let numbers: HashMap<(usize, String), usize> =
            writer.numbers.into_iter().filter(|(_, number)| written[*number].is_some()).collect();
        let named = written.into_iter().enumerate();
        let defs: Map<String, Value> =
            named.filter_map(|(number, schema)| Some((number.to_string(), schema?))).collect();
        let wanted = places.filter_map(|place| numbers.get(&(place.document, place.pointer.clone())));
        let properties: Map<String, Value> =
            wanted.map(|number| (number.to_string(), json!({"$ref": format!("#/$defs/{number}")}))).collect();
        Self { document: json!({"$defs": defs, "properties": properties}), numbers }
    }

    /// The property of the document that is of a schema; nothing for one that cannot be written out.
    pub(super) fn property(&self, place: &SchemaPlace) -> Option<String> {
        self.numbers.get(&(place.document, place.pointer.clone())).map(usize::to_string)
    }
}

/// Takes out whatever leads to a schema that could not be written.
fn forget_what_leads_nowhere(written: &mut [Option<Value>], leads_to: &[(usize, usize)]) {
    let mut referrers: HashMap<usize, Vec<usize>> = HashMap::new();
    for (from, to) in leads_to {
        referrers.entry(*to).or_default().push(*from);
    }
    let mut gone: Vec<usize> = (0..written.len()).filter(|number| written[*number].is_none()).collect();
    while let Some(number) = gone.pop() {
        for from in referrers.remove(&number).into_iter().flatten() {
            if written.get_mut(from).is_some_and(|schema| schema.take().is_some()) {
                gone.push(from);
            }
        }
    }
}

/// A bundle in the making.
struct Writer<'l> {
    library: &'l Library<'l>,
    reading: Reading,
    numbers: HashMap<(usize, String), usize>,
    waiting: Vec<(usize, Dialect, Target<'l>)>,
    /// The schema that is written now; none while places are asked for.
    from: usize,
    leads_to: Vec<(usize, usize)>,
}

impl<'l> Writer<'l> {
    /// A reference to a schema, which is written out later.
    fn refer(&mut self, target: Target<'l>, dialect: Dialect) -> Value {
        let next = self.numbers.len();
        let key = (target.document, target.pointer.clone());
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.waiting.push((number, dialect, target));
        }
        self.leads_to.push((self.from, number));
        json!({"$ref": format!("#/$defs/{number}")})
    }

    fn schema(&mut self, target: &Target<'l>, dialect: Dialect, inside: usize) -> Result<Value, Unwritable> {
        let map = match target.value {
            Value::Bool(all) => return Ok(Value::Bool(*all)),
            Value::Object(map) => map,
            _ => return Err(Unwritable),
        };
        let mut out = Map::new();
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            let to = self.library.resolve(target.base, reference).ok_or(Unwritable)?;
            let reference = self.refer(to, dialect);
            if map.len() == 1 || dialect.reference_stands_alone() {
                return Ok(reference);
            }
            out.insert("allOf".into(), json!([reference]));
        }
        refuse_unwritable(map, dialect)?;
        for (keyword, value) in map.iter().filter(|(keyword, _)| dialect.has(keyword)) {
            self.keyword(target, dialect, (keyword, value), &mut out, inside)?;
        }
        self.hide(target, dialect, map, &mut out);
        self.settle(map, dialect, &mut out);
        Ok(Value::Object(out))
    }

    fn keyword(
        &mut self,
        target: &Target<'l>,
        dialect: Dialect,
        (keyword, value): (&str, &'l Value),
        out: &mut Map<String, Value>,
        inside: usize,
    ) -> Result<(), Unwritable> {
        let mut child = |tokens: &[&str], value: &'l Value| {
            let below = self.below(target, tokens, value);
            if inside < MAX_INSIDE {
                self.schema(&below, dialect, inside + 1)
            } else {
                Ok(self.refer(below, dialect))
            }
        };
        let written = match value {
            Value::Array(items) if LISTS.contains(&keyword) => {
                let items = items.iter().enumerate();
                let items = items.map(|(index, item)| child(&[keyword, &index.to_string()], item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(members) if MAPS.contains(&keyword) => {
                let member = |(name, member): (&String, &'l Value)| {
                    let is_schema = matches!(member, Value::Object(_) | Value::Bool(_));
                    let written = if is_schema { child(&[keyword, name], member)? } else { member.clone() };
                    Ok((name.clone(), written))
                };
                Value::Object(members.iter().map(member).collect::<Result<_, _>>()?)
            }
            Value::Object(_) | Value::Bool(_) if ONE.contains(&keyword) => child(&[keyword], value)?,
            value if PLAIN.contains(&keyword) => value.clone(),
            _ => return Ok(()),
        };
        match (out.get_mut(keyword).and_then(Value::as_array_mut), written) {
            (Some(before), Value::Array(more)) => before.extend(more),
            (_, written) => drop(out.insert(keyword.to_owned(), written)),
        }
        Ok(())
    }

    fn below(&self, target: &Target<'l>, tokens: &[&str], value: &'l Value) -> Target<'l> {
        let mut pointer = target.pointer.clone();
        let mut base: BaseId = target.base;
        for token in tokens {
            push_token(&mut pointer, token);
            base = self.library.embedded_base(target.document, &pointer).unwrap_or(base);
        }
        Target { value, document: target.document, pointer, base }
    }

    /// Takes away the properties that do not travel in this flow, whether required or not.
    fn hide(
        &self,
        target: &Target<'l>,
        dialect: Dialect,
        map: &'l Map<String, Value>,
        out: &mut Map<String, Value>,
    ) {
        let Some(keyword) = self.reading.hides else { return };
        for (name, value) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if self.says(self.below(target, &["properties", name], value), dialect, keyword) {
                if let Some(properties) = out.get_mut("properties").and_then(Value::as_object_mut) {
                    properties.remove(name);
                }
                if let Some(required) = out.get_mut("required").and_then(Value::as_array_mut) {
                    required.retain(|other| other != name);
                }
            }
        }
    }

    /// True when a schema, or what its reference leads to, sets a keyword.
    fn says(&self, from: Target<'l>, dialect: Dialect, keyword: &str) -> bool {
        let mut at = from;
        for _ in 0..MAX_CHAIN {
            let reference = at.value.get("$ref").and_then(Value::as_str);
            let alone =
                dialect.reference_stands_alone() || at.value.as_object().is_some_and(|map| map.len() == 1);
            match reference.filter(|_| alone).and_then(|to| self.library.resolve(at.base, to)) {
                Some(next) => at = next,
                None => break,
            }
        }
        at.value.get(keyword) == Some(&Value::Bool(true))
    }

    /// Writes what older dialects and settings say in the words of the newest one.
    fn settle(&self, map: &Map<String, Value>, dialect: Dialect, out: &mut Map<String, Value>) {
        if !out.get("required").is_none_or(Value::is_array) {
            out.remove("required");
        }
        for (bound, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
            if let Some(Value::Bool(is_exclusive)) = out.remove_if_bool(exclusive)
                && is_exclusive
                && let Some(value) = out.remove(bound)
            {
                out.insert(exclusive.to_owned(), value);
            }
        }
        if out.get("items").is_some_and(Value::is_array) {
            let rest = out.remove("additionalItems");
            let prefix = out.insert("items".to_owned(), rest.unwrap_or(Value::Bool(true)));
            out.insert("prefixItems".to_owned(), prefix.unwrap_or_default());
        }
        out.remove("additionalItems");
        types(map, dialect, out);
        dependencies(out);
        ranges(map, out);
        let is_closed = self.reading.unknown_fields == UnknownFields::Forbidden
            && map.contains_key("properties")
            && !map.contains_key("additionalProperties");
        if is_closed {
            out.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
    }
}

/// What a validator of JSON Schema reads otherwise than the comparison, or not at all.
fn refuse_unwritable(map: &Map<String, Value>, dialect: Dialect) -> Result<(), Unwritable> {
    let has = |keyword: &str| map.contains_key(keyword) && dialect.has(keyword);
    let is_tagged = dialect.is_openapi() && map.contains_key("discriminator");
    let unwritable = has("$dynamicRef") || has("$recursiveRef") || has("contentSchema") || is_tagged;
    if unwritable { Err(Unwritable) } else { Ok(()) }
}

fn types(map: &Map<String, Value>, dialect: Dialect, out: &mut Map<String, Value>) {
    if out.get("type").and_then(Value::as_str) == Some("file") {
        out.insert("type".to_owned(), "string".into());
    }
    let is_nullable = ["nullable", "x-nullable"].iter().any(|key| map.get(*key) == Some(&Value::Bool(true)));
    if is_nullable && dialect == Dialect::OpenApi30 {
        let types = match out.remove("type") {
            Some(Value::Array(types)) => types,
            one => one.into_iter().collect(),
        };
        if !types.is_empty() {
            let null = (!types.contains(&"null".into())).then(|| Value::from("null"));
            out.insert("type".to_owned(), types.into_iter().chain(null).collect());
        }
    }
}

trait RemoveIfBool {
    fn remove_if_bool(&mut self, key: &str) -> Option<Value>;
}

impl RemoveIfBool for Map<String, Value> {
    fn remove_if_bool(&mut self, key: &str) -> Option<Value> {
        if self.get(key).is_some_and(Value::is_boolean) { self.remove(key) } else { None }
    }
}

/// `dependencies` as the two keywords that took its place.
fn dependencies(out: &mut Map<String, Value>) {
    let Some(Value::Object(members)) = out.remove("dependencies") else { return };
    for (name, needed) in members {
        let (keyword, needed) = match needed {
            Value::String(one) => ("dependentRequired", json!([one])),
            Value::Array(_) => ("dependentRequired", needed),
            schema => ("dependentSchemas", schema),
        };
        let all = out.entry(keyword).or_insert_with(|| json!({}));
        if let Some(all) = all.as_object_mut() {
            all.entry(name).or_insert(needed);
        }
    }
}

/// The whole numbers of a format that the registry of OpenAPI knows and validators of JSON Schema do not.
fn ranges(map: &Map<String, Value>, out: &mut Map<String, Value>) {
    let range = map.get("format").and_then(Value::as_str).and_then(range_of_format);
    let Some((low, high)) = range else { return };
    out.remove("format");
    let number = |value: i128| serde_json::from_str::<Value>(&value.to_string()).unwrap_or_default();
    let range = json!({"anyOf": [
        {"not": {"type": "integer"}},
        {"minimum": number(low), "maximum": number(high)},
    ]});
    match out.get_mut("allOf").and_then(Value::as_array_mut) {
        Some(all) => all.push(range),
        None => drop(out.insert("allOf".to_owned(), json!([range]))),
    }
}
