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

/// How deep fields are followed to types that are asked for together: as far as the nodes of a connection.
const MAX_DEPTH: usize = 3;

/// How many types are tried for one field: on large schemas most types may be asked for beside each other.
const MAX_TRIED: usize = 10_000;

/// A type whose fields are asked for together with those of another.
pub(super) struct Rival<'a> {
    /// The type that a value is of before it is narrowed.
    pub(super) around: &'a str,
    /// What it is narrowed to, for the one type and for the other.
    pub(super) narrowed: [&'a str; 2],
    /// The fields that lead from there to the two types.
    pub(super) way: Vec<&'a str>,
    pub(super) of: &'a str,
}

/// The types whose field of this name is asked for together with that of `name`: they had the same shape in the old schema and have
/// not in the new one.
pub(super) fn parted<'a>((old, new): (&'a Schema, &Schema), name: &str, field: &str) -> Vec<Rival<'a>> {
    let of = |schema: &'a Schema, on: &str| schema.types.get(on)?.fields.get(field).map(|field| &field.of);
    let is_parted = |other: &str| {
        let after = |on: &str| new.types.get(on)?.fields.get(field).map(|field| &field.of);
        let (Some(one), Some(two)) = (of(old, name), of(old, other)) else { return false };
        let (Some(one_now), Some(two_now)) = (after(name), after(other)) else { return false };
        same_shape(old, one, two) && !same_shape(new, one_now, two_now)
    };
    let Some((name, _)) = old.types.get_key_value(name) else { return Vec::new() };
    let mut found = rivals(old, name, 0, &mut { MAX_TRIED });
    found.retain(|rival| is_parted(rival.of));
    found
}

fn rivals<'a>(schema: &'a Schema, name: &'a str, depth: usize, tried: &mut usize) -> Vec<Rival<'a>> {
    let mut found = narrowed(schema, name);
    *tried = tried.saturating_sub(found.len() + 1);
    if depth == MAX_DEPTH {
        return found;
    }
    for (holder, of) in &schema.types {
        for (field, _) in of.fields.iter().filter(|(_, field)| field.of.name == name) {
            if *tried == 0 {
                return found;
            }
            found.extend(rivals(schema, holder, depth + 1, tried).into_iter().filter_map(|rival| {
                let beside = &schema.types.get(rival.of)?.fields.get(field)?.of;
                let (of, _) = schema.types.get_key_value(&beside.name)?;
                let way = rival.way.into_iter().chain([field.as_str()]).collect();
                Some(Rival { way, of, ..rival })
            }));
        }
    }
    found
}

/// The types that values of one type may be of beside this one.
fn narrowed<'a>(schema: &'a Schema, name: &'a str) -> Vec<Rival<'a>> {
    let own = schema.types.get(name);
    let mut found = Vec::new();
    for (around, of) in &schema.types {
        if !of.members.contains(name) && !own.is_some_and(|own| own.interfaces.contains(around)) {
            continue;
        }
        let implementors = schema.types.iter().filter(|(_, of)| of.interfaces.contains(around));
        let others = of.members.iter().chain(implementors.map(|(other, _)| other)).chain([around]);
        found.extend(others.filter(|other| *other != name).map(|other| Rival {
            around,
            narrowed: [name, other],
            way: Vec::new(),
            of: other,
        }));
    }
    found
}
