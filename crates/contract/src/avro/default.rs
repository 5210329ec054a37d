//! Whether a default is a value of its type.

use serde_json::Value;

use super::form::{Form, Primitive, TypeId};
use super::schema::Schema;

/// What a default is worth to a reader that needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    Good,
    /// It is one of another branch than the first of a union: fine since 1.12, refused before.
    OfLaterBranch,
    Bad,
}

/// How deep a default may nest: one that takes itself as the default of its field never ends.
const MAX_DEPTH: usize = 64;

/// Judges a default.
pub(super) fn judge(schema: &Schema<'_>, id: TypeId, value: &Value) -> Default {
    judge_at(schema, id, value, 0)
}

fn judge_at(schema: &Schema<'_>, id: TypeId, value: &Value, depth: usize) -> Default {
    if depth > MAX_DEPTH {
        return Default::Bad;
    }
    let all = |values: &mut dyn Iterator<Item = (TypeId, &Value)>| {
        values.map(|(id, value)| judge_at(schema, id, value, depth + 1)).fold(Default::Good, worse)
    };
    match &schema.get(id).form {
        Form::Primitive(primitive) => good_if(is_of(*primitive, value)),
        Form::Enum(_, symbols) => {
            good_if(value.as_str().is_some_and(|text| symbols.all.iter().any(|symbol| symbol == text)))
        }
        Form::Fixed(_, size) => good_if(
            is_of(Primitive::Bytes, value)
                && value.as_str().is_some_and(|text| text.chars().count() as u64 == *size),
        ),
        Form::Array(items) => match value.as_array() {
            Some(values) => all(&mut values.iter().map(|value| (*items, value))),
            None => Default::Bad,
        },
        Form::Map(of) => match value.as_object() {
            Some(values) => all(&mut values.values().map(|value| (*of, value))),
            None => Default::Bad,
        },
        Form::Record(_, fields) => match value.as_object() {
            Some(values) => fields
                .iter()
                .map(|field| match values.get(&field.name).or(field.default.as_ref()) {
                    Some(value) => judge_at(schema, field.of, value, depth + 1),
                    None => Default::Bad,
                })
                .fold(Default::Good, worse),
            None => Default::Bad,
        },
        Form::Union(branches) => of_union(schema, branches, value, depth),
    }
}

fn of_union(schema: &Schema<'_>, branches: &[TypeId], value: &Value, depth: usize) -> Default {
    let mut judged = branches.iter().map(|branch| judge_at(schema, *branch, value, depth + 1));
    match judged.next() {
        Some(first) if first != Default::Bad => first,
        _ => match judged.find(|other| *other != Default::Bad) {
            Some(_) => Default::OfLaterBranch,
            None => Default::Bad,
        },
    }
}

fn is_of(primitive: Primitive, value: &Value) -> bool {
    match primitive {
        Primitive::Null => value.is_null(),
        Primitive::Boolean => value.is_boolean(),
        Primitive::Int => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        Primitive::Long => value.as_i64().is_some(),
        Primitive::Float | Primitive::Double => value.is_number(),
        Primitive::Bytes => value.as_str().is_some_and(|text| text.chars().all(|c| u32::from(c) < 256)),
        Primitive::String => value.is_string(),
    }
}

fn good_if(is_good: bool) -> Default {
    if is_good { Default::Good } else { Default::Bad }
}

fn worse(one: Default, other: Default) -> Default {
    match (one, other) {
        (Default::Bad, _) | (_, Default::Bad) => Default::Bad,
        (Default::OfLaterBranch, _) | (_, Default::OfLaterBranch) => Default::OfLaterBranch,
        _ => Default::Good,
    }
}
