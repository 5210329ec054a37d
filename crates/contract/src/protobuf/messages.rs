//! Messages: which fields meet which, what is gone and what is new.

use super::{
    compare::{Comparer, Difference, Purpose, Stream},
    fields,
    names::compare_reserved,
    rules,
    schema::{Cardinality, Field, MessageType, Schema},
    witness::{self, Side},
};

/// Compares a pair of messages in one stream.
pub(super) fn compare(
    comparer: &mut Comparer<'_>,
    name: &str,
    pair: (&MessageType, &MessageType),
    new_name: &str,
    stream: Stream,
) {
    let (old, new) = pair;
    for (number, before) in &old.fields {
        match new.fields.get(number) {
            Some(after) => {
                fields::compare(comparer, (name, new_name), (before, after), stream);
                exchanged(comparer, name, pair, (before, after), stream);
            }
            // A number that moved into an extension is the same on the wire.
            None if comparer.new.extensions.contains_key(&(new_name.to_owned(), *number)) => {}
            None => removed(comparer, name, before, new, stream),
        }
    }
    for after in new.fields.values().filter(|field| !old.fields.contains_key(&field.number)) {
        added(comparer, name, after, old, stream);
    }
    compare_oneofs(comparer, name, pair, stream);
    compare_nature(comparer, name, pair, stream);
    compare_reserved(comparer, name, old.reservations(), new.reservations());
}

/// Compares the extensions of used messages that both sides have; they are fields of the messages they extend.
pub(super) fn compare_extensions(comparer: &mut Comparer<'_>) {
    let new = comparer.new;
    let used = comparer.used_names();
    let counts = |extended: &String| used.as_ref().is_none_or(|used| used.contains(extended));
    for (key, before) in comparer.old.extensions.iter().filter(|(key, _)| counts(&key.0)) {
        if let Some(after) = new.extensions.get(key).or_else(|| field_of(new, key)) {
            fields::compare(comparer, (&key.0, &key.0), (before, after), Stream::Both);
        }
    }
    for (key, after) in new.extensions.iter().filter(|(key, _)| counts(&key.0)) {
        if let Some(before) = field_of(comparer.old, key) {
            fields::compare(comparer, (&key.0, &key.0), (before, after), Stream::Both);
        }
    }
}

/// The field of a message itself that has the number of an extension.
fn field_of<'a>(schema: &'a Schema, (extended, number): &(String, i32)) -> Option<&'a Field> {
    schema.messages.get(extended)?.fields.get(number)
}

/// A number that another field has now, which the other side has under another number: what is written as one is read as the other. A field
/// that is only renamed has no such other.
fn exchanged(
    comparer: &mut Comparer<'_>,
    name: &str,
    (old, new): (&MessageType, &MessageType),
    (before, after): (&Field, &Field),
    stream: Stream,
) {
    let has = |message: &MessageType, wanted: &str| message.fields.values().any(|field| field.name == wanted);
    if before.name == after.name || !(has(new, &before.name) || has(old, &after.name)) {
        return;
    }
    let place = format!("{name}.{}", before.name);
    let message =
        format!("number {} of `{name}` is `{}` instead of `{}`", before.number, after.name, before.name);
    let (side, schema, field) = if stream.old_writes() {
        (Side::Old, comparer.old, before)
    } else {
        (Side::New, comparer.new, after)
    };
    let outcome = "the reader takes the value for that of another field";
    let shown =
        witness::sample(schema, field).map(|sample| witness::field(side, name, field, &sample, outcome));
    let difference = Difference::new(&rules::FIELD_EXCHANGED, place, message);
    let difference = difference.at(Some(&before.position), Some(&after.position));
    comparer.report(difference.on(stream).shown(shown));
}

fn compare_nature(
    comparer: &mut Comparer<'_>,
    name: &str,
    (old, new): (&MessageType, &MessageType),
    stream: Stream,
) {
    let mut report = |rule, message: String| {
        let difference = Difference::new(rule, name, message);
        comparer.report(difference.at(Some(&old.position), Some(&new.position)).on(stream));
    };
    if old.message_set != new.message_set {
        report(&rules::MESSAGE_SET, format!("`{name}` began or ceased to use the message set encoding"));
    }
    if old.json_allowed && !new.json_allowed {
        report(&rules::MESSAGE_JSON_FORMAT, format!("`{name}` no longer promises a JSON form"));
    }
    if new.deprecated && !old.deprecated {
        report(&rules::DEPRECATED, format!("`{name}` is deprecated"));
    }
}

fn removed(comparer: &mut Comparer<'_>, name: &str, before: &Field, new: &MessageType, stream: Stream) {
    let place = format!("{name}.{}", before.name);
    let gone = format!("field `{place}` ({}) is gone", before.number);
    let promised = comparer.settings.purpose == Purpose::Deploy;
    let shown = witness::sample(comparer.old, before)
        .map(|sample| witness::field(Side::Old, name, before, &sample, "the new reader drops the value"));
    let mut report = |rule, message: String, witness| {
        let difference = Difference::new(rule, place.clone(), message);
        comparer.report(difference.at(Some(&before.position), Some(&new.position)).on(stream).shown(witness));
    };
    if before.cardinality == Cardinality::Required && stream.new_writes() {
        let outcome = "the old reader refuses the message: a required field is missing";
        let message = format!("{gone}, and old readers require it");
        report(&rules::REQUIRED_REMOVED, message, Some(witness::empty(Side::New, name, outcome)));
    }
    if promised && !new.reserved.contains(before.number) {
        report(&rules::FIELD_REMOVED, format!("{gone} and its number is not reserved"), shown.clone());
    } else if promised && !new.reserved_names.contains(&before.name) {
        report(&rules::FIELD_NAME_FREE, format!("{gone} and its name is not reserved"), shown.clone());
    }
    report(&rules::FIELD_DROPPED, format!("{gone}; its readers find it unset"), shown.clone());
    if comparer.readers_are_strict() && stream.old_writes() {
        let message = format!("{gone}; a strict JSON reader refuses messages that carry it");
        let difference = Difference::new(&rules::FIELD_UNKNOWN, place.clone(), message);
        comparer.report(difference.at(Some(&before.position), Some(&new.position)).on(stream).shown(shown));
    }
}

fn added(comparer: &mut Comparer<'_>, name: &str, after: &Field, old: &MessageType, stream: Stream) {
    let place = format!("{name}.{}", after.name);
    let mut report = |rule, message: String, witness| {
        let difference = Difference::new(rule, place.clone(), message);
        comparer.report(difference.at(Some(&old.position), Some(&after.position)).on(stream).shown(witness));
    };
    if after.cardinality == Cardinality::Required && stream.old_writes() {
        let outcome = "the new reader refuses the message: a required field is missing";
        let message = format!(
            "field `{place}` ({}) was added and is required; old writers do not send it",
            after.number
        );
        report(&rules::REQUIRED_ADDED, message, Some(witness::empty(Side::Old, name, outcome)));
    } else {
        report(&rules::FIELD_ADDED, format!("field `{place}` ({}) was added", after.number), None);
    }
    if comparer.readers_are_strict() && stream.new_writes() {
        let shown = witness::sample(comparer.new, after).map(|sample| {
            witness::field(Side::New, name, after, &sample, "a strict JSON reader refuses the message")
        });
        let message = format!("field `{place}` is sent to JSON readers that refuse what they do not know");
        let difference = Difference::new(&rules::FIELD_UNKNOWN, place.clone(), message);
        comparer.report(difference.at(Some(&old.position), Some(&after.position)).on(stream).shown(shown));
    }
}

/// Compares how fields are grouped into oneofs: by their members, since the name of a oneof is never sent. Values are lost where a
/// writer may send two fields that its reader has in one oneof; else only code notices.
fn compare_oneofs(
    comparer: &mut Comparer<'_>,
    name: &str,
    (old, new): (&MessageType, &MessageType),
    stream: Stream,
) {
    let shared = Shared { old, new };
    for before in old.fields.values() {
        let Some(after) = new.fields.get(&before.number) else { continue };
        if shared.mates(old, before) == shared.mates(new, after)
            && before.oneof.is_some() == after.oneof.is_some()
        {
            continue;
        }
        let word = |oneof: &Option<String>| {
            oneof.as_ref().map_or("no oneof".to_owned(), |name| format!("oneof `{name}`"))
        };
        let place = format!("{name}.{}", before.name);
        let message =
            format!("field `{place}` is in {} instead of {}", word(&after.oneof), word(&before.oneof));
        let lost_old = stream.old_writes().then(|| shared.lost_beside(before, old, new)).flatten();
        let lost_new = stream.new_writes().then(|| shared.lost_beside(after, new, old)).flatten();
        let (rule, shown) = match (lost_old, lost_new) {
            (Some(other), _) => {
                (&rules::FIELD_ONEOF, witness::two(comparer.old, Side::Old, name, [before, other]))
            }
            (None, Some(other)) => {
                (&rules::FIELD_ONEOF, witness::two(comparer.new, Side::New, name, [after, other]))
            }
            (None, None) => (&rules::FIELD_ONEOF_SOURCE, None),
        };
        let difference = Difference::new(rule, place, message).shown(shown);
        comparer.report(difference.at(Some(&before.position), Some(&after.position)).on(stream));
    }
}

/// The fields that both sides of a pair of messages have.
struct Shared<'a> {
    old: &'a MessageType,
    new: &'a MessageType,
}

impl<'a> Shared<'a> {
    fn has(&self, number: i32) -> bool {
        self.old.fields.contains_key(&number) && self.new.fields.contains_key(&number)
    }

    /// The shared fields in the oneof of a field, itself included.
    fn mates(&self, message: &MessageType, field: &Field) -> Vec<i32> {
        let is_mate = |other: &&Field| match &field.oneof {
            Some(oneof) => other.oneof.as_ref() == Some(oneof) && self.has(other.number),
            None => other.number == field.number,
        };
        message.fields.values().filter(is_mate).map(|field| field.number).collect()
    }

    /// Another field of the writer that may be sent beside this one, and that the reader has in the same oneof.
    fn lost_beside(&self, field: &Field, writer: &'a MessageType, reader: &MessageType) -> Option<&'a Field> {
        let read = reader.fields.get(&field.number)?;
        let mates = self.mates(reader, read);
        writer.fields.values().find(|other| {
            let together = field.oneof.is_none() || field.oneof != other.oneof;
            other.number != field.number && together && mates.contains(&other.number)
        })
    }
}
