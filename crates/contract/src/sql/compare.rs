//! Compares two schemas from the side of code that was built for the old one.
//!
//! The code reads and writes what the old schema had; the database has the new schema, both while the new version is
//! rolled out and after it has gone back. The difference between the two is time: when the old version comes back, the
//! new one has written rows, so what merely may be read becomes what is read.

use crate::{Bump, Change, Findings, Level, NotChecked, Rule, SqlDialect};

mod collations;
mod constraints;
mod deletions;
mod demands;
mod lost;
mod views;

pub(super) use lost::does_not_come_back;

use super::{
    replay::enum_name,
    rules,
    state::{Column, Database, NEXT_NUMBER, Position, Table, Values},
    types::{Family, Relation},
    witness,
};

/// When the old version meets the new schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// While the new version is rolled out beside it.
    Deploy,
    /// When it comes back, after the new version has written rows.
    RollBack,
}

struct Comparer<'a> {
    old: &'a Database,
    new: &'a Database,
    dialect: SqlDialect,
    purpose: Purpose,
    findings: Findings,
}

/// Compares two schemas.
pub(super) fn schemas(old: &Database, new: &Database, dialect: SqlDialect, purpose: Purpose) -> Findings {
    let mut comparer = Comparer { old, new, dialect, purpose, findings: Findings::default() };
    comparer.tables();
    comparer.values();
    comparer.deletions();
    comparer.enums();
    comparer.views();
    comparer.findings
}

impl Comparer<'_> {
    fn rows<'t>(&self, name: &'t str, before: &'t Table) -> witness::Rows<'t> {
        witness::Rows { dialect: self.dialect, name, before }
    }

    fn report(
        &mut self,
        rule: &'static Rule,
        place: &str,
        message: String,
        (old, new): (Option<&Position>, Option<&Position>),
        shown: Option<serde_json::Value>,
    ) {
        let change = Change::new(rule, place, message)
            .at(old.map(Position::location), new.map(Position::location))
            .with_witness(shown);
        self.findings.changes.push(change);
    }

    /// Reports what hurts only once rows of the new version exist.
    fn report_read(
        &mut self,
        rule: &'static Rule,
        place: &str,
        message: String,
        at: (Option<&Position>, Option<&Position>),
        shown: Option<serde_json::Value>,
    ) {
        self.report(rule, place, message, at, shown);
        if self.purpose == Purpose::RollBack
            && let Some(change) = self.findings.changes.last_mut()
        {
            change.level = Level::Error;
            change.bump = Bump::Major;
        }
    }

    fn tables(&mut self) {
        let (old, new) = (self.old, self.new);
        for (name, before) in &old.tables {
            match new.tables.get(name) {
                Some(after) => self.table(name, before, after),
                // A view under the old name answers for the table.
                None if new.views.contains_key(name) => {
                    let reason =
                        "the table is a view now; what it shows and takes is not compared".to_owned();
                    let after = new.views.get(name).map(|view| view.position.location());
                    let old = Some(before.position.location());
                    self.findings.not_checked.push(NotChecked {
                        place: name.clone(),
                        reason,
                        old,
                        new: after,
                    });
                }
                None => self.table_gone(name, before),
            }
        }
        for (name, after) in new.tables.iter().filter(|(name, _)| !old.tables.contains_key(*name)) {
            let message = format!("table `{name}` was added");
            self.report(&rules::TABLE_ADDED, name, message, (None, Some(&after.position)), None);
        }
    }

    fn table_gone(&mut self, name: &str, before: &Table) {
        let shown = witness::select(self.dialect, name, before);
        let renamed = self.new.renamed.get(name).filter(|to| self.new.tables.contains_key(*to));
        let after = renamed.and_then(|to| self.new.tables.get(to)).map(|table| &table.position);
        let after =
            after.or_else(|| before.columns.values().find_map(|column| self.gone_at(column))).cloned();
        let (rule, message) = match renamed {
            Some(to) => (&rules::TABLE_RENAMED, format!("table `{name}` is called `{to}` now")),
            None => (&rules::TABLE_DROPPED, format!("table `{name}` is gone")),
        };
        self.report(rule, name, message, (Some(&before.position), after.as_ref()), shown);
    }

    fn table(&mut self, name: &str, before: &Table, after: &Table) {
        for (column, old) in &before.columns {
            match after.columns.get(column) {
                Some(new) => self.column(name, column, (before, after), (old, new)),
                None => self.column_gone(name, column, (before, after), old),
            }
        }
        for (column, new) in after.columns.iter().filter(|(column, _)| !before.columns.contains_key(*column))
        {
            if new.former_names.iter().any(|former| before.columns.contains_key(former)) {
                continue;
            }
            let place = format!("{name}.{column}");
            let at = (None, Some(&new.position));
            self.new_column(name, column, (before, after), new);
            if new.may_be_left_out() {
                self.report(&rules::COLUMN_ADDED, &place, format!("column `{place}` was added"), at, None);
            } else {
                let message = format!("column `{place}` was added; every row must give it");
                let shown = self.rows(name, before).insert(&[], "the new column has no value");
                self.report(&rules::COLUMN_REQUIRED, &place, message, at, shown);
            }
        }
        self.constraints(name, before, after);
    }

    fn column_gone(&mut self, name: &str, column: &str, (before, after): (&Table, &Table), old: &Column) {
        let place = format!("{name}.{column}");
        let shown = witness::select_column(self.dialect, name, column, "there is no such column");
        let heir = after
            .columns
            .iter()
            .find(|(other, new)| new.former_names.contains(column) && !before.columns.contains_key(*other));
        match heir {
            Some((other, new)) => {
                let message = format!("column `{place}` is called `{other}` now");
                self.report(
                    &rules::COLUMN_RENAMED,
                    &place,
                    message,
                    (Some(&old.position), Some(&new.position)),
                    shown,
                );
            }
            None => {
                let message = format!("column `{place}` is gone");
                let gone = self.gone_at(old).unwrap_or(&after.position).clone();
                self.report(
                    &rules::COLUMN_DROPPED,
                    &place,
                    message,
                    (Some(&old.position), Some(&gone)),
                    shown,
                );
            }
        }
    }

    fn column(&mut self, name: &str, column: &str, tables: (&Table, &Table), (old, new): (&Column, &Column)) {
        let place = format!("{name}.{column}");
        let at = (Some(&old.position), Some(&new.position));
        self.column_type(name, column, tables, (old, new));
        if new.computed.is_some() && old.computed.is_none() {
            let message = format!("column `{place}` is computed by the database now");
            let shown =
                self.rows(name, tables.0).insert(&[(column, None)], "a computed column takes no value");
            self.report(&rules::COLUMN_COMPUTED, &place, message, at, shown);
        }
        if let (Some(was), Some(is)) = (&old.computed, &new.computed)
            && was != is
        {
            let message = format!("column `{place}` is computed from {is} instead of {was}");
            self.report(&rules::DEFAULT_CHANGED, &place, message, at, None);
            self.computed_anew(name, column, tables.1, new);
        }
        if new.not_null && !self.is_never_null(tables.0, column) {
            let message = format!("column `{place}` takes no null any more");
            let shown =
                self.rows(name, tables.0).insert(&[(column, Some("NULL"))], "the column must not be null");
            self.report(&rules::NOT_NULL_ADDED, &place, message, at, shown);
        } else if old.not_null && !self.is_never_null(tables.1, column) {
            let message = format!("column `{place}` may be null now");
            self.report_read(&rules::NOT_NULL_DROPPED, &place, message, at, None);
        }
        self.column_default(name, column, tables, (old, new));
        self.on_update(&place, (old, new));
        self.collation(name, column, tables.1, (old, new));
    }

    fn on_update(&mut self, place: &str, (old, new): (&Column, &Column)) {
        if old.on_update == new.on_update {
            return;
        }
        let message = match &new.on_update {
            Some(value) => format!("every update of a row sets `{place}` to {value}"),
            None => format!("updates of a row leave `{place}` as it is"),
        };
        let at = (Some(&old.position), Some(&new.position));
        self.report(&rules::ON_UPDATE_CHANGED, place, message, at, None);
    }

    fn column_default(
        &mut self,
        name: &str,
        column: &str,
        (before, after): (&Table, &Table),
        (old, new): (&Column, &Column),
    ) {
        if self.counts_anew(name, column, (old, new)) || old.default == new.default {
            return;
        }
        if self.dialect == SqlDialect::MySql && new.default.as_deref() == Some(NEXT_NUMBER) {
            self.numbered(name, column, before, (old, new));
        }
        if self.dialect == SqlDialect::Sqlite && new.default.as_deref() == Some(NEXT_NUMBER) {
            self.whole_numbers_only(name, column, before, (old, new));
        }
        // Statements that had to give the column never meet its default; in sessions of MySQL that are not strict, none had to.
        let had_to_give = !old.may_be_left_out();
        if had_to_give && self.dialect != SqlDialect::MySql || old.computed.is_some() {
            return;
        }
        self.default_taken(name, column, (before, after), (old, new));
        let place = format!("{name}.{column}");
        if had_to_give {
            let default = new.default.as_deref().unwrap_or("NULL");
            let message = format!(
                "where a session is not strict and leaves `{place}` out, {default} is written, and not what MySQL makes up"
            );
            self.report(
                &rules::DEFAULT_CHANGED,
                &place,
                message,
                (Some(&old.position), Some(&new.position)),
                None,
            );
            return;
        }
        let at = (Some(&old.position), Some(&new.position));
        if new.default.is_none() && new.not_null && old.not_null && new.computed.is_none() {
            let message = format!("column `{place}` has no default any more and must not be null");
            let shown = self.rows(name, before).insert(&[], "the column has no value");
            self.report(&rules::DEFAULT_REMOVED, &place, message, at, shown);
            return;
        }
        if old.default.as_deref() == Some(NEXT_NUMBER) {
            let message = format!("the database does not number `{place}` any more");
            let shown = self.rows(name, before).unnumbered(column, new);
            self.report(&rules::NUMBERING_REMOVED, &place, message, at, shown);
            return;
        }
        let written = |column: &Column| column.default.clone().unwrap_or_else(|| "NULL".to_owned());
        let message =
            format!("the default of column `{place}` is {} instead of {}", written(new), written(old));
        self.report(&rules::DEFAULT_CHANGED, &place, message, at, None);
    }

    /// Another sequence may give numbers that are there. True when that is all there is to say.
    fn counts_anew(&mut self, name: &str, column: &str, (old, new): (&Column, &Column)) -> bool {
        let by_name =
            |column: &Column| column.default.as_deref().is_some_and(|text| text.starts_with("nextval("));
        let counts = |column: &Column| column.default.as_deref() == Some(NEXT_NUMBER) || by_name(column);
        let other = old.default != new.default || old.counter != new.counter;
        if self.dialect != SqlDialect::PostgreSql || !(counts(old) && counts(new) && other) {
            return false;
        }
        self.findings.not_checked.push(NotChecked {
            place: format!("{name}.{column}"),
            reason: "another sequence numbers it: whether that begins behind the numbers that are there is not known".to_owned(),
            old: Some(old.position.location()),
            new: Some(new.position.location()),
        });
        true
    }

    /// Where MySQL counts, 0 and null become the next number.
    fn numbered(&mut self, name: &str, column: &str, before: &Table, (old, new): (&Column, &Column)) {
        if self.is_never_null(before, column) && self.is_never_zero(before, column) {
            return;
        }
        let place = format!("{name}.{column}");
        let message =
            format!("the next number is written into `{place}` where null or 0 is given, and 0 was written");
        let at = (Some(&old.position), Some(&new.position));
        let shown = self.rows(name, before).renumbered(column);
        self.report(&rules::NUMBERING_ADDED, &place, message, at, shown);
    }

    /// The number of a row of SQLite is a whole number; other columns take anything.
    fn whole_numbers_only(
        &mut self,
        name: &str,
        column: &str,
        before: &Table,
        (old, new): (&Column, &Column),
    ) {
        if before.values == Values::OfType || old.default.as_deref() == Some(NEXT_NUMBER) {
            return;
        }
        let place = format!("{name}.{column}");
        let message = format!("`{place}` is the number of its row now, and takes whole numbers only");
        let shown = self.rows(name, before).insert(&[(column, Some("'a'"))], "the value is no whole number");
        let at = (Some(&old.position), Some(&new.position));
        self.report(&rules::TYPE_NARROWED, &place, message, at, shown);
    }

    fn column_type(
        &mut self,
        name: &str,
        column: &str,
        tables: (&Table, &Table),
        (old, new): (&Column, &Column),
    ) {
        let place = format!("{name}.{column}");
        let at = (Some(&old.position), Some(&new.position));
        let message = format!("column `{place}` is {} instead of {}", new.of.text, old.of.text);
        if old.of.is_padded() != new.of.is_padded() {
            self.doubt((&place, column), tables.1, new, "what a demand makes of spaces at the end", &|_| {
                true
            });
        }
        if old.of.folds_case() != new.of.folds_case() {
            let how = if new.of.folds_case() {
                "without regard to capital letters"
            } else {
                "with regard to capital letters"
            };
            let message = format!("texts of `{place}` are compared {how} now");
            self.report(&rules::COLLATION_CHANGED, &place, message, at, None);
            self.doubt((&place, column), tables.1, new, "what a demand makes of capital letters", &|_| true);
        }
        let is_strict = |table: &Table| table.values == Values::OfType;
        if is_strict(tables.1) && !is_strict(tables.0) && !new.of.text.eq_ignore_ascii_case("ANY") {
            let message = format!("column `{place}` takes values of {} only, and took any", new.of.text);
            let stranger = if new.of.text.eq_ignore_ascii_case("TEXT") { "x'00'" } else { "'a'" };
            let outcome = "the table is strict, and the value is of another type";
            let shown = self.rows(name, tables.0).insert(&[(column, Some(stranger))], outcome);
            self.report(&rules::TYPE_NARROWED, &place, message, at, shown);
        }
        match new.of.since(&old.of) {
            Relation::Same => {}
            _ if self.dialect == SqlDialect::Sqlite => {
                self.report(&rules::AFFINITY_CHANGED, &place, message, at, None);
                self.doubt(
                    (&place, column),
                    tables.1,
                    new,
                    "what a demand makes of values of another kind",
                    &|_| true,
                );
            }
            Relation::Wider if matches!(new.of.family, Family::Labels(_)) => {
                self.report_read(&rules::ENUM_VALUE_ADDED, &place, message, at, None);
            }
            Relation::Wider => self.report(&rules::TYPE_WIDENED, &place, message, at, None),
            Relation::Narrower => {
                let shown = self.rows(name, tables.0).too_large(column, (&old.of, &new.of));
                let labels = matches!(new.of.family, Family::Labels(_));
                let rule = if labels { &rules::ENUM_VALUE_DROPPED } else { &rules::TYPE_NARROWED };
                self.report(rule, &place, message, at, shown);
            }
            Relation::Other => self.report(&rules::TYPE_CHANGED, &place, message, at, None),
        }
    }

    /// Enums count where columns use them; one that no column uses hurts nobody.
    fn enums(&mut self) {
        let (old, new) = (self.old, self.new);
        for (table, before) in &old.tables {
            for (column, declared) in &before.columns {
                let Some(name) = enum_name(self.dialect, &declared.of) else { continue };
                let same_type = new.tables.get(table).and_then(|after| after.columns.get(column));
                let same_type = same_type.is_some_and(|after| after.of.since(&declared.of) == Relation::Same);
                let (Some(was), Some(is), true) = (old.enums.get(&name), new.enums.get(&name), same_type)
                else {
                    continue;
                };
                let at = (Some(&was.position), Some(&is.position));
                for lost in was.labels.difference(&is.labels) {
                    let message = format!("column `{table}.{column}` takes no '{lost}' any more");
                    let literal = format!("'{lost}'");
                    let shown = self
                        .rows(table, before)
                        .insert(&[(column, Some(&literal))], "the enum has no such value");
                    self.report(
                        &rules::ENUM_VALUE_DROPPED,
                        &format!("{table}.{column}.{lost}"),
                        message,
                        at,
                        shown,
                    );
                }
                for gained in is.labels.difference(&was.labels) {
                    let message = format!("column `{table}.{column}` may hold '{gained}'");
                    self.report_read(
                        &rules::ENUM_VALUE_ADDED,
                        &format!("{table}.{column}.{gained}"),
                        message,
                        at,
                        None,
                    );
                }
            }
        }
    }
}
