//! JSON Schema files as contracts of messages.
//!
//! The owner of a topic's schema is its reader unless the options say otherwise: then messages of the old schema must be
//! accepted by the new one. A writer's messages of the new schema must be accepted by the old one.

use serde_json::{Map, Value};

use crate::document::may_be_document;
use crate::draft::{Drafts, Spot};
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
    drafts.locate(old, new)
}

fn dialect(root: &Value) -> Dialect {
    let declared = root.get("$schema").and_then(Value::as_str).unwrap_or_default();
    let early = ["draft-03", "draft-04", "draft-05", "draft-06", "draft-07"]
        .iter()
        .any(|draft| declared.contains(draft));
    if early { Dialect::EarlyJsonSchema } else { Dialect::JsonSchema }
}
