//! PostgreSQL: a migration is a transaction with the record locked; an advisory lock keeps other steps out for as long as this one lives.
//!
//! Every migration has a connection of its own, so that what one sets is not there for the next.

use std::fmt::Display;

use lockstep_contract::SqlDialect;
use lockstep_contract::sql::script::Part;
use lockstep_domain::database::Step;
use tokio::runtime::Runtime;
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

use crate::address::Encryption;
use crate::engine::{Engine, Fault, Ran, Row, TABLE, at};
use crate::folder::{Migration, Script};
use crate::tls::Tls;

/// The number of the lock: the first bytes of the digest of the name of the table, so that no other program means it by accident.
const LOCK: i64 = 0x6c6f_636b_7374_6570;

pub(crate) struct Postgres {
    runtime: Runtime,
    config: Config,
    encryption: Encryption,
    lock_ms: u64,
    timeout_ms: u64,
    /// The connection that holds the lock, until the process ends.
    claimed: Option<Client>,
}

impl Postgres {
    pub(crate) fn new(config: &Config, encryption: Encryption, step: &Step) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(|error| Fault::new(format!("nothing can be waited for: {error}")))?,
            config: config.clone(),
            encryption,
            lock_ms: step.lock_ms,
            timeout_ms: step.timeout_ms,
            claimed: None,
        })
    }

    fn connect(&self) -> Result<Client, Fault> {
        self.runtime.block_on(async {
            let client = match self.encryption {
                Encryption::None => {
                    let (client, connection) =
                        self.config.connect(NoTls).await.map_err(|error| unreached(&error))?;
                    tokio::spawn(connection);
                    client
                }
                Encryption::Checked => {
                    let tls = Tls::new().map_err(Fault::new)?;
                    let (client, connection) =
                        self.config.connect(tls).await.map_err(|error| unreached(&error))?;
                    tokio::spawn(connection);
                    client
                }
            };
            // Servers before 14 do not know it; then a statement of a step that was killed goes on until its time is over.
            let _ = client.batch_execute("SET client_connection_check_interval = '1s'").await;
            let limits =
                format!("SET lock_timeout = {}; SET statement_timeout = {}", self.lock_ms, self.timeout_ms);
            client.batch_execute(&limits).await.map_err(|error| refused(&error))?;
            Ok(client)
        })
    }

    fn write(&self, client: &Client, row: &Row, by: &str) -> Result<(), Fault> {
        let statement = format!(
            "INSERT INTO {TABLE} (name, checksum, applied_by, finished) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO UPDATE SET \
             checksum = excluded.checksum, applied_by = excluded.applied_by, applied_at = now(), finished = excluded.finished"
        );
        let values: [&(dyn ToSql + Sync); 4] = [&row.name, &row.checksum, &by, &row.finished];
        let written = self.runtime.block_on(client.execute(&statement, &values));
        written.map(drop).map_err(|error| refused(&error))
    }

    fn remove(&self, client: &Client, name: &str) -> Result<(), Fault> {
        let statement = format!("DELETE FROM {TABLE} WHERE name = $1");
        self.runtime.block_on(client.execute(&statement, &[&name])).map(drop).map_err(|error| refused(&error))
    }

    fn execute(&self, client: &Client, statements: &str) -> Result<(), Fault> {
        self.runtime.block_on(client.batch_execute(statements)).map_err(|error| refused(&error))
    }

    fn statements(&self, client: &Client, script: &Script) -> Result<(), Fault> {
        for part in &script.parts {
            let ran = self.runtime.block_on(client.batch_execute(&part.text));
            ran.map_err(|error| {
                at(&script.file, line_of(part, &error), words(&error)).with_detail(detail(&error))
            })?;
        }
        Ok(())
    }

    fn read(&self, client: &Client) -> Result<Vec<Row>, Fault> {
        let is_there = format!("SELECT to_regclass('{TABLE}') IS NOT NULL");
        let known =
            self.runtime.block_on(client.query_one(&is_there, &[])).map_err(|error| refused(&error))?;
        if !known.get::<_, bool>(0) {
            return Ok(Vec::new());
        }
        let all = format!("SELECT name, checksum, finished FROM {TABLE}");
        let rows = self.runtime.block_on(client.query(&all, &[])).map_err(|error| refused(&error))?;
        let row = |row: &tokio_postgres::Row| -> Result<Row, Error> {
            Ok(Row { name: row.try_get(0)?, checksum: row.try_get(1)?, finished: row.try_get(2)? })
        };
        let rows: Result<Vec<Row>, Error> = rows.iter().map(row).collect();
        rows.map_err(|error| {
            Fault::new(format!("the table `{TABLE}` is none that Lockstep made: {}", words(&error)))
        })
    }
}

/// The line of a file in which the server found what it refuses; that of the statement where it does not say.
fn line_of(part: &Part, error: &Error) -> u32 {
    let place = match error.as_db_error().and_then(|said| said.position()) {
        Some(ErrorPosition::Original(place)) => usize::try_from(*place).unwrap_or_default(),
        _ => 0,
    };
    let before = part.text.chars().take(place.saturating_sub(1));
    part.line + u32::try_from(before.filter(|letter| *letter == '\n').count()).unwrap_or_default()
}

impl Engine for Postgres {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::PostgreSql
    }

    fn rows(&mut self) -> Result<Vec<Row>, Fault> {
        let client = self.connect()?;
        self.read(&client)
    }

    fn claim(&mut self) -> Result<(), Fault> {
        let client = self.connect()?;
        let locked = self.runtime.block_on(client.batch_execute(&format!("SELECT pg_advisory_lock({LOCK})")));
        locked.map_err(|error| {
            Fault::new(format!("another step applies migrations to the database: {}", words(&error)))
                .with_detail(detail(&error))
        })?;
        self.execute(
            &client,
            &format!(
                "CREATE TABLE IF NOT EXISTS {TABLE} (name text PRIMARY KEY, checksum text NOT NULL, applied_by text NOT NULL, \
                 applied_at timestamptz NOT NULL DEFAULT now(), finished boolean NOT NULL)"
            ),
        )?;
        self.claimed = Some(client);
        Ok(())
    }

    fn apply(&mut self, migration: &Migration, by: &str) -> Result<Ran, Fault> {
        let client = self.connect()?;
        self.execute(&client, &format!("BEGIN; LOCK TABLE {TABLE} IN SHARE ROW EXCLUSIVE MODE"))?;
        if self.read(&client)?.iter().any(|row| row.name == migration.name) {
            return Ok(Ran::Before);
        }
        // It stands before the statements, because these may set where tables are looked for.
        let row = Row { name: migration.name.clone(), checksum: migration.checksum(), finished: true };
        self.write(&client, &row, by)?;
        self.statements(&client, &migration.script)?;
        self.execute(&client, "COMMIT")?;
        Ok(Ran::Now)
    }

    fn take_back(&mut self, name: &str, way: &Script) -> Result<Ran, Fault> {
        let client = self.connect()?;
        self.execute(&client, &format!("BEGIN; LOCK TABLE {TABLE} IN SHARE ROW EXCLUSIVE MODE"))?;
        if !self.read(&client)?.iter().any(|row| row.name == name && row.finished) {
            return Ok(Ran::Before);
        }
        self.remove(&client, name)?;
        self.statements(&client, way)?;
        self.execute(&client, "COMMIT")?;
        Ok(Ran::Now)
    }

    fn run_alone(&mut self, script: &Script) -> Result<(), Fault> {
        let client = self.connect()?;
        self.statements(&client, script)?;
        // A transaction that is still open would be undone without a word when the connection closes. In one message both times are the
        // same outside of one.
        let said = self.runtime.block_on(client.simple_query("SELECT now() = statement_timestamp()"));
        let said = said.map_err(|error| refused(&error))?;
        let is_closed = said.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
            _ => false,
        });
        match is_closed {
            true => Ok(()),
            false => Err(Fault::new(format!("{}: it leaves a transaction open", script.file))),
        }
    }

    fn record(&mut self, row: &Row, by: &str) -> Result<(), Fault> {
        let client = self.connect()?;
        self.write(&client, row, by)
    }

    fn forget(&mut self, name: &str) -> Result<(), Fault> {
        let client = self.connect()?;
        self.remove(&client, name)
    }
}

fn unreached(error: &Error) -> Fault {
    Fault::new(format!("the database is not reached: {}", words(error))).with_detail(detail(error))
}

fn refused(error: &Error) -> Fault {
    Fault::new(format!("the database refuses: {}", words(error))).with_detail(detail(error))
}

/// What the server says, or why nothing could be asked; the library's own words have no address.
fn words(error: &Error) -> String {
    match error.as_db_error() {
        Some(said) => {
            let hint = said.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{}{hint}", said.message())
        }
        None => with_sources(error),
    }
}

/// What the server says beside it: values of rows, often.
fn detail(error: &Error) -> Option<String> {
    error.as_db_error()?.detail().map(str::to_owned)
}

fn with_sources(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(next) = source {
        add(&mut text, next);
        source = next.source();
    }
    text
}

fn add(text: &mut String, more: impl Display) {
    let more = more.to_string();
    if !text.contains(&more) {
        text.push_str(": ");
        text.push_str(&more);
    }
}
