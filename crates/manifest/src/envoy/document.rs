//! A message of Envoy's configuration as it is read: what is not asked for is named, so that nothing is passed over, and so is what has another
//! shape than it is read as: a text where a message belongs, or a time before none.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::Left;
use crate::yaml::{Node, Value};

/// Values that have another shape than they are read as.
pub(super) type Misshapen = RefCell<Vec<Left>>;

/// A value with its place.
#[derive(Clone)]
pub(super) struct Item<'n> {
    pub(super) node: &'n Node,
    pub(super) place: String,
    misshapen: &'n Misshapen,
}

/// A message, and which of its fields were asked for.
pub(super) struct Message<'n> {
    pub(super) item: Item<'n>,
    asked: RefCell<BTreeSet<&'n str>>,
}

impl<'n> Item<'n> {
    pub(super) fn root(node: &'n Node, misshapen: &'n Misshapen) -> Self {
        Self { node, place: String::new(), misshapen }
    }

    /// Says that it is not what belongs there.
    fn is_no(&self, expected: &str) {
        let found = match &self.node.value {
            Value::Nothing => return,
            Value::Text(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a message".to_owned(),
        };
        self.leave(
            &mut self.misshapen.borrow_mut(),
            format!("not read: {expected} belongs here, and there is {found}"),
        );
    }

    fn read<T>(&self, expected: &str, read: impl FnOnce(&'n str) -> Option<T>) -> Option<T> {
        let found = self.text().map(read)?;
        if found.is_none() {
            self.is_no(expected);
        }
        found
    }

    /// Reads it as a message; one without fields where it is none, which is named.
    pub(super) fn message(&self) -> Message<'n> {
        if !matches!(self.node.value, Value::Map(_)) {
            self.is_no("a message with fields (NAME: VALUE)");
        }
        Message { item: self.clone(), asked: RefCell::default() }
    }

    /// Returns its elements, where it is a list.
    pub(super) fn items(&self) -> Vec<Self> {
        if !matches!(self.node.value, Value::List(_)) {
            self.is_no("a list");
        }
        let item = |(at, node)| Self { node, place: format!("{}[{at}]", self.place), ..self.clone() };
        self.node.items().iter().enumerate().map(item).collect()
    }

    pub(super) fn text(&self) -> Option<&'n str> {
        let text = self.node.text();
        if text.is_none() {
            self.is_no("a text");
        }
        text
    }

    /// Reads a word of a list of words, which Envoy takes in any case.
    pub(super) fn word(&self) -> Option<String> {
        self.text().map(str::to_ascii_uppercase)
    }

    /// Reads a number; those of the wrapper types stand for themselves in YAML.
    pub(super) fn number<T: std::str::FromStr>(&self) -> Option<T> {
        self.read("a number", |text| text.parse().ok())
    }

    pub(super) fn is_true(&self) -> bool {
        self.flag() == Some(true)
    }

    /// Reads yes or no in the words that Envoy's YAML has for it.
    pub(super) fn flag(&self) -> Option<bool> {
        self.read("true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        })
    }

    /// Reads a duration such as `0.25s`, in milliseconds; what is not whole is rounded up, so that nothing becomes none.
    pub(super) fn duration_ms(&self) -> Option<u64> {
        self.read("a time of 0 or more seconds, such as 0.25s,", |text| {
            let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
            let is_usable = seconds.is_finite() && (0.0..=1e9).contains(&seconds);
            is_usable.then(|| (seconds * 1_000.0).ceil() as u64)
        })
    }

    /// Names it as not taken over.
    pub(super) fn leave(&self, left: &mut Vec<Left>, why: impl Into<String>) {
        left.push(Left { line: self.node.line, place: self.place.clone(), why: why.into() });
    }
}

impl<'n> Message<'n> {
    /// Takes a field, as it is called in Envoy's documents or in JSON (`route_config`, `routeConfig`).
    pub(super) fn get(&self, name: &str) -> Option<Item<'n>> {
        let is_it = |key: &str| key == name || same_in_json(key, name);
        let (key, node) = self.item.node.entries().iter().find(|(key, _)| is_it(key))?;
        self.asked.borrow_mut().insert(key);
        let place =
            if self.item.place.is_empty() { key.clone() } else { format!("{}.{key}", self.item.place) };
        let item = Item { node, place, misshapen: self.item.misshapen };
        Some(item).filter(|item| item.node.value != Value::Nothing)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'n str> {
        self.get(name)?.text()
    }

    pub(super) fn list(&self, name: &str) -> Vec<Item<'n>> {
        self.get(name).map(|item| item.items()).unwrap_or_default()
    }

    pub(super) fn message(&self, name: &str) -> Option<Message<'n>> {
        self.get(name).map(|item| item.message())
    }

    /// Takes fields that change nothing here.
    pub(super) fn pass_over(&self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.get(name)));
    }

    /// Names a field as not taken over, where it is there.
    pub(super) fn leave(&self, name: &str, left: &mut Vec<Left>, why: &str) {
        if let Some(item) = self.get(name) {
            item.leave(left, why);
        }
    }

    /// Returns the fields that nobody asked for.
    pub(super) fn others(&self) -> Vec<Item<'n>> {
        let asked = self.asked.borrow();
        let unknown = self.item.node.entries().iter().filter(|(key, _)| !asked.contains(key.as_str()));
        unknown
            .map(|(key, node)| Item {
                node,
                place: format!("{}.{key}", self.item.place).trim_start_matches('.').to_owned(),
                misshapen: self.item.misshapen,
            })
            .collect()
    }

    /// Names all fields that nobody asked for.
    pub(super) fn leave_others(&self, left: &mut Vec<Left>, why: &str) {
        self.others().iter().for_each(|item| item.leave(left, why));
    }
}

/// Tells whether a key is the name as protobuf writes it in JSON.
fn same_in_json(key: &str, name: &str) -> bool {
    key.contains(|it: char| it.is_ascii_uppercase())
        && key
            .chars()
            .flat_map(
                |it| if it.is_ascii_uppercase() { vec!['_', it.to_ascii_lowercase()] } else { vec![it] },
            )
            .eq(name.chars())
}
