//! Responses: status codes and their ranges, headers, media types.

use super::body::{MediaType, consumed, covering, media_types};
use super::cursor::Cursor;
use super::operations::{Operation, entries};
use super::pair::Pair;
use super::shape::Shape;
use super::specification::Object;
use super::{Comparer, Use, rules};
use crate::Flow;

/// The answers of an operation, by their status.
type Answers<'r, 'l> = &'r [(&'l str, Cursor<'l>)];

impl<'l> Comparer<'_, 'l> {
    pub(super) fn responses(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let (before, after) = (entries(&old.cursor, "responses"), entries(&new.cursor, "responses"));
        let name = new.name();
        for (status, response) in &after {
            match covering_in(status, &before) {
                Some((_, other)) => {
                    let is_plain = |response: &Cursor<'l>| response.said("schema").is_none();
                    let same_types = consumed(old, "produces") == consumed(new, "produces");
                    let inherits = same_types || (is_plain(other) && is_plain(response));
                    if !inherits || !self.is_same(other, response) {
                        let pair = self.meet(Object::Response, other, response);
                        self.response(&pair, status, (old, new));
                    }
                }
                None => {
                    let rule = if is_success(status) {
                        &rules::RESPONSE_SUCCESS_ADDED
                    } else {
                        &rules::RESPONSE_STATUS_ADDED
                    };
                    self.added(rule, response, &old.cursor, format!("{name} may answer {status}"));
                }
            }
        }
        self.covered_responses((&before, &after), (old, new));
        for (status, response) in &before {
            if covering_in(status, &after).is_none() {
                let narrowed = after.iter().any(|(other, _)| covers(status, other));
                let rule = if is_success(status) && !narrowed {
                    &rules::RESPONSE_SUCCESS_REMOVED
                } else {
                    &rules::RESPONSE_STATUS_REMOVED
                };
                self.removed(rule, response, &new.cursor, format!("{name} no longer answers {status}"));
                self.shown(with_status(old, status));
            }
        }
    }

    /// Compares answers that had words of their own with the range or the default that speaks of their status now.
    fn covered_responses(
        &mut self,
        (before, after): (Answers<'_, 'l>, Answers<'_, 'l>),
        operations: (&Operation<'_, 'l>, &Operation<'_, 'l>),
    ) {
        for (status, response) in before {
            let is_same = |other: &str| other.eq_ignore_ascii_case(status);
            let Some((range, other)) = covering_in(status, after).filter(|(other, _)| !is_same(other)) else {
                continue;
            };
            let is_compared = covering_in(range, before).is_some_and(|(covering, _)| is_same(covering));
            if !is_compared {
                let pair = self.meet(Object::Response, response, other);
                self.response(&pair, status, operations);
            }
        }
    }

    fn response(
        &mut self,
        pair: &Pair<'_, 'l>,
        status: &str,
        operations: (&Operation<'_, 'l>, &Operation<'_, 'l>),
    ) {
        self.headers(pair, status, operations.1);
        let old = response_media_types(pair.old, operations.0);
        let new = response_media_types(pair.new, operations.1);
        let what = format!("the {status} response of {}", operations.1.name());
        for media_type in &new {
            match covering(media_type, &old) {
                Some(other) => self.response_media_type(other, media_type, status, operations.1),
                None => self.added(
                    &rules::RESPONSE_MEDIA_TYPE_ADDED,
                    &media_type.cursor,
                    pair.old,
                    format!("{what} is offered as {}", media_type.name),
                ),
            }
        }
        let gone = old.iter().filter(|media_type| {
            let kept = covering(media_type, &new).is_some()
                || new.iter().any(|other| covering(other, std::slice::from_ref(media_type)).is_some());
            !kept
        });
        for media_type in gone {
            let message = format!("{what} is no longer offered as {}", media_type.name);
            self.removed(&rules::RESPONSE_MEDIA_TYPE_REMOVED, &media_type.cursor, pair.new, message);
            let mut shown = with_status(operations.0, status);
            shown.push(("content_type", media_type.name.clone().into()));
            self.shown(shown);
        }
        if pair.old.said("links") != pair.new.said("links") {
            self.changed(&rules::LINKS_CHANGED, pair, format!("{what} has other links"));
        }
    }

    fn response_media_type(
        &mut self,
        old: &MediaType<'l>,
        new: &MediaType<'l>,
        status: &str,
        operation: &Operation<'_, 'l>,
    ) {
        let pair = self.meet_as((old.object, new.object), &old.cursor, &new.cursor);
        let label = format!("the {status} response of {}", operation.name());
        self.encodings((old, new), &pair, Flow::Response, &label);
        self.xml((old, new), &pair, Flow::Response, &label);
        self.schema_use(&pair, (&old.shape, &new.shape), || {
            let mut envelope = operation.envelope();
            envelope.extend([("status", status.into()), ("content_type", new.name.clone().into())]);
            Use { label, envelope, ..Use::body(Flow::Response) }
        });
    }

    fn headers(&mut self, pair: &Pair<'_, 'l>, status: &str, operation: &Operation<'_, 'l>) {
        let headers = |cursor: &Cursor<'l>| {
            let mut headers = cursor.get("headers").map(|map| map.entries()).unwrap_or_default();
            // By OpenAPI it shall be ignored: media types say it.
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            headers
        };
        let (old, new) = (headers(pair.old), headers(pair.new));
        let find = |name: &str, among: &[(&'l str, Cursor<'l>)]| {
            among.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, cursor)| cursor.clone())
        };
        for (name, before) in &old {
            let label = format!("the header `{name}` of the {status} response of {}", operation.name());
            match find(name, &new) {
                Some(after) => {
                    let pair = self.meet(Object::Header, before, &after);
                    self.header(&pair, name, label, status, operation);
                }
                None => {
                    let rule = if before.is_true("required") {
                        &rules::REQUIRED_HEADER_REMOVED
                    } else {
                        &rules::HEADER_REMOVED
                    };
                    self.removed(rule, before, pair.new, format!("{label} is gone"));
                    self.shown(with_status(operation, status));
                }
            }
        }
        for (name, after) in new.iter().filter(|(name, _)| find(name, &old).is_none()) {
            let message =
                format!("the header `{name}` of the {status} response of {} is new", operation.name());
            self.added(&rules::HEADER_ADDED, after, pair.old, message);
        }
    }

    fn header(
        &mut self,
        pair: &Pair<'_, 'l>,
        name: &str,
        label: String,
        status: &str,
        operation: &Operation<'_, 'l>,
    ) {
        if pair.old.is_true("required") && !pair.new.is_true("required") {
            self.changed(&rules::HEADER_BECAME_OPTIONAL, pair, format!("{label} may be missing"));
            self.shown(with_status(operation, status));
        }
        let document = |header: &Cursor<'l>| {
            let content = header.get("content")?.entries().into_iter().next()?;
            Some(content.0.to_owned())
        };
        let (before, after) = (document(pair.old), document(pair.new));
        if before != after {
            let text = |media_type: Option<String>| media_type.unwrap_or_else(|| "plain text".to_owned());
            let reason = format!("{label} was {} and is {}", text(before), text(after));
            return self.not_checked(pair, reason);
        }
        let mut envelope = operation.envelope();
        envelope.extend([("status", status.into()), ("header", name.into())]);
        let used = if pair.new.said("content").is_some() {
            Use { slot: "content", ..Use::body(Flow::Response) }
        } else {
            Use::text(Flow::Response)
        };
        self.schema_use(pair, (&value_of(pair.old), &value_of(pair.new)), || Use { label, envelope, ..used });
    }
}

/// An answer, of which nothing is told but its status.
fn with_status(operation: &Operation<'_, '_>, status: &str) -> Vec<(&'static str, serde_json::Value)> {
    operation.envelope().into_iter().chain([("status", status.into())]).collect()
}

/// The schema of a header: under `schema`, under its media type, or, in Swagger 2, the header itself.
fn value_of<'l>(header: &Cursor<'l>) -> Shape<'l> {
    let content = || header.get("content")?.entries().into_iter().next()?.1.direct("schema");
    let own = || header.said("type").map(|_| header.clone());
    header.direct("schema").or_else(content).or_else(own).map_or(Shape::Any, Shape::Schema)
}

pub(super) fn response_media_types<'l>(
    response: &Cursor<'l>,
    operation: &Operation<'_, 'l>,
) -> Vec<MediaType<'l>> {
    if response.said("schema").is_none() {
        return media_types(response);
    }
    let names = consumed(operation, "produces");
    let media_type = |name| MediaType {
        name,
        cursor: response.clone(),
        shape: Shape::under(response, "schema"),
        object: Object::Response,
    };
    names.into_iter().map(media_type).collect()
}

/// The response that speaks of a status.
fn covering_in<'r, 'l>(
    status: &str,
    responses: &'r [(&'l str, Cursor<'l>)],
) -> Option<&'r (&'l str, Cursor<'l>)> {
    covering_status(status, responses.iter().map(|(other, _)| *other)).map(|index| &responses[index])
}

/// The place of what speaks of a status: the same, its range, or the default.
pub(super) fn covering_status<'s>(
    status: &str,
    mut known: impl Iterator<Item = &'s str> + Clone,
) -> Option<usize> {
    let exact = known.clone().position(|other| other.eq_ignore_ascii_case(status));
    let range = || known.clone().position(|other| other != "default" && covers(other, status));
    exact.or_else(range).or_else(|| known.position(|other| other == "default"))
}

/// True when a range such as `2XX` holds a status.
fn covers(range: &str, status: &str) -> bool {
    range.get(1..).is_some_and(|rest| rest.eq_ignore_ascii_case("xx")) && status.get(..1) == range.get(..1)
}

fn is_success(status: &str) -> bool {
    status.starts_with(['2', '3'])
}
