//! One line of a recording.

use super::columns::{Column, Columns, Part};
use super::{Mistake, mistake};
use crate::counts::{Answers, Counts, RouteClass, Split};
use crate::quantity::Weight;

/// Whose counters a line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arm {
    New,
    Old,
}

/// What a line says.
pub(super) struct Line {
    pub(super) interval: u64,
    pub(super) arm: Arm,
    pub(super) class: Option<RouteClass>,
    pub(super) split: Split,
    pub(super) counts: Counts,
}

impl Columns {
    /// Reads a line; all its mistakes at once.
    pub(super) fn line(&self, number: usize, text: &str) -> Result<Line, Vec<Mistake>> {
        let fields: Vec<_> = text.split(',').map(str::trim).collect();
        if fields.len() != self.0.len() {
            let why = format!("{} fields, expected {}", fields.len(), self.0.len());
            return Err(vec![mistake(number, "interval", &why)]);
        }
        let mut line = Line {
            interval: 0,
            arm: Arm::New,
            class: None,
            split: Split::Counted,
            counts: Counts::default(),
        };
        let taken = self.0.iter().zip(&fields).map(|((name, column), field)| {
            line.take(column, field).map_err(|why| mistake(number, name, &why))
        });
        let mut mistakes: Vec<_> = taken.filter_map(Result::err).collect();
        self.complete(&mut line.counts, &fields);
        mistakes.extend(self.too_many(number, &line.counts));
        if mistakes.is_empty() { Ok(line) } else { Err(mistakes) }
    }

    /// Where keys were not counted, or the field is empty, each answer is one.
    fn complete(&self, counts: &mut Counts, fields: &[&str]) {
        let has_keys = |wanted: &Column| {
            self.0.iter().zip(fields).any(|((_, column), field)| column == wanted && !field.is_empty())
        };
        for (class, answers) in &mut counts.statuses {
            if !has_keys(&Column::Status(class.clone(), Part::Keys)) {
                *answers = Answers::each(answers.answers);
            }
        }
        for (bound, answers) in &mut counts.slower {
            if !has_keys(&Column::Slower(*bound, Part::Keys)) {
                *answers = Answers::each(answers.answers);
            }
        }
    }

    fn too_many(&self, number: usize, counts: &Counts) -> Vec<Mistake> {
        let wrong = |(name, column): &(String, Column)| {
            let (answers, part) = match column {
                Column::Status(class, part) => (counts.statuses.get(class)?, part),
                Column::Slower(bound, part) => (counts.slower.get(bound)?, part),
                _ => return None,
            };
            match part {
                Part::Answers if answers.answers > counts.requests => {
                    Some(mistake(number, name, "more answers than requests"))
                }
                Part::Keys if answers.keys > answers.answers => {
                    Some(mistake(number, name, "more keys than answers"))
                }
                _ => None,
            }
        };
        self.0.iter().filter_map(wrong).collect()
    }
}

impl Line {
    fn take(&mut self, column: &Column, field: &str) -> Result<(), String> {
        match column {
            Column::Interval => self.interval = count(field)?,
            Column::Arm => self.arm = arm(field)?,
            Column::Class if field.is_empty() => {}
            Column::Class => self.class = Some(field.parse().map_err(|error| format!("{error}"))?),
            Column::Weight => self.split = split(field)?,
            Column::Requests => self.counts.requests = count(field)?,
            // Not counted is not nothing, but it is no evidence either.
            Column::Status(..) | Column::Slower(..) if field.is_empty() => {}
            Column::Status(class, part) => {
                set(self.counts.statuses.entry(class.clone()).or_default(), *part, count(field)?);
            }
            Column::Slower(bound, part) => {
                set(self.counts.slower.entry(*bound).or_default(), *part, count(field)?);
            }
        }
        Ok(())
    }
}

const fn set(answers: &mut Answers, part: Part, count: u64) {
    match part {
        Part::Answers => answers.answers = count,
        Part::Keys => answers.keys = count,
    }
}

fn count(field: &str) -> Result<u64, String> {
    field.parse().map_err(|_| format!("`{field}` is not a whole number"))
}

fn arm(field: &str) -> Result<Arm, String> {
    match field {
        "new" => Ok(Arm::New),
        "old" => Ok(Arm::Old),
        _ => Err(format!("`{field}` is not an arm: expected `new` or `old`")),
    }
}

fn split(field: &str) -> Result<Split, String> {
    match field {
        "" => Ok(Split::Counted),
        "changed" => Ok(Split::Changed),
        _ => {
            let percent: Option<f64> = field.trim_end_matches('%').trim().parse().ok();
            let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
            let percent = percent
                .ok_or_else(|| format!("`{field}` is not a percentage from 0 to 100, nor `changed`"))?;
            Ok(Split::Drawn(Weight((percent * 100.0).round() as u32)))
        }
    }
}
