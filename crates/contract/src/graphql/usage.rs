//! What known operations use of a schema.
//!
//! An operation uses every field it selects, every argument it passes, every type it names or whose fields it
//! selects. A variable may hold any value of its type, so it uses all of it. What an operation selects that the schema does
//! not have is returned as unknown: such an operation was not made for this schema.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    rc::Rc,
};

use super::{
    ast::{Definition, Directive, Fragment, Operation, Selection, TypeKind, Value},
    schema::{Input, Schema},
};

/// One thing an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Use {
    /// It names the type, selects from it, or passes a value of it.
    Type(String),
    /// A fragment has the type as its condition.
    Condition(String),
    Field(String, String),
    Argument(String, String, String),
    InputField(String, String),
    /// It passes, or receives, the enum value.
    Value(String, String),
    Directive(String),
    DirectiveArgument(String, String),
}

/// All that a set of operations does.
#[derive(Debug, Default)]
pub(super) struct Uses {
    uses: HashSet<Use>,
    /// Places in operations that the schema has no name for: file, line and what.
    pub(super) unknown: Vec<(Rc<str>, u32, String)>,
}

impl Uses {
    pub(super) fn contains(&self, one: &Use) -> bool {
        self.uses.contains(one)
    }

    /// Adds a use.
    pub(super) fn add(&mut self, one: Use) {
        self.uses.insert(one);
    }

    /// Follows every operation through a schema.
    pub(super) fn of(schema: &Schema, documents: &[(Rc<str>, Definition)]) -> Self {
        let fragments = documents
            .iter()
            .filter_map(|(_, definition)| match definition {
                Definition::Fragment(fragment) => Some((fragment.name.as_str(), fragment)),
                _ => None,
            })
            .collect();
        let mut uses = Self::default();
        for (file, definition) in documents {
            if let Definition::Operation(operation) = definition {
                let mut walk =
                    Walk { schema, fragments: &fragments, file, uses: &mut uses, spreads: BTreeSet::new() };
                walk.operation(operation);
            }
        }
        uses
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    fragments: &'a BTreeMap<&'a str, &'a Fragment>,
    file: &'a Rc<str>,
    uses: &'a mut Uses,
    /// Fragments already followed, so that cycles and repeated spreads end.
    spreads: BTreeSet<&'a str>,
}

impl<'a> Walk<'a> {
    fn operation(&mut self, operation: &'a Operation) {
        self.directives(&operation.directives);
        for (_, of) in &operation.variables {
            self.whole_input(&of.name);
        }
        let Some(root) = self.schema.roots.get(&operation.kind) else {
            self.unknown(operation.line, format!("the schema has no {}", operation.kind));
            return;
        };
        self.select(&root.of, &operation.selections);
        // Fragments nest by name, not in the text, so they are followed from a list and not by recursion.
        let mut followed = BTreeSet::new();
        while let Some(name) = self.spreads.difference(&followed).next().copied() {
            followed.insert(name);
            if let Some(fragment) = self.fragments.get(name) {
                self.directives(&fragment.directives);
                self.condition(&fragment.on);
                self.select(&fragment.on, &fragment.selections);
            }
        }
    }

    fn unknown(&mut self, line: u32, what: String) {
        self.uses.unknown.push((self.file.clone(), line, what));
    }

    fn used(&mut self, one: Use) {
        self.uses.add(one);
    }

    fn condition(&mut self, on: &str) {
        self.used(Use::Condition(on.to_owned()));
        self.used(Use::Type(on.to_owned()));
    }

    /// The parser has bounded how deep selections nest.
    fn select(&mut self, on: &str, selections: &'a [Selection]) {
        self.used(Use::Type(on.to_owned()));
        for selection in selections {
            match selection {
                Selection::Field { name, arguments, directives, selections, line } => {
                    self.directives(directives);
                    if !name.starts_with("__") {
                        self.field(on, name, (arguments, selections), *line);
                    }
                }
                Selection::Spread { fragment, directives } => {
                    self.directives(directives);
                    self.spreads.insert(fragment);
                }
                Selection::Inline { on: narrowed, directives, selections } => {
                    self.directives(directives);
                    if let Some(narrowed) = narrowed {
                        self.condition(narrowed);
                    }
                    self.select(narrowed.as_deref().unwrap_or(on), selections);
                }
            }
        }
    }

    fn field(
        &mut self,
        on: &str,
        name: &str,
        (arguments, selections): (&[(String, Value)], &'a [Selection]),
        line: u32,
    ) {
        let Some(field) = self.schema.types.get(on).and_then(|of| of.fields.get(name)) else {
            self.unknown(line, format!("`{on}` has no field `{name}`"));
            return;
        };
        self.used(Use::Field(on.to_owned(), name.to_owned()));
        self.used(Use::Type(field.of.name.clone()));
        for (argument, value) in arguments {
            self.used(Use::Argument(on.to_owned(), name.to_owned(), argument.clone()));
            if let Some(input) = field.arguments.get(argument) {
                self.value(&input.of.name, value);
            } else {
                self.unknown(line, format!("`{on}.{name}` has no argument `{argument}`"));
            }
        }
        self.received(&field.of.name);
        self.select(&field.of.name, selections);
    }

    /// A response may carry any value of an enum.
    fn received(&mut self, name: &str) {
        let Some(of) = self.schema.types.get(name).filter(|of| of.kind == TypeKind::Enum) else { return };
        for value in of.values.keys() {
            self.used(Use::Value(name.to_owned(), value.clone()));
        }
    }

    fn value(&mut self, of: &str, value: &Value) {
        self.used(Use::Type(of.to_owned()));
        match value {
            Value::Variable(_) => self.whole_input(of),
            Value::Plain(_) => {}
            Value::Enum(value) => self.used(Use::Value(of.to_owned(), value.clone())),
            Value::List(values) => values.iter().for_each(|value| self.value(of, value)),
            Value::Object(fields) => {
                let known: Option<&BTreeMap<String, Input>> = self.schema.types.get(of).map(|of| &of.inputs);
                for (field, value) in fields {
                    self.used(Use::InputField(of.to_owned(), field.clone()));
                    if let Some(input) = known.and_then(|known| known.get(field)) {
                        self.value(&input.of.name, value);
                    }
                }
            }
        }
    }

    /// A variable may hold any value of its type.
    fn whole_input(&mut self, of: &str) {
        self.uses.add_input(self.schema, of);
    }

    fn directives(&mut self, directives: &[Directive]) {
        for directive in directives {
            self.used(Use::Directive(directive.name.clone()));
            let known = self.schema.directives.get(&directive.name);
            for (argument, value) in &directive.arguments {
                self.used(Use::DirectiveArgument(directive.name.clone(), argument.clone()));
                if let Some(input) = known.and_then(|known| known.arguments.get(argument)) {
                    self.value(&input.of.name, value);
                }
            }
        }
    }
}
