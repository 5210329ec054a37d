//! A report as one page that a person can browse: no script, nothing from elsewhere, and every text escaped by its type.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::group::{self, Group};
use super::summary::{self, Summary};
use super::view::View;
use super::{headline, hurts, witness};
use crate::{Change, Level, Location, NotChecked, Report, Rule, Verdict};

/// The page may load nothing and run nothing, whatever a contract holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// A report as an HTML document. Nothing is left out but what the view leaves out: a browser folds it.
#[must_use]
pub fn html(report: &Report, view: View) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "Contracts: " (report.verdict) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body { (body(report, view)) }
        }
    };
    page.into_string()
}

fn body(report: &Report, view: View) -> Markup {
    let of = |wanted: fn(Level) -> bool| view.of(&report.changes).filter(move |change| wanted(change.level));
    html! {
        (head(report))
        main {
            @for rule in group::by_rule(of(|level| level == Level::Error)) { (of_rule(&rule)) }
            @if !report.not_checked.is_empty() {
                section #not-checked { h2 { "Not checked" } (open_list(&report.not_checked)) }
            }
            @for rule in group::by_rule(of(|level| level != Level::Error)) { (of_rule(&rule)) }
            @if !report.may_roll_back { (roll_back(report)) }
        }
    }
}

fn head(report: &Report) -> Markup {
    let class = match report.verdict {
        Verdict::Compatible => "good",
        Verdict::Breaking => "bad",
        Verdict::NotChecked => "open",
    };
    html! {
        header class=(class) {
            @for line in headline(report).lines() { p { (line) } }
        }
        @if let Some(summary) = summary::summary(&report.changes) { (contents(&summary)) }
    }
}

/// The summary, each rule of which leads to its changes.
fn contents(Summary { rules, hurt, subjects }: &Summary) -> Markup {
    html! {
        nav {
            table {
                caption { "By rule" }
                @for (level, rule, count) in rules {
                    tr { td.number { (count) } td { (level) } td { a href={ "#" (rule) } { (rule) } } }
                }
            }
            (counts("Who is hurt", hurt))
            (counts("Where the breaks are", subjects))
        }
    }
}

fn counts(title: &str, counts: &[(impl AsRef<str>, usize)]) -> Markup {
    html! {
        @if !counts.is_empty() {
            details open[counts.len() < 10] {
                summary { (title) }
                table { @for (name, count) in counts { tr { td.number { (count) } td { (name.as_ref()) } } } }
            }
        }
    }
}

/// All changes of one rule, by their causes.
fn of_rule(of_rule: &Group<'_>) -> Markup {
    let rule: &Rule = of_rule.first.rule;
    let causes = group::by_cause(of_rule.all(), usize::MAX);
    html! {
        section id=(rule.id) {
            h2 { (of_rule.first.level) ": " (rule.summary) " " span.count { (of_rule.others.len() + 1) } }
            p.why { (rule.explanation) " " code { (rule.id) } }
            @for cause in &causes { (of_cause(cause, causes.len() == 1)) }
        }
    }
}

/// What changed, folded: where, whom it hurts, and what shows it.
fn of_cause(group: &Group<'_>, is_open: bool) -> Markup {
    let first = group.first;
    let count = group.others.len() + 1;
    html! {
        details open[is_open] {
            summary {
                (first.message)
                @if count > 1 { " " span.count { (count) " places" } }
                @if first.accepted.is_some() { " (accepted)" }
            }
            @if first.level == Level::Error { p { "Hurts " (hurts(first)) "." } }
            @if let Some(accepted) = &first.accepted { p { "Accepted: " (accepted.reason) } }
            @if let Some(shown) = first.shown() {
                p { "This " (super::witness_title(first)) ":" }
                pre { @for line in witness::lines(shown) { (line) "\n" } }
            }
            table {
                tr { th { "place" } th { "old" } th { "new" } }
                @for change in group.all() { (row(change)) }
            }
        }
    }
}

fn row(change: &Change) -> Markup {
    html! { tr { td { code { (change.place) } } td { (line(change.old.as_ref())) } td { (line(change.new.as_ref())) } } }
}

fn line(at: Option<&Location>) -> String {
    at.map(ToString::to_string).unwrap_or_default()
}

fn open_list(open: &[NotChecked]) -> Markup {
    html! {
        ul {
            @for open in open {
                li { (open.reason) " " code { (open.place) } " " (line(open.new.as_ref().or(open.old.as_ref()))) }
            }
        }
    }
}

/// Why the old version may not come back: by rule, folded.
fn roll_back(report: &Report) -> Markup {
    let breaks = report.roll_back.changes.iter().filter(|change| change.breaks());
    html! {
        section #roll-back {
            h2 { "May not roll back, because from new to old" }
            @for rule in group::by_rule(breaks) {
                @for cause in group::by_cause(rule.all(), usize::MAX) { (of_cause(&cause, false)) }
            }
            @if !report.roll_back.not_checked.is_empty() {
                h3 { "Not checked" }
                (open_list(&report.roll_back.not_checked))
            }
        }
    }
}
