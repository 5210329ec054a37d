//! YAML 1.2 to a value tree, by the core schema, with merge keys.
//!
//! Only the first document of a stream is read. Aliases are expanded by copying, within [`MAX_COPIED_NODES`].

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_json::{Map, Number, Value};

use super::{MAX_DEPTH, line_number, trie::Trie};

/// How many nodes anchors and aliases may copy in one document: real ones copy a few thousand, an alias bomb billions.
const MAX_COPIED_NODES: usize = 1 << 20;

/// What is wrong with a YAML text, and on which line.
#[derive(Debug)]
pub(super) struct Error {
    pub(super) message: String,
    pub(super) line: u32,
}

impl Error {
    fn new(message: impl Into<String>, mark: Marker) -> Self {
        Self { message: message.into(), line: line_number(mark.line()) }
    }
}

impl From<ScanError> for Error {
    fn from(error: ScanError) -> Self {
        Self::new(format!("not valid YAML: {}", error.info()), *error.marker())
    }
}

/// Reads the first document of `text`.
pub(super) fn parse(text: &str) -> Result<Value, Error> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event?;
        if builder.event(event, span)? == Progress::Done {
            break;
        }
    }
    Ok(builder.root.unwrap_or(Value::Null))
}

#[derive(PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

/// A value with the number of nodes in it.
#[derive(Clone)]
struct Counted {
    value: Value,
    nodes: usize,
}

enum Container {
    Sequence(Vec<Value>),
    Mapping { map: Map<String, Value>, key: Option<String>, merged: Vec<Value> },
}

struct Frame {
    container: Container,
    anchor: usize,
    nodes: usize,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, Counted>,
    copied: usize,
    root: Option<Value>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<Progress, Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.takes_key() {
                    return self.key(&text, style, span.start).map(|()| Progress::More);
                }
                let core = tag.as_ref().is_none_or(|tag| tag.suffix != "str");
                let value =
                    if style == ScalarStyle::Plain && core { plain(&text) } else { text.into_owned().into() };
                self.add(Counted { value, nodes: 1 }, anchor, span.start)?;
            }
            Event::SequenceStart(anchor, _) => {
                self.open(Container::Sequence(Vec::new()), anchor, span.start)?;
            }
            Event::MappingStart(anchor, _) => {
                self.open(
                    Container::Mapping { map: Map::new(), key: None, merged: Vec::new() },
                    anchor,
                    span.start,
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span.start)?,
            Event::Alias(anchor) => {
                let nodes = self.anchors.get(&anchor).map_or(0, |node| node.nodes);
                self.copy(nodes, span.start)?;
                let copy = self.anchors.get(&anchor).cloned();
                let copy =
                    copy.ok_or_else(|| Error::new("an alias to a node that contains it", span.start))?;
                self.add(copy, 0, span.start)?;
            }
            Event::DocumentEnd => return Ok(Progress::Done),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
        Ok(Progress::More)
    }

    /// Counts nodes about to be copied.
    fn copy(&mut self, nodes: usize, mark: Marker) -> Result<(), Error> {
        self.copied = self.copied.saturating_add(nodes);
        if self.copied > MAX_COPIED_NODES {
            return Err(Error::new(format!("aliases copy more than {MAX_COPIED_NODES} nodes"), mark));
        }
        Ok(())
    }

    fn takes_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { container: Container::Mapping { key: None, .. }, .. }))
    }

    fn key(&mut self, text: &str, style: ScalarStyle, mark: Marker) -> Result<(), Error> {
        let Some(Frame { container: Container::Mapping { map, key, .. }, .. }) = self.stack.last_mut() else {
            return Ok(());
        };
        let merge = text == "<<" && style == ScalarStyle::Plain;
        if !merge && map.contains_key(text) {
            return Err(Error::new(format!("the key `{text}` is there twice"), mark));
        }
        *key = Some(text.to_owned());
        Ok(())
    }

    fn open(&mut self, container: Container, anchor: usize, mark: Marker) -> Result<(), Error> {
        if self.takes_key() {
            return Err(Error::new("a mapping key must be a scalar", mark));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(Error::new(format!("the document is nested deeper than {MAX_DEPTH} levels"), mark));
        }
        self.stack.push(Frame { container, anchor, nodes: 1 });
        Ok(())
    }

    fn close(&mut self, mark: Marker) -> Result<(), Error> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.container {
            Container::Sequence(items) => Value::Array(items),
            Container::Mapping { mut map, merged, .. } => {
                merge(&mut map, merged);
                Value::Object(map)
            }
        };
        self.add(Counted { value, nodes: frame.nodes }, frame.anchor, mark)
    }

    /// Puts a finished node where it belongs, and keeps a copy when it is anchored.
    fn add(&mut self, node: Counted, anchor: usize, mark: Marker) -> Result<(), Error> {
        if self.takes_key() {
            return Err(Error::new("a mapping key must be a plain or quoted text", mark));
        }
        let Counted { value, nodes } = node;
        if anchor > 0 {
            self.copy(nodes, mark)?;
            self.anchors.insert(anchor, Counted { value: value.clone(), nodes });
        }
        if let Some(frame) = self.stack.last_mut() {
            frame.nodes += nodes;
        }
        match self.stack.last_mut().map(|frame| &mut frame.container) {
            None => self.root = Some(value),
            Some(Container::Sequence(items)) => items.push(value),
            Some(Container::Mapping { map, key, merged }) => match key.take() {
                Some(name) if name == "<<" => merged.push(value),
                Some(name) => drop(map.insert(name, value)),
                None => {}
            },
        }
        Ok(())
    }
}

/// Adds what merge keys bring; keys that are there win.
fn merge(map: &mut Map<String, Value>, merged: Vec<Value>) {
    for value in merged {
        match value {
            Value::Object(other) => {
                for (key, value) in other {
                    map.entry(key).or_insert(value);
                }
            }
            Value::Array(items) => merge(map, items),
            _ => {}
        }
    }
}

/// A plain scalar by the core schema; infinities and NaN stay text, because JSON has no such numbers.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let starts =
        unsigned.strip_prefix('.').unwrap_or(unsigned).starts_with(|first: char| first.is_ascii_digit());
    let allowed = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    if !starts || !unsigned.bytes().all(allowed) {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(integer.into());
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

/// Marks the wanted places in `trie`. The text must have been parsed already.
pub(super) fn locate(text: &str, trie: &mut Trie) {
    let mut finder = Finder { parser: Parser::new_from_str(text) };
    while let Some((event, _)) = finder.next() {
        if matches!(event, Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..)) {
            finder.node(&event, Some(0), trie);
            return;
        }
    }
}

struct Finder<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Finder<'a> {
    fn next(&mut self) -> Option<(Event<'a>, u32)> {
        let (event, span) = self.parser.next_event()?.ok()?;
        Some((event, line_number(span.start.line())))
    }

    /// Walks the node that `event` starts. Depth is bounded by [`MAX_DEPTH`], which parsing has enforced.
    fn node(&mut self, event: &Event<'a>, node: Option<usize>, trie: &mut Trie) {
        match event {
            Event::MappingStart(..) => self.members(node, trie),
            Event::SequenceStart(..) => self.items(node, trie),
            _ => {}
        }
    }

    fn members(&mut self, node: Option<usize>, trie: &mut Trie) {
        while let Some((Event::Scalar(key, ..), line)) = self.next() {
            let child = node.and_then(|node| trie.child(node, &key));
            if let Some(child) = child {
                trie.mark(child, line);
            }
            let Some((value, _)) = self.next() else { return };
            self.node(&value, child, trie);
        }
    }

    fn items(&mut self, node: Option<usize>, trie: &mut Trie) {
        let mut index = 0_usize;
        while let Some((event, line)) = self.next() {
            if matches!(event, Event::SequenceEnd) {
                return;
            }
            let child = node.and_then(|node| trie.child(node, &index.to_string()));
            if let Some(child) = child {
                trie.mark(child, line);
            }
            self.node(&event, child, trie);
            index += 1;
        }
    }
}
