//! What `ROLLBACK` undoes inside a migration.
//!
//! MySQL ends a transaction with every statement that shapes the schema, so there only rows come back.

use super::{
    migrations::{File, Log},
    replay::Replay,
    split::Statement,
    state::Database,
};
use crate::SqlDialect;

/// What a statement does to the transaction it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Begin,
    End,
    Undo,
    UndoTo(String),
    Mark(String),
    Forget(String),
}

/// Where a transaction or savepoint began, so that all since can be undone.
struct Point {
    name: Option<String>,
    database: Database,
    log: Log,
}

/// The transaction that is open in a file.
pub(super) struct Transaction {
    dialect: SqlDialect,
    /// A file without a `ROLLBACK` never goes back, so nothing is kept for it.
    undoes: bool,
    open: bool,
    begun: Option<u32>,
    points: Vec<Point>,
}

impl Transaction {
    pub(super) fn new(file: &File, dialect: SqlDialect) -> Self {
        let undoes =
            file.statements.iter().any(|one| matches!(step(one), Some(Step::Undo | Step::UndoTo(_))));
        Self { dialect, undoes, open: false, begun: None, points: Vec::new() }
    }

    /// The line of a transaction that nothing ends.
    pub(super) fn left_open(&self) -> Option<u32> {
        self.begun.filter(|_| self.open)
    }

    /// Follows a statement before it runs.
    ///
    /// # Errors
    /// Why it is not known what it undoes.
    pub(super) fn follow(
        &mut self,
        statement: &Statement,
        replay: &mut Replay,
        log: &mut Log,
    ) -> Result<(), String> {
        match step(statement) {
            None => return Ok(()),
            Some(Step::Begin) => {
                (self.open, self.begun) = (true, Some(statement.line));
                self.points.clear();
                self.mark(None, replay, log);
            }
            Some(Step::End) => {
                self.open = false;
                self.points.clear();
            }
            Some(Step::Mark(name)) => self.mark(Some(name), replay, log),
            Some(Step::Forget(name)) => {
                if let Some(at) = self.find(&name) {
                    self.points.truncate(at);
                }
            }
            Some(Step::Undo) => {
                let first = self.points.drain(..).next().filter(|_| self.open);
                let first = first.ok_or("what it undoes depends on where the transaction began")?;
                self.open = false;
                (replay.database, *log) = (first.database, first.log);
            }
            Some(Step::UndoTo(name)) => {
                let at = self.find(&name).ok_or_else(|| format!("savepoint `{name}` is not known"))?;
                self.points.truncate(at + 1);
                (replay.database, *log) = (self.points[at].database.clone(), self.points[at].log.clone());
            }
        }
        Ok(())
    }

    /// Follows a statement after it ran.
    pub(super) fn ran(&mut self, statement: &Statement, replay: &Replay, log: &Log) {
        let shapes =
            matches!(statement.word(0).as_str(), "CREATE" | "ALTER" | "DROP" | "RENAME" | "TRUNCATE");
        if self.dialect == SqlDialect::MySql && shapes && !self.points.is_empty() {
            self.points.clear();
            self.mark(None, replay, log);
        }
    }

    fn mark(&mut self, name: Option<String>, replay: &Replay, log: &Log) {
        if self.undoes {
            self.points.push(Point { name, database: replay.database.clone(), log: log.clone() });
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.points.iter().rposition(|point| point.name.as_deref() == Some(name))
    }
}

fn step(statement: &Statement) -> Option<Step> {
    let last =
        || statement.tokens.last().map(|token| token.token.to_string().to_lowercase()).unwrap_or_default();
    match statement.word(0).as_str() {
        "BEGIN" => Some(Step::Begin),
        "START" if statement.word(1) == "TRANSACTION" => Some(Step::Begin),
        "COMMIT" | "END" => Some(Step::End),
        "ROLLBACK" if (1..statement.tokens.len()).any(|index| statement.word(index) == "TO") => {
            Some(Step::UndoTo(last()))
        }
        "ROLLBACK" | "ABORT" => Some(Step::Undo),
        "SAVEPOINT" => Some(Step::Mark(last())),
        "RELEASE" => Some(Step::Forget(last())),
        _ => None,
    }
}
