//! Rows that the running version could delete, and that rows of the new version hold.
//!
//! A reference that refuses holds the rows it refers to, and those whose deletion would cascade to them. Keys are taken not to
//! change, except those that a reference names beside the primary key.

use std::collections::{BTreeMap, BTreeSet};

use super::Comparer;
use crate::sql::{
    rules,
    state::{Constraint, ConstraintRule, Database, Reference, Table},
};

/// A reference by which rows of one table keep rows of another.
type Hold<'d> = (&'d str, &'d str, &'d [String]);

impl Comparer<'_> {
    /// Reports references of the new schema that keep rows which the old one let go.
    pub(super) fn deletions(&mut self) {
        let (old, new) = (self.old, self.new);
        let before: BTreeSet<Hold<'_>> = holds(old, old).into_keys().collect();
        for ((parent, child, columns), demand) in holds(new, old) {
            let known = old
                .tables
                .get(child)
                .is_some_and(|table| columns.iter().all(|column| table.columns.contains_key(column)));
            // A demand on old columns alone is told as such.
            if before.contains(&(parent, child, columns)) || known && !has(old, child, demand) {
                continue;
            }
            let by = columns.join(", ");
            let message = format!(
                "rows of `{parent}` cannot be deleted, or change their key, while rows of `{child}` that the new version wrote refer to them by ({by})"
            );
            let at = (None, Some(&demand.position));
            self.report_read(&rules::DELETE_REFUSED, &format!("{parent}<-{child}({by})"), message, at, None);
        }
    }
}

fn has(database: &Database, table: &str, demand: &Constraint) -> bool {
    database
        .tables
        .get(table)
        .is_some_and(|table| table.constraints.iter().any(|one| one.demands_same(demand)))
}

/// The references that keep rows of tables that the old version knows, directly or behind a deletion that cascades.
fn holds<'d>(database: &'d Database, known: &Database) -> BTreeMap<Hold<'d>, &'d Constraint> {
    let mut found = BTreeMap::new();
    for parent in database.tables.keys().filter(|name| known.tables.contains_key(*name)) {
        let (mut reached, mut at) = (vec![parent.as_str()], 0);
        while let Some(table) = reached.get(at).copied() {
            for (child, demand, to) in referring(database, table) {
                if keeps(database, child, demand, to) {
                    found.insert((parent.as_str(), child, demand.columns.as_slice()), demand);
                } else if to.on_delete == "CASCADE" && !reached.contains(&child) {
                    reached.push(child);
                }
            }
            at += 1;
        }
    }
    found
}

fn referring<'d>(
    database: &'d Database,
    table: &'d str,
) -> impl Iterator<Item = (&'d str, &'d Constraint, &'d Reference)> {
    database.tables.iter().flat_map(move |(child, one)| {
        one.constraints.iter().filter_map(move |demand| match &demand.rule {
            ConstraintRule::ForeignKey(to) if to.table == table => Some((child.as_str(), demand, to)),
            _ => None,
        })
    })
}

/// Says whether a row that is referred to cannot go, or cannot change what it is referred to by.
fn keeps(database: &Database, child: &str, demand: &Constraint, to: &Reference) -> bool {
    let table = &database.tables[child];
    let never_null = |name: &String| table.columns.get(name).is_some_and(|column| column.not_null);
    let stays = match to.on_delete.as_str() {
        "CASCADE" => false,
        "SET NULL" => demand.columns.iter().any(never_null) || may_fail_on_null(table, demand),
        _ => true,
    };
    stays || to.on_update == "RESTRICT" && !names_primary_key(database, to)
}

/// Says whether a condition stands on what a deletion sets to null.
fn may_fail_on_null(table: &Table, demand: &Constraint) -> bool {
    table.constraints.iter().any(|one| {
        matches!(one.rule, ConstraintRule::Check(_))
            && one.columns.iter().any(|column| demand.columns.contains(column))
    })
}

fn names_primary_key(database: &Database, to: &Reference) -> bool {
    let Some(table) = database.tables.get(&to.table) else { return true };
    let key = table.constraints.iter().find(|one| one.rule == ConstraintRule::PrimaryKey);
    to.columns.is_empty() || key.is_some_and(|key| key.columns == to.columns)
}
