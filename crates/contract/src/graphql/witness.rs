//! Operations that were valid and now are not, or whose answer now surprises.
//!
//! An operation starts at a root of the old schema and takes the shortest way to the place. Where no way leads there, a
//! fragment on the type stands in for it. Required arguments on the way get the plainest value of their type.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::{
    ast::{TypeKind, TypeRef, Wrapper},
    schema::{Field, Input, Schema},
};

/// Input objects may contain each other; real ones are filled within a few levels.
const MAX_VALUE_DEPTH: usize = 8;

/// Shows an operation that selects a field, with one argument that it need not have given.
pub(super) fn selection(
    schema: &Schema,
    of: &str,
    field: &str,
    argument: Option<&str>,
    outcome: &str,
) -> Option<Value> {
    let declared = schema.types.get(of)?.fields.get(field)?;
    let inner = call(schema, field, declared, argument, None)?;
    Some(json!({ "operation": operation(schema, of, &inner)?, "outcome": outcome }))
}

/// Shows an operation whose answer is of a type that the consumer does not expect.
pub(super) fn response(
    schema: &Schema,
    of: &str,
    field: &str,
    (old, new): (&TypeRef, &TypeRef),
) -> Option<Value> {
    let outcome = if old.name == new.name && old.wrappers.len() != new.wrappers.len() {
        format!("`{field}` may come as `{new}` where `{old}` is expected")
    } else {
        format!("`{field}` comes as `{new}` where `{old}` is expected")
    };
    selection(schema, of, field, None, &outcome)
}

/// Shows an operation with a fragment that used to match.
pub(super) fn spread(schema: &Schema, of: &str, on: &str, outcome: &str) -> Option<Value> {
    let inner = format!("... on {on} {{ __typename }}");
    Some(json!({ "operation": operation(schema, of, &inner)?, "outcome": outcome }))
}

/// Shows an operation that passes an enum value.
pub(super) fn enum_value(schema: &Schema, of: &str, value: &str) -> Option<Value> {
    through_argument(schema, of, value, "the new schema knows no such value")
}

/// Shows an operation that passes an input object, with one field that it need not have given.
pub(super) fn input(schema: &Schema, of: &str, with: Option<&str>, outcome: &str) -> Option<Value> {
    let text = object(schema, of, with, 0)?;
    through_argument(schema, of, &text, outcome)
}

/// Finds an argument of a type and passes a value through it.
fn through_argument(schema: &Schema, of: &str, value: &str, outcome: &str) -> Option<Value> {
    for (name, holder) in &schema.types {
        for (field, declared) in &holder.fields {
            let Some((argument, input)) = declared.arguments.iter().find(|(_, input)| input.of.name == of)
            else {
                continue;
            };
            let inner = call(schema, field, declared, None, Some((argument, &wrapped(&input.of, value))))?;
            return Some(json!({ "operation": operation(schema, name, &inner)?, "outcome": outcome }));
        }
    }
    None
}

/// Puts a value into as many lists as its type has.
fn wrapped(of: &TypeRef, value: &str) -> String {
    let lists = of.wrappers.iter().filter(|wrapper| **wrapper == Wrapper::List).count();
    format!("{}{value}{}", "[".repeat(lists), "]".repeat(lists))
}

/// Writes the selection of one field, with its required arguments and those asked for.
fn call(
    schema: &Schema,
    name: &str,
    field: &Field,
    extra: Option<&str>,
    fixed: Option<(&str, &str)>,
) -> Option<String> {
    let mut arguments = Vec::new();
    for (argument, input) in &field.arguments {
        match fixed {
            Some((which, value)) if which == argument => arguments.push(format!("{argument}: {value}")),
            _ if input.is_required() || extra == Some(argument.as_str()) => {
                arguments.push(format!("{argument}: {}", sample(schema, &input.of, 0)?));
            }
            _ => {}
        }
    }
    let arguments = if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(", ")) };
    let composite = schema
        .types
        .get(&field.of.name)
        .is_some_and(|of| matches!(of.kind, TypeKind::Object | TypeKind::Interface | TypeKind::Union));
    Some(format!("{name}{arguments}{}", if composite { " { __typename }" } else { "" }))
}

/// Writes the plainest value of a type.
fn sample(schema: &Schema, of: &TypeRef, depth: usize) -> Option<String> {
    if depth > MAX_VALUE_DEPTH {
        return None;
    }
    if of.wrappers.contains(&Wrapper::List) {
        return Some("[]".to_owned());
    }
    Some(match of.name.as_str() {
        "Int" => "1".to_owned(),
        "Float" => "1.5".to_owned(),
        "Boolean" => "true".to_owned(),
        "String" | "ID" => "\"a\"".to_owned(),
        name => match schema.types.get(name)?.kind {
            TypeKind::Enum => schema.types.get(name)?.values.keys().next()?.clone(),
            TypeKind::Input => object(schema, name, None, depth)?,
            TypeKind::Scalar => "\"a\"".to_owned(),
            TypeKind::Object | TypeKind::Interface | TypeKind::Union => return None,
        },
    })
}

fn object(schema: &Schema, name: &str, with: Option<&str>, depth: usize) -> Option<String> {
    let of = schema.types.get(name)?;
    let asked = |field: &str, input: &Input| {
        let only = of.one_of && with.is_none() && of.inputs.keys().next().is_some_and(|first| first == field);
        input.is_required() || with == Some(field) || only
    };
    let mut fields = Vec::new();
    for (field, input) in of.inputs.iter().filter(|(field, input)| asked(field, input)) {
        fields.push(format!("{field}: {}", sample(schema, &input.of, depth + 1)?));
    }
    Some(format!("{{{}}}", fields.join(", ")))
}

/// Leads from a root to a type and puts a selection there.
fn operation(schema: &Schema, of: &str, inner: &str) -> Option<String> {
    let Some((kind, way)) = way_to(schema, of) else {
        return Some(format!("fragment Witness on {of} {{ {inner} }}"));
    };
    let mut text = inner.to_owned();
    for step in way.iter().rev() {
        text = match step {
            Step::Field(holder, name) => {
                let field = schema.types.get(*holder)?.fields.get(*name)?;
                let call = call(schema, name, field, None, None)?;
                let head = call.strip_suffix(" { __typename }").unwrap_or(&call).to_owned();
                format!("{head} {{ {text} }}")
            }
            Step::Narrow(to) => format!("... on {to} {{ {text} }}"),
        };
    }
    Some(format!("{kind} {{ {text} }}"))
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// A field of a type.
    Field(&'a str, &'a str),
    /// A fragment on one of the types that an abstract type may be.
    Narrow(&'a str),
}

/// Finds the shortest way from a root to a type, breadth first.
fn way_to<'a>(schema: &'a Schema, goal: &str) -> Option<(&'a str, Vec<Step<'a>>)> {
    for (kind, root) in &schema.roots {
        let mut came: BTreeMap<&str, (&str, Step<'a>)> = BTreeMap::new();
        let mut waiting = VecDeque::from([root.of.as_str()]);
        while let Some(at) = waiting.pop_front() {
            if at == goal {
                return Some((kind, retrace(&came, &root.of, at)));
            }
            for (next, step) in steps(schema, at) {
                if next != root.of && !came.contains_key(next) {
                    came.insert(next, (at, step));
                    waiting.push_back(next);
                }
            }
        }
    }
    None
}

fn steps<'a>(schema: &'a Schema, at: &'a str) -> Vec<(&'a str, Step<'a>)> {
    let Some(of) = schema.types.get(at) else { return Vec::new() };
    let composite = |name: &&str| schema.types.contains_key(*name);
    let fields = of.fields.iter().map(|(name, field)| (field.of.name.as_str(), Step::Field(at, name)));
    let mut steps: Vec<_> = fields.filter(|(next, _)| composite(next)).collect();
    steps.extend(of.members.iter().map(|member| (member.as_str(), Step::Narrow(member))));
    if of.kind == TypeKind::Interface {
        let types = schema.types.iter().filter(|(_, one)| one.interfaces.contains(at));
        steps.extend(types.map(|(name, _)| (name.as_str(), Step::Narrow(name))));
    }
    steps
}

fn retrace<'a>(came: &BTreeMap<&str, (&'a str, Step<'a>)>, root: &str, goal: &str) -> Vec<Step<'a>> {
    let mut way = Vec::new();
    let mut at = goal;
    while at != root {
        let Some((from, step)) = came.get(at) else { break };
        way.push(*step);
        at = from;
    }
    way.reverse();
    way
}
