//! Whether a schema takes an operation, by the rules of validation that a witness may meet: fields, arguments, values, variables,
//! fragments and directives.
//!
//! Every witness is run here before it is shown: against the old schema, which must take it, and against the new one. Tests hold the
//! answers against an independent validator.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ast::{Definition, Directive, Fragment, Operation, Selection, TypeKind, TypeRef, Value, Wrapper},
    merge, parser,
    schema::{Input, Schema, Type},
};

/// The directives that every server knows, with the argument they require.
const BUILT_IN: [&str; 2] = ["skip", "include"];

/// True when the schema takes the operation; what cannot be read is not taken.
pub(super) fn takes(schema: &Schema, text: &str) -> bool {
    let Ok(definitions) = parser::parse(text) else { return false };
    let has_operation = definitions.iter().any(|one| matches!(one, Definition::Operation(_)));
    definitions.iter().all(|definition| match definition {
        Definition::Operation(operation) => takes_operation(schema, operation),
        Definition::Fragment(fragment) => !has_operation && takes_fragment(schema, fragment),
        Definition::Schema(..) | Definition::Type(_) | Definition::Directive(_) => false,
    })
}

fn takes_operation(schema: &Schema, operation: &Operation) -> bool {
    let variables: BTreeMap<&str, &TypeRef> =
        operation.variables.iter().map(|(name, of)| (name.as_str(), of)).collect();
    let check = Check { schema, variables };
    let location = operation.kind.to_uppercase();
    let known = operation.variables.iter().all(|(_, of)| check.is_input(&of.name));
    let Some(root) = schema.roots.get(&operation.kind) else { return false };
    known
        && check.directives(&operation.directives, &location)
        && check.selections(&root.of, &operation.selections)
        && merge::merges(schema, &root.of, &operation.selections)
}

/// A fragment by itself stands for an operation that reaches its type.
fn takes_fragment(schema: &Schema, fragment: &Fragment) -> bool {
    let check = Check { schema, variables: BTreeMap::new() };
    check.directives(&fragment.directives, "FRAGMENT_DEFINITION")
        && check.selections(&fragment.on, &fragment.selections)
        && merge::merges(schema, &fragment.on, &fragment.selections)
}

struct Check<'a> {
    schema: &'a Schema,
    variables: BTreeMap<&'a str, &'a TypeRef>,
}

impl Check<'_> {
    fn of(&self, name: &str) -> Option<&Type> {
        self.schema.types.get(name)
    }

    fn is_composite(&self, name: &str) -> bool {
        is_composite(self.schema, name)
    }

    fn is_input(&self, name: &str) -> bool {
        let written = |kind| matches!(kind, TypeKind::Scalar | TypeKind::Enum | TypeKind::Input);
        is_built_in(name) || self.of(name).is_some_and(|of| written(of.kind))
    }

    fn selections(&self, on: &str, selections: &[Selection]) -> bool {
        self.is_composite(on) && selections.iter().all(|selection| self.selection(on, selection))
    }

    fn selection(&self, on: &str, selection: &Selection) -> bool {
        match selection {
            Selection::Field { name, directives, selections, .. } if name == "__typename" => {
                let is_followed = self.schema.roots.get("subscription").is_some_and(|root| root.of == on);
                selections.is_empty() && !is_followed && self.directives(directives, "FIELD")
            }
            Selection::Field { name, arguments, directives, selections, .. } => {
                let Some(field) = self.of(on).and_then(|of| of.fields.get(name)) else { return false };
                let below = if self.is_composite(&field.of.name) {
                    !selections.is_empty() && self.selections(&field.of.name, selections)
                } else {
                    selections.is_empty()
                };
                below && self.directives(directives, "FIELD") && self.arguments(arguments, &field.arguments)
            }
            Selection::Inline { on: narrowed, directives, selections } => {
                let narrowed = narrowed.as_deref().unwrap_or(on);
                self.directives(directives, "INLINE_FRAGMENT")
                    && self.selections(narrowed, selections)
                    && !self.possible(on).is_disjoint(&self.possible(narrowed))
            }
            // Witnesses are written without named fragments.
            Selection::Spread { .. } => false,
        }
    }

    fn possible(&self, name: &str) -> BTreeSet<&str> {
        possible(self.schema, name)
    }

    fn arguments(&self, given: &[(String, Value)], declared: &BTreeMap<String, Input>) -> bool {
        let fits = |(name, value): &(String, Value)| {
            declared.get(name).is_some_and(|input| self.value(value, &input.of, input.default.is_some()))
        };
        let is_given = |name: &str| given.iter().any(|(known, _)| known == name);
        given.iter().all(fits) && declared.iter().all(|(name, input)| !input.is_required() || is_given(name))
    }

    fn directives(&self, directives: &[Directive], location: &str) -> bool {
        directives.iter().enumerate().all(|(index, directive)| {
            if BUILT_IN.contains(&directive.name.as_str()) {
                return true;
            }
            let Some(declared) = self.schema.directives.get(&directive.name) else { return false };
            let is_repeated = directives[..index].iter().any(|other| other.name == directive.name);
            (declared.repeatable || !is_repeated)
                && declared.locations.contains(location)
                && self.arguments(&directive.arguments, &declared.arguments)
        })
    }

    /// Whether a value may stand where a type is expected.
    fn value(&self, value: &Value, of: &TypeRef, has_default: bool) -> bool {
        if let Value::Variable(name) = value {
            return self.variables.get(name.as_str()).is_some_and(|own| fits(own, of, has_default));
        }
        let is_null = *value == Value::Plain("null".to_owned());
        match of.wrappers.split_first() {
            Some((Wrapper::NonNull, rest)) => !is_null && self.value(value, &unwrapped(of, rest), false),
            _ if is_null => true,
            Some((Wrapper::List, rest)) => {
                let item = unwrapped(of, rest);
                match value {
                    Value::List(values) => values.iter().all(|value| self.value(value, &item, false)),
                    value => self.value(value, &item, false),
                }
            }
            None => self.named(value, &of.name),
        }
    }

    fn named(&self, value: &Value, name: &str) -> bool {
        if is_built_in(name) {
            return is_scalar(value, name);
        }
        let Some(of) = self.of(name) else { return false };
        match (of.kind, value) {
            (TypeKind::Scalar, _) => true,
            (TypeKind::Enum, Value::Enum(value)) => of.values.contains_key(value),
            (TypeKind::Input, Value::Object(fields)) => {
                let is_one = fields.len() == 1
                    && fields.iter().all(|(_, value)| *value != Value::Plain("null".to_owned()));
                (!of.one_of || is_one) && self.arguments(fields, &of.inputs)
            }
            _ => false,
        }
    }
}

/// True for types that have selections.
pub(super) fn is_composite(schema: &Schema, name: &str) -> bool {
    let composite = |kind| matches!(kind, TypeKind::Object | TypeKind::Interface | TypeKind::Union);
    schema.types.get(name).is_some_and(|of| composite(of.kind))
}

/// The object types that a value of a type may be of.
pub(super) fn possible<'s>(schema: &'s Schema, name: &str) -> BTreeSet<&'s str> {
    let Some((name, of)) = schema.types.get_key_value(name) else { return BTreeSet::new() };
    match of.kind {
        TypeKind::Union => of.members.iter().map(String::as_str).collect(),
        TypeKind::Interface => {
            let implements = |of: &&Type| of.kind == TypeKind::Object && of.interfaces.contains(name);
            let types = schema.types.iter().filter(|(_, of)| implements(of));
            types.map(|(name, _)| name.as_str()).collect()
        }
        _ => BTreeSet::from([name.as_str()]),
    }
}

fn unwrapped(of: &TypeRef, rest: &[Wrapper]) -> TypeRef {
    TypeRef { name: of.name.clone(), wrappers: rest.to_vec() }
}

/// Whether a variable of one type may stand where another is expected; a default stands in for null.
fn fits(own: &TypeRef, wanted: &TypeRef, has_default: bool) -> bool {
    let (mut own_wrappers, mut wanted_wrappers) = (own.wrappers.as_slice(), wanted.wrappers.as_slice());
    if has_default && own_wrappers.first() != Some(&Wrapper::NonNull) {
        wanted_wrappers = wanted_wrappers.strip_prefix(&[Wrapper::NonNull]).unwrap_or(wanted_wrappers);
    }
    if own.name != wanted.name {
        return false;
    }
    loop {
        match (own_wrappers.split_first(), wanted_wrappers.split_first()) {
            (None, None) => return true,
            (Some((Wrapper::NonNull, own)), Some((Wrapper::NonNull, wanted)))
            | (Some((Wrapper::List, own)), Some((Wrapper::List, wanted))) => {
                (own_wrappers, wanted_wrappers) = (own, wanted);
            }
            (Some((Wrapper::NonNull, own)), _) => own_wrappers = own,
            _ => return false,
        }
    }
}

fn is_built_in(name: &str) -> bool {
    matches!(name, "Int" | "Float" | "String" | "Boolean" | "ID")
}

fn is_scalar(value: &Value, name: &str) -> bool {
    let Value::Plain(text) = value else { return false };
    let is_whole = text.parse::<i64>().is_ok();
    match name {
        "Int" => text.parse::<i32>().is_ok(),
        "Float" => text.parse::<f64>().is_ok() && !text.starts_with('"'),
        "String" => text.starts_with('"'),
        "Boolean" => matches!(text.as_str(), "true" | "false"),
        _ => text.starts_with('"') || is_whole,
    }
}
