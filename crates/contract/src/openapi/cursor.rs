//! Walking an OpenAPI document: a value with its place, with references followed.

use serde_json::Value;

use crate::document::member;
use crate::draft::Spot;
use crate::library::{Library, Target, push_token};
use crate::schema::Side;

/// How many references are followed one after another before a chain is taken for a cycle.
const MAX_CHAIN: usize = 32;

/// A value in one of the documents of one side.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'l> {
    pub(crate) library: &'l Library<'l>,
    pub(crate) side: Side,
    pub(crate) target: Target<'l>,
}

impl<'l> Cursor<'l> {
    /// The whole contract.
    pub(crate) fn root(library: &'l Library<'l>, side: Side) -> Self {
        Self { library, side, target: library.entry() }
    }

    pub(crate) fn value(&self) -> &'l Value {
        self.target.value
    }

    /// The value under a key as it stands, without following references.
    pub(crate) fn direct(&self, key: &str) -> Option<Self> {
        let value = match self.target.value {
            Value::Object(map) => member(map, key)?,
            Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            _ => return None,
        };
        Some(self.below(key, value))
    }

    /// The value that stands under a key.
    fn below(&self, key: &str, value: &'l Value) -> Self {
        let mut pointer = String::with_capacity(self.target.pointer.len() + key.len() + 1);
        pointer.push_str(&self.target.pointer);
        push_token(&mut pointer, key);
        let Target { document, base, .. } = self.target;
        let target = Target { value, document, pointer, base };
        Self { library: self.library, side: self.side, target }
    }

    /// The value under a key, with references followed.
    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        self.direct(key).map(Self::followed)
    }

    /// What a chain of references leads to; itself when it leads nowhere.
    pub(crate) fn followed(self) -> Self {
        let mut at = self;
        for _ in 0..MAX_CHAIN {
            match at.text("$ref").and_then(|reference| at.library.resolve(at.target.base, reference)) {
                Some(target) => at = Self { target, ..at },
                None => break,
            }
        }
        at
    }

    /// The members of a map that are not extensions, with references followed.
    pub(crate) fn entries(&self) -> Vec<(&'l str, Self)> {
        let map = self.target.value.as_object().into_iter().flatten();
        map.map(|(key, value)| (key.as_str(), self.below(key, value).followed())).collect()
    }

    /// The items of a list, with references followed.
    pub(crate) fn items(&self) -> Vec<Self> {
        let count = self.target.value.as_array().map_or(0, Vec::len);
        (0..count).filter_map(|index| self.get(&index.to_string())).collect()
    }

    /// The value under a key of a map.
    pub(crate) fn said(&self, key: &str) -> Option<&'l Value> {
        self.target.value.as_object().and_then(|map| member(map, key))
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'l str> {
        self.said(key).and_then(Value::as_str)
    }

    pub(crate) fn is_true(&self, key: &str) -> bool {
        self.said(key) == Some(&Value::Bool(true))
    }

    pub(crate) fn spot(&self) -> Spot {
        Spot::new(self.library, self.target.document, self.target.pointer.clone())
    }
}
