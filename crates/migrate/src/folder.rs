//! The folder of migrations: which files there are, in their order, with the digest of each and its statements.
//!
//! Invariant: only regular files of the folder are read, each and all of them up to a bound, and every name can be shown and stored.

use std::fs;
use std::io;
use std::path::Path;

use lockstep_contract::SqlDialect;
use lockstep_contract::sql::script::{Part, Turn, parts};
use lockstep_contract::sql::{is_part, is_way_back, natural};
use lockstep_domain::Digest;
use lockstep_domain::database::{MAX_MIGRATION_NAME, MAX_MIGRATIONS};
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
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Migration {
    /// Its path below the folder.
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) parts: Vec<Part>,
    /// It cannot be one transaction.
    pub(crate) is_alone: bool,
}

impl Migration {
    fn new(name: String, text: &str, dialect: SqlDialect) -> Self {
        let parts = parts(text, dialect);
        let says_so = text.lines().take(5).any(|line| line.trim() == ALONE);
        let is_alone = says_so || parts.iter().any(|part| part.turn != Turn::Inside);
        Self { name, digest: digest_of(text.as_bytes()), parts, is_alone }
    }

    /// Its digest as it is recorded.
    pub(crate) fn checksum(&self) -> String {
        self.digest.to_string()
    }
}

/// Digests the text of a migration.
pub(crate) fn digest_of(text: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(text).into())
}

impl Folder {
    /// Reads a folder. Each file is read and parted only once.
    pub(crate) fn read(folder: &Path, dialect: SqlDialect) -> Result<Self, Fault> {
        let mut names = names(folder)?;
        names.retain(|name| is_sql(name) && !is_way_back(name));
        let read = |name: String| {
            let file = foreign::open(&folder.join(&name));
            let text = file.and_then(|file| foreign::read_text(file, MAX_BYTES));
            let text = text.map_err(|error| Fault::new(format!("migration `{name}`: {error}")))?;
            Ok(Migration::new(name, &text, dialect))
        };
        let migrations = names.into_iter().map(read).collect::<Result<_, Fault>>()?;
        Ok(Self { migrations })
    }

    /// Finds the place of a migration.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.migrations.iter().position(|migration| migration.name == name)
    }
}

/// Lists what may be a migration below a folder, in the order in which they run.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Fault> {
    let mut names = Vec::new();
    collect(folder, "", 0, &mut names)
        .map_err(|error| Fault::new(format!("the folder of migrations `{}`: {error}", folder.display())))?;
    names.retain(|name| is_part(name));
    names.sort_by(|a, b| natural(a, b));
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

fn is_sql(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".sql")
}

fn is_storable(name: &str) -> bool {
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
        assert!(read(place.path()).unwrap_err().0.contains("device, not a file"));
        fs::remove_file(place.path().join("2_zero.sql")).unwrap();
        write(place.path(), "2_\u{1b}[2J.sql", "SELECT 1");
        let Fault(why) = read(place.path()).unwrap_err();
        assert!(why.contains("cannot be shown") && !why.contains('\u{1b}'), "{why}");
        assert!(read(&place.path().join("none")).unwrap_err().0.contains("none"));
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
        assert!(read(place.path()).unwrap_err().0.contains("more than"));
    }

    #[test]
    fn a_file_says_that_it_is_no_transaction() {
        let alone = |text: &str| Migration::new("1_a.sql".into(), text, SqlDialect::PostgreSql).is_alone;
        assert!(alone("-- lockstep: alone\nSELECT 1"));
        assert!(alone("CREATE INDEX CONCURRENTLY a ON b (c)"));
        assert!(alone("BEGIN; SELECT 1; COMMIT;"));
        assert!(!alone("CREATE INDEX a ON b (c); -- CONCURRENTLY"));
    }
}
