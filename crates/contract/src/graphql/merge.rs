//! Whether fields that are asked for beside each other under one name can be answered together: they must have the same shape, whatever
//! type a value turns out to be of.

use std::collections::BTreeMap;

use super::{
    ast::{Selection, TypeKind, TypeRef},
    schema::{Schema, Type},
};

/// Which fields of one name are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// All: one value may have to answer both.
    SameValue,
    /// Only shapes count: they never stand on the same value.
    SameShape,
}

/// One selection of a field.
struct Asked<'a> {
    on: &'a str,
    of: &'a TypeRef,
    selection: &'a Selection,
}

/// True when the selections on a type can be merged.
pub(super) fn merges(schema: &Schema, on: &str, selections: &[Selection]) -> bool {
    merge(schema, &[(on, selections)], Ask::SameValue)
}

fn merge(schema: &Schema, sets: &[(&str, &[Selection])], ask: Ask) -> bool {
    let mut asked = BTreeMap::new();
    for (on, selections) in sets {
        collect(schema, on, selections, &mut asked);
    }
    asked.values().all(|together| {
        let alone = |one: &Asked<'_>| {
            parts(one.selection).is_none_or(|(_, below)| merge(schema, &[(&one.of.name, below)], ask))
        };
        let fits = |(index, one): (usize, &Asked<'_>)| {
            together[..index].iter().all(|other| fit(schema, one, other, ask))
        };
        together.iter().all(alone) && together.iter().enumerate().all(fits)
    })
}

fn collect<'a>(
    schema: &'a Schema,
    on: &'a str,
    selections: &'a [Selection],
    asked: &mut BTreeMap<&'a str, Vec<Asked<'a>>>,
) {
    for selection in selections {
        match selection {
            Selection::Field { name, .. } => {
                if let Some(field) = schema.types.get(on).and_then(|of| of.fields.get(name)) {
                    asked.entry(name).or_default().push(Asked { on, of: &field.of, selection });
                }
            }
            Selection::Inline { on: narrowed, selections, .. } => {
                collect(schema, narrowed.as_deref().unwrap_or(on), selections, asked);
            }
            Selection::Spread { .. } => {}
        }
    }
}

fn fit(schema: &Schema, one: &Asked<'_>, other: &Asked<'_>, ask: Ask) -> bool {
    let is_object = |name: &str| schema.types.get(name).is_some_and(|of| of.kind == TypeKind::Object);
    let apart = one.on != other.on && is_object(one.on) && is_object(other.on);
    let ask = if apart { Ask::SameShape } else { ask };
    let (Some((given, below)), Some((other_given, other_below))) =
        (parts(one.selection), parts(other.selection))
    else {
        return true;
    };
    same_shape(schema, one.of, other.of)
        && (ask == Ask::SameShape || given == other_given)
        && merge(schema, &[(&one.of.name, below), (&other.of.name, other_below)], ask)
}

type Given = [(String, super::ast::Value)];

fn parts(selection: &Selection) -> Option<(&Given, &[Selection])> {
    match selection {
        Selection::Field { arguments, selections, .. } => Some((arguments, selections)),
        Selection::Inline { .. } | Selection::Spread { .. } => None,
    }
}

/// True when values of both types are of one shape: lists and null in the same places, and the same scalar or enum, or objects.
pub(super) fn same_shape(schema: &Schema, one: &TypeRef, other: &TypeRef) -> bool {
    let is_composite = |of: &TypeRef| {
        let composite =
            |of: &Type| matches!(of.kind, TypeKind::Object | TypeKind::Interface | TypeKind::Union);
        schema.types.get(&of.name).is_some_and(composite)
    };
    one.wrappers == other.wrappers && (one.name == other.name || (is_composite(one) && is_composite(other)))
}

/// The types whose field of this name is asked for together with that of `name`, each with the type that both are narrowed from: they
/// had the same shape in the old schema and have not in the new one.
pub(super) fn parted<'a>(
    (old, new): (&'a Schema, &Schema),
    name: &str,
    field: &str,
) -> Vec<(&'a str, &'a str)> {
    let of = |schema: &'a Schema, on: &str| schema.types.get(on)?.fields.get(field).map(|field| &field.of);
    let is_parted = |other: &str| {
        let after = |on: &str| new.types.get(on)?.fields.get(field).map(|field| &field.of);
        let (Some(one), Some(two)) = (of(old, name), of(old, other)) else { return false };
        let (Some(one_now), Some(two_now)) = (after(name), after(other)) else { return false };
        same_shape(old, one, two) && !same_shape(new, one_now, two_now)
    };
    let mut found = Vec::new();
    for (around, of) in &old.types {
        if !of.members.contains(name)
            && !old.types.get(name).is_some_and(|own| own.interfaces.contains(around))
        {
            continue;
        }
        let implementors = old.types.iter().filter(|(_, of)| of.interfaces.contains(around));
        let others = of.members.iter().chain(implementors.map(|(other, _)| other)).chain([around]);
        found.extend(
            others
                .filter(|other| *other != name && is_parted(other))
                .map(|other| (around.as_str(), other.as_str())),
        );
    }
    found
}
