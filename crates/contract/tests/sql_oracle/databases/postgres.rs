//! PostgreSQL, as Debian packages it.

use super::{Command, Database, MARK, Outcome, Path, PathBuf, Server, SqlDialect, feed};

pub(crate) struct Postgres {
    programs: PathBuf,
    server: Server,
}

impl Postgres {
    /// Starts one, when the programs of PostgreSQL 15 or later are installed where Debian puts them, or where
    /// `LOCKSTEP_POSTGRES` says.
    pub(crate) fn start() -> Option<Self> {
        let programs = std::env::var_os("LOCKSTEP_POSTGRES").map(PathBuf::from).or_else(newest)?;
        let mut server = Server::new("postgresql", "postgres")?;
        let data = server.folder.join("data");
        let mut make = server.command(&programs.join("initdb"));
        make.args(["--no-sync", "-A", "trust", "-U", "postgres", "-D"]).arg(&data);
        make.status().ok()?.success().then_some(())?;
        let mut start = server.command(&programs.join("postgres"));
        start.arg("-D").arg(&data).args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"]);
        start.arg(&server.folder);
        let mut asked = Command::new(programs.join("pg_isready"));
        asked.args(["-q", "-h"]).arg(&server.folder);
        server.start(&mut start, || asked.status().is_ok_and(|status| status.success()))?;
        Some(Self { programs, server })
    }

    /// Runs a text; errors stop nothing.
    pub(crate) fn psql(&self, text: String) -> String {
        let mut client = Command::new(self.programs.join("psql"));
        client.args(["-X", "-q", "-A", "-t", "-U", "postgres", "-d", "postgres", "-h"]);
        let output = feed(client.arg(&self.server.folder), text);
        String::from_utf8(output.stdout).expect("text")
    }
}

fn newest() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter_map(|path| Some((number(&path)?, path))).max()?;
    (newest.0 >= 15).then(|| newest.1.join("bin"))
}

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
