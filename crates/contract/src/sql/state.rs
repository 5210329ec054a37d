//! The schema that a run of migrations leaves behind.
//!
//! Names are folded as the database folds them. Invariant: constraints name only columns of their table.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::types::ColumnType;
use crate::Location;

/// The statement that made an element what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) file: Rc<str>,
    pub(super) line: u32,
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
}

#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) columns: BTreeMap<String, Column>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) position: Position,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) of: ColumnType,
    pub(super) not_null: bool,
    /// The value of a row that does not give one, as written.
    pub(super) default: Option<String>,
    /// The database computes it; nobody may write it.
    pub(super) computed: bool,
    pub(super) former_names: BTreeSet<String>,
    pub(super) position: Position,
}

impl Column {
    /// Says whether a row may leave the column out.
    pub(super) fn may_be_left_out(&self) -> bool {
        !self.not_null || self.default.is_some() || self.computed
    }

    /// Says whether rows that leave the column out differ in it, or are empty there.
    pub(super) fn is_distinct_when_left_out(&self) -> bool {
        match self.default.as_deref() {
            None => !self.not_null,
            Some(default) => default == NEXT_NUMBER || default.to_ascii_lowercase().contains("uuid"),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Constraint {
    pub(super) name: Option<String>,
    pub(super) rule: ConstraintRule,
    pub(super) columns: Vec<String>,
    pub(super) position: Position,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConstraintRule {
    PrimaryKey,
    /// With the condition of a partial index.
    Unique(Option<String>),
    ForeignKey {
        table: String,
        columns: Vec<String>,
    },
    /// The condition, as the parser writes it.
    Check(String),
    /// An index that is not unique: it forbids nothing.
    Index,
}

impl Constraint {
    /// Says whether both demand the same of rows, whatever they are called.
    pub(super) fn demands_same(&self, other: &Self) -> bool {
        let unordered = |one: &Self| one.columns.iter().cloned().collect::<BTreeSet<_>>();
        self.rule == other.rule && unordered(self) == unordered(other)
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
            ConstraintRule::Unique(_) => {
                name == format!("{short}_{columns}_key")
                    || self.columns.first().is_some_and(|first| first == name)
            }
            ConstraintRule::ForeignKey { .. } => {
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
    pub(super) query: String,
    /// Names of the columns it shows, when they can be told.
    pub(super) columns: Option<BTreeSet<String>>,
    pub(super) position: Position,
}
