//! What tables demand of rows: keys, uniqueness, references and conditions.
//!
//! Demands are compared by what they demand, not by their names.

use super::Comparer;
use crate::sql::{
    rules,
    state::{Column, Constraint, ConstraintRule, Table},
    witness,
};

impl Comparer<'_> {
    /// Compares what two tables demand of their rows.
    pub(super) fn constraints(&mut self, name: &str, before: &Table, after: &Table) {
        for new in &after.constraints {
            if !before.constraints.iter().any(|old| old.demands_same(new)) {
                self.constraint_added(name, before, after, new);
            }
        }
        for old in &before.constraints {
            let kept = after.constraints.iter().any(|new| new.demands_same(old));
            let columns_gone = old
                .columns
                .iter()
                .any(|column| before.columns.contains_key(column) && !after.columns.contains_key(column));
            if !kept && !columns_gone {
                self.constraint_removed(name, old);
            }
        }
    }

    fn constraint_added(&mut self, name: &str, before: &Table, after: &Table, new: &Constraint) {
        let place = format!("{name}({})", new.columns.join(","));
        let at = (None, Some(&new.position));
        let columns = new.columns.join(", ");
        let spared = is_spared(before, after, new);
        match &new.rule {
            ConstraintRule::Index => {
                self.report(
                    &rules::INDEX_CHANGED,
                    &place,
                    format!("index on `{name}` ({columns}) was added"),
                    at,
                    None,
                );
            }
            _ if spared => {
                let message = format!("a demand on the new column of `{name}` ({columns}) was added");
                self.report(&rules::COLUMN_ADDED, &place, message, at, None);
            }
            ConstraintRule::Unique(_) | ConstraintRule::PrimaryKey => {
                let implied = before.constraints.iter().any(|old| {
                    matches!(old.rule, ConstraintRule::Unique(None) | ConstraintRule::PrimaryKey)
                        && old.columns.iter().all(|column| new.columns.contains(column))
                });
                if !implied {
                    let message = format!("rows of `{name}` must be unique in ({columns})");
                    let shown = witness::twice(name, before, &new.columns);
                    self.report(&rules::UNIQUE_ADDED, &place, message, at, shown);
                }
            }
            ConstraintRule::Check(condition) => {
                let message = format!("rows of `{name}` must meet {condition}");
                let shown = witness::against_check(name, before, &new.columns, condition);
                self.report(&rules::CHECK_ADDED, &place, message, at, shown);
            }
            ConstraintRule::ForeignKey { table, .. } => {
                let message = format!("rows of `{name}` must refer by ({columns}) to rows of `{table}`");
                let shown = witness::without_parent(name, before, &new.columns);
                self.report(&rules::FOREIGN_KEY_ADDED, &place, message, at, shown);
            }
        }
    }

    fn constraint_removed(&mut self, name: &str, old: &Constraint) {
        let place = format!("{name}({})", old.columns.join(","));
        let columns = old.columns.join(", ");
        let (rule, message) = match &old.rule {
            ConstraintRule::Index => {
                (&rules::INDEX_CHANGED, format!("index on `{name}` ({columns}) was dropped"))
            }
            ConstraintRule::Unique(_) => {
                (&rules::UNIQUE_REMOVED, format!("rows of `{name}` need not be unique in ({columns})"))
            }
            ConstraintRule::PrimaryKey => {
                (&rules::PRIMARY_KEY_REMOVED, format!("({columns}) is no longer the primary key of `{name}`"))
            }
            ConstraintRule::Check(condition) => {
                (&rules::CHECK_REMOVED, format!("rows of `{name}` need not meet {condition}"))
            }
            ConstraintRule::ForeignKey { table, .. } => (
                &rules::FOREIGN_KEY_REMOVED,
                format!("rows of `{name}` need not refer by ({columns}) to `{table}`"),
            ),
        };
        self.report(rule, &place, message, (Some(&old.position), None), None);
    }
}

/// Says whether rows that leave new columns out meet a new demand on them: empty values meet any, counted ones are
/// unique, and a default that the new schema accepts for the rows it has it accepts for more.
fn is_spared(before: &Table, after: &Table, demand: &Constraint) -> bool {
    let is_new = |name: &String| !before.columns.contains_key(name);
    let left_out = |name: &String| after.columns.get(name).filter(|_| is_new(name));
    let all_new = !demand.columns.is_empty() && demand.columns.iter().all(is_new);
    match demand.rule {
        ConstraintRule::Unique(_) | ConstraintRule::PrimaryKey => {
            demand.columns.iter().filter_map(left_out).any(Column::is_distinct_when_left_out)
        }
        _ => {
            let is_empty = |column: &Column| column.default.is_none() && !column.not_null;
            all_new || demand.columns.iter().filter_map(left_out).any(is_empty)
        }
    }
}
