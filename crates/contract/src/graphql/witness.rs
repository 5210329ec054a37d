//! Operations that were valid and now are not, or whose answer now surprises.
//!
//! An operation starts at a root of the old schema and takes the shortest way to the place. Where no way leads there, a
//! fragment on the type stands in for it. Required arguments on the way get the plainest value of their type.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::{
    ast::{TypeKind, TypeRef, Wrapper},
    merge::Rival,
    schema::{Field, Input, Schema},
};

/// Input objects may contain each other; real ones are filled within a few levels.
const MAX_VALUE_DEPTH: usize = 8;
/// Values in one operation; more of them show nothing to a person.
const MAX_VALUES: usize = 100;
/// A longer way shows nothing to a person; a fragment stands in for it.
const MAX_WAY: usize = 30;

/// Shows an operation that selects a field, with one argument that it need not have given.
pub(super) fn selection(
    ways: &Ways<'_>,
    of: &str,
    field: &str,
    argument: Option<&str>,
    outcome: &str,
) -> Option<Value> {
    let declared = ways.schema.types.get(of)?.fields.get(field)?;
    let inner = call(ways.schema, field, declared, argument, None)?;
    Some(json!({ "operation": operation(ways, of, &inner)?, "outcome": outcome }))
}

/// Shows an operation whose answer is of a type that the consumer does not expect.
pub(super) fn response(
    ways: &Ways<'_>,
    of: &str,
    field: &str,
    (old, new): (&TypeRef, &TypeRef),
) -> Option<Value> {
    let outcome = if old.name == new.name && old.wrappers.len() != new.wrappers.len() {
        format!("`{field}` may come as `{new}` where `{old}` is expected")
    } else {
        format!("`{field}` comes as `{new}` where `{old}` is expected")
    };
    selection(ways, of, field, None, &outcome)
}

/// Operations that ask for each field and each possible type of what a field answers with.
pub(super) fn inside<'w>(
    ways: &'w Ways<'_>,
    of: &'w str,
    field: &'w str,
    inner: &TypeRef,
    possible: &'w [&'w str],
    outcome: &'w str,
) -> impl Iterator<Item = Value> + use<'w> {
    let schema = ways.schema;
    let declared = schema.types.get(of).and_then(|of| of.fields.get(field));
    let head = declared.and_then(|declared| call(schema, field, declared, None, None));
    let head = head.and_then(|call| call.strip_suffix(" { __typename }").map(str::to_owned));
    let fields = schema.types.get(&inner.name).map(|inner| &inner.fields);
    let fields =
        fields.into_iter().flatten().filter_map(|(name, field)| call(schema, name, field, None, None));
    let fragments = possible.iter().map(|name| format!("... on {name} {{ __typename }}"));
    fields.chain(fragments).take(MAX_VALUES).filter_map(move |part| {
        let text = operation(ways, of, &format!("{} {{ {part} }}", head.as_deref()?))?;
        Some(json!({ "operation": text, "outcome": outcome }))
    })
}

/// Shows an operation with a fragment that used to match.
pub(super) fn spread(ways: &Ways<'_>, of: &str, on: &str, outcome: &str) -> Option<Value> {
    let is_followed = ways.schema.roots.get("subscription").is_some_and(|root| root.of == on);
    let asked = if is_followed {
        let field = plainest_field(ways.schema, on)?;
        call(ways.schema, field, ways.schema.types.get(on)?.fields.get(field)?, None, None)?
    } else {
        "__typename".to_owned()
    };
    let inner = format!("... on {on} {{ {asked} }}");
    Some(json!({ "operation": operation(ways, of, &inner)?, "outcome": outcome }))
}

/// Shows an operation that asks for the fields of one name of two types at once.
pub(super) fn together(ways: &Ways<'_>, rival: &Rival<'_>, field: &str, outcome: &str) -> Option<Value> {
    let part = |of: &str| {
        let asked = chain(ways.schema, of, &rival.way, field)?;
        Some(if of == rival.around { asked } else { format!("... on {of} {{ {asked} }}") })
    };
    let [own, other] = rival.narrowed;
    let inner = format!("{} {}", part(other)?, part(own)?);
    Some(json!({ "operation": operation(ways, rival.around, &inner)?, "outcome": outcome }))
}

/// Writes a field at the end of a way of fields.
fn chain(schema: &Schema, on: &str, way: &[&str], field: &str) -> Option<String> {
    let (name, rest) = way.split_first().map_or((field, None), |(name, rest)| (*name, Some(rest)));
    let declared = schema.types.get(on)?.fields.get(name)?;
    let asked = call(schema, name, declared, None, None)?;
    let Some(rest) = rest else { return Some(asked) };
    let below = chain(schema, &declared.of.name, rest, field)?;
    Some(format!("{} {{ {below} }}", asked.strip_suffix(" { __typename }")?))
}

/// Shows an operation that passes an enum value.
pub(super) fn enum_value(ways: &Ways<'_>, of: &str, value: &str) -> Option<Value> {
    through_argument(ways, of, value, "the new schema knows no such value")
}

/// Shows an operation that passes an input object, with one field that it need not have given.
pub(super) fn input(ways: &Ways<'_>, of: &str, with: Option<&str>, outcome: &str) -> Option<Value> {
    let text = object(ways.schema, of, with, 0, &mut { MAX_VALUES })?;
    through_argument(ways, of, &text, outcome)
}

/// Shows an operation of a kind, with the plainest field of its root: a subscription may not ask for `__typename` alone.
pub(super) fn root(ways: &Ways<'_>, kind: &str, of: &str) -> Option<Value> {
    let outcome = format!("the new schema has no {kind}");
    let field = plainest_field(ways.schema, of)?;
    selection(ways, of, field, None, &outcome)
}

/// The field of a type that asks for least.
fn plainest_field<'s>(schema: &'s Schema, of: &str) -> Option<&'s str> {
    let fields = &schema.types.get(of)?.fields;
    let plain = fields.iter().find(|(_, field)| !field.arguments.values().any(Input::is_required));
    plain.or_else(|| fields.iter().next()).map(|(name, _)| name.as_str())
}

/// Shows an operation that names a type: in a fragment, or as the type of a variable.
pub(super) fn named(ways: &Ways<'_>, name: &str, outcome: &str) -> Option<Value> {
    match ways.schema.types.get(name)?.kind {
        TypeKind::Object | TypeKind::Interface | TypeKind::Union => spread(ways, name, name, outcome),
        TypeKind::Scalar | TypeKind::Enum | TypeKind::Input => {
            let (holder, field, argument) = *ways.takers.get(name)?;
            argument_variable(ways, (holder, field, argument), outcome)
        }
    }
}

/// Shows an operation that passes an argument as a variable of its old type.
pub(super) fn argument_variable(
    ways: &Ways<'_>,
    (of, field, argument): (&str, &str, &str),
    outcome: &str,
) -> Option<Value> {
    let declared = ways.schema.types.get(of)?.fields.get(field)?;
    let inner = call(ways.schema, field, declared, None, Some((argument, "$value")))?;
    let text = operation(ways, of, &inner)?;
    with_variable(&text, &declared.arguments.get(argument)?.of, outcome)
}

/// Shows an operation that passes a field of an input object as a variable of its old type.
pub(super) fn input_variable(ways: &Ways<'_>, of: &str, field: &str, outcome: &str) -> Option<Value> {
    let declared = ways.schema.types.get(of)?;
    let shown = through_argument(ways, of, &object_with(ways, of, (field, "$value"))?, outcome)?;
    with_variable(shown["operation"].as_str()?, &declared.inputs.get(field)?.of, outcome)
}

/// Shows an operation that passes null for an argument.
pub(super) fn argument_null(
    ways: &Ways<'_>,
    (of, field, argument): (&str, &str, &str),
    outcome: &str,
) -> Option<Value> {
    let declared = ways.schema.types.get(of)?.fields.get(field)?;
    let inner = call(ways.schema, field, declared, None, Some((argument, "null")))?;
    Some(json!({ "operation": operation(ways, of, &inner)?, "outcome": outcome }))
}

/// Shows an operation that passes null for a field of an input object.
pub(super) fn input_null(ways: &Ways<'_>, of: &str, field: &str, outcome: &str) -> Option<Value> {
    let shown = object_with(ways, of, (field, "null"))?;
    through_argument(ways, of, &shown, outcome)
}

/// An input object with a value for one field, and the plainest ones for those that are required.
fn object_with(ways: &Ways<'_>, of: &str, (field, value): (&str, &str)) -> Option<String> {
    let declared = ways.schema.types.get(of)?;
    let mut fields = vec![format!("{field}: {value}")];
    let mut budget = MAX_VALUES;
    for (name, input) in declared.inputs.iter().filter(|(name, input)| *name != field && input.is_required())
    {
        fields.push(format!("{name}: {}", sample(ways.schema, &input.of, 0, &mut budget)?));
    }
    Some(format!("{{{}}}", fields.join(", ")))
}

/// Shows an operation that passes two fields of an input object that takes exactly one.
pub(super) fn several(ways: &Ways<'_>, of: &str, outcome: &str) -> Option<Value> {
    let declared = ways.schema.types.get(of)?;
    let mut budget = MAX_VALUES;
    let mut fields = Vec::new();
    for (index, (name, input)) in declared.inputs.iter().enumerate() {
        if index < 2 || input.is_required() {
            fields.push(format!("{name}: {}", sample(ways.schema, &input.of, 0, &mut budget)?));
        }
    }
    through_argument(ways, of, &format!("{{{}}}", fields.join(", ")), outcome)
}

/// Gives an operation a variable; a fragment cannot have one.
fn with_variable(text: &str, of: &TypeRef, outcome: &str) -> Option<Value> {
    if text.starts_with("fragment") {
        return None;
    }
    let operation = text.replacen(" {", &format!(" ($value: {of}) {{"), 1);
    Some(json!({ "operation": operation, "outcome": outcome }))
}

/// Shows an operation with a directive where it may stand, with its required arguments and one that it need not have given.
pub(super) fn directive(schema: &Schema, name: &str, argument: Option<&str>, outcome: &str) -> Option<Value> {
    let declared = schema.directives.get(name)?;
    let mark = mark(schema, name, argument)?;
    let location = declared.locations.iter().find(|location| marked(location, &mark).is_some())?;
    Some(json!({ "operation": marked(location, &mark)?, "outcome": outcome }))
}

/// Shows an operation with a directive in one place, as often as asked for.
pub(super) fn directive_at(
    schema: &Schema,
    name: &str,
    location: &str,
    times: usize,
    outcome: &str,
) -> Option<Value> {
    let mark = vec![mark(schema, name, None)?; times].join(" ");
    Some(json!({ "operation": marked(location, &mark)?, "outcome": outcome }))
}

fn mark(schema: &Schema, name: &str, argument: Option<&str>) -> Option<String> {
    let declared = schema.directives.get(name)?;
    let mut budget = MAX_VALUES;
    let mut given = Vec::new();
    for (known, input) in &declared.arguments {
        if input.is_required() || argument == Some(known.as_str()) {
            given.push(format!("{known}: {}", sample(schema, &input.of, 0, &mut budget)?));
        }
    }
    let given = if given.is_empty() { String::new() } else { format!("({})", given.join(", ")) };
    Some(format!("@{name}{given}"))
}

fn marked(location: &str, mark: &str) -> Option<String> {
    Some(match location {
        "FIELD" => format!("{{ __typename {mark} }}"),
        "QUERY" => format!("query {mark} {{ __typename }}"),
        "INLINE_FRAGMENT" => format!("{{ ... {mark} {{ __typename }} }}"),
        _ => return None,
    })
}

/// Finds an argument of a type and passes a value through it.
fn through_argument(ways: &Ways<'_>, of: &str, value: &str, outcome: &str) -> Option<Value> {
    let (holder, field, argument) = *ways.takers.get(of)?;
    let declared = ways.schema.types.get(holder)?.fields.get(field)?;
    let value = wrapped(&declared.arguments.get(argument)?.of, value);
    let inner = call(ways.schema, field, declared, None, Some((argument, &value)))?;
    Some(json!({ "operation": operation(ways, holder, &inner)?, "outcome": outcome }))
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
    let mut budget = MAX_VALUES;
    for (argument, input) in &field.arguments {
        match fixed {
            Some((which, value)) if which == argument => arguments.push(format!("{argument}: {value}")),
            _ if input.is_required() || extra == Some(argument.as_str()) => {
                arguments.push(format!("{argument}: {}", sample(schema, &input.of, 0, &mut budget)?));
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
fn sample(schema: &Schema, of: &TypeRef, depth: usize, budget: &mut usize) -> Option<String> {
    *budget = budget.checked_sub(1)?;
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
            TypeKind::Input => object(schema, name, None, depth, budget)?,
            TypeKind::Scalar => "\"a\"".to_owned(),
            TypeKind::Object | TypeKind::Interface | TypeKind::Union => return None,
        },
    })
}

fn object(
    schema: &Schema,
    name: &str,
    with: Option<&str>,
    depth: usize,
    budget: &mut usize,
) -> Option<String> {
    let of = schema.types.get(name)?;
    let asked = |field: &str, input: &Input| {
        let only = of.one_of && with.is_none() && of.inputs.keys().next().is_some_and(|first| first == field);
        input.is_required() || with == Some(field) || only
    };
    let mut fields = Vec::new();
    for (field, input) in of.inputs.iter().filter(|(field, input)| asked(field, input)) {
        fields.push(format!("{field}: {}", sample(schema, &input.of, depth + 1, budget)?));
    }
    Some(format!("{{{}}}", fields.join(", ")))
}

/// Leads from a root to a type and puts a selection there.
fn operation(ways: &Ways<'_>, of: &str, inner: &str) -> Option<String> {
    let Some((kind, way)) = ways.to(of) else {
        return Some(format!("fragment Witness on {of} {{ {inner} }}"));
    };
    let mut text = inner.to_owned();
    for step in way.iter().rev() {
        text = match step {
            Step::Field(holder, name) => {
                let field = ways.schema.types.get(*holder)?.fields.get(*name)?;
                let call = call(ways.schema, name, field, None, None)?;
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

/// The kind of operation that reaches a type first, and where its last step came from; a root has none.
type Arrival<'a> = (&'a str, Option<(&'a str, Step<'a>)>);

/// How each type is reached and passed, found once for a schema.
#[derive(Debug)]
pub(super) struct Ways<'a> {
    schema: &'a Schema,
    /// The last step of the shortest way to each type.
    came: BTreeMap<&'a str, Arrival<'a>>,
    /// A type, field and argument that take a value of a type.
    takers: BTreeMap<&'a str, (&'a str, &'a str, &'a str)>,
}

impl<'a> Ways<'a> {
    /// Walks a schema from its roots, breadth first.
    pub(super) fn new(schema: &'a Schema) -> Self {
        let implementors = implementors(schema);
        let mut came = BTreeMap::new();
        for (kind, root) in &schema.roots {
            let mut waiting = VecDeque::new();
            if !came.contains_key(root.of.as_str()) {
                came.insert(root.of.as_str(), (kind.as_str(), None));
                waiting.push_back(root.of.as_str());
            }
            while let Some(at) = waiting.pop_front() {
                for (next, step) in steps(schema, &implementors, at) {
                    if !came.contains_key(next) {
                        came.insert(next, (kind.as_str(), Some((at, step))));
                        waiting.push_back(next);
                    }
                }
            }
        }
        Self { schema, came, takers: takers(schema) }
    }

    /// True when some operation meets values of a type.
    pub(super) fn lead_to(&self, goal: &str) -> bool {
        self.came.contains_key(goal)
    }

    /// Gives the kind of operation and the steps that lead to a type.
    fn to(&self, goal: &str) -> Option<(&'a str, Vec<Step<'a>>)> {
        let mut way = Vec::new();
        let (kind, mut last) = *self.came.get(goal)?;
        while let Some((from, step)) = last {
            if way.len() == MAX_WAY {
                return None;
            }
            way.push(step);
            last = self.came.get(from)?.1;
        }
        way.reverse();
        Some((kind, way))
    }
}

fn takers(schema: &Schema) -> BTreeMap<&str, (&str, &str, &str)> {
    let mut takers = BTreeMap::new();
    for (holder, of) in &schema.types {
        for (field, declared) in &of.fields {
            for (argument, input) in &declared.arguments {
                takers.entry(input.of.name.as_str()).or_insert((
                    holder.as_str(),
                    field.as_str(),
                    argument.as_str(),
                ));
            }
        }
    }
    takers
}

fn implementors(schema: &Schema) -> BTreeMap<&str, Vec<&str>> {
    let mut implementors: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, of) in &schema.types {
        for interface in &of.interfaces {
            implementors.entry(interface).or_default().push(name);
        }
    }
    implementors
}

fn steps<'a>(
    schema: &'a Schema,
    implementors: &BTreeMap<&str, Vec<&'a str>>,
    at: &'a str,
) -> Vec<(&'a str, Step<'a>)> {
    let Some(of) = schema.types.get(at) else { return Vec::new() };
    let fields = of.fields.iter().map(|(name, field)| (field.of.name.as_str(), Step::Field(at, name)));
    let mut steps: Vec<_> = fields.filter(|(next, _)| schema.types.contains_key(*next)).collect();
    steps.extend(of.members.iter().map(|member| (member.as_str(), Step::Narrow(member))));
    let narrower = implementors.get(at).into_iter().flatten();
    steps.extend(narrower.map(|name| (*name, Step::Narrow(name))));
    steps
}
