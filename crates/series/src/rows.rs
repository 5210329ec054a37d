//! The rows of a part that is not closed, in memory: two bytes a value.

use std::collections::HashMap;

use crate::code::GAP;
use crate::key::SeriesKey;
use crate::level::{Level, MAX_ROWS};

/// The values of all series at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) at_ms: u64,
    /// For the first `len / width` series in the order in which they came: all averages, then all largest values.
    pub(crate) codes: Box<[u16]>,
}

/// Rows in the order of their times, and the series that they are of.
#[derive(Debug)]
pub(crate) struct Rows {
    level: Level,
    keys: Vec<SeriesKey>,
    places: HashMap<SeriesKey, usize>,
    rows: Vec<Row>,
}

impl Rows {
    pub(crate) fn new(level: Level) -> Self {
        Self { level, keys: Vec::new(), places: HashMap::new(), rows: Vec::new() }
    }

    pub(crate) fn keys(&self) -> &[SeriesKey] {
        &self.keys
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) const fn level(&self) -> Level {
        self.level
    }

    /// Returns the place of a series, which gets one while there are fewer than `most`.
    pub(crate) fn place(&mut self, key: &SeriesKey, most: usize) -> Option<usize> {
        if let Some(place) = self.places.get(key) {
            return Some(*place);
        }
        (self.keys.len() < most).then(|| self.add_key(key.clone()))
    }

    fn add_key(&mut self, key: SeriesKey) -> usize {
        self.places.insert(key.clone(), self.keys.len());
        self.keys.push(key);
        self.keys.len() - 1
    }

    /// Takes series back that no row is of.
    pub(crate) fn forget_keys(&mut self, from: usize) {
        for key in self.keys.drain(from..) {
            self.places.remove(&key);
        }
    }

    /// Adds series that a log names; `false` where one is there already.
    pub(crate) fn add_keys(&mut self, keys: Vec<SeriesKey>) -> bool {
        keys.into_iter().all(|key| !self.places.contains_key(&key) && self.add_key(key) < usize::MAX)
    }

    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Tells whether a row can be the next one: later than the last, of the same hour or day, and not too many.
    pub(crate) fn has_place_for(&self, at_ms: u64) -> bool {
        let span = |ms: u64| ms / self.level.span_ms();
        self.times().is_none_or(|(first_ms, last_ms)| {
            at_ms > last_ms && span(at_ms) == span(first_ms) && self.rows.len() < MAX_ROWS
        })
    }

    /// Returns the times of the first and the last row in milliseconds.
    pub(crate) fn times(&self) -> Option<(u64, u64)> {
        Some((self.rows.first()?.at_ms, self.rows.last()?.at_ms))
    }

    /// Returns the codes of a series over all rows, of one of the values that a row has.
    pub(crate) fn column(&self, place: usize, value: usize) -> Vec<u16> {
        self.rows.iter().map(|row| row.code(self.level, place, value)).collect()
    }
}

impl Row {
    /// Returns a code; that of a gap for a series that came later.
    pub(crate) fn code(&self, level: Level, place: usize, value: usize) -> u16 {
        let series = self.codes.len() / level.width();
        if place < series { self.codes[value * series + place] } else { GAP }
    }
}
