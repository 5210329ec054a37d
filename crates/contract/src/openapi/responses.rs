//! Responses: status codes and their ranges, headers, media types.

use super::body::{MediaType, consumed, covering, media_types, schema};
use super::cursor::Cursor;
use super::operations::{Operation, entries};
use super::{Comparer, Pair, Use, rules};
use crate::Flow;

impl<'l> Comparer<'_, 'l> {
    pub(super) fn responses(&mut self, old: &Operation<'_, 'l>, new: &Operation<'_, 'l>) {
        let (before, after) = (entries(&old.cursor, "responses"), entries(&new.cursor, "responses"));
        let name = new.name();
        for (status, response) in &after {
            match covering_status(status, &before) {
                Some((_, other)) => self.response(&Pair { old: other, new: response }, status, (old, new)),
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
        for (status, response) in &before {
            if covering_status(status, &after).is_none() {
                let narrowed = after.iter().any(|(other, _)| covers(status, other));
                let rule = if is_success(status) && !narrowed {
                    &rules::RESPONSE_SUCCESS_REMOVED
                } else {
                    &rules::RESPONSE_STATUS_REMOVED
                };
                self.removed(rule, response, &new.cursor, format!("{name} no longer answers {status}"));
            }
        }
    }

    fn response(
        &mut self,
        pair: &Pair<'_, 'l>,
        status: &str,
        operations: (&Operation<'_, 'l>, &Operation<'_, 'l>),
    ) {
        if self.is_same(pair.old, pair.new) {
            return;
        }
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
        }
        if pair.old.value().get("links") != pair.new.value().get("links") {
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
        let pair = Pair { old: &old.cursor, new: &new.cursor };
        let mut envelope = operation.envelope();
        envelope.extend([("status", status.into()), ("content_type", new.name.clone().into())]);
        let label = format!("the {status} response of {}", operation.name());
        self.schema_use(
            &pair,
            (schema(&old.cursor), schema(&new.cursor)),
            Use { label, envelope, ..Use::body(Flow::Response) },
        );
        if pair.old.value().get("itemSchema") != pair.new.value().get("itemSchema") {
            self.not_checked(&pair, "`itemSchema` of streams is not compared".to_owned());
        }
    }

    fn headers(&mut self, pair: &Pair<'_, 'l>, status: &str, operation: &Operation<'_, 'l>) {
        let headers =
            |cursor: &Cursor<'l>| cursor.get("headers").map(|map| map.entries()).unwrap_or_default();
        let (old, new) = (headers(pair.old), headers(pair.new));
        let find = |name: &str, among: &[(&'l str, Cursor<'l>)]| {
            among.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, cursor)| cursor.clone())
        };
        for (name, before) in &old {
            let label = format!("the header `{name}` of the {status} response of {}", operation.name());
            match find(name, &new) {
                Some(after) => {
                    self.header(&Pair { old: before, new: &after }, name, label, status, operation);
                }
                None => {
                    let rule = if before.is_true("required") {
                        &rules::REQUIRED_HEADER_REMOVED
                    } else {
                        &rules::HEADER_REMOVED
                    };
                    self.removed(rule, before, pair.new, format!("{label} is gone"));
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
        }
        let mut envelope = operation.envelope();
        envelope.extend([("status", status.into()), ("header", name.into())]);
        let schema = |cursor: &Cursor<'l>| {
            cursor.direct("schema").or_else(|| cursor.value().get("type").map(|_| cursor.clone()))
        };
        self.schema_use(
            pair,
            (schema(pair.old), schema(pair.new)),
            Use { label, envelope, ..Use::text(Flow::Response) },
        );
    }
}

fn response_media_types<'l>(response: &Cursor<'l>, operation: &Operation<'_, 'l>) -> Vec<MediaType<'l>> {
    if response.value().get("schema").is_none() {
        return media_types(response);
    }
    let names = consumed(operation, "produces");
    names.into_iter().map(|name| MediaType { name, cursor: response.clone() }).collect()
}

/// The response that speaks of a status: the same, its range, or the default.
fn covering_status<'r, 'l>(
    status: &str,
    responses: &'r [(&'l str, Cursor<'l>)],
) -> Option<&'r (&'l str, Cursor<'l>)> {
    let exact = responses.iter().find(|(other, _)| other.eq_ignore_ascii_case(status));
    let range = || responses.iter().find(|(other, _)| *other != "default" && covers(other, status));
    exact.or_else(range).or_else(|| responses.iter().find(|(other, _)| *other == "default"))
}

/// True when a range such as `2XX` holds a status.
fn covers(range: &str, status: &str) -> bool {
    range.get(1..).is_some_and(|rest| rest.eq_ignore_ascii_case("xx")) && status.get(..1) == range.get(..1)
}

fn is_success(status: &str) -> bool {
    status.starts_with(['2', '3'])
}
