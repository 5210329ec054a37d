//! What MySQL and MariaDB hold: an `ALTER TABLE` that must copy the table lets nobody write it. Versions from 10 on are MariaDB's.

use sqlparser::ast::{
    AlterTableAlgorithm, AlterTableLock, AlterTableOperation as Operation, ColumnOption,
    GeneratedExpressionMode, Statement as Parsed, TableConstraint,
};

use super::{Hold, Kind, Scene};
use crate::{
    ServerVersion, SqlDialect,
    sql::{
        dialect::{fold, fold_name},
        state::Column,
        types::{ColumnType, Family},
    },
};

const DIALECT: SqlDialect = SqlDialect::MySql;

pub(super) fn holds(scene: &Scene<'_>) -> Vec<Hold> {
    let Some(Parsed::AlterTable(alter)) = &scene.parsed else { return Vec::new() };
    let table = fold_name(DIALECT, &alter.name);
    let has = |wanted: &dyn Fn(&Operation) -> bool| alter.operations.iter().any(wanted);
    let mut reasons: Vec<String> =
        alter.operations.iter().filter_map(|operation| copies(scene, &table, operation)).collect();
    let drops_key = has(&|one| matches!(one, Operation::DropPrimaryKey { .. }));
    let adds_key = has(&|one| {
        matches!(one, Operation::AddConstraint { constraint: TableConstraint::PrimaryKey(_), .. })
    });
    if drops_key && !adds_key {
        reasons.push("rows are put in another order, as no key is left".to_owned());
    }
    reasons
        .iter()
        .map(|why| Hold::writes(&table, Kind::Rewrite, format!("the table is copied: {why}")))
        .collect()
}

/// Why an operation copies the table.
fn copies(scene: &Scene<'_>, table: &str, operation: &Operation) -> Option<String> {
    let column =
        |name: &sqlparser::ast::Ident| scene.database.tables.get(table)?.columns.get(&fold(DIALECT, name));
    match operation {
        Operation::ModifyColumn { col_name, data_type, options, .. } => {
            redefined(scene, column(col_name)?, &ColumnType::new(DIALECT, data_type), options)
        }
        Operation::ChangeColumn { old_name, data_type, options, .. } => {
            redefined(scene, column(old_name)?, &ColumnType::new(DIALECT, data_type), options)
        }
        Operation::AddColumn { column_def, .. } => {
            let stored = column_def.options.iter().any(|one| {
                matches!(&one.option, ColumnOption::Generated { generation_expr: Some(_), generation_expr_mode, .. }
                    if *generation_expr_mode == Some(GeneratedExpressionMode::Stored))
            });
            stored.then(|| "a computed column is stored in every row".to_owned())
        }
        Operation::AddConstraint { constraint: TableConstraint::ForeignKey(_), .. } => {
            Some("all references are checked, unless the session sets foreign_key_checks = 0".to_owned())
        }
        Operation::AddConstraint { constraint: TableConstraint::Check(_), .. } => {
            Some("all rows are checked".to_owned())
        }
        Operation::Algorithm { algorithm: AlterTableAlgorithm::Copy, .. } => {
            Some("ALGORITHM=COPY asks for it".to_owned())
        }
        Operation::Lock { lock: AlterTableLock::Exclusive | AlterTableLock::Shared, .. } => {
            Some("LOCK asks for it".to_owned())
        }
        _ => None,
    }
}

/// Why a column that is stated anew is written anew.
fn redefined(scene: &Scene<'_>, old: &Column, new: &ColumnType, options: &[ColumnOption]) -> Option<String> {
    let charset = options.iter().find_map(|option| match option {
        ColumnOption::CharacterSet(name) => Some(name.to_string().to_lowercase()),
        _ => None,
    });
    if charset.is_some() && charset != old.collation.charset {
        return Some(format!("texts of the column are written in {}", charset.unwrap_or_default()));
    }
    let stays = match (&old.of.family, &new.family) {
        // The length of a text takes one byte or two.
        (Family::Text { longest: Some(was) }, Family::Text { longest: Some(is) })
            if is_varying(&old.of) && is_varying(new) =>
        {
            is >= was && (length_bytes(*was) == length_bytes(*is) || is_mariadb_since(scene, 10, 4))
        }
        (Family::Labels(was), Family::Labels(is)) => {
            is.starts_with(was) && (was.len() > 255) == (is.len() > 255)
        }
        (was, is) => {
            let is_number = matches!(was, Family::Integer { .. });
            was == is && (is_number || old.of.text.eq_ignore_ascii_case(&new.text))
        }
    };
    (!stays).then(|| format!("the column becomes {}", new.text))
}

/// MySQL has no versions from 10 on.
fn is_mariadb_since(scene: &Scene<'_>, major: u16, minor: u16) -> bool {
    scene.version.is_some_and(|version| version >= ServerVersion::new(major, minor))
}

fn is_varying(of: &ColumnType) -> bool {
    of.text.to_ascii_uppercase().contains("VAR")
}

/// How many bytes hold the length of a text of four bytes a character.
const fn length_bytes(longest: u64) -> u8 {
    if longest * 4 < 256 { 1 } else { 2 }
}
