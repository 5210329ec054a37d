//! Small documents that a schema allows: what witnesses are made of.
//!
//! A sample may fail to exist where one could be found with more work; it is never trusted before
//! [`super::evaluate`] has checked it.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::evaluate::Truth;
use super::facts::{Facts, NodeId, ObjectFacts, Type, Types, Whole};
use super::relate::Step;
use super::{Schemas, format, number};

/// How deep samples nest: required recursion deeper than this has no finite sample.
const MAX_SAMPLE_DEPTH: usize = 8;

/// The longest string and array that is written out in a sample.
pub(super) const MAX_SAMPLE_LENGTH: u64 = 2048;

/// How many of the described properties are looked at to fill an object.
const MAX_FILLED: usize = 4096;

/// How many samples of one alternative are tried.
const MAX_SAMPLES: usize = 24;

/// How many properties the objects around a fragment have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filling {
    /// Those that are required.
    Least,
    /// All that are described, as conditions on others may ask for them.
    All,
}

impl Schemas<'_> {
    /// A small document that the schema allows, when one is found.
    pub(crate) fn sample(&mut self, id: NodeId) -> Option<Value> {
        self.samples_at(id, 0, 1).pop()
    }

    /// Up to `count` different documents that the schema allows.
    pub(super) fn samples(&mut self, id: NodeId, count: usize) -> Vec<Value> {
        self.samples_at(id, 0, count)
    }

    fn samples_at(&mut self, id: NodeId, depth: usize, count: usize) -> Vec<Value> {
        let mut found: Vec<Value> = Vec::new();
        if depth > MAX_SAMPLE_DEPTH || !self.work.sample() {
            return found;
        }
        let alternatives = self.alternatives(id);
        for facts in alternatives.iter().take(MAX_SAMPLES) {
            for value in self.samples_of(facts, depth, count) {
                if !found.contains(&value) && self.allows(id, &value) != Truth::No {
                    found.push(value);
                }
                if found.len() >= count {
                    return found;
                }
            }
        }
        found
    }

    /// Documents that one alternative allows, of each type.
    pub(super) fn samples_of(&mut self, facts: &Facts, depth: usize, count: usize) -> Vec<Value> {
        if !self.work.sample() {
            return Vec::new();
        }
        if let Some(values) = &facts.values {
            let values: Vec<Value> = values.iter().take(MAX_SAMPLES.max(count)).cloned().collect();
            return values.into_iter().filter(|value| self.meets(facts, value) != Truth::No).collect();
        }
        let mut found = Vec::new();
        for kind in [Type::String, Type::Number, Type::Boolean, Type::Object, Type::Array, Type::Null] {
            if facts.types.has(kind) && found.len() < count {
                let candidates = self.candidates(facts, kind, depth, count - found.len());
                found.extend(candidates.into_iter().filter(|value| self.meets(facts, value) != Truth::No));
            }
        }
        found
    }

    /// Values of one type that probably meet the facts.
    pub(super) fn candidates(&mut self, facts: &Facts, kind: Type, depth: usize, count: usize) -> Vec<Value> {
        if !self.work.sample() {
            return Vec::new();
        }
        match kind {
            Type::Null => vec![Value::Null],
            Type::Boolean => vec![Value::Bool(true), Value::Bool(false)],
            Type::Number => number_candidates(facts),
            Type::String => self.string_candidates(facts, count),
            Type::Array => self.array_candidate(facts, depth).into_iter().collect(),
            Type::Object => self.object_candidates(facts, depth, count),
        }
    }

    fn string_candidates(&mut self, facts: &Facts, count: usize) -> Vec<Value> {
        let string = &facts.string;
        if string.min_length > MAX_SAMPLE_LENGTH {
            return Vec::new();
        }
        let patterns: Vec<Rc<str>> = string.patterns.iter().cloned().collect();
        let mut found: Vec<String> = Vec::new();
        found.extend(facts.formats.iter().filter_map(|format| format::sample(format)).map(str::to_owned));
        if !patterns.is_empty() {
            found.extend(self.patterns.sample(&patterns, None, string.min_length));
        }
        if let Some(value) = string.content.schema.and_then(|schema| self.sample(schema)) {
            found.push(value.to_string());
        }
        let letters = b'a'..=b'z';
        let least = usize::try_from(string.min_length.max(1)).unwrap_or(1);
        for letter in letters.take(count.max(1)) {
            found.push(char::from(letter).to_string().repeat(least));
        }
        found.push("a".repeat(least - usize::from(string.min_length == 0)));
        found.into_iter().map(Value::String).collect()
    }

    /// An array of `length` items, or of the smallest length.
    fn array_candidate(&mut self, facts: &Facts, depth: usize) -> Option<Value> {
        let needed: u64 = facts.array.contains.iter().map(|contains| contains.min).sum();
        self.array_of(facts, facts.array.min_items.max(needed), depth)
    }

    /// An array of exactly `length` items.
    pub(super) fn array_of(&mut self, facts: &Facts, length: u64, depth: usize) -> Option<Value> {
        let length = usize::try_from(length).ok().filter(|length| *length as u64 <= MAX_SAMPLE_LENGTH)?;
        if !self.work.sample() {
            return None;
        }
        let array = &facts.array;
        let mut wanted: Vec<NodeId> = Vec::new();
        for contains in &array.contains {
            wanted.extend((0..contains.min.min(MAX_SAMPLE_LENGTH)).map(|_| contains.node));
        }
        let mut items: Vec<Value> = Vec::with_capacity(length);
        for index in 0..length {
            let from_end = length - index - 1;
            let contained = wanted.len().checked_sub(from_end + 1).and_then(|_| wanted.pop());
            let node = self.all([array.item(index)].into_iter().chain(contained));
            let choices = if array.unique { index + 1 } else { 1 };
            let choices = self.samples_at(node, depth + 1, choices);
            items.push(choices.into_iter().find(|choice| !array.unique || !items.contains(choice))?);
        }
        Some(Value::Array(items))
    }

    fn object_candidates(&mut self, facts: &Facts, depth: usize, count: usize) -> Vec<Value> {
        let Some(smallest) = self.object_with(&facts.object, None, depth) else { return Vec::new() };
        let mut found = vec![Value::Object(smallest.clone())];
        let optional: Vec<Rc<str>> = facts.object.properties.keys().take(MAX_FILLED).cloned().collect();
        for name in
            optional.into_iter().filter(|name| !smallest.contains_key(&**name)).take(count.saturating_sub(1))
        {
            let node = self.property(&facts.object, &name);
            if let Some(value) = self.samples_at(node, depth + 1, 1).pop() {
                found.extend(self.object_with(&facts.object, Some((&name, value)), depth).map(Value::Object));
            }
        }
        found
    }

    /// A small object, holding one given property.
    pub(super) fn object_with(
        &mut self,
        object: &ObjectFacts,
        given: Option<(&str, Value)>,
        depth: usize,
    ) -> Option<Map<String, Value>> {
        if !self.work.sample() || !self.work.add_samples(object.required.len()) {
            return None;
        }
        let mut map = Map::new();
        map.extend(given.map(|(name, value)| (name.to_owned(), value)));
        let mut due: Vec<Rc<str>> = object.required.iter().cloned().collect();
        if let Some(name) = map.keys().next().cloned() {
            due.extend(object.dependent.get(name.as_str()).into_iter().flatten().cloned());
        }
        while let Some(name) = due.pop() {
            if !map.contains_key(&*name) {
                let node = self.property(object, &name);
                map.insert(name.to_string(), self.samples_at(node, depth + 1, 1).pop()?);
                due.extend(object.dependent.get(&name).into_iter().flatten().cloned());
            }
        }
        self.fill(object, &mut map, object.min, depth);
        (map.len() as u64 >= object.min).then_some(map)
    }

    /// Adds properties until there are `least`.
    pub(super) fn fill(
        &mut self,
        object: &ObjectFacts,
        map: &mut Map<String, Value>,
        least: u64,
        depth: usize,
    ) {
        if map.len() as u64 >= least {
            return;
        }
        let wanted = usize::try_from(least).unwrap_or(usize::MAX).min(MAX_FILLED);
        let declared: Vec<Rc<str>> = object.properties.keys().take(wanted).cloned().collect();
        let extra = (0..least.min(MAX_SAMPLE_LENGTH)).map(|index| Rc::from(format!("extra{index}")));
        let mut patterned = Vec::new();
        for pattern in object.patterns.keys() {
            patterned.extend(self.patterns.sample(&[Rc::clone(pattern)], None, 1).map(Rc::from));
        }
        for name in declared.into_iter().chain(patterned).chain(extra) {
            if map.len() as u64 >= least {
                return;
            }
            if !map.contains_key(&*name) {
                let node = self.property(object, &name);
                if let Some(value) = self.samples_at(node, depth + 1, 1).pop() {
                    map.insert(name.to_string(), value);
                }
            }
        }
    }

    /// A document of `id` that holds `value` where `step` leads.
    pub(super) fn embed(
        &mut self,
        id: NodeId,
        step: &Step,
        value: &Value,
        filling: Filling,
    ) -> Option<Value> {
        let alternatives = self.alternatives(id);
        for facts in alternatives.iter() {
            let embedded = match step {
                Step::Property(name) => {
                    let mut map = self.object_with(&facts.object, Some((name, value.clone())), 0);
                    if let (Some(map), Filling::All) = (&mut map, filling) {
                        let most = facts.object.max.unwrap_or(MAX_SAMPLE_LENGTH);
                        self.fill(&facts.object, map, most.min(facts.object.properties.len() as u64 + 1), 0);
                    }
                    map.map(Value::Object)
                }
                Step::Item(index) => self.array_holding(facts, *index, value),
                Step::Content => Some(Value::String(value.to_string())),
                Step::Itself => Some(value.clone()),
            };
            let fits = |schemas: &mut Self, value: &Value| schemas.allows(id, value) != Truth::No;
            if let Some(embedded) = embedded.filter(|embedded| fits(self, embedded)) {
                return Some(embedded);
            }
        }
        None
    }

    fn array_holding(&mut self, facts: &Facts, index: usize, value: &Value) -> Option<Value> {
        let length = facts.array.min_items.max(index as u64 + 1);
        let base = self.array_of(facts, length, 0).or_else(|| {
            // With nothing else to put there, the value itself may do for its neighbours.
            (index == 0 && length == 1).then(|| Value::Array(vec![value.clone()]))
        })?;
        let Value::Array(mut items) = base else { return None };
        *items.get_mut(index)? = value.clone();
        Some(Value::Array(items))
    }

    /// A value of a type other than those allowed, or another value than those listed.
    pub(super) fn stranger(&mut self, facts: &Facts, kind: Type) -> Vec<Value> {
        let free = Facts { types: Types::only(kind), values: None, ..facts.clone() };
        self.candidates(&free, kind, 0, MAX_SAMPLES)
    }
}

/// Numbers at and around every bound and step.
pub(super) fn number_candidates(facts: &Facts) -> Vec<Value> {
    let demands = &facts.number;
    let bounds: Vec<f64> = [&demands.lower, &demands.upper]
        .into_iter()
        .flatten()
        .map(|bound| number::double(&bound.value))
        .chain([0.0])
        .collect();
    let steps = demands.steps();
    let whole_step = steps.iter().copied().fold(1.0_f64, |product, step| product * step);
    let mut found = Vec::new();
    for bound in bounds {
        let offsets = [0.0, 1.0, -1.0, 0.5, -0.5, 0.25, -0.25, 10.0, 100.0, 0.001, -0.001];
        found.extend(offsets.into_iter().map(|offset| bound + offset));
        for step in steps.iter().copied().chain([whole_step]).filter(|step| *step > 0.0) {
            let base = (bound / step).ceil() * step;
            found.extend([base, base + step, base - step]);
        }
    }
    let mut values: Vec<Value> =
        demands.lower.iter().chain(&demands.upper).map(|bound| Value::Number(bound.value.clone())).collect();
    values.extend(found.into_iter().filter_map(number::from_double).map(Value::Number));
    if demands.whole == Whole::Integer {
        values.retain(|value| value.as_number().is_some_and(number::is_whole));
    }
    values
}
