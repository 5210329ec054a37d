//! A report for a person at a terminal: the verdict, then each break with its place, its reason and what shows it.

use std::fmt::Write as _;

use super::group::{self, Group};
use super::summary::{self, MANY};
use super::view::{View, write_left_out};
use super::{headline, hurts, witness};
use crate::{Change, Level, Location, NotChecked, Report};

/// Width to which explanations are broken: fits a terminal of 100 columns with the indent.
const WIDTH: usize = 88;

/// A report as plain text, readable without colour.
#[must_use]
pub fn text(report: &Report, view: View) -> String {
    let mut out = headline(report);
    out.push('\n');
    out.push_str(&summary::text(&report.changes));
    write_errors(&mut out, report, view);
    write_open(&mut out, &report.not_checked, view);
    if !view.only_breaking {
        write_others(&mut out, report, view);
    }
    if !report.may_roll_back {
        write_roll_back(&mut out, report, view);
    }
    out
}

/// Each break with its reason, and the other places of the same one below it.
fn write_errors(out: &mut String, report: &Report, view: View) {
    let errors = report.changes.iter().filter(|change| change.level == Level::Error);
    let (causes, left_out) = view.entries(group::by_cause(errors, report.changes.len()));
    for Group { first, others } in causes {
        write_error(out, first);
        if !others.is_empty() {
            let _ = writeln!(out, "  and at {} more:", others.len());
            view.list(out, "    ", others.iter().map(|change| at(change)));
        }
    }
    if left_out > 0 {
        out.push('\n');
    }
    write_left_out(out, "", left_out, "causes of breaks");
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
    if let Some(shown) = change.shown() {
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
fn write_others(out: &mut String, report: &Report, view: View) {
    let others: Vec<&Change> = report.changes.iter().filter(|change| change.level != Level::Error).collect();
    if others.is_empty() {
        return;
    }
    out.push_str("\nbreaks nobody:\n");
    if report.changes.len() > MANY {
        return group::by_rule(others.into_iter()).iter().for_each(|group| write_alike(out, group, view));
    }
    for change in others {
        let _ = writeln!(out, "  {}: {}  ({}; {})", change.level, change.message, at(change), change.rule.id);
    }
}

/// Changes of one rule: the only one in full, several with their places.
fn write_alike(out: &mut String, group: &Group<'_>, view: View) {
    let (first, rule) = (group.first, group.first.rule);
    if group.others.is_empty() {
        let _ = writeln!(out, "  {}: {}  ({}; {})", first.level, first.message, at(first), rule.id);
        return;
    }
    let count = group.others.len() + 1;
    let _ = writeln!(out, "  {}: {} ({count} times; {}):", first.level, rule.summary, rule.id);
    view.list(out, "    ", group.all().map(at));
}

/// Where a change is.
fn at(change: &Change) -> String {
    place(change.new.as_ref().or(change.old.as_ref()), &change.place)
}

fn write_open(out: &mut String, open: &[NotChecked], view: View) {
    let (open, left_out) = view.entries(open.iter().collect());
    for open in open {
        let _ = writeln!(out, "\nnot checked: {}\n  where: {}", open.reason, place_of(open));
    }
    write_left_out(out, "\n", left_out, "that are not checked");
}

fn write_roll_back(out: &mut String, report: &Report, view: View) {
    out.push_str("\nmay not roll back, because from new to old:\n");
    let breaks: Vec<&Change> = report.roll_back.changes.iter().filter(|change| change.breaks()).collect();
    if breaks.len() > MANY {
        group::by_rule(breaks.into_iter()).iter().for_each(|group| write_alike(out, group, view));
    } else {
        for change in breaks {
            let _ = writeln!(out, "  {}  ({})", change.message, at(change));
        }
    }
    let (open, left_out) = view.entries(report.roll_back.not_checked.iter().collect());
    for open in open {
        let _ = writeln!(out, "  not checked: {}  ({})", open.reason, place_of(open));
    }
    write_left_out(out, "  ", left_out, "that are not checked");
}

/// Where something could not be decided.
fn place_of(open: &NotChecked) -> String {
    place(open.new.as_ref().or(open.old.as_ref()), &open.place)
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
