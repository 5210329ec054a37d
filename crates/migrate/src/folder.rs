//! The folder of migrations: which files there are, in their order, with the digest of each and its statements.
//!
//! Invariant: only regular files of the folder are read, each and all of them up to a bound, and every name can be shown and stored.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lockstep_contract::SqlDialect;
use lockstep_contract::sql::back::{self, NoWay};
use lockstep_contract::sql::form::{self, Forward};
use lockstep_contract::sql::script::{Part, Turn, parts, parts_back};
use lockstep_contract::sql::{Role, is_part, order, roles, taken_back};
use lockstep_domain::Digest;
use lockstep_domain::database::{Lines, MAX_MIGRATION_NAME, MAX_MIGRATIONS};
use lockstep_files::foreign;
use sha2::{Digest as _, Sha256};

use crate::engine::Fault;

/// Largest migration: those that load data are the largest.
pub(crate) const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Deepest folder below the one of migrations.
const MAX_DEPTH: usize = 4;
/// What the first lines of a file say that is to run without a transaction around it.
const ALONE: &str = "-- lockstep: alone";

/// The migrations of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) migrations: Vec<Migration>,
    pub(crate) path: PathBuf,
    /// Files that take migrations back, each with those that its name means.
    pub(crate) backs: Vec<(String, Vec<String>)>,
}

/// Statements that run one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    /// The file that they stand in.
    pub(crate) file: String,
    pub(crate) parts: Vec<Part>,
    /// They cannot be one transaction.
    pub(crate) is_alone: bool,
}

impl Script {
    pub(crate) fn new(file: String, parts: Vec<Part>, says_alone: bool) -> Self {
        let parts = if says_alone { parts } else { without_own_transaction(parts) };
        let is_alone = says_alone || parts.iter().any(|part| part.turn != Turn::Inside);
        Self { file, parts, is_alone }
    }
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Migration {
    /// Its path below the folder.
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) script: Script,
    /// The lines of its way down, which do not run with it.
    pub(crate) left_out: Vec<Lines>,
    /// Why it must not run: nobody can tell what of it is to.
    pub(crate) unclear: Option<String>,
}

impl Migration {
    fn new(name: String, role: Role, text: &str, dialect: SqlDialect) -> Self {
        let script = Script::new(name.clone(), parts(text, dialect), form::says(text, ALONE));
        let Forward { left_out, unclear, .. } = form::forward(text, dialect);
        let by_text = || unclear.first().map(|it| format!("{name}:{}: {}; {}", it.line, it.why, it.hint));
        let unclear = unclear_name(role, text).or_else(by_text);
        Self { name, digest: digest_of(text.as_bytes()), script, left_out, unclear }
    }

    /// Its digest as it is recorded.
    pub(crate) fn checksum(&self) -> String {
        self.digest.to_string()
    }
}

/// Leaves out the transaction that a file puts around all of itself: it is one anyway, and so is the record of it.
fn without_own_transaction(mut parts: Vec<Part>) -> Vec<Part> {
    let says = |part: Option<&Part>, begins: &[&str], rest: &[&str]| {
        let text = part.map(|part| part.text.to_ascii_uppercase()).unwrap_or_default();
        let mut words = text.split_whitespace();
        words.next().is_some_and(|word| begins.contains(&word)) && words.all(|word| rest.contains(&word))
    };
    let begins = says(
        parts.first(),
        &["BEGIN", "START"],
        &["TRANSACTION", "WORK", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"],
    );
    let ends = says(parts.last(), &["COMMIT", "END"], &["TRANSACTION", "WORK"]);
    let inner = parts.get(1..parts.len().saturating_sub(1)).unwrap_or_default();
    if begins && ends && parts.len() > 1 && inner.iter().all(|part| part.turn == Turn::Inside) {
        parts.pop();
        parts.remove(0);
    }
    parts
}

/// Says why the name of a file keeps it from being run.
pub(crate) fn unclear_name(role: Role, text: &str) -> Option<String> {
    match role {
        Role::Unclear(why) if !form::says_forward(text) => Some(why),
        _ => None,
    }
}

/// Digests the text of a migration. What it says to Lockstep of its form is none of it: that may be added to one that ran.
pub(crate) fn digest_of(text: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if index >= form::HEAD || line.trim_ascii() != form::FORWARD.as_bytes() {
            hash.update(line);
        }
    }
    Digest::from_bytes(hash.finalize().into())
}

impl Folder {
    /// Reads a folder. Each file is read and parted only once.
    pub(crate) fn read(folder: &Path, dialect: SqlDialect) -> Result<Self, Fault> {
        let all = names(folder)?;
        let backs = taken_back(all.iter().map(String::as_str)).into_iter();
        let owned =
            |(back, of): (&str, Vec<&str>)| (back.to_owned(), of.into_iter().map(str::to_owned).collect());
        let backs = backs.map(owned).collect();
        let mut names = forward(&all);
        names.retain(|(name, _)| is_sql(name));
        let read = |(name, role): (String, Role)| {
            let file = foreign::open(&folder.join(&name));
            let text = file.and_then(|file| foreign::read_text(file, MAX_BYTES));
            let text = text.map_err(|error| Fault::new(format!("migration `{name}`: {error}")))?;
            Ok(Migration::new(name, role, &text, dialect))
        };
        let migrations = names.into_iter().map(read).collect::<Result<_, Fault>>()?;
        Ok(Self { migrations, path: folder.to_owned(), backs })
    }

    /// Reads the way down of a migration.
    pub(crate) fn way_down(&self, migration: &Migration, dialect: SqlDialect) -> Result<Script, Fault> {
        let name = &migration.name;
        let no = |why: String| Fault::new(format!("`{name}` has no way down: {why}"));
        let means = self.backs.iter().filter(|(_, of)| of.contains(name));
        if let Some((back, _)) = means.clone().find(|(_, of)| of.len() > 1) {
            return Err(no(format!("`{back}` is by its name the way down of several migrations")));
        }
        let text = self.text(name)?;
        let beside = means
            .map(|(back, _)| Ok((back.as_str(), self.text(back)?)))
            .collect::<Result<Vec<_>, Fault>>()?;
        let beside: Vec<_> = beside.iter().map(|(back, text)| (*back, text.as_str())).collect();
        let found = back::find((name, &text), &beside, dialect);
        let way =
            found.map_err(|NoWay(why)| no(why.unwrap_or_else(|| "the version brings none".to_owned())))?;
        let said = beside.iter().find(|(back, _)| *back == way.file).map_or(text.as_str(), |(_, text)| *text);
        Ok(Script::new(way.file, parts_back(&way.text, dialect), form::says(said, ALONE)))
    }

    fn text(&self, name: &str) -> Result<String, Fault> {
        let file = foreign::open(&self.path.join(name));
        let text = file.and_then(|file| foreign::read_text(file, MAX_BYTES));
        text.map_err(|error| Fault::new(format!("`{name}`: {error}")))
    }

    /// Finds the place of a migration.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.migrations.iter().position(|migration| migration.name == name)
    }
}

/// Leaves out of names what takes others back.
pub(crate) fn forward(names: &[String]) -> Vec<(String, Role)> {
    let roles = roles(names.iter().map(String::as_str)).into_iter();
    let forward = roles.filter(|(_, role)| *role != Role::WayBack);
    forward.map(|(name, role)| (name.to_owned(), role)).collect()
}

/// Lists what may be a migration below a folder, in the order in which they run.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Fault> {
    let mut names = Vec::new();
    collect(folder, "", 0, &mut names)
        .map_err(|error| Fault::new(format!("the folder of migrations `{}`: {error}", folder.display())))?;
    names.retain(|name| is_part(name));
    names.sort_by(|a, b| order(a, b));
    if names.len() > MAX_MIGRATIONS {
        return Err(Fault::new(format!("there are more than {MAX_MIGRATIONS} migrations")));
    }
    match names.iter().find(|name| !is_storable(name)) {
        None => Ok(names),
        Some(bad) => Err(Fault::new(format!(
            "the name {bad:?} of a migration is longer than {MAX_MIGRATION_NAME} bytes, or has a character that cannot be shown"
        ))),
    }
}

pub(crate) fn is_sql(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".sql")
}

pub(crate) fn is_storable(name: &str) -> bool {
    name.len() <= MAX_MIGRATION_NAME && !name.chars().any(char::is_control)
}

fn collect(folder: &Path, below: &str, depth: usize, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(io::Error::other("a name in it is not UTF-8"));
        };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        // The working folder shows the files of the artifact by links, so what a link leads to counts.
        let is_folder = fs::metadata(folder.join(&path)).is_ok_and(|it| it.is_dir());
        if is_folder && depth < MAX_DEPTH {
            collect(folder, &path, depth + 1, names)?;
        } else if !is_folder {
            names.push(path);
        }
        if names.len() > MAX_MIGRATIONS * 10 {
            return Err(io::Error::other("it has too many files"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(folder: &Path) -> Result<Vec<String>, Fault> {
        let folder = Folder::read(folder, SqlDialect::Sqlite)?;
        Ok(folder.migrations.into_iter().map(|migration| migration.name).collect())
    }

    #[test]
    fn files_run_by_their_numbers_and_ways_back_never_do() {
        let place = tempfile::tempdir().unwrap();
        for name in ["10_c.sql", "9_b.sql", "9_b.down.sql", "README.md", "1/up.sql", "1/down.sql"] {
            write(place.path(), name, "SELECT 1");
        }
        assert_eq!(read(place.path()).unwrap(), ["1/up.sql", "9_b.sql", "10_c.sql"]);
    }

    #[test]
    fn what_is_no_file_or_has_a_name_that_hides_is_refused() {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), "1_a.sql", "SELECT 1");
        symlink("/dev/zero", place.path().join("2_zero.sql")).unwrap();
        assert!(read(place.path()).unwrap_err().why.contains("device, not a file"));
        fs::remove_file(place.path().join("2_zero.sql")).unwrap();
        write(place.path(), "2_\u{1b}[2J.sql", "SELECT 1");
        let Fault { why, .. } = read(place.path()).unwrap_err();
        assert!(why.contains("cannot be shown") && !why.contains('\u{1b}'), "{why}");
        assert!(read(&place.path().join("none")).unwrap_err().why.contains("none"));
    }

    #[test]
    fn what_is_said_of_the_form_may_be_added_to_what_ran() {
        let digest = |text: &str| digest_of(text.as_bytes());
        assert_eq!(digest("-- a\n-- lockstep: forward\nB;\n"), digest("-- a\nB;\n"));
        assert_eq!(digest("A;"), Digest::from_bytes(Sha256::digest("A;").into()));
        assert_ne!(digest("-- a\n-- lockstep: alone\nB;\n"), digest("-- a\nB;\n"));
        let late = "1\n2\n3\n4\n5\n";
        assert_ne!(digest(&format!("{late}-- lockstep: forward\n")), digest(late));
    }

    #[test]
    fn what_nobody_can_tell_is_known_and_says_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), "1_a.sql", "CREATE TABLE a (b int);\n-- rollback\nDROP TABLE a;");
        write(place.path(), "2_rollback.sql", "SELECT 1");
        write(place.path(), "3_rollback.sql", "-- lockstep: forward\nSELECT 1");
        let folder = Folder::read(place.path(), SqlDialect::Sqlite).unwrap();
        let unclear: Vec<_> =
            folder.migrations.iter().map(|it| it.unclear.clone().unwrap_or_default()).collect();
        assert!(
            unclear[0].starts_with("1_a.sql:2: `-- rollback`") && unclear[0].contains("lockstep: forward"),
            "{unclear:?}"
        );
        assert!(unclear[1].contains("2_rollback.sql") && unclear[2].is_empty(), "{unclear:?}");
    }

    #[test]
    fn a_loop_of_links_ends_and_a_huge_file_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), "1_a.sql", "SELECT 1");
        symlink(".", place.path().join("loop")).unwrap();
        assert!(read(place.path()).unwrap().len() <= MAX_DEPTH + 1);
        fs::remove_file(place.path().join("loop")).unwrap();
        let huge = fs::File::create(place.path().join("2_b.sql")).unwrap();
        huge.set_len(MAX_BYTES + 1).unwrap();
        assert!(read(place.path()).unwrap_err().why.contains("more than"));
    }

    #[test]
    fn a_file_says_that_it_is_no_transaction() {
        let alone = |text: &str| {
            Migration::new("1_a.sql".into(), Role::Forward, text, SqlDialect::PostgreSql).script.is_alone
        };
        assert!(alone("-- lockstep: alone\nSELECT 1"));
        assert!(alone("CREATE INDEX CONCURRENTLY a ON b (c)"));
        assert!(alone("BEGIN; SELECT 1; COMMIT; SELECT 2;"));
        assert!(alone("BEGIN; SELECT 1;"));
        assert!(alone("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT;"));
        assert!(alone("BEGIN; VACUUM; COMMIT;"));
        for whole in
            ["BEGIN; SELECT 1; COMMIT;", "start transaction;\nSELECT 1;\nend", "BEGIN IMMEDIATE; COMMIT"]
        {
            assert!(!alone(whole), "{whole} is one transaction anyway");
        }
        assert!(!alone("CREATE INDEX a ON b (c); -- CONCURRENTLY"));
    }
}
