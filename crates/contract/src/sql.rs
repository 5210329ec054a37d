//! SQL contracts: folders of migrations, run into a schema.
//!
//! The contract is what the running version of the code reads and writes. Both answers are about that version on the
//! new schema: while the new version is rolled out, and when the old one comes back (schemas do not go down). What
//! cannot be parsed, or whose effect is not modelled (triggers, functions), is not checked.

pub mod back;
mod compare;
mod dialect;
mod evaluate;
pub mod form;
mod implication;
mod locks;
mod migrations;
mod names;
mod replay;
mod rules;
mod scan;
pub mod script;
mod split;
mod state;
mod transactions;
mod types;
mod witness;

use std::collections::{HashMap, HashSet};

use compare::Purpose;
pub use migrations::{Class, Migration, classify};
use migrations::{File, Run, align, read, run};
pub use names::{Role, is_part, is_repeatable, order, roles, taken_back};
use names::{is_numbered, is_sql};
use replay::Rows;
pub use rules::RULES;

use crate::{Change, Comparison, Findings, InputError, Location, NotChecked, Options, Source, SqlDialect};

/// True when the source looks like this format.
pub(crate) fn detect(source: &Source) -> bool {
    source.files().any(|(path, _)| is_sql(path))
}

/// Reads a contract of this format by itself; in a comparison, both sides have a say in its dialect.
pub(crate) fn check(source: &Source) -> Result<(), Vec<InputError>> {
    read(source, dialect::guess([source])).map(drop)
}

/// Compares two contracts of this format in both directions.
pub(crate) fn compare(old: &Source, new: &Source, options: &Options) -> Result<Comparison, Vec<InputError>> {
    let dialect = options.sql_dialect.unwrap_or_else(|| dialect::guess([old, new]));
    let (old, new) = match (read(old, dialect), read(new, dialect)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => return Err([old.err(), new.err()].into_iter().flatten().flatten().collect()),
    };
    let (mut old, mut new) = (old, new);
    align(&mut old, &mut new);
    let (before, after) = (run(&old, dialect), run(&new, dialect));
    let mut deploy = judge(&before, &after, dialect, Purpose::Deploy);
    deploy.changes.extend(history(&old, &new));
    deploy.changes.extend(locks::find(&old, &new, dialect, options));
    Ok(Comparison { deploy, roll_back: judge(&before, &after, dialect, Purpose::RollBack) })
}

fn judge(before: &Run, after: &Run, dialect: SqlDialect, purpose: Purpose) -> Findings {
    let mut findings = compare::schemas(&before.database, &after.database, dialect, purpose);
    let key = |moved: &migrations::Moved| (moved.key.clone(), moved.location.line, moved.word.clone());
    let known: HashSet<_> = before.data.iter().map(key).collect();
    let new = after.data.iter().filter(|moved| {
        // What removes all rows of a table is told by what the table held.
        moved.rows == Rows::Some && !known.contains(&key(moved))
    });
    for migrations::Moved { location, word, .. } in new {
        let message = format!("{word} changes rows under the running version");
        let change = Change::new(&rules::DATA_CHANGED, location.to_string(), message);
        findings.changes.push(change.at(None, Some(location.clone())));
    }
    findings.not_checked.extend(not_understood(before, after));
    findings
}

/// Says what going back does not bring back, when a change is a step of one way.
#[must_use]
pub fn one_way(change: &Change) -> Option<String> {
    let what = compare::does_not_come_back(change)?;
    let by = change.new.as_ref().map(|at| format!(" by {at}")).unwrap_or_default();
    Some(format!("going back does not bring back {what}{by}"))
}

/// What only one side could not understand; the same statement on both sides has the same effect.
fn not_understood(before: &Run, after: &Run) -> Vec<NotChecked> {
    let places = |run: &'_ Run| -> HashSet<(String, String)> {
        run.unknown.iter().map(|one| (one.key.to_string(), one.essence.clone())).collect()
    };
    let (old_places, new_places) = (places(before), places(after));
    let shared = |one: &migrations::Unknown, others: &HashSet<(String, String)>| {
        others.contains(&(one.key.to_string(), one.essence.clone()))
    };
    let note = |one: &migrations::Unknown, old: Option<Location>, new: Option<Location>| NotChecked {
        place: one.location.to_string(),
        reason: one.reason.clone(),
        old,
        new,
    };
    let old_only = before.unknown.iter().filter(|one| !shared(one, &new_places));
    let new_only = after.unknown.iter().filter(|one| !shared(one, &old_places));
    let old_only = old_only.map(|one| note(one, Some(one.location.clone()), None));
    old_only.chain(new_only.map(|one| note(one, None, Some(one.location.clone())))).collect()
}

/// Finds released migrations that changed, went, or came late. Files without a number are not history.
fn history(old: &[File], new: &[File]) -> Vec<Change> {
    let numbered = |file: &&File| is_numbered(&file.key);
    let by_name = |files: &'_ [File]| -> HashMap<String, usize> {
        files.iter().enumerate().map(|(index, file)| (file.key.to_string(), index)).collect()
    };
    let (old_names, new_names) = (by_name(old), by_name(new));
    let mut changes = Vec::new();
    for before in old.iter().filter(numbered) {
        let at = |line| Some(Location { file: before.name.to_string(), line });
        match new_names.get(&*before.key).map(|index| &new[*index]) {
            Some(after) => {
                if let Some(line) = first_difference(&before.text, &after.text) {
                    let message = format!("released migration `{}` has another text", before.name);
                    let change = Change::new(&rules::HISTORY_ALTERED, &*before.name, message);
                    changes.push(change.at(at(line), at(line)));
                }
            }
            None => {
                let message = format!("released migration `{}` is gone", before.name);
                changes.push(Change::new(&rules::HISTORY_REMOVED, &*before.name, message).at(at(1), None));
            }
        }
    }
    let is_last = |file: &&File| is_numbered(&file.key) && !is_repeatable(&file.key);
    let Some(last) = old.iter().rfind(is_last) else { return changes };
    let added = new.iter().filter(numbered).filter(|after| !old_names.contains_key(&*after.key));
    for late in added.filter(|after| order(&after.key, &last.key).is_lt()) {
        let message =
            format!("new migration `{}` stands before `{}`, which is released", late.name, last.name);
        let location = Location { file: late.name.to_string(), line: 1 };
        changes
            .push(Change::new(&rules::HISTORY_OUT_OF_ORDER, &*late.name, message).at(None, Some(location)));
    }
    changes
}

/// Finds the first line that differs; white space at the end of lines does not count.
fn first_difference(before: &str, after: &str) -> Option<u32> {
    let (mut before, mut after) = (before.trim_end().lines(), after.trim_end().lines());
    for line in 1.. {
        match (before.next(), after.next()) {
            (None, None) => return None,
            (Some(a), Some(b)) if a.trim_end() == b.trim_end() => {}
            _ => return Some(line),
        }
    }
    None
}
