//! Makes curves out of columns: rows that fall into one point become one.

use std::collections::BTreeMap;

use crate::code::value_of;
use crate::key::SeriesKey;
use crate::level::Level;
use crate::query::{Extent, MAX_READ, Point, Query};
use crate::segment::Column;

/// Columns of a part and the times of its rows.
pub(crate) struct Columns {
    pub(crate) level: Level,
    pub(crate) times: Vec<u64>,
    pub(crate) columns: Vec<Column>,
}

/// Curves so far.
pub(crate) struct Curves<'a> {
    query: &'a Query,
    curves: BTreeMap<SeriesKey, Vec<Sum>>,
    room: usize,
}

#[derive(Clone, Copy)]
struct Sum {
    at_ms: u64,
    sum: f64,
    weight: f64,
    largest: f64,
}

impl<'a> Curves<'a> {
    pub(crate) const fn new(query: &'a Query) -> Self {
        Self { query, curves: BTreeMap::new(), room: MAX_READ }
    }

    /// Adds what a part has, without rows of which finer ones are there: those in one of the times that are covered.
    pub(crate) fn add(&mut self, columns: Columns, covered: &[(u64, u64)]) {
        let is_covered = |at_ms: u64| covered.iter().any(|(first, last)| (*first..=*last).contains(&at_ms));
        let is_in = |at_ms: &u64| self.query.is_in(*at_ms) && !is_covered(*at_ms);
        let rows: Vec<_> = (0..columns.times.len()).filter(|row| is_in(&columns.times[*row])).collect();
        for column in columns.columns {
            let sums = rows.iter().filter_map(|row| sum(&column, *row, columns.times[*row], columns.level));
            self.add_sums(column.key.clone(), sums);
        }
    }

    fn add_sums(&mut self, key: SeriesKey, sums: impl Iterator<Item = Sum>) {
        let mut sums = sums.peekable();
        if sums.peek().is_none() || self.room == 0 {
            return;
        }
        let curve = self.curves.entry(key).or_default();
        let before = curve.len();
        for sum in sums {
            let sum = Sum { at_ms: self.query.point_ms(sum.at_ms), ..sum };
            add(curve, sum);
            if curve.len() - before == self.room {
                break;
            }
        }
        self.room -= curve.len() - before;
    }

    /// Returns the curves in the order of keys and times, each time once.
    pub(crate) fn finish(self) -> (Vec<(SeriesKey, Vec<Point>)>, Extent) {
        let extent = if self.room == 0 { Extent::Cut } else { Extent::Whole };
        let curves = self.curves.into_iter().map(|(key, sums)| (key, points(sums)));
        (curves.collect(), extent)
    }
}

fn sum(column: &Column, row: usize, at_ms: u64, level: Level) -> Option<Sum> {
    let average = value_of(column.averages[row])?;
    let largest = column.largest.as_ref().and_then(|largest| value_of(largest[row])).unwrap_or(average);
    Some(Sum { at_ms, sum: average * level.weight(), weight: level.weight(), largest })
}

fn add(curve: &mut Vec<Sum>, sum: Sum) {
    match curve.last_mut() {
        Some(last) if last.at_ms == sum.at_ms => {
            last.sum += sum.sum;
            last.weight += sum.weight;
            last.largest = last.largest.max(sum.largest);
        }
        _ => curve.push(sum),
    }
}

/// Parts come in the order in which they were written, the newest first, and that is not always the order of their times.
fn points(mut sums: Vec<Sum>) -> Vec<Point> {
    sums.sort_by_key(|sum| sum.at_ms);
    let mut curve = Vec::with_capacity(sums.len());
    sums.into_iter().for_each(|sum| add(&mut curve, sum));
    let point = |sum: Sum| Point { at_ms: sum.at_ms, average: sum.sum / sum.weight, largest: sum.largest };
    curve.into_iter().map(point).collect()
}
