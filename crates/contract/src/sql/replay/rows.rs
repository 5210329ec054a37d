//! What statements that move rows do to what columns hold: rows copied into another table, removed, overwritten.
//!
//! Where every row of a table is touched in the same way, that is followed. Where only some are, or nobody knows which, what the
//! columns hold is marked as touched: it is told as a change of rows, and for the way back it is not checked.

use sqlparser::ast::{
    Assignment, AssignmentTarget, CascadeOption, Delete, Expr, FromTable, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Insert, Merge, ObjectName, OnConflictAction, OnInsert, Query, Select,
    SelectItem, SetExpr, SqliteOnConflict, Statement as Parsed, TableFactor, TableObject, TableWithJoins,
    Truncate, Update,
};

use super::{Effect, Refusal, Replay, Rows, names};
use crate::{
    SqlDialect,
    sql::{
        dialect::{fold, fold_name},
        split::Statement,
        state::{Column, ConstraintRule, How, Lineage, Position, Reference},
    },
};

/// Statements that move all rows of a table are short; lists of values are long.
const MAX_TOKENS: usize = 2_000;

/// The table, and what stands before it, in a statement that gives rows.
const MAX_HEAD: usize = 40;

/// Which columns of a table a statement touches.
#[derive(Debug, Clone, Copy)]
enum Columns<'a> {
    All,
    Named(&'a [String]),
}

impl Replay {
    /// Follows what a statement does to rows of its tables.
    pub(super) fn move_rows(&mut self, position: &Position, statement: &Statement) -> Effect {
        let has = |wanted: &str| (1..statement.tokens.len()).any(|index| statement.word(index) == wanted);
        let word = statement.word(0);
        if word == "COPY" && has("TO") && !has("FROM") {
            return Effect::Schema;
        }
        self.database.rows_moved = true;
        let adds = match word.as_str() {
            "COPY" => true,
            "LOAD" => !has("REPLACE"),
            "INSERT" => statement.word(1) != "OR" && !has("CONFLICT") && !has("DUPLICATE") && !has("SELECT"),
            _ => false,
        };
        let parsed =
            (statement.tokens.len() <= MAX_TOKENS).then(|| self.parse(&statement.tokens).ok()).flatten();
        match parsed {
            _ if adds => {
                self.fill_named(statement);
                Effect::Data(Rows::Some)
            }
            Some(parsed) => match self.moved(position, &parsed) {
                Ok(rows) => Effect::Data(rows),
                Err(reason) => Effect::Unknown(reason),
            },
            None => {
                let named = self.named(statement);
                named.iter().for_each(|name| self.touch_rows(position, name));
                Effect::Data(Rows::Some)
            }
        }
    }

    fn moved(&mut self, position: &Position, parsed: &Parsed) -> Result<Rows, Refusal> {
        match parsed {
            Parsed::Truncate(truncate) => {
                self.truncate(position, truncate)?;
                Ok(Rows::All)
            }
            Parsed::Delete(delete) => self.delete(position, delete),
            Parsed::Insert(insert) => self.insert(position, insert),
            Parsed::Update(update) => self.update(position, update),
            Parsed::Merge(merge) => self.merge(position, merge),
            Parsed::Query(query) => self.query(position, query),
            _ => Err("what this does to rows is not modelled".to_owned()),
        }
    }

    /// A query, with what it moves on the way.
    fn query(&mut self, position: &Position, query: &Query) -> Result<Rows, Refusal> {
        let moving = |body: &SetExpr| match body {
            SetExpr::Insert(moved)
            | SetExpr::Update(moved)
            | SetExpr::Delete(moved)
            | SetExpr::Merge(moved) => Some(moved.clone()),
            _ => None,
        };
        let on_the_way = query.with.iter().flat_map(|with| &with.cte_tables).map(|one| &one.query.body);
        let moved: Vec<Parsed> = on_the_way.chain([&query.body]).filter_map(|body| moving(body)).collect();
        if moved.is_empty() {
            return Err("a query may call functions that change anything".to_owned());
        }
        let rows: Vec<Rows> = moved.iter().map(|one| self.moved(position, one)).collect::<Result<_, _>>()?;
        Ok(if rows.contains(&Rows::Some) { Rows::Some } else { Rows::All })
    }

    /// Known tables that a statement names; one that gives rows says first where they go.
    fn named(&self, statement: &Statement) -> Vec<String> {
        let gives = matches!(statement.word(0).as_str(), "INSERT" | "REPLACE" | "COPY" | "LOAD");
        let words = names::words(statement, if gives { MAX_HEAD } else { usize::MAX });
        let bare = |name: &str| name.rsplit('.').next().unwrap_or(name).to_lowercase();
        self.database.tables.keys().filter(|name| words.contains(&bare(name))).cloned().collect()
    }

    fn fill_named(&mut self, statement: &Statement) {
        for name in self.named(statement) {
            self.fill(&name);
        }
    }

    fn fill(&mut self, name: &str) {
        if let Some(table) = self.database.tables.get_mut(name) {
            table.filled = true;
        }
    }

    fn truncate(&mut self, position: &Position, truncate: &Truncate) -> Result<(), Refusal> {
        let mut names: Vec<String> =
            truncate.table_names.iter().map(|target| fold_name(self.dialect, &target.name)).collect();
        if truncate.cascade == Some(CascadeOption::Cascade) {
            let mut at = 0;
            while let Some(name) = names.get(at).cloned() {
                let others = self.referring(&name).into_iter().map(|(other, _, _)| other);
                let others: Vec<String> = others.filter(|other| !names.contains(other)).collect();
                names.extend(others);
                at += 1;
            }
        }
        for name in &names {
            self.writable(name)?;
            self.empty(position, name);
        }
        Ok(())
    }

    /// The references to a table: by which table, by which of its columns.
    pub(super) fn referring(&self, name: &str) -> Vec<(String, Vec<String>, Reference)> {
        let all = self.database.tables.iter().flat_map(|(other, table)| {
            table.constraints.iter().filter_map(move |one| match &one.rule {
                ConstraintRule::ForeignKey(to) if to.table == name => {
                    Some((other.clone(), one.columns.clone(), to.clone()))
                }
                _ => None,
            })
        });
        all.collect()
    }

    fn delete(&mut self, position: &Position, delete: &Delete) -> Result<Rows, Refusal> {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let whole = delete.using.is_none()
            && delete.limit.is_none()
            && delete.selection.is_none()
            && delete.tables.is_empty();
        if let [only] = from.as_slice()
            && let Some(name) = self.plain_table(only).filter(|_| whole)
        {
            self.writable(&name)?;
            self.empty(position, &name);
            self.follow_deletion(position, &name);
            return Ok(Rows::All);
        }
        let mut names: Vec<String> = from.iter().flat_map(|from| self.tables_of(from)).collect();
        names.extend(delete.tables.iter().map(|name| fold_name(self.dialect, name)));
        let known: Vec<String> = names.iter().filter(|name| self.writable(name).is_ok()).cloned().collect();
        if known.is_empty() {
            return Err(format!("`{}` is not known", names.join("`, `")));
        }
        for name in &known {
            self.touch_rows(position, name);
            self.follow_deletion(position, name);
        }
        Ok(Rows::Some)
    }

    /// Follows references to rows that go, as far as those who refer go with them, or lose what they referred by.
    fn follow_deletion(&mut self, position: &Position, name: &str) {
        let (mut reached, mut at) = (vec![name.to_owned()], 0);
        while let Some(parent) = reached.get(at).cloned() {
            for (child, columns, to) in self.referring(&parent) {
                match to.on_delete.as_str() {
                    "RESTRICT" => {}
                    "CASCADE" if !reached.contains(&child) => {
                        self.touch(position, &child, Columns::All);
                        reached.push(child);
                    }
                    "CASCADE" => {}
                    _ => self.touch(position, &child, Columns::Named(&columns)),
                }
            }
            at += 1;
        }
    }

    /// Notes that a table has lost all its rows.
    fn empty(&mut self, position: &Position, name: &str) {
        let Some(mut table) = self.database.tables.remove(name) else { return };
        for (column, emptied) in &mut table.columns {
            self.lose(emptied, position, How::Removed);
            emptied.holds = Lineage::born(self.origin(name, column));
        }
        table.filled = false;
        self.database.tables.insert(name.to_owned(), table);
    }

    /// Refuses a table that is not known: what happens to its rows is not either.
    fn writable(&self, name: &str) -> Result<(), Refusal> {
        let known = self.database.tables.contains_key(name) || self.database.views.contains_key(name);
        if known || self.temporary.contains(name) {
            Ok(())
        } else {
            Err(format!("table `{name}` is not known"))
        }
    }

    /// Marks what a table, or those behind a view, hold as touched.
    fn touch(&mut self, position: &Position, name: &str, columns: Columns<'_>) {
        if let Some(view) = self.database.views.get(name) {
            let query = view.query.to_string().to_lowercase();
            let behind =
                self.database.tables.keys().filter(|table| query.contains(table.to_lowercase().as_str()));
            let behind: Vec<String> = behind.cloned().collect();
            behind.iter().for_each(|table| self.touch(position, table, Columns::All));
        }
        let Some(table) = self.database.tables.get_mut(name) else { return };
        for (own, column) in &mut table.columns {
            let is_meant = match columns {
                Columns::All => true,
                Columns::Named(names) => names.contains(own) || column.on_update.is_some(),
            };
            if is_meant {
                (column.holds.touched, column.holds.fresh) = (Some(position.clone()), false);
            }
        }
    }

    fn touch_rows(&mut self, position: &Position, name: &str) {
        self.touch(position, name, Columns::All);
        self.fill(name);
    }

    fn insert(&mut self, position: &Position, insert: &Insert) -> Result<Rows, Refusal> {
        if let Some(query) = insert.source.as_deref().filter(|query| query.with.is_some()) {
            // Parts of the query may move rows as well.
            drop(self.query(position, query));
        }
        let TableObject::TableName(into) = &insert.table else { return Ok(Rows::Some) };
        let into = fold_name(self.dialect, into);
        if insert.replace_into || insert.or == Some(SqliteOnConflict::Replace) {
            self.touch_rows(position, &into);
            self.follow_deletion(position, &into);
            return Ok(Rows::Some);
        }
        let assigned = match &insert.on {
            Some(OnInsert::DuplicateKeyUpdate(assignments)) => assignments.as_slice(),
            Some(OnInsert::OnConflict(on)) => match &on.action {
                OnConflictAction::DoUpdate(update) => update.assignments.as_slice(),
                OnConflictAction::DoNothing => &[],
            },
            _ => &[],
        };
        let names = self.assigned(assigned);
        self.touch(position, &into, Columns::Named(&names));
        self.copy_rows(position, insert);
        self.fill(&into);
        Ok(Rows::Some)
    }

    fn merge(&mut self, position: &Position, merge: &Merge) -> Result<Rows, Refusal> {
        let TableFactor::Table { name, .. } = &merge.table else {
            return Err("which table this changes is not known".to_owned());
        };
        let name = fold_name(self.dialect, name);
        self.writable(&name)?;
        self.touch_rows(position, &name);
        self.follow_deletion(position, &name);
        Ok(Rows::Some)
    }

    /// Lets columns hold what others held, where a statement copies every row into a table that was made for them.
    fn copy_rows(&mut self, position: &Position, insert: &Insert) -> Option<()> {
        let TableObject::TableName(into) = &insert.table else { return None };
        let spared = insert.ignore || insert.or.is_some() || insert.on.is_some();
        let query = insert.source.as_deref().filter(|_| !spared)?;
        let select = whole_select(query)?;
        let [from] = select.from.as_slice() else { return None };
        let from = self.database.tables.get(&self.plain_table(from)?)?;
        let into = fold_name(self.dialect, into);
        // A table that stood here before this migration may hold rows of its own.
        let is_empty = |file: &str| file == &*position.file;
        let target =
            self.database.tables.get(&into).filter(|to| !to.filled && is_empty(&to.position.file))?;
        let mut ordered: Vec<(&String, &Column)> = target.columns.iter().collect();
        ordered.sort_by_key(|(_, column)| column.order);
        let named: Vec<String> = insert.columns.iter().map(|name| fold_name(self.dialect, name)).collect();
        let names =
            if named.is_empty() { ordered.iter().map(|(name, _)| (*name).clone()).collect() } else { named };
        let mut sources: Vec<(&String, &Column)> = from.columns.iter().collect();
        sources.sort_by_key(|(_, column)| column.order);
        let items: Vec<Option<(&Column, bool)>> = select
            .projection
            .iter()
            .flat_map(|item| match item {
                SelectItem::Wildcard(_) => sources.iter().map(|(_, column)| Some((*column, true))).collect(),
                SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => {
                    let source = copied(value).and_then(|ident| from.columns.get(&fold(self.dialect, ident)));
                    vec![source.map(|source| (source, is_plain(value)))]
                }
                _ => vec![None],
            })
            .collect();
        let held: Vec<(String, Lineage)> = names
            .into_iter()
            .zip(items)
            .filter_map(|(name, source)| {
                let to = target.columns.get(&name)?;
                let (source, is_plain) = source?;
                let mut holds = source.holds.converted((&source.of, &to.of), position);
                if !is_plain {
                    holds.touched = Some(position.clone());
                }
                Some((name, holds))
            })
            .collect();
        let target = self.database.tables.get_mut(&into)?;
        for (name, holds) in held {
            target.columns.get_mut(&name)?.holds = holds;
        }
        Some(())
    }

    fn update(&mut self, position: &Position, update: &Update) -> Result<Rows, Refusal> {
        let whole = update.from.is_none()
            && update.or.is_none()
            && update.limit.is_none()
            && update.selection.is_none();
        let only = self.plain_table(&update.table).filter(|name| self.database.tables.contains_key(name));
        if let Some(name) = only.filter(|_| whole) {
            return Ok(self.overwrite(position, &name, &update.assignments));
        }
        let names = self.tables_of(&update.table);
        let known: Vec<String> = names.iter().filter(|name| self.writable(name).is_ok()).cloned().collect();
        if known.is_empty() {
            return Err(format!("`{}` is not known", names.join("`, `")));
        }
        let columns = self.assigned(&update.assignments);
        known.iter().for_each(|name| self.touch(position, name, Columns::Named(&columns)));
        Ok(Rows::Some)
    }

    /// The columns that assignments name.
    fn assigned(&self, assignments: &[Assignment]) -> Vec<String> {
        let last = |name: &ObjectName| {
            let ident = name.0.last().and_then(|part| part.as_ident());
            ident.map(|ident| fold(self.dialect, ident))
        };
        let names = assignments.iter().flat_map(|assignment| match &assignment.target {
            AssignmentTarget::ColumnName(name) => vec![last(name)],
            AssignmentTarget::Tuple(names) => names.iter().map(last).collect(),
        });
        names.flatten().collect()
    }

    /// Follows assignments to every row of a table. Where some rows may stay as they are, what changed is not told by what
    /// the columns hold.
    fn overwrite(&mut self, position: &Position, name: &str, assignments: &[Assignment]) -> Rows {
        let Some(before) = self.database.tables.get(name).map(|table| table.columns.clone()) else {
            return Rows::Some;
        };
        let all = self.assigned(assignments);
        let mut rows =
            if before.values().any(|one| one.on_update.is_some()) { Rows::Some } else { Rows::All };
        // What every update sets is set too.
        self.touch(position, name, Columns::Named(&[]));
        for assignment in assignments {
            let targets = self.assigned(std::slice::from_ref(assignment));
            let source = copied(&assignment.value).map(|ident| fold(self.dialect, ident));
            let source = source.and_then(|source| Some((before.get(&source)?, source)));
            // A column that is overwritten in the same statement may be read before or after that.
            let is_sure =
                |source: &str| self.dialect != SqlDialect::MySql || !all.iter().any(|one| one == source);
            let ([target], Some((from, source))) = (targets.as_slice(), source) else {
                targets.iter().for_each(|target| self.replace(position, name, target));
                continue;
            };
            let plain = is_plain(&assignment.value) && (is_sure(&source) || source == *target);
            if source != *target {
                self.take_over(position, (name, target), from);
            }
            if !plain {
                self.touch(position, name, Columns::Named(std::slice::from_ref(target)));
                rows = Rows::Some;
            }
        }
        rows
    }

    /// Lets a column hold what another of its table held.
    fn take_over(&mut self, position: &Position, (table, target): (&str, &str), from: &Column) {
        let Some(mut column) = self.database.tables.get_mut(table).and_then(|one| one.columns.remove(target))
        else {
            return;
        };
        if from.holds.origin != column.holds.origin {
            self.lose(&column, position, How::Overwritten);
            column.holds = from.holds.converted((&from.of, &column.of), position);
        }
        if let Some(one) = self.database.tables.get_mut(table) {
            one.columns.insert(target.to_owned(), column);
        }
    }

    /// Notes that every row has another value in a column.
    fn replace(&mut self, position: &Position, table: &str, target: &str) {
        let origin = self.origin(table, target);
        let Some(column) = self.database.tables.get(table).and_then(|one| one.columns.get(target)).cloned()
        else {
            return;
        };
        self.lose(&column, position, How::Overwritten);
        let anew = Lineage { fresh: false, ..Lineage::born(origin) };
        if let Some(column) = self.database.tables.get_mut(table).and_then(|one| one.columns.get_mut(target))
        {
            column.holds = anew;
        }
    }

    fn plain_table(&self, from: &TableWithJoins) -> Option<String> {
        match &from.relation {
            TableFactor::Table { name, args: None, .. } if from.joins.is_empty() => {
                Some(fold_name(self.dialect, name))
            }
            _ => None,
        }
    }

    /// The tables that a statement is about, joined ones too.
    fn tables_of(&self, from: &TableWithJoins) -> Vec<String> {
        let all = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
        let names = all.filter_map(|relation| match relation {
            TableFactor::Table { name, .. } => Some(fold_name(self.dialect, name)),
            _ => None,
        });
        names.collect()
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

/// Says whether an expression is a column and nothing else.
fn is_plain(value: &Expr) -> bool {
    match value {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Nested(inner) => is_plain(inner),
        _ => false,
    }
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
