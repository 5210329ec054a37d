//! What a version brings for a database: its migrations with what each does, as they are recorded with the version.

use std::path::Path;

use lockstep_contract::sql::back::{self, NoWay};
use lockstep_contract::sql::{Class, Migration, Role, classify, taken_back};
use lockstep_contract::{InputError, Source};
use lockstep_domain::database::{Applied, Database, MigrationClass, MigrationFile, WayDown};
use lockstep_files::foreign;

use crate::folder::{MAX_BYTES, digest_of, forward, is_sql, names, unclear_name};

/// Most bytes of all migrations of a database together.
const MAX_TOTAL: usize = 256 * 1024 * 1024;
/// Most reasons of one migration that are kept.
const MAX_REASONS: usize = 5;
/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 300;
/// Most things that are told to be wrong with the migrations of a database.
const MAX_WRONG: usize = 50;

/// Why migrations cannot be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub detail: String,
    /// In which file, below the folder of migrations.
    pub file: Option<String>,
    /// Where in it.
    pub line: Option<usize>,
    /// What to do.
    pub hint: Option<String>,
}

impl Wrong {
    fn new(detail: impl Into<String>) -> Vec<Self> {
        vec![Self { detail: detail.into(), ..Self::default() }]
    }
}

/// A file of the folder: its name, what that says of it, and its content.
type Read = (String, Role, Vec<u8>);

/// Reads the migrations of a database below the folder of a version, and says what each of them does.
///
/// # Errors
/// Says all that cannot be read, or that Lockstep must not apply.
pub fn files(release: &Path, database: &Database) -> Result<Vec<MigrationFile>, Vec<Wrong>> {
    let all = read(release, database)?;
    let judged = judged((release, &all), database).map_err(Wrong::new)?;
    let mut wrong = match database.applied {
        Applied::ByLockstep => all.iter().flat_map(|file| not_to_apply(file, &judged)).collect(),
        Applied::ByProgram { .. } | Applied::Elsewhere => Vec::new(),
    };
    wrong.truncate(MAX_WRONG);
    match wrong.is_empty() {
        true => Ok(all.iter().map(|(name, _, bytes)| file(name, bytes, &judged)).collect()),
        false => Err(wrong),
    }
}

fn read(release: &Path, database: &Database) -> Result<Vec<Read>, Vec<Wrong>> {
    let shown = database.migrations.as_str();
    let folder = release.join(shown);
    let missing = |detail: String| {
        let hint = format!("`{shown}` has to be among the files of the artifact: [package] include");
        vec![Wrong { detail, hint: Some(hint), ..Wrong::default() }]
    };
    if !folder.is_dir() {
        return Err(missing(format!("there is no folder of migrations `{shown}`")));
    }
    let names = forward(&names(&folder).map_err(|fault| Wrong::new(fault.why))?);
    if names.is_empty() {
        return Err(missing(format!("there is no migration in the folder `{shown}`")));
    }
    let (mut all, mut total) = (Vec::new(), 0);
    for (name, role) in names {
        let read = foreign::open(&folder.join(&name)).and_then(|file| foreign::read(file, MAX_BYTES));
        let bytes = read.map_err(|error| Wrong::new(format!("migration `{name}`: {error}")))?;
        total += bytes.len();
        if total > MAX_TOTAL {
            return Err(Wrong::new(format!("its migrations have more than {MAX_TOTAL} bytes together")));
        }
        all.push((name, role, bytes));
    }
    Ok(all)
}

/// Says why Lockstep must not apply a file.
fn not_to_apply((name, role, bytes): &Read, judged: &[Migration]) -> Vec<Wrong> {
    let of = |line, detail, hint| Wrong { detail, file: Some(name.clone()), line, hint };
    if !is_sql(name) {
        let detail = format!("migration `{name}` is no SQL, which is all that Lockstep applies");
        return vec![of(None, detail, Some("name a program with `apply` and `level`".to_owned()))];
    }
    if let Some(why) = unclear_name(role.clone(), &String::from_utf8_lossy(bytes)) {
        return vec![of(None, why, None)];
    }
    let unclear = judged.iter().filter(|it| it.file == *name).flat_map(|it| &it.unclear);
    let unclear =
        unclear.map(|it| of(usize::try_from(it.line).ok(), it.why.clone(), Some(it.hint.to_owned())));
    unclear.collect()
}

fn judged((release, all): (&Path, &[Read]), database: &Database) -> Result<Vec<Migration>, String> {
    if !all.iter().any(|(name, ..)| is_sql(name)) {
        return Ok(Vec::new());
    }
    let forward = all.iter().map(|(name, _, bytes)| (name.clone(), bytes.clone()));
    let backs = backs(&release.join(database.migrations.as_str()));
    let source = Source::tree(forward.chain(backs));
    classify(&source, database.dialect)
        .map_err(|errors| errors.iter().map(InputError::to_string).collect::<Vec<_>>().join("; "))
}

/// The files that take migrations back. What of them cannot be read is no way down, and stops nothing.
fn backs(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let all = names(folder).unwrap_or_default();
    let backs = taken_back(all.iter().map(String::as_str)).into_iter().map(|(back, _)| back.to_owned());
    let mut left = MAX_TOTAL;
    let read = |name: String| {
        let bytes =
            foreign::open(&folder.join(&name)).and_then(|file| foreign::read(file, MAX_BYTES)).ok()?;
        left = left.checked_sub(bytes.len())?;
        Some((name, bytes))
    };
    backs.filter_map(read).collect()
}

fn class_of(class: Class, is_understood: bool) -> MigrationClass {
    match class {
        Class::Contract => MigrationClass::Contract,
        _ if !is_understood => MigrationClass::NotChecked,
        Class::Data => MigrationClass::Data,
        Class::Expand => MigrationClass::Expand,
    }
}

fn few(words: impl Iterator<Item = String>) -> Vec<String> {
    words.take(MAX_REASONS).map(|word| word.chars().take(MAX_REASON).collect()).collect()
}

fn way_down(found: &back::WayDown) -> WayDown {
    let unread = found.not_understood.iter().map(|(at, why)| format!("{at}: {why}"));
    WayDown {
        file: found.way.file.clone(),
        digest: digest_of(found.way.text.as_bytes()),
        class: class_of(found.class, found.not_understood.is_empty()),
        takes: few(found.takes.iter().cloned()),
        leaves: few(found.leaves.iter().cloned()),
        not_understood: few(unread),
    }
}

fn file(name: &str, bytes: &[u8], judged: &[Migration]) -> MigrationFile {
    let found = judged.iter().find(|migration| migration.file == name);
    let class =
        found.map_or(MigrationClass::NotChecked, |it| class_of(it.class, it.not_understood.is_empty()));
    let one_way = few(found.into_iter().flat_map(|migration| &migration.one_way).cloned());
    let unread = found.into_iter().flat_map(|migration| &migration.not_understood);
    let unread = few(unread.map(|(at, why)| format!("{at}: {why}")));
    let way = found.map(|migration| &migration.way_down);
    let no_way = way.and_then(|way| way.as_ref().err()).and_then(|NoWay(why)| why.clone());
    let left_out = found.map(|migration| migration.left_out.clone()).unwrap_or_default();
    MigrationFile {
        name: name.to_owned(),
        digest: digest_of(bytes),
        class,
        one_way,
        left_out,
        not_understood: unread,
        way_down: way.and_then(|way| way.as_ref().ok()).map(way_down).map(Box::new),
        no_way_down: no_way.map(|why| why.chars().take(MAX_REASON).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lockstep_domain::database::Lines;

    use super::*;

    fn database(applied: Applied) -> Database {
        Database {
            name: "main".parse().unwrap(),
            migrations: "db".parse().unwrap(),
            applied,
            variable: "DATABASE_URL".to_owned(),
            dialect: None,
            timeout_ms: 1_000,
            lock_ms: 1_000,
        }
    }

    fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("db")).unwrap();
        for (name, text) in files {
            fs::write(place.path().join("db").join(name), text).unwrap();
        }
        place
    }

    #[test]
    fn each_migration_is_told_by_what_it_does() {
        let place = place(&[
            ("1_a.sql", "CREATE TABLE a (id integer PRIMARY KEY, b text);"),
            ("2_b.sql", "UPDATE a SET b = 'x' WHERE id > 5;"),
            ("3_c.sql", "CREATE FUNCTION f() RETURNS int AS $$ SELECT 1 $$ LANGUAGE sql;"),
            ("10_d.sql", "ALTER TABLE a DROP COLUMN b;"),
            ("10_d.down.sql", "ALTER TABLE a ADD COLUMN b text;"),
        ]);
        let files = files(place.path(), &database(Applied::ByLockstep)).unwrap();
        let told: Vec<_> = files.iter().map(|it| (it.name.as_str(), it.class)).collect();
        use MigrationClass::{Contract, Data, Expand, NotChecked};
        assert_eq!(
            told,
            [("1_a.sql", Expand), ("2_b.sql", Data), ("3_c.sql", NotChecked), ("10_d.sql", Contract)]
        );
        assert!(!files[1].one_way.is_empty() && !files[3].one_way.is_empty() && files[0].one_way.is_empty());
    }

    #[test]
    fn what_lockstep_cannot_apply_is_refused_and_a_program_may_have_it() {
        let place = place(&[("1_a.sql", "CREATE TABLE a (id integer);"), ("2_b.py", "migrate()")]);
        let wrong = files(place.path(), &database(Applied::ByLockstep)).unwrap_err();
        assert!(wrong.len() == 1 && wrong[0].detail.contains("2_b.py"), "{wrong:?}");
        let own = Applied::ByProgram { apply: vec!["a".into()], level: vec!["b".into()], revert: Vec::new() };
        let found = files(place.path(), &database(own)).unwrap();
        assert_eq!(found[1].class, MigrationClass::NotChecked);
        fs::remove_file(place.path().join("db/2_b.py")).unwrap();
        fs::remove_file(place.path().join("db/1_a.sql")).unwrap();
        let wrong = files(place.path(), &database(Applied::Elsewhere)).unwrap_err();
        assert!(wrong[0].detail.contains("no migration") && wrong[0].hint.is_some(), "{wrong:?}");
        let wrong = files(&place.path().join("none"), &database(Applied::Elsewhere)).unwrap_err();
        assert!(wrong[0].detail.contains("no folder") && wrong[0].hint.is_some(), "{wrong:?}");
    }

    #[test]
    fn all_that_nobody_can_tell_is_refused_at_once_by_its_line_and_a_program_may_have_it() {
        let place = place(&[
            (
                "1_a.sql",
                "CREATE TABLE a (id integer);\n-- rollback is not possible here\nCREATE TABLE b (id integer);",
            ),
            ("2_b.sql", "CREATE TABLE c (id integer);\n-- Rollback\nDROP TABLE c;"),
            ("3_c.sql", "\\set ON_ERROR_STOP on\nCREATE TABLE d (id integer);"),
            ("4_d.sql", "-- migrate:up\nCREATE TABLE e (id integer);\n-- migrate:down\nDROP TABLE e;"),
            ("5_undo.sql", "DROP TABLE e;"),
        ]);
        let wrong = files(place.path(), &database(Applied::ByLockstep)).unwrap_err();
        let told: Vec<_> = wrong.iter().map(|it| (it.file.as_deref().unwrap_or_default(), it.line)).collect();
        assert_eq!(told, [("2_b.sql", Some(2)), ("3_c.sql", Some(1)), ("5_undo.sql", None)]);
        let own = Applied::ByProgram { apply: vec!["a".into()], level: vec!["b".into()], revert: Vec::new() };
        assert_eq!(files(place.path(), &database(own)).unwrap().len(), 5);
        for name in ["2_b.sql", "3_c.sql", "5_undo.sql"] {
            fs::remove_file(place.path().join("db").join(name)).unwrap();
        }
        let good = files(place.path(), &database(Applied::ByLockstep)).unwrap();
        assert_eq!(good[1].left_out, [Lines { from: 4, to: 4 }]);
        assert_eq!((good[0].class, good[1].class), (MigrationClass::Expand, MigrationClass::Expand));
        assert!(good[0].left_out.is_empty());
    }
}
