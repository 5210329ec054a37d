//! `[database.NAME]`: databases that a service brings migrations for.

use lockstep_domain::database::{Applied, Database, TO, USUAL_LOCK_MS, USUAL_TIMEOUT_MS, USUAL_VARIABLE};

use super::field::{command, duration};
use crate::reader::{Field, Table};

/// How the table is written.
pub(super) const EXAMPLE: &str = "[database.main] with migrations = \"db/migrations\"";
const APPLY: &str = "apply = [\"./migrate\", \"up\", \"{to}\"]";
const REVERT: &str = "revert = [\"./migrate\", \"down\", \"{to}\"]";
const LEVEL: &str = "level = [\"./migrate\", \"status\", \"--json\"]";
/// Most databases of a version: each is a step of every deployment.
const MAX_DATABASES: usize = 10;

/// Reads the databases of a version, in the order of their names.
pub(super) fn databases(table: &Table<'_>) -> Vec<Database> {
    let entries = table.entries(EXAMPLE);
    if let Some((_, field)) = entries.get(MAX_DATABASES) {
        field.wrong(format_args!("a service has at most {MAX_DATABASES} databases"));
    }
    let mut all: Vec<_> = entries.into_iter().filter_map(|(name, field)| database(name, &field)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn database(name: &str, field: &Field<'_>) -> Option<Database> {
    let named = name.parse().map_err(|error| field.wrong_key(error)).ok();
    let table = field.table()?;
    let migrations =
        table.require("migrations", "migrations = \"db/migrations\"").and_then(|field| field.parse());
    let applied = applied(&table);
    let usual = "variable = \"DATABASE_URL\"";
    let variable =
        table.get("variable", usual).map_or_else(|| Some(USUAL_VARIABLE.to_owned()), |it| variable(&it));
    let dialect = table.get("dialect", "dialect = \"postgresql\"").and_then(|field| field.parse());
    let timeout_ms = duration(&table, "timeout", "timeout = \"10m\"").unwrap_or(USUAL_TIMEOUT_MS);
    let lock_ms = duration(&table, "lock_timeout", "lock_timeout = \"10s\"").unwrap_or(USUAL_LOCK_MS);
    table.finish();
    Some(Database {
        name: named?,
        migrations: migrations?,
        applied: applied?,
        variable: variable?,
        dialect,
        timeout_ms,
        lock_ms,
    })
}

/// Reads who applies its migrations.
fn applied(table: &Table<'_>) -> Option<Applied> {
    let external = table.get("external", "external = true");
    let is_external = external.as_ref().and_then(Field::boolean).unwrap_or(false);
    let (apply, level) = (table.get("apply", APPLY), table.get("level", LEVEL));
    let revert = table.get("revert", REVERT);
    if is_external && let Some(field) = apply.as_ref().or(level.as_ref()).or(revert.as_ref()) {
        let hint = "leave out `external`, or the program";
        field.wrong_because("migrations that are applied outside of Lockstep have no program here", hint);
        return None;
    }
    match (apply, level) {
        (None, None) if let Some(revert) = &revert => {
            let hint = format!(
                "add {APPLY} and {LEVEL}; without them Lockstep runs the ways down that the files bring"
            );
            revert.wrong_because("a program that takes back has to be the one that applies", hint);
            None
        }
        (None, None) if is_external => Some(Applied::Elsewhere),
        (None, None) => Some(Applied::ByLockstep),
        (Some(apply), Some(level)) => {
            let revert = revert.map_or_else(|| Some(Vec::new()), |field| going_back(&field))?;
            Some(Applied::ByProgram { apply: words(&apply)?, level: words(&level)?, revert })
        }
        (Some(apply), None) => {
            apply
                .wrong_because("nothing says which migrations the database has then", format!("add {LEVEL}"));
            None
        }
        (None, Some(level)) => {
            level.wrong_because("nothing says how migrations are applied then", format!("add {APPLY}"));
            None
        }
    }
}

/// Reads the program that takes back: it is told how far.
fn going_back(field: &Field<'_>) -> Option<Vec<String>> {
    let words = words(field)?;
    if words.iter().any(|word| word.contains(TO)) {
        return Some(words);
    }
    field.wrong_because("nothing tells the program which migration stays", format!("write {REVERT}"));
    None
}

/// Reads a command in which nothing is filled in: every user of the machine could read what stands there.
fn words(field: &Field<'_>) -> Option<Vec<String>> {
    let words = command(field)?;
    if words.iter().any(|word| word.contains("${")) {
        field.wrong_because("nothing is filled in here", "the program reads the variables of the service");
        return None;
    }
    Some(words)
}

/// Reads the name of a variable.
fn variable(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_one = !text.is_empty() && text.len() <= 256 && text.bytes().all(is_allowed);
    if !is_one || text.starts_with(|letter: char| letter.is_ascii_digit()) {
        field.wrong("the name of a variable is letters, digits and _, and begins with no digit");
        return None;
    }
    Some(text.to_owned())
}
