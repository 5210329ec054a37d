//! Request bodies and media types.

use serde_json::Value;

use super::cursor::Cursor;
use super::operations::Operation;
use super::{Comparer, Pair, Use, rules};
use crate::Flow;

/// A media type of a body with what is said of it.
#[derive(Clone)]
pub(super) struct MediaType<'l> {
    pub(super) name: String,
    pub(super) cursor: Cursor<'l>,
}

/// The body of a request, in whichever way the dialect writes it.
struct Body<'l> {
    cursor: Cursor<'l>,
    required: bool,
    media_types: Vec<MediaType<'l>>,
}

impl<'l> Comparer<'_, 'l> {
    pub(super) fn request_body(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let name = new.name();
        match (body(old), body(new)) {
            (None, None) => {}
            (Some(before), None) => {
                self.removed(
                    &rules::BODY_REMOVED,
                    &before.cursor,
                    &new.cursor,
                    format!("the body of {name} is gone"),
                );
            }
            (None, Some(after)) if after.required => {
                let message = format!("{name} requires a body: consumers that send none are refused");
                self.added(&rules::REQUIRED_BODY_ADDED, &after.cursor, &old.cursor, message);
            }
            (None, Some(after)) => {
                self.added(&rules::BODY_ADDED, &after.cursor, &old.cursor, format!("{name} takes a body"));
            }
            (Some(before), Some(after)) => self.bodies(&before, &after, new),
        }
    }

    fn bodies(&mut self, old: &Body<'l>, new: &Body<'l>, operation: &Operation<'_, 'l>) {
        let name = operation.name();
        let pair = Pair { old: &old.cursor, new: &new.cursor };
        match (old.required, new.required) {
            (false, true) => {
                let message = format!("the body of {name} is required: consumers that send none are refused");
                self.changed(&rules::BODY_BECAME_REQUIRED, &pair, message);
            }
            (true, false) => {
                self.changed(&rules::BODY_BECAME_OPTIONAL, &pair, format!("the body of {name} is optional"));
            }
            _ => {}
        }
        for media_type in &old.media_types {
            match covering(media_type, &new.media_types) {
                Some(other) => self.request_media_type(media_type, other, operation),
                None => {
                    let message = format!("the body of {name} may no longer be {}", media_type.name);
                    self.removed(
                        &rules::REQUEST_MEDIA_TYPE_REMOVED,
                        &media_type.cursor,
                        &new.cursor,
                        message,
                    );
                }
            }
        }
        for media_type in
            new.media_types.iter().filter(|media_type| covering(media_type, &old.media_types).is_none())
        {
            let message = format!("the body of {name} may be {}", media_type.name);
            self.added(&rules::REQUEST_MEDIA_TYPE_ADDED, &media_type.cursor, &old.cursor, message);
        }
    }

    fn request_media_type(
        &mut self,
        old: &MediaType<'l>,
        new: &MediaType<'l>,
        operation: &Operation<'_, 'l>,
    ) {
        let pair = Pair { old: &old.cursor, new: &new.cursor };
        self.encodings(&pair, &operation.name());
        let mut envelope = operation.envelope();
        envelope.push(("content_type", old.name.clone().into()));
        let label = format!("the body of {}", operation.name());
        self.schema_use(
            &pair,
            (schema(&old.cursor), schema(&new.cursor)),
            Use { label, envelope, ..Use::body(Flow::Request) },
        );
    }

    fn encodings(&mut self, pair: &Pair<'_, 'l>, name: &str) {
        let empty = serde_json::Map::new();
        let map = |cursor: &Cursor<'l>| {
            cursor.value().get("encoding").and_then(Value::as_object).unwrap_or(&empty).clone()
        };
        let (old, new) = (map(pair.old), map(pair.new));
        for (part, before) in &old {
            let after = new.get(part);
            let differs = ["contentType", "style", "explode"]
                .iter()
                .any(|key| before.get(*key) != after.and_then(|after| after.get(*key)));
            if differs {
                self.changed(
                    &rules::REQUEST_ENCODING_CHANGED,
                    pair,
                    format!("the part `{part}` of the body of {name} is encoded differently"),
                );
            }
        }
        if pair.old.value().get("itemSchema") != pair.new.value().get("itemSchema") {
            self.not_checked(pair, "`itemSchema` of streams is not compared".to_owned());
        }
    }
}

/// The schema of a media type; what is not a media type object is itself the schema, as in Swagger 2.
pub(super) fn schema<'l>(media_type: &Cursor<'l>) -> Option<Cursor<'l>> {
    media_type.direct("schema")
}

/// The media type among `others` that covers this one: the same, or a range around it.
pub(super) fn covering<'m, 'l>(
    media_type: &MediaType<'l>,
    others: &'m [MediaType<'l>],
) -> Option<&'m MediaType<'l>> {
    let kind = media_type.name.split('/').next().unwrap_or_default();
    let ranges = [media_type.name.clone(), format!("{kind}/*"), "*/*".to_owned()];
    ranges.iter().find_map(|range| others.iter().find(|other| other.name == *range))
}

/// The media types under `content`, by their normal names.
pub(super) fn media_types<'l>(owner: &Cursor<'l>) -> Vec<MediaType<'l>> {
    let content = owner.get("content").map(|content| content.entries()).unwrap_or_default();
    content.into_iter().map(|(name, cursor)| MediaType { name: normal_name(name), cursor }).collect()
}

/// A media type in lower case with its parameters sorted and without spaces.
fn normal_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let mut parts = lower.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_owned();
    let mut parameters: Vec<&str> =
        parts.filter(|part| !part.starts_with("charset=utf-8") && !part.is_empty()).collect();
    parameters.sort_unstable();
    std::iter::once(kind.as_str()).chain(parameters).collect::<Vec<_>>().join(";")
}

fn body<'l>(operation: &Operation<'_, 'l>) -> Option<Body<'l>> {
    if let Some(cursor) = operation.cursor.get("requestBody") {
        let (required, media_types) = (cursor.is_true("required"), media_types(&cursor));
        return Some(Body { cursor, required, media_types });
    }
    let list = operation.cursor.get("parameters").map(|list| list.items()).unwrap_or_default();
    let cursor = list.into_iter().find(|parameter| parameter.text("in") == Some("body"))?;
    let required = cursor.is_true("required");
    let names = consumed(operation, "consumes");
    let media_types = names.into_iter().map(|name| MediaType { name, cursor: cursor.clone() }).collect();
    Some(Body { cursor, required, media_types })
}

/// The media types that Swagger 2 names for an operation or the whole contract.
pub(super) fn consumed(operation: &Operation<'_, '_>, key: &str) -> Vec<String> {
    let named =
        [&operation.cursor, operation.root].into_iter().find_map(|owner| owner.value().get(key)?.as_array());
    let names: Vec<String> = named.into_iter().flatten().filter_map(Value::as_str).map(normal_name).collect();
    if names.is_empty() { vec!["application/json".to_owned()] } else { names }
}
