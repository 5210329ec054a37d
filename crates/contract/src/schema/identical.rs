//! Whether two schemas are the same as written, everything they refer to included.
//!
//! This is what makes large documents cheap to compare, and what lets a demand that cannot be expressed be compared with
//! itself. Answers are exact: a pair and all pairs it leads to are looked at once, then differences are carried back along the references.

use std::sync::LazyLock;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Map, Value};

use super::facts::NodeId;
use super::{Dialect, Node, Raw, Schemas, specification};
use crate::document::member;

/// What the value of a keyword is, for comparing it as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It says nothing about which documents are allowed, nor about how they are treated.
    Annotation,
    /// A map from names to schemas or other parts of a contract.
    Map,
    /// Data and not schemas.
    Data,
    Reference,
    /// A schema, a list of schemas, or anything else that is in the lists of the specifications.
    Part,
    /// In no list: nobody knows what its members mean, nor whether they are schemas.
    Unheard,
}

/// What a keyword is. It is asked for every member of every schema, on both sides.
fn role(keyword: &str) -> Role {
    static LISTED: LazyLock<FxHashMap<&str, Role>> = LazyLock::new(|| {
        let names = crate::openapi::specification::all().map(|field| field.name);
        names.map(|name| (name, find_role(name))).collect()
    });
    LISTED.get(keyword).copied().unwrap_or_else(|| find_role(keyword))
}

fn find_role(keyword: &str) -> Role {
    match keyword {
        "properties"
        | "patternProperties"
        | "$defs"
        | "definitions"
        | "dependentSchemas"
        | "dependencies"
        | "headers"
        | "content"
        | "callbacks"
        | "responses"
        | "links"
        | "encoding"
        | "variables"
        | "additionalOperations" => Role::Map,
        "enum" | "const" | "default" | "required" | "type" | "discriminator" | "dependentRequired"
        | "security" | "x-extensible-enum" => Role::Data,
        "$ref" | "$dynamicRef" | "$recursiveRef" => Role::Reference,
        "x-nullable" | "x-sunset" | "$schema" => Role::Part,
        "summary" => Role::Annotation,
        keyword if specification::is_harmless(keyword) => Role::Annotation,
        keyword if is_listed(keyword) => Role::Part,
        _ => Role::Unheard,
    }
}

/// True for keywords of schemas, and fields of the objects that hold them.
fn is_listed(keyword: &str) -> bool {
    static NAMES: LazyLock<FxHashSet<&str>> =
        LazyLock::new(|| crate::openapi::specification::all().map(|field| field.name).collect());
    NAMES.contains(keyword)
}

/// What is known about pairs of schemas.
#[derive(Debug, Default)]
pub(super) struct Identical {
    known: FxHashMap<(NodeId, NodeId), bool>,
}

/// One pair on the way: whether it differs as written, and the pairs it refers to.
struct Unit {
    differs: bool,
    refers_to: Vec<(NodeId, NodeId)>,
}

impl<'l> Schemas<'l> {
    /// True when both schemas are the same as written, everything they refer to included.
    pub(crate) fn are_identical(&mut self, one: NodeId, other: NodeId) -> bool {
        if one == other {
            return true;
        }
        let (one, other) = (one.min(other), one.max(other));
        if let Some(known) = self.identical.known.get(&(one, other)) {
            return *known;
        }
        let parts = match (&self.nodes[one.0 as usize], &self.nodes[other.0 as usize]) {
            (Node::Raw(_), Node::Raw(_)) => return self.settle_identity((one, other)),
            (Node::All(one), Node::All(other)) if one.len() == other.len() => {
                Some((one.clone(), other.clone()))
            }
            (Node::Facts(one), Node::Facts(other)) => return one == other,
            _ => None,
        };
        parts.is_some_and(|(one, other)| {
            one.iter().zip(other.iter()).all(|(one, other)| self.are_identical(*one, *other))
        })
    }

    /// True when both are written with the same words, which nobody knows how to read: not even what looks like a note is one.
    pub(super) fn say_the_same(&self, one: NodeId, other: NodeId) -> bool {
        let words = |node: NodeId| self.raw(node).map(|raw| raw.value);
        words(one) == words(other)
    }

    fn settle_identity(&mut self, pair: (NodeId, NodeId)) -> bool {
        let first = self.look_at(pair);
        if first.refers_to.is_empty() {
            self.identical.known.insert(pair, !first.differs);
            return !first.differs;
        }
        let mut units: FxHashMap<(NodeId, NodeId), Unit> = FxHashMap::default();
        let mut waiting = first.refers_to.clone();
        units.insert(pair, first);
        while let Some(next) = waiting.pop() {
            if units.contains_key(&next) || self.identical.known.contains_key(&next) {
                continue;
            }
            let unit = self.look_at(next);
            waiting.extend(unit.refers_to.iter().copied());
            units.insert(next, unit);
        }
        let mut referrers: FxHashMap<(NodeId, NodeId), Vec<(NodeId, NodeId)>> = FxHashMap::default();
        let mut differing: Vec<(NodeId, NodeId)> = Vec::new();
        for (unit_pair, unit) in &units {
            for target in &unit.refers_to {
                referrers.entry(*target).or_default().push(*unit_pair);
            }
            let leads_to_known =
                unit.refers_to.iter().any(|target| self.identical.known.get(target) == Some(&false));
            if unit.differs || leads_to_known {
                differing.push(*unit_pair);
            }
        }
        self.identical.known.extend(units.keys().map(|pair| (*pair, true)));
        while let Some(next) = differing.pop() {
            if self.identical.known.insert(next, false) == Some(true) {
                differing.extend(referrers.get(&next).into_iter().flatten());
            }
        }
        self.identical.known.get(&pair).copied().unwrap_or(false)
    }

    fn look_at(&mut self, (one, other): (NodeId, NodeId)) -> Unit {
        let (Some(first), Some(second)) = (self.raw(one).cloned(), self.raw(other).cloned()) else {
            return Unit { differs: one != other, refers_to: Vec::new() };
        };
        let mut refers_to = Vec::new();
        let same = self.same_schema(&first, &second, first.value, second.value, &mut refers_to);
        Unit { differs: !same, refers_to: if same { refers_to } else { Vec::new() } }
    }

    fn same_schema(
        &mut self,
        first: &Raw<'l>,
        second: &Raw<'l>,
        one: &'l Value,
        other: &'l Value,
        refers_to: &mut Vec<(NodeId, NodeId)>,
    ) -> bool {
        let (one, other) = match (one, other) {
            (Value::Object(one), Value::Object(other)) => (one, other),
            (Value::Array(one), Value::Array(other)) => {
                return one.len() == other.len()
                    && one
                        .iter()
                        .zip(other)
                        .all(|(one, other)| self.same_schema(first, second, one, other, refers_to));
            }
            (one, other) => return one == other,
        };
        let is_root = first.value.as_object().is_some_and(|root| std::ptr::eq(root, one));
        let nested_base = !is_root && member(one, "$id").is_some();
        if nested_base || self.reads_differently(first, second, one) || names_variants_differently(one, other)
        {
            return false;
        }
        if member(one, "discriminator").is_some() {
            match self.paired_heirs((first.side, one), (second.side, other)) {
                Some(pairs) => {
                    refers_to.extend(pairs.into_iter().map(|(one, other)| (one.min(other), one.max(other))));
                }
                None => return false,
            }
        }
        let mut others = said(other);
        for (key, role, value) in said(one) {
            // Both sides are usually in the same order; where they are not, the keys are looked up.
            let Some((other_key, _, next)) = others.next() else { return false };
            let counterpart = if key == other_key { Some(next) } else { member(other, key) };
            let Some(counterpart) = counterpart else { return false };
            let same = match role {
                Role::Reference => self.same_reference(first, second, value, counterpart, refers_to),
                Role::Data | Role::Annotation => value == counterpart,
                Role::Map => self.same_map(first, second, value, counterpart, refers_to),
                Role::Part => self.same_schema(first, second, value, counterpart, refers_to),
                Role::Unheard => {
                    value == counterpart && self.same_schema(first, second, value, counterpart, refers_to)
                }
            };
            if !same {
                return false;
            }
        }
        others.next().is_none()
    }

    fn same_map(
        &mut self,
        first: &Raw<'l>,
        second: &Raw<'l>,
        one: &'l Value,
        other: &'l Value,
        refers_to: &mut Vec<(NodeId, NodeId)>,
    ) -> bool {
        let (Value::Object(one), Value::Object(other)) = (one, other) else { return one == other };
        one.len() == other.len()
            && one.iter().zip(other).all(|((name, value), (other_name, next))| {
                let counterpart = if name == other_name { Some(next) } else { member(other, name) };
                counterpart
                    .is_some_and(|counterpart| self.same_schema(first, second, value, counterpart, refers_to))
            })
    }

    fn same_reference(
        &mut self,
        first: &Raw<'l>,
        second: &Raw<'l>,
        one: &Value,
        other: &Value,
        refers_to: &mut Vec<(NodeId, NodeId)>,
    ) -> bool {
        let (Some(one), Some(other)) = (one.as_str(), other.as_str()) else { return one == other };
        match (self.follow(first, one), self.follow(second, other)) {
            (Some(one), Some(other)) => {
                refers_to.push((one.min(other), one.max(other)));
                true
            }
            // What was not given may differ, unless both name one document of the world or nothing in their own.
            (None, None) => {
                one == other && (one.contains("://") || one.starts_with("urn:") || one.starts_with('#'))
            }
            _ => false,
        }
    }

    /// True when a schema object means different things in the dialects of both sides.
    fn reads_differently(&self, first: &Raw<'l>, second: &Raw<'l>, map: &Map<String, Value>) -> bool {
        let (one, other) = (self.dialect(first.side), self.dialect(second.side));
        if one == other {
            return false;
        }
        let old = |dialect: Dialect| dialect == Dialect::OpenApi30;
        let is_of_one = |keyword: &String| one.has(keyword) != other.has(keyword);
        let differs_in_form = ["items", "exclusiveMinimum", "exclusiveMaximum"]
            .into_iter()
            .filter_map(|keyword| map.get(keyword))
            .any(|value| value.is_array() || value.is_boolean() || value.is_number());
        if map.keys().any(is_of_one) || differs_in_form {
            return true;
        }
        let nullable =
            old(one) != old(other) && (map.contains_key("nullable") || map.contains_key("x-nullable"));
        nullable || (map.len() > 1 && map.contains_key("$ref")) || map.contains_key("discriminator")
    }
}

/// True when a discriminator tells variants apart by the names of their schemas, and those differ: they are what is sent.
fn names_variants_differently(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let names = |map: &Map<String, Value>| -> Vec<Option<String>> {
        let variants = ["oneOf", "anyOf"].into_iter().filter_map(|keyword| map.get(keyword)?.as_array());
        let reference =
            |variant: &Value| variant.get("$ref")?.as_str()?.rsplit('/').next().map(str::to_owned);
        variants.flatten().map(reference).collect()
    };
    member(one, "discriminator").is_some() && names(one) != names(other)
}

/// The members of a schema object that say something.
fn said(map: &Map<String, Value>) -> impl Iterator<Item = (&String, Role, &Value)> {
    let members = map.iter().map(|(key, value)| (key, role(key), value));
    members.filter(|(_, role, _)| *role != Role::Annotation)
}
