//! Avro schemas as contracts of messages.
//!
//! What a writer with one schema writes is read with another by schema resolution, as Avro 1.11 and 1.12 specify it. The owner
//! of the schema is the reader unless the options say otherwise. Where libraries differ from the specification or from
//! each other, the answer is not checked, with the reason.

mod compare;
mod datum;
mod default;
mod form;
mod logical;
mod matching;
mod read;
mod rules;
mod schema;
pub(crate) mod specification;

use std::collections::BTreeMap;

use serde_json::Value;

use compare::{Found, Newer};
use form::{Primitive, Spot, TypeId, simple};
use matching::Sides;
pub use rules::RULES;
pub(crate) use schema::Schema;

use crate::document::Document;
use crate::{
    Bump, Change, Comparison, Findings, InputError, Level, Location, MessageRole, NotChecked, Options, Source,
};

/// The ending of the files of this format.
pub(crate) const ENDING: &str = ".avsc";

/// True when the source looks like this format: by its name, or as a named type of Avro.
pub(crate) fn detect(source: &Source) -> bool {
    if source.files().any(|(path, _)| path.to_ascii_lowercase().ends_with(ENDING)) {
        return true;
    }
    let Some((path, bytes)) = source.entry() else { return false };
    let mentions = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    if !mentions(b"\"record\"") && !mentions(b"\"enum\"") && !mentions(b"\"fixed\"") {
        return false;
    }
    let is_type = |value: &Value| {
        let kind = value.get("type").and_then(Value::as_str);
        let needs = match kind {
            Some("record") => "fields",
            Some("enum") => "symbols",
            Some("fixed") => "size",
            _ => return false,
        };
        value.get("name").is_some() && value.get(needs).is_some()
    };
    Document::parse(path, bytes).is_ok_and(|document| match &document.value {
        Value::Array(types) => !types.is_empty() && types.iter().any(is_type),
        value => is_type(value),
    })
}

/// Reads a contract of this format.
pub(crate) fn read(source: &Source) -> Result<Schema<'_>, Vec<InputError>> {
    read::read(source)
}

/// Compares two schemas in both directions.
pub(crate) fn compare(old: &Schema<'_>, new: &Schema<'_>, options: &Options) -> Comparison {
    let new_reads = || findings(old, new, Newer::Reader);
    let new_writes = || findings(old, new, Newer::Writer);
    match options.message_role {
        MessageRole::Reader => Comparison { deploy: new_reads(), roll_back: new_writes() },
        MessageRole::Writer => Comparison { deploy: new_writes(), roll_back: new_reads() },
    }
}

/// What becomes of messages when one side is old and the other new.
fn findings(old: &Schema<'_>, new: &Schema<'_>, newer: Newer) -> Findings {
    let mut told = Findings::default();
    let (pairs, gone, added) = pairs(old, new);
    let mut all = Vec::new();
    for (place, before, after) in pairs {
        let (sides, pair) = match newer {
            Newer::Reader => (Sides { writer: old, reader: new }, (before, after)),
            Newer::Writer => (Sides { writer: new, reader: old }, (after, before)),
        };
        all.extend(compare::compare(sides, pair, &place, newer));
    }
    file(&mut told, all, (old, new), newer);
    // Nobody reads what is gone from the reader; what the writer no longer writes is missed by nobody.
    for (place, root) in gone {
        let change =
            Change::new(&rules::MESSAGE_REMOVED, &place, format!("there is no schema of `{place}` any more"));
        let change = match newer {
            Newer::Reader => change,
            Newer::Writer => change.weighing(Level::Warning, Bump::Minor),
        };
        told.changes.push(change.at(location(old, &old.get(root).spot), None));
    }
    for (place, root) in added {
        let message = format!("`{place}` is new");
        let change = Change::new(&rules::MESSAGE_ADDED, &place, message);
        told.changes.push(change.at(None, location(new, &new.get(root).spot)));
    }
    told
}

/// Messages of both sides, and those of one side only; each with its name.
type Pairs = (Vec<(String, TypeId, TypeId)>, Vec<(String, TypeId)>, Vec<(String, TypeId)>);

/// Pairs the messages of both sides by name, or by alias; the only ones of both sides belong together.
fn pairs(old: &Schema<'_>, new: &Schema<'_>) -> Pairs {
    if let ([before], [after]) = (old.roots.as_slice(), new.roots.as_slice()) {
        return (vec![(name(new, *after, false), *before, *after)], Vec::new(), Vec::new());
    }
    let named = |schema: &Schema<'_>| -> BTreeMap<String, TypeId> {
        schema.roots.iter().map(|root| (name(schema, *root, true), *root)).collect()
    };
    let (mut before, after) = (named(old), named(new));
    let (mut both, mut added) = (Vec::new(), Vec::new());
    for (name, id) in after {
        let alias = new
            .get(id)
            .form
            .named()
            .and_then(|named| named.aliases.iter().find(|alias| before.contains_key(*alias)).cloned());
        match before.remove(&name).or_else(|| before.remove(&alias?)) {
            Some(other) => both.push((name, other, id)),
            None => added.push((name, id)),
        }
    }
    (both, before.into_iter().collect(), added)
}

/// What a whole message is called: its type, or where it stands.
fn name(schema: &Schema<'_>, root: TypeId, by_file: bool) -> String {
    let of = schema.get(root);
    match of.form.named() {
        Some(named) => named.full.clone(),
        None if by_file => schema.documents[of.spot.document].file.clone(),
        None => "message".to_owned(),
    }
}

/// Files what was found, with the lines of all places looked up at once.
fn file(told: &mut Findings, all: Vec<Found>, (old, new): (&Schema<'_>, &Schema<'_>), newer: Newer) {
    let sided = |found: &Found| match newer {
        Newer::Reader => (found.writer.clone(), found.reader.clone()),
        Newer::Writer => (found.reader.clone(), found.writer.clone()),
    };
    let (before, after): (Vec<Spot>, Vec<Spot>) = all.iter().map(sided).unzip();
    let places = locations(old, &before).into_iter().zip(locations(new, &after));
    for (found, (before, after)) in all.into_iter().zip(places) {
        match found.rule {
            Some(rule) => {
                let change = Change::new(rule, found.place, found.message);
                told.changes.push(change.at(before, after).with_witness(found.witness));
            }
            None => told.not_checked.push(NotChecked {
                place: found.place,
                reason: found.message,
                old: before,
                new: after,
            }),
        }
    }
}

fn location(schema: &Schema<'_>, spot: &Spot) -> Option<Location> {
    locations(schema, std::slice::from_ref(spot)).pop().flatten()
}

fn locations(schema: &Schema<'_>, spots: &[Spot]) -> Vec<Option<Location>> {
    let mut lines: BTreeMap<Spot, u32> = BTreeMap::new();
    for (index, document) in schema.documents.iter().enumerate() {
        let here: Vec<&Spot> = spots.iter().filter(|spot| spot.document == index).collect();
        if !here.is_empty() {
            let found = document.lines(here.iter().map(|spot| spot.pointer.as_str()));
            lines.extend(here.into_iter().cloned().zip(found));
        }
    }
    let file = |spot: &Spot| schema.documents[spot.document].file.clone();
    spots.iter().map(|spot| Some(Location { file: file(spot), line: *lines.get(spot)? })).collect()
}

/// Where the types may be that a file names and does not define: by the customs of repositories, beside it under their name.
pub(crate) fn elsewhere(value: &Value) -> Vec<String> {
    let (mut named, mut defined) = (Vec::new(), Vec::new());
    names(value, "", (&mut named, &mut defined));
    named.retain(|name| Primitive::of(name).is_none() && !defined.contains(name));
    let files = named.iter().flat_map(|full| {
        [
            format!("{}{ENDING}", simple(full)),
            format!("{full}{ENDING}"),
            format!("{}{ENDING}", full.replace('.', "/")),
        ]
    });
    files.collect()
}

/// Collects the names that stand where a type does, and those that are defined; with their namespaces where they have one.
fn names(value: &Value, namespace: &str, (named, defined): (&mut Vec<String>, &mut Vec<String>)) {
    let whole = |name: &str, namespace: &str| {
        if name.contains('.') || namespace.is_empty() || Primitive::of(name).is_some() {
            name.to_owned()
        } else {
            format!("{namespace}.{name}")
        }
    };
    match value {
        Value::String(name) => named.push(whole(name, namespace)),
        Value::Array(branches) => {
            branches.iter().for_each(|branch| names(branch, namespace, (&mut *named, &mut *defined)));
        }
        Value::Object(map) => {
            let text = |key: &str| map.get(key).and_then(Value::as_str);
            let inside = text("namespace").unwrap_or(namespace);
            match text("type") {
                Some("record" | "error" | "enum" | "fixed") => {
                    let own = text("name").map(|name| whole(name, inside)).unwrap_or_default();
                    let inside = own.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
                    defined.push(own);
                    let fields = map.get("fields").and_then(Value::as_array).into_iter().flatten();
                    for of in fields.filter_map(|field| field.get("type")) {
                        names(of, &inside, (&mut *named, &mut *defined));
                    }
                }
                Some("array" | "map") => {
                    for inner in ["items", "values"].iter().filter_map(|key| map.get(*key)) {
                        names(inner, namespace, (&mut *named, &mut *defined));
                    }
                }
                _ => {
                    if let Some(of) = map.get("type") {
                        names(of, namespace, (named, defined));
                    }
                }
            }
        }
        _ => {}
    }
}
