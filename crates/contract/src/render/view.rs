//! How much of a report is shown. What is left out is counted.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::group;
use crate::{Change, Level, Report};

/// Entries of one section that are shown unless all are wanted: what a person reads before looking for a shorter way.
const ENTRIES: usize = 40;

/// Places of one entry that are shown unless all are wanted.
const PLACES: usize = 10;

/// How much of a report is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct View {
    /// Leave out what breaks nobody. What is not checked stays: nobody knows whom it breaks.
    pub only_breaking: bool,
    /// Show every entry and every place, however many there are.
    pub all: bool,
}

impl View {
    /// A report with the changes that are shown, for forms that programs read: they leave out nothing for its number.
    #[must_use]
    pub fn cut(self, report: &Report) -> Cow<'_, Report> {
        if !self.only_breaking {
            return Cow::Borrowed(report);
        }
        let changes = self.of(&report.changes).cloned().collect();
        Cow::Owned(Report { changes, ..report.clone() })
    }

    /// The changes that are shown, in their order.
    pub(super) fn of(self, changes: &[Change]) -> impl Iterator<Item = &Change> {
        changes.iter().filter(move |change| !self.only_breaking || change.level == Level::Error)
    }

    /// As many entries as are shown, and how many are left out.
    pub(super) fn entries<T>(self, mut entries: Vec<T>) -> (Vec<T>, usize) {
        let left_out = if self.all { 0 } else { entries.len().saturating_sub(ENTRIES) };
        entries.truncate(entries.len() - left_out);
        (entries, left_out)
    }

    /// Writes places one after another with an indent, and how many are left out.
    pub(super) fn list(self, out: &mut String, indent: &str, places: impl Iterator<Item = String>) {
        let mut places: Vec<String> = places.collect();
        let left_out = if self.all { 0 } else { places.len().saturating_sub(PLACES) };
        places.truncate(places.len() - left_out);
        if left_out > 0 {
            places.push(format!("and {left_out} more"));
        }
        group::list(out, indent, places.into_iter());
    }
}

/// Says how many entries of a section are left out, and how to see them.
pub(super) fn write_left_out(out: &mut String, indent: &str, left_out: usize, what: &str) {
    if left_out > 0 {
        let _ = writeln!(out, "{indent}and {left_out} more {what}: --all shows them");
    }
}
