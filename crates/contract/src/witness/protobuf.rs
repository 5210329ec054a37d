//! Bytes run by `prost-reflect`: the writer's schema must read them whole, and the reader's must refuse them or make something else
//! of them.

use prost_reflect::{Cardinality, DescriptorPool, DynamicMessage, Kind, ReflectMessage as _, Value as Held};
use serde_json::Value;

use super::outcome::Outcome;
use crate::{Source, protobuf};

/// Both sides' descriptors, linked when the first message is run; nothing where that is not possible.
pub(super) struct Messages<'l> {
    sources: [&'l Source; 2],
    pools: Option<[Option<DescriptorPool>; 2]>,
}

impl<'l> Messages<'l> {
    pub(super) fn between(old: &'l Source, new: &'l Source) -> Self {
        Self { sources: [old, new], pools: None }
    }

    pub(super) fn run(&mut self, witness: &Value) -> Outcome {
        let sources = self.sources;
        let pools = self.pools.get_or_insert_with(|| sources.map(protobuf::pool));
        let [Some(old), Some(new)] = pools else { return Outcome::Open };
        let (writer, reader) = match witness["written_by"].as_str() {
            Some("old") => (old, new),
            Some("new") => (new, old),
            _ => return Outcome::Open,
        };
        judge(witness, writer, reader).unwrap_or(Outcome::Open)
    }
}

fn judge(witness: &Value, writer: &DescriptorPool, reader: &DescriptorPool) -> Option<Outcome> {
    let name = witness["message"].as_str()?;
    let bytes = bytes(witness["wire"].as_str()?)?;
    let writer = writer.get_message_by_name(name)?;
    let reader = reader.get_message_by_name(witness["read_as"].as_str().unwrap_or(name))?;
    let Ok(written) = DynamicMessage::decode(writer, bytes.as_slice()) else { return Some(Outcome::Stands) };
    if written.unknown_fields().next().is_some() {
        return Some(Outcome::Stands);
    }
    let Ok(read) = DynamicMessage::decode(reader, bytes.as_slice()) else { return Some(Outcome::Fails) };
    let is_same = read.unknown_fields().next().is_none() && same(&written, &read);
    Some(if is_same { Outcome::Stands } else { Outcome::Fails })
}

/// A field or an extension of a message, there or not.
struct Member {
    name: String,
    kind: Kind,
    is_required: bool,
    is_there: bool,
    /// What is held; nothing for a message that is not there, since messages may hold themselves.
    value: Option<Held>,
}

fn members(message: &DynamicMessage) -> Vec<Member> {
    let descriptor = message.descriptor();
    let fields = descriptor.fields().map(|field| {
        let (kind, is_there) = (field.kind(), message.has_field(&field));
        let counts = is_there || !matches!(kind, Kind::Message(_));
        let value = counts.then(|| message.get_field(&field).into_owned());
        let is_required = field.cardinality() == Cardinality::Required;
        Member { name: field.json_name().to_owned(), kind, is_required, is_there, value }
    });
    let extensions = descriptor.extensions().map(|field| {
        let (kind, is_there) = (field.kind(), message.has_extension(&field));
        let counts = is_there || !matches!(kind, Kind::Message(_));
        let value = counts.then(|| message.get_extension(&field).into_owned());
        Member { name: field.json_name().to_owned(), kind, is_required: false, is_there, value }
    });
    fields.chain(extensions).collect()
}

/// True when both hold the same under the same names, defaults included, and nothing is missing that the reader requires.
fn same(written: &DynamicMessage, read: &DynamicMessage) -> bool {
    let (written, read) = (members(written), members(read));
    let is_held = |member: &Member| match read.iter().find(|other| other.name == member.name) {
        Some(other) => {
            let mut values = member.value.iter().zip(&other.value);
            let are_same = |(one, two): (&Held, &Held)| {
                // Where nothing was written, two types have no value in common that could be another.
                let are_alike = std::mem::discriminant(one) == std::mem::discriminant(two);
                (!member.is_there && !are_alike) || same_value((&member.kind, one), (&other.kind, two))
            };
            member.is_there == other.is_there && values.all(are_same)
        }
        None => !member.is_there,
    };
    let is_whole = |member: &Member| member.is_there || !member.is_required;
    written.iter().all(is_held) && read.iter().all(is_whole)
}

fn same_value((kind, one): (&Kind, &Held), (other, two): (&Kind, &Held)) -> bool {
    match (one, two) {
        (Held::Message(one), Held::Message(two)) => same(one, two),
        (Held::List(one), Held::List(two)) => {
            let mut pairs = one.iter().zip(two);
            one.len() == two.len() && pairs.all(|(one, two)| same_value((kind, one), (other, two)))
        }
        (Held::Map(one), Held::Map(two)) => one.len() == two.len(),
        (Held::EnumNumber(one), Held::EnumNumber(two)) => enum_name(kind, *one) == enum_name(other, *two),
        (one, two) => one == two,
    }
}

/// The name of a value; a number that no name belongs to has none.
fn enum_name(kind: &Kind, number: i32) -> Option<String> {
    match kind {
        Kind::Enum(of) => Some(of.get_value(number)?.name().to_owned()),
        _ => None,
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}
