//! A report for a person at a terminal: the verdict, then each break with its place, its reason and what shows it.

use std::fmt::Write as _;

use super::{headline, hurts, witness};
use crate::{Change, Level, Location, NotChecked, Report};

/// Width to which explanations are broken: fits a terminal of 100 columns with the indent.
const WIDTH: usize = 88;

/// A report as plain text, readable without colour.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = headline(report);
    out.push('\n');
    for change in &report.changes {
        if change.level == Level::Error {
            write_error(&mut out, change);
        }
    }
    write_open(&mut out, &report.not_checked);
    write_others(&mut out, &report.changes);
    if !report.may_roll_back {
        write_roll_back(&mut out, report);
    }
    out
}

fn write_error(out: &mut String, change: &Change) {
    let accepted = if change.accepted.is_some() { " (accepted)" } else { "" };
    let _ = writeln!(out, "\nerror{accepted}: {}", change.message);
    if !change.place.is_empty() {
        let _ = writeln!(out, "  where: {}", change.place);
    }
    for (side, at) in [("old:  ", &change.old), ("new:  ", &change.new)] {
        if let Some(at) = at {
            let _ = writeln!(out, "  {side} {at}");
        }
    }
    let _ = writeln!(out, "  hurts: {}", hurts(change));
    write_wrapped(out, "  why:   ", change.rule.explanation);
    let _ = writeln!(out, "  rule:  {}", change.rule.id);
    if let Some(shown) = &change.witness {
        let _ = writeln!(out, "  {}:", super::witness_title(change));
        for line in witness::lines(shown) {
            let _ = writeln!(out, "    {line}");
        }
    }
    if let Some(accepted) = &change.accepted {
        let until = accepted.until.map(|until| format!(" until {until}")).unwrap_or_default();
        let _ = writeln!(out, "  accepted{until}: {}", accepted.reason);
    }
}

/// Changes that break nobody take a line each.
fn write_others(out: &mut String, changes: &[Change]) {
    let mut others = changes.iter().filter(|change| change.level != Level::Error).peekable();
    if others.peek().is_some() {
        out.push_str("\nbreaks nobody:\n");
    }
    for change in others {
        let place = place(change.new.as_ref().or(change.old.as_ref()), &change.place);
        let _ = writeln!(out, "  {}: {}  ({place}; {})", change.level, change.message, change.rule.id);
    }
}

fn write_open(out: &mut String, open: &[NotChecked]) {
    for open in open {
        let place = place(open.new.as_ref().or(open.old.as_ref()), &open.place);
        let _ = writeln!(out, "\nnot checked: {}\n  where: {place}", open.reason);
    }
}

fn write_roll_back(out: &mut String, report: &Report) {
    out.push_str("\nmay not roll back, because from new to old:\n");
    for change in report.roll_back.changes.iter().filter(|change| change.breaks()) {
        let place = place(change.new.as_ref().or(change.old.as_ref()), &change.place);
        let _ = writeln!(out, "  {}  ({place})", change.message);
    }
    for open in &report.roll_back.not_checked {
        let place = place(open.new.as_ref().or(open.old.as_ref()), &open.place);
        let _ = writeln!(out, "  not checked: {}  ({place})", open.reason);
    }
}

/// `api.yaml:31 /components/schemas/Charge`; nothing twice.
fn place(at: Option<&Location>, place: &str) -> String {
    match at {
        Some(at) if place.is_empty() || at.to_string() == place => at.to_string(),
        Some(at) => format!("{at} {place}"),
        None => place.to_owned(),
    }
}

/// Writes a text behind a label, broken between words, with the other lines below the first.
fn write_wrapped(out: &mut String, label: &str, text: &str) {
    let indent = " ".repeat(label.len());
    let mut line = String::new();
    let mut start = label;
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{start}{line}");
            line.clear();
            start = &indent;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{start}{line}");
}
