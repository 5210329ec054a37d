//! From `.avsc` files to types: names are given their namespaces, and references are followed across files.
//!
//! Invariant: a schema that a conforming reader refuses is an error here, so that nothing is compared that nobody can use.
//! Defaults are the exception: libraries differ, so they are judged where one is needed.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::form::{Field, Form, Named, Primitive, Spot, Symbols, TypeId};
use super::logical::Logical;
use super::schema::{Schema, Type};
use crate::document::Document;
use crate::library::push_token;
use crate::{InputError, Source};

/// What a named type is written as; `error` is a record of protocols.
const NAMED: [&str; 4] = ["record", "error", "enum", "fixed"];

/// Most types of one union: each is compared with each, and nobody chooses among so many.
const MAX_BRANCHES: usize = 1_000;

/// Reads the file to start from with all others beside it, or every file of a tree.
pub(super) fn read(source: &Source) -> Result<Schema<'_>, Vec<InputError>> {
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    for (path, bytes) in source.files() {
        match Document::parse(path, bytes) {
            Ok(document) => documents.push(document),
            Err(error) => errors.push(error),
        }
    }
    if documents.is_empty() && errors.is_empty() {
        errors.push(InputError::new("", "no file to read").with_hint("name an .avsc file"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let entry = source.entry().map(|(path, _)| path.to_owned());
    Reader::new(documents).whole(entry.as_deref())
}

/// Where a schema stands.
#[derive(Clone)]
struct At {
    spot: Spot,
    namespace: String,
}

impl At {
    fn down(&self, tokens: &[&str]) -> Self {
        let mut at = self.clone();
        tokens.iter().for_each(|token| push_token(&mut at.spot.pointer, token));
        at
    }
}

struct Reader<'a> {
    documents: Vec<Document<'a>>,
    types: Vec<Option<Type>>,
    defined: HashMap<String, TypeId>,
    /// Where each name is defined, so that two files may define the same alike.
    values: HashMap<String, (Spot, Value)>,
    /// Names that some document holds: a file is only read for what it defines.
    errors: Vec<(Spot, String, Option<&'static str>)>,
}

impl<'a> Reader<'a> {
    fn new(documents: Vec<Document<'a>>) -> Self {
        Self {
            documents,
            types: Vec::new(),
            defined: HashMap::new(),
            values: HashMap::new(),
            errors: Vec::new(),
        }
    }

    fn whole(mut self, entry: Option<&str>) -> Result<Schema<'a>, Vec<InputError>> {
        let files: Vec<(String, Value)> =
            self.documents.iter().map(|document| (document.file.clone(), document.value.clone())).collect();
        let at = |document| At { spot: Spot { document, pointer: String::new() }, namespace: String::new() };
        for (index, (_, value)) in files.iter().enumerate() {
            self.define(value, &at(index));
        }
        let mut roots = Vec::new();
        for (index, (file, value)) in files.iter().enumerate() {
            let root = self.of(value, &at(index));
            if entry.is_none_or(|entry| entry == file) {
                roots.push(root);
            }
        }
        if !self.errors.is_empty() {
            return Err(self.located());
        }
        let types: Vec<Type> = self.types.into_iter().flatten().collect();
        let mut aliases: HashMap<String, Vec<TypeId>> = HashMap::new();
        for (index, of) in types.iter().enumerate() {
            for alias in of.form.named().into_iter().flat_map(|named| &named.aliases) {
                aliases.entry(alias.clone()).or_default().push(TypeId(index));
            }
        }
        Ok(Schema { documents: self.documents, types, roots, aliases })
    }

    fn located(self) -> Vec<InputError> {
        let errors = self.errors.into_iter().map(|(spot, message, hint)| {
            let document = &self.documents[spot.document];
            let line = document.lines([spot.pointer.as_str()]).first().copied().unwrap_or(1);
            let error = InputError::new(&document.file, message).on_line(line);
            hint.map_or(error.clone(), |hint| error.with_hint(hint))
        });
        errors.collect()
    }

    fn wrong(&mut self, at: &At, message: impl Into<String>) {
        self.errors.push((at.spot.clone(), message.into(), None));
    }

    /// Gives every named type its number, before any reference is followed.
    fn define(&mut self, value: &Value, at: &At) {
        match value {
            Value::Array(branches) => {
                for (index, branch) in branches.iter().enumerate() {
                    self.define(branch, &at.down(&[&index.to_string()]));
                }
            }
            Value::Object(map) => self.define_object(map, at),
            _ => {}
        }
    }

    fn define_object(&mut self, map: &Map<String, Value>, at: &At) {
        let Some(of) = map.get("type") else { return };
        match of.as_str() {
            Some(kind) if NAMED.contains(&kind) => {
                let Some((full, inside)) = full_name(map, at) else { return };
                let id = self.reserve();
                let here = (at.spot.clone(), Value::Object(map.clone()));
                match self.values.get(&full) {
                    Some((other, same)) if other.document == at.spot.document || *same != here.1 => {
                        self.wrong(at, format!("`{full}` is defined twice"));
                    }
                    Some(_) => {}
                    None => {
                        self.values.insert(full.clone(), here);
                        self.defined.insert(full, id);
                    }
                }
                let inside = At { namespace: inside, ..at.clone() };
                let fields = map.get("fields").and_then(Value::as_array).into_iter().flatten();
                for (index, field) in fields.enumerate() {
                    if let Some(of) = field.get("type") {
                        self.define(of, &inside.down(&["fields", &index.to_string(), "type"]));
                    }
                }
            }
            Some("array") => self.define_under(map, "items", at),
            Some("map") => self.define_under(map, "values", at),
            Some(_) => {}
            None => self.define(of, &at.down(&["type"])),
        }
    }

    fn define_under(&mut self, map: &Map<String, Value>, key: &str, at: &At) {
        if let Some(inner) = map.get(key) {
            self.define(inner, &at.down(&[key]));
        }
    }

    fn reserve(&mut self) -> TypeId {
        self.types.push(None);
        TypeId(self.types.len() - 1)
    }

    fn add(&mut self, form: Form, map: Option<&Map<String, Value>>, at: &At) -> TypeId {
        let id = self.reserve();
        self.fill(id, form, map, at);
        id
    }

    fn fill(&mut self, id: TypeId, form: Form, map: Option<&Map<String, Value>>, at: &At) {
        let logical = map.and_then(|map| Logical::of(map, &form));
        let mut said = map.cloned().unwrap_or_default();
        ["fields", "items", "values"].iter().for_each(|part| drop(said.remove(*part)));
        self.types[id.0] = Some(Type { form, logical, spot: at.spot.clone(), said });
    }

    /// A type that stands for one that is wrong; the error is told elsewhere.
    fn nothing(&mut self, at: &At) -> TypeId {
        self.add(Form::Primitive(Primitive::Null), None, at)
    }

    fn of(&mut self, value: &Value, at: &At) -> TypeId {
        match value {
            Value::String(name) => self.reference(name, None, at),
            Value::Array(branches) => self.union(branches, at),
            Value::Object(map) => self.object(map, at),
            _ => {
                self.wrong(at, "a schema is a name, an object or a list of schemas");
                self.nothing(at)
            }
        }
    }

    fn object(&mut self, map: &Map<String, Value>, at: &At) -> TypeId {
        match map.get("type") {
            Some(Value::String(kind)) => match kind.as_str() {
                "record" | "error" => self.record(map, at),
                "enum" => self.symbols(map, at),
                "fixed" => self.fixed(map, at),
                "array" => {
                    let items = self.part(map, "items", at);
                    self.add(Form::Array(items), Some(map), at)
                }
                "map" => {
                    let values = self.part(map, "values", at);
                    self.add(Form::Map(values), Some(map), at)
                }
                name => self.reference(name, Some(map), at),
            },
            Some(inner @ (Value::Object(_) | Value::Array(_))) => {
                if map.contains_key("logicalType") {
                    self.wrong(at, "`logicalType` stands beside a type that is an object or a list, where it has no effect; move it into the type");
                }
                self.of(inner, &at.down(&["type"]))
            }
            _ => {
                self.wrong(at, "a schema needs a `type`");
                self.nothing(at)
            }
        }
    }

    fn part(&mut self, map: &Map<String, Value>, key: &str, at: &At) -> TypeId {
        match map.get(key) {
            Some(inner) => self.of(inner, &at.down(&[key])),
            None => {
                self.wrong(at, format!("`{key}` is missing"));
                self.nothing(at)
            }
        }
    }

    /// A primitive type, or one that is defined elsewhere.
    fn reference(&mut self, name: &str, map: Option<&Map<String, Value>>, at: &At) -> TypeId {
        if let Some(primitive) = Primitive::of(name) {
            return self.add(Form::Primitive(primitive), map, at);
        }
        let within = if name.contains('.') { name.to_owned() } else { qualified(&at.namespace, name) };
        let found = self.defined.get(&within).or_else(|| self.defined.get(name)).copied();
        found.unwrap_or_else(|| {
            let hint = "keep the file that defines it beside this one, or check its namespace";
            self.errors.push((at.spot.clone(), format!("there is no type `{within}`"), Some(hint)));
            self.nothing(at)
        })
    }

    fn union(&mut self, branches: &[Value], at: &At) -> TypeId {
        if branches.len() > MAX_BRANCHES {
            self.wrong(at, format!("the union has more than {MAX_BRANCHES} types"));
            return self.nothing(at);
        }
        let ids: Vec<TypeId> = branches
            .iter()
            .enumerate()
            .map(|(index, branch)| {
                let at = at.down(&[&index.to_string()]);
                if branch.is_array() {
                    self.wrong(&at, "a union may not hold another union");
                }
                self.of(branch, &at)
            })
            .collect();
        let mut seen = HashSet::new();
        for (index, id) in ids.iter().enumerate() {
            let tag = match &self.types[id.0] {
                Some(known) => known.form.tag(),
                // What is being read right now, or defined further down.
                None => format!("#{}", id.0),
            };
            if !seen.insert(tag.clone()) && self.errors.is_empty() {
                self.wrong(&at.down(&[&index.to_string()]), format!("the union has `{tag}` twice"));
            }
        }
        self.add(Form::Union(ids), None, at)
    }

    /// The name of a type that is being defined; an error when it has none.
    fn named(&mut self, map: &Map<String, Value>, at: &At) -> Option<(TypeId, Named, At)> {
        let Some((full, inside)) = full_name(map, at) else {
            self.wrong(at, "a record, enum or fixed needs a `name`");
            return None;
        };
        if !full.split('.').all(is_name) || Primitive::of(&full).is_some() {
            self.wrong(
                at,
                format!("`{full}` is no name: letters, digits and `_` are, with `.` between parts"),
            );
        }
        let id = self.defined.get(&full).copied()?;
        let inside = At { namespace: inside, ..at.clone() };
        let aliases = self.aliases(map, at).into_iter();
        let aliases = aliases
            .map(|alias| if alias.contains('.') { alias } else { qualified(&inside.namespace, &alias) });
        let aliases = aliases.collect();
        Some((id, Named { full, aliases }, inside))
    }

    fn aliases(&mut self, map: &Map<String, Value>, at: &At) -> Vec<String> {
        match map.get("aliases") {
            None => Vec::new(),
            Some(Value::Array(names)) if names.iter().all(Value::is_string) => {
                names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(_) => {
                self.wrong(&at.down(&["aliases"]), "`aliases` is a list of names");
                Vec::new()
            }
        }
    }

    fn record(&mut self, map: &Map<String, Value>, at: &At) -> TypeId {
        let Some((id, named, inside)) = self.named(map, at) else { return self.nothing(at) };
        if self.types[id.0].is_some() {
            return id;
        }
        let Some(fields) = map.get("fields").and_then(Value::as_array) else {
            self.wrong(at, "a record needs `fields`, a list");
            return self.nothing(at);
        };
        let mut names = HashSet::new();
        let mut read = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            let at = inside.down(&["fields", &index.to_string()]);
            if let Some(field) = self.field(field, &at) {
                if !names.insert(field.name.clone()) {
                    self.wrong(&at, format!("`{}` has the field `{}` twice", named.full, field.name));
                }
                read.push(field);
            }
        }
        self.fill(id, Form::Record(named, read), Some(map), at);
        id
    }

    fn field(&mut self, value: &Value, at: &At) -> Option<Field> {
        let named = value.as_object().and_then(|map| Some((map, map.get("name")?.as_str()?)));
        let Some((map, name)) = named.filter(|(_, name)| is_name(name)) else {
            self.wrong(at, "a field needs a `name` of letters, digits and `_`");
            return None;
        };
        let of = self.part(map, "type", at);
        let aliases = self.aliases(map, at);
        let mut said = map.clone();
        said.remove("type");
        Some(Field {
            name: name.to_owned(),
            aliases,
            of,
            default: map.get("default").cloned(),
            spot: at.spot.clone(),
            said,
        })
    }

    fn symbols(&mut self, map: &Map<String, Value>, at: &At) -> TypeId {
        let Some((id, named, _)) = self.named(map, at) else { return self.nothing(at) };
        let list = map.get("symbols").and_then(Value::as_array);
        let texts = list.and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<&str>>>());
        let Some(all) = texts.filter(|texts| texts.iter().all(|text| is_name(text))) else {
            self.wrong(at, "an enum needs `symbols`, a list of names");
            return self.nothing(at);
        };
        let mut seen = HashSet::new();
        if let Some(twice) = all.iter().find(|symbol| !seen.insert(**symbol)) {
            self.wrong(at, format!("`{}` has the symbol `{twice}` twice", named.full));
        }
        let default = map.get("default").and_then(Value::as_str).map(str::to_owned);
        if map.contains_key("default") && default.as_deref().is_none_or(|default| !seen.contains(default)) {
            self.wrong(
                &at.down(&["default"]),
                format!("the default of `{}` is none of its symbols", named.full),
            );
        }
        let all = all.into_iter().map(str::to_owned).collect();
        self.fill(id, Form::Enum(named, Symbols { all, default }), Some(map), at);
        id
    }

    fn fixed(&mut self, map: &Map<String, Value>, at: &At) -> TypeId {
        let Some((id, named, _)) = self.named(map, at) else { return self.nothing(at) };
        match map.get("size").and_then(Value::as_u64) {
            Some(size) => self.fill(id, Form::Fixed(named, size), Some(map), at),
            None => self.wrong(at, "a fixed needs a `size`, a number of bytes"),
        }
        id
    }
}

/// The full name of a type and the namespace inside it.
fn full_name(map: &Map<String, Value>, at: &At) -> Option<(String, String)> {
    let name = map.get("name")?.as_str()?;
    if let Some((namespace, _)) = name.rsplit_once('.') {
        return Some((name.to_owned(), namespace.to_owned()));
    }
    let namespace = map.get("namespace").and_then(Value::as_str).unwrap_or(&at.namespace);
    Some((qualified(namespace, name), namespace.to_owned()))
}

fn qualified(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
}
