//! `CREATE`: tables, indexes, views and enums.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use sqlparser::ast::{
    ColumnDef, ColumnOption, ConstraintCharacteristics, ConstraintReferenceMatchKind, CreateIndex,
    CreateTable, CreateTableLikeKind, CreateView, DataType, Expr, ForeignKeyConstraint, GeneratedAs,
    IndexColumn, NullsDistinctOption, ObjectName, ReferentialAction, SelectItem, SetExpr, TableConstraint,
    UserDefinedTypeRepresentation,
};

use super::{Outcome, Refusal, Replay};
use crate::{
    SqlDialect,
    sql::{
        dialect::{fold, fold_name},
        state::{
            Collation, Column, Constraint, ConstraintRule, EnumType, Lineage, MadeBy, NEXT_NUMBER, Nulls,
            Origin, Position, Reference, Table, Values, View,
        },
        types::{ColumnType, Family},
    },
};

impl Replay {
    pub(super) fn create_table(&mut self, position: &Position, create: &CreateTable) -> Outcome {
        let name = fold_name(self.dialect, &create.name);
        if create.temporary {
            self.temporary.insert(name);
            return Ok(());
        }
        if create.partition_of.is_some() || self.database.tables.contains_key(&name) && create.if_not_exists {
            return Ok(());
        }
        if create.query.is_some() || create.inherits.is_some() {
            return Err(format!("the columns of `{name}` come from a query or a parent and are not known"));
        }
        let mut table = match &create.like {
            Some(CreateTableLikeKind::Plain(like) | CreateTableLikeKind::Parenthesized(like)) => {
                let like = fold_name(self.dialect, &like.name);
                let mut table = self.table(&like)?.clone();
                self.only_like(&mut table);
                table
            }
            None => Table {
                columns: BTreeMap::new(),
                constraints: Vec::new(),
                values: Values::AnyKind,
                filled: false,
                position: position.clone(),
            },
        };
        (table.position, table.filled) = (position.clone(), false);
        for (column, made) in &mut table.columns {
            made.holds = Lineage::born(self.origin(&name, column));
        }
        for column in &create.columns {
            self.add_column((&name, &mut table), position, column)?;
        }
        for constraint in &create.constraints {
            self.add_constraint(&mut table, position, constraint.clone())?;
        }
        self.name_keys(&name, &mut table);
        self.database.tables.insert(name, table);
        Ok(())
    }

    /// What SQLite reads behind the columns of a table: a strict one takes what its types say; without row numbers the key is not filled
    /// in and never null.
    pub(super) fn words_behind_columns(&mut self, position: &Position, name: &str, words: &[String]) {
        let has = |wanted: &str| words.iter().any(|word| word == wanted);
        let made_here = |table: &&mut Table| table.position == *position;
        let Some(table) = self.database.tables.get_mut(name).filter(made_here) else { return };
        if has("STRICT") {
            table.values = Values::OfType;
        }
        let keys = table.constraints.iter().filter(|one| one.rule == ConstraintRule::PrimaryKey);
        let keys: Vec<String> = keys.flat_map(|key| key.columns.clone()).collect();
        for key in keys.iter().filter(|_| has("ROWID")) {
            let Some(column) = table.columns.get_mut(key) else { continue };
            column.not_null = true;
            column.default.take_if(|default| default == NEXT_NUMBER);
        }
    }

    /// What a table that is made like another does not take over: PostgreSQL leaves all but types and `NOT NULL`.
    fn only_like(&self, table: &mut Table) {
        if self.dialect != SqlDialect::PostgreSql {
            table.constraints.retain(|one| !matches!(one.rule, ConstraintRule::ForeignKey(_)));
            return;
        }
        table.constraints.clear();
        for column in table.columns.values_mut() {
            (column.default, column.computed) = (None, None);
        }
    }

    /// Adds a column, and what its options demand, to a table.
    pub(super) fn add_column(
        &mut self,
        (table_name, table): (&str, &mut Table),
        position: &Position,
        definition: &ColumnDef,
    ) -> Outcome {
        let name = fold(self.dialect, &definition.name);
        let options = definition.options.iter().map(|option| (option.name.as_ref(), &option.option));
        let origin = self.origin(table_name, &name);
        self.define_column(table, position, (&name, &definition.data_type, Lineage::born(origin)), options)
    }

    /// Names the values of a column that is made: the same statement gives the same name on both sides.
    pub(super) fn origin(&mut self, table: &str, column: &str) -> Origin {
        let place = format!("{} {table}.{column}", self.key);
        let count = self.births.entry(place.clone()).or_default();
        *count += 1;
        format!("{place} {count}").into()
    }

    /// Makes a column what a type and options say, in place of what it was.
    pub(super) fn define_column<'a>(
        &self,
        table: &mut Table,
        position: &Position,
        (name, of, holds): (&str, &DataType, Lineage),
        options: impl Iterator<Item = (Option<&'a sqlparser::ast::Ident>, &'a ColumnOption)>,
    ) -> Outcome {
        let of = ColumnType::new(self.dialect, of);
        let serial = of.is_serial();
        let mut column = Column {
            not_null: serial,
            default: serial.then(|| NEXT_NUMBER.to_owned()),
            of,
            counter: None,
            computed: None,
            on_update: None,
            collation: Collation::default(),
            former_names: BTreeSet::new(),
            holds,
            order: table.columns.get(name).map_or(table.columns.len(), |former| former.order),
            position: position.clone(),
        };
        let mut demands = Vec::new();
        for (constraint, option) in options {
            if let Some(rule) = self.column_option(&mut column, option)? {
                let constraint = constraint.map(|constraint| fold(self.dialect, constraint));
                demands.push(Constraint {
                    name: constraint,
                    rule,
                    columns: vec![name.to_owned()],
                    deferrable: is_deferrable(option),
                    made_by: MadeBy::Table,
                    position: position.clone(),
                });
            }
        }
        if self.dialect == SqlDialect::PostgreSql && column.default.as_deref() == Some(NEXT_NUMBER) {
            column.counter = Some(position.clone());
        }
        // What leaves such a column out writes the first label, however strict the session is.
        if let (SqlDialect::MySql, Family::Labels(labels)) = (self.dialect, &column.of.family)
            && column.not_null
            && column.default.is_none()
        {
            column.default = first_label(labels);
        }
        table.columns.insert(name.to_owned(), column);
        for demand in demands {
            self.demand(table, demand)?;
        }
        Ok(())
    }

    /// Applies one option of a column; what it demands of rows is returned.
    fn column_option(
        &self,
        column: &mut Column,
        option: &ColumnOption,
    ) -> Result<Option<ConstraintRule>, Refusal> {
        match option {
            ColumnOption::Null => column.not_null = false,
            ColumnOption::NotNull => column.not_null = true,
            ColumnOption::Default(value) => column.default = default(value),
            ColumnOption::PrimaryKey(_) => return Ok(Some(ConstraintRule::PrimaryKey)),
            ColumnOption::Unique(_) => return Ok(Some(ConstraintRule::unique())),
            ColumnOption::Check(check) => return Ok(Some(ConstraintRule::Check(check.expr.to_string()))),
            ColumnOption::ForeignKey(key) => {
                return Ok(Some(ConstraintRule::ForeignKey(self.reference(key))));
            }
            ColumnOption::Generated { generation_expr: Some(from), .. } | ColumnOption::Alias(from) => {
                column.computed = Some(from.to_string());
            }
            ColumnOption::Generated { generated_as: GeneratedAs::Always, .. } => {
                column.number_always();
            }
            ColumnOption::Generated { .. } | ColumnOption::Identity(_) => {
                column.default = Some(NEXT_NUMBER.to_owned());
                column.not_null = true;
            }
            ColumnOption::DialectSpecific(tokens) => {
                let text: String = tokens.iter().map(ToString::to_string).collect();
                if matches!(text.to_ascii_uppercase().as_str(), "AUTO_INCREMENT" | "AUTOINCREMENT") {
                    column.default = Some(NEXT_NUMBER.to_owned());
                }
            }
            ColumnOption::CharacterSet(name) => {
                column.collation.charset = Some(name.to_string().to_lowercase());
            }
            ColumnOption::Collation(name) => column.collation.order = Some(name.to_string().to_lowercase()),
            ColumnOption::OnUpdate(value) => column.on_update = Some(value.to_string()),
            ColumnOption::Comment(_) | ColumnOption::OnConflict(_) | ColumnOption::Srid(_) => {}
            other => return Err(format!("the column option `{other}` is not modelled")),
        }
        Ok(None)
    }

    pub(super) fn add_constraint(
        &self,
        table: &mut Table,
        position: &Position,
        constraint: TableConstraint,
    ) -> Outcome {
        let names = |columns: &[IndexColumn]| self.index_columns(columns);
        let late =
            |how: &Option<ConstraintCharacteristics>| how.is_some_and(|how| how.deferrable == Some(true));
        let deferrable = match &constraint {
            TableConstraint::PrimaryKey(key) => late(&key.characteristics),
            TableConstraint::Unique(unique) => late(&unique.characteristics),
            _ => false,
        };
        let (name, rule, columns) = match constraint {
            TableConstraint::PrimaryKey(key) => (key.name, ConstraintRule::PrimaryKey, names(&key.columns)),
            TableConstraint::Unique(unique) => {
                let nulls = match unique.nulls_distinct {
                    NullsDistinctOption::NotDistinct => Nulls::Equal,
                    NullsDistinctOption::None | NullsDistinctOption::Distinct => Nulls::Distinct,
                };
                let rule = ConstraintRule::Unique { condition: None, nulls };
                (unique.name.or(unique.index_name), rule, names(&unique.columns))
            }
            TableConstraint::ForeignKey(key) => {
                let rule = ConstraintRule::ForeignKey(self.reference(&key));
                let columns = key.columns.iter().map(|one| fold(self.dialect, one)).collect();
                (key.name.or(key.index_name), rule, columns)
            }
            TableConstraint::Check(check) if check.enforced == Some(false) => return Ok(()),
            TableConstraint::Check(check) => {
                let text = check.expr.to_string();
                let columns = mentioned(table, &text);
                (check.name, ConstraintRule::Check(text), columns)
            }
            TableConstraint::Index(index) => (index.name, ConstraintRule::Index, names(&index.columns)),
            TableConstraint::FulltextOrSpatial(index) => {
                (index.opt_index_name, ConstraintRule::Index, names(&index.columns))
            }
            TableConstraint::Exclude(_) => {
                return Err("which rows an exclusion constraint refuses is not modelled".to_owned());
            }
            other => return Err(format!("the constraint `{other}` is not modelled")),
        };
        let name = name.map(|name| fold(self.dialect, &name));
        let made_by = if rule == ConstraintRule::Index { MadeBy::Index } else { MadeBy::Table };
        self.demand(
            table,
            Constraint { name, rule, columns, deferrable, made_by, position: position.clone() },
        )
    }

    fn reference(&self, key: &ForeignKeyConstraint) -> Reference {
        let action = |action: &Option<ReferentialAction>| match action {
            None | Some(ReferentialAction::NoAction | ReferentialAction::Restrict) => "RESTRICT".to_owned(),
            Some(action) => action.to_string(),
        };
        Reference {
            table: fold_name(self.dialect, &key.foreign_table),
            columns: key.referred_columns.iter().map(|one| fold(self.dialect, one)).collect(),
            whole: key.match_kind == Some(ConstraintReferenceMatchKind::Full),
            on_delete: action(&key.on_delete),
            on_update: action(&key.on_update),
        }
    }

    fn demand(&self, table: &mut Table, constraint: Constraint) -> Outcome {
        if constraint.rule == ConstraintRule::PrimaryKey {
            for name in &constraint.columns {
                let Some(column) = table.columns.get_mut(name) else { continue };
                // A whole number as the only key of SQLite is its row number, which fills itself.
                let row_number = self.dialect == SqlDialect::Sqlite && constraint.columns.len() == 1;
                if row_number && column.of.text.eq_ignore_ascii_case("INTEGER") {
                    column.default = Some(NEXT_NUMBER.to_owned());
                } else if self.dialect != SqlDialect::Sqlite {
                    column.not_null = true;
                }
            }
        }
        table.constraints.push(constraint);
        Ok(())
    }

    /// PostgreSQL names keys by their table and columns when they are made, and keeps the name.
    pub(super) fn name_keys(&self, table_name: &str, table: &mut Table) {
        if self.dialect != SqlDialect::PostgreSql {
            return;
        }
        let short = table_name.rsplit('.').next().unwrap_or(table_name);
        for at in 0..table.constraints.len() {
            let one = &table.constraints[at];
            let plain = one.columns.iter().all(|column| table.columns.contains_key(column));
            if one.name.is_some() || !one.is_key() || one.made_by == MadeBy::Index || !plain {
                continue;
            }
            let name = match one.rule {
                ConstraintRule::PrimaryKey => format!("{short}_pkey"),
                _ => format!("{short}_{}_key", one.columns.join("_")),
            };
            let is_taken = |name: &str| table.constraints.iter().any(|one| one.name.as_deref() == Some(name));
            let others = (1..).map(|number| format!("{name}{number}"));
            let free = std::iter::once(name.clone()).chain(others).find(|name| !is_taken(name));
            // Longer names are cut.
            table.constraints[at].name = free.filter(|name| name.len() < 64);
        }
    }

    fn index_columns(&self, columns: &[IndexColumn]) -> Vec<String> {
        let name = |column: &IndexColumn| match &column.column.expr {
            Expr::Identifier(ident) => fold(self.dialect, ident),
            other => other.to_string(),
        };
        columns.iter().map(name).collect()
    }

    pub(super) fn create_index(&mut self, position: &Position, create: &CreateIndex) -> Outcome {
        let table_name = fold_name(self.dialect, &create.table_name);
        let columns = self.index_columns(&create.columns);
        let name = create.name.as_ref().map(|name| fold_name(self.dialect, name));
        let name = name.map(|name| name.rsplit('.').next().unwrap_or(&name).to_owned());
        let rule = if create.unique {
            let nulls = if create.nulls_distinct == Some(false) { Nulls::Equal } else { Nulls::Distinct };
            ConstraintRule::Unique { condition: create.predicate.as_ref().map(ToString::to_string), nulls }
        } else {
            ConstraintRule::Index
        };
        let table = self.table(&table_name)?;
        let exists = name
            .as_ref()
            .is_some_and(|name| table.constraints.iter().any(|one| one.name.as_ref() == Some(name)));
        if !(exists && create.if_not_exists) {
            let position = position.clone();
            let made_by = MadeBy::Index;
            table.constraints.push(Constraint { name, rule, columns, deferrable: false, made_by, position });
        }
        Ok(())
    }

    pub(super) fn create_view(&mut self, position: &Position, create: &CreateView) -> Outcome {
        let name = fold_name(self.dialect, &create.name);
        let exists = self.database.views.contains_key(&name);
        if exists && create.if_not_exists || create.temporary {
            return Ok(());
        }
        if !exists && self.unread.contains(&name) {
            return Err(format!("what view `{name}` was is not known"));
        }
        let named = create.columns.iter().map(|column| fold(self.dialect, &column.name)).collect();
        let manner = (create.materialized, create.secure, &create.options, &create.params);
        let view = View {
            columns: self.shown_columns(&create.query.body, named),
            query: Rc::new((*create.query).clone()),
            manner: format!("{manner:?}"),
            position: position.clone(),
        };
        self.database.views.insert(name, view);
        Ok(())
    }

    /// Finds the names that a view gives its columns, with what they show, when each is written down.
    fn shown_columns(&self, body: &SetExpr, named: Vec<String>) -> Option<Vec<(String, String)>> {
        let SetExpr::Select(select) = body else { return None };
        let item = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(from @ Expr::Identifier(ident)) => {
                Some((fold(self.dialect, ident), from.to_string()))
            }
            SelectItem::ExprWithAlias { expr: from, alias } => {
                Some((fold(self.dialect, alias), from.to_string()))
            }
            SelectItem::UnnamedExpr(from @ Expr::CompoundIdentifier(parts)) => {
                Some((fold(self.dialect, parts.last()?), from.to_string()))
            }
            SelectItem::UnnamedExpr(from) if !named.is_empty() => Some((String::new(), from.to_string())),
            _ => None,
        };
        let mut shown: Vec<(String, String)> = select.projection.iter().map(item).collect::<Option<_>>()?;
        if named.len() > shown.len() {
            return None;
        }
        shown.iter_mut().zip(named).for_each(|((own, _), name)| *own = name);
        shown.iter().all(|(name, _)| !name.is_empty()).then_some(shown)
    }

    pub(super) fn create_type(
        &mut self,
        position: &Position,
        name: &ObjectName,
        representation: Option<UserDefinedTypeRepresentation>,
    ) -> Outcome {
        let Some(UserDefinedTypeRepresentation::Enum { labels }) = representation else {
            return Err("types other than enums are not modelled".to_owned());
        };
        let labels = labels.into_iter().map(|label| label.value).collect();
        let name = fold_name(self.dialect, name);
        self.enums().insert(name, EnumType { labels, position: position.clone() });
        Ok(())
    }
}

/// Says whether the demand of a column may be checked at the end of a transaction.
fn is_deferrable(option: &ColumnOption) -> bool {
    let how = match option {
        ColumnOption::PrimaryKey(key) => key.characteristics,
        ColumnOption::Unique(unique) => unique.characteristics,
        _ => None,
    };
    how.is_some_and(|how| how.deferrable == Some(true))
}

/// Gives the label that is written where none is given, as a default.
pub(super) fn first_label(labels: &[String]) -> Option<String> {
    labels.first().map(|first| format!("'{}'", first.replace('\'', "''")))
}

/// Gives a default as written; null is none.
pub(super) fn default(value: &Expr) -> Option<String> {
    let text = value.to_string();
    (!text.eq_ignore_ascii_case("null")).then_some(text)
}

/// Finds the columns of a table that a condition names.
pub(super) fn mentioned(table: &Table, condition: &str) -> Vec<String> {
    let words: BTreeSet<String> = condition
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .map(str::to_ascii_lowercase)
        .collect();
    table.columns.keys().filter(|name| words.contains(&name.to_ascii_lowercase())).cloned().collect()
}

/// Says whether a column's type is an enum known by its name, and which.
pub(in crate::sql) fn enum_name(dialect: SqlDialect, of: &ColumnType) -> Option<String> {
    let Family::Named(text) = &of.family else { return None };
    let bare = if text.contains('"') || dialect != SqlDialect::PostgreSql {
        text.replace('"', "")
    } else {
        text.to_ascii_lowercase()
    };
    Some(bare.strip_prefix("public.").map_or(bare.clone(), str::to_owned))
}
