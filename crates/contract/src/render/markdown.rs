//! A report for a review.

use std::fmt::Write as _;

use super::{headline, location};
use crate::{Report, Verdict};

/// A report as Markdown: the verdict, a table of changes, witnesses below it.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mark = match report.verdict {
        Verdict::Compatible => "Compatible",
        Verdict::Breaking => "Breaking",
        Verdict::NotChecked => "Not checked",
    };
    let mut out = format!("## {mark}\n\n{}\n", headline(report));
    if !report.changes.is_empty() {
        out.push_str("\n| level | rule | flow | place | what |\n| --- | --- | --- | --- | --- |\n");
    }
    for change in &report.changes {
        let at = location(change).map(|at| format!(" ({at})")).unwrap_or_default();
        let accepted = if change.accepted.is_some() { " (accepted)" } else { "" };
        let place = cell(&format!("`{}`{at}", change.place));
        let _ = writeln!(
            out,
            "| {}{accepted} | `{}` | {} | {place} | {} |",
            change.level,
            change.rule.id,
            change.flow,
            cell(&change.message)
        );
    }
    for open in &report.not_checked {
        let _ = writeln!(out, "\n- not checked: {} at `{}`", open.reason, open.place);
    }
    for change in report.changes.iter().filter(|change| change.breaks()) {
        if let Some(witness) = &change.witness {
            let title = super::witness_title(change);
            let _ = writeln!(out, "\nThis {title} (`{}`):\n\n```json\n{witness:#}\n```", change.rule.id);
        }
    }
    out
}

/// A text inside a table: one line, without bars that would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
