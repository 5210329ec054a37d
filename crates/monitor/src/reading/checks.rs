//! What gateways found by their checks.

use super::{Finding, Known, Reading};
use crate::rule::Condition;
use crate::seen::{Blind, CheckSeen};
use crate::subject::Subject;

pub(super) fn readings(condition: &Condition, known: Known<'_>) -> Vec<Reading> {
    let Condition::CheckFails { at_least_in_a_row } = *condition else { return Vec::new() };
    let services = known.look.services();
    services
        .flat_map(|(environment, service, seen)| {
            let of = move |(name, found): (&String, &Vec<CheckSeen>)| {
                let subject =
                    Subject::of([("environment", environment), ("service", service), ("check", name)]);
                reading(subject, (environment, service, name), found, at_least_in_a_row)
            };
            seen.checks.iter().map(of)
        })
        .collect()
}

/// A check that one gateway sees fail is wrong, whatever the others see: clients come to all of them.
fn reading(subject: Subject, place: (&str, &str, &str), found: &[CheckSeen], at_least: u32) -> Reading {
    if found.is_empty() {
        let (.., name) = place;
        return Reading::unknown(
            subject,
            Blind::NoData(format!("check {name}: no gateway says anything of it")),
        );
    }
    let failing: Vec<&CheckSeen> =
        found.iter().filter(|seen| seen.fault.is_some() && seen.failed_in_a_row >= at_least).collect();
    Reading::of(subject, finding(place, &failing, found.len()))
}

fn finding(
    (environment, service, name): (&str, &str, &str),
    failing: &[&CheckSeen],
    gateways: usize,
) -> Option<Finding> {
    let first = failing.iter().max_by_key(|seen| seen.failed_in_a_row)?;
    let called = if first.request == *name { String::new() } else { format!(" {name}") };
    let summary = format!("the check{called} of {service} fails in {environment}");
    let fault = first.fault.as_deref().unwrap_or_default();
    let version = first.version.as_ref().map(|version| format!(" by {version}")).unwrap_or_default();
    let who = match gateways {
        1 => String::new(),
        all => format!(", at {} of {all} gateways", failing.len()),
    };
    let detail = format!("{} {fault}{version}, {} times in a row{who}", first.request, first.failed_in_a_row);
    let hint = format!("lockstep checks {service} --env {environment}");
    Some(Finding::new(summary).because(Some(detail)).then(hint))
}
