//! Real databases that run scripts, each from nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep_contract::SqlDialect;
use rusqlite::Connection;
use rusqlite::types::Value;

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

/// A PostgreSQL of its own in a folder, without a port.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    /// Whom the server runs as: it refuses to be root.
    user: Option<&'static str>,
    server: Option<Child>,
}

impl Postgres {
    /// Starts one, when the programs of PostgreSQL 15 or later are installed where Debian puts them, or where
    /// `LOCKSTEP_POSTGRES` says.
    pub(crate) fn start() -> Option<Self> {
        let programs = std::env::var_os("LOCKSTEP_POSTGRES").map(PathBuf::from).or_else(newest)?;
        let folder = std::env::temp_dir().join(format!("lockstep-sql-oracle-{}", std::process::id()));
        std::fs::create_dir_all(&folder).ok()?;
        let root = Command::new("id").arg("-u").output().ok()?.stdout == b"0\n";
        let mut server = Self { programs, folder, server: None, user: root.then_some("postgres") };
        if let Some(user) = server.user {
            let owned = Command::new("chown").arg(user).arg(&server.folder).status().ok()?;
            owned.success().then_some(())?;
        }
        let data = server.folder.join("data");
        let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let made = quiet(
            server.command("initdb").args(["--no-sync", "-A", "trust", "-U", "postgres", "-D"]).arg(&data),
        );
        made.ok()?.success().then_some(())?;
        let mut start = server.command("postgres");
        start
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(&server.folder);
        server.server = Some(start.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?);
        server.is_ready().then_some(server)
    }

    /// Waits until it answers.
    fn is_ready(&self) -> bool {
        let asked = || {
            let mut command = Command::new(self.programs.join("pg_isready"));
            command.args(["-q", "-h"]).arg(&self.folder).status().is_ok_and(|status| status.success())
        };
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if asked() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        // It ends with the test, however that ends.
        command.args(["--pdeathsig", "QUIT"]).current_dir(&self.folder);
        command.args(self.user.map(|user| ["--reuid", user, "--clear-groups"]).into_iter().flatten());
        command.arg("--").arg(self.programs.join(program));
        command
    }
}

fn newest() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter_map(|path| Some((number(&path)?, path))).max()?;
    (newest.0 >= 15).then(|| newest.1.join("bin"))
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = Command::new("kill").args(["-QUIT", &server.id().to_string()]).status();
            let _ = server.wait();
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Marks the end of a statement in what psql writes.
const MARK: &str = "@@";

impl Database for Postgres {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::PostgreSql
    }

    fn run(&mut self, scripts: &[Vec<String>]) -> Vec<Vec<Outcome>> {
        let mut text = String::from("\\set ON_ERROR_ROLLBACK on\n");
        for script in scripts {
            text.push_str("BEGIN;\n");
            for statement in script.iter().filter(|statement| !is_ours(statement)) {
                text.push_str(&format!("{statement};\n\\echo {MARK} :ERROR :LAST_ERROR_MESSAGE\n"));
            }
            text.push_str("ROLLBACK;\n");
        }
        let output = self.psql(text);
        let mut outcomes = outcomes(&output).into_iter();
        let mut take = |statement: &String| {
            if is_ours(statement) {
                Ok(String::new())
            } else {
                outcomes.next().expect("an outcome of each statement")
            }
        };
        scripts.iter().map(|script| script.iter().map(&mut take).collect()).collect()
    }
}

/// Every script is one transaction, which is undone.
fn is_ours(statement: &str) -> bool {
    matches!(statement, "BEGIN" | "COMMIT") || statement.starts_with("PRAGMA")
}

impl Postgres {
    fn psql(&self, text: String) -> String {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-U", "postgres", "-d", "postgres", "-h"]).arg(&self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("psql runs");
        let mut input = child.stdin.take().expect("a pipe");
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let output = child.wait_with_output().expect("psql ends");
        writer.join().expect("no panic").expect("psql reads");
        String::from_utf8(output.stdout).expect("text")
    }
}

fn outcomes(output: &str) -> Vec<Outcome> {
    let (mut found, mut rows) = (Vec::new(), String::new());
    for line in output.lines() {
        match line.strip_prefix(MARK) {
            None => {
                rows.push_str(line);
                rows.push('\n');
            }
            Some(mark) => {
                let rows = std::mem::take(&mut rows);
                found.push(match mark.trim_start().strip_prefix("true") {
                    Some(message) => Err(message.trim().to_owned()),
                    None => Ok(rows),
                });
            }
        }
    }
    found
}
