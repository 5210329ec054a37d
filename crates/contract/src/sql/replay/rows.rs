//! What statements that move rows do to what columns hold: rows copied into another table, removed, overwritten.
//!
//! Only what touches every row of a table counts here; the rest is told as a change of rows.

use sqlparser::ast::{
    AssignmentTarget, CascadeOption, Delete, Expr, FromTable, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Insert, Query, Select, SelectItem, SetExpr, Statement as Parsed,
    TableFactor, TableObject, TableWithJoins, Truncate, Update,
};

use super::{Replay, Rows};
use crate::sql::{
    dialect::{fold, fold_name},
    split::Statement,
    state::{Column, ConstraintRule, How, Lineage, Position},
};

/// Statements that move all rows of a table are short; lists of values are long.
const MAX_TOKENS: usize = 2_000;

impl Replay {
    /// Follows what a statement does to all rows of its tables.
    pub(super) fn move_rows(&mut self, position: &Position, statement: &Statement) -> Rows {
        self.database.rows_moved = true;
        let has = |wanted: &str| (1..statement.tokens.len()).any(|index| statement.word(index) == wanted);
        let may_be_all = match statement.word(0).as_str() {
            "TRUNCATE" => true,
            "INSERT" => has("SELECT") && !has("WHERE"),
            "UPDATE" | "DELETE" => !has("WHERE"),
            _ => false,
        };
        if !may_be_all || statement.tokens.len() > MAX_TOKENS {
            return Rows::Some;
        }
        match self.parse(&statement.tokens) {
            Ok(Parsed::Truncate(truncate)) => self.truncate(position, &truncate),
            Ok(Parsed::Delete(delete)) => self.delete(position, &delete),
            Ok(Parsed::Insert(insert)) => drop(self.copy_rows(position, &insert)),
            Ok(Parsed::Update(update)) => return self.overwrite(position, &update).unwrap_or(Rows::Some),
            _ => return Rows::Some,
        }
        let removes = statement.word(0) != "INSERT";
        if removes { Rows::All } else { Rows::Some }
    }

    fn truncate(&mut self, position: &Position, truncate: &Truncate) {
        let mut names: Vec<String> =
            truncate.table_names.iter().map(|target| fold_name(self.dialect, &target.name)).collect();
        if truncate.cascade == Some(CascadeOption::Cascade) {
            let mut at = 0;
            while let Some(name) = names.get(at).cloned() {
                names.extend(
                    self.referring(&name)
                        .into_iter()
                        .filter(|other| !names.contains(other))
                        .collect::<Vec<_>>(),
                );
                at += 1;
            }
        }
        names.iter().for_each(|name| self.empty(position, name));
    }

    /// The tables whose rows refer to those of another.
    fn referring(&self, name: &str) -> Vec<String> {
        let refers =
            |rule: &ConstraintRule| matches!(rule, ConstraintRule::ForeignKey(to) if to.table == name);
        let tables = self.database.tables.iter();
        tables
            .filter(|(_, table)| table.constraints.iter().any(|one| refers(&one.rule)))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn delete(&mut self, position: &Position, delete: &Delete) {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let [only] = from.as_slice() else { return };
        if delete.using.is_none()
            && delete.limit.is_none()
            && let Some(name) = self.plain_table(only)
        {
            self.empty(position, &name);
        }
    }

    /// Notes that a table has lost all its rows.
    fn empty(&mut self, position: &Position, name: &str) {
        let Some(mut table) = self.database.tables.remove(name) else { return };
        for (column, emptied) in &mut table.columns {
            self.lose(emptied, position, How::Removed);
            emptied.holds = Lineage::born(self.origin(name, column));
        }
        self.database.tables.insert(name.to_owned(), table);
    }

    /// Lets columns hold what others held, where a statement copies every row.
    fn copy_rows(&mut self, position: &Position, insert: &Insert) -> Option<()> {
        let TableObject::TableName(into) = &insert.table else { return None };
        let spared = insert.ignore || insert.or.is_some() || insert.on.is_some();
        let query = insert.source.as_deref().filter(|_| !spared)?;
        let select = whole_select(query)?;
        let [from] = select.from.as_slice() else { return None };
        let from = self.database.tables.get(&self.plain_table(from)?)?;
        let into = fold_name(self.dialect, into);
        let target = self.database.tables.get(&into)?;
        let mut ordered: Vec<(&String, &Column)> = target.columns.iter().collect();
        ordered.sort_by_key(|(_, column)| column.order);
        let named: Vec<String> = insert.columns.iter().map(|name| fold_name(self.dialect, name)).collect();
        let names =
            if named.is_empty() { ordered.iter().map(|(name, _)| (*name).clone()).collect() } else { named };
        let mut sources: Vec<(&String, &Column)> = from.columns.iter().collect();
        sources.sort_by_key(|(_, column)| column.order);
        let items: Vec<Option<&Column>> = select
            .projection
            .iter()
            .flat_map(|item| match item {
                SelectItem::Wildcard(_) => sources.iter().map(|(_, column)| Some(*column)).collect(),
                SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => {
                    vec![copied(value).and_then(|ident| from.columns.get(&fold(self.dialect, ident)))]
                }
                _ => vec![None],
            })
            .collect();
        let held: Vec<(String, Lineage)> = names
            .into_iter()
            .zip(items)
            .filter_map(|(name, source)| {
                let to = target.columns.get(&name)?;
                let source = source?;
                Some((name, source.holds.converted((&source.of, &to.of), position)))
            })
            .collect();
        let target = self.database.tables.get_mut(&into)?;
        for (name, holds) in held {
            target.columns.get_mut(&name)?.holds = holds;
        }
        Some(())
    }

    /// Lets a column hold what another of its table holds, where all rows are told to.
    fn overwrite(&mut self, position: &Position, update: &Update) -> Option<Rows> {
        if update.from.is_some() || update.or.is_some() || update.limit.is_some() {
            return None;
        }
        let name = self.plain_table(&update.table)?;
        let mut table = self.database.tables.remove(&name)?;
        let before = table.columns.clone();
        for assignment in &update.assignments {
            let AssignmentTarget::ColumnName(target) = &assignment.target else { continue };
            let source = copied(&assignment.value).and_then(|ident| before.get(&fold(self.dialect, ident)));
            let target =
                target.0.last().and_then(|part| part.as_ident()).map(|ident| fold(self.dialect, ident));
            let target = target.and_then(|target| table.columns.get_mut(&target));
            let (Some(source), Some(target)) = (source, target) else { continue };
            if source.holds.origin != target.holds.origin {
                self.lose(target, position, How::Overwritten);
                target.holds = source.holds.converted((&source.of, &target.of), position);
            }
        }
        self.database.tables.insert(name, table);
        Some(Rows::Some)
    }

    fn plain_table(&self, from: &TableWithJoins) -> Option<String> {
        match &from.relation {
            TableFactor::Table { name, args: None, .. } if from.joins.is_empty() => {
                Some(fold_name(self.dialect, name))
            }
            _ => None,
        }
    }
}

/// A query that gives every row of its tables, each once.
fn whole_select(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let part = select.selection.is_some()
        || select.distinct.is_some()
        || select.having.is_some()
        || select.top.is_some()
        || grouped
        || query.limit_clause.is_some()
        || query.fetch.is_some()
        || query.with.is_some();
    (!part).then_some(select)
}

/// The column whose value an expression gives, in another type perhaps, or with its nulls filled.
pub(in crate::sql) fn copied(value: &Expr) -> Option<&sqlparser::ast::Ident> {
    match value {
        Expr::Identifier(ident) => Some(ident),
        Expr::CompoundIdentifier(parts) => parts.last(),
        Expr::Nested(inner) => copied(inner),
        Expr::Cast { expr, .. } => copied(expr),
        Expr::Function(function) => {
            let name = function.name.to_string();
            let fills = name.eq_ignore_ascii_case("coalesce") || name.eq_ignore_ascii_case("ifnull");
            let FunctionArguments::List(list) = &function.args else { return None };
            match list.args.first().filter(|_| fills)? {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(first)) => copied(first),
                _ => None,
            }
        }
        _ => None,
    }
}
