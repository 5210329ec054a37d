//! What a database has to be able to do, so that migrations can be applied to it: the port of PostgreSQL and SQLite.

use std::fmt::Display;

use lockstep_contract::SqlDialect;
use thiserror::Error;

use crate::folder::{Migration, Script};

/// The table in which it is recorded which migrations a database has.
pub(crate) const TABLE: &str = "lockstep_migrations";

/// Why something at a database failed. It never has the address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{why}{}", detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default())]
pub(crate) struct Fault {
    pub(crate) why: String,
    /// What only the log says: it may have values of rows.
    pub(crate) detail: Option<String>,
}

impl Fault {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), detail: None }
    }

    /// Adds what only the log says.
    pub(crate) fn with_detail(self, detail: Option<String>) -> Self {
        Self { detail, ..self }
    }
}

/// A row of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) checksum: String,
    /// Whether the migration came to its end.
    pub(crate) finished: bool,
}

/// What became of a migration that was to be applied, or taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ran {
    Now,
    /// Somebody else has done it meanwhile.
    Before,
}

/// A database to which migrations are applied.
pub(crate) trait Engine {
    /// Which SQL it takes.
    fn dialect(&self) -> SqlDialect;

    /// Reads the record; a database without one has none.
    fn rows(&mut self) -> Result<Vec<Row>, Fault>;

    /// Makes sure that nobody else applies migrations until this process ends, and makes the table of the record.
    fn claim(&mut self) -> Result<(), Fault>;

    /// Applies a migration and records it, in one transaction.
    fn apply(&mut self, migration: &Migration, by: &str) -> Result<Ran, Fault>;

    /// Takes a migration back and out of the record, in one transaction.
    fn take_back(&mut self, name: &str, way: &Script) -> Result<Ran, Fault>;

    /// Runs statements that cannot be one transaction.
    fn run_alone(&mut self, script: &Script) -> Result<(), Fault>;

    /// Records a migration, in the place of what was recorded of it.
    fn record(&mut self, row: &Row, by: &str) -> Result<(), Fault>;

    /// Takes a migration out of the record.
    fn forget(&mut self, name: &str) -> Result<(), Fault>;
}

/// Says at which line of a migration what went wrong.
pub(crate) fn at(name: &str, line: u32, why: impl Display) -> Fault {
    Fault::new(format!("{name}:{line}: {why}"))
}
