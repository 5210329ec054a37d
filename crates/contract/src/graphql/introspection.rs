//! The answer to an introspection query, in JSON, as definitions.
//!
//! An answer holds what was asked for, and says nothing of the rest: it must have the whole of what the standard query of
//! the specification asks for, else it is an error and no schema with less in it. Directives that are applied are in it
//! only where a server tells them (`appliedDirectives`).

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::ast::{
    Definition, Directive, DirectiveDefinition, EnumValue, FieldDefinition, InputValue, TypeDefinition,
    TypeKind, TypeRef, Value, Wrapper, marks,
};
use super::parser;
use crate::InputError;
use crate::document::Document;

/// The deepest nesting of lists and non-nulls that is followed.
const MAX_WRAPPERS: usize = 100;

/// What an object of an answer may hold beside what is read: nothing that operations or answers depend on.
const HARMLESS: [&str; 3] = ["__typename", "description", "deprecationReason"];

/// The keys of each object that are read.
const SCHEMA: &[&str] =
    &["queryType", "mutationType", "subscriptionType", "types", "directives", "appliedDirectives"];
const TYPE: &[&str] = &[
    "kind",
    "name",
    "fields",
    "inputFields",
    "interfaces",
    "enumValues",
    "possibleTypes",
    "ofType",
    "specifiedByURL",
    "specifiedByUrl",
    "isOneOf",
    "appliedDirectives",
];
const FIELD: &[&str] = &["name", "args", "type", "isDeprecated", "appliedDirectives"];
const INPUT: &[&str] = &["name", "type", "defaultValue", "isDeprecated", "appliedDirectives"];
const ENUM_VALUE: &[&str] = &["name", "isDeprecated", "appliedDirectives"];
const DIRECTIVE: &[&str] =
    &["name", "args", "locations", "isRepeatable", "isDeprecated", "onOperation", "onFragment", "onField"];

/// True when a text is such an answer: a JSON object, which GraphQL text never is.
pub(super) fn is_introspection(text: &str) -> bool {
    let rest = text.trim_start().strip_prefix('{').map(str::trim_start);
    rest.is_some_and(|rest| rest.starts_with('"')) && text.contains("\"__schema\"")
}

/// Reads an answer into definitions.
///
/// # Errors
/// When it is no JSON, an error of the server, or lacks something that the standard query asks for.
pub(super) fn read(path: &str, content: &[u8]) -> Result<Vec<Definition>, InputError> {
    let document = Document::parse(path, content)?;
    let (at, schema) = schema(path, &document.value)?;
    let reader = Reader { path, lines: lines(&document, at, schema) };
    reader.schema(schema, at)
}

/// Finds the schema in an answer as it came, or in its data.
fn schema<'j>(path: &str, whole: &'j Json) -> Result<(&'static str, &'j Json), InputError> {
    let found = ["/data/__schema", "/__schema"].into_iter().find_map(|at| Some((at, whole.pointer(at)?)));
    found.ok_or_else(|| InputError::new(path, "the answer to the introspection query has no `__schema`"))
}

/// The line of each thing that has a name, by its pointer.
fn lines(document: &Document<'_>, at: &str, schema: &Json) -> HashMap<String, u32> {
    let mut pointers = Vec::new();
    name_pointers(schema, at.to_owned(), &mut pointers);
    let lines = document.lines(pointers.iter().map(String::as_str));
    pointers.into_iter().zip(lines).collect()
}

fn name_pointers(value: &Json, at: String, found: &mut Vec<String>) {
    match value {
        Json::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| name_pointers(item, format!("{at}/{index}"), found)),
        Json::Object(members) => {
            for key in ["types", "directives", "fields", "args", "inputFields", "enumValues"] {
                if let Some(items) = members.get(key) {
                    name_pointers(items, format!("{at}/{key}"), found);
                }
            }
            found.push(at);
        }
        _ => {}
    }
}

struct Reader<'p> {
    path: &'p str,
    lines: HashMap<String, u32>,
}

type Read<T> = Result<T, InputError>;

impl Reader<'_> {
    fn schema(&self, schema: &Json, at: &str) -> Read<Vec<Definition>> {
        let members = self.object(schema, at, SCHEMA)?;
        let mut definitions = vec![self.roots(members, at)?];
        for (item, at) in self.list(members, at, "types")? {
            let name = self.text(self.object(item, &at, TYPE)?, &at, "name")?;
            // What every server has, and no operation of a consumer depends on.
            if !name.starts_with("__") {
                definitions.push(Definition::Type(self.of_type(item, &at)?));
            }
        }
        for (item, at) in self.list(members, at, "directives")? {
            definitions.push(Definition::Directive(self.directive(item, &at)?));
        }
        Ok(definitions)
    }

    fn roots(&self, members: &Map<String, Json>, at: &str) -> Read<Definition> {
        let mut roots = Vec::new();
        for (key, kind) in
            [("queryType", "query"), ("mutationType", "mutation"), ("subscriptionType", "subscription")]
        {
            match members.get(key) {
                Some(Json::Null) => {}
                Some(root) => {
                    let name = root.get("name").and_then(Json::as_str);
                    let name = name.ok_or_else(|| self.lacks(at, &format!("{key}.name")))?;
                    roots.push((kind.to_owned(), name.to_owned(), self.line(at)));
                }
                None => return Err(self.lacks(at, key)),
            }
        }
        Ok(Definition::Schema(roots, self.applied(members, at)?))
    }

    fn of_type(&self, item: &Json, at: &str) -> Read<TypeDefinition> {
        let members = self.object(item, at, TYPE)?;
        let kind = self.kind(members, at)?;
        let mut of = TypeDefinition {
            kind,
            extends: false,
            name: self.text(members, at, "name")?,
            interfaces: Vec::new(),
            directives: self.of_directives(members, at)?,
            fields: Vec::new(),
            inputs: Vec::new(),
            values: Vec::new(),
            members: Vec::new(),
            line: self.line(at),
        };
        match kind {
            TypeKind::Scalar => {}
            TypeKind::Object | TypeKind::Interface => {
                of.fields = self.each(members, at, "fields", Self::field)?;
                // Servers of before 2020 have none for interfaces.
                if kind == TypeKind::Object || members.get("interfaces").is_some_and(Json::is_array) {
                    of.interfaces = self.each(members, at, "interfaces", Self::name)?;
                }
            }
            TypeKind::Union => of.members = self.each(members, at, "possibleTypes", Self::name)?,
            TypeKind::Enum => of.values = self.each(members, at, "enumValues", Self::enum_value)?,
            TypeKind::Input => of.inputs = self.each(members, at, "inputFields", Self::input)?,
        }
        Ok(of)
    }

    fn kind(&self, members: &Map<String, Json>, at: &str) -> Read<TypeKind> {
        Ok(match self.text(members, at, "kind")?.as_str() {
            "SCALAR" => TypeKind::Scalar,
            "OBJECT" => TypeKind::Object,
            "INTERFACE" => TypeKind::Interface,
            "UNION" => TypeKind::Union,
            "ENUM" => TypeKind::Enum,
            "INPUT_OBJECT" => TypeKind::Input,
            other => return Err(self.wrong(at, &format!("`{other}` is no kind of a named type"))),
        })
    }

    /// The directives that are known to matter, as SDL would have them.
    fn of_directives(&self, members: &Map<String, Json>, at: &str) -> Read<Vec<Directive>> {
        let mut directives = self.applied(members, at)?;
        let mut note = |name: &str, arguments| {
            if !directives.iter().any(|directive: &Directive| directive.name == name) {
                directives.push(Directive { name: name.to_owned(), arguments });
            }
        };
        if members.get("isOneOf").and_then(Json::as_bool) == Some(true) {
            note("oneOf", Vec::new());
        }
        let url = ["specifiedByURL", "specifiedByUrl"].iter().find_map(|key| members.get(*key)?.as_str());
        if let Some(url) = url {
            note("specifiedBy", vec![("url".to_owned(), Value::Plain(format!("\"{url}\"")))]);
        }
        Ok(directives)
    }

    fn applied(&self, members: &Map<String, Json>, at: &str) -> Read<Vec<Directive>> {
        let Some(applied) = members.get("appliedDirectives").and_then(Json::as_array) else {
            return Ok(Vec::new());
        };
        let argument = |argument: &Json| {
            let name = argument.get("name")?.as_str()?.to_owned();
            Some((name, parser::value(argument.get("value")?.as_str()?).ok()?))
        };
        let directive = |directive: &Json| {
            let name = directive.get("name")?.as_str()?.to_owned();
            let arguments = directive.get("args").and_then(Json::as_array).into_iter().flatten();
            Some(Directive { name, arguments: arguments.map(argument).collect::<Option<_>>()? })
        };
        let directives: Option<Vec<Directive>> = applied.iter().map(directive).collect();
        directives.ok_or_else(|| self.wrong(at, "an applied directive has no name, or no value"))
    }

    fn field(&self, item: &Json, at: &str) -> Read<FieldDefinition> {
        let members = self.object(item, at, FIELD)?;
        Ok(FieldDefinition {
            name: self.text(members, at, "name")?,
            arguments: self.each(members, at, "args", Self::input)?,
            of: self.type_ref(members, at)?,
            deprecated: self.is_deprecated(members, at)?,
            marks: marks(&self.applied(members, at)?),
            line: self.line(at),
        })
    }

    fn input(&self, item: &Json, at: &str) -> Read<InputValue> {
        let members = self.object(item, at, INPUT)?;
        let default = match members.get("defaultValue") {
            Some(Json::Null) => None,
            Some(Json::String(text)) => Some(parser::value(text).map_err(|error| {
                self.wrong(at, &format!("the default `{text}` is no value of GraphQL: {}", error.message))
            })?),
            _ => return Err(self.lacks(at, "defaultValue")),
        };
        Ok(InputValue {
            name: self.text(members, at, "name")?,
            of: self.type_ref(members, at)?,
            default,
            // Servers of before 2023 know no deprecated arguments.
            deprecated: members.get("isDeprecated").and_then(Json::as_bool).unwrap_or_default(),
            marks: marks(&self.applied(members, at)?),
            line: self.line(at),
        })
    }

    fn enum_value(&self, item: &Json, at: &str) -> Read<EnumValue> {
        let members = self.object(item, at, ENUM_VALUE)?;
        Ok(EnumValue {
            name: self.text(members, at, "name")?,
            deprecated: self.is_deprecated(members, at)?,
            marks: marks(&self.applied(members, at)?),
            line: self.line(at),
        })
    }

    fn directive(&self, item: &Json, at: &str) -> Read<DirectiveDefinition> {
        let members = self.object(item, at, DIRECTIVE)?;
        let location = |item: &Json| item.as_str().map(str::to_owned);
        let locations = self.list(members, at, "locations")?.into_iter().map(|(item, _)| location(item));
        Ok(DirectiveDefinition {
            name: self.text(members, at, "name")?,
            arguments: self.each(members, at, "args", Self::input)?,
            repeatable: members.get("isRepeatable").and_then(Json::as_bool).unwrap_or_default(),
            locations: locations.collect::<Option<_>>().ok_or_else(|| self.lacks(at, "locations"))?,
            line: self.line(at),
        })
    }

    fn name(&self, item: &Json, at: &str) -> Read<String> {
        item.get("name").and_then(Json::as_str).map(str::to_owned).ok_or_else(|| self.lacks(at, "name"))
    }

    fn is_deprecated(&self, members: &Map<String, Json>, at: &str) -> Read<bool> {
        members.get("isDeprecated").and_then(Json::as_bool).ok_or_else(|| self.lacks(at, "isDeprecated"))
    }

    /// A type with what is around it; a query that asks less deeply than it nests has cut it off.
    fn type_ref(&self, members: &Map<String, Json>, at: &str) -> Read<TypeRef> {
        let mut wrappers = Vec::new();
        let mut of = members.get("type");
        while wrappers.len() < MAX_WRAPPERS {
            match (of.and_then(|of| of.get("kind")?.as_str()), of.and_then(|of| of.get("name")?.as_str())) {
                (Some("LIST"), _) => wrappers.push(Wrapper::List),
                (Some("NON_NULL"), _) => wrappers.push(Wrapper::NonNull),
                (Some(_), Some(name)) => return Ok(TypeRef { name: name.to_owned(), wrappers }),
                _ => break,
            }
            of = of.and_then(|of| of.get("ofType"));
        }
        Err(self.lacks(at, "the whole of `type`"))
    }

    /// The members of an object, when each of them is known.
    fn object<'j>(&self, item: &'j Json, at: &str, known: &[&str]) -> Read<&'j Map<String, Json>> {
        let members = item.as_object().ok_or_else(|| self.wrong(at, "it is no object"))?;
        let is_known = |key: &&String| known.contains(&key.as_str()) || HARMLESS.contains(&key.as_str());
        match members.keys().find(|key| !is_known(key)) {
            None => Ok(members),
            Some(key) => Err(self.wrong(at, &format!("`{key}` is not known here, so it cannot be compared"))),
        }
    }

    fn each<T>(
        &self,
        members: &Map<String, Json>,
        at: &str,
        key: &str,
        read: impl Fn(&Self, &Json, &str) -> Read<T>,
    ) -> Read<Vec<T>> {
        self.list(members, at, key)?.into_iter().map(|(item, at)| read(self, item, &at)).collect()
    }

    fn list<'j>(&self, members: &'j Map<String, Json>, at: &str, key: &str) -> Read<Vec<(&'j Json, String)>> {
        let items = members.get(key).and_then(Json::as_array).ok_or_else(|| self.lacks(at, key))?;
        Ok(items.iter().enumerate().map(|(index, item)| (item, format!("{at}/{key}/{index}"))).collect())
    }

    fn text(&self, members: &Map<String, Json>, at: &str, key: &str) -> Read<String> {
        let text = members.get(key).and_then(Json::as_str);
        text.map(str::to_owned).ok_or_else(|| self.lacks(at, key))
    }

    fn lacks(&self, at: &str, what: &str) -> InputError {
        self.wrong(at, &format!("the answer to the introspection query has no `{what}`")).with_hint(
            "ask with the whole standard query, deprecated fields, values and arguments included, or give the schema in SDL",
        )
    }

    fn wrong(&self, at: &str, message: &str) -> InputError {
        InputError::new(self.path, format!("{at}: {message}")).on_line(self.line(at))
    }

    fn line(&self, at: &str) -> u32 {
        self.lines.get(at).copied().unwrap_or(1)
    }
}
