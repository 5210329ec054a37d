//! What SQLite holds: whoever writes holds the whole database.

use sqlparser::ast::{AlterTableOperation as Operation, ColumnOption, Statement as Parsed};

use super::{Hold, Kind, Scene};
use crate::{SqlDialect, sql::dialect::fold_name};

const DIALECT: SqlDialect = SqlDialect::Sqlite;

pub(super) fn holds(scene: &Scene<'_>) -> Vec<Hold> {
    let hold = |table: &str, kind, why: &str| vec![Hold::exclusive(table, kind, why)];
    match (&scene.parsed, scene.word(0).as_str()) {
        (_, "VACUUM") => {
            let first = scene.database.tables.keys().next();
            first.map(|table| hold(table, Kind::Rewrite, "VACUUM writes it anew")).unwrap_or_default()
        }
        (_, "REINDEX") => {
            let first = scene.database.tables.keys().next();
            first.map(|table| hold(table, Kind::Build, "indexes are built")).unwrap_or_default()
        }
        (Some(Parsed::CreateIndex(create)), _) => {
            hold(&fold_name(DIALECT, &create.table_name), Kind::Build, "an index is built")
        }
        (Some(Parsed::AlterTable(alter)), _) => {
            let table = fold_name(DIALECT, &alter.name);
            alter.operations.iter().flat_map(|operation| one(&table, operation)).collect()
        }
        (Some(Parsed::Insert(insert)), _) => copied(scene, insert).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn one(table: &str, operation: &Operation) -> Option<Hold> {
    match operation {
        Operation::DropColumn { .. } => {
            Some(Hold::exclusive(table, Kind::Rewrite, "every row is written without the column"))
        }
        Operation::AddColumn { column_def, .. } => {
            let looks = column_def
                .options
                .iter()
                .any(|one| matches!(one.option, ColumnOption::Check(_) | ColumnOption::Generated { .. }));
            looks.then(|| Hold::exclusive(table, Kind::Scan, "all rows are checked"))
        }
        _ => None,
    }
}

/// The table whose rows are all copied, as for a new one in its place.
fn copied(scene: &Scene<'_>, insert: &sqlparser::ast::Insert) -> Option<Hold> {
    let query = insert.source.as_deref()?;
    let sqlparser::ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [from] = select.from.as_slice() else { return None };
    let sqlparser::ast::TableFactor::Table { name, .. } = &from.relation else { return None };
    let table = fold_name(DIALECT, name);
    scene
        .database
        .tables
        .contains_key(&table)
        .then(|| Hold::exclusive(&table, Kind::Rewrite, "all its rows are copied"))
}
