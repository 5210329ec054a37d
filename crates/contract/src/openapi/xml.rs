//! What XML makes of a schema: names of elements, attributes, wrapped lists. JSON knows nothing of it.
//!
//! Only bodies that travel as XML are looked at. Both schemas are walked in step; where what is said of XML differs, each side
//! writes what the other does not read.

use serde_json::{Map, Value};

use super::body::MediaType;
use super::cursor::Cursor;
use super::pair::Pair;
use super::shape::Shape;
use super::{Comparer, rules};
use crate::Flow;

/// How many pairs of schemas are walked for one body.
const MAX_SCHEMAS: usize = 1 << 14;

/// Whether a schema is the whole document, whose element is called after it when nothing else is said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Whole,
    Part,
}

impl<'l> Comparer<'_, 'l> {
    /// Compares what is said of XML in the schemas of a body that is XML.
    pub(super) fn xml(
        &mut self,
        (old, new): (&MediaType<'l>, &MediaType<'l>),
        pair: &Pair<'_, 'l>,
        flow: Flow,
        what: &str,
    ) {
        let (Shape::Schema(before), Shape::Schema(after)) = (&old.shape, &new.shape) else { return };
        let is_xml = |media_type: &MediaType<'l>| media_type.name.contains("xml") || media_type.name == "*/*";
        if !is_xml(old) || !is_xml(new) {
            return;
        }
        let mut waiting = vec![(before.clone(), after.clone(), Role::Whole)];
        let mut walked = 0;
        while let Some((before, after, role)) = waiting.pop() {
            walked += 1;
            if walked > MAX_SCHEMAS {
                return self.not_checked(pair, format!("more than {MAX_SCHEMAS} schemas of XML"));
            }
            let names = (written_name(&before, role), written_name(&after, role));
            let (before, after) = (before.followed(), after.followed());
            let key =
                (std::ptr::from_ref(before.value()) as usize, std::ptr::from_ref(after.value()) as usize);
            if (said(&before), names.0) != (said(&after), names.1) {
                self.xml_differs(&before, &after, flow, what);
            }
            if self.seen_xml.insert(key) {
                waiting.extend(parts(&before, &after));
            }
        }
    }

    fn xml_differs(&mut self, old: &Cursor<'l>, new: &Cursor<'l>, flow: Flow, what: &str) {
        let rule =
            if flow == Flow::Request { &rules::REQUEST_XML_CHANGED } else { &rules::RESPONSE_XML_CHANGED };
        let text = |cursor: &Cursor<'l>| {
            cursor.value().get("xml").map_or_else(|| "nothing is said of it".to_owned(), Value::to_string)
        };
        let message = format!("{what} is other XML: {} before, {} now", text(old), text(new));
        self.change(rule, new, message, Some(old.spot()), Some(new.spot()));
    }
}

/// The name of the whole document's element: what is said, or the name of the schema.
fn written_name(schema: &Cursor<'_>, role: Role) -> Option<String> {
    let reference = schema.text("$ref").filter(|_| role == Role::Whole)?;
    let says_it = schema.clone().followed().value().pointer("/xml/name").is_some();
    reference.rsplit('/').next().filter(|_| !says_it).map(str::to_owned)
}

/// What is said of XML, without what leaving it out means.
fn said(schema: &Cursor<'_>) -> Map<String, Value> {
    let said = schema.value().get("xml").and_then(Value::as_object).cloned().unwrap_or_default();
    let is_usual = |name: &str, value: &Value| {
        name.starts_with("x-") || (matches!(name, "attribute" | "wrapped") && *value == Value::Bool(false))
    };
    said.into_iter().filter(|(name, value)| !is_usual(name, value)).collect()
}

/// The schemas inside both, in step.
fn parts<'l>(old: &Cursor<'l>, new: &Cursor<'l>) -> Vec<(Cursor<'l>, Cursor<'l>, Role)> {
    let mut found = Vec::new();
    let mut both = |one: Option<Cursor<'l>>, other: Option<Cursor<'l>>| {
        found.extend(one.zip(other).map(|(one, other)| (one, other, Role::Part)));
    };
    for key in ["items", "additionalProperties"] {
        both(old.direct(key), new.direct(key));
    }
    if let (Some(before), Some(after)) = (old.get("properties"), new.get("properties")) {
        for name in before.value().as_object().into_iter().flatten().map(|(name, _)| name) {
            both(before.direct(name), after.direct(name));
        }
    }
    for key in ["allOf", "oneOf", "anyOf", "prefixItems"] {
        let (Some(before), Some(after)) = (old.get(key), new.get(key)) else { continue };
        let count = before.value().as_array().map_or(0, Vec::len);
        (0..count)
            .for_each(|index| both(before.direct(&index.to_string()), after.direct(&index.to_string())));
    }
    found
}
