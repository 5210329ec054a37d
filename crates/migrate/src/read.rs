//! What a version brings for a database: its migrations with what each does, as they are recorded with the version.

use std::path::Path;

use lockstep_contract::sql::{Class, Migration, classify, is_way_back};
use lockstep_contract::{InputError, Source};
use lockstep_domain::database::{Applied, Database, MigrationClass, MigrationFile};
use lockstep_files::foreign;

use crate::folder::{MAX_BYTES, digest_of, names};

/// Most bytes of all migrations of a database together.
const MAX_TOTAL: usize = 256 * 1024 * 1024;
/// Most reasons of one migration that are kept.
const MAX_REASONS: usize = 5;
/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 300;

/// Reads the migrations of a database below the folder of a version, and says what each of them does.
///
/// # Errors
/// Says what cannot be read, or not be applied by Lockstep.
pub fn files(release: &Path, database: &Database) -> Result<Vec<MigrationFile>, String> {
    let folder = release.join(database.migrations.as_str());
    let mut names = names(&folder).map_err(|fault| fault.0)?;
    names.retain(|name| !is_way_back(name));
    let (mut all, mut total) = (Vec::new(), 0);
    for name in names {
        let read = foreign::open(&folder.join(&name)).and_then(|file| foreign::read(file, MAX_BYTES));
        let bytes = read.map_err(|error| format!("migration `{name}`: {error}"))?;
        total += bytes.len();
        if total > MAX_TOTAL {
            return Err(format!("its migrations have more than {MAX_TOTAL} bytes together"));
        }
        all.push((name, bytes));
    }
    if all.is_empty() {
        return Err(format!(
            "there is no migration in the folder `{}` of the artifact",
            database.migrations.as_str()
        ));
    }
    if let Some((name, _)) = all.iter().find(|(name, _)| !is_sql(name))
        && database.applied == Applied::ByLockstep
    {
        return Err(format!(
            "migration `{name}` is no SQL, which is all that Lockstep applies: name a program with `apply` and `level`"
        ));
    }
    let judged = judged(&all, database)?;
    Ok(all.iter().map(|(name, bytes)| file(name, bytes, &judged)).collect())
}

fn is_sql(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".sql")
}

fn judged(all: &[(String, Vec<u8>)], database: &Database) -> Result<Vec<Migration>, String> {
    if !all.iter().any(|(name, _)| is_sql(name)) {
        return Ok(Vec::new());
    }
    let source = Source::tree(all.iter().map(|(name, bytes)| (name.clone(), bytes.clone())));
    classify(&source, database.dialect)
        .map_err(|errors| errors.iter().map(InputError::to_string).collect::<Vec<_>>().join("; "))
}

fn file(name: &str, bytes: &[u8], judged: &[Migration]) -> MigrationFile {
    let found = judged.iter().find(|migration| migration.file == name);
    let class = match found {
        Some(migration) if migration.class == Class::Contract => MigrationClass::Contract,
        Some(migration) if migration.not_understood.is_empty() => match migration.class {
            Class::Data => MigrationClass::Data,
            Class::Expand | Class::Contract => MigrationClass::Expand,
        },
        _ => MigrationClass::NotChecked,
    };
    let one_way = found.into_iter().flat_map(|migration| &migration.one_way).take(MAX_REASONS);
    let one_way = one_way.map(|reason| reason.chars().take(MAX_REASON).collect()).collect();
    let unread = found.into_iter().flat_map(|migration| &migration.not_understood).take(MAX_REASONS);
    let unread = unread.map(|(at, why)| format!("{at}: {why}").chars().take(MAX_REASON).collect());
    MigrationFile {
        name: name.to_owned(),
        digest: digest_of(bytes),
        class,
        one_way,
        not_understood: unread.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert!(files(place.path(), &database(Applied::ByLockstep)).unwrap_err().contains("2_b.py"));
        let own = Applied::ByProgram { apply: vec!["a".into()], level: vec!["b".into()] };
        let found = files(place.path(), &database(own)).unwrap();
        assert_eq!(found[1].class, MigrationClass::NotChecked);
        fs::remove_file(place.path().join("db/2_b.py")).unwrap();
        fs::remove_file(place.path().join("db/1_a.sql")).unwrap();
        assert!(files(place.path(), &database(Applied::Elsewhere)).unwrap_err().contains("no migration"));
        assert!(files(&place.path().join("none"), &database(Applied::Elsewhere)).is_err());
    }
}
