//! A document of JSON with the place of everything in it, so that what is wrong can be named by its line.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// How deep a document may be: a route table is a third of it.
const MAX_DEPTH: usize = 48;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// In bytes from the beginning of the text.
    pub(crate) offset: usize,
    pub(crate) content: Content,
}

/// What stands somewhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Map(Vec<Member>),
    List(Vec<Node>),
    Scalar(Value),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) key: String,
    /// Of the value, which stands behind its key.
    pub(crate) offset: usize,
    pub(crate) value: Node,
}

/// Why a text is no document.
#[derive(Debug)]
pub(crate) enum NodeError {
    /// It is no JSON.
    Syntax(serde_json::Error),
    /// At this offset it is deeper than any table.
    TooDeep(usize),
    /// A key is there twice; the second time at this offset.
    Twice(String, usize),
}

impl Node {
    /// Reads a document.
    pub(crate) fn read(text: &str) -> Result<Self, NodeError> {
        let whole: &RawValue = serde_json::from_str(text).map_err(NodeError::Syntax)?;
        read_value(whole, text.as_ptr() as usize, MAX_DEPTH)
    }

    /// Returns what stands at a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Map(members) = &self.content else { return None };
        members.iter().find(|member| member.key == key).map(|member| &member.value)
    }

    /// Returns its elements, where it is a list.
    pub(crate) fn elements(&self) -> &[Self] {
        match &self.content {
            Content::List(elements) => elements,
            Content::Map(_) | Content::Scalar(_) => &[],
        }
    }

    /// Returns its members, where it is an object.
    pub(crate) fn members(&self) -> &[Member] {
        match &self.content {
            Content::Map(members) => members,
            Content::List(_) | Content::Scalar(_) => &[],
        }
    }

    /// Finds what stands at a place such as `routes[3].when`, or as much of the way there as there is.
    pub(crate) fn nearest(&self, place: &str) -> &Self {
        let parts = place.split(['.', '[']).filter(|part| !part.is_empty());
        let mut at = self;
        for part in parts {
            let next = match part.strip_suffix(']').map(str::parse::<usize>) {
                Some(Ok(index)) => at.elements().get(index),
                Some(Err(_)) | None => at.get(part),
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }

    /// Returns the document without places.
    pub(crate) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(elements) => elements.iter().map(Self::value).collect(),
            Content::Map(members) => {
                members.iter().map(|member| (member.key.clone(), member.value.value())).collect()
            }
        }
    }
}

fn read_value(raw: &RawValue, start: usize, depth: usize) -> Result<Node, NodeError> {
    let text = raw.get();
    let offset = (text.as_ptr() as usize).saturating_sub(start);
    let below = depth.checked_sub(1).ok_or(NodeError::TooDeep(offset))?;
    let content = match text.as_bytes().first() {
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(text).map_err(NodeError::Syntax)?;
            Content::Map(members(pairs, start, below)?)
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(NodeError::Syntax)?;
            let read = |element: &RawValue| read_value(element, start, below);
            Content::List(elements.into_iter().map(read).collect::<Result<_, _>>()?)
        }
        _ => Content::Scalar(serde_json::from_str(text).map_err(NodeError::Syntax)?),
    };
    Ok(Node { offset, content })
}

fn members(
    pairs: Vec<(Cow<'_, str>, &RawValue)>,
    start: usize,
    depth: usize,
) -> Result<Vec<Member>, NodeError> {
    let mut members: Vec<Member> = Vec::with_capacity(pairs.len());
    let mut taken = std::collections::BTreeSet::new();
    for (key, raw) in pairs {
        let value = read_value(raw, start, depth)?;
        if !taken.insert(key.clone()) {
            return Err(NodeError::Twice(key.into_owned(), value.offset));
        }
        members.push(Member { key: key.into_owned(), offset: value.offset, value });
    }
    Ok(members)
}

/// The members of an object in their order.
struct Pairs<'t>(Vec<(Cow<'t, str>, &'t RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    pairs.push((key, value));
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(InOrder).map(Pairs)
    }
}

/// A key as it is written, or without its escapes.
#[derive(Deserialize)]
struct Key<'t>(#[serde(borrow)] Cow<'t, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_found_at_its_place() {
        let text = "{\"a\": [1,\n  {\"b\\u0063\": \"x\"}], \"d\": null}";
        let node = Node::read(text).unwrap();
        assert_eq!(node.value(), serde_json::from_str::<Value>(text).unwrap());
        let found = node.nearest("a[1].bc");
        assert_eq!(&text[found.offset..=found.offset + 2], "\"x\"");
        assert_eq!(node.nearest("a[7].bc").offset, node.get("a").unwrap().offset, "as near as there is");
    }

    #[test]
    fn what_is_no_document_is_refused_and_does_not_end_the_process() {
        assert!(matches!(Node::read("{\"a\": 1, \"a\": 2}"), Err(NodeError::Twice(key, 14)) if key == "a"));
        assert!(matches!(Node::read(&"[".repeat(1_000_000)), Err(NodeError::Syntax(_))));
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(matches!(Node::read(&deep), Err(NodeError::TooDeep(48) | NodeError::Syntax(_))));
        assert!(matches!(Node::read("{\"a\": }"), Err(NodeError::Syntax(_))));
    }
}
