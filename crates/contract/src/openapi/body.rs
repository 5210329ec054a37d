//! Request bodies and media types.

use serde_json::Value;

use super::cursor::Cursor;
use super::operations::Operation;
use super::pair::Pair;
use super::parameters::{Parameter, all_parameters};
use super::shape::{FormField, Shape};
use super::specification::Object;
use super::{Comparer, Use, rules};
use crate::Flow;
use crate::schema::Medium;

/// The media types that carry a form.
const FORMS: [&str; 2] = ["application/x-www-form-urlencoded", "multipart/form-data"];

/// A media type of a body with what is said of it.
#[derive(Clone)]
pub(super) struct MediaType<'l> {
    pub(super) name: String,
    pub(super) cursor: Cursor<'l>,
    pub(super) shape: Shape<'l>,
    pub(super) object: Object,
}

/// The body of a request, in whichever way the dialect writes it.
struct Body<'l> {
    cursor: Cursor<'l>,
    required: bool,
    media_types: Vec<MediaType<'l>>,
    object: Object,
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
                self.shown(with_type(old, before.media_types.first()));
            }
            (None, Some(after)) if after.required => {
                let message = format!("{name} requires a body: consumers that send none are refused");
                self.added(&rules::REQUIRED_BODY_ADDED, &after.cursor, &old.cursor, message);
                self.shown(old.envelope());
            }
            (None, Some(after)) => {
                self.added(&rules::BODY_ADDED, &after.cursor, &old.cursor, format!("{name} takes a body"));
            }
            (Some(before), Some(after)) => self.bodies(&before, &after, new),
        }
    }

    fn bodies(&mut self, old: &Body<'l>, new: &Body<'l>, operation: &Operation<'_, 'l>) {
        let name = operation.name();
        let pair = self.meet_as((old.object, new.object), &old.cursor, &new.cursor);
        match (old.required, new.required) {
            (false, true) => {
                let message = format!("the body of {name} is required: consumers that send none are refused");
                self.changed(&rules::BODY_BECAME_REQUIRED, &pair, message);
                self.shown(operation.envelope());
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
                    self.shown(with_type(operation, Some(media_type)));
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
        let pair = self.meet_as((old.object, new.object), &old.cursor, &new.cursor);
        self.encodings((old, new), &pair, Flow::Request, &format!("the body of {}", operation.name()));
        self.xml((old, new), &pair, Flow::Request, &operation.name());
        let is_form = [old, new].iter().any(|side| matches!(side.shape, Shape::Form(_)));
        if let (Shape::Form(before), Shape::Form(after)) = (&old.shape, &new.shape) {
            self.form_fields(before, after, operation);
        }
        // Fields of a form travel as text; schemas may say that some of them hold JSON.
        let is_text = is_form || (self.is_form_of_text(old) && self.is_form_of_text(new));
        let medium = if is_text { Medium::Text } else { Medium::Json };
        self.schema_use(&pair, (&old.shape, &new.shape), || {
            let label = format!("the body of {}", operation.name());
            let mut envelope = operation.envelope();
            envelope.push(("content_type", old.name.clone().into()));
            Use { label, envelope, medium, ..Use::body(Flow::Request) }
        });
    }

    /// True for a form whose fields are all scalars or lists of them, written as a form writes them.
    fn is_form_of_text(&mut self, media_type: &MediaType<'l>) -> bool {
        let is_plain = media_type.name == FORMS[0] && media_type.cursor.get("encoding").is_none();
        let Shape::Schema(schema) = &media_type.shape else { return false };
        let node = self.bodies.schema(schema.side, schema.target.clone());
        is_plain && self.bodies.is_flat(node)
    }

    /// Compares how the parts of a body are written, with defaults filled in.
    pub(super) fn encodings(
        &mut self,
        (old, new): (&MediaType<'l>, &MediaType<'l>),
        pair: &Pair<'_, 'l>,
        flow: Flow,
        name: &str,
    ) {
        if ![old, new].iter().any(|side| has_parts(&side.name)) {
            return;
        }
        let (before, after) = (named_parts(old), named_parts(new));
        let added = after.iter().filter(|part| !before.contains(part));
        if matches!((&old.shape, &new.shape), (Shape::Form(_), _) | (_, Shape::Form(_))) {
            return;
        }
        for part in before.iter().chain(added) {
            let encodings = [old, new].map(|side| side.cursor.get("encoding").and_then(|map| map.get(part)));
            if let [Some(one), Some(other)] = &encodings {
                self.meet(Object::Encoding, one, other);
            } else if encodings.iter().flatten().any(|encoding| encoding.said("headers").is_some()) {
                self.not_checked(pair, format!("the headers of the part `{part}` are not compared"));
            }
            if !has_part(old, part) || !has_part(new, part) {
                continue;
            }
            let [from, to] = [old, new].map(|side| Written::of(side, part));
            let (written, read) = if flow == Flow::Request { (&from, &to) } else { (&to, &from) };
            if !read.takes(written) {
                self.changed(
                    &rules::REQUEST_ENCODING_CHANGED,
                    pair,
                    format!(
                        "the part `{part}` of {name} is written as {}, not as {}",
                        to.text(),
                        from.text()
                    ),
                );
            }
        }
    }
}

/// A request with a body of a media type.
fn with_type<'l>(
    operation: &Operation<'_, 'l>,
    media_type: Option<&MediaType<'l>>,
) -> Vec<(&'static str, Value)> {
    let media_type = media_type.map(|media_type| ("content_type", media_type.name.clone().into()));
    operation.envelope().into_iter().chain(media_type).collect()
}

/// How one part of a body is written.
#[derive(Debug, PartialEq)]
struct Written {
    content_type: Option<String>,
    style: Option<(String, bool, bool)>,
}

impl Written {
    /// Finds what is said of a part, and fills in the defaults: a form is written as a query is, a part of several by its type.
    fn of(media_type: &MediaType<'_>, part: &str) -> Self {
        let encoding = media_type.cursor.get("encoding").and_then(|map| map.get(part));
        let said = |key: &str| encoding.as_ref().and_then(|encoding| encoding.said(key));
        let styled = ["style", "explode", "allowReserved"].iter().any(|key| said(key).is_some());
        let style = said("style").and_then(Value::as_str).unwrap_or("form");
        let explode = said("explode").and_then(Value::as_bool).unwrap_or(style == "form");
        let reserved = said("allowReserved").and_then(Value::as_bool).unwrap_or(false);
        let content_type = said("contentType").and_then(Value::as_str).map(normal_list);
        let is_form = media_type.name == FORMS[0];
        let by_style = styled || (is_form && content_type.is_none());
        Self {
            content_type: content_type.or_else(|| usual_type(media_type, part)).filter(|_| !by_style),
            style: by_style.then(|| (style.to_owned(), explode, reserved)),
        }
    }

    /// True when whoever reads parts like this one reads those of a writer: each of the writer's types is one of the reader's.
    fn takes(&self, writer: &Self) -> bool {
        let (Some(read), Some(written)) = (&self.content_type, &writer.content_type) else {
            return self == writer;
        };
        let is_read = |name: &str| {
            let kind = name.split('/').next().unwrap_or_default();
            read.split(", ").any(|known| known == name || known == "*/*" || known == format!("{kind}/*"))
        };
        self.style == writer.style && written.split(", ").all(is_read)
    }

    fn text(&self) -> String {
        match (&self.style, &self.content_type) {
            (Some((style, explode, reserved)), _) => {
                let reserved = if *reserved { ", reserved characters as they are" } else { "" };
                format!("style {style}, explode {explode}{reserved}")
            }
            (None, Some(content_type)) => content_type.clone(),
            (None, None) => "its type has it".to_owned(),
        }
    }
}

/// True for bodies that are made of parts: of all others an encoding says nothing.
fn has_parts(media_type: &str) -> bool {
    let ranges = ["multipart/", "*/*", "application/*", "application/x-www-form-urlencoded"];
    ranges.iter().any(|range| media_type.starts_with(range))
}

/// The names of parts of which an encoding is told.
fn named_parts<'l>(media_type: &MediaType<'l>) -> Vec<&'l str> {
    let map = media_type.cursor.get("encoding");
    map.map(|map| map.entries().into_iter().map(|(name, _)| name).collect()).unwrap_or_default()
}

/// True unless the schema is known and has no such part: then an encoding of it says nothing.
fn has_part(media_type: &MediaType<'_>, part: &str) -> bool {
    match part_of(media_type, part) {
        Part::Is(_) | Part::Unknown => true,
        Part::Missing => false,
    }
}

/// The schema of one part of a body.
enum Part<'l> {
    Is(Cursor<'l>),
    Missing,
    /// The schema is made of others, so that nobody looks.
    Unknown,
}

fn part_of<'l>(media_type: &MediaType<'l>, part: &str) -> Part<'l> {
    let Some(schema) = media_type.cursor.get("schema") else { return Part::Unknown };
    let made_of_others = ["allOf", "anyOf", "oneOf", "$ref"].iter().any(|key| schema.said(key).is_some());
    match schema.get("properties").and_then(|properties| properties.get(part)) {
        Some(found) => Part::Is(found),
        None if made_of_others => Part::Unknown,
        None => Part::Missing,
    }
}

/// The media type of a part of several when none is named, by the type of its schema.
fn usual_type(media_type: &MediaType<'_>, part: &str) -> Option<String> {
    let Part::Is(schema) = part_of(media_type, part) else { return None };
    let items = schema.get("items").filter(|_| schema.text("type") == Some("array"));
    let schema = items.unwrap_or(schema);
    let binary = schema.text("format") == Some("binary") || schema.said("contentEncoding").is_some();
    let usual = match schema.text("type")? {
        "object" => "application/json",
        "string" if binary => "application/octet-stream",
        _ => "text/plain",
    };
    Some(usual.to_owned())
}

/// Media types in a list, in lower case and without spaces.
fn normal_list(text: &str) -> String {
    text.split(',').map(|name| normal_name(name.trim())).collect::<Vec<_>>().join(", ")
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
    let media_type = |(name, cursor): (&str, Cursor<'l>)| MediaType {
        name: normal_name(name),
        shape: Shape::under(&cursor, "schema"),
        cursor,
        object: Object::MediaType,
    };
    content.into_iter().map(media_type).collect()
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
        return Some(Body { cursor, required, media_types, object: Object::RequestBody });
    }
    let parameters = all_parameters(operation);
    let whole = parameters.iter().find(|parameter| parameter.place == "body");
    match whole {
        Some(parameter) => Some(whole_body(operation, &parameter.cursor)),
        None => form(operation, &parameters),
    }
}

/// The body of Swagger 2 that is one parameter.
fn whole_body<'l>(operation: &Operation<'_, 'l>, cursor: &Cursor<'l>) -> Body<'l> {
    let media_type = |name| MediaType {
        name,
        cursor: cursor.clone(),
        shape: Shape::under(cursor, "schema"),
        object: Object::Parameter,
    };
    let media_types = consumed(operation, "consumes").into_iter().map(media_type).collect();
    Body {
        cursor: cursor.clone(),
        required: cursor.is_true("required"),
        media_types,
        object: Object::Parameter,
    }
}

/// The body of Swagger 2 that is a form: one parameter a field.
fn form<'l>(operation: &Operation<'_, 'l>, parameters: &[Parameter<'l>]) -> Option<Body<'l>> {
    let fields = parameters.iter().filter(|parameter| parameter.place == "formData");
    let fields: Vec<FormField<'l>> = fields
        .map(|field| FormField {
            name: field.name,
            required: field.cursor.is_true("required"),
            cursor: field.cursor.clone(),
        })
        .collect();
    let holds_file = fields.iter().any(|field| field.cursor.text("type") == Some("file"));
    let usual = if holds_file { FORMS[1] } else { FORMS[0] };
    let mut names = named(operation, "consumes");
    names.retain(|name| FORMS.contains(&name.as_str()));
    if names.is_empty() {
        names.push(usual.to_owned());
    }
    let owner = fields.first()?.cursor.clone();
    let required = fields.iter().any(|field| field.required);
    let media_type = |name| MediaType {
        name,
        cursor: owner.clone(),
        shape: Shape::Form(fields.clone()),
        object: Object::Parameter,
    };
    let media_types = names.into_iter().map(media_type).collect();
    Some(Body { cursor: owner.clone(), required, media_types, object: Object::Parameter })
}

/// The media types that Swagger 2 names for an operation or the whole contract.
pub(super) fn consumed(operation: &Operation<'_, '_>, key: &str) -> Vec<String> {
    let names = named(operation, key);
    if names.is_empty() { vec!["application/json".to_owned()] } else { names }
}

fn named(operation: &Operation<'_, '_>, key: &str) -> Vec<String> {
    let named = [&operation.cursor, operation.root].into_iter().find_map(|owner| owner.said(key)?.as_array());
    named.into_iter().flatten().filter_map(Value::as_str).map(normal_name).collect()
}
