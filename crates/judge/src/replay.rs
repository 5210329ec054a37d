//! Recorded counters from CSV, run through the same code as a rollout.
//!
//! One line an interval, arm and route class. Columns by the names in the first line, in any order:
//! - `interval`: its number; numbers that are left out are intervals without counters
//! - `arm`: `new` or `old`
//! - `requests`
//! - `class` (may be missing): a route class; empty or missing for the total
//! - `weight` (may be missing): the percentage of keys that the gateway gave to the new arm, or `changed`; empty when only
//!   counters are known
//! - any status class (`5xx`, `404`, `none`): answers; `5xx keys`: how many keys that was; each answer a key where it is missing
//! - `slower 250`: answers that took more than 250 ms; `slower 250 keys` likewise
//!
//! Fields hold no quotes or commas. An interval without a line for the total has the sum of its classes as total.

mod columns;
mod line;
mod looks;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::counts::{Counts, Interval, Pair, Reading, RouteClass};
use crate::latency::latency_bounds;
use crate::rules::{MAX_CLASSES, MAX_LATENCY_BOUNDS, Plan, Rules};
use columns::Columns;
use line::{Arm, Line};
pub use looks::Looked;

/// Most intervals of a recording: three months of looks of 10 s.
const MAX_INTERVALS: u64 = 800_000;
/// Most mistakes that are reported at once.
const MAX_MISTAKES: usize = 50;

/// A mistake in a recording.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column `{column}`: {why}")]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The name of the column.
    pub column: String,
    /// What is wrong.
    pub why: String,
}

/// A recording that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The intervals in their order, with those that are missing.
    pub readings: Vec<Reading>,
    /// The number of the first of them.
    pub first_interval: u64,
    /// How long each of them is.
    pub interval_ms: u64,
    /// The route classes that are named.
    pub classes: Vec<RouteClass>,
    /// The bounds of latency that are named, in milliseconds.
    pub latency_bounds_ms: Vec<u64>,
}

impl Recording {
    /// Makes a plan for it of the rules and of what is named in it. Of more than a plan can hold, it takes the route
    /// classes that were asked most, and the bounds that are nearest to the old version's quantiles.
    #[must_use]
    pub fn plan(&self, rules: Rules) -> Plan {
        let latency_bounds_ms = match self.latency_bounds_ms.len() {
            0..=MAX_LATENCY_BOUNDS => self.latency_bounds_ms.iter().copied().collect(),
            _ => latency_bounds(&self.old()),
        };
        let mut classes: Vec<_> = self.classes.iter().collect();
        classes.sort_by_key(|class| std::cmp::Reverse(self.requests(class)));
        let classes = classes.into_iter().take(MAX_CLASSES).cloned().collect();
        Plan { rules, classes, latency_bounds_ms, checks_bodies: false, usual: None }
    }

    fn old(&self) -> Counts {
        self.readings.iter().filter_map(counted).fold(Counts::default(), |mut sum, interval| {
            sum.add(&interval.total.old);
            sum
        })
    }

    fn requests(&self, class: &RouteClass) -> u64 {
        let pairs =
            self.readings.iter().filter_map(counted).filter_map(|interval| interval.classes.get(class));
        pairs
            .fold(0, |sum: u64, pair| sum.saturating_add(pair.old.requests).saturating_add(pair.new.requests))
    }
}

/// Reads a recording, whose intervals are so long.
///
/// # Errors
/// All mistakes, by their lines.
pub fn read(text: &str, interval_ms: u64) -> Result<Recording, Vec<Mistake>> {
    let mut lines =
        (1..).zip(text.trim_start_matches('\u{feff}').lines()).filter(|(_, line)| !line.trim().is_empty());
    let head = lines.next().ok_or_else(|| vec![mistake(1, "interval", "the recording is empty")])?;
    let columns = Columns::read(head.0, head.1)?;
    let mut mistakes = Vec::new();
    let mut intervals = BTreeMap::new();
    for (number, text) in lines {
        match columns.line(number, text) {
            Ok(line) => mistakes.extend(put(&mut intervals, number, line, interval_ms)),
            Err(more) => mistakes.extend(more),
        }
        if mistakes.len() >= MAX_MISTAKES {
            break;
        }
    }
    if mistakes.is_empty() { assemble(&columns, intervals, head.0, interval_ms) } else { Err(mistakes) }
}

/// An interval while its lines are read.
struct Draft {
    interval: Interval,
    /// Which lines there were, so that none is read twice.
    seen: Vec<(Option<RouteClass>, Arm)>,
}

fn put(intervals: &mut BTreeMap<u64, Draft>, number: usize, line: Line, lasted_ms: u64) -> Option<Mistake> {
    let Line { interval, arm, class, split, counts } = line;
    let draft = intervals.entry(interval).or_insert_with(|| Draft {
        interval: Interval { lasted_ms, split, total: Pair::default(), classes: BTreeMap::new() },
        seen: Vec::new(),
    });
    if draft.interval.split != split {
        return Some(mistake(
            number,
            "weight",
            "differs within the interval: write `changed` on all its lines",
        ));
    }
    if draft.seen.contains(&(class.clone(), arm)) {
        return Some(mistake(number, "arm", "this arm was counted before in the same interval and class"));
    }
    draft.seen.push((class.clone(), arm));
    let pair = match class {
        None => &mut draft.interval.total,
        Some(class) => draft.interval.classes.entry(class).or_default(),
    };
    match arm {
        Arm::New => pair.new = counts,
        Arm::Old => pair.old = counts,
    }
    None
}

fn assemble(
    columns: &Columns,
    drafts: BTreeMap<u64, Draft>,
    head: usize,
    interval_ms: u64,
) -> Result<Recording, Vec<Mistake>> {
    let (first, last) = match (drafts.keys().next(), drafts.keys().next_back()) {
        (Some(first), Some(last)) => (*first, *last),
        _ => return Err(vec![mistake(head, "interval", "no line follows the names of the columns")]),
    };
    if last - first >= MAX_INTERVALS {
        let why =
            format!("from {first} to {last} are more than {MAX_INTERVALS} intervals: numbers, not times");
        return Err(vec![Mistake { line: head, column: "interval".into(), why }]);
    }
    let mut drafts = drafts;
    let reading =
        |number| drafts.remove(&number).map_or(Reading::Missing, |draft| Reading::Counted(draft.finish()));
    let readings: Vec<_> = (first..=last).map(reading).collect();
    let mut classes: Vec<_> =
        readings.iter().filter_map(counted).flat_map(|it| it.classes.keys().cloned()).collect();
    classes.sort_unstable();
    classes.dedup();
    let latency_bounds_ms = columns.latency_bounds();
    Ok(Recording { readings, first_interval: first, interval_ms, classes, latency_bounds_ms })
}

const fn counted(reading: &Reading) -> Option<&Interval> {
    match reading {
        Reading::Counted(interval) => Some(interval),
        Reading::Missing => None,
    }
}

impl Draft {
    fn finish(self) -> Interval {
        let Self { mut interval, seen } = self;
        if seen.iter().all(|(class, _)| class.is_some()) {
            for pair in interval.classes.values() {
                interval.total.add(pair);
            }
        }
        interval
    }
}

fn mistake(line: usize, column: &str, why: &str) -> Mistake {
    Mistake { line, column: column.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests;
