//! A GraphQL schema put together from definitions and extensions over any number of files.
//!
//! Names that are not defined are left as they are: partial schemas are compared as far as they go.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    ast::{Definition, TypeDefinition, TypeKind, TypeRef, marks},
    introspection, parser,
};
use crate::{InputError, Location, Source, text::utf8};

/// Directives that every server has; writing them out says nothing.
const WRITTEN_OUT: [&str; 5] = ["skip", "include", "deprecated", "specifiedBy", "oneOf"];

/// True for the scalars that every server has; writing them out says nothing.
fn is_built_in(scalar: &str) -> bool {
    matches!(scalar, "Int" | "Float" | "String" | "Boolean" | "ID")
}

/// Where an element is declared.
#[derive(Debug, Clone)]
pub(super) struct Position {
    file: Rc<str>,
    line: u32,
}

impl Position {
    pub(super) fn new(file: &Rc<str>, line: u32) -> Self {
        Self { file: file.clone(), line }
    }

    pub(super) fn location(&self) -> Location {
        Location { file: self.file.to_string(), line: self.line }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub(super) types: BTreeMap<String, Type>,
    pub(super) directives: BTreeMap<String, DirectiveType>,
    /// Root types by kind of operation.
    pub(super) roots: BTreeMap<String, Root>,
    /// Directives that are known to matter, by what they stand on.
    pub(super) marks: BTreeMap<String, (String, Position)>,
}

impl Schema {
    /// True when there is something of this place: a type, a field or value of one, an argument, a directive, or the whole.
    pub(super) fn has(&self, place: &str) -> bool {
        let mut parts = place.split('.');
        let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        if first == "schema" {
            return true;
        }
        if let Some(directive) = first.strip_prefix('@') {
            let found = self.directives.get(directive);
            return found
                .is_some_and(|one| second.is_none_or(|argument| one.arguments.contains_key(argument)));
        }
        let Some(of) = self.types.get(first) else { return false };
        match (second, third) {
            (None, _) => true,
            (Some(name), None) => {
                of.fields.contains_key(name) || of.inputs.contains_key(name) || of.values.contains_key(name)
            }
            (Some(name), Some(argument)) => {
                of.fields.get(name).is_some_and(|field| field.arguments.contains_key(argument))
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Root {
    pub(super) of: String,
    pub(super) position: Position,
}

#[derive(Debug)]
pub(super) struct Type {
    pub(super) kind: TypeKind,
    pub(super) fields: BTreeMap<String, Field>,
    pub(super) inputs: BTreeMap<String, Input>,
    pub(super) values: BTreeMap<String, Value>,
    pub(super) interfaces: BTreeSet<String>,
    pub(super) members: BTreeSet<String>,
    pub(super) one_of: bool,
    pub(super) position: Position,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) arguments: BTreeMap<String, Input>,
    pub(super) of: TypeRef,
    pub(super) deprecated: bool,
    pub(super) position: Position,
}

/// An argument or an input field.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) of: TypeRef,
    pub(super) default: Option<String>,
    pub(super) deprecated: bool,
    pub(super) position: Position,
}

impl Input {
    /// True when leaving it out is an error.
    pub(super) fn is_required(&self) -> bool {
        self.default.is_none() && self.of.wrappers.first() == Some(&super::ast::Wrapper::NonNull)
    }
}

#[derive(Debug)]
pub(super) struct Value {
    pub(super) deprecated: bool,
    pub(super) position: Position,
}

#[derive(Debug)]
pub(super) struct DirectiveType {
    pub(super) arguments: BTreeMap<String, Input>,
    pub(super) locations: BTreeSet<String>,
    pub(super) repeatable: bool,
    pub(super) position: Position,
}

/// Parses every file of a source.
///
/// # Errors
/// Each file that is not text or not GraphQL, with its line.
pub(super) fn definitions(source: &Source) -> Result<Vec<(Rc<str>, Definition)>, Vec<InputError>> {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for (path, content) in source.files() {
        let file: Rc<str> = path.into();
        match read(path, content) {
            Ok(definitions) => {
                all.extend(definitions.into_iter().map(|definition| (file.clone(), definition)));
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

fn read(path: &str, content: &[u8]) -> Result<Vec<Definition>, InputError> {
    let text = utf8(path, content)?;
    if introspection::is_introspection(text) {
        return introspection::read(path, content);
    }
    parser::parse(text).map_err(|error| InputError::new(path, error.message).on_line(error.line))
}

/// Reads a source into a schema; operations and fragments in it are ignored.
///
/// # Errors
/// All parse errors, and whatever is defined twice.
pub(super) fn load(source: &Source) -> Result<Schema, Vec<InputError>> {
    let mut builder = Builder::default();
    let all = definitions(source)?;
    let (extensions, first): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|(_, definition)| matches!(definition, Definition::Type(one) if one.extends));
    for (file, definition) in first.into_iter().chain(extensions) {
        builder.add(&file, definition);
    }
    builder.finish()
}

#[derive(Default)]
struct Builder {
    schema: Schema,
    errors: Vec<InputError>,
}

impl Builder {
    fn add(&mut self, file: &Rc<str>, definition: Definition) {
        match definition {
            Definition::Schema(roots, directives) => {
                self.mark("schema", &marks(&directives), file, 1);
                for (kind, of, line) in roots {
                    let root = Root { of, position: Position::new(file, line) };
                    let place = (&*format!("schema.{kind}"), line);
                    let mut twice = Twice { file, errors: &mut self.errors };
                    twice.insert(&mut self.schema.roots, "root", place, kind, root);
                }
            }
            Definition::Type(definition) => self.add_type(file, definition),
            Definition::Directive(definition) if WRITTEN_OUT.contains(&definition.name.as_str()) => {}
            Definition::Directive(definition) => {
                self.mark_inputs(&format!("@{}", definition.name), &definition.arguments, file);
                let owner = format!("@{}", definition.name);
                let mut twice = Twice { file, errors: &mut self.errors };
                let directive = DirectiveType {
                    arguments: twice.inputs(&owner, "argument", definition.arguments),
                    locations: definition.locations.into_iter().collect(),
                    repeatable: definition.repeatable,
                    position: Position::new(file, definition.line),
                };
                if self.schema.directives.insert(definition.name.clone(), directive).is_some() {
                    let message = format!("directive `@{}` is defined twice", definition.name);
                    self.errors.push(InputError::new(&**file, message).on_line(definition.line));
                }
            }
            Definition::Operation(_) | Definition::Fragment(_) => {}
        }
    }

    fn add_type(&mut self, file: &Rc<str>, definition: TypeDefinition) {
        let (name, line) = (definition.name.clone(), definition.line);
        if definition.kind == TypeKind::Scalar && is_built_in(&name) {
            return;
        }
        let known = self.schema.types.contains_key(&name);
        if known && !definition.extends {
            let message = format!("type `{name}` is defined twice");
            self.errors.push(InputError::new(&**file, message).on_line(line));
            return;
        }
        let kind = definition.kind;
        let of = self.schema.types.entry(name).or_insert_with(|| Type {
            kind,
            fields: BTreeMap::new(),
            inputs: BTreeMap::new(),
            values: BTreeMap::new(),
            interfaces: BTreeSet::new(),
            members: BTreeSet::new(),
            one_of: false,
            position: Position::new(file, line),
        });
        if of.kind != kind {
            let message = format!(
                "`{}` is a {} and cannot be extended as a {}",
                definition.name,
                of.kind.name(),
                kind.name()
            );
            self.errors.push(InputError::new(&**file, message).on_line(line));
            return;
        }
        self.mark_parts(file, &definition);
        if let Some(of) = self.schema.types.get_mut(&definition.name) {
            merge(of, definition, &mut Twice { file, errors: &mut self.errors });
        }
    }

    fn mark_parts(&mut self, file: &Rc<str>, definition: &TypeDefinition) {
        let name = &definition.name;
        self.mark(name, &marks(&definition.directives), file, definition.line);
        for field in &definition.fields {
            let place = format!("{name}.{}", field.name);
            self.mark(&place, &field.marks, file, field.line);
            self.mark_inputs(&place, &field.arguments, file);
        }
        for value in &definition.values {
            self.mark(&format!("{name}.{}", value.name), &value.marks, file, value.line);
        }
        self.mark_inputs(name, &definition.inputs, file);
    }

    fn mark_inputs(&mut self, owner: &str, inputs: &[super::ast::InputValue], file: &Rc<str>) {
        for input in inputs {
            self.mark(&format!("{owner}.{}", input.name), &input.marks, file, input.line);
        }
    }

    fn mark(&mut self, place: &str, marks: &str, file: &Rc<str>, line: u32) {
        if !marks.is_empty() {
            let known = self
                .schema
                .marks
                .entry(place.to_owned())
                .or_insert_with(|| (String::new(), Position::new(file, line)));
            known.0.push_str(marks);
        }
    }

    fn finish(mut self) -> Result<Schema, Vec<InputError>> {
        if self.schema.roots.is_empty() {
            for (kind, name) in
                [("query", "Query"), ("mutation", "Mutation"), ("subscription", "Subscription")]
            {
                if let Some(of) = self.schema.types.get(name).filter(|of| of.kind == TypeKind::Object) {
                    let root = Root { of: name.to_owned(), position: of.position.clone() };
                    self.schema.roots.insert(kind.to_owned(), root);
                }
            }
        }
        if self.errors.is_empty() { Ok(self.schema) } else { Err(self.errors) }
    }
}

fn merge(of: &mut Type, definition: TypeDefinition, twice: &mut Twice<'_>) {
    let name = &definition.name;
    of.interfaces.extend(definition.interfaces);
    of.members.extend(definition.members);
    let known = twice.inputs(name, "input field", definition.inputs);
    for (input, declared) in known {
        let (place, line) = (format!("{name}.{input}"), declared.position.line);
        twice.insert(&mut of.inputs, "input field", (&place, line), input, declared);
    }
    of.one_of |= definition.directives.iter().any(|directive| directive.name == "oneOf");
    for value in definition.values {
        let declared =
            Value { deprecated: value.deprecated, position: Position::new(twice.file, value.line) };
        let place = format!("{name}.{}", value.name);
        twice.insert(&mut of.values, "value", (&place, value.line), value.name, declared);
    }
    for field in definition.fields {
        let place = format!("{name}.{}", field.name);
        let declared = Field {
            arguments: twice.inputs(&place, "argument", field.arguments),
            of: field.of,
            deprecated: field.deprecated,
            position: Position::new(twice.file, field.line),
        };
        twice.insert(&mut of.fields, "field", (&place, field.line), field.name, declared);
    }
}

/// Refuses what is defined twice: which of the two counts is anybody's guess.
struct Twice<'b> {
    file: &'b Rc<str>,
    errors: &'b mut Vec<InputError>,
}

impl Twice<'_> {
    fn insert<T>(
        &mut self,
        all: &mut BTreeMap<String, T>,
        word: &str,
        (place, line): (&str, u32),
        name: String,
        declared: T,
    ) {
        if all.insert(name, declared).is_some() {
            let message = format!("{word} `{place}` is defined twice");
            let error = InputError::new(&**self.file, message).on_line(line);
            self.errors.push(error.with_hint("remove one of the two definitions"));
        }
    }

    fn inputs(
        &mut self,
        owner: &str,
        word: &str,
        values: Vec<super::ast::InputValue>,
    ) -> BTreeMap<String, Input> {
        let mut all = BTreeMap::new();
        for value in values {
            let input = Input {
                of: value.of,
                default: value.default.map(|value| value.to_string()),
                deprecated: value.deprecated,
                position: Position::new(self.file, value.line),
            };
            let place = format!("{owner}.{}", value.name);
            self.insert(&mut all, word, (&place, value.line), value.name, input);
        }
        all
    }
}
