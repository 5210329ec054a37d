//! Which keys of a document are none of a route table's.

use serde_json::Value;

use super::{DEFINITIONS, SCHEMA};
use crate::by_hand::node::{Content, Node};

/// A key that nothing reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownKey {
    /// Where it stands, with the key: `routes[3].whn`.
    pub(crate) place: String,
    /// Its offset in the text.
    pub(crate) offset: usize,
    /// Those that are known there.
    pub(crate) known: Vec<String>,
}

/// Takes every key out of a document that nothing reads, and names them: a setting that is misspelled would silently do nothing.
pub(crate) fn unknown_keys(document: &mut Node) -> Vec<UnknownKey> {
    let mut found = Vec::new();
    look(&[&SCHEMA], document, "", &mut found);
    found
}

fn look(schemas: &[&'static Value], node: &mut Node, place: &str, found: &mut Vec<UnknownKey>) {
    let schemas: Vec<_> = schemas.iter().flat_map(|schema| resolved(schema)).collect();
    match &mut node.content {
        Content::Map(members) => {
            let objects: Vec<_> = schemas.into_iter().filter(|it| it["type"] == "object").collect();
            // What should be no object is reported by whoever reads it.
            if objects.is_empty() {
                return;
            }
            members.retain_mut(|member| {
                let inner = format!("{place}{}{}", if place.is_empty() { "" } else { "." }, member.key);
                let of_key = of_key(&objects, &member.key);
                if of_key.is_empty() {
                    let known = known(&objects);
                    found.push(UnknownKey { place: inner, offset: member.offset, known });
                    return false;
                }
                look(&of_key, &mut member.value, &inner, found);
                true
            });
        }
        Content::List(elements) => {
            let items: Vec<_> = schemas.into_iter().filter_map(|it| it.get("items")).collect();
            for (index, element) in elements.iter_mut().enumerate() {
                look(&items, element, &format!("{place}[{index}]"), found);
            }
        }
        Content::Scalar(_) => {}
    }
}

/// Follows names and choices to what says something itself.
fn resolved(schema: &'static Value) -> Vec<&'static Value> {
    if let Some(name) = schema["$ref"].as_str().and_then(|it| it.strip_prefix(DEFINITIONS)) {
        return resolved(&SCHEMA["$defs"][name]);
    }
    let choices = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
    choices.map_or_else(|| vec![schema], |choices| choices.iter().flat_map(resolved).collect())
}

/// Returns what may stand at a key of an object.
fn of_key(objects: &[&'static Value], key: &str) -> Vec<&'static Value> {
    let of = |object: &&'static Value| {
        let named = object["properties"].get(key);
        named.or_else(|| object.get("additionalProperties").filter(|it| it.is_object()))
    };
    objects.iter().filter_map(of).collect()
}

fn known(objects: &[&'static Value]) -> Vec<String> {
    let properties = objects.iter().filter_map(|object| object["properties"].as_object());
    properties.flat_map(|it| it.keys().cloned()).collect()
}
