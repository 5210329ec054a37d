//! The schema that a run of migrations leaves behind.
//!
//! Names are folded as the database folds them. Invariant: constraints name only columns of their table.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use sqlparser::ast::Query;

use super::types::ColumnType;
use crate::Location;

/// The statement that made an element what it is.
#[derive(Debug, Clone, Eq)]
pub(super) struct Position {
    pub(super) file: Rc<str>,
    pub(super) line: u32,
    /// The same for the same statement of the same migration, wherever it stands on the two sides of a comparison.
    pub(super) statement: u64,
}

impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        self.statement == other.statement
    }
}

impl Position {
    pub(super) fn location(&self) -> Location {
        Location { file: self.file.to_string(), line: self.line }
    }
}

/// The default of a column that the database counts up.
pub(super) const NEXT_NUMBER: &str = "the next number";

#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    pub(super) tables: BTreeMap<String, Table>,
    pub(super) enums: BTreeMap<String, EnumType>,
    pub(super) views: BTreeMap<String, View>,
    /// Names of what tables used to be called: old name to new.
    pub(super) renamed: BTreeMap<String, String>,
    /// Where the values of an origin went, when a column that held them did.
    pub(super) lost: BTreeMap<Origin, Loss>,
    /// Some statement moved rows, so that a table may hold some.
    pub(super) rows_moved: bool,
}

/// The name of where values come from: the column that was made to hold them. The same statements give the same names.
pub(super) type Origin = Rc<str>;

/// What became of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) position: Position,
    pub(super) how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// With their column or table.
    Dropped,
    /// As rows.
    Removed,
    /// By other values.
    Overwritten,
}

/// Where the values of a column come from, and what they went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lineage {
    pub(super) origin: Origin,
    /// The narrowest type that they are known to fit, inside the file where that is known.
    pub(super) known: Option<(Rc<str>, ColumnType)>,
    /// Where a conversion may have lost some of them.
    pub(super) worn: Option<Position>,
    /// What changed or removed some of them, perhaps; which, nobody knows.
    pub(super) touched: Option<Position>,
    /// All rows hold what a column that was just made holds in them.
    pub(super) fresh: bool,
}

impl Lineage {
    /// The lineage of a column that was just made.
    pub(super) fn born(origin: Origin) -> Self {
        Self { origin, known: None, worn: None, touched: None, fresh: true }
    }

    /// What the values are once a column of one type has become, or was copied into, one of another.
    pub(super) fn converted(&self, (from, to): (&ColumnType, &ColumnType), position: &Position) -> Self {
        let known = self.known.as_ref().filter(|(file, _)| *file == position.file);
        let known = known.map_or_else(|| from.clone(), |(_, of)| of.clone());
        let keeps = to.keeps(&known);
        Self {
            origin: self.origin.clone(),
            known: Some((position.file.clone(), if keeps { known } else { to.clone() })),
            worn: if keeps { self.worn.clone() } else { Some(position.clone()) },
            touched: self.touched.clone(),
            fresh: false,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) columns: BTreeMap<String, Column>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) values: Values,
    /// A migration has written rows since it was made or emptied.
    pub(super) filled: bool,
    pub(super) position: Position,
}

/// What SQLite takes into a column of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Anything, as in tables that say nothing.
    AnyKind,
    /// Only what the type says (`STRICT`).
    OfType,
}

impl Table {
    /// Removes the constraint of a name, given or made up; false when there is none.
    ///
    /// # Errors
    /// Several constraints may be meant.
    pub(super) fn remove_constraint(&mut self, table: &str, name: &str) -> Result<bool, String> {
        if let Some(at) = self.constraints.iter().position(|one| one.name.as_deref() == Some(name)) {
            self.constraints.remove(at);
            return Ok(true);
        }
        let meant: Vec<usize> =
            (0..self.constraints.len()).filter(|at| self.constraints[*at].is_called(table, name)).collect();
        let Some((first, others)) = meant.split_first() else { return Ok(false) };
        if !others.is_empty() && (name.contains("_ibfk_") || name.contains("_chk_")) {
            return Err(format!("which of several constraints is called `{name}` is not known"));
        }
        // The first gets the plain name, the others a number behind it.
        for (number, other) in others.iter().enumerate() {
            self.constraints[*other].name = Some(format!("{name}{}", number + 1));
        }
        self.constraints.remove(*first);
        Ok(true)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) of: ColumnType,
    pub(super) not_null: bool,
    /// The value of a row that does not give one, as written.
    pub(super) default: Option<String>,
    /// What counts it, where that is a thing of its own (a sequence): the statement that made it.
    pub(super) counter: Option<Position>,
    /// The database computes it, from what is written here; nobody may write it.
    pub(super) computed: Option<String>,
    /// What every update of a row that does not give it sets it to.
    pub(super) on_update: Option<String>,
    pub(super) collation: Collation,
    pub(super) former_names: BTreeSet<String>,
    pub(super) holds: Lineage,
    /// Its place among the columns of its table.
    pub(super) order: usize,
    pub(super) position: Position,
}

impl Column {
    /// Lets the database count it, and refuse every number that is given.
    pub(super) fn number_always(&mut self) {
        self.default = Some(NEXT_NUMBER.to_owned());
        self.not_null = true;
        self.computed = Some(NEXT_NUMBER.to_owned());
    }

    /// Says whether a row may leave the column out.
    pub(super) fn may_be_left_out(&self) -> bool {
        !self.not_null || self.default.is_some() || self.computed.is_some()
    }
}

/// How texts of a column are written and compared; the database's own way where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Collation {
    pub(super) charset: Option<String>,
    pub(super) order: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Constraint {
    pub(super) name: Option<String>,
    pub(super) rule: ConstraintRule,
    pub(super) columns: Vec<String>,
    /// It may be checked at the end of a transaction, so that no upsert can name it.
    pub(super) deferrable: bool,
    pub(super) made_by: MadeBy,
    pub(super) position: Position,
}

/// What made a constraint: only what is an index can be named as one, and only what is a constraint as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MadeBy {
    Index,
    Table,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConstraintRule {
    PrimaryKey,
    Unique {
        /// The condition of a partial index.
        condition: Option<String>,
        nulls: Nulls,
    },
    ForeignKey(Reference),
    /// The condition, as the parser writes it.
    Check(String),
    /// An index that is not unique: it forbids nothing.
    Index,
}

/// Whether two nulls are equal to a unique constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    Distinct,
    Equal,
}

/// A reference to rows of another table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) table: String,
    pub(super) columns: Vec<String>,
    /// Either all columns are null or none is (`MATCH FULL`).
    pub(super) whole: bool,
    /// What happens when the other row goes or changes its key; refusing has one name.
    pub(super) on_delete: String,
    pub(super) on_update: String,
}

impl ConstraintRule {
    /// A unique constraint on whole columns, as most are.
    pub(super) const fn unique() -> Self {
        Self::Unique { condition: None, nulls: Nulls::Distinct }
    }
}

impl Constraint {
    /// The same demand under other names of its columns.
    pub(super) fn under(&self, names: &[(String, String)]) -> Self {
        let mut other = self.clone();
        names.iter().for_each(|(from, to)| other.rename(from, to));
        other
    }

    /// Renames a column in what is demanded of it.
    pub(super) fn rename(&mut self, old: &str, new: &str) {
        for name in &mut self.columns {
            if name == old {
                new.clone_into(name);
            } else if name.contains('(') {
                *name = renamed_in(name, old, new);
            }
        }
        if let ConstraintRule::Check(condition) | ConstraintRule::Unique { condition: Some(condition), .. } =
            &mut self.rule
        {
            *condition = renamed_in(condition, old, new);
        }
    }

    /// Says whether both demand the same of rows, whatever they are called.
    pub(super) fn demands_same(&self, other: &Self) -> bool {
        let unordered = |one: &Self| one.columns.iter().cloned().collect::<BTreeSet<_>>();
        self.rule == other.rule && unordered(self) == unordered(other)
    }

    /// Says whether rows are told apart by it, always or those of a condition.
    pub(super) const fn is_key(&self) -> bool {
        matches!(self.rule, ConstraintRule::PrimaryKey | ConstraintRule::Unique { .. })
    }

    /// Says whether an upsert that names another key finds this one.
    pub(super) fn answers_upserts_of(&self, other: &Self) -> bool {
        let unordered = |one: &Self| one.columns.iter().cloned().collect::<BTreeSet<_>>();
        let condition = |one: &Self| match &one.rule {
            ConstraintRule::Unique { condition, .. } => condition.clone(),
            _ => None,
        };
        let own = condition(self);
        self.is_key()
            && !self.deferrable
            && unordered(self) == unordered(other)
            && (own.is_none() || own == condition(other))
    }

    /// Says whether the database would know it by a name, given or made up.
    pub(super) fn is_called(&self, table: &str, name: &str) -> bool {
        if let Some(own) = &self.name {
            return own == name;
        }
        let short = table.rsplit('.').next().unwrap_or(table);
        let columns = self.columns.join("_");
        match self.rule {
            ConstraintRule::PrimaryKey => name == format!("{short}_pkey") || name == "primary",
            ConstraintRule::Unique { .. } => {
                name == format!("{short}_{columns}_key")
                    || self.columns.first().is_some_and(|first| first == name)
            }
            ConstraintRule::ForeignKey(_) => {
                name == format!("{short}_{columns}_fkey") || name.starts_with(&format!("{short}_ibfk_"))
            }
            ConstraintRule::Check(_) => {
                name == format!("{short}_{columns}_check")
                    || name == format!("{short}_check")
                    || name.starts_with(&format!("{short}_chk_"))
            }
            ConstraintRule::Index => self.columns.first().is_some_and(|first| first == name),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct EnumType {
    pub(super) labels: BTreeSet<String>,
    pub(super) position: Position,
}

#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) query: Rc<Query>,
    /// The columns it shows, and where each comes from, when they can be told.
    pub(super) columns: Option<Vec<(String, String)>>,
    /// How it is kept and who asks: materialized, options, whose rights count.
    pub(super) manner: String,
    pub(super) position: Position,
}

/// Renames a column in a condition, word by word.
pub(super) fn renamed_in(condition: &str, old: &str, new: &str) -> String {
    let mut renamed = String::with_capacity(condition.len());
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut rest = condition;
    while let Some(start) = rest.find(is_word) {
        let length = rest[start..].find(|letter| !is_word(letter)).unwrap_or(rest.len() - start);
        let word = &rest[start..start + length];
        renamed.push_str(&rest[..start]);
        renamed.push_str(if word.eq_ignore_ascii_case(old) { new } else { word });
        rest = &rest[start + length..];
    }
    renamed.push_str(rest);
    renamed
}
