//! Reads a contract's bytes: a tree of `.proto` files, or a descriptor set.
//!
//! Text is parsed file by file and linked in order of imports, found by our own bounded loop, so that neither a long
//! chain of imports nor a cycle reaches a recursive compiler. Files in a language level that the parser does not know
//! are left out and named in [`Schema::not_checked`]; whatever imports them is left out too.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::FileDescriptorProto;

use super::{
    descriptor::FileSet,
    lines::Lines,
    lower::{LowerError, lower},
    options::keep_plain_options,
    scan::{self, Scan},
    schema::{Position, Schema},
    unread::{self, Unread},
};
use crate::{
    InputError, Source,
    text::{line_at, utf8},
};

/// The largest public tree (all Google APIs) has about 6,000 files.
const MAX_FILES: usize = 20_000;

/// The field of a file descriptor that holds imports, a step of source paths.
const FILE_DEPENDENCY: i32 = 3;

/// Names that people give to descriptor sets.
const SET_ENDINGS: [&str; 6] = [".binpb", ".protoset", ".desc", ".fds", ".pb", ".descriptor"];

/// True when the source holds `.proto` files or a descriptor set.
pub(super) fn looks_like_protobuf(source: &Source) -> bool {
    source.files().any(|(path, _)| path.ends_with(".proto")) || descriptor_set(source).is_some()
}

/// Reads a source into a schema.
///
/// # Errors
/// Everything that keeps the files from being read or linked, with file and line.
pub(super) fn load(source: &Source) -> Result<Schema, Vec<InputError>> {
    check_size(source)?;
    if let Some((path, bytes)) = descriptor_set(source) {
        return load_set(path, bytes);
    }
    let texts: BTreeMap<&str, &[u8]> =
        source.files().filter(|(path, _)| path.ends_with(".proto") && !is_well_known(path)).collect();
    if texts.is_empty() {
        return Err(vec![
            InputError::new("", "there is no .proto file and no descriptor set")
                .with_hint("name a folder of .proto files, or the output of protoc --descriptor_set_out"),
        ]);
    }
    load_texts(&texts)
}

fn check_size(source: &Source) -> Result<(), Vec<InputError>> {
    let files = source.files().count();
    if files > MAX_FILES {
        return Err(vec![InputError::new(
            "",
            format!("{files} files, more than the {MAX_FILES} that are read"),
        )]);
    }
    Ok(())
}

/// Finds the file that is a descriptor set, by name or, when it is the only file, by what it holds.
fn descriptor_set(source: &Source) -> Option<(&str, &[u8])> {
    let (path, bytes) = source.entry()?;
    let named = SET_ENDINGS.iter().any(|ending| path.ends_with(ending));
    let holds_files = || {
        FileSet::decode(bytes).is_ok_and(|set| {
            !set.file.is_empty() && set.file.iter().all(|file| file.name.ends_with(".proto"))
        })
    };
    (!path.ends_with(".proto") && (named || holds_files())).then_some((path, bytes))
}

fn load_set(path: &str, bytes: &[u8]) -> Result<Schema, Vec<InputError>> {
    let set = FileSet::decode(bytes).map_err(|error| {
        vec![
            InputError::new(path, format!("not a descriptor set: {error}"))
                .with_hint("make it with protoc --include_imports --descriptor_set_out"),
        ]
    })?;
    let lines = set.file.iter().map(|file| {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        (file.name.clone(), Lines::of(locations.map(|one| (one.path.as_slice(), one.span.as_slice()))))
    });
    let mut schema = lower(&set, &lines.collect(), |name| !is_well_known(name)).map_err(|error| {
        vec![lowering_error(&error).with_hint("make the descriptor set with --include_imports")]
    })?;
    schema.unread = unread::collect(bytes, |name| !is_well_known(name));
    Ok(schema)
}

fn lowering_error(error: &LowerError) -> InputError {
    let (file, line) = error.position();
    let input = InputError::new(file, error.to_string());
    match line {
        Some(line) => input.on_line(line),
        None => input,
    }
}

/// True for the files that come with every compiler.
fn is_well_known(path: &str) -> bool {
    path.contains("google/protobuf/")
        && DescriptorPool::global().files().any(|file| {
            path.strip_suffix(file.name()).is_some_and(|root| root.is_empty() || root.ends_with('/'))
        })
}

/// Gives the well-known files that others import, directly or not, in order of their own imports.
fn well_known_imports<'a>(files: impl Iterator<Item = &'a FileDescriptorProto>) -> Vec<FileDescriptorProto> {
    let mut waiting: Vec<String> = files.flat_map(|file| &file.dependency).cloned().collect();
    if waiting.is_empty() {
        return Vec::new();
    }
    let all = DescriptorPool::global();
    let mut needed = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        let Some(file) = all.get_file_by_name(&name) else { continue };
        if needed.insert(name) {
            waiting.extend(file.file_descriptor_proto().dependency.iter().cloned());
        }
    }
    let files = all.files().filter(|file| needed.contains(file.name()));
    files.map(|file| file.file_descriptor_proto().clone()).collect()
}

/// The parsed files of one tree, before they are linked.
#[derive(Default)]
struct Tree {
    parsed: BTreeMap<String, FileDescriptorProto>,
    lines: BTreeMap<String, Lines>,
    left_out: BTreeMap<String, (Option<u32>, String)>,
    /// Imports that are not given: often files of custom options, which no one misses.
    missing: BTreeMap<String, InputError>,
    errors: Vec<InputError>,
    /// Options that are dropped before linking and are not known to be harmless.
    dropped: Unread,
}

fn load_texts(texts: &BTreeMap<&str, &[u8]>) -> Result<Schema, Vec<InputError>> {
    let mut tree = Tree::read(texts);
    let order = tree.link_order();
    if !tree.errors.is_empty() {
        return Err(tree.errors);
    }
    let mut schema = link(&mut tree, &order)?;
    schema.not_checked.extend(
        tree.left_out
            .into_iter()
            .map(|(path, (line, reason))| (Position { file: path.as_str().into(), line }, reason)),
    );
    Ok(schema)
}

/// Links the descriptors of a source, where that is possible.
pub(super) fn pool(source: &Source) -> Option<DescriptorPool> {
    if let Some((_, bytes)) = descriptor_set(source) {
        return DescriptorPool::decode(bytes).ok();
    }
    let texts = source.files().filter(|(path, _)| path.ends_with(".proto") && !is_well_known(path)).collect();
    let mut tree = Tree::read(&texts);
    let order = tree.link_order();
    link_pool(&mut tree, &order).ok()
}

fn link_pool(tree: &mut Tree, order: &[String]) -> Result<DescriptorPool, Vec<InputError>> {
    let mut pool = DescriptorPool::new();
    let mut errors = Vec::new();
    for file in well_known_imports(tree.parsed.values()) {
        if let Err(error) = pool.add_file_descriptor_proto(file) {
            errors.push(InputError::new("", error.to_string()));
        }
    }
    for name in tree.missing.keys() {
        let stand_in = FileDescriptorProto { name: Some(name.clone()), ..FileDescriptorProto::default() };
        if let Err(error) = pool.add_file_descriptor_proto(stand_in) {
            errors.push(InputError::new(name.clone(), error.to_string()));
        }
    }
    for path in order {
        let Some(file) = tree.parsed.remove(path) else { continue };
        if let Err(error) = pool.add_file_descriptor_proto(file) {
            let input = InputError::new(error.file().unwrap_or(path), error.to_string());
            let line = tree.lines.get(path).and_then(|lines| lines.nearest(error.path()?));
            errors.push(match line {
                Some(line) => input.on_line(line),
                None => input,
            });
        }
    }
    if !errors.is_empty() {
        return Err(std::mem::take(&mut tree.missing).into_values().chain(errors).collect());
    }
    Ok(pool)
}

fn link(tree: &mut Tree, order: &[String]) -> Result<Schema, Vec<InputError>> {
    let pool = link_pool(tree, order)?;
    let encoded = pool.encode_to_vec();
    let set = FileSet::decode(encoded.as_slice())
        .map_err(|error| vec![InputError::new("", format!("the linked files nest too deeply: {error}"))])?;
    let given: BTreeSet<&str> = order.iter().map(String::as_str).collect();
    let mut schema = lower(&set, &tree.lines, |name| given.contains(name))
        .map_err(|error| vec![lowering_error(&error)])?;
    schema.unread = unread::collect(&encoded, |name| given.contains(name));
    schema.unread.append(&mut tree.dropped);
    Ok(schema)
}

impl Tree {
    fn read(texts: &BTreeMap<&str, &[u8]>) -> Self {
        let mut tree = Self::default();
        for (path, bytes) in texts {
            tree.parse(path, bytes);
        }
        tree.resolve_imports(texts);
        tree
    }

    fn parse(&mut self, path: &str, bytes: &[u8]) {
        let text = match utf8(path, bytes) {
            Ok(text) => text,
            Err(error) => return self.errors.push(error),
        };
        match scan::scan(text) {
            Scan::Edition { line, edition } => {
                let reason = format!(
                    "edition {edition} in .proto text is not read; give a descriptor set made by protoc instead"
                );
                self.left_out.insert(path.to_owned(), (Some(line), reason));
            }
            Scan::TooDeep { line } => {
                let message = format!("nested more than {} levels deep", scan::MAX_DEPTH);
                self.errors.push(InputError::new(path, message).on_line(line));
            }
            Scan::Plain => self.parse_plain(path, text),
        }
    }

    fn parse_plain(&mut self, path: &str, text: &str) {
        match protox_parse::parse(path, text) {
            Ok(mut file) => {
                self.dropped.append(&mut keep_plain_options(&mut file));
                // Positions are most of a file's weight; the linker need not carry them.
                let info = file.source_code_info.take().unwrap_or_default();
                let locations = info.location.iter().map(|one| (one.path.as_slice(), one.span.as_slice()));
                self.lines.insert(path.to_owned(), Lines::of(locations));
                self.parsed.insert(path.to_owned(), file);
            }
            Err(error) => {
                let input = InputError::new(path, error.to_string());
                self.errors.push(match error.span() {
                    Some(span) => input.on_line(line_at(text.as_bytes(), span.start)),
                    None => input,
                });
            }
        }
    }

    /// Rewrites imports to the paths of the files they mean; an import may be relative to any folder above.
    fn resolve_imports(&mut self, texts: &BTreeMap<&str, &[u8]>) {
        let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for path in texts.keys() {
            by_name.entry(path.rsplit('/').next().unwrap_or(path)).or_default().push(path);
        }
        let global = DescriptorPool::global();
        for (path, file) in &mut self.parsed {
            let lines = self.lines.get(path);
            for (index, import) in (0..).zip(&mut file.dependency) {
                if global.get_file_by_name(import).is_some() {
                    continue;
                }
                match find_import(import, path, &by_name) {
                    Some(found) => *import = found.to_owned(),
                    None => {
                        let error = InputError::new(
                            path.clone(),
                            format!("import `{import}` is not in the contract"),
                        );
                        let error = match lines.and_then(|lines| lines.get(&[FILE_DEPENDENCY, index])) {
                            Some(line) => error.on_line(line),
                            None => error,
                        };
                        let error = error.with_hint("give the folder that holds all imported files");
                        self.missing.entry(import.clone()).or_insert(error);
                    }
                }
            }
        }
    }

    /// Orders the files so that imports come first; finds cycles, and leaves out what imports a file left out.
    fn link_order(&mut self) -> Vec<String> {
        let mut order = Vec::with_capacity(self.parsed.len());
        let mut importers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
        for (path, file) in &self.parsed {
            let imports: BTreeSet<&String> =
                file.dependency.iter().filter(|import| self.parsed.contains_key(*import)).collect();
            waiting.insert(path.clone(), imports.len());
            for import in imports {
                importers.entry(import.clone()).or_default().push(path.clone());
            }
        }
        let mut ready: Vec<String> =
            waiting.iter().filter(|(_, count)| **count == 0).map(|(path, _)| path.clone()).rev().collect();
        while let Some(path) = ready.pop() {
            waiting.remove(&path);
            for importer in importers.get(&path).into_iter().flatten() {
                if let Some(count) = waiting.get_mut(importer) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(importer.clone());
                    }
                }
            }
            if !self.leave_out_importer(&path) {
                order.push(path);
            }
        }
        if let Some((path, _)) = waiting.first_key_value() {
            let names: Vec<&str> = waiting.keys().map(String::as_str).take(8).collect();
            let message = format!("imports form a cycle among {}", names.join(", "));
            self.errors.push(InputError::new(path.clone(), message));
        }
        order
    }

    fn leave_out_importer(&mut self, path: &str) -> bool {
        let Some(file) = self.parsed.get(path) else { return true };
        let Some(import) = file.dependency.iter().find(|import| self.left_out.contains_key(*import)) else {
            return false;
        };
        let reason = format!("it imports `{import}`, which is not checked");
        self.left_out.insert(path.to_owned(), (None, reason));
        self.parsed.remove(path);
        true
    }
}

/// Finds the file an import means: the exact path, or the one whose path ends in it and shares most with the importer.
fn find_import<'a>(import: &str, importer: &str, by_name: &BTreeMap<&str, Vec<&'a str>>) -> Option<&'a str> {
    let name = import.rsplit('/').next()?;
    let candidates = by_name.get(name)?;
    if let Some(exact) = candidates.iter().find(|path| **path == import) {
        return Some(exact);
    }
    let ends_in = |path: &&&str| path.strip_suffix(import).is_some_and(|root| root.ends_with('/'));
    let shared = |path: &&&str| path.bytes().zip(importer.bytes()).take_while(|(a, b)| a == b).count();
    candidates.iter().filter(ends_in).max_by_key(shared).copied()
}
