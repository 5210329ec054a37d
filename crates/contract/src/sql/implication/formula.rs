//! Conditions over terms that are compared with literals, and the values that stand for all that a term may have.

use std::collections::{BTreeMap, BTreeSet};

/// A condition over terms and parts that nothing is known of.
#[derive(Debug, Clone)]
pub(super) enum Formula {
    Known(Option<bool>),
    /// What nothing is known of but its outcome.
    Open(String),
    /// A term beside a literal.
    Compared(String, Comparison, Constant),
    IsNull(String),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    /// One of three outcomes: true, false, unknown.
    Is(Box<Self>, Option<bool>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Number(f64),
    Text(String),
}

/// A value that stands for all that are like it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sample {
    Null,
    Number(f64),
    Text(String),
    /// Something that equals none of the literals.
    Other,
}

/// What is compared with literals.
#[derive(Debug, Default)]
pub(super) struct Term {
    pub(super) numbers: Vec<f64>,
    pub(super) texts: BTreeSet<String>,
    pub(super) kind: Kind,
    pub(super) never_null: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Kind {
    /// Nothing is known of its values.
    #[default]
    Any,
    Whole {
        low: f64,
        high: f64,
    },
}

impl Term {
    pub(super) fn samples(&self) -> Vec<Sample> {
        let mut samples: Vec<Sample> = self.texts.iter().cloned().map(Sample::Text).collect();
        let numbers = match self.kind {
            Kind::Whole { low, high } => {
                let near = self
                    .numbers
                    .iter()
                    .flat_map(|one| [one.floor() - 1.0, one.floor(), one.ceil(), one.ceil() + 1.0]);
                near.chain([low, high]).filter(|one| *one >= low && *one <= high).collect()
            }
            Kind::Any => between(&self.numbers),
        };
        if numbers.is_empty() {
            samples.push(Sample::Other);
        }
        samples.extend(numbers.into_iter().map(Sample::Number));
        if !self.never_null {
            samples.push(Sample::Null);
        }
        samples
    }
}

/// Numbers below, at, between and above others.
fn between(numbers: &[f64]) -> Vec<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    let middles = sorted.windows(2).map(|pair| f64::midpoint(pair[0], pair[1])).collect::<Vec<_>>();
    let ends = sorted.first().into_iter().map(|low| low - 1.0).chain(sorted.last().map(|high| high + 1.0));
    let ends: Vec<f64> = ends.collect();
    sorted.into_iter().chain(middles).chain(ends).collect()
}

/// What a row holds under a name: a value, and whether it holds as a condition.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) value: Sample,
    pub(super) holds: Option<bool>,
}

impl Formula {
    pub(super) fn names(&self) -> BTreeSet<&str> {
        match self {
            Self::Known(_) => BTreeSet::new(),
            Self::Open(name) | Self::Compared(name, ..) | Self::IsNull(name) => {
                BTreeSet::from([name.as_str()])
            }
            Self::Not(inner) | Self::Is(inner, _) => inner.names(),
            Self::And(left, right) | Self::Or(left, right) => &left.names() | &right.names(),
        }
    }

    pub(super) fn outcome(&self, row: &BTreeMap<&str, &Chosen>) -> Option<bool> {
        match self {
            Self::Known(known) => *known,
            Self::Open(name) => row.get(name.as_str())?.holds,
            Self::Compared(name, comparison, constant) => {
                compare(&row.get(name.as_str())?.value, *comparison, constant)
            }
            Self::IsNull(name) => Some(row.get(name.as_str())?.value == Sample::Null),
            Self::Not(inner) => inner.outcome(row).map(|known| !known),
            Self::And(left, right) => match (left.outcome(row), right.outcome(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.outcome(row), right.outcome(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Is(inner, wanted) => Some(inner.outcome(row) == *wanted),
        }
    }
}

fn compare(value: &Sample, comparison: Comparison, constant: &Constant) -> Option<bool> {
    match (value, constant) {
        (Sample::Null, _) => None,
        (Sample::Number(value), Constant::Number(constant)) => Some(match comparison {
            Comparison::Equal => value == constant,
            Comparison::Less => value < constant,
            Comparison::LessOrEqual => value <= constant,
        }),
        (Sample::Text(value), Constant::Text(constant)) => Some(value == constant),
        _ => Some(false),
    }
}

pub(super) fn not(formula: Formula) -> Formula {
    Formula::Not(Box::new(formula))
}
