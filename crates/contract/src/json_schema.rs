//! JSON Schema files as contracts of messages.
//!
//! The owner of a topic's schema is its reader unless the options say otherwise: then messages of the old schema must be
//! accepted by the new one. A writer's messages of the new schema must be accepted by the old one.

use serde_json::{Map, Value};

use crate::document::may_be_document;
use crate::draft::{DraftNotChecked, Drafts, Spot};
use crate::library::Library;
use crate::schema::report::{Demand, Presence, Site};
use crate::schema::rules::{MESSAGE_ASPECTS, MESSAGE_TOPICS};
use crate::schema::{Dialect, Schemas, Side, report};
use crate::{Comparison, Flow, InputError, MessageRole, Options, Rule, Source};

/// The rules of this format.
pub(crate) fn rules() -> impl Iterator<Item = &'static Rule> {
    MESSAGE_ASPECTS.iter().chain(MESSAGE_TOPICS)
}

/// True when the source looks like a JSON Schema: a document whose root has keywords of one.
pub(crate) fn detect(source: &Source) -> bool {
    const KEYWORDS: [&str; 18] = [
        "$schema",
        "$id",
        "$ref",
        "$defs",
        "definitions",
        "type",
        "properties",
        "allOf",
        "anyOf",
        "oneOf",
        "enum",
        "const",
        "not",
        "if",
        "items",
        "pattern",
        "required",
        "additionalProperties",
    ];
    let Some((path, bytes)) = source.entry().filter(|(path, bytes)| may_be_document(path, bytes)) else {
        return false;
    };
    match crate::document::Document::parse(path, bytes) {
        Ok(document) => match &document.value {
            Value::Bool(_) => true,
            Value::Object(map) => map.is_empty() || KEYWORDS.iter().any(|keyword| map.contains_key(*keyword)),
            _ => false,
        },
        Err(_) => true,
    }
}

/// Reads a contract of this format.
pub(crate) fn read(source: &Source) -> Result<Library<'_>, Vec<InputError>> {
    Library::load(source)
}

/// Compares two schemas in both directions.
pub(crate) fn compare(old: &Library<'_>, new: &Library<'_>, options: &Options) -> Comparison {
    let dialects = [dialect(old.entry().value), dialect(new.entry().value)];
    let mut schemas = Schemas::new((old, new), dialects, Flow::Message, options.unknown_fields);
    let site = Site {
        old: schemas.schema(Side::Old, old.entry()),
        new: schemas.schema(Side::New, new.entry()),
        label: "the message".to_owned(),
        place: String::new(),
        old_spot: Some(Spot::new(old, 0, String::new())),
        new_spot: Some(Spot::new(new, 0, String::new())),
        envelope: Map::new(),
        slot: None,
        presence: Presence::Always,
    };
    let demand = match options.message_role {
        MessageRole::Reader => Demand::NewHoldsOld,
        MessageRole::Writer => Demand::OldHoldsNew,
    };
    let mut drafts = Drafts::default();
    report::compare(&mut schemas, Flow::Message, demand, &[site], &mut drafts);
    if let Some(open) = open_drafts(old, new) {
        drafts.roll_back.not_checked.push(open.clone());
        drafts.deploy.not_checked.push(open);
    }
    drafts.locate(old, new)
}

fn dialect(root: &Value) -> Dialect {
    root.get("$schema").and_then(Dialect::declared).unwrap_or(Dialect::AnyDraft)
}

/// Why the draft that a schema names keeps it from being checked.
fn unknown_draft(root: &Value) -> Option<String> {
    let named = root.get("$schema").and_then(Value::as_str)?;
    let is_a_draft = named.contains("json-schema.org");
    let unknown = is_a_draft && Dialect::declared(&named.into()).is_none();
    unknown.then(|| {
        format!("`{named}` is no draft of JSON Schema that is read: draft 4, 6, 7, 2019-09 and 2020-12 are")
    })
}

/// A draft that is not known, or another one of somebody's own on each side, leaves the answer open in both directions.
fn open_drafts(old: &Library<'_>, new: &Library<'_>) -> Option<DraftNotChecked> {
    let (before, after) = (old.entry().value, new.entry().value);
    if before == after {
        return None;
    }
    let own =
        |root: &Value| root.get("$schema").filter(|schema| Dialect::declared(schema).is_none()).cloned();
    let changed = (own(before) != own(after))
        .then(|| "`$schema` names another dialect, and what it adds is not read".to_owned());
    let reason = unknown_draft(before).or_else(|| unknown_draft(after)).or(changed)?;
    let spot = |library| Some(Spot::new(library, 0, "/$schema".to_owned()));
    Some(DraftNotChecked { place: "/$schema".to_owned(), reason, old: spot(old), new: spot(new) })
}
