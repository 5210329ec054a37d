//! Every field of a route table, from the docs of the types themselves: for the reference, and to tell which keys there are.
//!
//! Invariant: it is made of the schema of [`RouteTable`], so it has what is read and nothing else.

mod unknown;

use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;

use lockstep_domain::routes::RouteTable;
use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) use unknown::{UnknownKey, unknown_keys};

/// Where the schema keeps what it names.
const DEFINITIONS: &str = "#/$defs/";
/// Fields whose names end so are in this unit.
const UNITS: [(&str, &str); 3] = [("_ms", "milliseconds"), ("_s", "seconds"), ("_bytes", "bytes")];
/// What a field of the first format has in the place of a number.
const FIRST_FORMAT: u64 = 1;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(RouteTable).to_value());

/// An object of a route table, or a choice of words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// What it is called.
    pub name: String,
    /// Where in a table it stands: `routes[]`, `services.NAME.splits[]`; empty for the table itself.
    pub places: Vec<String>,
    /// What it is.
    pub means: String,
    /// Its fields, or what can be chosen.
    pub fields: Vec<FieldDoc>,
}

/// A field, or what can stand in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDoc {
    /// Its name; of a choice without a value the word.
    pub name: String,
    /// What stands there: `integer`, `list of Route`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of a number that measures something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What holds where it is left out.
    pub default: Default,
    /// The first format that has it.
    pub since: u64,
    /// What it means.
    pub means: String,
}

/// What holds where a field is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Default {
    /// It cannot be left out.
    Required,
    /// This.
    Value(Value),
    /// Nothing; its text says what follows from that.
    Nothing,
    /// It is one of several that can be chosen.
    Choice,
}

/// Returns all objects of a route table, the table first, each before those that stand in it.
#[must_use]
pub fn sections() -> Vec<Section> {
    let mut found: Vec<(Found<'static>, Section)> = Vec::new();
    let mut waiting =
        VecDeque::from([Found { name: "RouteTable", place: String::new(), since: FIRST_FORMAT }]);
    while let Some(next) = waiting.pop_front() {
        if let Some((_, section)) = found.iter_mut().find(|(known, _)| known.name == next.name) {
            section.places.push(next.place);
            continue;
        }
        let section = section(&next);
        if !section.fields.is_empty() {
            waiting.extend(below(&next));
            found.push((next, section));
        }
    }
    found.into_iter().map(|(_, section)| section).collect()
}

/// Returns what is written as text, and what each may be, by name.
#[must_use]
pub fn texts() -> BTreeMap<String, String> {
    let definitions = SCHEMA["$defs"].as_object();
    let is_text = |schema: &Value| schema["type"] != "object" && choices(schema).is_empty();
    let named = definitions.into_iter().flatten().filter(|(_, schema)| is_text(schema));
    named.map(|(name, schema)| (name.clone(), means(schema))).collect()
}

/// A named object that is to be described, and where it was met first.
struct Found<'s> {
    name: &'s str,
    place: String,
    since: u64,
}

fn section(Found { name, place, since }: &Found<'_>) -> Section {
    let schema = named(name);
    let mut fields: Vec<_> = properties(schema).map(|(name, it)| field(schema, name, it, *since)).collect();
    fields.extend(choices(schema).iter().map(|choice| chosen(choice, *since)));
    Section { name: (*name).to_owned(), places: vec![place.clone()], means: means(schema), fields }
}

fn field(of: &Value, name: &str, schema: &Value, before: u64) -> FieldDoc {
    let required = of["required"].as_array().is_some_and(|names| names.iter().any(|it| it == name));
    let unit = schema["x-unit"].as_str().or_else(|| unit(name));
    FieldDoc {
        name: name.to_owned(),
        kind: kind(schema),
        unit: unit.map(str::to_owned),
        default: if required { Default::Required } else { default(schema) },
        since: since(schema, before),
        means: means(schema),
    }
}

fn unit(name: &str) -> Option<&'static str> {
    UNITS.iter().find(|(end, _)| name.ends_with(end)).map(|(_, unit)| *unit)
}

fn default(schema: &Value) -> Default {
    let empty = match schema["type"].as_str() {
        Some("array") => Some(Value::Array(Vec::new())),
        Some("object") => Some(Value::Object(Map::new())),
        _ => None,
    };
    schema.get("default").cloned().or(empty).map_or(Default::Nothing, Default::Value)
}

/// A word, or an object of one field.
fn chosen(choice: &Value, since: u64) -> FieldDoc {
    let (name, kind, unit) = match properties(choice).next() {
        Some((name, schema)) => (name.clone(), kind(schema), unit(name)),
        None => (choice["const"].as_str().unwrap_or_default().to_owned(), "word".to_owned(), None),
    };
    let unit = unit.map(str::to_owned);
    FieldDoc { name, kind, unit, default: Default::Choice, since, means: means(choice) }
}

/// Says in words what stands in a place.
fn kind(schema: &Value) -> String {
    if let Some(name) = name_of(schema) {
        return name.to_owned();
    }
    let of = |schema: &Value| if kind(schema).is_empty() { "anything".to_owned() } else { kind(schema) };
    match simple(schema) {
        "array" => match schema["prefixItems"].as_array() {
            Some(parts) => parts.iter().map(of).collect::<Vec<_>>().join(", then "),
            None => format!("list of {}", of(&schema["items"])),
        },
        "object" => format!("{} by name", of(&schema["additionalProperties"])),
        simple => simple.to_owned(),
    }
}

/// Returns the type of what is no named object; what can be left out has `null` beside it.
fn simple(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(name) => name,
        Value::Array(names) => {
            names.iter().find_map(|it| it.as_str().filter(|it| *it != "null")).unwrap_or("")
        }
        _ => "",
    }
}

/// Returns the name of what a schema refers to, alone or beside `null`.
fn name_of(schema: &Value) -> Option<&str> {
    let direct = schema["$ref"].as_str();
    let beside = || schema["anyOf"].as_array()?.iter().find_map(|it| it["$ref"].as_str());
    direct.or_else(beside)?.strip_prefix(DEFINITIONS)
}

/// Returns what stands in an object that has a name of its own, and where.
fn below(Found { name, place, since: before }: &Found<'static>) -> Vec<Found<'static>> {
    let schema = named(name);
    let at = |part: &str| if place.is_empty() { part.to_owned() } else { format!("{place}.{part}") };
    let mut found = Vec::new();
    let of_choices = choices(schema).into_iter().flat_map(properties);
    for (field, inner) in properties(schema).chain(of_choices) {
        let (inner_name, end) = if let Some(name) = name_of(inner) {
            (Some(name), "")
        } else if simple(inner) == "array" {
            (name_of(&inner["items"]), "[]")
        } else {
            (name_of(&inner["additionalProperties"]), ".NAME")
        };
        let since = since(inner, *before);
        found.extend(inner_name.map(|name| Found { name, place: at(&format!("{field}{end}")), since }));
    }
    found
}

fn since(schema: &Value, before: u64) -> u64 {
    schema["x-since"].as_u64().map_or(before, |since| since.max(before))
}

fn named(name: &str) -> &'static Value {
    if name == "RouteTable" { &SCHEMA } else { &SCHEMA["$defs"][name] }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// Returns what can stand in a place of which one must.
fn choices(schema: &Value) -> Vec<&Value> {
    schema["oneOf"].as_array().into_iter().flatten().collect()
}

/// Returns what a schema is described by, on one line, without the marks of links.
fn means(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace('\n', " ").replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests;
