//! What stands beside tables: views, indexes that queries name, names of keys, and conditions that are nearly those that were there.

use super::{Dice, MySql, PostgreSql, SqlDialect, Table};

/// What a schema has beside its tables, and how old statements use it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    /// A view, its table, and what it shows of it.
    view: Option<View>,
    /// An index, its table and column.
    index: Option<(String, String, String)>,
}

#[derive(Debug, Clone)]
struct View {
    table: String,
    columns: Vec<String>,
    filter: Option<String>,
}

impl View {
    fn create(&self) -> String {
        let filter = self.filter.as_ref().map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
        format!("CREATE VIEW w1 AS SELECT {} FROM {}{filter}", self.columns.join(", "), self.table)
    }
}

impl Beside {
    pub(crate) fn random(dice: &mut Dice, dialect: SqlDialect, tables: &[Table]) -> Self {
        let table = dice.pick(tables);
        let columns: Vec<String> = std::iter::once("id")
            .chain(table.columns.iter().map(|one| one.name.as_str()))
            .map(str::to_owned)
            .collect();
        let filter = dice.chance(60).then(|| table.condition(dice, dialect));
        let view = dice.chance(25).then(|| View { table: table.name.clone(), columns, filter });
        let indexed = dice.pick(&table.columns).name.clone();
        let index = (dialect != PostgreSql && dice.chance(20))
            .then(|| ("ix".to_owned(), table.name.clone(), indexed));
        Self { view, index }
    }

    pub(crate) fn create(&self) -> Vec<String> {
        let index = self
            .index
            .as_ref()
            .map(|(name, table, column)| format!("CREATE INDEX {name} ON {table} ({column})"));
        self.view.as_ref().map(View::create).into_iter().chain(index).collect()
    }

    /// A query of it.
    pub(crate) fn query(&self, dice: &mut Dice, dialect: SqlDialect) -> Option<String> {
        match (&self.view, &self.index) {
            (Some(view), _) if dice.chance(20) => {
                Some(format!("SELECT {} FROM w1 ORDER BY id", view.columns.join(", ")))
            }
            (_, Some((name, table, _))) if dice.chance(20) => Some(match dialect {
                MySql => format!("SELECT id FROM {table} FORCE INDEX ({name}) ORDER BY id"),
                _ => format!("SELECT id FROM {table} INDEXED BY {name} ORDER BY id"),
            }),
            _ => None,
        }
    }

    /// A migration of it.
    pub(crate) fn step(&self, dice: &mut Dice, dialect: SqlDialect, tables: &[Table]) -> Vec<String> {
        if let Some((name, table, column)) = self.index.as_ref().filter(|_| dice.chance(15)) {
            let on = if dialect == MySql { format!(" ON {table}") } else { String::new() };
            let other = dice.pick(&["ix", "other"]);
            let anew = dice.chance(60).then(|| format!("CREATE INDEX {other} ON {table} ({column}, id)"));
            return std::iter::once(format!("DROP INDEX {name}{on}")).chain(anew).collect();
        }
        let view = self.view.as_ref().filter(|_| dice.chance(40));
        let known = view.and_then(|view| Some((view, tables.iter().find(|table| table.name == view.table)?)));
        known.map(|(view, table)| replace(dice, dialect, view, table)).unwrap_or_default()
    }
}

fn replace(dice: &mut Dice, dialect: SqlDialect, view: &View, table: &Table) -> Vec<String> {
    let mut anew = view.clone();
    match dice.below(5) {
        0 => anew.filter = Some(table.condition(dice, dialect)),
        1 => anew.filter = anew.filter.map(|filter| nearly(dice, &filter)),
        2 => {
            let more = table.condition(dice, dialect);
            anew.filter = Some(anew.filter.map_or(more.clone(), |filter| format!("({filter}) AND {more}")));
        }
        3 => anew.filter = None,
        _ => anew.columns.extend(
            table.columns.iter().map(|one| one.name.clone()).filter(|one| !view.columns.contains(one)),
        ),
    }
    vec!["DROP VIEW w1".to_owned(), anew.create()]
}

/// A condition that is nearly another: with another number, or with more to it.
pub(super) fn nearly(dice: &mut Dice, condition: &str) -> String {
    match dice.below(4) {
        0 => format!("({condition}) OR id = {}", dice.below(4)),
        1 => format!("({condition}) AND id >= 0"),
        _ => match condition.char_indices().find(|(at, one)| {
            one.is_ascii_digit() && !condition[..*at].ends_with(|c: char| c.is_ascii_alphanumeric())
        }) {
            Some((at, digit)) => {
                let number = digit.to_digit(10).map_or(0, i64::from) + if dice.chance(50) { 1 } else { -1 };
                format!("{}{number}{}", &condition[..at], &condition[at + 1..])
            }
            None => format!("NOT (NOT ({condition}))"),
        },
    }
}

/// The name that PostgreSQL gives a key, of some key of a table.
pub(super) fn key_name(dice: &mut Dice, table: &Table) -> String {
    let unique = table.demands.iter().filter_map(|demand| demand.strip_prefix("UNIQUE (")?.strip_suffix(')'));
    let names: Vec<String> =
        unique.map(|columns| format!("{}_{}_key", table.name, columns.replace(", ", "_"))).collect();
    let all: Vec<String> = names.into_iter().chain([format!("{}_pkey", table.name)]).collect();
    dice.pick(&all).clone()
}

/// Rows that a migration changes, in all the ways there are.
pub(super) fn change_rows(dice: &mut Dice, dialect: SqlDialect, table: &Table) -> String {
    let name = &table.name;
    let column = dice.pick(&table.columns).clone();
    let (own, value) = (&column.name, column.of.value(dice));
    let id = dice.below(4);
    match dice.below(7) {
        0 => format!("UPDATE {name} SET {own} = {value}"),
        1 => format!("UPDATE {name} SET {own} = {value} WHERE {own} IS NULL"),
        2 => format!("UPDATE {name} SET {own} = coalesce({own}, {value})"),
        3 => format!("UPDATE {name} SET {own} = {value} WHERE id > {id}"),
        4 if dialect == MySql => format!(
            "INSERT INTO {name} (id, {own}) VALUES ({id}, {value}) ON DUPLICATE KEY UPDATE {own} = {value}"
        ),
        4 => format!(
            "INSERT INTO {name} (id, {own}) VALUES ({id}, {value}) ON CONFLICT (id) DO UPDATE SET {own} = {value}"
        ),
        5 if dialect != PostgreSql => format!("REPLACE INTO {name} (id, {own}) VALUES ({id}, {value})"),
        _ => format!("DELETE FROM {name} WHERE id = {id}"),
    }
}
