//! SQLite: a migration is an exclusive transaction; nobody else applies any while this process holds the file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use lockstep_contract::SqlDialect;
use lockstep_domain::database::Step;
use rusqlite::{Connection, OpenFlags, params};
use rustix::fs::{FlockOperation, flock};

use crate::engine::{Engine, Fault, Ran, Row, TABLE, at};
use crate::folder::{Migration, Script};

/// How often it is looked whether another step has ended.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Sqlite {
    path: PathBuf,
    lock: Duration,
    /// Held until the process ends. It outlives every connection: closing it earlier would take their locks from them.
    claimed: Option<File>,
}

impl Sqlite {
    pub(crate) fn new(path: &Path, step: &Step) -> Self {
        Self { path: path.to_owned(), lock: Duration::from_millis(step.lock_ms), claimed: None }
    }

    fn fault(&self, error: impl std::fmt::Display) -> Fault {
        Fault::new(format!("the database `{}`: {error}", self.path.display()))
    }

    fn connect(&self, flags: OpenFlags) -> Result<Connection, Fault> {
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(|error| self.fault(error))?;
        connection.busy_timeout(self.lock).map_err(|error| self.fault(error))?;
        // Tables are made anew by migrations, which must not take along what refers to them; references are checked at the end.
        connection.execute_batch("PRAGMA foreign_keys = OFF").map_err(|error| self.fault(error))?;
        Ok(connection)
    }

    fn open(&self) -> Result<Connection, Fault> {
        self.connect(OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Applies a migration in the transaction that is open.
    fn inside(&self, connection: &Connection, migration: &Migration, by: &str) -> Result<Ran, Fault> {
        let rows = read(connection).map_err(|error| self.fault(error))?;
        if rows.iter().any(|row| row.name == migration.name) {
            return Ok(Ran::Before);
        }
        self.keeping_references(connection, &migration.script)?;
        let row = Row { name: migration.name.clone(), checksum: migration.checksum(), finished: true };
        write(connection, &row, by).map_err(|error| self.fault(error))?;
        Ok(Ran::Now)
    }

    /// Takes a migration back in the transaction that is open.
    fn back_inside(&self, connection: &Connection, name: &str, way: &Script) -> Result<Ran, Fault> {
        let rows = read(connection).map_err(|error| self.fault(error))?;
        if !rows.iter().any(|row| row.name == name && row.finished) {
            return Ok(Ran::Before);
        }
        self.keeping_references(connection, way)?;
        remove(connection, name).map_err(|error| self.fault(error))?;
        Ok(Ran::Now)
    }

    fn keeping_references(&self, connection: &Connection, script: &Script) -> Result<(), Fault> {
        let before = lost_references(connection).map_err(|error| self.fault(error))?;
        statements(connection, script, |connection| !connection.is_autocommit())?;
        if lost_references(connection).map_err(|error| self.fault(error))? > before {
            return Err(Fault::new(format!("{}: rows refer to others that are not there", script.file)));
        }
        Ok(())
    }

    /// Does something in a transaction of its own that keeps everybody out.
    fn alone_there<T>(&self, act: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let connection = self.open()?;
        connection.execute_batch("BEGIN EXCLUSIVE").map_err(|error| self.fault(error))?;
        // A connection that is closed in a transaction undoes it.
        let done = act(&connection)?;
        connection.execute_batch("COMMIT").map_err(|error| self.fault(error))?;
        Ok(done)
    }
}

impl Engine for Sqlite {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::Sqlite
    }

    fn rows(&mut self) -> Result<Vec<Row>, Fault> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let connection = self.connect(OpenFlags::empty())?;
        read(&connection).map_err(|error| self.fault(error))
    }

    fn claim(&mut self) -> Result<(), Fault> {
        let connection = self.open()?;
        // The file is there only once something was written.
        connection.execute_batch(&table()).map_err(|error| self.fault(error))?;
        drop(connection);
        let file = File::open(&self.path).map_err(|error| self.fault(error))?;
        let end = Instant::now() + self.lock;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() >= end {
                return Err(self.fault("another step applies migrations to it"));
            }
            thread::sleep(PAUSE);
        }
        self.claimed = Some(file);
        Ok(())
    }

    fn apply(&mut self, migration: &Migration, by: &str) -> Result<Ran, Fault> {
        self.alone_there(|connection| self.inside(connection, migration, by))
    }

    fn take_back(&mut self, name: &str, way: &Script) -> Result<Ran, Fault> {
        self.alone_there(|connection| self.back_inside(connection, name, way))
    }

    fn run_alone(&mut self, script: &Script) -> Result<(), Fault> {
        let connection = self.open()?;
        statements(&connection, script, |_| true)?;
        if connection.is_autocommit() {
            return Ok(());
        }
        Err(Fault::new(format!("{}: it leaves a transaction open", script.file)))
    }

    fn record(&mut self, row: &Row, by: &str) -> Result<(), Fault> {
        let connection = self.open()?;
        write(&connection, row, by).map_err(|error| self.fault(error))
    }

    fn forget(&mut self, name: &str) -> Result<(), Fault> {
        let connection = self.open()?;
        remove(&connection, name).map_err(|error| self.fault(error))
    }
}

fn table() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} (name TEXT PRIMARY KEY NOT NULL, checksum TEXT NOT NULL, applied_by TEXT NOT NULL, \
         applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')), finished INTEGER NOT NULL)"
    )
}

fn statements(
    connection: &Connection,
    script: &Script,
    is_well: impl Fn(&Connection) -> bool,
) -> Result<(), Fault> {
    for part in &script.parts {
        connection.execute_batch(&part.text).map_err(|error| at(&script.file, part.line, error))?;
        if !is_well(connection) {
            return Err(at(&script.file, part.line, "it ended the transaction around it"));
        }
    }
    Ok(())
}

fn read(connection: &Connection) -> rusqlite::Result<Vec<Row>> {
    let known = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
    if connection.query_row(known, [TABLE], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Vec::new());
    }
    let mut rows = connection.prepare(&format!("SELECT name, checksum, finished FROM {TABLE}"))?;
    let row =
        |row: &rusqlite::Row<'_>| Ok(Row { name: row.get(0)?, checksum: row.get(1)?, finished: row.get(2)? });
    rows.query_map([], row)?.collect()
}

fn write(connection: &Connection, row: &Row, by: &str) -> rusqlite::Result<()> {
    let statement = format!(
        "INSERT INTO {TABLE} (name, checksum, applied_by, finished) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE SET \
         checksum = excluded.checksum, applied_by = excluded.applied_by, finished = excluded.finished"
    );
    connection.execute(&statement, params![row.name, row.checksum, by, row.finished]).map(drop)
}

fn remove(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute(&format!("DELETE FROM {TABLE} WHERE name = ?1"), [name]).map(drop)
}

/// Counts rows that refer to others that are not there.
fn lost_references(connection: &Connection) -> rusqlite::Result<usize> {
    let mut check = connection.prepare("PRAGMA foreign_key_check")?;
    let found = check.query_map([], |_| Ok(()))?.count();
    Ok(found)
}
