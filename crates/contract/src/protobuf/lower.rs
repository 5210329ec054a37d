//! Lowers decoded descriptors into a [`Schema`].
//!
//! It resolves features, oneofs, maps and positions, and proves that every referenced type exists. It does not judge.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    descriptor::{EnumProto, FileProto, FileSet, MessageProto, RangeProto, ServiceProto},
    features::{Features, Syntax},
    lines::Lines,
    schema::{
        Cardinality, EnumType, EnumValue, FileFacts, Kind, MessageType, Method, Position, Ranges, Schema,
        Service,
    },
};

mod fields;

use fields::is_map;

/// Field numbers inside `descriptor.proto`, the steps of a source path.
mod step {
    pub(super) const FILE_MESSAGE: i32 = 4;
    pub(super) const FILE_ENUM: i32 = 5;
    pub(super) const FILE_SERVICE: i32 = 6;
    pub(super) const FILE_EXTENSION: i32 = 7;
    pub(super) const MESSAGE_FIELD: i32 = 2;
    pub(super) const MESSAGE_MESSAGE: i32 = 3;
    pub(super) const MESSAGE_ENUM: i32 = 4;
    pub(super) const MESSAGE_EXTENSION: i32 = 6;
    pub(super) const ENUM_VALUE: i32 = 2;
    pub(super) const SERVICE_METHOD: i32 = 2;
}

/// A descriptor that contradicts itself; a compiler would have refused its source.
#[derive(Debug, thiserror::Error)]
pub(super) enum LowerError {
    #[error("`{place}` refers to `{name}`, which is not in the given files")]
    UnknownType { file: String, line: Option<u32>, place: String, name: String },
    #[error("`{place}` has type number {number}, which protobuf does not define")]
    UnknownKind { file: String, line: Option<u32>, place: String, number: i32 },
    #[error("`{place}` is declared twice")]
    Duplicate { file: String, line: Option<u32>, place: String },
}

impl LowerError {
    /// Gives the file and line of the element at fault.
    pub(super) fn position(&self) -> (&str, Option<u32>) {
        match self {
            Self::UnknownType { file, line, .. }
            | Self::UnknownKind { file, line, .. }
            | Self::Duplicate { file, line, .. } => (file, *line),
        }
    }
}

/// Lowers all files; `given` says which of them the caller owns (the others are the well-known ones).
pub(super) fn lower(
    set: &FileSet,
    lines: &BTreeMap<String, Lines>,
    given: impl Fn(&str) -> bool,
) -> Result<Schema, LowerError> {
    let mut schema = Schema::default();
    for file in &set.file {
        let name: Rc<str> = file.name.as_str().into();
        match Syntax::of(file) {
            Ok(syntax) => {
                let lines = lines.get(&file.name);
                FileLowering { file, name: &name, syntax, lines, schema: &mut schema }.run(given(&name))?;
            }
            Err(unknown) => {
                let position = Position { file: name, line: None };
                schema.not_checked.push((position, format!("{unknown} is not known")));
            }
        }
    }
    check_references(&schema)?;
    Ok(schema)
}

struct FileLowering<'a> {
    file: &'a FileProto,
    name: &'a Rc<str>,
    syntax: Syntax,
    lines: Option<&'a Lines>,
    schema: &'a mut Schema,
}

impl<'a> FileLowering<'a> {
    fn run(mut self, given: bool) -> Result<(), LowerError> {
        let file = self.file;
        let features = Features::of_file(self.syntax, file.options.as_ref());
        let mut path = Vec::new();
        for (index, message) in file.message_type.iter().enumerate() {
            self.at(&mut path, step::FILE_MESSAGE, index, |it, path| {
                it.message(message, &file.package, features, path)
            })?;
        }
        for (index, declared) in file.enum_type.iter().enumerate() {
            self.at(&mut path, step::FILE_ENUM, index, |it, path| {
                it.enumeration(declared, &file.package, features, path)
            })?;
        }
        for (index, extension) in file.extension.iter().enumerate() {
            self.at(&mut path, step::FILE_EXTENSION, index, |it, path| {
                it.extension(extension, &file.package, features, path)
            })?;
        }
        for (index, service) in file.service.iter().enumerate() {
            self.at(&mut path, step::FILE_SERVICE, index, |it, path| it.service(service, path))?;
        }
        let facts = FileFacts {
            package: file.package.clone(),
            syntax: self.syntax,
            options: file.options.clone().unwrap_or_default(),
            given,
        };
        self.schema.files.insert(self.name.clone(), facts);
        Ok(())
    }

    /// Runs a step one level deeper in the source path.
    fn at<T>(
        &mut self,
        path: &mut Vec<i32>,
        kind: i32,
        index: usize,
        run: impl FnOnce(&mut Self, &mut Vec<i32>) -> T,
    ) -> T {
        path.push(kind);
        path.push(i32::try_from(index).unwrap_or(i32::MAX));
        let result = run(self, path);
        path.truncate(path.len() - 2);
        result
    }

    fn position(&self, path: &[i32]) -> Position {
        Position { file: self.name.clone(), line: self.lines.and_then(|lines| lines.get(path)) }
    }

    fn message(
        &mut self,
        proto: &MessageProto,
        scope: &str,
        outer: Features,
        path: &mut Vec<i32>,
    ) -> Result<(), LowerError> {
        let name = qualified(scope, &proto.name);
        let options = proto.options.clone().unwrap_or_default();
        let features = outer.with(options.features.as_ref());
        let position = self.position(path);
        let synthetic = synthetic_oneofs(proto);
        let oneof = |index: i32| {
            let index = usize::try_from(index).ok()?;
            let declared = proto.oneof_decl.get(index)?;
            (!synthetic.contains(&index)).then(|| declared.name.clone())
        };
        let mut fields = BTreeMap::new();
        for (index, field) in proto.field.iter().enumerate() {
            let lowered = self.at(path, step::MESSAGE_FIELD, index, |it, path| {
                let mut lowered = it.field(field, &name, features, path)?;
                lowered.oneof = field.oneof_index.and_then(oneof);
                if is_map(proto, field) {
                    lowered.cardinality = Cardinality::Map;
                }
                Ok::<_, LowerError>(lowered)
            })?;
            if let Some(earlier) = fields.insert(field.number, lowered) {
                return Err(
                    self.duplicate(&earlier.position, format!("{name}: field number {}", field.number))
                );
            }
        }
        let lowered = MessageType {
            fields,
            oneofs: (0..)
                .zip(&proto.oneof_decl)
                .filter(|(index, _)| !synthetic.contains(index))
                .map(|(_, one)| one.name.clone())
                .collect(),
            reserved: exclusive(&proto.reserved_range),
            reserved_names: proto.reserved_name.iter().cloned().collect(),
            extension_ranges: exclusive(&proto.extension_range),
            map_entry: options.map_entry,
            message_set: options.message_set_wire_format,
            no_standard_accessor: options.no_standard_descriptor_accessor,
            json_allowed: features.json_allowed,
            deprecated: options.deprecated,
            position: position.clone(),
        };
        if self.schema.messages.insert(name.clone(), lowered).is_some() {
            return Err(self.duplicate(&position, name));
        }
        self.nested(proto, &name, features, path)
    }

    fn nested(
        &mut self,
        proto: &MessageProto,
        name: &str,
        features: Features,
        path: &mut Vec<i32>,
    ) -> Result<(), LowerError> {
        for (index, nested) in proto.nested_type.iter().enumerate() {
            self.at(path, step::MESSAGE_MESSAGE, index, |it, path| it.message(nested, name, features, path))?;
        }
        for (index, nested) in proto.enum_type.iter().enumerate() {
            self.at(path, step::MESSAGE_ENUM, index, |it, path| {
                it.enumeration(nested, name, features, path)
            })?;
        }
        for (index, nested) in proto.extension.iter().enumerate() {
            self.at(path, step::MESSAGE_EXTENSION, index, |it, path| {
                it.extension(nested, name, features, path)
            })?;
        }
        Ok(())
    }

    fn enumeration(
        &mut self,
        proto: &EnumProto,
        scope: &str,
        outer: Features,
        path: &mut Vec<i32>,
    ) -> Result<(), LowerError> {
        let name = qualified(scope, &proto.name);
        let features = outer.with(proto.options.as_ref().and_then(|options| options.features.as_ref()));
        let position = self.position(path);
        let mut values: BTreeMap<i32, Vec<EnumValue>> = BTreeMap::new();
        for (index, value) in proto.value.iter().enumerate() {
            let position = self.at(path, step::ENUM_VALUE, index, |it, path| it.position(path));
            let value_named = EnumValue { name: value.name.clone(), position };
            values.entry(value.number).or_default().push(value_named);
        }
        let lowered = EnumType {
            values,
            reserved: Ranges::new(
                proto.reserved_range.iter().map(|range| (range.start, range.end)).collect(),
            ),
            reserved_names: proto.reserved_name.iter().cloned().collect(),
            open: features.enum_open,
            json_allowed: features.json_allowed,
            closed_in_cpp: features.cpp_closed_enum || !features.enum_open,
            closed_in_java: features.java_closed_enum || !features.enum_open,
            position: position.clone(),
        };
        match self.schema.enums.insert(name.clone(), lowered) {
            Some(_) => Err(self.duplicate(&position, name)),
            None => Ok(()),
        }
    }

    fn service(&mut self, proto: &ServiceProto, path: &mut Vec<i32>) -> Result<(), LowerError> {
        let name = qualified(&self.file.package, &proto.name);
        let position = self.position(path);
        let mut methods = BTreeMap::new();
        for (index, method) in proto.method.iter().enumerate() {
            let position = self.at(path, step::SERVICE_METHOD, index, |it, path| it.position(path));
            let options = method.options.clone().unwrap_or_default();
            let lowered = Method {
                input: absolute(&method.input_type),
                output: absolute(&method.output_type),
                client_streaming: method.client_streaming,
                server_streaming: method.server_streaming,
                idempotency: options.idempotency_level,
                deprecated: options.deprecated,
                position,
            };
            methods.insert(method.name.clone(), lowered);
        }
        match self.schema.services.insert(name.clone(), Service { methods, position: position.clone() }) {
            Some(_) => Err(self.duplicate(&position, name)),
            None => Ok(()),
        }
    }

    fn duplicate(&self, position: &Position, place: String) -> LowerError {
        LowerError::Duplicate { file: self.name.to_string(), line: position.line, place }
    }
}

/// Finds the oneofs that a compiler made up for `optional` fields of proto3.
fn synthetic_oneofs(proto: &MessageProto) -> BTreeSet<usize> {
    let optional = proto.field.iter().filter(|field| field.proto3_optional);
    optional.filter_map(|field| usize::try_from(field.oneof_index?).ok()).collect()
}

fn exclusive(ranges: &[RangeProto]) -> Ranges {
    Ranges::new(ranges.iter().map(|range| (range.start, range.end.saturating_sub(1))).collect())
}

fn qualified(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn absolute(name: &str) -> String {
    name.strip_prefix('.').unwrap_or(name).to_owned()
}

fn check_references(schema: &Schema) -> Result<(), LowerError> {
    if !schema.not_checked.is_empty() {
        return Ok(());
    }
    let missing = |position: &Position, place: &str, name: &str| LowerError::UnknownType {
        file: position.file.to_string(),
        line: position.line,
        place: place.to_owned(),
        name: name.to_owned(),
    };
    let fields = schema.messages.values().flat_map(|message| message.fields.values());
    for field in fields.chain(schema.extensions.values()) {
        let (name, known) = match &field.kind {
            Kind::Scalar(_) => continue,
            Kind::Enum(name) => (name, schema.enums.contains_key(name)),
            Kind::Message(name) | Kind::Group(name) => (name, schema.messages.contains_key(name)),
        };
        if !known {
            return Err(missing(&field.position, &field.name, name));
        }
    }
    for method in schema.services.values().flat_map(|service| service.methods.values()) {
        for name in [&method.input, &method.output] {
            if !schema.messages.contains_key(name) {
                return Err(missing(&method.position, "rpc", name));
            }
        }
    }
    Ok(())
}
