//! `ALTER`: tables and enums.

use sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, AlterType, AlterTypeOperation, ColumnOption,
    DataType, GeneratedAs, Ident, MySQLColumnPosition, RenameTableNameKind, TableConstraint,
};

use super::{Outcome, Refusal, Replay, create, rows};
use crate::SqlDialect;
use crate::sql::{
    dialect::{fold, fold_name},
    state::{Constraint, ConstraintRule, How, MadeBy, NEXT_NUMBER, Position, Table, renamed_in},
    types::{ColumnType, Family},
};

impl Replay {
    pub(super) fn alter_table(&mut self, position: &Position, alter: AlterTable) -> Outcome {
        let mut name = fold_name(self.dialect, &alter.name);
        if self.temporary.contains(&name) {
            return Ok(());
        }
        if alter.if_exists && !self.database.tables.contains_key(&name) {
            return self.is_known_or_absent(&name, false, true);
        }
        for operation in alter.operations {
            if let AlterTableOperation::RenameTable { table_name } = operation {
                let (RenameTableNameKind::As(new) | RenameTableNameKind::To(new)) = table_name;
                self.rename_table(&alter.name, &new)?;
                name = fold_name(self.dialect, &new);
                continue;
            }
            let Some(mut table) = self.database.tables.remove(&name) else {
                return Err(format!("table `{name}` is not known"));
            };
            let outcome = self.alter_one(&name, &mut table, position, operation);
            self.name_keys(&name, &mut table);
            self.database.tables.insert(name.clone(), table);
            outcome?;
        }
        Ok(())
    }

    fn alter_one(
        &mut self,
        name: &str,
        table: &mut Table,
        position: &Position,
        operation: AlterTableOperation,
    ) -> Outcome {
        use AlterTableOperation as Operation;
        let dialect = self.dialect;
        let folded = |ident: &Ident| fold(dialect, ident);
        match operation {
            Operation::AddColumn { column_def, if_not_exists, column_position, .. } => {
                let column = folded(&column_def.name);
                if if_not_exists && table.columns.contains_key(&column) {
                    return Ok(());
                }
                self.add_column((name, table), position, &column_def)?;
                match column_position {
                    None => {}
                    Some(MySQLColumnPosition::First) => put_after(table, &column, None),
                    Some(MySQLColumnPosition::After(other)) => {
                        put_after(table, &column, Some(&folded(&other)));
                    }
                }
                Ok(())
            }
            Operation::DropColumn { column_names, if_exists, .. } => column_names
                .iter()
                .try_for_each(|column| self.drop_column(table, position, &folded(column), if_exists)),
            Operation::AddConstraint { constraint, .. } => self.attach(table, position, constraint),
            Operation::DropConstraint { name: constraint, if_exists, .. } => {
                drop_constraint(name, table, &folded(&constraint), if_exists)
            }
            Operation::DropForeignKey { name: constraint, .. }
            | Operation::DropIndex { name: constraint } => {
                drop_constraint(name, table, &folded(&constraint), false)
            }
            Operation::DropPrimaryKey { .. } => {
                table.constraints.retain(|one| one.rule != ConstraintRule::PrimaryKey);
                Ok(())
            }
            Operation::RenameColumn { old_column_name, new_column_name } => {
                rename_column(table, position, &folded(&old_column_name), &folded(&new_column_name))
            }
            Operation::RenameConstraint { old_name, new_name } => {
                let old = folded(&old_name);
                for one in table.constraints.iter_mut().filter(|one| one.is_called(name, &old)) {
                    one.name = Some(folded(&new_name));
                }
                Ok(())
            }
            Operation::ChangeColumn { old_name, new_name, data_type, options, .. } => {
                let (old, new) = (folded(&old_name), folded(&new_name));
                if old != new {
                    rename_column(table, position, &old, &new)?;
                }
                self.redefine(table, position, (&new, &data_type), &options)
            }
            Operation::ModifyColumn { col_name, data_type, options, .. } => {
                self.redefine(table, position, (&folded(&col_name), &data_type), &options)
            }
            Operation::AlterColumn { column_name, op } => {
                self.alter_column(table, position, &folded(&column_name), op)
            }
            Operation::OwnerTo { .. } if table.position.file != position.file => {
                Err("whoever owned the table may be kept from it afterwards".to_owned())
            }
            Operation::OwnerTo { .. }
            | Operation::SetTblProperties { .. }
            | Operation::SetLogged
            | Operation::SetUnlogged
            | Operation::ReplicaIdentity { .. }
            | Operation::Algorithm { .. }
            | Operation::Lock { .. }
            | Operation::AutoIncrement { .. }
            | Operation::ValidateConstraint { .. } => Ok(()),
            other => Err(format!("the effect of `{other}` is not modelled")),
        }
    }

    fn drop_column(
        &mut self,
        table: &mut Table,
        position: &Position,
        name: &str,
        if_exists: bool,
    ) -> Outcome {
        match table.columns.remove(name) {
            Some(column) => self.lose(&column, position, How::Dropped),
            None if if_exists => return Ok(()),
            None => return Err(format!("column `{name}` is not known")),
        }
        let names = |one: &Constraint| one.columns.iter().any(|column| is_named_in(column, name));
        if self.dialect == SqlDialect::MySql {
            // An index goes on with the columns that are left.
            let indexes = |one: &&mut Constraint| one.is_key() || one.rule == ConstraintRule::Index;
            table
                .constraints
                .iter_mut()
                .filter(indexes)
                .for_each(|one| one.columns.retain(|column| column != name));
            table
                .constraints
                .retain(|one| !one.columns.is_empty() || matches!(one.rule, ConstraintRule::Check(_)));
        }
        table.constraints.retain(|one| !names(one));
        Ok(())
    }

    fn attach(&self, table: &mut Table, position: &Position, constraint: TableConstraint) -> Outcome {
        // A constraint on an index that is there already takes over its columns.
        let (using, rule) = match constraint {
            TableConstraint::UniqueUsingIndex(using) => (using, ConstraintRule::unique()),
            TableConstraint::PrimaryKeyUsingIndex(using) => (using, ConstraintRule::PrimaryKey),
            other => return self.add_constraint(table, position, other),
        };
        let late = using.characteristics.is_some_and(|how| how.deferrable == Some(true));
        let index = fold(self.dialect, &using.index_name);
        let one = table.constraints.iter_mut().find(|one| one.name.as_ref() == Some(&index));
        let one = one.ok_or_else(|| format!("index `{index}` is not known"))?;
        if rule == ConstraintRule::PrimaryKey || !matches!(one.rule, ConstraintRule::Unique { .. }) {
            one.rule = rule;
        }
        one.position = position.clone();
        (one.made_by, one.deferrable) = (MadeBy::Table, late);
        // The constraint gives its name to the index.
        if let Some(name) = &using.name {
            one.name = Some(fold(self.dialect, name));
        }
        Ok(())
    }

    /// MySQL states the whole column anew; its keys stay.
    fn redefine(
        &self,
        table: &mut Table,
        position: &Position,
        (name, of): (&str, &DataType),
        options: &[ColumnOption],
    ) -> Outcome {
        if table.constraints.iter().any(|one| is_own_check(one, name)) {
            // What nobody knows of is no demand that a row could be shown to break.
            table.constraints.retain(|one| !is_own_check(one, name));
            return Err(format!(
                "MariaDB drops the conditions of `{name}` with its former definition, MySQL keeps them"
            ));
        }
        let before = column(table, name)?.clone();
        let holds = before.holds.converted((&before.of, &ColumnType::new(self.dialect, of)), position);
        self.define_column(table, position, (name, of, holds), options.iter().map(|option| (None, option)))?;
        let key = table.constraints.iter().any(|one| {
            one.rule == ConstraintRule::PrimaryKey && one.columns.iter().any(|column| column == name)
        });
        let redefined = column(table, name)?;
        // A session that is not strict puts something else in the place of null.
        if redefined.not_null && !before.not_null && redefined.holds.worn.is_none() {
            redefined.holds.worn = Some(position.clone());
        }
        redefined.former_names = before.former_names;
        redefined.not_null |= key;
        Ok(())
    }

    fn alter_column(
        &self,
        table: &mut Table,
        position: &Position,
        name: &str,
        op: AlterColumnOperation,
    ) -> Outcome {
        let changed = column(table, name)?;
        match op {
            AlterColumnOperation::SetNotNull => changed.not_null = true,
            AlterColumnOperation::DropNotNull => changed.not_null = false,
            AlterColumnOperation::SetDefault { value } => changed.default = create::default(&value),
            AlterColumnOperation::DropDefault => {
                changed.default = match &changed.of.family {
                    Family::Labels(labels) if changed.not_null && self.dialect == SqlDialect::MySql => {
                        create::first_label(labels)
                    }
                    _ => None,
                }
            }
            AlterColumnOperation::SetDataType { data_type, using, .. } => {
                let of = ColumnType::new(self.dialect, &data_type);
                changed.holds = changed.holds.converted((&changed.of, &of), position);
                if using.is_some_and(|using| rows::copied(&using).is_none()) {
                    changed.holds.worn = Some(position.clone());
                }
                changed.of = of;
            }
            AlterColumnOperation::AddGenerated { generated_as: Some(GeneratedAs::Always), .. } => {
                changed.number_always();
                changed.counter = Some(position.clone());
            }
            AlterColumnOperation::AddGenerated { .. } => {
                changed.default = Some(NEXT_NUMBER.to_owned());
                changed.counter = Some(position.clone());
            }
            other @ AlterColumnOperation::GenericOptions { .. } => {
                return Err(format!("the effect of `{other}` is not modelled"));
            }
        }
        changed.position = position.clone();
        Ok(())
    }

    pub(super) fn alter_type(&mut self, position: &Position, alter: AlterType) -> Outcome {
        let name = fold_name(self.dialect, &alter.name);
        if let AlterTypeOperation::Rename(_) = alter.operation {
            return Err("renaming a type is not modelled".to_owned());
        }
        let Some(declared) = self.enums().get_mut(&name) else {
            return Err(format!("enum `{name}` is not known"));
        };
        match alter.operation {
            AlterTypeOperation::AddValue(add) => drop(declared.labels.insert(add.value.value)),
            AlterTypeOperation::RenameValue(rename) => {
                declared.labels.remove(&rename.from.value);
                declared.labels.insert(rename.to.value);
            }
            AlterTypeOperation::Rename(_) => {}
        }
        declared.position = position.clone();
        Ok(())
    }
}

fn column<'a>(table: &'a mut Table, name: &str) -> Result<&'a mut crate::sql::state::Column, Refusal> {
    table.columns.get_mut(name).ok_or_else(|| format!("column `{name}` is not known"))
}

/// Moves a column behind another, or to the front.
fn put_after(table: &mut Table, name: &str, other: Option<&str>) {
    let place = other.and_then(|other| table.columns.get(other)).map_or(0, |other| other.order + 1);
    for column in table.columns.values_mut().filter(|column| column.order >= place) {
        column.order += 1;
    }
    if let Some(column) = table.columns.get_mut(name) {
        column.order = place;
    }
}

fn drop_constraint(table_name: &str, table: &mut Table, name: &str, if_exists: bool) -> Outcome {
    if !table.remove_constraint(table_name, name)? && !if_exists {
        return Err(format!("constraint `{name}` is not known"));
    }
    Ok(())
}

/// Tells whether a constraint is a condition on one column alone, as one that is written at the column.
fn is_own_check(one: &Constraint, name: &str) -> bool {
    matches!(one.rule, ConstraintRule::Check(_)) && one.columns == [name]
}

fn rename_column(table: &mut Table, position: &Position, old: &str, new: &str) -> Outcome {
    let Some(mut column) = table.columns.remove(old) else {
        return Err(format!("column `{old}` is not known"));
    };
    column.former_names.insert(old.to_owned());
    column.position = position.clone();
    table.columns.insert(new.to_owned(), column);
    table.constraints.iter_mut().for_each(|constraint| constraint.rename(old, new));
    for computed in table.columns.values_mut().filter_map(|column| column.computed.as_mut()) {
        *computed = renamed_in(computed, old, new);
    }
    Ok(())
}

/// Says whether a column is what an index is on, or stands in the expression that it is on.
fn is_named_in(indexed: &str, name: &str) -> bool {
    indexed == name
        || indexed.contains('(')
            && indexed.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == name)
}
