//! What a version says to the tables that it knows: rows, changes, questions.

use super::beside::key_name;
use super::{Dice, MySql, PostgreSql, SqlDialect, Table};

/// A row of a table, as an insert, and the same row without the columns that another schema does not have.
pub(crate) fn insert(
    dice: &mut Dice,
    tables: &[Table],
    known: &[Table],
    keys: usize,
) -> (String, Option<String>) {
    let table = dice.pick(tables);
    let id = (keys + dice.below(4)).to_string();
    let mut row = vec![("id".to_owned(), id)];
    for column in table.columns.iter().filter(|column| !column.computed) {
        let required = column.not_null && column.default.is_none();
        if required || dice.chance(60) {
            let null = !column.not_null && dice.chance(25);
            row.push((column.name.clone(), if null { "NULL".to_owned() } else { column.of.value(dice) }));
        }
    }
    let write = |row: &[&(String, String)]| {
        let (names, values): (Vec<&str>, Vec<&str>) =
            row.iter().map(|(name, value)| (name.as_str(), value.as_str())).unzip();
        format!("INSERT INTO {} ({}) VALUES ({})", table.name, names.join(", "), values.join(", "))
    };
    let whole = write(&row.iter().collect::<Vec<_>>());
    let other = known.iter().find(|other| other.name == table.name);
    let part = other.map(|other| {
        let kept: Vec<_> = row
            .iter()
            .filter(|(name, _)| name == "id" || other.columns.iter().any(|column| column.name == *name))
            .collect();
        write(&kept)
    });
    (whole, part)
}

/// Adds to an insert what is done where a key of its table has such a row already.
fn upsert(dice: &mut Dice, dialect: SqlDialect, tables: &[Table]) -> String {
    let table = dice.pick(tables);
    let (insert, _) = insert(dice, std::slice::from_ref(table), &[], 0);
    let column = dice.pick(&table.columns);
    let value = column.of.value(dice);
    if dialect == MySql {
        return format!("{insert} ON DUPLICATE KEY UPDATE {} = {value}", column.name);
    }
    let unique = table.demands.iter().filter_map(|demand| demand.strip_prefix("UNIQUE")?.split_once('('));
    let keys: Vec<&str> = unique.map(|(_, columns)| columns.trim_end_matches(')')).chain(["id"]).collect();
    let action =
        if dice.chance(50) { "NOTHING".to_owned() } else { format!("UPDATE SET {} = {value}", column.name) };
    if dialect == PostgreSql && dice.chance(30) {
        let name = key_name(dice, table);
        return format!("{insert} ON CONFLICT ON CONSTRAINT {name} DO {action}");
    }
    format!("{insert} ON CONFLICT ({}) DO {action}", dice.pick(&keys))
}

/// A statement of the version that knows these tables.
pub(crate) fn statement(dice: &mut Dice, dialect: SqlDialect, tables: &[Table]) -> String {
    let table = dice.pick(tables);
    let column = dice.pick(&table.columns);
    let id = dice.below(8);
    match dice.below(12) {
        0..=3 => insert(dice, tables, &[], 0).0,
        10 | 11 => upsert(dice, dialect, tables),
        4..=6 => {
            let null = !column.not_null && dice.chance(20);
            let value = if null { "NULL".to_owned() } else { column.of.value(dice) };
            format!("UPDATE {} SET {} = {value} WHERE id = {id}", table.name, column.name)
        }
        7 => format!("DELETE FROM {} WHERE id = {id}", table.name),
        _ => select(table),
    }
}

fn select(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    // Qualified, as SQLite takes an unknown quoted name for text.
    format!("SELECT id, {} FROM {} ORDER BY id", names.join(", "), table.name)
}

/// Everything that a version sees.
pub(crate) fn dump(tables: &[Table]) -> Vec<String> {
    tables.iter().map(select).collect()
}
