//! The documents of one side of a comparison, and what a `$ref` in them leads to.
//!
//! References are followed by URI: into the same document, into other files of the source, to any `$id`, `$anchor` or
//! `$dynamicAnchor`. Nothing is fetched; a reference to something that is not in the source leads nowhere, and the
//! comparison says so. Only files that are referred to are read.

mod uri;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_json::Value;
pub(crate) use uri::percent_decode;

use crate::document::{Document, member, unescaped};
use crate::{InputError, Source};

/// Which documents a reference is resolved against: a file, or a schema with its own `$id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BaseId(u32);

/// What a reference leads to.
#[derive(Debug, Clone)]
pub(crate) struct Target<'l> {
    pub(crate) value: &'l Value,
    pub(crate) document: usize,
    pub(crate) pointer: String,
    pub(crate) base: BaseId,
}

#[derive(Debug)]
struct Base {
    uri: String,
    document: usize,
    pointer: String,
}

/// The files of a contract that its entry leads to, read.
#[derive(Debug)]
pub(crate) struct Library<'a> {
    documents: Vec<Document<'a>>,
    bases: Vec<Base>,
    by_uri: HashMap<String, BaseId>,
    anchors: HashMap<(BaseId, String), (usize, String)>,
    embedded: HashMap<(usize, String), BaseId>,
}

impl<'a> Library<'a> {
    /// Reads the entry and every file it leads to.
    pub(crate) fn load(source: &'a Source) -> Result<Self, Vec<InputError>> {
        let Some((path, bytes)) = source.entry() else {
            return Err(vec![InputError::new("", "no file to start from").with_hint("name one file")]);
        };
        let mut library = Self {
            documents: Vec::new(),
            bases: Vec::new(),
            by_uri: HashMap::new(),
            anchors: HashMap::new(),
            embedded: HashMap::new(),
        };
        let mut errors = Vec::new();
        let mut seen = HashSet::from([path.to_owned()]);
        let mut waiting = vec![(path.to_owned(), bytes)];
        while let Some((path, bytes)) = waiting.pop() {
            match Document::parse(&path, bytes) {
                Ok(document) => {
                    let needed = library.add(document, source.files().nth(1).is_some());
                    let root = if path.starts_with('/') { "/" } else { "" };
                    for path in needed.into_iter().map(|path| format!("{root}{path}")) {
                        if let Some(bytes) = source.get(&path).filter(|_| seen.insert(path.clone())) {
                            waiting.push((path, bytes));
                        }
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(library) } else { Err(errors) }
    }

    /// Adds a document and returns the paths of the files it may refer to.
    fn add(&mut self, document: Document<'a>, follow: bool) -> Vec<String> {
        let index = self.documents.len();
        let uri = uri::of_file(&document.file);
        let base = self.new_base(uri.clone(), index, String::new());
        let mut survey =
            Survey { index, file: uri, follow, ids: document.has_ids(), needed: Vec::new(), library: self };
        if survey.follow || survey.ids {
            survey.walk(&document.value, base, &mut String::new());
        }
        let needed = survey.needed;
        self.documents.push(document);
        needed
    }

    fn new_base(&mut self, uri: String, document: usize, pointer: String) -> BaseId {
        let id = BaseId(u32::try_from(self.bases.len()).unwrap_or(u32::MAX));
        self.by_uri.entry(uri.clone()).or_insert(id);
        self.bases.push(Base { uri, document, pointer });
        id
    }

    /// The document the contract starts in, and the base of its references.
    pub(crate) fn entry(&self) -> Target<'_> {
        let base = self.embedded_base(0, "").unwrap_or(BaseId(0));
        Target { value: &self.documents[0].value, document: 0, pointer: String::new(), base }
    }

    /// The document with this number.
    pub(crate) fn document(&self, index: usize) -> &Document<'a> {
        &self.documents[index]
    }

    /// The base inside a schema at `pointer`, when it has its own `$id`.
    pub(crate) fn embedded_base(&self, document: usize, pointer: &str) -> Option<BaseId> {
        if self.embedded.is_empty() {
            return None;
        }
        self.embedded.get(&(document, pointer.to_owned())).copied()
    }

    /// The value at a place of a document.
    pub(crate) fn at(&self, document: usize, pointer: &str) -> Option<Target<'_>> {
        let file = uri::of_file(&self.documents.get(document)?.file);
        let base = *self.by_uri.get(&file)?;
        let base = self.embedded_base(document, "").unwrap_or(base);
        self.walk_to(document, "", base, pointer)
    }

    /// Follows a reference; `None` when it leads nowhere.
    pub(crate) fn resolve(&self, base: BaseId, reference: &str) -> Option<Target<'_>> {
        let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = if path.is_empty() { base } else { self.find(base, path)? };
        let fragment = decoded(fragment);
        let root = &self.bases[base.0 as usize];
        if fragment.is_empty() || fragment.starts_with('/') {
            return self.walk_to(root.document, &root.pointer, base, &fragment);
        }
        let (document, pointer) = self.anchors.get(&(base, fragment.into_owned()))?;
        self.walk_to(*document, "", base, pointer)
    }

    fn find(&self, base: BaseId, path: &str) -> Option<BaseId> {
        let base = &self.bases[base.0 as usize];
        let file = uri::of_file(&self.documents[base.document].file);
        [uri::resolve(&base.uri, path), uri::resolve(&file, path)]
            .into_iter()
            .find_map(|uri| self.by_uri.get(&uri).copied())
    }

    /// Walks from the value at `start` along `pointer`, changing the base at every `$id` on the way.
    fn walk_to(&self, document: usize, start: &str, base: BaseId, pointer: &str) -> Option<Target<'_>> {
        let mut value = self.documents[document].value.pointer(start)?;
        let mut base = base;
        let mut at = String::with_capacity(start.len() + pointer.len());
        at.push_str(start);
        for token in pointer.split('/').skip(1) {
            let key = unescaped(token);
            value = match value {
                Value::Object(map) => member(map, &key)?,
                Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
                _ => return None,
            };
            at.push('/');
            at.push_str(token);
            base = self.embedded_base(document, &at).unwrap_or(base);
        }
        Some(Target { value, document, pointer: at, base })
    }

    /// True when exactly one `$dynamicAnchor` or `$anchor` has this name, so that scope cannot matter.
    pub(crate) fn is_only_anchor(&self, name: &str) -> bool {
        self.anchors.keys().filter(|(_, anchor)| anchor == name).count() == 1
    }
}

/// Appends one token to a JSON pointer.
pub(crate) fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    if token.bytes().any(|byte| matches!(byte, b'~' | b'/')) {
        pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
    } else {
        pointer.push_str(token);
    }
}

/// A fragment without `%XX`, which hardly any has.
fn decoded(fragment: &str) -> Cow<'_, str> {
    if fragment.contains('%') { percent_decode(fragment).into() } else { fragment.into() }
}

/// One walk over a document that finds its schema ids, anchors and references to other files.
struct Survey<'s, 'a> {
    index: usize,
    file: String,
    follow: bool,
    ids: bool,
    needed: Vec<String>,
    library: &'s mut Library<'a>,
}

impl Survey<'_, '_> {
    fn walk(&mut self, value: &Value, base: BaseId, pointer: &mut String) {
        match value {
            Value::Object(map) => {
                let base = if self.ids { self.identify(map, base, pointer) } else { base };
                if let (true, Some(Value::String(reference))) = (self.follow, map.get("$ref")) {
                    self.need(base, reference);
                }
                if let (true, Some(mapping)) = (self.follow, value.pointer("/discriminator/mapping")) {
                    mapping
                        .as_object()
                        .into_iter()
                        .flatten()
                        .filter_map(|(_, to)| to.as_str())
                        .for_each(|to| self.need(base, to));
                }
                for (key, child) in map {
                    self.descend(key, child, base, pointer);
                }
            }
            Value::Array(items) => {
                for (index, child) in items.iter().enumerate() {
                    self.descend(&index.to_string(), child, base, pointer);
                }
            }
            _ => {}
        }
    }

    fn descend(&mut self, token: &str, child: &Value, base: BaseId, pointer: &mut String) {
        if !matches!(child, Value::Object(_) | Value::Array(_)) {
            return;
        }
        let length = pointer.len();
        push_token(pointer, token);
        self.walk(child, base, pointer);
        pointer.truncate(length);
    }

    fn identify(&mut self, map: &serde_json::Map<String, Value>, base: BaseId, pointer: &str) -> BaseId {
        let text = |key: &str| map.get(key).and_then(Value::as_str);
        let mut base = base;
        match text("$id").or_else(|| text("id").filter(|id| map.contains_key("$schema") && id.contains(':')))
        {
            Some(id) if id.starts_with('#') => self.anchor(base, &id[1..], pointer),
            Some(id) => {
                let uri = uri::resolve(
                    &self.library.bases[base.0 as usize].uri,
                    id.split('#').next().unwrap_or(id),
                );
                base = self.library.new_base(uri, self.index, pointer.to_owned());
                self.library.embedded.insert((self.index, pointer.to_owned()), base);
            }
            None => {}
        }
        for name in [text("$anchor"), text("$dynamicAnchor")].into_iter().flatten() {
            self.anchor(base, name, pointer);
        }
        base
    }

    fn anchor(&mut self, base: BaseId, name: &str, pointer: &str) {
        self.library.anchors.insert((base, name.to_owned()), (self.index, pointer.to_owned()));
    }

    fn need(&mut self, base: BaseId, reference: &str) {
        let path = reference.split('#').next().unwrap_or_default();
        if path.is_empty() {
            return;
        }
        let own = self.library.bases[base.0 as usize].uri.clone();
        for base in [&own, &self.file] {
            self.needed.extend(uri::to_file(&uri::resolve(base, path)));
        }
    }
}
