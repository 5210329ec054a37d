//! Both of two alternatives at once: the intersection of their facts.

use std::rc::Rc;

use serde_json::Value;

use super::Schemas;
use super::facts::{
    ArrayFacts, Bound, Contains, Content, Facts, NodeId, NumberFacts, ObjectFacts, StringFacts, Type, Types,
    Whole,
};
use super::number;

impl Schemas<'_> {
    /// The facts of both; `None` when nothing can meet them.
    pub(super) fn meet(&mut self, one: &Facts, other: &Facts) -> Option<Facts> {
        let (text, other_text) = (one.read_as_text, other.read_as_text);
        let types = one.types.and(other.types).or(text.and(other.types)).or(one.types.and(other_text));
        let read_as_text = text.and(other_text);
        if types.or(read_as_text).is_empty() {
            return None;
        }
        let mut facts = Facts {
            types,
            read_as_text,
            values: meet_values(one.values.as_ref(), other.values.as_ref()),
            formats: one.formats.union(&other.formats).cloned().collect(),
            number: meet_numbers(&one.number, &other.number),
            string: self.meet_strings(&one.string, &other.string),
            array: self.meet_arrays(&one.array, &other.array),
            object: Rc::clone(&one.object),
            excluded: union(&one.excluded, &other.excluded),
            opaque: one.opaque.iter().chain(&other.opaque).cloned().collect(),
            unread: one.unread.iter().chain(&other.unread).cloned().collect(),
            loose: one.loose || other.loose,
            chosen: one.chosen.iter().chain(&other.chosen).copied().collect(),
            told_apart: union(&one.told_apart, &other.told_apart),
        };
        if *one.object == ObjectFacts::default() {
            facts.object = Rc::clone(&other.object);
        } else if *other.object != ObjectFacts::default() {
            let (object, exact) = self.meet_objects(&one.object, &other.object);
            facts.object = Rc::new(object);
            if !exact {
                let reason = "`patternProperties` and `additionalProperties` of several schemas at once";
                facts.demand_unknown(reason, NodeId::ANY, Types::only(Type::Object));
            }
        }
        facts.settle().then_some(facts)
    }

    fn meet_strings(&mut self, one: &StringFacts, other: &StringFacts) -> StringFacts {
        let schemas = [one.content.schema, other.content.schema].into_iter().flatten().collect::<Vec<_>>();
        let content = Content {
            encoding: one.content.encoding.clone().or_else(|| other.content.encoding.clone()),
            media_type: one.content.media_type.clone().or_else(|| other.content.media_type.clone()),
            schema: (!schemas.is_empty()).then(|| self.all(schemas)),
        };
        StringFacts {
            min_length: one.min_length.max(other.min_length),
            max_length: least(one.max_length, other.max_length),
            patterns: one.patterns.union(&other.patterns).cloned().collect(),
            content,
        }
    }

    fn meet_arrays(&mut self, one: &ArrayFacts, other: &ArrayFacts) -> ArrayFacts {
        let prefix = (0..one.prefix.len().max(other.prefix.len()))
            .map(|index| self.all([one.item(index), other.item(index)]))
            .collect();
        let rest = match (one.rest, other.rest) {
            (None, None) => None,
            _ => Some(self.all([one.rest(), other.rest()])),
        };
        let contains: Vec<Contains> = one.contains.iter().chain(&other.contains).cloned().collect();
        ArrayFacts {
            min_items: one.min_items.max(other.min_items),
            max_items: least(one.max_items, other.max_items),
            unique: one.unique || other.unique,
            prefix,
            rest,
            contains,
        }
    }

    /// Both objects' demands, and whether they could be expressed exactly.
    fn meet_objects(&mut self, one: &ObjectFacts, other: &ObjectFacts) -> (ObjectFacts, bool) {
        let mut exact = true;
        let mut met = ObjectFacts {
            min: one.min.max(other.min),
            max: least(one.max, other.max),
            required: one.required.union(&other.required).cloned().collect(),
            hidden: one.hidden.union(&other.hidden).cloned().collect(),
            names: union(&one.names, &other.names),
            conditional: conditional(one, other).chain(conditional(other, one)).cloned().collect(),
            dependent: one.dependent.clone(),
            ..ObjectFacts::default()
        };
        met.required.retain(|name| !met.hidden.contains(name));
        for (name, needed) in &other.dependent {
            met.dependent.entry(Rc::clone(name)).or_default().extend(needed.iter().cloned());
        }
        for name in one.properties.keys().chain(other.properties.keys()) {
            if !met.properties.contains_key(name) {
                let both = [self.property(one, name), self.property(other, name)];
                let node = self.all(both);
                met.properties.insert(Rc::clone(name), node);
            }
        }
        for (this, that) in [(one, other), (other, one)] {
            for (pattern, node) in &this.patterns {
                let known = met.patterns.get(pattern).copied();
                let rest = if that.patterns.contains_key(pattern) { NodeId::ANY } else { that.rest() };
                // The rest of the other side is about names that it neither declares nor matches.
                let is_rest = that.patterns.is_empty() && !self.matches_declared(pattern, that);
                exact &= rest == NodeId::ANY || is_rest;
                let rest = Some(rest).filter(|_| is_rest);
                let node = self.all([Some(*node), known, rest].into_iter().flatten());
                met.patterns.insert(Rc::clone(pattern), node);
            }
        }
        met.rest = match (one.rest, other.rest) {
            (None, None) => None,
            _ => Some(self.all([one.rest(), other.rest()])),
        };
        (met, exact)
    }

    /// True when a declared property may match the pattern.
    fn matches_declared(&mut self, pattern: &Rc<str>, object: &ObjectFacts) -> bool {
        object.properties.keys().any(|name| self.patterns.matches(pattern, name) != Some(false))
    }

    /// What an object demands of the property with this name.
    pub(super) fn property(&mut self, object: &ObjectFacts, name: &str) -> NodeId {
        let declared = object.properties.get(name).copied();
        if object.patterns.is_empty() {
            return declared.unwrap_or_else(|| object.rest());
        }
        let mut matched = Vec::new();
        for (pattern, node) in &object.patterns {
            // A pattern that cannot be run is taken to match: `patterns_known` tells when that may be wrong.
            if self.patterns.matches(pattern, name) != Some(false) {
                matched.push(*node);
            }
        }
        match (declared, matched.is_empty()) {
            (None, true) => object.rest(),
            (declared, _) => self.all(declared.into_iter().chain(matched)),
        }
    }
}

/// The properties of one object that only a condition speaks of, in the other as well.
fn conditional<'o>(one: &'o ObjectFacts, other: &'o ObjectFacts) -> impl Iterator<Item = &'o Rc<str>> {
    let named = |name: &Rc<str>| other.properties.contains_key(name) && !other.conditional.contains(name);
    one.conditional.iter().filter(move |name| !named(name))
}

fn meet_values(one: Option<&Rc<Vec<Value>>>, other: Option<&Rc<Vec<Value>>>) -> Option<Rc<Vec<Value>>> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let both = one.iter().filter(|value| other.iter().any(|other| same_value(value, other)));
            Some(Rc::new(both.cloned().collect()))
        }
        (one, other) => one.or(other).cloned(),
    }
}

/// Equality as JSON Schema sees it: `1` and `1.0` are the same.
pub(super) fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => number::compare(one, other).is_eq(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_value(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| same_value(value, other)))
        }
        (one, other) => one == other,
    }
}

fn meet_numbers(one: &NumberFacts, other: &NumberFacts) -> NumberFacts {
    let whole = if one.whole == Whole::Integer || other.whole == Whole::Integer {
        Whole::Integer
    } else {
        Whole::Any
    };
    let mut multiples = one.multiples.clone();
    multiples.extend(other.multiples.iter().filter(|step| !one.multiples.contains(step)).cloned());
    NumberFacts {
        whole,
        lower: tighter(one.lower.as_ref(), other.lower.as_ref(), std::cmp::Ordering::Greater),
        upper: tighter(one.upper.as_ref(), other.upper.as_ref(), std::cmp::Ordering::Less),
        multiples,
    }
}

/// The bound that demands more; `wins` says which way that is.
pub(super) fn tighter(one: Option<&Bound>, other: Option<&Bound>, wins: std::cmp::Ordering) -> Option<Bound> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let order = number::compare(&one.value, &other.value);
            let first = order == wins || (order.is_eq() && one.exclusive);
            Some(if first { one } else { other }.clone())
        }
        (one, other) => one.or(other).cloned(),
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn union(one: &[NodeId], other: &[NodeId]) -> Vec<NodeId> {
    let mut both: Vec<NodeId> = one.iter().chain(other).copied().collect();
    both.sort_unstable();
    both.dedup();
    both
}
