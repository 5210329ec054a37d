//! What descriptors hold beyond what is compared: fields that are listed as not compared, that no list holds, and custom options that
//! are known to matter. Where it differs between two elements, the answer is open.

use std::collections::BTreeMap;

use super::specification::{KNOWN_TO_MATTER, Object};
use crate::field::Treatment;

/// What is not read, by element and by field. A field of a message is `message#number`, so that its name does not count.
pub(super) type Unread = BTreeMap<(String, String), Vec<u8>>;

/// One field on the wire.
struct Entry<'a> {
    number: u32,
    /// The content of a field with a length.
    content: Option<&'a [u8]>,
    raw: &'a [u8],
}

/// Collects what is not read from an encoded set of files.
pub(super) fn collect(set: &[u8], given: impl Fn(&str) -> bool) -> Unread {
    let mut unread = Unread::new();
    for file in entries(set).iter().filter(|entry| entry.number == 1).filter_map(|entry| entry.content) {
        let (name, package) = (text(file, 1), text(file, 2));
        if given(&name) {
            walk(Object::File, file, &name, &package, &mut unread);
        }
    }
    unread
}

/// Walks over one object. `element` is what its own fields belong to, `scope` what the elements in it are named after.
fn walk(object: Object, bytes: &[u8], element: &str, scope: &str, unread: &mut Unread) {
    for entry in entries(bytes) {
        let slot = object.slots().iter().find(|slot| slot.number == entry.number);
        let name = match slot {
            Some(slot) if slot.field.treatment == Treatment::NotChecked => slot.field.name.to_owned(),
            Some(slot) => {
                if let (Some(child), Some(content)) = (slot.child, entry.content) {
                    let element = element_of(child, content, element, scope);
                    walk(child, content, &element, &scope_of(child, content, scope), unread);
                }
                continue;
            }
            None => match unknown(object, entry.number) {
                Some(name) => name,
                None => continue,
            },
        };
        unread.entry((element.to_owned(), name)).or_default().extend_from_slice(entry.raw);
    }
}

/// How an unknown field is told, unless it is a custom option that says something to tools only.
fn unknown(object: Object, number: u32) -> Option<String> {
    if object.takes_custom_options() && number >= 1000 {
        return KNOWN_TO_MATTER
            .iter()
            .find(|(known, _)| *known == number)
            .map(|(_, name)| format!("({name})"));
    }
    let title = object.slots().first().map_or("", |slot| slot.field.object);
    Some(format!("field {number} of {title}"))
}

fn element_of(child: Object, content: &[u8], element: &str, scope: &str) -> String {
    match child {
        Object::Message | Object::Enum | Object::Service | Object::Method | Object::Oneof => {
            qualified(scope, &text(content, 1))
        }
        Object::Field => {
            let extended = text(content, 2);
            let message = if extended.is_empty() {
                scope.to_owned()
            } else {
                extended.trim_start_matches('.').to_owned()
            };
            format!("{message}#{}", number(content, 3))
        }
        Object::EnumValue => format!("{scope}#{}", number(content, 2)),
        _ => element.to_owned(),
    }
}

fn scope_of(child: Object, content: &[u8], scope: &str) -> String {
    match child {
        Object::Message | Object::Enum | Object::Service => qualified(scope, &text(content, 1)),
        _ => scope.to_owned(),
    }
}

fn qualified(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn text(bytes: &[u8], number: u32) -> String {
    let found = entries(bytes).into_iter().rev().find(|entry| entry.number == number);
    found
        .and_then(|entry| entry.content)
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .unwrap_or_default()
}

/// The value of a number field, which is written after its tag of one byte.
fn number(bytes: &[u8], number: u32) -> i32 {
    let found = entries(bytes).into_iter().rev().find(|entry| entry.number == number);
    let value = found.and_then(|entry| varint(entry.raw.get(1..)?)).map_or(0, |(value, _)| value);
    i32::from_le_bytes(value.to_le_bytes().first_chunk().copied().unwrap_or_default())
}

/// The fields of an encoded message, as far as it can be read; it was decoded before.
fn entries(bytes: &[u8]) -> Vec<Entry<'_>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some(entry) = first(rest) {
        rest = &rest[entry.raw.len()..];
        found.push(entry);
    }
    found
}

fn first(bytes: &[u8]) -> Option<Entry<'_>> {
    let (tag, head) = varint(bytes)?;
    let number = u32::try_from(tag >> 3).ok()?;
    let body = &bytes[head..];
    let (length, content) = match tag & 7 {
        0 => (varint(body)?.1, None),
        1 => (8, None),
        5 => (4, None),
        2 => {
            let (size, head) = varint(body)?;
            let size = usize::try_from(size).ok()?;
            let content = body.get(head..head.checked_add(size)?)?;
            (head + size, Some(content))
        }
        // Groups are written by nobody here; what follows one is kept as it is.
        _ => (body.len(), None),
    };
    Some(Entry { number, content, raw: bytes.get(..head.checked_add(length)?)? })
}

/// A number of variable length, and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index).min(63);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}
