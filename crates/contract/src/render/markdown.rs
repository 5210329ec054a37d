//! A report for a review.

use std::fmt::Write as _;

use super::group::{self, Group};
use super::view::View;
use super::{headline, location};
use crate::{Change, Findings, Report, Verdict};

/// Forges cut comments at 65,536 characters; what comes around a report has its place too.
const MAX_CHARACTERS: usize = 59_000;

/// A report as Markdown, of less than 60,000 characters: the verdict, a table of changes, witnesses below it.
/// There is no room for all of many, whatever is wanted.
#[must_use]
pub fn markdown(report: &Report, view: View) -> String {
    let mark = match report.verdict {
        Verdict::Compatible => "Compatible",
        Verdict::Breaking => "Breaking",
        Verdict::NotChecked => "Not checked",
    };
    let mut out = format!("## {mark}\n\n{}\n", headline(report));
    let summary = super::summary::text(&report.changes);
    if !summary.is_empty() {
        let _ = writeln!(out, "\n```text\n{}\n```", summary.trim());
    }
    let mut room = Room { length: out.chars().count(), out, left_out: 0 };
    if !report.changes.is_empty() {
        room.out.push_str("\n| level | rule | flow | place | what |\n| --- | --- | --- | --- | --- |\n");
    }
    view.of(&report.changes).for_each(|change| room.add(&row(change)));
    let rows_left_out = std::mem::take(&mut room.left_out);
    for open in &report.not_checked {
        room.add(&format!("\n- not checked: {} at `{}`\n", open.reason, open.place));
    }
    if !report.may_roll_back {
        roll_back(&report.roll_back).iter().for_each(|line| room.add(line));
    }
    for change in report.changes.iter().filter(|change| change.breaks()) {
        if let Some(witness) = change.shown() {
            let title = super::witness_title(change);
            room.add(&format!("\nThis {title} (`{}`):\n\n```json\n{witness:#}\n```\n", change.rule.id));
        }
    }
    let Room { mut out, left_out, .. } = room;
    if rows_left_out + left_out > 0 {
        let _ = writeln!(
            out,
            "\n{rows_left_out} more changes are left out, and {left_out} of what is not checked, shows a break or keeps the old version from coming back: a comment holds no more. --format html has them all."
        );
    }
    out
}

/// Why the old version may not come back: a line for each rule, so that it is short however many changes there are.
fn roll_back(findings: &Findings) -> Vec<String> {
    let mut lines = vec!["\nMay not roll back, because from new to old:\n\n".to_owned()];
    for Group { first, others } in group::by_rule(findings.changes.iter().filter(|change| change.breaks())) {
        let more =
            if others.is_empty() { String::new() } else { format!(", and {} more like it", others.len()) };
        lines.push(format!("- {}{more} (`{}`)\n", cell(&first.message), first.rule.id));
    }
    let open = findings.not_checked.len();
    if open > 0 {
        lines.push(format!("- {open} not checked\n"));
    }
    lines
}

fn row(change: &Change) -> String {
    let at = location(change).map(|at| format!(" ({at})")).unwrap_or_default();
    let accepted = if change.accepted.is_some() { " (accepted)" } else { "" };
    let place = cell(&format!("`{}`{at}", change.place));
    format!(
        "| {}{accepted} | `{}` | {} | {place} | {} |\n",
        change.level,
        change.rule.id,
        change.flow,
        cell(&change.message)
    )
}

/// A text that takes parts while there is room for them.
struct Room {
    out: String,
    /// The characters so far.
    length: usize,
    left_out: usize,
}

impl Room {
    fn add(&mut self, part: &str) {
        let length = self.length + part.chars().count();
        if self.left_out == 0 && length < MAX_CHARACTERS {
            self.out.push_str(part);
            self.length = length;
        } else {
            self.left_out += 1;
        }
    }
}

/// A text inside a table: one line, without bars that would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
