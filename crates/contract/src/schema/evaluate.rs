//! Whether one concrete document is allowed by a schema: the check that every witness must pass.

use std::rc::Rc;

use serde_json::{Map, Number, Value};

use super::facts::{Facts, NodeId, ObjectFacts, Type, Whole};
use super::meet::same_value;
use super::{MAX_NESTING, Medium, Schemas, format, number};

/// Whether something holds, where it may not be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    Yes,
    No,
    Unknown,
}

impl Truth {
    fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }

    /// Both hold.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }
}

/// Both hold; the second is only asked when the first does not decide.
macro_rules! all {
    ($first:expr $(, $next:expr)* $(,)?) => {{
        let mut truth = $first;
        $(if truth != Truth::No { truth = truth.and($next); })*
        truth
    }};
}

impl Schemas<'_> {
    /// Whether the schema allows the value.
    pub(crate) fn allows(&mut self, id: NodeId, value: &Value) -> Truth {
        self.allows_at(id, value, 0)
    }

    fn allows_at(&mut self, id: NodeId, value: &Value, depth: usize) -> Truth {
        if id == NodeId::ANY {
            return Truth::Yes;
        }
        if depth > MAX_NESTING || !self.work.try_value() {
            return Truth::Unknown;
        }
        let alternatives = self.alternatives(id);
        let mut best = Truth::No;
        for facts in alternatives.iter() {
            match self.meets_at(facts, value, depth) {
                Truth::Yes => return Truth::Yes,
                Truth::Unknown => best = Truth::Unknown,
                Truth::No => {}
            }
        }
        best
    }

    /// Whether the value meets all facts of one alternative.
    pub(super) fn meets(&mut self, facts: &Facts, value: &Value) -> Truth {
        self.meets_at(facts, value, 0)
    }

    /// Where all is text a value is also what its text may be read as.
    fn meets_at(&mut self, facts: &Facts, value: &Value, depth: usize) -> Truth {
        let truth = self.meets_as_written(facts, value, depth);
        if self.medium == Medium::Json || truth != Truth::No {
            return truth;
        }
        other_reading(value).map_or(truth, |other| self.meets_as_written(facts, &other, depth))
    }

    fn meets_as_written(&mut self, facts: &Facts, value: &Value, depth: usize) -> Truth {
        let listed =
            facts.values.as_ref().is_none_or(|values| values.iter().any(|listed| same_value(listed, value)));
        if !facts.reads(Type::of(value)) || !listed {
            return Truth::No;
        }
        let by_type = match value {
            Value::Number(value) => number_meets(facts, value),
            Value::String(text) => self.string_meets(facts, text, depth),
            Value::Array(items) => self.array_meets(facts, items, depth),
            Value::Object(map) => self.object_meets(&facts.object, map, depth),
            Value::Null | Value::Bool(_) => Truth::Yes,
        };
        if by_type == Truth::No {
            return Truth::No;
        }
        let known = facts.unknown_demands(Type::of(value)).next().is_none();
        let mut truth = if known { by_type } else { Truth::Unknown };
        for excluded in &facts.excluded {
            truth = truth.and(self.allows_at(*excluded, value, depth + 1).not());
            if truth == Truth::No {
                return truth;
            }
        }
        truth
    }

    fn string_meets(&mut self, facts: &Facts, text: &str, depth: usize) -> Truth {
        let length = text.chars().count() as u64;
        let string = &facts.string;
        let mut truth =
            Truth::of(length >= string.min_length && string.max_length.is_none_or(|max| length <= max));
        for pattern in &string.patterns {
            truth = all!(truth, self.patterns.matches(pattern, text).map_or(Truth::Unknown, Truth::of));
        }
        for format in facts.formats.iter().filter(|format| !format::is_numeric(format)) {
            truth = all!(truth, self.is_of_format(format, text));
        }
        if let Some(schema) = string.content.schema
            && truth != Truth::No
        {
            let content = serde_json::from_str::<Value>(text).ok();
            truth = truth
                .and(content.map_or(Truth::Unknown, |content| self.allows_at(schema, &content, depth + 1)));
        }
        truth
    }

    fn is_of_format(&mut self, format: &str, text: &str) -> Truth {
        if format::sample(format) == Some(text) {
            return Truth::Yes;
        }
        let necessary = format::pattern(format).map(Rc::from);
        match necessary.and_then(|pattern| self.patterns.matches(&pattern, text)) {
            Some(false) => Truth::No,
            _ => Truth::Unknown,
        }
    }

    fn array_meets(&mut self, facts: &Facts, items: &[Value], depth: usize) -> Truth {
        let array = &facts.array;
        let count = items.len() as u64;
        let mut truth = Truth::of(count >= array.min_items && array.max_items.is_none_or(|max| count <= max));
        truth = all!(truth, Truth::of(!array.unique || all_distinct(items)));
        for (index, item) in items.iter().enumerate() {
            truth = all!(truth, self.allows_at(array.item(index), item, depth + 1));
        }
        for contains in &array.contains {
            let found: Vec<Truth> =
                items.iter().map(|item| self.allows_at(contains.node, item, depth + 1)).collect();
            let sure = found.iter().filter(|truth| **truth == Truth::Yes).count() as u64;
            let possible = found.iter().filter(|truth| **truth != Truth::No).count() as u64;
            let enough = within(sure >= contains.min, possible >= contains.min);
            let few = contains.max.map_or(Truth::Yes, |max| within(possible <= max, sure <= max));
            truth = all!(truth, enough, few);
        }
        truth
    }

    fn object_meets(&mut self, object: &ObjectFacts, map: &Map<String, Value>, depth: usize) -> Truth {
        let count = map.len() as u64;
        let has = |name: &Rc<str>| map.contains_key(&**name);
        let mut truth = Truth::of(count >= object.min && object.max.is_none_or(|max| count <= max));
        truth = all!(truth, Truth::of(object.required.iter().all(has)));
        let dependent = object.dependent.iter().all(|(name, needed)| !has(name) || needed.iter().all(has));
        truth = all!(truth, Truth::of(dependent), self.patterns_known(object, map));
        for (name, value) in map {
            if truth == Truth::No {
                return truth;
            }
            let node = self.property(object, name);
            truth = all!(truth, self.allows_at(node, value, depth + 1));
            for names in &object.names {
                truth = all!(truth, self.allows_at(*names, &Value::String(name.clone()), depth + 1));
            }
        }
        truth
    }

    /// Unknown when a pattern of names cannot be run, so that it is not known which schema a property has.
    fn patterns_known(&mut self, object: &ObjectFacts, map: &Map<String, Value>) -> Truth {
        let known = object.patterns.keys().all(|pattern| self.patterns.matches(pattern, "").is_some());
        if known || map.is_empty() { Truth::Yes } else { Truth::Unknown }
    }
}

/// The other value that the text of a scalar may stand for.
fn other_reading(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => {
            let read = serde_json::from_str::<Value>(text).ok()?;
            (read.is_number() || read.is_boolean()).then_some(read)
        }
        Value::Number(_) | Value::Bool(_) => Some(Value::String(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn within(surely: bool, possibly: bool) -> Truth {
    match (surely, possibly) {
        (true, _) => Truth::Yes,
        (false, true) => Truth::Unknown,
        (false, false) => Truth::No,
    }
}

fn all_distinct(items: &[Value]) -> bool {
    items.iter().enumerate().all(|(index, item)| !items[..index].iter().any(|other| same_value(item, other)))
}

fn number_meets(facts: &Facts, value: &Number) -> Truth {
    let demands = &facts.number;
    let above = demands.lower.as_ref().is_none_or(|bound| {
        let order = number::compare(value, &bound.value);
        order.is_gt() || (order.is_eq() && !bound.exclusive)
    });
    let below = demands.upper.as_ref().is_none_or(|bound| {
        let order = number::compare(value, &bound.value);
        order.is_lt() || (order.is_eq() && !bound.exclusive)
    });
    let whole = demands.whole == Whole::Any || number::is_whole(value);
    let double = number::double(value);
    let steps = demands.multiples.iter().all(|step| number::is_multiple(double, number::double(step)));
    let formats = facts.formats.iter().all(|format| format::fits(format, value));
    Truth::of(above && below && whole && steps && formats)
}
