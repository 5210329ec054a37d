//! Schemas that extend another one by its discriminator: what is really sent where only the extended one is named.
//!
//! A schema with a discriminator and without variants of its own stands for all that have it in their `allOf`. They are found among the
//! named schemas of the contract, with the value that tells each: its name, or what the mapping calls it.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::relate::{Relation, Step};
use super::violation::{Aspect, Violation};
use super::{NodeId, Schemas, Side};
use crate::document::member;
use crate::library::{Target, push_token};

/// Where contracts keep their named schemas.
const NAMED: [&str; 2] = ["/components/schemas", "/definitions"];

/// The schemas that extend others, by the place of the extended one in memory, for both sides; found when first asked for.
#[derive(Debug, Default)]
pub(super) struct Heirs([Option<ByBase>; 2]);

type ByBase = HashMap<usize, Vec<(String, NodeId)>>;

impl<'l> Schemas<'l> {
    /// The schemas that extend this one, by the value of its discriminator; none unless it has one and no variants.
    pub(super) fn heirs(&mut self, side: Side, map: &Map<String, Value>) -> BTreeMap<String, NodeId> {
        let has_variants = || map.contains_key("oneOf") || map.contains_key("anyOf");
        let discriminator =
            member(map, "discriminator").filter(|_| self.dialect(side).is_openapi() && !has_variants());
        let Some(discriminator) = discriminator else { return BTreeMap::new() };
        if self.heirs.0[side as usize].is_none() {
            let found = self.find_heirs(side);
            self.heirs.0[side as usize] = Some(found);
        }
        let key = std::ptr::from_ref(map) as usize;
        let known = self.heirs.0[side as usize].as_ref().and_then(|found| found.get(&key));
        let mapping = discriminator.get("mapping").and_then(Value::as_object);
        let mut heirs = BTreeMap::new();
        for (name, node) in known.into_iter().flatten() {
            let called = mapping
                .into_iter()
                .flatten()
                .filter(|(_, to)| to.as_str().is_some_and(|to| to.rsplit('/').next() == Some(name.as_str())));
            let mut called: Vec<&str> = called.map(|(value, _)| value.as_str()).collect();
            if called.is_empty() {
                called.push(name);
            }
            heirs.extend(called.into_iter().map(|value| (value.to_owned(), *node)));
        }
        heirs
    }

    fn find_heirs(&mut self, side: Side) -> ByBase {
        let library = self.library(side);
        let mut found = ByBase::new();
        for place in NAMED {
            let named = library.entry().value.pointer(place).and_then(Value::as_object);
            for (name, value) in named.into_iter().flatten() {
                for base in self.extended(side, value) {
                    let mut pointer = place.to_owned();
                    push_token(&mut pointer, name);
                    let target = Target { value, document: 0, pointer, base: library.entry().base };
                    let node = self.schema(side, target);
                    found.entry(base).or_default().push((name.clone(), node));
                }
            }
        }
        found
    }

    /// What the `allOf` of a schema refers to.
    fn extended(&self, side: Side, value: &Value) -> Vec<usize> {
        let library = self.library(side);
        let parts = value.get("allOf").and_then(Value::as_array).into_iter().flatten();
        let references = parts.filter_map(|part| part.get("$ref").and_then(Value::as_str));
        let targets = references.filter_map(|reference| library.resolve(library.entry().base, reference));
        targets
            .filter_map(|target| target.value.as_object().map(|map| std::ptr::from_ref(map) as usize))
            .collect()
    }

    /// The heirs of two schemas, paired by the value that tells them; nothing when one side has a value that the other has not.
    pub(super) fn paired_heirs(
        &mut self,
        (one, first): (Side, &Map<String, Value>),
        (other, second): (Side, &Map<String, Value>),
    ) -> Option<Vec<(NodeId, NodeId)>> {
        let (own, others) = (self.heirs(one, first), self.heirs(other, second));
        if !own.keys().eq(others.keys()) {
            return None;
        }
        Some(own.into_values().zip(others.into_values()).collect())
    }

    /// What must hold of the heirs of two schemas. Those that differ in nothing but what they extend are passed over.
    pub(super) fn relate_heirs(&mut self, held: NodeId, holding: NodeId, relation: &mut Relation) {
        let (Some(own), Some(other)) = (self.written(held), self.written(holding)) else { return };
        let own = self.heirs(own.0, own.1);
        if own.is_empty() {
            return;
        }
        let others = self.heirs(other.0, other.1);
        for (value, heir) in &own {
            match others.get(value) {
                Some(other) if self.add_the_same(*heir, *other) => {}
                Some(other) => relation.child(Step::Itself, *heir, *other),
                None => {
                    let names: Vec<String> = others.keys().map(|name| format!("`{name}`")).collect();
                    let names = if names.is_empty() { "none".to_owned() } else { names.join(" or ") };
                    relation.add(Violation::new(Aspect::Variant, format!("`{value}`"), names));
                }
            }
        }
    }

    /// The keywords of a schema with its side.
    fn written(&mut self, node: NodeId) -> Option<(Side, &'l Map<String, Value>)> {
        let side = self.raw(node)?.side;
        Some((side, self.keywords(node)?))
    }

    /// True when two heirs say the same besides what they extend.
    fn add_the_same(&mut self, one: NodeId, other: NodeId) -> bool {
        let (own, others) = (self.added(one), self.added(other));
        own.len() == others.len()
            && own.iter().zip(&others).all(|((name, node), (other_name, other))| {
                name == other_name && self.are_identical(*node, *other)
            })
    }

    /// What a heir says besides what it refers to in its `allOf`.
    fn added(&mut self, heir: NodeId) -> Vec<(String, NodeId)> {
        let Some(raw) = self.raw(heir).cloned() else { return Vec::new() };
        let mut added = Vec::new();
        for (name, value) in raw.value.as_object().into_iter().flatten() {
            match value {
                Value::Array(parts) if name == "allOf" => {
                    for (index, part) in
                        parts.iter().enumerate().filter(|(_, part)| part.get("$ref").is_none())
                    {
                        let node = self.child(&raw, part, &["allOf", &index.to_string()]);
                        added.push((name.clone(), node));
                    }
                }
                value if !super::specification::is_harmless(name) => {
                    added.push((name.clone(), self.child(&raw, value, &[name])));
                }
                _ => {}
            }
        }
        added.sort_by(|(one, _), (other, _)| one.cmp(other));
        added
    }
}
