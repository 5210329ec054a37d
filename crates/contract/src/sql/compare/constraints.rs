//! What tables demand of rows: keys, uniqueness, references and conditions.
//!
//! Demands are compared by what they demand, not by their names.

use super::{
    Comparer, Purpose,
    demands::{self, Meeting},
};
use crate::{
    Bump, Level, Location, NotChecked, Rule, SqlDialect,
    sql::{
        evaluate::{Condition, Value},
        implication::{self, Meets},
        rules,
        state::{Column, Constraint, ConstraintRule, MadeBy, NEXT_NUMBER, Nulls, Reference, Table},
        types::Family,
    },
};

impl Comparer<'_> {
    /// Compares what two tables demand of their rows.
    pub(super) fn constraints(&mut self, name: &str, before: &Table, after: &Table) {
        let former = former_names(before, after);
        for new in &after.constraints {
            let before_renames = new.under(&former);
            if !before.constraints.iter().any(|old| old.demands_same(&before_renames)) {
                self.constraint_added(name, before, after, new);
            }
        }
        for old in &before.constraints {
            let kept = after.constraints.iter().any(|new| new.under(&former).demands_same(old));
            let columns_gone = old
                .columns
                .iter()
                .any(|column| before.columns.contains_key(column) && !after.columns.contains_key(column));
            if columns_gone {
                continue;
            }
            let found_by_upserts =
                || after.constraints.iter().any(|new| new.under(&former).answers_upserts_of(old));
            let upserts = old.is_key() && !old.deferrable && self.dialect != SqlDialect::MySql;
            let found = if !upserts || found_by_upserts() { Upserts::Work } else { Upserts::Fail };
            let breaks = match self.dialect {
                SqlDialect::MySql => old.is_key() && !is_implied(after, old),
                _ => found == Upserts::Fail,
            };
            if kept || !breaks {
                self.name_gone(name, (before, after), old);
            }
            if !kept {
                self.constraint_removed(name, (before, after), old, found);
            } else if found == Upserts::Fail {
                let columns = old.columns.join(", ");
                let message =
                    format!("the key ({columns}) of `{name}` is deferrable now: no upsert can name it");
                let shown = self.rows(name, before).upsert(old);
                let place = format!("{name}({columns})");
                self.report(&rules::UNIQUE_REMOVED, &place, message, (Some(&old.position), None), shown);
            }
        }
    }

    fn constraint_added(&mut self, name: &str, before: &Table, after: &Table, new: &Constraint) {
        let place = format!("{name}({})", new.columns.join(","));
        let at = (None, Some(&new.position));
        let columns = new.columns.join(", ");
        if new.rule == ConstraintRule::Index {
            let message = format!("index on `{name}` ({columns}) was added");
            self.report(&rules::INDEX_CHANGED, &place, message, at, None);
            return;
        }
        if is_implied(before, new) || self.is_condition_met((before, after), new) {
            return;
        }
        let found = self.meeting(before, after, new);
        let (rule, message) = match &new.rule {
            ConstraintRule::Check(condition) => {
                (&rules::CHECK_ADDED, format!("rows of `{name}` must meet {condition}"))
            }
            ConstraintRule::ForeignKey(to) => {
                (&rules::FOREIGN_KEY_ADDED, reference_words(name, before, new, to))
            }
            _ => (&rules::UNIQUE_ADDED, format!("rows of `{name}` must be unique in ({columns})")),
        };
        match found {
            Some(Meeting::Met) => self.met_by_old_rows(rule, &place, &message, (before, new)),
            Some(Meeting::Open(reason)) => {
                self.open(&place, format!("{message}: {reason}"), new.position.location());
            }
            Some(Meeting::Refused(row)) => {
                let row: Vec<_> =
                    row.iter().map(|(name, value)| (name.as_str(), Some(value.as_str()))).collect();
                let shown = self.rows(name, before).insert(&row, &outcome(&new.rule));
                self.report(rule, &place, message, at, shown);
            }
            None => {
                let rows = self.rows(name, before);
                let shown = match &new.rule {
                    ConstraintRule::Check(_) => None,
                    ConstraintRule::ForeignKey(_) => rows.without_parent(&new.columns),
                    ConstraintRule::Unique { condition, nulls } => {
                        let given = self.given(before, after, new, *nulls);
                        given.and_then(|given| rows.twice(&given, condition.as_deref()))
                    }
                    _ => {
                        let given = self.given(before, after, new, Nulls::Distinct);
                        given.and_then(|given| rows.twice(&given, None))
                    }
                };
                self.report(rule, &place, message, at, shown);
            }
        }
    }

    /// Says whether no row that a table takes fails a condition, by what else the table demands and by its types.
    pub(super) fn is_met_in(&self, table: &Table, condition: &str) -> bool {
        let demanded = table.constraints.iter().filter_map(|one| match &one.rule {
            ConstraintRule::Check(condition) => Some(condition.as_str()),
            _ => None,
        });
        let demanded: Vec<&str> = demanded.collect();
        implication::follows(self.dialect, Some(table), (&demanded, condition), Meets::NotFalse)
    }

    /// Says whether a table never takes null in a column.
    pub(super) fn is_never_null(&self, table: &Table, column: &str) -> bool {
        table.columns.get(column).is_some_and(|known| known.not_null)
            || self.is_met_in(table, &format!("{} IS NOT NULL", quoted_whole(self.dialect, column)))
    }

    /// Says whether a table never takes 0 in a column.
    pub(super) fn is_never_zero(&self, table: &Table, column: &str) -> bool {
        self.is_met_in(table, &format!("{} <> 0", quoted_whole(self.dialect, column)))
    }

    /// Says whether a new condition refuses no row that the old table took, or that leaves out a column with a new default.
    fn is_condition_met(&self, (before, after): (&Table, &Table), new: &Constraint) -> bool {
        let former = new.under(&former_names(before, after));
        let ConstraintRule::Check(condition) = &former.rule else { return false };
        let other_default = |name: &&String| match (before.columns.get(*name), after.columns.get(*name)) {
            (Some(old), Some(new)) => old.default != new.default || old.computed != new.computed,
            _ => true,
        };
        let met_by_default = |name: &String| {
            self.meets_default((before, after), name, condition).is_none_or(|found| found == Meeting::Met)
        };
        self.is_met_in(before, condition) && new.columns.iter().filter(other_default).all(met_by_default)
    }

    /// The columns of a key that old rows give, when all others are surely equal in rows that leave them out.
    fn given(&self, before: &Table, after: &Table, key: &Constraint, nulls: Nulls) -> Option<Vec<String>> {
        let (given, left_out): (Vec<_>, Vec<_>) =
            key.columns.iter().cloned().partition(|name| before.columns.contains_key(name));
        let is_equal = |name: &String| {
            let column = after.columns.get(name).filter(|column| column.computed.is_none())?;
            let Some(default) = column.default.as_deref() else { return Some(nulls == Nulls::Equal) };
            let value = Condition::read(self.dialect, default)?.value(&|_| Value::Any);
            Some(matches!(value, Value::Number(_) | Value::Text(_)))
        };
        left_out.iter().all(|name| is_equal(name) == Some(true)).then_some(given)
    }

    /// A demand that no row of the old version fails. Rows that the new version wrote may fail it once the old one
    /// changes them, when it is about columns of both.
    fn met_by_old_rows(
        &mut self,
        rule: &'static Rule,
        place: &str,
        message: &str,
        (before, new): (&Table, &Constraint),
    ) {
        let at = (None, Some(&new.position));
        let knows = |name: &&String| before.columns.contains_key(*name);
        let old = new.columns.iter().filter(knows).count();
        if old == new.columns.len() {
            return;
        }
        if old == 0 {
            let message = format!("a demand on the new columns: {message}");
            self.report(&rules::COLUMN_ADDED, place, message, at, None);
            return;
        }
        let message =
            format!("{message}, which rows of the new version may fail once the old one changes them");
        self.report_read(rule, place, message, at, None);
        if self.purpose == Purpose::Deploy
            && let Some(change) = self.findings.changes.last_mut()
        {
            change.level = Level::Warning;
            change.bump = Bump::Minor;
        }
    }

    fn open(&mut self, place: &str, reason: String, at: Location) {
        self.findings.not_checked.push(NotChecked {
            place: place.to_owned(),
            reason,
            old: None,
            new: Some(at),
        });
    }

    /// What a new column does to old statements beside being there: it may be computed, or its default may not fit.
    pub(super) fn new_column(&mut self, name: &str, column: &str, tables: (&Table, &Table), new: &Column) {
        if let Some(from) = new.computed.as_deref().filter(|from| *from != NEXT_NUMBER) {
            let place = format!("{name}.{column}");
            let may_fail = Condition::read(self.dialect, from).is_none_or(|from| from.may_fail());
            if may_fail || new.not_null {
                let reason = format!(
                    "whether {from} can be computed for every row of the running version is not known"
                );
                self.open(&place, reason, new.position.location());
            }
        }
        self.default_fits(name, column, tables, new);
    }

    /// What rows hold that is computed in another way may be refused, or not be computed at all.
    pub(super) fn computed_anew(&mut self, name: &str, column: &str, after: &Table, new: &Column) {
        let place = format!("{name}.{column}");
        let from = new.computed.as_deref().unwrap_or_default();
        self.doubt(
            (&place, column),
            after,
            new,
            &format!("what a demand makes of {from}, the value"),
            &|_| true,
        );
        let may_fail = Condition::read(self.dialect, from).is_none_or(|from| from.may_fail());
        if from != NEXT_NUMBER && (may_fail || new.not_null) {
            let reason =
                format!("whether {from} can be computed for every row of the running version is not known");
            self.open(&place, reason, new.position.location());
        }
    }

    /// Reports an old column's new default that old demands, or the column's own type, refuse.
    pub(super) fn default_taken(
        &mut self,
        name: &str,
        column: &str,
        tables: (&Table, &Table),
        (old, new): (&Column, &Column),
    ) {
        if old.may_be_left_out() {
            self.default_fits(name, column, tables, new);
        }
        for demand in &tables.1.constraints {
            let kept = tables.0.constraints.iter().any(|old| old.demands_same(demand));
            if !kept || !demand.columns.iter().any(|one| one == column) {
                continue;
            }
            let (words, found) = match &demand.rule {
                ConstraintRule::Check(condition) => {
                    (format!("meet {condition}"), self.meets_default(tables, column, condition))
                }
                ConstraintRule::ForeignKey(to) if new.default.is_some() => {
                    let reason = format!("whether `{}` has that row is not known", to.table);
                    (format!("refer to a row of `{}`", to.table), Some(Meeting::Open(reason)))
                }
                ConstraintRule::Unique { .. } | ConstraintRule::PrimaryKey => {
                    let equal = demands::is_equal_when_left_out(new);
                    let words = format!("differ in ({})", demand.columns.join(", "));
                    (words, equal.then(|| Meeting::Refused(Vec::new())))
                }
                ConstraintRule::ForeignKey(_) | ConstraintRule::Index => continue,
            };
            let place = format!("{name}.{column}");
            match found {
                None | Some(Meeting::Met) => {}
                Some(Meeting::Open(reason)) => {
                    let reason = format!("rows with the new default of `{place}` must {words}: {reason}");
                    self.open(&place, reason, new.position.location());
                }
                Some(Meeting::Refused(_)) => {
                    let message = format!("rows with the new default of `{place}` do not {words}");
                    let check = matches!(demand.rule, ConstraintRule::Check(_));
                    let others: Vec<String> =
                        demand.columns.iter().filter(|one| *one != column).cloned().collect();
                    let rows = self.rows(name, tables.0);
                    let shown = if !old.may_be_left_out() {
                        None
                    } else if check {
                        rows.insert(&[], "the default is refused")
                    } else if demands::is_equal_when_left_out(old) {
                        rows.like_default(column, new, &others)
                    } else {
                        rows.twice(&others, None)
                    };
                    self.report(&rules::DEFAULT_REFUSED, &place, message, (None, Some(&new.position)), shown);
                }
            }
        }
    }

    fn default_fits(&mut self, name: &str, column: &str, (before, _): (&Table, &Table), new: &Column) {
        let Some(default) = new.default.as_deref().filter(|_| self.dialect != SqlDialect::Sqlite) else {
            return;
        };
        let Some(value) = Condition::read(self.dialect, default).map(|read| read.value(&|_| Value::Any))
        else {
            return;
        };
        let fits = match (&value, &new.of.family) {
            (Value::Text(text), Family::Text { longest: Some(longest) }) => {
                text.trim_end().chars().count() as u64 <= *longest
            }
            (Value::Number(number), Family::Integer { low, high }) => {
                *number >= *low as f64 && *number <= *high as f64
            }
            _ => true,
        };
        if !fits {
            let place = format!("{name}.{column}");
            let message = format!("the default {default} of `{place}` does not fit {}", new.of.text);
            let shown = self.rows(name, before).insert(&[], "the default is refused");
            self.report(&rules::DEFAULT_REFUSED, &place, message, (None, Some(&new.position)), shown);
        }
    }

    fn constraint_removed(
        &mut self,
        name: &str,
        (before, after): (&Table, &Table),
        old: &Constraint,
        upserts: Upserts,
    ) {
        let place = format!("{name}({})", old.columns.join(","));
        let columns = old.columns.join(", ");
        if self.is_still_met(after, old) {
            return;
        }
        let (rule, message) = match &old.rule {
            ConstraintRule::Index => {
                (&rules::INDEX_CHANGED, format!("index on `{name}` ({columns}) was dropped"))
            }
            ConstraintRule::Unique { .. } => {
                (&rules::UNIQUE_REMOVED, format!("rows of `{name}` need not be unique in ({columns})"))
            }
            ConstraintRule::PrimaryKey => {
                (&rules::PRIMARY_KEY_REMOVED, format!("({columns}) is no longer the primary key of `{name}`"))
            }
            ConstraintRule::Check(condition) => {
                (&rules::CHECK_REMOVED, format!("rows of `{name}` need not meet {condition}"))
            }
            ConstraintRule::ForeignKey(to) => (
                &rules::FOREIGN_KEY_REMOVED,
                format!("rows of `{name}` need not refer by ({columns}) to `{}`", to.table),
            ),
        };
        let at = (Some(&old.position), None);
        if matches!(old.rule, ConstraintRule::Check(_) | ConstraintRule::ForeignKey(_)) {
            self.report_read(rule, &place, message, at, None);
            return;
        }
        let may_be_equal = !is_implied(after, old);
        let fails = match self.dialect {
            // Its upserts name no key: without one, they leave a second row.
            SqlDialect::MySql => may_be_equal,
            _ => upserts == Upserts::Fail,
        };
        let shown = if fails && old.is_key() { self.rows(name, before).upsert(old) } else { None };
        self.report(rule, &place, message, at, shown);
        let hurts_when_read = may_be_equal && self.purpose == Purpose::RollBack;
        if old.is_key()
            && !fails
            && !hurts_when_read
            && let Some(change) = self.findings.changes.last_mut()
        {
            (change.level, change.bump) = (Level::Warning, Bump::Minor);
        }
    }

    /// What statements name beside tables and columns: the keys of PostgreSQL in upserts, the indexes of others in queries.
    fn name_gone(&mut self, name: &str, (before, after): (&Table, &Table), old: &Constraint) {
        let known_as = |one: &Constraint| match self.dialect {
            // An index without a name is called as its first column is.
            SqlDialect::MySql => one.name.clone().or_else(|| one.columns.first().cloned()),
            _ => one.name.clone(),
        };
        let postgres = self.dialect == SqlDialect::PostgreSql;
        let can_be_named = !old.deferrable && (postgres || old.rule != ConstraintRule::PrimaryKey);
        let Some(own) = known_as(old).filter(|_| can_be_named) else { return };
        let own = own.as_str();
        let is_there = |new: &&Constraint| known_as(new).as_deref() == Some(own);
        let at = (Some(&old.position), Some(&after.position));
        if self.dialect == SqlDialect::PostgreSql {
            let keeps = |new: &Constraint| new.made_by == MadeBy::Table && !new.deferrable;
            let named = old.is_key() && old.made_by == MadeBy::Table;
            let gone = !after.constraints.iter().filter(is_there).any(keeps);
            let unnamed = after.constraints.iter().any(|new| new.is_key() && new.name.is_none());
            if named && gone && !unnamed {
                let message = format!("there is no key `{own}` of `{name}` any more: no upsert can name it");
                let shown = self.rows(name, before).upsert_by_name(old, own);
                self.report(&rules::KEY_RENAMED, &format!("{name}.{own}"), message, at, shown);
            }
            return;
        }
        let is_index = old.is_key() || old.rule == ConstraintRule::Index;
        let may_be_named = is_index && (self.dialect == SqlDialect::MySql || old.made_by == MadeBy::Index);
        if may_be_named && !after.constraints.iter().any(|new| is_there(&new)) {
            let hint = if self.dialect == SqlDialect::MySql { "FORCE INDEX" } else { "INDEXED BY" };
            let reason = format!(
                "there is no index `{own}` any more; whether a statement of the running version names it ({hint}) is not known"
            );
            self.findings.not_checked.push(NotChecked {
                place: format!("{name}.{own}"),
                reason,
                old: Some(old.position.location()),
                new: None,
            });
        }
    }

    /// Says whether rows meet an old condition or reference all the same.
    fn is_still_met(&self, after: &Table, old: &Constraint) -> bool {
        match &old.rule {
            ConstraintRule::Check(condition) => {
                let knows = |name: &String| after.columns.contains_key(name);
                old.columns.iter().all(knows) && self.is_met_in(after, condition)
            }
            ConstraintRule::ForeignKey(was) => after.constraints.iter().any(|new| match &new.rule {
                ConstraintRule::ForeignKey(is) => {
                    new.columns == old.columns
                        && (&is.table, &is.columns) == (&was.table, &was.columns)
                        && (is.whole || !was.whole)
                }
                _ => false,
            }),
            _ => false,
        }
    }
}

/// What becomes of old upserts that name a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upserts {
    Work,
    Fail,
}

/// The new names of columns that were renamed, with the old ones.
fn former_names(before: &Table, after: &Table) -> Vec<(String, String)> {
    let added = after.columns.iter().filter(|(name, _)| !before.columns.contains_key(*name));
    let renamed = added.filter_map(|(name, column)| {
        let former = column.former_names.iter().find(|former| before.columns.contains_key(*former))?;
        Some((name.clone(), former.clone()))
    });
    renamed.collect()
}

/// Says whether a demand of the old table implies a new one.
fn is_implied(before: &Table, new: &Constraint) -> bool {
    let never_null = |name: &String| before.columns.get(name).is_some_and(|column| column.not_null);
    let nulls_told_apart = match &new.rule {
        ConstraintRule::Unique { nulls, .. } => *nulls == Nulls::Distinct,
        ConstraintRule::PrimaryKey => true,
        _ => return false,
    };
    before.constraints.iter().any(|old| {
        let same_nulls = match &old.rule {
            ConstraintRule::PrimaryKey => true,
            ConstraintRule::Unique { condition: None, nulls } => {
                *nulls == Nulls::Equal || nulls_told_apart || old.columns.iter().all(never_null)
            }
            _ => false,
        };
        same_nulls && old.columns.iter().all(|column| new.columns.contains(column))
    })
}

/// A name in quotes, whatever it looks like.
fn quoted_whole(dialect: SqlDialect, name: &str) -> String {
    let sign = if dialect == SqlDialect::MySql { "`" } else { "\"" };
    format!("{sign}{}{sign}", name.replace(sign, &sign.repeat(2)))
}

/// What a reference demands, or what became of one that was there.
fn reference_words(name: &str, before: &Table, new: &Constraint, to: &Reference) -> String {
    let columns = new.columns.join(", ");
    let former = before.constraints.iter().find_map(|old| match &old.rule {
        ConstraintRule::ForeignKey(was)
            if old.columns == new.columns && was.table == to.table && was.columns == to.columns =>
        {
            Some(was)
        }
        _ => None,
    });
    match former {
        Some(was) if was.whole == to.whole => format!(
            "rows of `{name}` refer by ({columns}) to rows of `{}` with {}, {} instead of {}, {}",
            to.table, to.on_delete, to.on_update, was.on_delete, was.on_update
        ),
        _ => format!("rows of `{name}` must refer by ({columns}) to rows of `{}`", to.table),
    }
}

fn outcome(rule: &ConstraintRule) -> String {
    match rule {
        ConstraintRule::Check(condition) => format!("the row does not meet {condition}"),
        ConstraintRule::ForeignKey(_) => "there is no row it refers to".to_owned(),
        _ => "the row is not unique".to_owned(),
    }
}
