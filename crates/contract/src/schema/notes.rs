//! Differences between two schemas that no document shows: properties that come and go, defaults, marks.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value;

use super::facts::{Facts, NodeId, ObjectFacts, Type};
use super::{Schemas, format};
use crate::document::member;

/// What a note speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Topic {
    PropertyAdded,
    PropertyRemoved,
    PropertyShown,
    PropertyHidden,
    Default,
    Deprecated,
    Undeprecated,
    Discriminator,
    ExtensibleValueRemoved,
    ExtensibleValueAdded,
    FormatHint,
    NullableWithoutType,
}

/// One difference between the old and the new form of a schema.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Note {
    pub(super) topic: Topic,
    pub(super) subject: Option<String>,
    pub(super) old: String,
    pub(super) new: String,
}

impl Note {
    fn new(topic: Topic, subject: Option<&str>, old: impl Into<String>, new: impl Into<String>) -> Self {
        Self { topic, subject: subject.map(str::to_owned), old: old.into(), new: new.into() }
    }
}

/// The names of properties in all alternatives of a schema.
#[derive(Default)]
struct Names {
    declared: BTreeSet<Rc<str>>,
    hidden: BTreeSet<Rc<str>>,
    is_object: bool,
}

impl Schemas<'_> {
    /// The notes on a pair of schemas.
    pub(super) fn notes(&mut self, old: NodeId, new: NodeId) -> Vec<Note> {
        let mut notes = self.property_notes(old, new);
        let (Some(old), Some(new)) = (self.keywords(old), self.keywords(new)) else { return notes };
        let text = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), Value::to_string);
        let (from, to) = (member(old, "default"), member(new, "default"));
        if from != to {
            notes.push(Note::new(Topic::Default, None, text(from), text(to)));
        }
        notes.extend(format_note(old, new));
        let is_nullable = |map: &serde_json::Map<String, Value>| {
            member(map, "nullable") == Some(&Value::Bool(true)) && member(map, "type").is_none()
        };
        if is_nullable(new) != is_nullable(old) {
            let text = |map| if is_nullable(map) { "`nullable` without a `type`" } else { "not" };
            notes.push(Note::new(Topic::NullableWithoutType, None, text(old), text(new)));
        }
        let is_deprecated = |value: Option<&Value>| value == Some(&Value::Bool(true));
        match (is_deprecated(member(old, "deprecated")), is_deprecated(member(new, "deprecated"))) {
            (false, true) => notes.push(Note::new(Topic::Deprecated, None, "in use", "deprecated")),
            (true, false) => notes.push(Note::new(Topic::Undeprecated, None, "deprecated", "in use")),
            _ => {}
        }
        let (from, to) = (member(old, "discriminator"), member(new, "discriminator"));
        if from != to {
            notes.push(Note::new(Topic::Discriminator, None, text(from), text(to)));
        }
        notes.extend(extensible_notes(member(old, "x-extensible-enum"), member(new, "x-extensible-enum")));
        notes
    }

    fn property_notes(&mut self, old: NodeId, new: NodeId) -> Vec<Note> {
        if self.name_the_same(old, new) {
            return Vec::new();
        }
        let (old, new) = (self.names(old), self.names(new));
        let mut notes = Vec::new();
        if !old.is_object || !new.is_object {
            return notes;
        }
        for name in old.declared.difference(&new.declared) {
            let topic =
                if new.hidden.contains(name) { Topic::PropertyHidden } else { Topic::PropertyRemoved };
            notes.push(Note::new(topic, Some(name), "there", "not there"));
        }
        for name in new.declared.difference(&old.declared) {
            let topic = if old.hidden.contains(name) { Topic::PropertyShown } else { Topic::PropertyAdded };
            notes.push(Note::new(topic, Some(name), "not there", "there"));
        }
        notes
    }

    /// True when two schemas plainly declare the same properties, as nearly all do.
    fn name_the_same(&mut self, old: NodeId, new: NodeId) -> bool {
        let (old, new) = (self.alternatives(old), self.alternatives(new));
        let ([old], [new]) = (old.as_slice(), new.as_slice()) else { return false };
        let (old, new) = (&old.object, &new.object);
        let declares_all =
            |object: &ObjectFacts| object.properties.values().all(|node| *node != NodeId::NEVER);
        old.hidden == new.hidden
            && declares_all(old)
            && declares_all(new)
            && old.properties.keys().eq(new.properties.keys())
    }

    fn names(&mut self, id: NodeId) -> Names {
        let mut names = Names::default();
        let alternatives = self.alternatives(id);
        let objects = alternatives.iter().filter(|facts: &&Facts| facts.types.has(Type::Object));
        for facts in objects {
            names.is_object = true;
            let declared = facts.object.properties.iter().filter(|(_, node)| **node != NodeId::NEVER);
            names.declared.extend(declared.map(|(name, _)| Rc::clone(name)));
            names.hidden.extend(facts.object.hidden.iter().cloned());
        }
        names
    }
}

/// A format that demands nothing and is another one.
fn format_note(old: &serde_json::Map<String, Value>, new: &serde_json::Map<String, Value>) -> Option<Note> {
    let word =
        |map: &serde_json::Map<String, Value>, key: &str| member(map, key)?.as_str().map(str::to_owned);
    let text = |map: &serde_json::Map<String, Value>| match word(map, "type").as_deref() {
        Some("file") => "binary".to_owned(),
        _ => word(map, "format").unwrap_or_else(|| "none".to_owned()),
    };
    let whole = [old, new].iter().all(|map| member(map, "type").and_then(Value::as_str) == Some("integer"));
    let is_hint =
        |name: &str| name == "none" || format::is_hint(name) || format::holds_all_numbers(name, whole);
    let (from, to) = (text(old), text(new));
    (from != to && is_hint(&from) && is_hint(&to)).then(|| Note::new(Topic::FormatHint, None, from, to))
}

/// Values of the widespread extension for lists that may grow: readers must take new ones, writers may not lose old ones.
fn extensible_notes(old: Option<&Value>, new: Option<&Value>) -> Vec<Note> {
    let (Some(Value::Array(old)), Some(Value::Array(new))) = (old, new) else { return Vec::new() };
    let removed = old.iter().filter(|value| !new.contains(value));
    let added = new.iter().filter(|value| !old.contains(value));
    let note = |topic, value: &Value, old, new| Note::new(topic, Some(&value.to_string()), old, new);
    removed
        .map(|value| note(Topic::ExtensibleValueRemoved, value, "listed", "not listed"))
        .chain(added.map(|value| note(Topic::ExtensibleValueAdded, value, "not listed", "listed")))
        .collect()
}
