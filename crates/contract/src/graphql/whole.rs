//! Uses without an operation that shows them: all that a root field, or a value of an input type, may bring along.
//!
//! A consumer that names `Query.order` may select everything below it, pass every argument, and mark it with every
//! directive that may stand in an operation.

use std::collections::{BTreeSet, HashSet};

use super::{
    ast::TypeKind,
    schema::{Field, Schema, Type},
    usage::{Use, Uses},
};

/// Where a directive may stand in an operation.
const IN_OPERATIONS: [&str; 8] = [
    "QUERY",
    "MUTATION",
    "SUBSCRIPTION",
    "FIELD",
    "FRAGMENT_DEFINITION",
    "FRAGMENT_SPREAD",
    "INLINE_FRAGMENT",
    "VARIABLE_DEFINITION",
];

impl Uses {
    /// Adds root fields, named as `Query.order`, with all that consumers can do with them.
    pub(super) fn add_fields(&mut self, schema: &Schema, names: &[String]) {
        let mut waiting = BTreeSet::new();
        for (of, field) in names.iter().filter_map(|name| name.trim().split_once('.')) {
            let Some(declared) = schema.types.get(of).and_then(|of| of.fields.get(field)) else { continue };
            self.add(Use::Type(of.to_owned()));
            self.add_field(schema, (of, field), declared);
            waiting.insert(declared.of.name.clone());
        }
        if !waiting.is_empty() {
            self.add_directives(schema);
        }
        self.add_outputs(schema, waiting);
    }

    /// Adds all values of an input type: what a variable of it may hold.
    pub(super) fn add_input(&mut self, schema: &Schema, of: &str) {
        let mut waiting = vec![of.to_owned()];
        let mut seen = HashSet::new();
        while let Some(name) = waiting.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            self.add(Use::Type(name.clone()));
            let Some(of) = schema.types.get(&name) else { continue };
            self.add_values(&name, of);
            for (field, input) in &of.inputs {
                self.add(Use::InputField(name.clone(), field.clone()));
                waiting.push(input.of.name.clone());
            }
        }
    }

    fn add_field(&mut self, schema: &Schema, (of, field): (&str, &str), declared: &Field) {
        self.add(Use::Field(of.to_owned(), field.to_owned()));
        for (argument, input) in &declared.arguments {
            self.add(Use::Argument(of.to_owned(), field.to_owned(), argument.clone()));
            self.add_input(schema, &input.of.name);
        }
    }

    /// Adds all that answers of these types may hold, at any depth.
    fn add_outputs(&mut self, schema: &Schema, mut waiting: BTreeSet<String>) {
        let mut seen = HashSet::new();
        while let Some(name) = waiting.pop_first() {
            if !seen.insert(name.clone()) {
                continue;
            }
            self.add(Use::Type(name.clone()));
            self.add(Use::Condition(name.clone()));
            let Some(of) = schema.types.get(&name) else { continue };
            self.add_values(&name, of);
            self.add_interfaces(schema, of);
            waiting.extend(of.members.iter().cloned());
            if of.kind == TypeKind::Interface {
                waiting.extend(implementers(schema, &name));
            }
            for (field, declared) in &of.fields {
                self.add_field(schema, (&name, field), declared);
                waiting.insert(declared.of.name.clone());
            }
        }
    }

    /// A fragment may speak of an object by its interfaces; this brings none of their other objects along.
    fn add_interfaces(&mut self, schema: &Schema, of: &Type) {
        for name in &of.interfaces {
            self.add(Use::Type(name.clone()));
            self.add(Use::Condition(name.clone()));
            let declared = schema.types.get(name).into_iter().flat_map(|interface| &interface.fields);
            for (field, declared) in declared {
                self.add_field(schema, (name, field), declared);
            }
        }
    }

    fn add_values(&mut self, name: &str, of: &Type) {
        for value in of.values.keys() {
            self.add(Use::Value(name.to_owned(), value.clone()));
        }
    }

    fn add_directives(&mut self, schema: &Schema) {
        let usable = schema.directives.iter().filter(|(_, directive)| {
            directive.locations.iter().any(|location| IN_OPERATIONS.contains(&location.as_str()))
        });
        for (name, directive) in usable {
            self.add(Use::Directive(name.clone()));
            for (argument, input) in &directive.arguments {
                self.add(Use::DirectiveArgument(name.clone(), argument.clone()));
                self.add_input(schema, &input.of.name);
            }
        }
    }
}

fn implementers<'s>(schema: &'s Schema, interface: &str) -> impl Iterator<Item = String> + use<'s> {
    let interface = interface.to_owned();
    let implementing = schema.types.iter().filter(move |(_, of)| of.interfaces.contains(&interface));
    implementing.map(|(name, _)| name.clone())
}
