//! MariaDB, as Debian packages it.
//!
//! Every statement that shapes a schema commits, so that every script gets a database of its own.

use std::collections::HashMap;

use super::{Command, Database, MARK, Outcome, Path, Server, SqlDialect, feed};

pub(crate) struct MariaDb {
    server: Server,
}

impl MariaDb {
    /// Starts one, when it is installed where Debian puts it.
    pub(crate) fn start() -> Option<Self> {
        let program = Path::new("/usr/sbin/mariadbd");
        program.exists().then_some(())?;
        let mut server = Server::new("mariadb", "mysql")?;
        let (data, socket) = (server.folder.join("data"), server.folder.join("socket"));
        let mut make = server.command(Path::new("/usr/bin/mariadb-install-db"));
        make.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        make.arg(format!("--datadir={}", data.display()));
        make.status().ok()?.success().then_some(())?;
        let mut start = server.command(program);
        start.args(["--no-defaults", "--skip-networking", "--innodb-flush-log-at-trx-commit=0"]);
        start.args(["--innodb-flush-method=nosync", "--innodb-doublewrite=0", "--sync-frm=0"]);
        start.args(["--character-set-server=utf8mb4", "--skip-log-bin", "--performance-schema=0"]);
        start.arg(format!("--datadir={}", data.display()));
        start.arg(format!("--socket={}", socket.display()));
        let mut asked = Command::new("/usr/bin/mariadb-admin");
        asked.args(["--no-defaults", "-u", "root", "--silent", "ping"]);
        asked.arg(format!("--socket={}", socket.display()));
        asked.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        server.start(&mut start, || asked.status().is_ok_and(|status| status.success()))?;
        Some(Self { server })
    }
}

impl Database for MariaDb {
    fn dialect(&self) -> SqlDialect {
        SqlDialect::MySql
    }

    fn run(&mut self, scripts: &[Vec<String>]) -> Vec<Vec<Outcome>> {
        let mut lines: Vec<String> = Vec::new();
        for script in scripts {
            lines.push(
                "DROP DATABASE IF EXISTS oracle; CREATE DATABASE oracle; USE oracle; SET sql_mode = DEFAULT;"
                    .to_owned(),
            );
            for statement in script.iter().filter(|statement| !is_foreign(statement)) {
                lines.push(format!("{};", statement.replace('\n', " ")));
                lines.push(format!("SELECT '{MARK}{}';", lines.len()));
            }
        }
        let mut client = Command::new("/usr/bin/mariadb");
        client.args(["--no-defaults", "-u", "root", "--batch", "--force", "--skip-column-names"]);
        client.arg(format!("--socket={}", self.server.folder.join("socket").display()));
        let output = feed(&mut client, lines.join("\n"));
        let errors = errors(&String::from_utf8_lossy(&output.stderr));
        let mut outcomes = outcomes(&String::from_utf8_lossy(&output.stdout), &errors).into_iter();
        let mut take = |statement: &String| {
            if is_foreign(statement) {
                Ok(String::new())
            } else {
                outcomes.next().expect("an outcome of each statement")
            }
        };
        scripts.iter().map(|script| script.iter().map(&mut take).collect()).collect()
    }
}

fn is_foreign(statement: &str) -> bool {
    statement.starts_with("PRAGMA")
}

/// The errors of a client, by the line of their statement.
fn errors(text: &str) -> HashMap<usize, String> {
    let told = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(" at line ")?;
        let (number, message) = rest.split_once(": ")?;
        Some((number.parse().ok()?, message.to_owned()))
    });
    told.collect()
}

fn outcomes(output: &str, errors: &HashMap<usize, String>) -> Vec<Outcome> {
    let (mut found, mut rows) = (Vec::new(), String::new());
    for line in output.lines() {
        match line.strip_prefix(MARK).and_then(|line| line.parse::<usize>().ok()) {
            None => {
                rows.push_str(line);
                rows.push('\n');
            }
            Some(line) => {
                let rows = std::mem::take(&mut rows);
                found.push(errors.get(&line).map_or(Ok(rows), |message| Err(message.clone())));
            }
        }
    }
    found
}
