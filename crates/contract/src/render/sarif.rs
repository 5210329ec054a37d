//! A report for code hosts and editors, in SARIF 2.1.0.

use serde_json::{Value, json};

use crate::{Change, Level, Location, NotChecked, Report, Rule};

/// A report as a SARIF log. What could not be checked is a result of its own, so that it is never silent.
#[must_use]
pub fn sarif(report: &Report) -> Value {
    let mut rules: Vec<&Rule> = report.changes.iter().map(|change| change.rule).collect();
    rules.sort_unstable_by_key(|rule| rule.id);
    rules.dedup_by_key(|rule| rule.id);
    let mut described: Vec<Value> = rules.into_iter().map(describe).collect();
    if !report.not_checked.is_empty() {
        described.push(json!({"id": "not-checked", "shortDescription": {"text": "could not be decided"}}));
    }
    let results = report.changes.iter().map(result).chain(report.not_checked.iter().map(open));
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "lockstep", "rules": described}},
            "results": results.collect::<Vec<_>>(),
            "properties": {
                "verdict": report.verdict,
                "bump": report.bump,
                "may_deploy": report.may_deploy,
                "may_roll_back": report.may_roll_back,
            },
        }],
    })
}

fn describe(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.explanation},
        "defaultConfiguration": {"level": level(rule.level)},
    })
}

fn result(change: &Change) -> Value {
    let mut result = json!({
        "ruleId": change.rule.id,
        "level": level(change.level),
        "message": {"text": change.message},
        "locations": locations(change.new.as_ref().or(change.old.as_ref()), &change.place),
        "properties": {"flow": change.flow, "bump": change.bump, "witness": change.shown()},
    });
    if let Some(accepted) = &change.accepted {
        result["suppressions"] = json!([{"kind": "external", "justification": accepted.reason}]);
    }
    result
}

fn open(open: &NotChecked) -> Value {
    json!({
        "ruleId": "not-checked",
        "level": "warning",
        "message": {"text": open.reason},
        "locations": locations(open.new.as_ref().or(open.old.as_ref()), &open.place),
    })
}

fn locations(at: Option<&Location>, place: &str) -> Value {
    let logical = json!([{"fullyQualifiedName": place}]);
    match at {
        None => json!([{"logicalLocations": logical}]),
        Some(at) => json!([{
            "physicalLocation": {"artifactLocation": {"uri": at.file}, "region": {"startLine": at.line}},
            "logicalLocations": logical,
        }]),
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "note",
    }
}
