//! A report for a terminal.

use std::fmt::Write as _;

use super::{headline, location};
use crate::{Change, NotChecked, Report};

/// A report as plain text, readable without colour.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = headline(report);
    out.push('\n');
    for change in &report.changes {
        write_change(&mut out, change);
    }
    for open in &report.not_checked {
        write_open(&mut out, open);
    }
    if !report.may_roll_back {
        out.push_str("\nmay not roll back:\n");
        for change in report.roll_back.changes.iter().filter(|change| change.breaks()) {
            let _ = writeln!(out, "  {} at {}", change.message, change.place);
        }
        for open in &report.roll_back.not_checked {
            let _ = writeln!(out, "  not checked: {} at {}", open.reason, open.place);
        }
    }
    out
}

fn write_change(out: &mut String, change: &Change) {
    let accepted = if change.accepted.is_some() { " (accepted)" } else { "" };
    let _ = writeln!(out, "\n{}{accepted} {} [{}]", change.level, change.rule.id, change.flow);
    let _ = writeln!(out, "  {}", change.message);
    let at = location(change).map(|at| format!(" ({at})")).unwrap_or_default();
    let _ = writeln!(out, "  at {}{at}", change.place);
    if let Some(witness) = &change.witness {
        let _ = writeln!(out, "  witness: {witness}");
    }
    if let Some(accepted) = &change.accepted {
        let until = accepted.until.map(|until| format!(" until {until}")).unwrap_or_default();
        let _ = writeln!(out, "  accepted{until}: {}", accepted.reason);
    }
}

fn write_open(out: &mut String, open: &NotChecked) {
    let at = open.new.as_ref().or(open.old.as_ref()).map(|at| format!(" ({at})")).unwrap_or_default();
    let _ = writeln!(out, "\nnot checked\n  {}\n  at {}{at}", open.reason, open.place);
}
