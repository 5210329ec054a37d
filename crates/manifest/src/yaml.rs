//! YAML as a tree of values with the lines that they stand on, with anchors, aliases and merge keys.
//!
//! A stream of one document is read. What a hostile file can make of it is bounded: depth, and copied nodes.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Nesting that no compose file has.
const MAX_DEPTH: usize = 64;
/// How many nodes aliases may copy: an alias bomb copies billions.
const MAX_COPIED: usize = 1 << 16;

/// A value, and the line that it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// What a value is. Scalars stay text; whether one was quoted tells `null` from `"null"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Nothing,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; each key once.
    Map(Vec<(String, Node)>),
}

impl Node {
    fn nodes(&self) -> usize {
        1 + match &self.value {
            Value::Nothing | Value::Text(_) => 0,
            Value::List(items) => items.iter().map(Self::nodes).sum(),
            Value::Map(entries) => entries.iter().map(|(_, node)| node.nodes()).sum(),
        }
    }

    /// Returns the text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// Returns the value under a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Returns the entries of a mapping; nothing of anything else.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// Returns the items of a list; nothing of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// Returns a list of texts, or one text as a list of one.
    pub(crate) fn texts(&self) -> Vec<(usize, &str)> {
        match &self.value {
            Value::Text(text) => vec![(self.line, text)],
            Value::List(items) => items.iter().filter_map(|item| Some((item.line, item.text()?))).collect(),
            Value::Nothing | Value::Map(_) => Vec::new(),
        }
    }

    /// Returns a mapping of texts, or a list of `NAME=VALUE`, as pairs; what has no value has none.
    pub(crate) fn pairs(&self) -> Vec<(usize, String, Option<String>)> {
        let split = |(line, text): (usize, &str)| match text.split_once('=') {
            Some((name, value)) => (line, name.to_owned(), Some(value.to_owned())),
            None => (line, text.to_owned(), None),
        };
        let pair = |(name, node): &(String, Self)| (node.line, name.clone(), node.text().map(str::to_owned));
        match &self.value {
            Value::Map(entries) => entries.iter().map(pair).collect(),
            _ => self.texts().into_iter().map(split).collect(),
        }
    }

    /// Puts another mapping's entries below this one's: what is there wins, and mappings are joined.
    pub(crate) fn under(self, base: &Self) -> Self {
        let Self { line, value } = self;
        let value = match (value, &base.value) {
            (Value::Map(own), Value::Map(others)) => Value::Map(joined(own, others)),
            (value, _) => value,
        };
        Self { line, value }
    }
}

fn joined(own: Vec<(String, Node)>, others: &[(String, Node)]) -> Vec<(String, Node)> {
    let of_base = |key: &str| others.iter().find(|(name, _)| name == key).map(|(_, node)| node);
    let added: Vec<_> =
        others.iter().filter(|(key, _)| !own.iter().any(|(name, _)| name == key)).cloned().collect();
    let join = |(key, node): (String, Node)| match of_base(&key) {
        Some(base) => (key, node.under(base)),
        None => (key, node),
    };
    own.into_iter().map(join).chain(added).collect()
}

/// What is wrong with a text, and on which line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub(crate) line: usize,
    pub(crate) why: String,
}

enum Open {
    List(Vec<Node>),
    Map { entries: Vec<(String, Node)>, key: Option<String>, merged: Vec<Node> },
}

struct Frame {
    open: Open,
    line: usize,
    anchor: usize,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    copied: usize,
    root: Option<Node>,
}

/// Reads a text of one document.
pub(crate) fn parse(text: &str) -> Result<Node, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // What the parser of Compose takes, and the specification does not: `]` no deeper than what it belongs to.
    read(text).or_else(|error| read(&with_deep_ends(text)).map_err(|_| error))
}

/// Puts `]` and `}` at the beginning of a line below the line before.
fn with_deep_ends(text: &str) -> String {
    let mut depth = 0;
    let mut line = |line: &str| {
        let inner = line.trim_start();
        if inner.starts_with([']', '}']) {
            return format!("{}{inner}\n", " ".repeat(depth));
        }
        if !inner.is_empty() {
            depth = line.len() - inner.len();
        }
        format!("{line}\n")
    };
    text.lines().map(&mut line).collect()
}

fn read(text: &str) -> Result<Node, YamlError> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| YamlError {
            line: error.marker().line(),
            why: format!("not valid YAML: {}", error.info()),
        })?;
        let line = span.start.line();
        if matches!(event, Event::DocumentStart(_)) && builder.root.is_some() {
            return Err(YamlError { line, why: "a second document begins, and one is read".into() });
        }
        builder.event(event, line).map_err(|why| YamlError { line, why })?;
    }
    Ok(builder.root.unwrap_or(Node { line: 1, value: Value::Nothing }))
}

impl Builder {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_plain = style == ScalarStyle::Plain;
                if self.takes_key() {
                    return self.key(text.into_owned());
                }
                let is_nothing = is_plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                let value = if is_nothing { Value::Nothing } else { Value::Text(text.into_owned()) };
                self.add(Node { line, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(Open::List(Vec::new()), line, anchor),
            Event::MappingStart(anchor, _) => {
                self.open(Open::Map { entries: Vec::new(), key: None, merged: Vec::new() }, line, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let copy = self.anchors.get(&anchor).cloned().ok_or("an alias to a node that contains it")?;
                self.copied = self.copied.saturating_add(copy.nodes());
                if self.copied > MAX_COPIED {
                    return Err(format!("aliases copy more than {MAX_COPIED} nodes"));
                }
                self.add(copy, 0)
            }
            _ => Ok(()),
        }
    }

    fn takes_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { open: Open::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, text: String) -> Result<(), String> {
        let Some(Frame { open: Open::Map { entries, key, .. }, .. }) = self.stack.last_mut() else {
            return Ok(());
        };
        if text != "<<" && entries.iter().any(|(name, _)| *name == text) {
            return Err(format!("the key `{text}` is there twice"));
        }
        *key = Some(text);
        Ok(())
    }

    fn open(&mut self, open: Open, line: usize, anchor: usize) -> Result<(), String> {
        if self.takes_key() {
            return Err("a key must be a text".into());
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
        }
        self.stack.push(Frame { open, line, anchor });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(Frame { open, line, anchor }) = self.stack.pop() else { return Ok(()) };
        let value = match open {
            Open::List(items) => Value::List(items),
            Open::Map { entries, merged, .. } => {
                let mut node = Node { line, value: Value::Map(entries) };
                for base in merged {
                    // A list of mappings is merged one after the other.
                    let bases =
                        if matches!(base.value, Value::List(_)) { base.items().to_vec() } else { vec![base] };
                    node = bases.iter().fold(node, shallow);
                }
                node.value
            }
        };
        self.add(Node { line, value }, anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.takes_key() {
            return Err("a key must be a text".into());
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map { entries, key, merged }) => match key.take() {
                Some(key) if key == "<<" => merged.push(node),
                Some(key) => entries.push((key, node)),
                None => {}
            },
        }
        Ok(())
    }
}

/// A merge key adds what is not there, and joins nothing.
fn shallow(node: Node, base: &Node) -> Node {
    let Node { line, value } = node;
    let Value::Map(mut entries) = value else { return Node { line, value } };
    for (key, other) in base.entries() {
        if !entries.iter().any(|(name, _)| name == key) {
            entries.push((key.clone(), other.clone()));
        }
    }
    Node { line, value: Value::Map(entries) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_and_merge_keys_are_taken_as_yaml_does() {
        let text = "x: &a\n  one: 1\n  two: {p: q}\ny:\n  <<: *a\n  two: {r: s}\nz: [a, \"null\", ~]\n";
        let root = parse(text).unwrap();
        let y = root.get("y").unwrap();
        assert_eq!(y.get("one").unwrap().text(), Some("1"));
        assert_eq!(y.get("two").unwrap().entries().len(), 1);
        assert_eq!(y.get("two").unwrap().line, 6);
        let items = root.get("z").unwrap().items();
        assert_eq!((items[1].text(), items[2].text()), (Some("null"), None));
    }

    #[test]
    fn a_bracket_may_end_where_its_key_begins() {
        let root = parse("a:\n  b: [\n      x,\n  ]\n  c: {\n    d: 1\n  }\n").unwrap();
        let a = root.get("a").unwrap();
        assert_eq!((a.get("b").unwrap().items().len(), a.get("c").unwrap().line), (1, 5));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert_eq!(parse("a: 1\na: 2").unwrap_err().line, 2);
        assert!(parse("a: [").unwrap_err().why.starts_with("not valid YAML"));
        assert!(parse(&"[".repeat(100)).is_err());
        assert_eq!(parse("a: 1\n---\nb: 1\n").unwrap_err().line, 2);
        assert_eq!(parse("a: 1\n---\nb: [\n").unwrap_err().line, 2);
        let bomb = format!(
            "a: &a [x,x,x,x,x,x,x,x]\n{}",
            (b'b'..=b'z')
                .map(|c| {
                    let c = c as char;
                    let p = (c as u8 - 1) as char;
                    format!("{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n")
                })
                .collect::<String>()
        );
        assert!(parse(&bomb).unwrap_err().why.contains("copy more than"));
    }
}
