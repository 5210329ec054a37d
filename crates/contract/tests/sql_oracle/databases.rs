//! Real databases that run scripts, each from nothing.

mod mariadb;
mod postgres;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lockstep_contract::SqlDialect;
use rusqlite::Connection;
use rusqlite::types::Value;

pub(crate) use mariadb::MariaDb;
pub(crate) use postgres::Postgres;

/// What a statement gave: its rows, or why it failed.
pub(crate) type Outcome = Result<String, String>;

pub(crate) trait Database {
    fn dialect(&self) -> SqlDialect;
    /// Runs every script over an empty database of its own; a statement that fails does not stop it.
    fn run(&mut self, scripts: &[Vec<String>]) -> Vec<Vec<Outcome>>;
}

pub(crate) struct Sqlite;

impl Database for Sqlite {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::Sqlite
    }

    fn run(&mut self, scripts: &[Vec<String>]) -> Vec<Vec<Outcome>> {
        let one = |script: &Vec<String>| {
            let database = Connection::open_in_memory().expect("a database in memory");
            script
                .iter()
                .map(|statement| run(&database, statement).map_err(|error| error.to_string()))
                .collect()
        };
        scripts.iter().map(one).collect()
    }
}

fn run(database: &Connection, statement: &str) -> rusqlite::Result<String> {
    let mut prepared = database.prepare(statement)?;
    let (count, mut rows, mut text) = (prepared.column_count(), prepared.query([])?, String::new());
    while let Some(row) = rows.next()? {
        for index in 0..count {
            let value: Value = row.get(index)?;
            text.push_str(&format!("{value:?}|"));
        }
        text.push('\n');
    }
    Ok(text)
}

/// A server of its own in a folder, on a socket and without a port, which ends with the test, however that ends.
struct Server {
    folder: PathBuf,
    /// Whom it runs as: servers of databases refuse to be root.
    user: Option<&'static str>,
    process: Option<Child>,
}

impl Server {
    /// Makes the folder, owned by the user that a package made for its server.
    fn new(name: &str, user: &'static str) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("lockstep-sql-oracle-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).ok()?;
        let root = Command::new("id").arg("-u").output().ok()?.stdout == b"0\n";
        let server = Self { folder, process: None, user: root.then_some(user) };
        if let Some(user) = server.user {
            let owned = Command::new("chown").arg(user).arg(&server.folder).status().ok()?;
            owned.success().then_some(())?;
        }
        Some(server)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).current_dir(&self.folder);
        command.args(self.user.map(|user| ["--reuid", user, "--clear-groups"]).into_iter().flatten());
        command.arg("--").arg(program).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts it, and waits until a client gets an answer.
    fn start(&mut self, program: &mut Command, mut asked: impl FnMut() -> bool) -> Option<()> {
        self.process = Some(program.spawn().ok()?);
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if asked() {
                return Some(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Nothing in its folder is needed any more.
            let _ = process.kill();
            let _ = process.wait();
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Runs a client over a text.
fn feed(client: &mut Command, text: String) -> Output {
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = client.spawn().expect("the client runs");
    let mut input = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("the client ends");
    writer.join().expect("no panic").expect("the client reads");
    output
}

/// Marks the end of a statement in what a client writes.
const MARK: &str = "@@";
