//! Numbers and strings, keyword by keyword.

use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::{Number, Value};

use super::super::facts::{Bound, Facts, Whole};
use super::super::pattern::{Inclusion, matches_everything};
use super::super::sample::{MAX_SAMPLE_LENGTH, number_candidates};
use super::super::violation::{Aspect, Violation};
use super::super::{Schemas, format, number};
use super::{Relation, Step};
use crate::schema::NodeId;

/// The longest length that is compared with patterns: an automaton has a state a character.
const MAX_BOUND_BY_PATTERN: u64 = 256;

/// What the range, the steps and the format of numbers demand.
pub(super) fn numbers(held: &Facts, holding: &Facts, relation: &mut Relation) {
    let ends = [
        (
            Aspect::Minimum,
            held.number.lower.as_ref(),
            holding.number.lower.as_ref(),
            Ordering::Less,
            Rounding::Up,
        ),
        (
            Aspect::Maximum,
            held.number.upper.as_ref(),
            holding.number.upper.as_ref(),
            Ordering::Greater,
            Rounding::Down,
        ),
    ];
    let shown = || number_candidates(holding).into_iter().chain(number_candidates(held));
    let whole = is_whole(held);
    for (aspect, from, to, outside, rounding) in ends {
        let Some(to) = to else { continue };
        let beyond = match from {
            None => true,
            Some(from) => {
                is_beyond(&inclusive(from, whole, rounding), &inclusive(to, whole, rounding), outside)
            }
        };
        if beyond {
            relation.add(Violation::new(aspect, bound_text(from), bound_text(Some(to))).shown_by(shown()));
        }
    }
    if holding.number.whole == Whole::Integer && !whole {
        relation.add(Violation::new(Aspect::Type, "number", "integer").about("number").shown_by(shown()));
    }
    for step in &holding.number.multiples {
        let step_value = number::double(step);
        if !held.number.steps().iter().any(|own| number::is_multiple(*own, step_value)) {
            let own: Vec<String> = held.number.multiples.iter().map(Number::to_string).collect();
            let own = if own.is_empty() { "any".to_owned() } else { own.join(", ") };
            relation.add(Violation::new(Aspect::MultipleOf, own, step.to_string()).shown_by(shown()));
        }
    }
    numeric_formats(held, holding, relation);
}

#[derive(Clone, Copy)]
enum Rounding {
    Up,
    Down,
}

fn is_whole(facts: &Facts) -> bool {
    facts.number.steps().iter().any(|step| number::is_multiple(*step, 1.0))
}

/// The bound without an exclusive end, where only whole numbers count.
fn inclusive(bound: &Bound, whole: bool, rounding: Rounding) -> Bound {
    if !whole {
        return bound.clone();
    }
    let shift = i128::from(bound.exclusive);
    let exact = number::integer(&bound.value).map(|value| match rounding {
        Rounding::Up => value + shift,
        Rounding::Down => value - shift,
    });
    let exact = exact.and_then(number::from_integer);
    let rounded = exact.or_else(|| {
        let value = number::double(&bound.value);
        let rounded = match rounding {
            Rounding::Up => value.ceil(),
            Rounding::Down => value.floor(),
        };
        #[expect(clippy::float_cmp, reason = "rounding a whole number gives the same number exactly")]
        let was_whole = rounded == value;
        match (was_whole && bound.exclusive, rounding) {
            (true, Rounding::Up) => number::from_double(rounded + 1.0),
            (true, Rounding::Down) => number::from_double(rounded - 1.0),
            (false, _) => number::from_double(rounded),
        }
    });
    rounded.map_or_else(|| bound.clone(), |value| Bound { value, exclusive: false })
}

fn is_beyond(from: &Bound, to: &Bound, outside: Ordering) -> bool {
    let order = number::compare(&from.value, &to.value);
    order == outside || (order.is_eq() && to.exclusive && !from.exclusive)
}

fn bound_text(bound: Option<&Bound>) -> String {
    match bound {
        None => "none".to_owned(),
        Some(bound) if bound.exclusive => format!("{} (exclusive)", bound.value),
        Some(bound) => bound.value.to_string(),
    }
}

fn numeric_formats(held: &Facts, holding: &Facts, relation: &mut Relation) {
    for wanted in holding.formats.iter().filter(|format| format::is_numeric(format)) {
        let own = || held.formats.iter().filter(|format| format::is_numeric(format));
        let free = own().next().is_none() && format::holds_all_numbers(wanted, is_whole(held));
        if free || own().any(|own| format::holds(wanted, own)) || in_range(held, wanted) {
            continue;
        }
        let names: Vec<&str> = own().map(|name| &**name).collect();
        let shown = format::range(wanted).into_iter().flat_map(|(low, high)| [low - 1, high + 1]);
        let shown = shown.filter_map(number::from_integer).map(Value::Number);
        let own = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        relation.add(Violation::new(Aspect::Format, own, wanted.to_string()).shown_by(shown));
    }
}

fn in_range(held: &Facts, format: &str) -> bool {
    let (Some(lower), Some(upper)) = (&held.number.lower, &held.number.upper) else { return false };
    is_whole(held)
        && format::fits(format, &lower.value)
        && format::fits(format, &upper.value)
        && format::range(format).is_some()
        && number::integer(&lower.value).is_some()
        && number::integer(&upper.value).is_some()
}

impl Schemas<'_> {
    pub(super) fn relate_strings(&mut self, held: &Facts, holding: &Facts, relation: &mut Relation) {
        let (own, wanted) = (&held.string, &holding.string);
        if wanted.min_length > own.min_length && !self.patterns_demand(held, wanted.min_length) {
            let shown = self.texts_of_length(held, own.min_length);
            relation.add(
                Violation::new(Aspect::MinLength, own.min_length.to_string(), wanted.min_length.to_string())
                    .shown_by(shown),
            );
        }
        if let Some(most) = wanted.max_length
            && own.max_length.is_none_or(|own| own > most)
            && !self.patterns_forbid(held, most.saturating_add(1))
        {
            let shown = self.texts_of_length(held, most.saturating_add(1));
            let own = own.max_length.map_or_else(|| "none".to_owned(), |own| own.to_string());
            relation.add(Violation::new(Aspect::MaxLength, own, most.to_string()).shown_by(shown));
        }
        self.relate_patterns(held, holding, relation);
        self.relate_formats(held, holding, relation);
        relate_content(held, holding, relation);
    }

    /// True when the patterns of an alternative leave no string shorter than `length`.
    fn patterns_demand(&mut self, facts: &Facts, length: u64) -> bool {
        let patterns: Vec<Rc<str>> = facts.string.patterns.iter().cloned().collect();
        let shortest = if patterns.is_empty() { None } else { self.patterns.sample(&patterns, None, 0) };
        shortest.is_some_and(|text| text.chars().count() as u64 >= length)
    }

    /// True when the patterns of an alternative leave no string of at least `length`.
    fn patterns_forbid(&mut self, facts: &Facts, length: u64) -> bool {
        let patterns: Vec<Rc<str>> = facts.string.patterns.iter().cloned().collect();
        !patterns.is_empty() && self.patterns.reach(&patterns, length) == Some(false)
    }

    /// Strings of about this length that the alternative may allow.
    fn texts_of_length(&mut self, facts: &Facts, length: u64) -> Vec<Value> {
        if length > MAX_SAMPLE_LENGTH * 8 || !self.work.sample() {
            return Vec::new();
        }
        let patterns: Vec<Rc<str>> = facts.string.patterns.iter().cloned().collect();
        let sample = if patterns.is_empty() { None } else { self.patterns.sample(&patterns, None, length) };
        let plain = usize::try_from(length).ok().map(|length| "a".repeat(length));
        let formatted = facts.formats.iter().filter_map(|format| format::sample(format)).map(str::to_owned);
        sample.into_iter().chain(plain).chain(formatted).map(Value::String).collect()
    }

    /// Patterns that every text of an alternative matches: its own, those of its formats, and its length as one.
    fn bounding_patterns(&mut self, facts: &Facts) -> Vec<Rc<str>> {
        let string = &facts.string;
        let formats = facts.formats.iter().filter_map(|format| format::pattern(format)).map(Rc::from);
        let most = string.max_length.map_or_else(String::new, |most| most.to_string());
        let is_bounded = string.min_length > 0 || string.max_length.is_some();
        let is_short = string.min_length.max(string.max_length.unwrap_or(0)) <= MAX_BOUND_BY_PATTERN;
        let length =
            (is_bounded && is_short).then(|| Rc::from(format!("^[\\s\\S]{{{},{most}}}$", string.min_length)));
        string.patterns.iter().cloned().chain(formats).chain(length).collect()
    }

    fn relate_patterns(&mut self, held: &Facts, holding: &Facts, relation: &mut Relation) {
        let own: Vec<Rc<str>> = held.string.patterns.iter().cloned().collect();
        for wanted in &holding.string.patterns {
            if matches_everything(wanted) || own.contains(wanted) {
                continue;
            }
            let bounds = self.bounding_patterns(held);
            let mut shown = Vec::new();
            let is_unknown = match self.patterns.include_all(wanted, &bounds) {
                Inclusion::Yes => continue,
                Inclusion::No(text) => {
                    shown.push(text);
                    false
                }
                Inclusion::Unknown => true,
            };
            if self.work.sample() {
                shown.extend(self.patterns.sample(&own, Some(wanted), held.string.min_length));
            }
            shown.extend(held.formats.iter().filter_map(|format| format::sample(format)).map(str::to_owned));
            shown.extend(["a", "", "0", " ", "!", "aaaaaaaa"].map(str::to_owned));
            let text = if own.is_empty() { "none".to_owned() } else { own.join(" and ") };
            let violation = Violation::new(Aspect::Pattern, text, wanted.to_string())
                .shown_by(shown.into_iter().map(Value::String));
            // Without a counter example nobody knows whether patterns that cannot be compared differ in what they allow.
            relation.add(if is_unknown { violation.perhaps() } else { violation });
        }
    }

    fn relate_formats(&mut self, held: &Facts, holding: &Facts, relation: &mut Relation) {
        for wanted in holding.formats.iter().filter(|format| !format::is_numeric(format)) {
            if format::is_hint(wanted) {
                continue;
            }
            if held.formats.iter().any(|own| format::holds(wanted, own)) {
                continue;
            }
            let own: Vec<&str> = held.formats.iter().map(|name| &**name).collect();
            let mut shown = self.texts_of_length(held, held.string.min_length.max(1));
            shown.extend(["a", "!", "@", " "].map(Value::from));
            let own = if own.is_empty() { "none".to_owned() } else { own.join(", ") };
            relation.add(Violation::new(Aspect::Format, own, wanted.to_string()).shown_by(shown));
        }
    }
}

fn relate_content(held: &Facts, holding: &Facts, relation: &mut Relation) {
    let (own, wanted) = (&held.string.content, &holding.string.content);
    let pairs = [
        ("contentEncoding", &own.encoding, &wanted.encoding),
        ("contentMediaType", &own.media_type, &wanted.media_type),
    ];
    for (keyword, own, wanted) in pairs {
        // Text that is encoded is other text; what it holds matters only to those who demand it.
        let is_demand = wanted.is_some() || keyword == "contentEncoding";
        if own != wanted && is_demand {
            let text = |value: &Option<Rc<str>>| value.as_deref().unwrap_or("none").to_owned();
            relation.add(Violation::new(Aspect::Content, text(own), text(wanted)).about(keyword));
        }
    }
    if let Some(wanted) = wanted.schema {
        relation.child(Step::Content, own.schema.unwrap_or(NodeId::ANY), wanted);
    }
}
