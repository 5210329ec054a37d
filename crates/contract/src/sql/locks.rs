//! Statements of new migrations that hold a table longer than a rename would.
//!
//! They break no statement of the running version; they keep it waiting, for as long as all rows take. What is told depends on
//! the database and its version. Tables that the same migrations made are nobody's yet, and are left out. What no migration says
//! (how many rows there are, a timeout of the role) is not known here.

mod mysql;
mod postgres;
mod sqlite;

use std::{collections::HashSet, rc::Rc};

use sqlparser::ast::Statement as Parsed;

use super::{
    dialect::fold_name,
    migrations::{File, Log, run_file},
    replay::Replay,
    rules,
    split::Statement,
    state::Database,
};
use crate::{Change, Level, Location, Options, Rule, ServerVersion, SqlDialect};

/// How a statement holds a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// For everybody, as shortly as a rename.
    Short,
    /// While all rows are written anew.
    Rewrite,
    /// While all rows are read.
    Scan,
    /// While an index is built.
    Build,
}

impl Kind {
    const fn rule(self) -> Option<&'static Rule> {
        match self {
            Self::Short => None,
            Self::Rewrite => Some(&rules::LOCK_REWRITE),
            Self::Scan => Some(&rules::LOCK_SCAN),
            Self::Build => Some(&rules::LOCK_INDEX),
        }
    }
}

/// A table that a statement holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hold {
    table: String,
    kind: Kind,
    /// Nobody can even read it.
    is_exclusive: bool,
    /// What takes so long, and what to do instead.
    why: String,
}

impl Hold {
    fn exclusive(table: &str, kind: Kind, why: impl Into<String>) -> Self {
        Self { table: table.to_owned(), kind, is_exclusive: true, why: why.into() }
    }

    fn writes(table: &str, kind: Kind, why: impl Into<String>) -> Self {
        Self { table: table.to_owned(), kind, is_exclusive: false, why: why.into() }
    }

    fn short(table: &str) -> Self {
        Self::exclusive(table, Kind::Short, "")
    }
}

/// A statement with what is known where it runs.
struct Scene<'s> {
    statement: &'s Statement,
    /// As far as it can be parsed; parts that touch no row are left out.
    parsed: Option<Parsed>,
    database: &'s Database,
    dialect: SqlDialect,
    version: Option<ServerVersion>,
    /// Conditions that were added without looking at the rows that are there, by table and name.
    unproved: Rc<HashSet<(String, String)>>,
}

impl Scene<'_> {
    fn word(&self, index: usize) -> String {
        self.statement.word(index)
    }

    fn has(&self, wanted: &str) -> bool {
        (1..self.statement.tokens.len()).any(|index| self.word(index) == wanted)
    }

    /// Says whether words follow one another somewhere.
    fn says(&self, words: &[&str]) -> bool {
        (0..self.statement.tokens.len())
            .any(|at| words.iter().enumerate().all(|(offset, word)| self.word(at + offset) == *word))
    }

    /// Says whether the database is older than a version; where nobody says which it is, it is a new one.
    fn is_before(&self, major: u16, minor: u16) -> bool {
        self.version.is_some_and(|version| version < ServerVersion::new(major, minor))
    }

    /// Says whether it touches as many rows as there are, perhaps.
    fn goes_over_rows(&self) -> bool {
        match self.word(0).as_str() {
            "UPDATE" | "DELETE" | "COPY" => true,
            "INSERT" => self.has("SELECT"),
            _ => false,
        }
    }

    fn holds(&self) -> Vec<Hold> {
        match self.dialect {
            SqlDialect::PostgreSql => postgres::holds(self),
            SqlDialect::MySql => mysql::holds(self),
            SqlDialect::Sqlite => sqlite::holds(self),
        }
    }
}

/// Finds what the new migrations of a folder hold.
pub(super) fn find(old: &[File], new: &[File], dialect: SqlDialect, options: &Options) -> Vec<Change> {
    let known: HashSet<&str> = old.iter().map(|file| &*file.key).collect();
    if new.iter().all(|file| known.contains(&*file.key)) {
        return Vec::new();
    }
    let (mut replay, mut log) = (Replay::new(dialect), Log::default());
    let mut watch = Watch {
        dialect,
        version: options.sql_version,
        fresh: HashSet::new(),
        unproved: Rc::default(),
        transaction: None,
        waits: Waits::ForEver,
        found: Vec::new(),
    };
    for file in new {
        if known.contains(&*file.key) {
            run_file(&mut replay, file, &mut log, dialect);
        } else {
            watch.file(&mut replay, file);
        }
    }
    watch.found
}

/// Whether the statements of a file wait for a table without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    ForEver,
    Bounded,
}

/// What is remembered from statement to statement.
struct Watch {
    dialect: SqlDialect,
    version: Option<ServerVersion>,
    /// Tables that the new migrations made.
    fresh: HashSet<String>,
    unproved: Rc<HashSet<(String, String)>>,
    transaction: Option<Open>,
    waits: Waits,
    found: Vec<Change>,
}

/// A transaction that a file has begun.
#[derive(Debug, Default)]
struct Open {
    /// Tables that nobody can use until it ends, and where that began.
    held: Vec<(String, u32)>,
    told: bool,
}

impl Watch {
    fn file(&mut self, replay: &mut Replay, file: &File) {
        let sets =
            |one: &Statement| one.word(0) == "SET" && (1..4).any(|index| one.word(index) == "LOCK_TIMEOUT");
        self.waits = if file.statements.iter().any(sets) { Waits::Bounded } else { Waits::ForEver };
        self.transaction = None;
        for statement in &file.statements {
            let scene = Scene {
                statement,
                parsed: replay.parsed(statement),
                database: &replay.database,
                dialect: self.dialect,
                version: self.version,
                unproved: self.unproved.clone(),
            };
            self.statement(&scene, &Location { file: file.name.to_string(), line: statement.line });
            self.remember(&scene);
            replay.run((&file.name, &file.key), statement);
        }
    }

    fn statement(&mut self, scene: &Scene<'_>, location: &Location) {
        let mut holds = scene.holds();
        let is_old = |hold: &Hold| scene.database.tables.contains_key(&hold.table);
        holds.retain(|hold| is_old(hold) && !self.fresh.contains(&hold.table));
        if self.dialect == SqlDialect::PostgreSql {
            self.refused(scene, location);
            self.unbounded(&holds, location);
        }
        holds.iter().for_each(|hold| self.hold(hold, location));
        self.follow_transaction(&holds, scene.goes_over_rows(), location);
    }

    fn refused(&mut self, scene: &Scene<'_>, location: &Location) {
        if self.transaction.is_some() && postgres::is_refused_in_transactions(scene) {
            let what = brief(scene.statement);
            let message = format!("`{what}` is refused between BEGIN and COMMIT");
            self.tell(&rules::TRANSACTION_REFUSED, &what, message, location);
        }
    }

    /// Tells once a file of a table that is waited for without an end.
    fn unbounded(&mut self, holds: &[Hold], location: &Location) {
        let is_long = |hold: &&Hold| hold.is_exclusive && hold.kind != Kind::Short;
        let Some(hold) = holds.iter().find(is_long).filter(|_| self.waits == Waits::ForEver) else { return };
        self.waits = Waits::Bounded;
        let table = &hold.table;
        let message = format!(
            "`{table}` is asked for without a lock_timeout: while the migration waits for a long query, everybody else waits behind it"
        );
        self.tell(&rules::LOCK_UNBOUNDED, table, message, location);
    }

    fn hold(&mut self, hold: &Hold, location: &Location) {
        let Some(rule) = hold.kind.rule() else { return };
        let Hold { table, why, .. } = hold;
        let who = match (self.dialect, hold.is_exclusive) {
            (SqlDialect::Sqlite, _) => "nobody can write the database".to_owned(),
            (_, true) => format!("nobody can use `{table}`"),
            (_, false) => format!("nobody can write `{table}`"),
        };
        self.tell(rule, table, format!("{who} while {why}"), location);
    }

    /// Tells of tables that stay held because the transaction goes on.
    fn follow_transaction(&mut self, holds: &[Hold], goes_over_rows: bool, location: &Location) {
        if self.dialect != SqlDialect::PostgreSql {
            return;
        }
        let Some(open) = &mut self.transaction else { return };
        let is_long = goes_over_rows || holds.iter().any(|hold| hold.kind != Kind::Short);
        let taken: Vec<&Hold> = holds.iter().filter(|hold| hold.is_exclusive).collect();
        let other = taken.iter().find(|hold| open.held.iter().any(|(table, _)| *table != hold.table));
        let message = match (open.held.first(), other) {
            _ if open.told => None,
            (Some((table, line)), _) if is_long => Some((
                table.clone(),
                format!(
                    "nobody can use `{table}` from line {line} until the transaction ends, and this statement goes over many rows; commit before it"
                ),
            )),
            (Some((table, line)), Some(hold)) => Some((
                hold.table.clone(),
                format!(
                    "nobody can use `{}` and `{table}`, taken on line {line}, until the transaction ends; who takes them in another order deadlocks with it",
                    hold.table
                ),
            )),
            _ => None,
        };
        let taken = taken.into_iter().map(|hold| (hold.table.clone(), location.line));
        open.held.extend(taken);
        if let Some((table, message)) = message {
            open.told = true;
            self.tell(&rules::LOCK_TRANSACTION, &table, message, location);
        }
    }

    fn remember(&mut self, scene: &Scene<'_>) {
        match scene.word(0).as_str() {
            "BEGIN" => self.transaction = Some(Open::default()),
            "START" if scene.word(1) == "TRANSACTION" => self.transaction = Some(Open::default()),
            "COMMIT" | "END" | "ABORT" => self.transaction = None,
            "ROLLBACK" if !scene.has("TO") => self.transaction = None,
            _ => {}
        }
        if scene.says(&["VALIDATE", "CONSTRAINT"]) {
            let name = scene.statement.tokens.last().map(|token| token.token.to_string().replace('"', ""));
            Rc::make_mut(&mut self.unproved).retain(|(_, known)| Some(known) != name.as_ref());
        }
        match &scene.parsed {
            Some(Parsed::CreateTable(create)) => {
                let name = fold_name(self.dialect, &create.name);
                if !scene.database.tables.contains_key(&name) {
                    self.fresh.insert(name);
                }
            }
            Some(Parsed::AlterTable(alter)) => {
                let table = fold_name(self.dialect, &alter.name);
                let added = postgres::added_without_proof(&alter.operations, self.dialect);
                Rc::make_mut(&mut self.unproved).extend(added.map(|name| (table.clone(), name)));
                if let Some(new) = postgres::renamed(&alter.operations, self.dialect)
                    && self.fresh.remove(&table)
                {
                    self.fresh.insert(new);
                }
            }
            _ => {}
        }
    }

    fn tell(&mut self, rule: &'static Rule, place: &str, message: String, location: &Location) {
        let change = Change::new(rule, place, message).at(None, Some(location.clone()));
        debug_assert!(change.level != Level::Error, "what holds a table breaks nothing");
        self.found.push(change);
    }
}

/// The first words of a statement.
fn brief(statement: &Statement) -> String {
    let words = statement.tokens.iter().take(4).map(|token| token.token.to_string());
    words.collect::<Vec<_>>().join(" ")
}
