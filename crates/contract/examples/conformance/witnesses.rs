//! Comparing as everywhere, and running every witness: one that does not fail is wrong, whatever the verdict.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use lockstep_contract::{InputError, Kind, Options, Parsed, Report, Source, diff_parsed};

/// How witnesses fared over all pairs.
#[derive(Debug, Default)]
struct Tally {
    confirmed: usize,
    /// Witnesses that no independent validator can run, by rule.
    open: BTreeMap<&'static str, usize>,
    /// Breaking changes that nothing shows, by rule.
    silent: BTreeMap<&'static str, usize>,
    refuted: Vec<String>,
}

static TALLY: Mutex<Tally> =
    Mutex::new(Tally { confirmed: 0, open: BTreeMap::new(), silent: BTreeMap::new(), refuted: Vec::new() });

/// Compares two contracts, and runs what shows the changes.
pub(crate) fn diff_as(
    kind: Kind,
    old: &Source,
    new: &Source,
    options: &Options,
) -> Result<Report, Vec<InputError>> {
    let (before, after) = (Parsed::read(old, kind)?, Parsed::read(new, kind)?);
    let report = diff_parsed(&before, &after, options)?;
    let mut tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    for change in report.changes.iter().filter(|change| change.breaks() && change.witness.is_none()) {
        *tally.silent.entry(change.rule.id).or_default() += 1;
    }
    // Each by itself, so that it is known which one fared how.
    for change in report.changes.iter().filter(|change| change.witness.is_some()) {
        let mut one = Report { changes: vec![change.clone()], ..report.clone() };
        let tried = one.run_witnesses(&before, &after, options);
        tally.confirmed += tried.confirmed;
        if tried.open > 0 {
            *tally.open.entry(change.rule.id).or_default() += 1;
        }
        if tried.refuted > 0 {
            let shown = change.witness.as_ref().map(ToString::to_string).unwrap_or_default();
            tally.refuted.push(format!("{} {}: {}: {shown}", change.rule.id, change.place, change.message));
        }
    }
    Ok(report)
}

/// Prints how witnesses fared; returns how many do not fail.
pub(crate) fn show() -> usize {
    let tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    let told = |by_rule: &BTreeMap<&str, usize>| {
        let parts: Vec<String> = by_rule.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        format!("{} ({})", by_rule.values().sum::<usize>(), parts.join(", "))
    };
    println!("\n== witnesses ==");
    tally.refuted.iter().for_each(|line| println!("WRONG:     it does not fail: {line}"));
    println!("run by an independent validator, and fail: {}", tally.confirmed);
    println!("that no independent validator can run: {}", told(&tally.open));
    println!("breaking changes without one: {}", told(&tally.silent));
    tally.refuted.len()
}
