//! A working folder with migrations, a database, and the step as a process.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep_domain::database::{Act, Applied, Step, TOLD_FILE, Told};
use rusqlite::Connection;

use crate::server::{PASSWORD, server};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: String,
    pub(crate) url: String,
    pub(crate) applied: Applied,
    pub(crate) lock_ms: u64,
    /// A file with the authorities that are trusted.
    pub(crate) trusts: Option<PathBuf>,
}

/// How a step ended.
pub(crate) struct Ended {
    pub(crate) is_good: bool,
    pub(crate) said: String,
    pub(crate) told: Option<Told>,
}

impl Place {
    pub(crate) fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("db")).unwrap();
        fs::create_dir(folder.path().join("var")).unwrap();
        let (database, url) = match kind {
            Kind::Sqlite => ("var/notes.db".to_owned(), "sqlite:var/notes.db".to_owned()),
            Kind::Postgres => {
                let database = server().make();
                let url = server().url(&database, PASSWORD);
                (database, url)
            }
        };
        let applied = Applied::ByLockstep;
        Self { kind, folder, database, url, applied, lock_ms: 2_000, trusts: None }
    }

    /// Another working folder with the same migrations and the same database.
    pub(crate) fn beside(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copied =
            Command::new("cp").arg("-r").arg(self.folder.path().join("db")).arg(folder.path()).status();
        assert!(copied.unwrap().success());
        let url = match self.kind {
            Kind::Postgres => self.url.clone(),
            Kind::Sqlite => format!("sqlite:{}", self.folder.path().join(&self.database).display()),
        };
        let (kind, database, applied) = (self.kind, self.database.clone(), self.applied.clone());
        Self { kind, folder, database, url, applied, lock_ms: self.lock_ms, trusts: self.trusts.clone() }
    }

    /// One with three migrations that add.
    pub(crate) fn with_three(kind: Kind) -> Self {
        let place = Self::new(kind);
        place.write("1_notes.sql", "CREATE TABLE notes (id integer PRIMARY KEY);");
        place.write(
            "2_text.sql",
            "ALTER TABLE notes ADD COLUMN text text;\nINSERT INTO notes VALUES (1, 'a;b');",
        );
        place.write("10_tags.sql", "CREATE TABLE tags (id integer);");
        place
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join("db").join(name), text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join("db").join(name)).unwrap();
    }

    pub(crate) fn told_file(&self) -> PathBuf {
        self.folder.path().join(TOLD_FILE)
    }

    pub(crate) fn begin(&self, act: Act) -> Child {
        self.begin_expecting(act, None)
    }

    /// Applies migrations as a plan showed it, which took these for missing.
    pub(crate) fn apply_as_planned(&self, through: &str, expected: &[&str]) -> Ended {
        let expected = expected.iter().map(|&name| name.to_owned()).collect();
        self.end(self.begin_expecting(Act::Apply { through: Some(through.to_owned()) }, Some(expected)))
    }

    fn begin_expecting(&self, act: Act, expected: Option<Vec<String>>) -> Child {
        let step = Step {
            act,
            expected,
            applied: self.applied.clone(),
            folder: "db".to_owned(),
            variable: "DATABASE_URL".to_owned(),
            lock_ms: self.lock_ms,
            timeout_ms: 60_000,
            by: "notes@1.0.0".to_owned(),
            data: vec!["var".parse().unwrap()],
        };
        let line = step.command(env!("CARGO_BIN_EXE_database_step"));
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(self.folder.path()).env("DATABASE_URL", &self.url);
        command.envs(self.trusts.iter().map(|file| ("SSL_CERT_FILE", file)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn end(&self, child: Child) -> Ended {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let told = fs::read(self.told_file()).ok().map(|text| serde_json::from_slice(&text).unwrap());
        let _ = fs::remove_file(self.told_file());
        Ended { is_good: output.status.success(), said, told }
    }

    pub(crate) fn run(&self, act: Act) -> Ended {
        self.end(self.begin(act))
    }

    pub(crate) fn apply(&self, through: &str) -> Ended {
        self.run(Act::Apply { through: Some(through.to_owned()) })
    }

    /// Asks the database something that has one answer.
    pub(crate) fn ask(&self, query: &str) -> String {
        match self.kind {
            Kind::Postgres => server().psql(&self.database, query),
            Kind::Sqlite => {
                let connection = Connection::open(self.folder.path().join(&self.database)).unwrap();
                connection.busy_timeout(Duration::from_secs(5)).unwrap();
                let answer = connection.query_row(query, [], |row| row.get::<_, rusqlite::types::Value>(0));
                match answer {
                    Ok(rusqlite::types::Value::Integer(number)) => number.to_string(),
                    Ok(other) => format!("{other:?}"),
                    Err(error) => error.to_string(),
                }
            }
        }
    }
}

impl Ended {
    /// The names of what the database has.
    pub(crate) fn has(&self) -> Vec<&str> {
        let told = self.told.as_ref().unwrap_or_else(|| panic!("nothing was told: {}", self.said));
        told.recorded.iter().map(|recorded| recorded.name.as_str()).collect()
    }

    pub(crate) fn good(self) -> Self {
        assert!(self.is_good, "{}", self.said);
        self
    }

    pub(crate) fn bad(self, words: &str) -> Self {
        assert!(!self.is_good && self.said.contains(words), "expected {words:?}: {}", self.said);
        self
    }
}

pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
